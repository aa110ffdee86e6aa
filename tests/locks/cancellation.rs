//! A caller who goes at any moment leaves neither a lock nor a place in line behind.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use cachestore::{Config, EngineKind, Store};
use tokio::time::{Instant, timeout};

use crate::harness::opening::open;
use crate::harness::place::over_each_topology;
use crate::harness::{Place, RedisServer, Seeded};

const MS: Duration = Duration::from_millis(1);
const TTL: Duration = Duration::from_secs(60);
/// How long the next waits, at most. A lock that was not given back is held for the TTL, twelve times as long;
/// less than this would only measure how busy the machine is.
const SOON: Duration = Duration::from_secs(5);

over_each_topology! {
    redis_dropped_at_each_poll
    redis_dropped_at_random
}
over_each_topology! { over_all_nodes: Nodes;
    redis_dropped_at_each_poll
    redis_dropped_at_random
}

/// Polls a future so often, as it is woken, and drops it. Its answer if it is ready before.
async fn polled<F: Future>(future: F, times: usize, give_up: Duration) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = times;
    let poll = poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match Pin::new(&mut future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // The last poll is followed by the drop at once, and not when it is woken.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    timeout(give_up, poll).await.ok().flatten()
}

/// The lock can be had soon, and at once on the paused clock of the memory engine. Returns how long it took.
async fn is_free(store: &Store, what: &str) -> Duration {
    let began = Instant::now();
    let next = store.lock("k").ttl(TTL).wait(SOON).await;
    let took = began.elapsed();
    assert!(next.is_ok(), "{what}: {next:?}");
    if store.engine() == EngineKind::Memory {
        assert_eq!(took, Duration::ZERO, "{what}");
    }
    next.unwrap().release().await.unwrap();
    took
}

async fn each_poll(store: Store) {
    for polls in 0..6 {
        for pause in [0, 1, 3] {
            // A free lock.
            let future = store.lock("k").ttl(TTL).into_future();
            drop(polled(future, polls, pause * MS).await);
            is_free(&store, &format!("acquiring, {polls} polls")).await;
            let future = store.write_lock("k", TTL);
            if let Some(Ok(secret)) = polled(future, polls, pause * MS).await {
                store.release_lock("k", &secret).await.unwrap();
            }
            is_free(&store, &format!("by secret, {polls} polls")).await;
            // A held lock, released while another is dropped.
            let guard = store.lock("k").ttl(TTL).await.unwrap();
            let future = store.lock("k").ttl(TTL).wait(TTL).into_future();
            let waiting = polled(future, polls, pause * MS);
            let (waited, ()) = tokio::join!(waiting, async move {
                tokio::task::yield_now().await;
                drop(guard);
            });
            drop(waited);
            is_free(&store, &format!("waiting, {polls} polls")).await;
            // A release that is not waited for.
            let guard = store.lock("k").ttl(TTL).await.unwrap();
            drop(polled(guard.release(), polls, pause * MS).await);
            is_free(&store, &format!("releasing, {polls} polls")).await;
        }
    }
}

/// Futures are dropped at random moments, so many of them, while locks come and go.
async fn at_random(store: Store, drops: usize, seed: u64) {
    let mut random = Seeded::new(seed);
    let (mut dropped, mut held, mut round, mut waits) = (0, 0, 0_u64, Vec::new());
    let mut patience = 1;
    while dropped < drops {
        round += 1;
        let guard = if random.percent(50) {
            Some(store.lock("k").ttl(TTL).await.unwrap())
        } else {
            None
        };
        let after = random.below(4) as u32;
        // On a busy machine, too few of them would come to hold it.
        patience = if held < dropped / 50 {
            (2 * patience).min(256)
        } else {
            1
        };
        let tasks = (0..random.below(16)).map(|_| {
            let polls = random.below(8) as usize;
            let future = store.lock("k").ttl(TTL).wait(TTL).into_future();
            polled(future, polls, patience * after * MS / 2)
        });
        let tasks: Vec<_> = tasks.collect();
        let all = futures_util::future::join_all(tasks);
        let (granted, ()) = tokio::join!(all, async move {
            for _ in 0..after {
                tokio::task::yield_now().await;
            }
            drop(guard);
        });
        let got = granted.iter().flatten().count();
        dropped += granted.len() - got;
        held += got;
        drop(granted);
        if round % 16 == 0 {
            waits.push(is_free(&store, &format!("round {round}")).await);
        }
    }
    waits.push(is_free(&store, "at last").await);
    assert_eq!(store.lock_info("k").await.unwrap(), None);
    waits.sort();
    let (most, longest) = (waits[waits.len() * 19 / 20], waits[waits.len() - 1]);
    println!("{dropped} futures dropped, {held} guards; the next waited {most:?}, {longest:?} at most");
    assert!(held > dropped / 100, "some came to hold it");
}

#[tokio::test(start_paused = true)]
async fn memory_dropped_at_each_poll() {
    each_poll(Store::open(Config::memory()).await.unwrap()).await;
}

async fn redis_dropped_at_each_poll() {
    let place = Place::start().await;
    each_poll(open(place.config()).await).await;
}

#[tokio::test(start_paused = true)]
async fn memory_dropped_at_random() {
    at_random(Store::open(Config::memory()).await.unwrap(), 100_000, 7).await;
}

async fn redis_dropped_at_random() {
    let place = Place::start().await;
    at_random(open(place.config()).await, 2_000, 7).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_memory_dropped_at_random() {
    at_random(Store::open(Config::memory()).await.unwrap(), 100_000, 11).await;
}

#[tokio::test]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_redis_dropped_at_random() {
    let server = RedisServer::start().await;
    let store = Store::open(Config::redis(&server.url()).unwrap()).await.unwrap();
    at_random(store, 100_000, 11).await;
}
