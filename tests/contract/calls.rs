//! Every call there is, for the rules that hold for all of them.

use std::collections::HashMap;

use cachestore::{LoadError, Result, Store};
use futures_util::TryStreamExt;

use crate::support::secs;

type Outcome = (&'static str, Result<()>);

macro_rules! outcomes {
    ($($name:literal: $call:expr),+ $(,)?) => {
        vec![$(($name, $call.await.map(drop))),+]
    };
}

/// What a load answers whose loader never fails.
async fn of_store<T>(load: impl IntoFuture<Output = Loading<T>>) -> Result<()> {
    match load.await {
        Ok(_) => Ok(()),
        Err(LoadError::Store(error)) => Err(error),
        Err(error) => panic!("{error:?}"),
    }
}

type Loading<T> = std::result::Result<T, LoadError<String>>;

async fn one() -> std::result::Result<u8, String> {
    Ok(1)
}

async fn each(keys: Vec<String>) -> std::result::Result<HashMap<String, u8>, String> {
    Ok(keys.into_iter().map(|key| (key, 1)).collect())
}

fn plus_one(old: Option<u8>) -> Option<u8> {
    Some(old.unwrap_or(0) + 1)
}

/// What each call that takes a key answers to this one.
pub(crate) async fn with_key(store: &Store, key: &str) -> Vec<Outcome> {
    outcomes! {
        "get": store.get(key),
        "get_string": store.get_string(key),
        "set": store.set(key, "v"),
        "add": store.add(key, "v"),
        "replace": store.replace(key, "v"),
        "compare_and_set": store.compare_and_set(key, "1", "2"),
        "take": store.take(key),
        "swap": store.swap(key, "v"),
        "get_and_touch": store.get_and_touch(key, secs(1)),
        "delete": store.delete(key),
        "exists": store.exists(key),
        "ttl": store.ttl(key),
        "expire": store.expire(key, secs(1)),
        "persist": store.persist(key),
        "incr": store.incr(key, 1),
        "incr with a TTL": store.incr(key, 1).ttl(secs(1)),
        "counter": store.counter(key),
        "get_many": store.get_many(["other", key]),
        "set_many": store.set_many([("other", "v"), (key, "v")]),
        "delete_many": store.delete_many(["other", key]),
        "set_model": store.set_model(key, &1),
        "get_model": store.get_model::<u8>(key),
        "set_models": store.set_models([("other", &1), (key, &1)]),
        "get_models": store.get_models::<u8>(["other", key]),
        "add_model": store.add_model(key, &1),
        "compare_and_set_model": store.compare_and_set_model(key, &1, &2),
        "update_model": store.update_model(key, plus_one),
        "get_or_load": of_store(store.get_or_load(key, one)),
        "get_or_load_many": of_store(store.get_or_load_many(["other", key], each)),
    }
}

/// What each call that takes names of dependencies answers to this one.
pub(crate) async fn with_name(store: &Store, name: &str) -> Vec<Outcome> {
    let names = ["other", name];
    outcomes! {
        "invalidate": store.invalidate(names),
        "set": store.set("k", "v").depends_on(names),
        "add": store.add("k", "v").depends_on(names),
        "replace": store.replace("k", "v").depends_on(names),
        "compare_and_set": store.compare_and_set("k", "1", "2").depends_on(names),
        "set_many": store.set_many([("k", "v")]).depends_on(names),
        "swap": store.swap("k", "v").depends_on(names),
        "set_model": store.set_model("k", &1).depends_on(names),
        "set_models": store.set_models([("k", &1)]).depends_on(names),
        "add_model": store.add_model("k", &1).depends_on(names),
        "compare_and_set_model": store.compare_and_set_model("k", &1, &2).depends_on(names),
        "update_model": store.update_model("k", plus_one).depends_on(names),
        "get_or_load": of_store(store.get_or_load("k", one).depends_on(names)),
        "get_or_load_many": of_store(store.get_or_load_many(["k"], each).depends_on(names)),
    }
}

/// What each call that takes the key of a lock answers to this one.
pub(crate) async fn with_lock(store: &Store, key: &str) -> Vec<Outcome> {
    outcomes! {
        "lock": store.lock(key),
        "write_lock": store.write_lock(key, secs(1)),
        "write_lock_with_secret": store.write_lock_with_secret(key, "s", secs(1)),
        "wait_write_lock": store.wait_write_lock(key, secs(1), secs(1)),
        "release_lock": store.release_lock(key, "s"),
        "extend_lock": store.extend_lock(key, "s", secs(1)),
        "lock_info": store.lock_info(key),
        "force_release": store.force_release(key),
    }
}

/// What each call that takes a TTL answers to this one, for a key that holds `held`.
pub(crate) async fn with_ttl(store: &Store, ttl: std::time::Duration) -> Vec<Outcome> {
    outcomes! {
        "set": store.set("held", "v").ttl(ttl),
        "add": store.add("absent", "v").ttl(ttl),
        "replace": store.replace("held", "v").ttl(ttl),
        "compare_and_set": store.compare_and_set("held", "held", "v").ttl(ttl),
        "set_many": store.set_many([("held", "v"), ("absent", "v")]).ttl(ttl),
        "set_model": store.set_model("held", &1).ttl(ttl),
        "set_models": store.set_models([("held", &1)]).ttl(ttl),
        "add_model": store.add_model("absent", &1).ttl(ttl),
        "compare_and_set_model": store.compare_and_set_model("held model", &1, &2).ttl(ttl),
        "update_model": store.update_model("held model", plus_one).ttl(ttl),
        "get_or_load": of_store(store.get_or_load("held", one).ttl(ttl)),
        "get_or_load_many": of_store(store.get_or_load_many(["held", "absent"], each).ttl(ttl)),
        "expire": store.expire("held", ttl),
        "get_and_touch": store.get_and_touch("held", ttl),
        "swap": store.swap("held", "v").ttl(ttl),
        "incr": store.incr("absent count", 1).ttl(ttl),
    }
}

/// What each call on many keys answers to none.
async fn of_nothing(store: &Store) -> Vec<Outcome> {
    let none = [""; 0];
    outcomes! {
        "get_many of nothing": store.get_many(none),
        "set_many of nothing": store.set_many([("", ""); 0]),
        "delete_many of nothing": store.delete_many(none),
        "set_models of nothing": store.set_models([("", &1); 0]),
        "get_models of nothing": store.get_models::<u8>(none),
        "invalidate of nothing": store.invalidate(none),
        "get_or_load_many of nothing": of_store(store.get_or_load_many(none, each)),
        "get_or_load_many of nothing stale": of_store(store.get_or_load_many(none, each).stale_if_error(secs(1))),
    }
}

/// What every call answers to plain arguments.
pub(crate) async fn all(store: &Store) -> Vec<Outcome> {
    let mut all = with_key(store, "k").await;
    all.extend(with_name(store, "u").await);
    all.extend(with_ttl(store, secs(1)).await);
    all.extend(outcomes! {
        "scan": store.scan("").try_collect::<Vec<_>>(),
        "scan_entries": store.scan_entries("").try_collect::<Vec<_>>(),
        "clear": store.clear(),
        "ping": store.ping(),
        "stats": store.stats(),
    });
    all.extend(of_nothing(store).await);
    all
}
