//! Locks beside what they are made of: hand-off between waiters against tokio's `Mutex`, a bare task with a
//! queue, a poller of 10 ms and `rslock`, commands an acquisition, and lock and release without contention.
//!
//! `cargo bench -p cachestore-benches --bench lock`; `-- quick` for a short run, `-- memory` or `-- redis` for one engine. The last
//! lines are a table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench"
)]
#![allow(clippy::disallowed_methods, reason = "nobody pauses a bench's clock")]

#[path = "../tests/support/redis"]
#[allow(dead_code, reason = "the tests' servers, of which this uses a part")]
mod harness {
    pub(crate) mod resp;
    pub(crate) mod server;
}

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cachestore::{Config, Store, redis};
use harness::server::RedisServer;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(120);
/// How long pollers hold the lock, so that the others come to wait for it.
const HOLD: Duration = Duration::from_millis(3);
const WAITERS: [usize; 4] = [1, 16, 64, 1000];

/// When each held the lock, and when it began to release it.
type Times = Vec<(Instant, Instant)>;
/// The median of the times between a release and the next holder's start, and the 99th of a hundred.
type Figure = (Duration, Duration);

fn figure(mut between: Vec<Duration>) -> Figure {
    between.sort();
    (between[between.len() / 2], between[between.len() * 99 / 100])
}

fn between(mut times: Times, all: &mut Vec<Duration>) {
    times.sort();
    let pairs = times.windows(2);
    all.extend(pairs.map(|pair| pair[1].0.saturating_duration_since(pair[0].1)));
}

/// Waits for all, the last first: it is woken once, and not at each hand-off.
async fn all(tasks: Vec<JoinHandle<(Instant, Instant)>>) -> Times {
    let mut times = Vec::with_capacity(tasks.len() + 1);
    for task in tasks.into_iter().rev() {
        times.push(task.await.unwrap());
    }
    times
}

/// So many waiters queue behind one holder, again and again. `lock` waits for the lock; what it gives is
/// dropped to release it. `settle` resolves when all are in line.
async fn waves<G, F, S>(
    waves: usize,
    waiters: usize,
    lock: impl Fn() -> F,
    settle: impl AsyncFn(&G) -> S,
) -> Figure
where
    G: Send + 'static,
    F: Future<Output = G> + Send + 'static,
{
    let mut found = Vec::new();
    for _ in 0..waves {
        let guard = lock().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let tasks = (0..waiters).map(|_| {
            let (locked, asked) = (lock(), asked.clone());
            tokio::spawn(async move {
                asked.fetch_add(1, Ordering::Relaxed);
                let guard = locked.await;
                let held = Instant::now();
                drop(guard);
                (held, held)
            })
        });
        let tasks: Vec<_> = tasks.collect();
        while asked.load(Ordering::Relaxed) < waiters {
            tokio::task::yield_now().await;
        }
        settle(&guard).await;
        let released = Instant::now();
        drop(guard);
        let mut times = all(tasks).await;
        times.push((released, released));
        between(times, &mut found);
    }
    figure(found)
}

async fn of_store(store: &Store, rounds: usize, waiters: usize, pause: Duration) -> Figure {
    let lock = || {
        let store = store.clone();
        async move { store.lock("k").ttl(LONG).wait(LONG).await.unwrap() }
    };
    waves(rounds, waiters, lock, async |guard| {
        // Whatever was asked before has been taken when this is answered.
        guard.extend(LONG).await.unwrap();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    })
    .await
}

async fn of_mutex(rounds: usize, waiters: usize) -> Figure {
    let mutex = Arc::new(Mutex::new(()));
    waves(
        rounds,
        waiters,
        || mutex.clone().lock_owned(),
        async |_| {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        },
    )
    .await
}

/// The least that a lock by messages costs: a task with a queue, a channel to it, and one back for each waiter.
/// Without keys, secrets, fences, deadlines or TTLs.
struct Floor(ToFloor);

/// A waiter, or that the lock is released.
type ToFloor = mpsc::UnboundedSender<Option<oneshot::Sender<Floor>>>;

impl Floor {
    fn start() -> ToFloor {
        let (sender, mut messages): (ToFloor, _) = mpsc::unbounded_channel();
        let returns = sender.downgrade();
        tokio::spawn(async move {
            let (mut held, mut queue) = (false, VecDeque::<oneshot::Sender<Floor>>::new());
            while let Some(message) = messages.recv().await {
                match message {
                    Some(waiter) => queue.push_back(waiter),
                    None => held = false,
                }
                if !held
                    && let Some(waiter) = queue.pop_front()
                    && let Some(returns) = returns.upgrade()
                {
                    held = waiter.send(Floor(returns)).is_ok();
                }
            }
        });
        sender
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.0.send(None);
    }
}

async fn of_floor(rounds: usize, waiters: usize) -> Figure {
    let floor = Floor::start();
    let lock = || {
        let floor = floor.clone();
        async move {
            let (sender, receiver) = oneshot::channel();
            floor.send(Some(sender)).unwrap();
            receiver.await.unwrap()
        }
    };
    waves(rounds, waiters, lock, async |_| {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// All try by turns: `attempt` waits between its tries as it likes, and holds for a moment.
async fn contend<F>(waiters: usize, attempt: impl Fn() -> F) -> Figure
where
    F: Future<Output = (Instant, Instant)> + Send + 'static,
{
    let tasks = (0..waiters + 1).map(|_| tokio::spawn(attempt()));
    let mut found = Vec::new();
    between(all(tasks.collect()).await, &mut found);
    figure(found)
}

/// What go-cachestore does, over the scripts of this library: everybody tries every 10 ms.
async fn of_poller(store: &Store, waiters: usize) -> Figure {
    const TAKE: &str = include_str!("../src/engines/redis/scripts/lock_acquire.lua");
    const GIVE: &str = include_str!("../src/engines/redis/scripts/lock_release.lua");
    async fn load(store: &Store, script: &str) -> String {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script);
        store.redis_command(load).await.unwrap()
    }
    let (take, give) = (load(store, TAKE).await, load(store, GIVE).await);
    let number = AtomicUsize::new(0);
    contend(waiters, || {
        let (store, take, give) = (store.clone(), take.clone(), give.clone());
        let secret = number.fetch_add(1, Ordering::Relaxed).to_string();
        async move {
            let call = |sha: &str, arguments: &[&str]| {
                let mut call = redis::cmd("EVALSHA");
                call.arg(sha)
                    .arg(2)
                    .arg("polled")
                    .arg("polled-fence")
                    .arg(&secret);
                call.arg(arguments);
                call
            };
            loop {
                let take = call(
                    &take,
                    &["60000", "120000", "0", "polled", "polled-by-nobody", "0"],
                );
                let got: Vec<redis::Value> = store.redis_command(take).await.unwrap();
                if got.first() == Some(&redis::Value::Int(1)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let held = Instant::now();
            tokio::time::sleep(HOLD).await;
            let released = Instant::now();
            store
                .redis_command::<i64>(call(&give, &["polled"]))
                .await
                .unwrap();
            (held, released)
        }
    })
    .await
}

/// As it comes: it tries again after a random time of up to 200 ms.
async fn of_rslock(manager: &rslock::LockManager, waiters: usize) -> Figure {
    contend(waiters, || {
        let manager = manager.clone();
        async move {
            let guard = manager.acquire("rslocked", LONG).await.unwrap();
            let held = Instant::now();
            tokio::time::sleep(HOLD).await;
            let released = Instant::now();
            guard.release().await;
            (held, released)
        }
    })
    .await
}

fn calls(server: &RedisServer, names: &[&str]) -> u64 {
    let info = server.command(&["INFO", "commandstats"]).text();
    let of = |name: &&str| -> u64 {
        let begin = format!("cmdstat_{name}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(&begin));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    names.iter().map(of).sum()
}

fn median(mut rounds: Vec<Figure>) -> Figure {
    rounds.sort();
    let p50 = rounds[rounds.len() / 2].0;
    rounds.sort_by_key(|round| round.1);
    (p50, rounds[rounds.len() / 2].1)
}

fn us(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

fn row(what: &str, ours: Duration, peer: Duration) -> String {
    let ratio = us(ours) / us(peer);
    format!("{what} | {:.2} us | {:.2} us | {ratio:.3}", us(ours), us(peer))
}

fn rows(table: &mut Vec<String>, what: &str, waiters: usize, ours: Figure, peer: Figure) {
    let many = if waiters == 1 { "waiter" } else { "waiters" };
    table.push(row(&format!("{what}, {waiters} {many}, p50"), ours.0, peer.0));
    table.push(row(&format!("{what}, {waiters} {many}, p99"), ours.1, peer.1));
}

async fn alone(store: &Store, times: u32) -> Duration {
    let began = Instant::now();
    for _ in 0..times {
        store.lock("u").await.unwrap().release().await.unwrap();
    }
    began.elapsed() / times
}

async fn memory(rounds: usize, quick: bool, table: &mut Vec<String>) {
    let store = Store::open(Config::memory()).await.unwrap();
    let hand_offs = if quick { 1024 } else { 8192 };
    for waiters in WAITERS {
        let waves = (hand_offs / waiters).max(1);
        let (mut ours, mut mutex, mut floor) = (vec![], vec![], vec![]);
        // One round more, to warm up.
        for _ in 0..=rounds {
            ours.push(of_store(&store, waves, waiters, Duration::ZERO).await);
            mutex.push(of_mutex(waves, waiters).await);
            floor.push(of_floor(waves, waiters).await);
        }
        let [ours, mutex, floor] = [ours, mutex, floor].map(|mut rounds| {
            rounds.remove(0);
            median(rounds)
        });
        rows(table, "memory hand-off / tokio Mutex", waiters, ours, mutex);
        rows(table, "memory hand-off / bare task", waiters, ours, floor);
    }
    let times = if quick { 2_000 } else { 20_000 };
    let (mut ours, mut gets) = (vec![], vec![]);
    for _ in 0..rounds {
        ours.push((alone(&store, times).await, Duration::ZERO));
        let began = Instant::now();
        for _ in 0..times {
            store.get("k").await.unwrap();
        }
        gets.push((began.elapsed() / times, Duration::ZERO));
    }
    table.push(row(
        "memory lock and release / get",
        median(ours).0,
        median(gets).0,
    ));
}

async fn remote(rounds: usize, quick: bool, table: &mut Vec<String>) {
    let server = RedisServer::start().await;
    let store = Store::open(Config::redis(&server.url()).unwrap()).await.unwrap();
    let manager = rslock::LockManager::new(vec![server.url()]);
    let hand_offs = if quick { 64 } else { 512 };
    for waiters in WAITERS {
        let waves = (hand_offs / waiters).max(1);
        let (mut ours, mut pollers, mut rslocks) = (vec![], vec![], vec![]);
        server.command(&["CONFIG", "RESETSTAT"]);
        for _ in 0..rounds {
            let pause = Duration::from_millis(3);
            ours.push(of_store(&store, waves, waiters, pause).await);
        }
        let commands = calls(&server, &["evalsha", "eval", "subscribe", "unsubscribe"]);
        // One in each wave extends.
        let taken = rounds * waves * (waiters + 1);
        let each = (commands - (rounds * waves) as u64) as f64 / taken as f64;
        // They take their time: a thousand who poll are measured once.
        let rounds = if waiters > 64 || quick { 1 } else { rounds };
        for _ in 0..rounds {
            pollers.push(of_poller(&store, waiters).await);
            rslocks.push(of_rslock(&manager, waiters).await);
        }
        let ours = median(ours);
        rows(
            table,
            "Redis hand-off / 10 ms poller",
            waiters,
            ours,
            median(pollers),
        );
        rows(table, "Redis hand-off / rslock", waiters, ours, median(rslocks));
        table.push(format!(
            "Redis commands an acquisition, {waiters} waiters | {each:.2} | 3 | {:.2}",
            each / 3.0
        ));
    }
    let times = if quick { 200 } else { 2_000 };
    let (mut ours, mut pings, mut rslocks) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        ours.push((alone(&store, times).await, Duration::ZERO));
        let began = Instant::now();
        for _ in 0..times {
            store.ping().await.unwrap();
        }
        pings.push((began.elapsed() / times, Duration::ZERO));
        let began = Instant::now();
        for _ in 0..times {
            manager.acquire("u", LONG).await.unwrap().release().await;
        }
        rslocks.push((began.elapsed() / times, Duration::ZERO));
    }
    let ours = median(ours).0;
    table.push(row("Redis lock and release / ping", ours, median(pings).0));
    table.push(row("Redis lock and release / rslock", ours, median(rslocks).0));
}

fn main() {
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    let quick = asked("quick") || asked("--quick") || std::env::var_os("CACHESTORE_BENCH_QUICK").is_some();
    let one = asked("memory") || asked("redis");
    let rounds = if quick { 3 } else { 7 };
    for workers in [1, 2] {
        let mut builder = if workers == 1 {
            tokio::runtime::Builder::new_current_thread()
        } else {
            tokio::runtime::Builder::new_multi_thread()
        };
        let runtime = builder.worker_threads(workers).enable_all().build().unwrap();
        let mut table = Vec::new();
        let run = async move {
            if !one || asked("memory") {
                memory(rounds, quick, &mut table).await;
            }
            if !one || asked("redis") {
                remote(rounds, quick, &mut table).await;
            }
            table
        };
        let table = runtime.block_on(run);
        println!("\n{workers} worker(s)\nwhat | ours | peer | ratio");
        for line in table {
            println!("{line}");
        }
    }
}
