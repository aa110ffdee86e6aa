//! What a task has done is seen by what it does next, whichever way each takes inside.
//!
//! These run on several workers: only there can an actor be busy while its caller goes on.

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use cachestore::{EngineKind, Error, LockGuard, Release, Store};

use crate::support::{ms, secs};

/// A server is slower to ask, and is asked by several of these.
fn rounds(store: &Store) -> u32 {
    if store.engine() == EngineKind::Memory {
        2_000
    } else {
        250
    }
}

async fn lock(store: &Store) -> LockGuard {
    store.lock("k").wait(secs(30)).await.unwrap()
}

/// Polls a future once, and drops it.
async fn begin_and_drop(future: impl IntoFuture) {
    let mut future = Box::pin(future.into_future());
    poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

pub(crate) async fn a_dropped_guard_is_released_for_the_next_lock(store: Store) {
    for round in 0..rounds(&store) {
        drop(lock(&store).await);
        let next = store.lock("k").await;
        assert!(next.is_ok(), "round {round}: {next:?}");
    }
}

pub(crate) async fn a_dropped_guard_is_released_for_calls_by_secret(store: Store) {
    for round in 0..rounds(&store) {
        drop(lock(&store).await);
        assert_eq!(store.lock_info("k").await.unwrap(), None, "round {round}");
        drop(lock(&store).await);
        assert!(!store.force_release("k").await.unwrap(), "round {round}");
        let guard = lock(&store).await;
        let secret = guard.secret().clone();
        drop(guard);
        let released = store.release_lock("k", &secret).await.unwrap();
        assert_eq!(released, Release::NotHeld, "round {round}");
        drop(lock(&store).await);
        let secret = store.write_lock("k", secs(60)).await;
        let secret = secret.unwrap_or_else(|error| panic!("round {round}: {error}"));
        store.release_lock("k", &secret).await.unwrap();
    }
}

pub(crate) async fn a_dropped_extension_does_not_outlive_its_guard(store: Store) {
    for round in 0..rounds(&store) {
        let guard = lock(&store).await;
        begin_and_drop(guard.extend(secs(60))).await;
        drop(guard);
        let next = store.lock("k").await;
        assert!(next.is_ok(), "round {round}: {next:?}");
    }
}

pub(crate) async fn a_dropped_release_is_made_before_the_next_lock(store: Store) {
    for round in 0..rounds(&store) {
        let guard = lock(&store).await;
        begin_and_drop(guard.release()).await;
        let next = store.lock("k").await;
        assert!(next.is_ok(), "round {round}: {next:?}");
    }
}

pub(crate) async fn a_dropped_waiter_is_in_nobodys_way(store: Store) {
    for round in 0..rounds(&store) {
        let guard = lock(&store).await;
        begin_and_drop(store.lock("k").wait(secs(30))).await;
        drop(guard);
        let next = store.lock("k").await;
        assert!(next.is_ok(), "round {round}: {next:?}");
    }
}

/// With room for one who waits for a load.
pub(crate) async fn a_dropped_load_makes_room_for_the_next(store: Store) {
    let load = |key: String| {
        store.get_or_load(key, || async {
            tokio::time::sleep(ms(1)).await;
            Ok::<_, Error>(1)
        })
    };
    for round in 0..rounds(&store) {
        let mut first = Box::pin(load(format!("{round}a")).into_future());
        // Its first poll reads the key; the next ones ask for the load, and wait for it.
        let mut polls = 3;
        let ended = poll_fn(|cx| match Pin::new(&mut first).poll(cx) {
            Poll::Ready(loaded) => Poll::Ready(Some(loaded)),
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => {
                polls -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        drop(ended.await);
        drop(first);
        let next = load(format!("{round}b")).await;
        assert!(next.is_ok(), "round {round}: {next:?}");
    }
}
