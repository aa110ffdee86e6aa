//! What a store says of itself, and how it ends.

use cachestore::{EngineKind, Error, Store};

use super::calls;
use crate::support::secs;

pub(crate) async fn a_ping_is_answered(store: Store) {
    assert!(store.ping().await.unwrap() < secs(5));
}

pub(crate) async fn a_handle_shows_what_it_is_and_no_more(store: Store) {
    store.set("key-of-hunter2", "hunter2").await.unwrap();
    let inner = store.namespace("tenant-7").unwrap();
    for handle in [&store, &inner] {
        assert_eq!(handle.engine(), handle.config().engine());
        assert_eq!(handle.config(), store.config());
        assert!(!format!("{handle:?} {handle:#?} {:?}", handle.config()).contains("hunter2"));
    }
    assert!(format!("{inner:?}").contains("tenant-7"));
}

pub(crate) async fn stats_count_what_was_done(store: Store) {
    store
        .set_many([("a", "1"), ("b", "2"), ("c", "3")])
        .await
        .unwrap();
    store.set("d", "4").depends_on(["a"]).await.unwrap();
    store.get("a").await.unwrap();
    store.get_many(["a", "absent"]).await.unwrap();
    store.get_string("absent").await.unwrap();
    store.delete("b").await.unwrap();
    store.delete("b").await.unwrap();
    store.take("c").await.unwrap();
    store.invalidate(["a"]).await.unwrap();
    store.get(" ").await.unwrap_err();
    let stats = store.clone().namespace("n").unwrap().stats().await.unwrap();
    assert_eq!(
        (stats.sets, stats.deletes, stats.invalidated, stats.refused),
        (4, 2, 2, 1),
        "{stats:?}"
    );
    assert_eq!((stats.hits, stats.misses), (3, 2), "{stats:?}");
    // What only the server knows is not told.
    let known = (store.engine() == EngineKind::Memory).then_some(0);
    assert_eq!(
        (stats.evicted, stats.expired, stats.resets),
        (known, known, 0),
        "{stats:?}"
    );
    assert_eq!(stats.entries.is_some(), known.is_some(), "{stats:?}");
    assert_eq!(stats.bytes.is_some(), known.is_some(), "{stats:?}");
}

/// Every kind of call that is refused for its arguments is counted, once.
pub(crate) async fn stats_count_every_refusal(store: Store) {
    let mut refusals = 0;
    let mut outcomes = calls::with_key(&store, "").await;
    outcomes.extend(calls::with_name(&store, "").await);
    outcomes.extend(calls::with_ttl(&store, std::time::Duration::ZERO).await);
    for (call, outcome) in outcomes {
        assert!(outcome.is_err(), "{call}");
        refusals += 1;
    }
    store.namespace("").unwrap_err();
    assert_eq!(store.stats().await.unwrap().refused, refusals + 1);
}

pub(crate) async fn a_closed_store_answers_closed_to_every_call(store: Store) {
    let (clone, inner) = (store.clone(), store.namespace("n").unwrap());
    store.set("k", "v").await.unwrap();
    store.close().await.unwrap();
    for handle in [&store, &clone, &inner, &inner.namespace("later").unwrap()] {
        for (call, outcome) in calls::all(handle).await {
            assert!(matches!(outcome, Err(Error::Closed)), "{call}: {outcome:?}");
        }
    }
}

pub(crate) async fn a_second_close_is_ok(store: Store) {
    let inner = store.namespace("n").unwrap();
    inner.close().await.unwrap();
    store.close().await.unwrap();
    store.clone().close().await.unwrap();
}

pub(crate) async fn many_may_close_at_once(store: Store) {
    let closes = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.close().await })
    });
    for closed in futures_util::future::try_join_all(closes).await.unwrap() {
        closed.unwrap();
    }
    assert!(matches!(store.ping().await, Err(Error::Closed)));
}

/// Calls that meet a close are either carried out or `Closed`; none hangs, none fails otherwise.
pub(crate) async fn a_call_that_meets_a_close_has_one_of_two_ends(store: Store) {
    let calls = (0..100).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut counted = 0;
            loop {
                match store.incr(format!("n{n}"), 1).await {
                    Ok(sum) => {
                        counted += 1;
                        assert_eq!(sum, counted);
                    }
                    Err(Error::Closed) => return counted,
                    Err(other) => panic!("{other:?}"),
                }
                tokio::task::yield_now().await;
            }
        })
    });
    let calls: Vec<_> = calls.collect();
    store.ping().await.unwrap();
    store.close().await.unwrap();
    for call in calls {
        call.await.unwrap();
    }
}

pub(crate) async fn other_handles_outlive_the_first(store: Store) {
    let inner = store.namespace("n").unwrap();
    drop(store);
    inner.set("k", "v").await.unwrap();
    assert_eq!(inner.get_string("k").await.unwrap().unwrap(), "v");
}
