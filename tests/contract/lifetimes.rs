//! TTLs, in the engine's real time: a case may look late, an entry may neither go early nor stay.

use std::time::Duration;

use cachestore::{Error, Store, Ttl};
use tokio::time::{Instant, sleep};

use super::calls;
use crate::support::{CENTURY, keys, ms, secs};

/// What is left of a TTL, which there must be.
async fn left(store: &Store, key: &str) -> Duration {
    match store.ttl(key).await.unwrap() {
        Some(Ttl::Remaining(left)) => left,
        other => panic!("{key} has {other:?}"),
    }
}

async fn is_persistent(store: &Store, key: &str) -> bool {
    store.ttl(key).await.unwrap() == Some(Ttl::Persistent)
}

pub(crate) async fn an_entry_without_a_ttl_is_persistent(store: Store) {
    store.set("set", "v").await.unwrap();
    store.add("add", "v").await.unwrap();
    store.set_many([("many", "v")]).await.unwrap();
    store.set_model("model", &1).await.unwrap();
    store.incr("n", 1).await.unwrap();
    for key in ["set", "add", "many", "model", "n"] {
        assert!(is_persistent(&store, key).await, "{key}");
    }
}

pub(crate) async fn ttl_tells_what_is_left_in_whole_milliseconds(store: Store) {
    let began = Instant::now();
    store.set("k", "v").ttl(secs(60)).await.unwrap();
    let left = left(&store, "k").await;
    assert!(left <= secs(60), "{left:?}");
    assert!(left + began.elapsed() + ms(5) >= secs(60), "{left:?}");
    assert_eq!(left.subsec_nanos() % 1_000_000, 0, "{left:?}");
}

pub(crate) async fn every_write_takes_a_ttl(store: Store) {
    store.set("set", "v").ttl(secs(60)).await.unwrap();
    assert!(store.add("add", "v").ttl(secs(60)).await.unwrap());
    store
        .set_many([("replace", "1"), ("swap", "1"), ("many", "1")])
        .await
        .unwrap();
    assert!(store.replace("replace", "v").ttl(secs(60)).await.unwrap());
    assert!(
        store
            .compare_and_set("swap", "1", "v")
            .ttl(secs(60))
            .await
            .unwrap()
    );
    store
        .set_many([("many", "v"), ("more", "v")])
        .ttl(secs(60))
        .await
        .unwrap();
    store.set_model("model", &1).ttl(secs(60)).await.unwrap();
    store.set_models([("models", &1)]).ttl(secs(60)).await.unwrap();
    for key in ["set", "add", "replace", "swap", "many", "more", "model", "models"] {
        assert!(left(&store, key).await <= secs(60), "{key}");
    }
}

pub(crate) async fn an_entry_does_not_go_before_its_time(store: Store) {
    let began = Instant::now();
    store.set("k", "v").ttl(ms(50)).await.unwrap();
    while store.exists("k").await.unwrap() {
        assert!(began.elapsed() < secs(10), "it never goes");
        sleep(ms(1)).await;
    }
    assert!(began.elapsed() >= ms(50), "it went after {:?}", began.elapsed());
}

/// To every call, an entry whose time has passed is not there.
pub(crate) async fn an_entry_past_its_time_is_absent(store: Store) {
    let expired = [
        "get", "exists", "ttl", "take", "delete", "replace", "swap", "persist", "expire", "add", "n",
    ];
    store
        .set_many(expired.map(|key| (key, "5")))
        .ttl(ms(20))
        .await
        .unwrap();
    sleep(ms(40)).await;
    assert_eq!(keys(&store, "").await, [""; 0]);
    assert_eq!(store.get("get").await.unwrap(), None);
    assert_eq!(store.get_many(["get", "exists"]).await.unwrap(), [None, None]);
    assert!(!store.exists("exists").await.unwrap());
    assert_eq!(store.ttl("ttl").await.unwrap(), None);
    assert_eq!(store.take("take").await.unwrap(), None);
    assert!(!store.delete("delete").await.unwrap());
    assert_eq!(store.delete_many(["delete"]).await.unwrap(), 0);
    assert!(!store.replace("replace", "v").await.unwrap());
    assert!(!store.compare_and_set("swap", "5", "v").await.unwrap());
    assert!(!store.persist("persist").await.unwrap());
    assert!(!store.expire("expire", secs(60)).await.unwrap());
    assert!(store.add("add", "v").await.unwrap());
    assert_eq!(store.incr("n", 1).await.unwrap(), 1);
    assert!(is_persistent(&store, "add").await && is_persistent(&store, "n").await);
    assert_eq!(store.clear().await.unwrap(), 2);
}

pub(crate) async fn a_write_without_a_ttl_clears_the_old_one(store: Store) {
    let held = ["set", "replace", "swap", "many", "model", "models"];
    store
        .set_many(held.map(|key| (key, "1")))
        .ttl(secs(60))
        .await
        .unwrap();
    store.set("set", "v").await.unwrap();
    assert!(store.replace("replace", "v").await.unwrap());
    assert!(store.compare_and_set("swap", "1", "v").await.unwrap());
    store.set_many([("many", "v")]).await.unwrap();
    store.set_model("model", &1).await.unwrap();
    store.set_models([("models", &1)]).await.unwrap();
    for key in held {
        assert!(is_persistent(&store, key).await, "{key}");
    }
}

pub(crate) async fn a_write_that_is_not_made_leaves_the_ttl(store: Store) {
    store.set("k", "v").ttl(secs(60)).await.unwrap();
    assert!(!store.add("k", "w").await.unwrap());
    assert!(!store.add("k", "w").ttl(secs(600)).await.unwrap());
    assert!(!store.compare_and_set("k", "other", "w").await.unwrap());
    assert!(
        !store
            .compare_and_set("k", "other", "w")
            .ttl(secs(600))
            .await
            .unwrap()
    );
    assert!(left(&store, "k").await <= secs(60));
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "v");
}

pub(crate) async fn expire_sets_a_ttl_from_now(store: Store) {
    store.set("k", "v").await.unwrap();
    assert!(store.expire("k", secs(60)).await.unwrap());
    assert!(left(&store, "k").await <= secs(60));
    assert!(store.expire("k", secs(600)).await.unwrap());
    assert!(
        left(&store, "k").await > secs(60),
        "a longer one replaces a shorter one"
    );
    assert!(store.expire("k", ms(20)).await.unwrap());
    sleep(ms(40)).await;
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(crate) async fn persist_takes_the_ttl_away(store: Store) {
    store.set("k", "v").ttl(secs(60)).await.unwrap();
    assert!(store.persist("k").await.unwrap());
    assert!(is_persistent(&store, "k").await);
    assert!(!store.persist("k").await.unwrap(), "it has none any more");
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "v");
}

pub(crate) async fn a_ttl_that_is_none_is_refused(store: Store) {
    store.set("held", "held").await.unwrap();
    for ttl in [Duration::ZERO, CENTURY + Duration::from_nanos(1), Duration::MAX] {
        for (call, outcome) in calls::with_ttl(&store, ttl).await {
            assert!(
                matches!(outcome, Err(Error::InvalidTtl { ttl: told }) if told == ttl),
                "{call}: {outcome:?}"
            );
        }
    }
    assert_eq!(store.get_string("held").await.unwrap().unwrap(), "held");
    assert!(is_persistent(&store, "held").await);
    assert_eq!(keys(&store, "").await, ["held"]);
}

pub(crate) async fn the_longest_ttl_is_a_century(store: Store) {
    for (call, outcome) in calls::with_ttl(&store, CENTURY).await {
        assert!(outcome.is_ok(), "{call}: {outcome:?}");
    }
    let left = left(&store, "held").await;
    assert!(left <= CENTURY && left > CENTURY - secs(600), "{left:?}");
}

pub(crate) async fn the_shortest_ttl_is_a_millisecond(store: Store) {
    store.set("k", "v").ttl(Duration::from_nanos(1)).await.unwrap();
    let seen = store.ttl("k").await.unwrap();
    assert!(
        matches!(seen, None | Some(Ttl::Remaining(_))),
        "not immortal: {seen:?}"
    );
    sleep(ms(20)).await;
    assert_eq!(store.get("k").await.unwrap(), None);
}

/// Settings: a `default_ttl` of 60 s.
pub(crate) async fn the_default_ttl_holds_for_writes_that_name_none(store: Store) {
    store.set("set", "v").await.unwrap();
    assert!(store.add("add", "v").await.unwrap());
    store.set_many([("many", "v"), ("more", "v")]).await.unwrap();
    store.set_model("model", &1).await.unwrap();
    store.set_models([("models", &1)]).await.unwrap();
    store
        .set_many([("replace", "1"), ("swap", "1")])
        .persistent()
        .await
        .unwrap();
    assert!(store.replace("replace", "v").await.unwrap());
    assert!(store.compare_and_set("swap", "1", "v").await.unwrap());
    for key in ["set", "add", "many", "more", "model", "models", "replace", "swap"] {
        assert!(left(&store, key).await <= secs(60), "{key}");
    }
}

/// Settings: a `default_ttl` of 60 s.
pub(crate) async fn the_default_ttl_can_be_overruled(store: Store) {
    store.set("ttl", "v").ttl(secs(600)).await.unwrap();
    assert!(left(&store, "ttl").await > secs(60));
    store.set("set", "v").persistent().await.unwrap();
    assert!(store.add("add", "v").persistent().await.unwrap());
    store
        .set_many([("many", "v"), ("replace", "1"), ("swap", "1")])
        .persistent()
        .await
        .unwrap();
    assert!(store.replace("replace", "v").persistent().await.unwrap());
    assert!(
        store
            .compare_and_set("swap", "1", "v")
            .persistent()
            .await
            .unwrap()
    );
    store.set_model("model", &1).persistent().await.unwrap();
    store.set_models([("models", &1)]).persistent().await.unwrap();
    for key in ["set", "add", "many", "replace", "swap", "model", "models"] {
        assert!(is_persistent(&store, key).await, "{key}");
    }
    store.set("later", "v").persistent().ttl(secs(10)).await.unwrap();
    assert!(
        left(&store, "later").await <= secs(10),
        "of two answers the last holds"
    );
}

/// Settings: a `default_ttl` of 60 s.
pub(crate) async fn the_default_ttl_is_not_for_counters(store: Store) {
    store.incr("n", 1).await.unwrap();
    assert!(is_persistent(&store, "n").await);
    store.set("k", "1").await.unwrap();
    assert!(store.persist("k").await.unwrap());
    store.incr("k", 1).await.unwrap();
    assert!(is_persistent(&store, "k").await);
}
