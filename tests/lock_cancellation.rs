//! A caller who goes at any moment leaves neither a lock nor a place in line behind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "support/redis/mod.rs"]
mod harness;

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use cachestore::{Config, Error, Store};
use harness::{Direction, Proxy, RedisServer, Seeded, Toxic};
use tokio::time::{Instant, timeout};

const MS: Duration = Duration::from_millis(1);
const TTL: Duration = Duration::from_secs(60);
/// What the next may wait for, at most: far less than the TTL.
const SOON: Duration = Duration::from_millis(50);

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

/// The lock can be had soon.
async fn is_free(store: &Store, what: &str) {
    let began = Instant::now();
    let next = store.lock("k").ttl(TTL).wait(10 * SOON * 10).await;
    let took = began.elapsed();
    assert!(next.is_ok(), "{what}: {next:?}");
    assert!(took <= SOON, "{what}: {took:?}");
    next.unwrap().release().await.unwrap();
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

async fn at_random(store: Store, rounds: u64) {
    let mut random = Seeded::new(7);
    for round in 0..rounds {
        let guard = if random.percent(50) {
            Some(store.lock("k").ttl(TTL).await.unwrap())
        } else {
            None
        };
        let (polls, after) = (random.below(8) as usize, random.below(4) as u32);
        let futures = (0..random.below(4)).map(|_| store.lock("k").ttl(TTL).wait(TTL).into_future());
        let futures: Vec<_> = futures.collect();
        let tasks = futures
            .into_iter()
            .map(|future| polled(future, polls, after * MS / 2));
        let all = futures_util::future::join_all(tasks);
        let (granted, ()) = tokio::join!(all, async move {
            for _ in 0..after {
                tokio::task::yield_now().await;
            }
            drop(guard);
        });
        drop(granted);
        if round % 16 == 0 {
            is_free(&store, &format!("round {round}")).await;
        }
    }
    is_free(&store, "at last").await;
    assert_eq!(store.lock_info("k").await.unwrap(), None);
}

#[tokio::test]
async fn memory_dropped_at_each_poll() {
    each_poll(Store::open(Config::memory()).await.unwrap()).await;
}

#[tokio::test]
async fn redis_dropped_at_each_poll() {
    let server = RedisServer::start().await;
    each_poll(Store::open(Config::redis(&server.url()).unwrap()).await.unwrap()).await;
}

#[tokio::test]
async fn memory_dropped_at_random() {
    at_random(Store::open(Config::memory()).await.unwrap(), 20_000).await;
}

#[tokio::test]
async fn redis_dropped_at_random() {
    let server = RedisServer::start().await;
    let store = Store::open(Config::redis(&server.url()).unwrap()).await.unwrap();
    at_random(store, 1_000).await;
}

/// The server grants the lock and its answer is lost: the lock is released all the same.
#[tokio::test]
async fn an_acquisition_whose_answer_is_lost_is_released() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 3).await;
    let config = Config::redis(&proxy.url()).unwrap().request_timeout(2000 * MS);
    let store = Store::open(config).await.unwrap();
    let direct = Store::open(Config::redis(&server.url()).unwrap()).await.unwrap();
    for round in 0..5 {
        proxy.add(Direction::Down, Toxic::Timeout { close: None });
        let asking = tokio::spawn({
            let store = store.clone();
            async move { store.lock("k").ttl(TTL).await.map(drop) }
        });
        while direct.lock_info("k").await.unwrap().is_none() {
            tokio::time::sleep(MS).await;
        }
        proxy.down().await;
        while proxy.living() > 0 {
            tokio::time::sleep(MS).await;
        }
        proxy.heal();
        proxy.up().await;
        let answer = asking.await.unwrap();
        assert!(
            matches!(answer, Err(Error::OutcomeUnknown(_))),
            "round {round}: {answer:?}"
        );
        let next = direct.lock("k").wait(10 * 1000 * MS).await;
        assert!(next.is_ok(), "round {round}: {next:?}");
    }
}
