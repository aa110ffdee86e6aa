//! Calls by call and outcome.

use std::collections::BTreeMap;
use std::future::IntoFuture;

use cachestore::{Error, LoadError};
use futures_util::TryStreamExt;
use tokio::time::timeout;

use crate::support::{ms, secs};
use crate::told::{Recorded, World, on_both_engines};

on_both_engines!(
    every_call_is_counted_once_under_its_name,
    a_call_that_is_split_is_counted_once,
    refused_arguments_are_no_calls,
    failures_have_outcomes_of_their_own,
);

/// The calls of `recorded`, without those that opening and reading the figures make.
fn script(recorded: &mut Recorded) -> BTreeMap<(String, String), u64> {
    let mut calls = recorded.calls();
    calls.retain(|(call, _), _| call != "ping");
    calls
}

fn expected(calls: &[(&str, &str, u64)]) -> BTreeMap<(String, String), u64> {
    let named = |&(call, outcome, count): &(&str, &str, u64)| ((call.to_owned(), outcome.to_owned()), count);
    calls.iter().map(named).collect()
}

async fn every_call_is_counted_once_under_its_name(world: World, mut recorded: Recorded) {
    let store = &world.store;
    store.set("a", "1").await.unwrap();
    store.set_model("m", &7).await.unwrap();
    store.add("b", "2").await.unwrap();
    store.replace("b", "3").await.unwrap();
    store.compare_and_set("b", "3", "4").await.unwrap();
    store.compare_and_set_model("m", &7, &8).await.unwrap();
    store.swap("b", "5").await.unwrap();
    store.set_many([("c", "1"), ("d", "2")]).await.unwrap();
    store.get("a").await.unwrap();
    store.get_string("a").await.unwrap();
    store.get_model::<i32>("m").await.unwrap();
    store.get_shared::<i32>("m").await.unwrap();
    store.get_many(["a", "b"]).await.unwrap();
    store.get_models::<i32>(["m"]).await.unwrap();
    store.exists("a").await.unwrap();
    store.ttl("a").await.unwrap();
    store.expire("a", secs(60)).await.unwrap();
    store.persist("a").await.unwrap();
    store.get_and_touch("a", secs(60)).await.unwrap();
    store.incr("n", 1).await.unwrap();
    store.counter("n").await.unwrap();
    store
        .update_model("m", |old: Option<i32>| old.map(|old| old + 1))
        .await
        .unwrap();
    store.take("c").await.unwrap();
    store.delete("d").await.unwrap();
    store.delete_many(["d", "e"]).await.unwrap();
    store.invalidate("nothing").await.unwrap();
    let _: Vec<String> = store.scan("").try_collect().await.unwrap();
    store
        .get_or_load("l", || async { Ok::<_, String>(1) })
        .await
        .unwrap();
    let many = |keys: Vec<String>| async { Ok::<_, String>(keys.into_iter().map(|key| (key, 1)).collect()) };
    store.get_or_load_many(["x", "y"], many).await.unwrap();
    store.lock("k").await.unwrap().release().await.unwrap();
    let secret = store.write_lock("k", secs(60)).await.unwrap();
    store.extend_lock("k", &secret, secs(60)).await.unwrap();
    store.lock_info("k").await.unwrap();
    store.release_lock("k", &secret).await.unwrap();
    store.force_release("k").await.unwrap();
    store.clear().await.unwrap();
    store.stats().await.unwrap();

    let of = |call, count| (call, "ok", count);
    let expected = expected(&[
        of("set", 2),
        of("add", 1),
        of("replace", 1),
        of("compare_and_set", 2),
        of("swap", 1),
        of("set_many", 1),
        // `get`, `get_string`, `get_model`, `get_shared`, and `counter`.
        of("get", 5),
        of("get_many", 2),
        of("exists", 1),
        of("ttl", 1),
        of("expire", 1),
        of("persist", 1),
        of("get_and_touch", 1),
        of("incr", 1),
        of("update_model", 1),
        of("take", 1),
        of("delete", 1),
        of("delete_many", 1),
        of("invalidate", 1),
        of("scan", 1),
        of("get_or_load", 1),
        of("get_or_load_many", 1),
        of("lock", 2),
        of("extend_lock", 1),
        of("lock_info", 1),
        of("release_lock", 1),
        of("force_release", 1),
        of("clear", 1),
        of("stats", 1),
    ]);
    assert_eq!(script(&mut recorded), expected);
    // Opening a store asks for one sign of life.
    assert_eq!(
        recorded.count(
            "cachestore_calls_total",
            &[("call", "ping"), ("engine", world.engine)]
        ),
        1
    );
    for ((call, _), count) in expected {
        let took = recorded.samples("cachestore_call_duration_seconds", &[("call", &call)]);
        assert_eq!(took.len() as u64, count, "{call}");
        assert!(
            took.iter().all(|took| (0.0..5.0).contains(took)),
            "{call}: {took:?}"
        );
    }
}

async fn a_call_that_is_split_is_counted_once(world: World, mut recorded: Recorded) {
    let keys: Vec<String> = (0..2_000).map(|n| format!("k{n}")).collect();
    world
        .store
        .set_many(keys.iter().map(|key| (key, "v")))
        .await
        .unwrap();
    world.store.get_many(&keys).await.unwrap();
    world.store.delete_many(&keys).await.unwrap();
    let expected = expected(&[
        ("set_many", "ok", 1),
        ("get_many", "ok", 1),
        ("delete_many", "ok", 1),
    ]);
    assert_eq!(script(&mut recorded), expected);
}

async fn refused_arguments_are_no_calls(world: World, mut recorded: Recorded) {
    let store = &world.store;
    assert!(matches!(store.get(" ").await, Err(Error::KeyRequired)));
    assert!(matches!(
        store.set("k", "v").ttl(ms(0)).await,
        Err(Error::InvalidTtl { .. })
    ));
    assert!(store.lock(" ").await.is_err());
    assert!(
        store
            .get_or_load(" ", || async { Ok::<_, String>(1) })
            .await
            .is_err()
    );
    assert_eq!(script(&mut recorded), expected(&[]));
    store.stats().await.unwrap();
    assert_eq!(
        recorded.count("cachestore_refused_total", &[("engine", world.engine)]),
        4
    );
}

async fn failures_have_outcomes_of_their_own(world: World, mut recorded: Recorded) {
    let store = &world.store;
    store.set("text", "text").await.unwrap();
    assert!(matches!(store.incr("text", 1).await, Err(Error::NotAnInteger)));
    let held = store.lock("k").await.unwrap();
    assert!(matches!(store.lock("k").await, Err(Error::LockHeld)));
    assert!(matches!(
        store.release_lock("k", "another").await,
        Err(Error::LockMismatch)
    ));
    held.release().await.unwrap();
    let failed = store.get_or_load("l", || async { Err::<i32, _>("no") }).await;
    assert!(matches!(failed, Err(LoadError::Loader(_))));
    let late = store
        .get_or_load("s", std::future::pending::<Result<i32, String>>)
        .timeout(ms(20))
        .await;
    assert!(matches!(late, Err(LoadError::Timeout)));
    // A caller that leaves while another holds the lock.
    let held = store.lock("k").await.unwrap();
    assert!(
        timeout(ms(20), store.lock("k").wait(secs(60)).into_future())
            .await
            .is_err()
    );
    held.release().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.get("text").await, Err(Error::Closed)));

    let expected = expected(&[
        ("set", "ok", 1),
        ("incr", "data", 1),
        ("lock", "ok", 2),
        ("lock", "lock_held", 1),
        ("lock", "cancelled", 1),
        ("release_lock", "lock_mismatch", 1),
        ("get_or_load", "load_failed", 1),
        ("get_or_load", "timeout", 1),
        ("get", "closed", 1),
    ]);
    assert_eq!(script(&mut recorded), expected);
}

#[cfg(feature = "testing")]
mod faults {
    use cachestore::testing::Faults;
    use cachestore::{Config, NearCache};

    use super::*;
    use crate::told::Told;

    #[tokio::test(start_paused = true)]
    async fn unknown_outcomes_are_told_from_failures_before_the_engine() {
        let told = Told::new();
        let (_guard, mut recorded) = told.install();
        let faults = Faults::default();
        let config = Config::memory().near_cache(NearCache::off()).faults(&faults);
        let store = crate::support::open(config).await;
        faults.fail_next(1);
        assert!(matches!(store.set("k", "v").await, Err(Error::Unavailable(_))));
        faults.lose_next_replies(1);
        assert!(matches!(store.set("k", "v").await, Err(Error::OutcomeUnknown(_))));
        faults.down();
        let failed = store.get_or_load("k", || async { Ok::<_, String>(1) }).await;
        assert!(matches!(failed, Err(LoadError::Store(Error::Unavailable(_)))));
        faults.up();
        faults.delay(secs(60));
        assert!(matches!(store.get("k").await, Err(Error::Timeout { .. })));
        assert!(timeout(ms(20), store.get("k")).await.is_err());
        let expected = expected(&[
            ("set", "unavailable", 1),
            ("set", "outcome_unknown", 1),
            ("get_or_load", "unavailable", 1),
            ("get", "timeout", 1),
            ("get", "cancelled", 1),
        ]);
        assert_eq!(script(&mut recorded), expected);
    }
}
