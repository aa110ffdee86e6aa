//! Ten thousand wait for one lock, and a third of them give up: the others are served in order.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use cachestore::{Config, Error, Store};
use tokio::time::{Instant, timeout};

use crate::harness::opening::open;
use crate::harness::place::{over_a_server_and_a_cluster, over_each_topology};
use crate::harness::{Place, RedisServer, Seeded};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(120);

over_a_server_and_a_cluster! { redis_ten_thousand_waiters_in_order }
over_each_topology! { over_all_nodes: Nodes; redis_ten_thousand_waiters_in_order }

async fn in_order(store: Store, waiters: u64) {
    let mut random = Seeded::new(11);
    let guard = store.lock("k").ttl(LONG).await.unwrap();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    let (mut living, mut tasks, mut cancelled) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..waiters {
        let gives_up = random.percent(30);
        let times_out = gives_up && random.percent(50);
        let wait = if times_out {
            random.below(200) as u32 * MS + MS
        } else {
            LONG
        };
        let store = store.clone();
        let sender = sender.clone();
        let mut waiting = Box::pin(async move {
            match store.lock("k").ttl(LONG).wait(wait).into_future().await {
                Ok(guard) => {
                    sender.send(n).unwrap();
                    drop(guard);
                }
                Err(Error::LockHeld) if times_out => {}
                Err(error) => panic!("{n}: {error:?}"),
            }
        });
        // Polled once, so that they are in line in this order.
        let asked = poll_fn(|cx| Poll::Ready(Pin::new(&mut waiting).poll(cx))).await;
        assert!(asked.is_pending());
        let task = tokio::spawn(waiting);
        if gives_up && !times_out {
            cancelled.push(task);
        } else {
            if !gives_up {
                living.push(n);
            }
            tasks.push(task);
        }
        if n % 512 == 0 {
            // The queue has room for 4,096 at once.
            tokio::task::yield_now().await;
            store_caught_up(&guard).await;
        }
    }
    drop(sender);
    tokio::time::sleep(300 * MS).await;
    for task in cancelled {
        task.abort();
    }
    let began = Instant::now();
    drop(guard);
    let mut order = Vec::new();
    while let Some(n) = timeout(10 * 1000 * MS, served.recv()).await.expect("no stall") {
        order.push(n);
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(order, living);
    println!("{} hand-offs in {:?}", order.len(), began.elapsed());
    drop(store.lock("k").wait(LONG).await.unwrap());
}

/// Extending goes through the same queue, so that all that was sent before has been taken.
async fn store_caught_up(guard: &cachestore::LockGuard) {
    guard.extend(LONG).await.unwrap();
}

#[tokio::test]
async fn memory_ten_thousand_waiters_in_order() {
    in_order(Store::open(Config::memory()).await.unwrap(), 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_with_two_workers() {
    in_order(Store::open(Config::memory()).await.unwrap(), 10_000).await;
}

async fn redis_ten_thousand_waiters_in_order() {
    let place = Place::start().await;
    let calls = |name: &str| -> u64 {
        let begin = format!("cmdstat_{name}:calls=");
        let of_one = |server: &RedisServer| -> u64 {
            let info = server.command(&["INFO", "commandstats"]).text();
            let line = info.lines().find_map(|line| line.strip_prefix(&begin));
            line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
        };
        place.servers().iter().map(of_one).sum()
    };
    let all = || calls("evalsha") + calls("eval") + calls("subscribe");
    let before = all();
    in_order(open(place.config()).await, 10_000).await;
    let sent = all() - before;
    println!("{sent} commands");
    if place.is_alone() {
        // Seven thousand acquisitions, of three commands each at most.
        assert!(sent <= 3 * 7_200, "{sent}");
    }
}
