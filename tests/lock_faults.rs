//! Locks over an engine that fails on command: whoever waits is served.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use cachestore::testing::Faults;
use cachestore::{Config, Store};
use tokio::time::{Instant, timeout};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

async fn open() -> (Store, Faults) {
    let faults = Faults::default();
    let store = Store::open(Config::memory().faults(&faults)).await.unwrap();
    (store, faults)
}

/// What the lost reply granted is released, and the next caller is asked for.
#[tokio::test(start_paused = true)]
async fn a_waiter_who_leaves_after_a_lost_reply_holds_up_nobody() {
    let (store, faults) = open().await;
    faults.lose_next_replies(1);
    let left = timeout(10 * MS, store.lock("k").wait(10 * SECOND)).await;
    assert!(left.is_err(), "it sleeps before it asks again");
    let next = timeout(SECOND, store.lock("k").wait(10 * SECOND)).await;
    drop(next.expect("the lock is free").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_made_again_wakes_the_next_in_line() {
    let (store, faults) = open().await;
    let guard = store.lock("k").ttl(30 * SECOND).await.unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.lock("k").wait(5 * SECOND).await.map(drop) }
    });
    tokio::time::sleep(MS).await;
    faults.fail_next(1);
    let began = Instant::now();
    drop(guard);
    waiting.await.unwrap().unwrap();
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

/// Whoever asks with a secret while others wait asks first whether it holds the lock already.
#[tokio::test(start_paused = true)]
async fn a_wait_with_a_secret_outlasts_a_passing_failure() {
    let (store, faults) = open().await;
    let guard = store.lock("k").ttl(30 * SECOND).await.unwrap();
    let wait = |secret: Option<&'static str>| {
        let store = store.clone();
        tokio::spawn(async move {
            let lock = store.lock("k").wait(20 * SECOND);
            match secret {
                Some(secret) => lock.secret(secret).await.map(drop),
                None => lock.await.map(drop),
            }
        })
    };
    let mut waiters = vec![wait(None)];
    tokio::time::sleep(MS).await;
    for secret in ["failed", "lost"] {
        if secret == "lost" {
            faults.lose_next_replies(1);
        } else {
            faults.fail_next(1);
        }
        waiters.push(wait(Some(secret)));
        tokio::time::sleep(SECOND).await;
        let is_over = waiters.iter().any(tokio::task::JoinHandle::is_finished);
        assert!(!is_over, "{secret}: it waits for its turn");
    }
    guard.release().await.unwrap();
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
}

/// The engine may have carried out what it did not answer: a guard counts on the earlier end.
#[tokio::test(start_paused = true)]
async fn a_guard_ends_with_a_shorter_time_that_its_secret_was_given() {
    let (store, faults) = open().await;
    for is_lost in [false, true] {
        let guard = store.lock("k").ttl(60 * SECOND).await.unwrap();
        faults.lose_next_replies(usize::from(is_lost));
        let extended = store.extend_lock("k", guard.secret(), SECOND).await;
        assert_eq!(extended.is_err(), is_lost, "{extended:?}");
        assert!(guard.remaining() <= SECOND, "{:?}", guard.remaining());
        timeout(2 * SECOND, guard.lost())
            .await
            .expect("another can hold it");
    }
}

/// The engine carries out the guard's own question first.
#[tokio::test(start_paused = true)]
async fn a_guard_that_is_extended_twice_ends_with_the_earlier_end() {
    let (store, faults) = open().await;
    faults.delay(100 * MS);
    for (of_secret, expected) in [(60, 60), (90, 60), (20, 20)] {
        let guard = store.lock("k").ttl(10 * SECOND).await.unwrap();
        let (own, other) = tokio::join!(
            guard.extend(60 * SECOND),
            store.extend_lock("k", guard.secret(), of_secret * SECOND)
        );
        own.unwrap();
        other.unwrap();
        let remaining = guard.remaining();
        let expected = (expected - 1) * SECOND..=expected * SECOND;
        assert!(expected.contains(&remaining), "{of_secret} s: {remaining:?}");
        guard.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_ends_with_a_shorter_time_of_a_later_hold_of_its_secret() {
    let (store, faults) = open().await;
    let guard = store.lock("k").ttl(60 * SECOND).await.unwrap();
    faults.lose_next_replies(1);
    let again = store.write_lock_with_secret("k", guard.secret(), SECOND).await;
    assert!(again.is_err(), "its reply is lost");
    assert!(guard.remaining() <= SECOND, "{:?}", guard.remaining());
    timeout(2 * SECOND, guard.lost())
        .await
        .expect("another can hold it");
}
