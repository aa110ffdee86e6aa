//! Every call is one span, with its name and its fields.

use std::collections::{BTreeSet, HashMap};

use cachestore::{EngineKind, Store};
use futures_util::TryStreamExt;
use tracing::{Instrument, info_span};

use crate::seen::{Seen, World, on_both_engines};
use crate::support::secs;

on_both_engines!(
    every_call_is_one_span,
    a_call_that_is_split_is_one_span,
    what_asks_nobody_is_no_span,
);

/// The names in the library's table of calls.
fn all_names() -> BTreeSet<&'static str> {
    let table = include_str!("../../src/calls/name.rs");
    let rows = table
        .lines()
        .filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" => \""));
    rows.map(|(_, name)| name).collect()
}

/// Runs each call in a span of its caller's, and checks which spans it makes. Returns their names.
macro_rules! spans_of {
    ($check:expr; $($name:literal: $call:expr,)+) => {
        [$(($name, {
            let mark = $check.0.mark();
            let caller = info_span!("caller");
            let done = async { $call.await }.instrument(caller).await;
            let _ = done.unwrap();
            $check.check($name, mark)
        })),+]
    };
}

struct Check<'a>(&'a Seen, &'a World);

impl Check<'_> {
    /// There is one span with this name, in that of the caller, with these fields.
    fn check(&self, name: &'static str, mark: usize) {
        let Check(seen, world) = self;
        let mut spans = seen.since(mark);
        // Reading the entries of a page begins with the page. The spans of loads have tests of their own.
        spans.retain(|span| span.name != "load" && (name, span.name) != ("scan_entries", "scan"));
        assert_eq!(spans.len(), 1, "{name}: {spans:?}");
        let span = &spans[0];
        assert_eq!(span.name, name);
        assert_eq!(span.parent, Some(("caller", mark)), "{name}");
        let mut expected = world.fields.clone();
        expected.insert("db.operation.name", name.to_owned());
        expected.insert("cachestore.outcome", "ok".to_owned());
        assert_eq!(span.fields, expected, "{name}");
        assert!(span.is_closed, "{name}");
    }
}

async fn many(keys: Vec<String>) -> Result<HashMap<String, i32>, String> {
    Ok(keys.into_iter().map(|key| (key, 1)).collect())
}

async fn every_call_is_one_span(world: World, seen: Seen) {
    let (store, check) = (&world.store, Check(&seen, &world));
    store.set("held", "held").await.unwrap();
    let guard = store.lock("guarded").await.unwrap();
    let by_secret = store.write_lock("l", secs(60)).await.unwrap();
    let mut called: BTreeSet<&str> = spans_of! { check;
        "set": store.set("a", "1"),
        "set": store.set_model("m", &7),
        "add": store.add("b", "2"),
        "add": store.add_model("bm", &2),
        "replace": store.replace("b", "3"),
        "compare_and_set": store.compare_and_set("b", "3", "4"),
        "compare_and_set": store.compare_and_set_model("m", &7, &8),
        "swap": store.swap("b", "5"),
        "set_many": store.set_many([("c", "1"), ("d", "2")]),
        "set_many": store.set_models([("cm", &1)]),
        "get": store.get("a"),
        "get": store.get_string("a"),
        "get": store.get_model::<i32>("m"),
        "get": store.get_shared::<i32>("m"),
        "get": store.get("absent"),
        "get_many": store.get_many(["a", "b"]),
        "get_many": store.get_models::<i32>(["m"]),
        "exists": store.exists("a"),
        "ttl": store.ttl("a"),
        "expire": store.expire("a", secs(60)),
        "persist": store.persist("a"),
        "get_and_touch": store.get_and_touch("a", secs(60)),
        "incr": store.incr("n", 1),
        "get": store.counter("n"),
        "update_model": store.update_model("m", |old: Option<i32>| old.map(|old| old + 1)),
        "take": store.take("c"),
        "delete": store.delete("d"),
        "delete_many": store.delete_many(["d", "e"]),
        "invalidate": store.invalidate("nothing"),
        "invalidate": store.invalidate("nothing").on_progress(|_| {}),
        "scan": store.scan("").try_collect::<Vec<_>>(),
        "scan_entries": store.scan_entries("held").try_collect::<Vec<_>>(),
        "get_or_load": store.get_or_load("x", || async { Ok::<_, String>(1) }),
        "get_or_load": store.get_or_load("x", || async { Ok::<_, String>(1) }),
        "get_or_load_many": store.get_or_load_many(["x", "y"], many),
        "lock": store.lock("k"),
        "lock": store.lock("k2").wait(secs(1)),
        "lock": store.write_lock("k3", secs(60)),
        "extend_lock": guard.extend(secs(60)),
        "release_lock": guard.release(),
        "extend_lock": store.extend_lock("l", &by_secret, secs(60)),
        "lock_info": store.lock_info("l"),
        "release_lock": store.release_lock("l", &by_secret),
        "force_release": store.force_release("l"),
        "clear": store.clear(),
        "ping": store.ping(),
        "stats": store.stats(),
    }
    .into_iter()
    .map(|(name, ())| name)
    .collect();
    if store.engine() == EngineKind::Redis {
        called.extend(raw_commands(store, &check).await);
    } else {
        called.insert("redis_command");
    }
    assert_eq!(called, all_names(), "each call has a case");
}

#[cfg(feature = "redis")]
async fn raw_commands(store: &Store, check: &Check<'_>) -> Option<&'static str> {
    let echo = cachestore::redis::cmd("ECHO").arg("hi").clone();
    let called = spans_of! { check; "redis_command": store.redis_command::<String>(&echo), };
    called.map(|(name, ())| name).into_iter().next()
}

#[cfg(not(feature = "redis"))]
async fn raw_commands(_: &Store, _: &Check<'_>) -> Option<&'static str> {
    None
}

async fn a_call_that_is_split_is_one_span(world: World, seen: Seen) {
    let (store, check) = (&world.store, Check(&seen, &world));
    let keys: Vec<String> = (0..2_000).map(|n| format!("k{n}")).collect();
    spans_of! { check;
        "set_many": store.set_many(keys.iter().map(|key| (key, "v"))),
        "get_many": store.get_many(&keys),
        "delete_many": store.delete_many(&keys),
    };
}

async fn what_asks_nobody_is_no_span(world: World, seen: Seen) {
    let store = &world.store;
    let mark = seen.mark();
    assert!(store.get(" ").await.is_err());
    assert!(store.set("k", "v").ttl(secs(0)).await.is_err());
    assert!(store.lock(" ").await.is_err());
    drop(store.get("k"));
    drop(store.get_or_load("k", || async { Ok::<_, String>(1) }));
    assert_eq!(seen.mark(), mark);
    let near = crate::support::memory().await;
    near.set("k", "v").await.unwrap();
    while near.stats().await.unwrap().near_hits == 0 {
        near.get("k").await.unwrap();
    }
    let mark = seen.mark();
    near.get("k").await.unwrap();
    near.exists("k").await.unwrap();
    assert_eq!(seen.mark(), mark, "hits in the near cache");
}
