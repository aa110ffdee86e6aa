//! Locks beside what they are made of: hand-off between waiters against tokio's `Mutex` and against a
//! poller of 10 ms, commands an acquisition, and lock and release without contention.
//!
//! `cargo bench --bench lock`; `-- quick` for a short run. The last lines are a table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench"
)]

#[path = "../tests/support/redis/mod.rs"]
mod harness;

use std::sync::Arc;
use std::time::Duration;

use cachestore::{Config, Store, redis};
use harness::RedisServer;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

const LONG: Duration = Duration::from_secs(120);

/// When the lock was released and when the next held it, from each waiter.
type Times = mpsc::UnboundedSender<(Instant, Instant)>;

/// The times between a release and the next holder's start: the median, and the 99th of a hundred.
async fn measure(mut times: mpsc::UnboundedReceiver<(Instant, Instant)>) -> (Duration, Duration) {
    let mut all = Vec::new();
    while let Some(pair) = times.recv().await {
        all.push(pair);
    }
    all.sort();
    let mut between: Vec<_> = all
        .windows(2)
        .map(|pair| pair[1].0.saturating_duration_since(pair[0].1))
        .collect();
    between.sort();
    (between[between.len() / 2], between[between.len() * 99 / 100])
}

async fn of_store(store: &Store, waiters: usize) -> (Duration, Duration) {
    let (sender, times) = mpsc::unbounded_channel();
    let guard = store.lock("k").ttl(LONG).await.unwrap();
    for _ in 0..waiters {
        let (store, sender): (_, Times) = (store.clone(), sender.clone());
        tokio::spawn(async move {
            let guard = store.lock("k").ttl(LONG).wait(LONG).await.unwrap();
            let held = Instant::now();
            sender.send((held, Instant::now())).unwrap();
            drop(guard);
        });
    }
    tokio::time::sleep(Duration::from_millis(50 + waiters as u64 / 10)).await;
    sender.send((Instant::now(), Instant::now())).unwrap();
    drop((sender, guard));
    measure(times).await
}

async fn of_mutex(waiters: usize) -> (Duration, Duration) {
    let (sender, times) = mpsc::unbounded_channel();
    let mutex = Arc::new(Mutex::new(()));
    let guard = mutex.lock().await;
    for _ in 0..waiters + 1 {
        let (mutex, sender): (_, Times) = (mutex.clone(), sender.clone());
        tokio::spawn(async move {
            let guard = mutex.lock().await;
            let held = Instant::now();
            sender.send((held, Instant::now())).unwrap();
            drop(guard);
        });
    }
    drop(sender);
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(guard);
    measure(times).await
}

/// What go-cachestore does: everybody tries every 10 ms.
async fn of_poller(store: &Store, waiters: usize) -> (Duration, Duration) {
    let (sender, times) = mpsc::unbounded_channel();
    let command = |parts: &[&str]| {
        let mut command = redis::cmd(parts[0]);
        command.arg(&parts[1..]);
        command
    };
    for _ in 0..waiters + 1 {
        let (store, sender): (_, Times) = (store.clone(), sender.clone());
        tokio::spawn(async move {
            let take = ["SET", "polled", "secret", "NX", "EX", "60"];
            while store.redis_command::<redis::Value>(command(&take)).await.unwrap() != redis::Value::Okay {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let held = Instant::now();
            // Held for a moment, so that the others come to wait for it.
            tokio::time::sleep(Duration::from_millis(3)).await;
            sender.send((held, Instant::now())).unwrap();
            store
                .redis_command::<i64>(command(&["DEL", "polled"]))
                .await
                .unwrap();
        });
    }
    drop(sender);
    measure(times).await
}

async fn uncontended(store: &Store, rounds: u32) -> Duration {
    let began = Instant::now();
    for _ in 0..rounds {
        store.lock("u").await.unwrap().release().await.unwrap();
    }
    began.elapsed() / rounds
}

fn calls(server: &RedisServer, name: &str) -> u64 {
    let info = server.command(&["INFO", "commandstats"]).text();
    let begin = format!("cmdstat_{name}:calls=");
    let line = info.lines().find_map(|line| line.strip_prefix(&begin));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

type Figures = Vec<(Duration, Duration)>;

fn median(mut rounds: Figures) -> (Duration, Duration) {
    rounds.sort();
    let p50 = rounds[rounds.len() / 2].0;
    rounds.sort_by_key(|round| round.1);
    (p50, rounds[rounds.len() / 2].1)
}

async fn run(quick: bool) {
    let rounds = if quick { 3 } else { 7 };
    let memory = Store::open(Config::memory()).await.unwrap();
    let server = RedisServer::start().await;
    let remote = Store::open(Config::redis(&server.url()).unwrap()).await.unwrap();
    let us = |time: Duration| time.as_nanos() as f64 / 1000.0;
    let mut table = Vec::new();
    for waiters in [1, 16, 64, 1000] {
        let (mut ours, mut mutex, mut redis, mut poller) = (vec![], vec![], vec![], vec![]);
        server.command(&["CONFIG", "RESETSTAT"]);
        for _ in 0..rounds {
            ours.push(of_store(&memory, waiters).await);
            mutex.push(of_mutex(waiters).await);
            redis.push(of_store(&remote, waiters).await);
        }
        let commands =
            calls(&server, "evalsha") + calls(&server, "subscribe") + calls(&server, "unsubscribe");
        let each = commands as f64 / (rounds * (waiters + 1)) as f64;
        if waiters <= 64 {
            for _ in 0..rounds {
                poller.push(of_poller(&remote, waiters).await);
            }
        }
        let mut row = |what: &str, ours: (Duration, Duration), peer: (Duration, Duration)| {
            for (at, ours, peer) in [("p50", ours.0, peer.0), ("p99", ours.1, peer.1)] {
                let ratio = us(ours) / us(peer);
                table.push(format!(
                    "{what}, {waiters} waiters, {at} | {:.1} us | {:.1} us | {ratio:.2}",
                    us(ours),
                    us(peer)
                ));
            }
        };
        row("memory hand-off / tokio Mutex", median(ours), median(mutex));
        let redis = median(redis);
        if waiters <= 64 {
            row("Redis hand-off / 10 ms poller", redis, median(poller));
        } else {
            row("Redis hand-off / itself", redis, redis);
        }
        table.push(format!(
            "Redis commands an acquisition, {waiters} waiters | {each:.2} | 3 | {:.2}",
            each / 3.0
        ));
    }
    let times = if quick { 2_000 } else { 20_000 };
    let local = uncontended(&memory, times).await;
    let far = uncontended(&remote, times / 10).await;
    let began = Instant::now();
    for _ in 0..times / 10 {
        remote.ping().await.unwrap();
    }
    let ping = began.elapsed() / (times / 10);
    let began = Instant::now();
    for _ in 0..times {
        memory.get("k").await.unwrap();
    }
    let get = began.elapsed() / times;
    table.push(format!(
        "memory lock and release / get | {:.2} us | {:.2} us | {:.2}",
        us(local),
        us(get),
        us(local) / us(get)
    ));
    table.push(format!(
        "Redis lock and release / ping | {:.1} us | {:.1} us | {:.2}",
        us(far),
        us(ping),
        us(far) / us(ping)
    ));
    println!("what | ours | peer | ratio");
    for line in table {
        println!("{line}");
    }
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "quick")
        || std::env::var_os("CACHESTORE_BENCH_QUICK").is_some();
    for workers in [1, 2] {
        let mut builder = if workers == 1 {
            tokio::runtime::Builder::new_current_thread()
        } else {
            tokio::runtime::Builder::new_multi_thread()
        };
        println!("\n{workers} worker(s)");
        builder
            .worker_threads(workers)
            .enable_all()
            .build()
            .unwrap()
            .block_on(run(quick));
    }
}
