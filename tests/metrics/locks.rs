//! Locks: who waits and who holds, for how long, and what is lost.

use std::future::IntoFuture;

use futures_util::poll;
use tokio::time::{sleep, timeout};

use crate::support::{ms, secs};
use crate::told::{Recorded, Told, World, on_both_engines};

on_both_engines!(
    waiters_and_holders_are_told,
    a_lock_that_ends_before_its_guard_is_lost
);

async fn waiters_and_holders_are_told(world: World, mut recorded: Recorded) {
    let store = &world.store;
    let engine = [("engine", world.engine)];
    let held = store.lock("k").await.unwrap();
    let other = store.lock("other").await.unwrap();
    assert_eq!(recorded.count("cachestore_locks_held", &engine), 2);
    let mut waiting = Box::pin(store.lock("k").wait(secs(60)).into_future());
    assert!(timeout(ms(50), &mut waiting).await.is_err());
    assert_eq!(recorded.count("cachestore_locks_waiting", &engine), 1);
    held.release().await.unwrap();
    let held = waiting.await.unwrap();
    assert_eq!(recorded.count("cachestore_locks_waiting", &engine), 0);
    assert_eq!(recorded.count("cachestore_locks_held", &engine), 2);
    held.release().await.unwrap();
    other.release().await.unwrap();
    assert_eq!(recorded.count("cachestore_locks_held", &engine), 0);
    assert_eq!(recorded.count("cachestore_locks_lost_total", &engine), 0);
    let waited = recorded.samples("cachestore_lock_wait_seconds", &engine);
    assert_eq!(waited.len(), 3);
    assert!(
        waited[2] >= 0.05 && waited[..2].iter().all(|waited| *waited < 0.05),
        "{waited:?}"
    );
    let held = recorded.samples("cachestore_lock_hold_seconds", &engine);
    assert_eq!(held.len(), 3);
    assert!(held[0] >= 0.05, "{held:?}");
}

async fn a_lock_that_ends_before_its_guard_is_lost(world: World, mut recorded: Recorded) {
    let store = &world.store;
    let held = store.lock("k").ttl(secs(60)).await.unwrap();
    assert!(store.force_release("k").await.unwrap());
    held.lost().await;
    drop(held);
    let held = store.lock("k").ttl(ms(50)).await.unwrap();
    sleep(ms(100)).await;
    drop(held);
    // The scheduler has the guards' drops behind it.
    store.lock("k").await.unwrap().release().await.unwrap();
    assert_eq!(recorded.count("cachestore_locks_lost_total", &[]), 2);
    assert_eq!(recorded.samples("cachestore_lock_hold_seconds", &[]).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn times_of_locks_are_exact() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let world = World::memory().await;
    let held = world.store.lock("k").await.unwrap();
    let mut waiting = Box::pin(world.store.lock("k").wait(secs(60)).into_future());
    assert!(poll!(&mut waiting).is_pending());
    sleep(secs(2)).await;
    drop(held);
    let held = waiting.await.unwrap();
    sleep(secs(3)).await;
    held.release().await.unwrap();
    assert_eq!(recorded.samples("cachestore_lock_wait_seconds", &[]), [0.0, 2.0]);
    assert_eq!(recorded.samples("cachestore_lock_hold_seconds", &[]), [2.0, 3.0]);
    assert_eq!(
        recorded.samples("cachestore_call_duration_seconds", &[("call", "lock")]),
        [0.0, 2.0]
    );
}

/// Locks by secret have no guard in this process.
#[tokio::test(start_paused = true)]
async fn locks_by_secret_are_calls_and_no_holds() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let world = World::memory().await;
    let secret = world.store.write_lock("k", secs(60)).await.unwrap();
    world.store.lock_info("k").await.unwrap();
    assert_eq!(recorded.count("cachestore_locks_held", &[]), 0);
    world.store.release_lock("k", &secret).await.unwrap();
    assert_eq!(
        recorded.count("cachestore_calls_total", &[("call", "lock"), ("outcome", "ok")]),
        1
    );
    assert_eq!(recorded.samples("cachestore_lock_wait_seconds", &[]).len(), 1);
    assert_eq!(recorded.samples("cachestore_lock_hold_seconds", &[]).len(), 0);
}
