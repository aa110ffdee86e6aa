//! What ends leases before their time.

use futures_util::TryStreamExt;

use super::loader::harness::server;
use super::loader::{LONG, Loader, RedisServer, kept, names, store};
use super::*;
use crate::store::Store;

/// Everything that changes `k`, or what it depends on, `x`.
const CHANGES: [&str; 20] = [
    "set",
    "set dependent",
    "add",
    "add dependent",
    "replace",
    "replace dependent",
    "compare_and_set",
    "compare_and_set dependent",
    "incr",
    "take",
    "delete",
    "delete_many",
    "set_many",
    "set_many dependent",
    "set_model",
    "invalidate",
    "invalidate what it depends on",
    "invalidate what that depends on",
    "clear the namespace",
    "clear the root",
];

async fn change(name: &str, root: &Store, store: &Store) {
    match name {
        "set" => store.set("k", "2").await.unwrap(),
        "set dependent" => store.set("k", "2").depends_on(["y"]).await.unwrap(),
        "add" => assert!(store.add("k", "2").await.unwrap()),
        "add dependent" => assert!(store.add("k", "2").depends_on(["y"]).await.unwrap()),
        "replace" => assert!(store.replace("k", "2").await.unwrap()),
        "replace dependent" => assert!(store.replace("k", "2").depends_on(["y"]).await.unwrap()),
        "compare_and_set" => assert!(store.compare_and_set("k", "1", "2").await.unwrap()),
        "compare_and_set dependent" => {
            let swap = store.compare_and_set("k", "1", "2").depends_on(["y"]);
            assert!(swap.await.unwrap());
        }
        "incr" => assert_eq!(store.incr("k", 1).await.unwrap(), 2),
        "take" => assert!(store.take("k").await.unwrap().is_some()),
        "delete" => assert!(store.delete("k").await.unwrap()),
        "delete_many" => assert_eq!(store.delete_many(["a", "k"]).await.unwrap(), 1),
        "set_many" => store.set_many([("a", "2"), ("k", "2")]).await.unwrap(),
        "set_many dependent" => {
            let pairs = store.set_many([("a", "2"), ("k", "2")]).depends_on(["y"]);
            pairs.await.unwrap();
        }
        "set_model" => store.set_model("k", &2).await.unwrap(),
        "invalidate" => assert_eq!(store.invalidate(["k"]).await.unwrap(), 1),
        "invalidate what it depends on" => assert_eq!(store.invalidate(["x"]).await.unwrap(), 2),
        "invalidate what that depends on" => assert_eq!(store.invalidate(["w"]).await.unwrap(), 2),
        "clear the namespace" => assert_eq!(store.clear().await.unwrap(), 2),
        "clear the root" => assert_eq!(root.clear().await.unwrap(), 2),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn whatever_changes_a_key_invalidates_the_leases_that_name_it() {
    for go in [false, true] {
        let server = RedisServer::start().await;
        let (one, two) = (Loader::new(&server, go), Loader::new(&server, go));
        let root = store(&server, go).await;
        let tenant = root.namespace("t").unwrap();
        for name in CHANGES {
            server.flush();
            tenant.set("x", "1").depends_on(["w"]).await.unwrap();
            if !name.starts_with("add") {
                tenant.set("k", "1").depends_on(["x"]).await.unwrap();
            }
            let own = one.take("t:k", &["t:x"], LONG).await;
            let naming = two.take("elsewhere", &["t:k", "t:more"], LONG).await;
            change(name, &root, &tenant).await;
            let before = tenant.get("k").await.unwrap();
            assert!(!two.fulfil(&naming).await, "{name}: one that names it");
            assert!(!one.fulfil(&own).await, "{name}: the key's own");
            assert_eq!(tenant.get("k").await.unwrap(), before, "{name}: not overwritten");
            assert_eq!(root.get("elsewhere").await.unwrap(), None, "{name}");
            assert_eq!(kept(&server), [""; 0], "{name}");
            // And the next is free.
            let next = one.take("t:k", &["t:x"], LONG).await;
            assert!(one.fulfil(&next).await, "{name}");
        }
    }
}

#[tokio::test]
async fn an_invalidation_invalidates_no_later_than_it_removes() {
    let server = RedisServer::start().await;
    let store = store(&server, false).await;
    store.set("k", "1").depends_on(["x"]).await.unwrap();
    for (name, removed) in [("k", 1), ("x", 0)] {
        let mut monitor = server.monitor();
        assert_eq!(store.invalidate([name]).await.unwrap(), removed);
        let seen = monitor.take();
        // A script is one step: what is stored between two of them may not be older than the first.
        let steps = seen.split(|seen| !seen.in_script).filter(|step| !step.is_empty());
        for step in steps {
            let with = |command: &str, key: &str| {
                let named = |seen: &&server::Seen| seen.line().split(' ').any(|word| word == key);
                step.iter().filter(named).any(|seen| seen.name() == command)
            };
            for key in ["k", "x"] {
                let removes = with("UNLINK", key);
                assert!(!removes || with("HDEL", key), "{key} in {step:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_entry_removed_by_a_cascade_invalidates_what_loads_from_it() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    store.set("b", "1").depends_on(["a"]).await.unwrap();
    store.set("c", "1").depends_on(["b"]).await.unwrap();
    let from_c = loader.take("d", &["c"], LONG).await;
    let beside = loader.take("e", &["f"], LONG).await;
    assert_eq!(store.invalidate(["a"]).await.unwrap(), 2);
    assert!(!loader.fulfil(&from_c).await);
    assert!(loader.fulfil(&beside).await);
}

#[tokio::test]
async fn a_name_without_an_entry_invalidates_too() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    for name in ["delete", "invalidate"] {
        let taken = loader.take("k", &["x"], LONG).await;
        if name == "delete" {
            assert!(!store.delete("x").await.unwrap());
        } else {
            assert_eq!(store.invalidate(["x"]).await.unwrap(), 0);
        }
        assert!(!loader.fulfil(&taken).await, "{name}");
    }
}

#[tokio::test]
async fn what_changes_no_value_invalidates_nothing() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    store.set("k", "1").await.unwrap();
    store.namespace("t").unwrap().set("k", "1").await.unwrap();
    let taken = loader.take("k", &["x"], LONG).await;
    store.get("k").await.unwrap();
    store.exists("k").await.unwrap();
    store.expire("k", LONG).await.unwrap();
    store.persist("k").await.unwrap();
    store.set("kk", "1").await.unwrap();
    store.set("another", "1").depends_on(["x", "k"]).await.unwrap();
    store.namespace("t").unwrap().clear().await.unwrap();
    store.invalidate(["y"]).await.unwrap();
    assert!(loader.fulfil(&taken).await);
}

#[tokio::test]
async fn a_clearing_invalidates_in_its_own_namespace_alone() {
    let server = RedisServer::start().await;
    let (loader, root) = (Loader::new(&server, false), store(&server, false).await);
    let tenant = root.namespace("t.1").unwrap();
    let inside = loader.take("t.1:k", &[], LONG).await;
    let across = loader.take("u:a", &["t.1:x"], LONG).await;
    let outside = ["k", "t.1/n:k", "t.11:k", "u:k"];
    let mut others = Vec::new();
    for name in outside {
        others.push(loader.take(name, &[], LONG).await);
    }
    assert_eq!(tenant.clear().await.unwrap(), 0);
    assert!(!loader.fulfil(&inside).await);
    assert!(!loader.fulfil(&across).await);
    for (name, other) in outside.iter().zip(&others) {
        assert!(loader.fulfil(other).await, "{name}");
    }
}

#[tokio::test]
async fn a_thousand_leases_are_cleared_and_are_no_values() {
    for go in [false, true] {
        let server = RedisServer::start().await;
        let (loader, root) = (Loader::new(&server, go), store(&server, go).await);
        let mut all = Vec::new();
        for number in 0..1500 {
            all.push(loader.take(&format!("k{number}"), &["x"], LONG).await);
        }
        root.set("value", "v").await.unwrap();
        let seen: Vec<String> = root.scan("").try_collect().await.unwrap();
        assert_eq!(seen, ["value"]);
        assert_eq!(names(&server).len(), 1501);
        assert_eq!(root.clear().await.unwrap(), 1);
        assert_eq!(names(&server), [""; 0]);
        assert!(!loader.fulfil(&all[700]).await);
    }
}

#[tokio::test]
async fn a_stored_load_invalidates_no_lease_of_who_loads_from_it() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let inner = loader.take("k", &["x"], LONG).await;
    let outer = loader.take("other", &["k", "x"], LONG).await;
    assert!(loader.fulfil(&inner).await);
    assert!(loader.fulfil(&outer).await);
    let outer = loader.take("other", &["k"], LONG).await;
    let inner = loader.take("k", &["x"], LONG).await;
    loader.end(&inner).await;
    assert!(loader.fulfil(&outer).await, "nor does what is given up");
}

#[tokio::test]
async fn leases_of_one_name_end_one_by_one_and_die_together() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    let first = loader.take("a", &["x"], LONG).await;
    let second = loader.take("b", &["x"], LONG).await;
    let third = loader.take("c", &["x"], LONG).await;
    loader.end(&first).await;
    loader.end(&first).await;
    assert!(loader.fulfil(&second).await);
    store.delete("x").await.unwrap();
    assert!(!loader.fulfil(&third).await);
    assert_eq!(kept(&server), [""; 0]);
}

#[tokio::test]
async fn what_is_not_stored_invalidates_who_loads_from_it() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    let inner = loader.take("k", &["x"], LONG).await;
    let outer = loader.take("other", &["k"], LONG).await;
    store.delete("x").await.unwrap();
    assert!(!loader.fulfil(&inner).await);
    assert!(!loader.fulfil(&outer).await);
    assert_eq!(kept(&server), [""; 0]);
}

#[tokio::test]
async fn whoever_takes_over_from_an_invalidated_lease_invalidates_who_loads_from_it() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    let invalidated = loader.take("k", &["x", "y"], LONG).await;
    let outer = loader.take("other", &["k"], LONG).await;
    store.delete("x").await.unwrap();
    let next = loader.take("k", &["x"], LONG).await;
    assert!(!loader.fulfil(&outer).await);
    let later = loader.take("later", &["k"], LONG).await;
    assert!(!loader.fulfil(&invalidated).await);
    assert!(
        !loader.fulfil(&later).await,
        "it may have seen what the invalidated one loaded"
    );
    assert!(loader.fulfil(&next).await, "but the one after it lives");
    assert_eq!(kept(&server), [""; 0]);
}

#[test]
fn an_invalidation_of_leases_that_is_refused_fails_nothing_and_is_told() {
    let (delete, mut answer) = asked(delete(key("k")));
    let refused = || server_error("NOPERM this user has no permissions");
    let replies = vec![refused(), refused(), Wire::Int(1)];
    let (_, outcome) = settle(batch(vec![delete]).parts, replies);
    assert!(answer.try_recv().unwrap().unwrap());
    assert!(matches!(outcome.not_invalidated, Some(Error::Unauthorized)));
    // Leases notice by themselves that a full server does not note changes.
    let (delete, mut answer) = asked(super::delete(key("k")));
    let full = server_error("OOM command not allowed");
    let (_, outcome) = settle(batch(vec![delete]).parts, vec![Wire::Int(0), full, Wire::Int(1)]);
    assert!(answer.try_recv().unwrap().unwrap());
    assert!(outcome.not_invalidated.is_none());
}
