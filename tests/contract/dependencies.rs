//! Dependency keys: an invalidation finds all that was derived from a name, never too little.
//!
//! That it also removes nothing else is exact on the memory engine alone, and is held against it in
//! `tests/memory/dependencies.rs`.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cachestore::{Error, Store};
use tokio::time::sleep;

use crate::support::{keys, ms, secs};

pub(crate) async fn an_invalidation_removes_the_key_and_its_dependents(store: Store) {
    store.set("user:1", "Ada").await.unwrap();
    store.set("page:1", "v").depends_on(["user:1"]).await.unwrap();
    store.set("page:2", "v").depends_on(["user:1"]).await.unwrap();
    store.set("page:3", "v").depends_on(["user:2"]).await.unwrap();
    assert_eq!(store.invalidate(["user:1"]).await.unwrap(), 3);
    assert_eq!(keys(&store, "").await, ["page:3"]);
    assert_eq!(store.invalidate(["user:1"]).await.unwrap(), 0);
}

pub(crate) async fn a_name_need_not_be_a_key(store: Store) {
    store.set("page", "v").depends_on(["user:1"]).await.unwrap();
    assert!(!store.exists("user:1").await.unwrap());
    assert_eq!(store.invalidate(["user:1"]).await.unwrap(), 1);
    assert_eq!(store.invalidate(["unheard-of"]).await.unwrap(), 0);
}

pub(crate) async fn any_of_an_entrys_names_invalidates_it(store: Store) {
    for name in ["a", "b", "c", "d"] {
        store
            .set("page", "v")
            .depends_on(["a", "b", "a"])
            .depends_on(vec!["c", "b"])
            .depends_on(["d"])
            .await
            .unwrap();
        assert_eq!(store.invalidate([name]).await.unwrap(), 1, "{name}");
        assert!(!store.exists("page").await.unwrap());
    }
}

pub(crate) async fn an_entry_under_several_names_counts_once(store: Store) {
    store.set("both", "v").depends_on(["a", "b"]).await.unwrap();
    store.set("one", "v").depends_on(["a"]).await.unwrap();
    store.set("a", "v").await.unwrap();
    assert_eq!(store.invalidate(["a", "b", "a", "both"]).await.unwrap(), 3);
}

pub(crate) async fn every_write_records_dependencies(store: Store) {
    store.set_many([("replace", "1"), ("swap", "1")]).await.unwrap();
    store.set("set", "v").depends_on(["u"]).await.unwrap();
    assert!(store.add("add", "v").depends_on(["u"]).await.unwrap());
    assert!(store.replace("replace", "v").depends_on(["u"]).await.unwrap());
    assert!(
        store
            .compare_and_set("swap", "1", "v")
            .depends_on(["u"])
            .await
            .unwrap()
    );
    store
        .set_many([("many", "v"), ("more", "v")])
        .depends_on(["u"])
        .await
        .unwrap();
    store.set_model("model", &1).depends_on(["u"]).await.unwrap();
    store
        .set_models([("models", &1)])
        .depends_on(["u"])
        .await
        .unwrap();
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 8);
    assert!(keys(&store, "").await.is_empty());
}

pub(crate) async fn a_write_that_is_not_made_records_nothing(store: Store) {
    store.set("k", "v").depends_on(["old"]).await.unwrap();
    assert!(!store.add("k", "w").depends_on(["new"]).await.unwrap());
    assert!(
        !store
            .compare_and_set("k", "other", "w")
            .depends_on(["new"])
            .await
            .unwrap()
    );
    assert!(!store.replace("absent", "w").depends_on(["new"]).await.unwrap());
    assert_eq!(store.invalidate(["new"]).await.unwrap(), 0);
    assert_eq!(
        store.invalidate(["old"]).await.unwrap(),
        1,
        "what was recorded stays"
    );
}

pub(crate) async fn changes_in_place_keep_dependencies(store: Store) {
    store
        .set_many([("expire", "1"), ("persist", "1"), ("incr", "1")])
        .ttl(secs(60))
        .depends_on(["u"])
        .await
        .unwrap();
    assert!(store.expire("expire", secs(600)).await.unwrap());
    assert!(store.persist("persist").await.unwrap());
    store.incr("incr", 1).await.unwrap();
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 3);
}

pub(crate) async fn dependencies_cascade(store: Store) {
    for n in 1..=100 {
        store
            .set(format!("k{n}"), "v")
            .depends_on([format!("k{}", n - 1)])
            .await
            .unwrap();
    }
    assert_eq!(store.invalidate(["k50"]).await.unwrap(), 51);
    assert_eq!(store.invalidate(["k0"]).await.unwrap(), 49);
    assert!(keys(&store, "").await.is_empty());
}

pub(crate) async fn a_diamond_counts_once(store: Store) {
    store.set("left", "v").depends_on(["top"]).await.unwrap();
    store.set("right", "v").depends_on(["top"]).await.unwrap();
    store
        .set("bottom", "v")
        .depends_on(["left", "right"])
        .await
        .unwrap();
    assert_eq!(store.invalidate(["top"]).await.unwrap(), 3);
}

pub(crate) async fn cycles_end(store: Store) {
    for (key, name) in [("a", "b"), ("b", "c"), ("c", "a"), ("tail", "b")] {
        store.set(key, "v").depends_on([name]).await.unwrap();
    }
    assert_eq!(store.invalidate(["c"]).await.unwrap(), 4);
    store.set("self", "v").depends_on(["self"]).await.unwrap();
    assert_eq!(store.invalidate(["self"]).await.unwrap(), 1);
    assert!(keys(&store, "").await.is_empty());
}

/// What was derived from an entry is found though the entry between has gone by itself.
pub(crate) async fn an_intermediate_that_is_gone_still_connects(store: Store) {
    let between = ["deleted", "taken", "expired", "batch"];
    for key in between {
        store.set(key, "v").depends_on(["u"]).await.unwrap();
        store
            .set(format!("from-{key}"), "v")
            .depends_on([key])
            .await
            .unwrap();
    }
    assert!(store.expire("expired", ms(20)).await.unwrap());
    assert!(store.delete("deleted").await.unwrap());
    assert!(store.take("taken").await.unwrap().is_some());
    assert_eq!(store.delete_many(["batch"]).await.unwrap(), 1);
    sleep(ms(60)).await;
    assert!(!store.exists("expired").await.unwrap());
    assert!(
        store.exists("from-expired").await.unwrap(),
        "a dependent outlives what it was derived from"
    );
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 4);
    assert!(keys(&store, "").await.is_empty());
}

/// The same through a chain of which nothing but the ends is left.
pub(crate) async fn a_chain_that_is_gone_still_connects(store: Store) {
    for n in 1..=20 {
        store
            .set(format!("k{n}"), "v")
            .depends_on([format!("k{}", n - 1)])
            .await
            .unwrap();
    }
    // From the middle outwards, so that gaps join from both sides.
    for n in (2..=10).rev().chain(11..=19) {
        assert!(store.delete(format!("k{n}")).await.unwrap());
    }
    assert_eq!(store.invalidate(["k0"]).await.unwrap(), 2);
    assert!(keys(&store, "").await.is_empty());
}

pub(crate) async fn deleting_a_key_leaves_its_dependents(store: Store) {
    store.set("user", "v").await.unwrap();
    store.set("page", "v").depends_on(["user"]).await.unwrap();
    assert!(store.delete("user").await.unwrap());
    assert!(store.exists("page").await.unwrap());
    assert_eq!(store.invalidate(["user"]).await.unwrap(), 1);
}

pub(crate) async fn an_expired_dependent_is_not_counted(store: Store) {
    store
        .set("page", "v")
        .ttl(ms(20))
        .depends_on(["u"])
        .await
        .unwrap();
    store.set("u", "v").ttl(ms(20)).await.unwrap();
    sleep(ms(60)).await;
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 0);
}

pub(crate) async fn names_are_taken_as_they_are(store: Store) {
    let alike = ["u", " u", "u ", "u\t", "\u{a0}u", "u\u{200b}", "\u{200b}"];
    for (n, name) in alike.iter().enumerate() {
        store
            .set(format!("page:{n}"), "v")
            .depends_on([name])
            .await
            .unwrap();
    }
    for name in alike {
        assert_eq!(store.invalidate([name]).await.unwrap(), 1, "{name:?}");
    }
}

pub(crate) async fn an_invalidation_is_refused_whole(store: Store) {
    store.set("a", "v").await.unwrap();
    store.set("b", "v").depends_on(["u"]).await.unwrap();
    assert!(matches!(
        store.invalidate(["a", "u", " "]).await,
        Err(Error::KeyRequired)
    ));
    assert_eq!(keys(&store, "").await, ["a", "b"]);
}

pub(crate) async fn names_belong_to_their_namespace(store: Store) {
    let (a, b) = (store.namespace("a").unwrap(), store.namespace("b").unwrap());
    let nested = a.namespace("n").unwrap();
    for handle in [&store, &a, &b, &nested] {
        handle.set("page", "v").depends_on(["u"]).await.unwrap();
        handle.set("derived", "v").depends_on(["page"]).await.unwrap();
    }
    assert_eq!(a.invalidate(["u"]).await.unwrap(), 2);
    for handle in [&store, &b, &nested] {
        assert_eq!(keys(handle, "page").await, ["page"], "{handle:?}");
    }
    assert_eq!(b.invalidate(["a:u", "n:u", "/n:u"]).await.unwrap(), 0);
    assert_eq!(nested.invalidate(["u"]).await.unwrap(), 2);
}

pub(crate) async fn thousands_are_invalidated_at_once(store: Store) {
    for chunk in 0..5 {
        let entries = (0..1000).map(|n| (format!("k{chunk}-{n}"), "v"));
        store.set_many(entries).depends_on(["u"]).await.unwrap();
    }
    // As many again, one step further away.
    for n in 0..5 {
        let entries = (0..200).map(|m| (format!("far{n}-{m}"), "v"));
        store
            .set_many(entries)
            .depends_on([format!("k{n}-{n}")])
            .await
            .unwrap();
    }
    store.set("stays", "v").depends_on(["other"]).await.unwrap();
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 6000);
    assert_eq!(keys(&store, "").await, ["stays"]);
}

pub(crate) async fn thousands_of_names_at_once(store: Store) {
    for n in 0..2000 {
        store
            .set(format!("k{n}"), "v")
            .depends_on([format!("u{n}")])
            .await
            .unwrap();
    }
    assert_eq!(
        store
            .invalidate((0..2000).map(|n| format!("u{n}")))
            .await
            .unwrap(),
        2000
    );
    let names: Vec<String> = (0..1000).map(|n| format!("u{n}")).collect();
    store.set("k", "v").depends_on(&names).await.unwrap();
    assert_eq!(store.invalidate(["u777"]).await.unwrap(), 1);
}

pub(crate) async fn what_is_written_after_an_invalidation_stays(store: Store) {
    store.set("page", "old").depends_on(["u"]).await.unwrap();
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 1);
    store.set("page", "new").depends_on(["u"]).await.unwrap();
    assert_eq!(store.get_string("page").await.unwrap().unwrap(), "new");
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 1, "and depends anew");
}

/// Every form in which one name, or many, can be given.
pub(crate) async fn one_name_or_many(store: Store) {
    let (text, texts) = (String::from("a"), vec![String::from("a"), String::from("b")]);
    let cow: Cow<'_, str> = "a".into();
    let (boxed, shared): (Box<str>, Arc<str>) = ("a".into(), "a".into());
    let parts: BTreeSet<&str> = ["a", "b"].into();
    macro_rules! dependents {
        ($($names:expr),+ $(,)?) => {$(
            store.set("set", "v").depends_on($names).await.unwrap();
            store.add("add", "v").depends_on($names).await.unwrap();
            store.set_many([("many", "v")]).depends_on($names).await.unwrap();
            store.set_model("model", &1).depends_on($names).await.unwrap();
            store.set_models([("models", &1)]).depends_on($names).await.unwrap();
            store.get_or_load("load", one).depends_on($names).await.unwrap();
            store.get_or_load_many(["loads"], each).depends_on($names).await.unwrap();
            store.update_model("update", |_: Option<u8>| Some(1)).depends_on($names).await.unwrap();
            assert_eq!(store.invalidate($names).await.unwrap(), 8, "{}", stringify!($names));
        )+};
    }
    dependents! {
        "a", text.as_str(), text.clone(), &text, &&text, cow.clone(), &cow, boxed.clone(), &boxed,
        shared.clone(), &shared, ["a"], ["b", "a"], &["a", "b"], ["a", "b"].as_slice(), [text.clone()], [&text],
        texts.clone(), &texts, &texts[..], texts.iter(), texts.iter().map(String::as_str), parts.clone(), &parts,
        (0..2).map(|n| format!("{n}")), Some("a"), std::iter::once(&cow),
    }
    store
        .set("k", "v")
        .depends_on([] as [&str; 0])
        .depends_on(None::<&str>)
        .await
        .unwrap();
    assert_eq!(store.invalidate([] as [&str; 0]).await.unwrap(), 0);
    assert_eq!(store.invalidate(Vec::<String>::new()).await.unwrap(), 0);
    assert!(store.exists("k").await.unwrap());
}

async fn one() -> Result<u8, String> {
    Ok(1)
}

async fn each(keys: Vec<String>) -> Result<HashMap<String, u8>, String> {
    Ok(keys.into_iter().map(|key| (key, 1)).collect())
}
