//! How calls end.

use std::future::IntoFuture;

use cachestore::Error;
use tokio::time::timeout;

use crate::seen::{Seen, SpanSeen, World, on_both_engines};
use crate::support::{ms, secs};

on_both_engines!(
    an_error_has_its_outcome_as_type_and_sets_the_status,
    a_cancelled_call_closes_as_cancelled,
    a_cancelled_load_goes_on_in_a_span_of_its_own,
);

fn end(span: &SpanSeen) -> (Option<&str>, Option<&str>, Option<&str>) {
    assert!(span.is_closed, "{span:?}");
    (
        span.outcome(),
        span.field("error.type"),
        span.field("otel.status_code"),
    )
}

fn failed(outcome: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
    (Some(outcome), Some(outcome), Some("ERROR"))
}

async fn an_error_has_its_outcome_as_type_and_sets_the_status(world: World, seen: Seen) {
    let store = &world.store;
    store.set("text", "text").await.unwrap();
    assert!(store.incr("text", 1).await.is_err());
    assert_eq!(end(&seen.only("incr")), failed("data"));
    let held = store.lock("k").await.unwrap();
    let mark = seen.mark();
    assert!(store.lock("k").await.is_err());
    assert_eq!(end(&seen.since(mark)[0]), failed("lock_held"));
    assert!(store.release_lock("k", "another").await.is_err());
    assert_eq!(end(&seen.only("release_lock")), failed("lock_mismatch"));
    held.release().await.unwrap();
    assert!(
        store
            .get_or_load("l", || async { Err::<i32, _>("no") })
            .await
            .is_err()
    );
    assert_eq!(end(&seen.only("get_or_load")), failed("load_failed"));
    store.close().await.unwrap();
    assert!(matches!(store.get("text").await, Err(Error::Closed)));
    assert_eq!(end(&seen.only("get")), failed("closed"));
}

async fn a_cancelled_call_closes_as_cancelled(world: World, seen: Seen) {
    let store = &world.store;
    let held = store.lock("k").await.unwrap();
    let mark = seen.mark();
    let waits = timeout(ms(20), store.lock("k").wait(secs(60)).into_future()).await;
    assert!(waits.is_err());
    assert_eq!(end(&seen.since(mark)[0]), (Some("cancelled"), None, None));
    held.release().await.unwrap();
    // Polled once, and dropped before the engine has answered.
    let mut get = Box::pin(store.get("k"));
    assert!(futures_util::poll!(get.as_mut()).is_pending());
    drop(get);
    assert_eq!(end(&seen.only("get")), (Some("cancelled"), None, None));
}

async fn a_cancelled_load_goes_on_in_a_span_of_its_own(world: World, seen: Seen) {
    let store = &world.store;
    let (go, gate) = tokio::sync::oneshot::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let load = store.get_or_load("k", move || async move {
        begun.send(()).unwrap();
        gate.await.unwrap();
        Ok::<_, String>(1)
    });
    tokio::select! {
        _ = load.into_future() => panic!("it waits"),
        begins = begins => begins.unwrap(),
    }
    let call = seen.only("get_or_load");
    assert_eq!(call.outcome(), Some("cancelled"));
    assert_eq!(seen.only("load").outcome(), None);
    go.send(()).unwrap();
    while seen.only("load").outcome().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.only("load").outcome(), Some("ok"));
}

#[cfg(feature = "testing")]
mod faults {
    use cachestore::testing::Faults;
    use cachestore::{Config, NearCache};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn unknown_outcomes_are_told_from_failures_before_the_engine() {
        let seen = Seen::begin();
        let faults = Faults::default();
        let config = Config::memory().near_cache(NearCache::off()).faults(&faults);
        let store = crate::support::open(config).await;
        faults.fail_next(1);
        assert!(matches!(store.set("k", "v").await, Err(Error::Unavailable(_))));
        faults.lose_next_replies(1);
        assert!(store.add("k", "v").await.is_err());
        faults.delay(secs(60));
        assert!(matches!(store.get("k").await, Err(Error::Timeout { .. })));
        assert_eq!(end(&seen.only("set")), failed("unavailable"));
        assert_eq!(end(&seen.only("add")), failed("outcome_unknown"));
        assert_eq!(end(&seen.only("get")), failed("timeout"));
    }
}
