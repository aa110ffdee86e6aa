//! Keys and namespaces from strangers, against a plain map: nothing collides, nothing escapes.

use std::collections::{BTreeMap, BTreeSet};

use cachestore::{Config, Store};
use futures_util::FutureExt;
use proptest::prelude::*;

use crate::support::{keys, memory, open};

/// Text that is likely to be cut, joined or quoted wrongly somewhere.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(":".to_owned()),
        Just("/".to_owned()),
        Just("\0".to_owned()),
        Just("\r\n".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just(" ".to_owned()),
        Just("\u{a0}".to_owned()),
        Just("cachestore:".to_owned()),
        Just("\u{10ffff}".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// Where a key is written: the root is left out, since it sees every namespace by design.
fn place() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(
        prop_oneof![Just("a"), Just("b"), Just("ab"), Just("a.b"), Just("a-")],
        1..4,
    )
}

fn enter(root: &Store, path: &[&str]) -> Store {
    path.iter()
        .fold(root.clone(), |store, name| store.namespace(name).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_namespace_is_a_map_of_its_own(
        writes in prop::collection::vec((place(), hostile_text()), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let root = memory().await;
            let mut model: BTreeMap<Vec<&str>, BTreeMap<String, String>> = BTreeMap::new();
            for (n, (path, key)) in writes.iter().enumerate() {
                let outcome = enter(&root, path).set(key, n.to_string()).await;
                assert_eq!(outcome.is_ok(), !key.trim().is_empty(), "{key:?}");
                if outcome.is_ok() {
                    model.entry(path.clone()).or_default().insert(key.clone(), n.to_string());
                }
            }
            for (path, held) in &model {
                let store = enter(&root, path);
                assert_eq!(&keys(&store, "").await, &held.keys().cloned().collect::<Vec<_>>());
                for (key, value) in held {
                    assert_eq!(store.get_string(key).await.unwrap().as_ref(), Some(value), "{path:?} {key:?}");
                    let physical = format!("{}:{key}", path.join("/"));
                    assert_eq!(root.get_string(physical).await.unwrap().as_ref(), Some(value));
                }
            }
            let mut left: usize = model.values().map(BTreeMap::len).sum();
            assert_eq!(keys(&root, "").await.len(), left);
            for (path, held) in &model {
                assert_eq!(enter(&root, path).clear().await.unwrap() as usize, held.len(), "{path:?}");
                left -= held.len();
                assert_eq!(keys(&root, "").await.len(), left);
            }
        });
    }

    #[test]
    fn a_scan_is_a_filter_by_prefix(
        texts in prop::collection::vec(hostile_text(), 1..40),
        prefix in hostile_text(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let store = memory().await.namespace("n").unwrap();
            let held: BTreeSet<&str> = texts.iter().map(String::as_str).filter(|text| !text.trim().is_empty()).collect();
            for key in &held {
                store.set(key, "v").await.unwrap();
            }
            let expected: Vec<&str> = held.into_iter().filter(|key| key.starts_with(&prefix)).collect();
            assert_eq!(keys(&store, &prefix).await, expected);
        });
    }
}

/// A store that is opened in a namespace is the same as one that entered it.
#[tokio::test]
async fn a_configured_namespace_is_a_namespace() {
    let store = open(Config::memory().namespace("a")).await;
    let inner = store.namespace("b").unwrap();
    store.set("b:k", "outer").await.unwrap();
    inner.set("k", "inner").await.unwrap();
    assert_eq!(keys(&store, "").await, ["b:k"]);
    assert_eq!(keys(&inner, "").await, ["k"]);
    assert!(format!("{inner:?}").contains("a/b"));
}

#[tokio::test]
async fn stores_share_nothing() {
    let (one, other) = (memory().await, memory().await);
    one.set("k", "v").await.unwrap();
    assert!(!other.exists("k").await.unwrap());
    assert_eq!(other.clear().await.unwrap(), 0);
    one.close().await.unwrap();
    other.ping().await.unwrap();
}

/// Namespaces may be nested without end by a stranger; some depth is refused before it hurts.
#[tokio::test]
async fn nesting_has_an_end() {
    let mut store = memory().await;
    for _ in 0..10_000 {
        match store.namespace("deeper") {
            Ok(inner) => store = inner,
            Err(error) => {
                assert!(
                    matches!(error, cachestore::Error::InvalidNamespace { .. }),
                    "{error:?}"
                );
                store.set("k", "v").await.unwrap();
                assert!(store.exists("k").await.unwrap());
                return;
            }
        }
    }
    panic!("ten thousand levels were accepted");
}

/// A clearing takes what is there when it is called, though it goes on while others write.
#[tokio::test]
async fn what_is_written_after_a_clear_is_called_stays() {
    const COUNT: u64 = 50_000;
    let store = memory().await;
    store
        .set_many((0..COUNT).map(|n| (format!("k{n}"), "old")))
        .await
        .unwrap();
    store.ping().await.unwrap();
    // Sent by its one poll, and carried out though it is dropped.
    assert!(store.clear().into_future().now_or_never().is_none());
    store.set("k0", "new").await.unwrap();
    store.set(format!("k{}", COUNT - 1), "new").await.unwrap();
    store.incr("n", 1).await.unwrap();
    store.clear().into_future().now_or_never();
    store.set("last", "new").await.unwrap();
    assert_eq!(store.namespace("elsewhere").unwrap().clear().await.unwrap(), 0);
    assert_eq!(keys(&store, "").await, ["last"]);
}
