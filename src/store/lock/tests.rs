//! Locks through faults that only a crate-internal request can cause.

use std::time::Duration;

use crate::request::{self, Request};
use crate::{Config, Error, Release, Store};

#[tokio::test(start_paused = true)]
async fn held_locks_are_still_held_after_a_panic_in_the_engine() {
    let store = Store::open(Config::memory()).await.unwrap();
    let guard = store.lock("k").await.unwrap();
    let waiter = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .lock("k")
                .wait(Duration::from_secs(60))
                .await
                .unwrap()
                .fencing_token()
        }
    });
    tokio::task::yield_now().await;
    for inside_the_table in [false, true] {
        store.set("v", "value").await.unwrap();
        let fault = request::Panic { inside_the_table };
        assert!(store.inner.queue.call().ask(fault).await.is_err());
        assert!(matches!(store.lock("k").await, Err(Error::LockHeld)));
        assert_eq!(
            store.lock_info("k").await.unwrap().unwrap().fencing_token,
            guard.fencing_token()
        );
    }
    assert_eq!(store.stats().await.unwrap().resets, 1);
    let fence = guard.fencing_token();
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    assert!(waiter.await.unwrap() > fence, "fences outlive the fault too");
}

#[test]
fn locks_do_not_make_requests_larger() {
    assert!(size_of::<Request>() <= 96, "{}", size_of::<Request>());
}
