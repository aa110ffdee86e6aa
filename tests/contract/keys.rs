//! Keys and namespaces: taken as they are, bounded, apart.

use std::collections::HashMap;

use cachestore::{Error, Store};

use super::calls;
use crate::support::keys;

/// The longest key that any setting allows.
const LONGEST: usize = 65_535;

/// One name with different white space around it. The last ones look empty or blank, and are neither:
/// Unicode does not count them as white space.
const ALIKE: [&str; 15] = [
    "k",
    " k",
    "k ",
    " k ",
    "k\t",
    "\tk",
    "k\n",
    "k\r\n",
    "\u{a0}k",
    "k\u{a0}",
    "\u{3000}k\u{2003}",
    "k\u{85}",
    "\u{200b}k",
    "k\u{200b}",
    "\u{200b}",
];

pub(crate) async fn keys_are_taken_as_they_are(store: Store) {
    for key in ALIKE {
        assert!(store.add(key, key).await.unwrap(), "{key:?} is a key of its own");
    }
    let values = store.get_many(ALIKE).await.unwrap();
    for (key, value) in ALIKE.iter().zip(values) {
        assert_eq!(value.as_deref(), Some(key.as_bytes()), "{key:?}");
        assert_eq!(store.get_string(key).await.unwrap().as_deref(), Some(*key));
    }
    let mut expected = ALIKE;
    expected.sort_unstable();
    assert_eq!(keys(&store, "").await, expected);
    assert_eq!(keys(&store, "k ").await, ["k "], "a prefix is taken as it is too");
    for (left, key) in (0..ALIKE.len() as u64).rev().zip(ALIKE) {
        assert!(store.delete(key).await.unwrap(), "{key:?}");
        assert_eq!(keys(&store, "").await.len() as u64, left);
    }
}

pub(crate) async fn lock_keys_are_taken_as_they_are(store: Store) {
    let mut guards = Vec::new();
    for key in ALIKE {
        let guard = store.lock(key).await.unwrap();
        assert_eq!(guard.key(), key);
        guards.push(guard);
    }
    for (key, guard) in ALIKE.iter().zip(guards) {
        assert!(store.lock_info(key).await.unwrap().is_some(), "{key:?}");
        guard.release().await.unwrap();
        assert!(store.lock_info(key).await.unwrap().is_none(), "{key:?}");
    }
}

pub(crate) async fn loads_answer_under_the_keys_that_were_asked_for(store: Store) {
    let load = |missing: Vec<String>| async move {
        let lengths = missing.into_iter().map(|key| (key.clone(), key.len()));
        Ok::<HashMap<String, usize>, String>(lengths.collect())
    };
    for _ in 0..2 {
        let loaded = store.get_or_load_many(ALIKE, load).await.unwrap();
        assert_eq!(loaded.len(), ALIKE.len());
        for key in ALIKE {
            assert_eq!(loaded.get(key), Some(&key.len()), "{key:?}");
        }
    }
    for key in ALIKE {
        let load = || async { Ok::<usize, String>(0) };
        assert_eq!(store.get_or_load(key, load).await.unwrap(), key.len(), "{key:?}");
    }
}

/// Settings: as go-cachestore has it. Go trims the keys of values, and neither names nor lock keys.
pub(crate) async fn go_trims_the_keys_of_values_alone(store: Store) {
    store.set(" \t\u{3000}k \r\n", "v").await.unwrap();
    for same in ["k", " k", "k\n", "\u{a0}k\u{2003}"] {
        assert!(store.exists(same).await.unwrap(), "{same:?}");
    }
    assert!(!store.exists("\u{200b}k").await.unwrap());
    assert_eq!(keys(&store, "").await, ["k"]);
    let load = |missing: Vec<String>| async move {
        Ok::<HashMap<String, u8>, String>(missing.into_iter().map(|key| (key, 1)).collect())
    };
    for _ in 0..2 {
        let loaded = store.get_or_load_many(["b ", " c"], load).await.unwrap();
        assert_eq!((loaded.len(), loaded["b "], loaded[" c"]), (2, 1, 1));
    }
    assert_eq!(store.get_model::<u8>("b").await.unwrap(), Some(1));
    assert_eq!(store.delete_many(["  k", "b", "c"]).await.unwrap(), 3);

    store.set("page", "v").depends_on([" u "]).await.unwrap();
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 0);
    assert_eq!(store.invalidate([" u "]).await.unwrap(), 1);

    let (plain, spaced) = (store.lock("l").await.unwrap(), store.lock(" l ").await.unwrap());
    assert_eq!((plain.key(), spaced.key()), ("l", " l "));
    plain.release().await.unwrap();
    spaced.release().await.unwrap();
}

pub(crate) async fn white_space_inside_a_key_stays(store: Store) {
    store.set("a b", "1").await.unwrap();
    store.set("a  b", "2").await.unwrap();
    store.set("ab", "3").await.unwrap();
    assert_eq!(keys(&store, "").await, ["a  b", "a b", "ab"]);
}

pub(crate) async fn every_call_requires_a_key(store: Store) {
    for blank in [
        "",
        " ",
        "\t\r\n",
        "\u{3000}\u{2003}",
        "\u{a0}",
        "\u{85}",
        "\u{b}\u{c}",
        "\u{2028}",
    ] {
        for (call, outcome) in calls::with_key(&store, blank).await {
            assert!(
                matches!(outcome, Err(Error::KeyRequired)),
                "{call} {blank:?}: {outcome:?}"
            );
        }
        for (call, outcome) in calls::with_name(&store, blank).await {
            assert!(
                matches!(outcome, Err(Error::KeyRequired)),
                "{call} {blank:?}: {outcome:?}"
            );
        }
        for (call, outcome) in calls::with_lock(&store, blank).await {
            assert!(
                matches!(outcome, Err(Error::KeyRequired)),
                "{call} {blank:?}: {outcome:?}"
            );
        }
    }
    assert!(keys(&store, "").await.is_empty(), "nothing was written");
}

pub(crate) async fn a_key_has_its_length(store: Store) {
    let longest = "k".repeat(LONGEST);
    let inner = store.namespace("n".repeat(64)).unwrap();
    for handle in [&store, &inner] {
        for (call, outcome) in calls::with_key(handle, &longest).await {
            let refused = matches!(outcome, Err(Error::KeyTooLong { .. } | Error::KeyRequired));
            assert!(!refused, "{call}: {outcome:?}");
        }
        handle.set(&longest, "v").depends_on([&longest]).await.unwrap();
        assert_eq!(handle.get_string(&longest).await.unwrap().unwrap(), "v");
        assert_eq!(handle.invalidate([&longest]).await.unwrap(), 1);
    }
}

pub(crate) async fn a_longer_key_is_refused_by_every_call(store: Store) {
    let long = "k".repeat(LONGEST + 1);
    let refused = |outcome: &Result<(), Error>| matches!(outcome, Err(Error::KeyTooLong { len, max }) if (*len, *max) == (LONGEST + 1, LONGEST));
    let mut outcomes = calls::with_key(&store, &long).await;
    outcomes.extend(calls::with_name(&store, &long).await);
    for (call, outcome) in outcomes {
        assert!(
            refused(&outcome),
            "{call}: {:?}",
            outcome.err().map(|error| error.to_string())
        );
    }
    assert!(keys(&store, "").await.is_empty(), "nothing was written");
}

/// Settings: at most 10 bytes a key.
pub(crate) async fn the_length_of_a_key_counts_without_its_namespace(store: Store) {
    let inner = store.namespace("a-long-name").unwrap();
    for handle in [&store, &inner] {
        handle
            .set("0123456789", "v")
            .depends_on(["0123456789"])
            .await
            .unwrap();
        let spaced = handle.set(" 0123456789", "v").await;
        assert!(
            matches!(spaced, Err(Error::KeyTooLong { len: 11, max: 10 })),
            "white space counts: {spaced:?}"
        );
        let long = handle.set("01234567890", "v").await;
        assert!(
            matches!(long, Err(Error::KeyTooLong { len: 11, max: 10 })),
            "{long:?}"
        );
        let bytes = handle.set("éééééé", "v").await;
        assert!(
            matches!(bytes, Err(Error::KeyTooLong { len: 12, max: 10 })),
            "bytes, not characters: {bytes:?}"
        );
    }
}

/// Row 16 of the bars: no key is taken for another, and none is taken for a command.
pub(crate) async fn hostile_keys_do_not_collide(store: Store) {
    let hostile = [
        "k",
        "K",
        "k:",
        ":k",
        "k:k",
        "::",
        "k\0",
        "\0",
        "\0k",
        "k\r\nDEL k",
        "k\r\n",
        "k\n$1",
        "*1\r\n$4\r\nPING",
        "{k}",
        "{}",
        "{",
        "}k{",
        "k}",
        "[k]",
        "*",
        "?",
        "\\",
        "\\x00",
        "%00",
        "\u{7f}",
        "\u{fe}\u{ff}",
        "ÿ",
        "\u{feff}k",
        "\u{200b}",
        "\u{200b}k",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10ffff}",
        "é",
        "e\u{301}",
        "/k",
        "a/k:k",
        "../k",
        "\"k\"",
        "'k'",
        "k;k",
        "\u{1b}[31mk",
    ];
    let distinct: std::collections::BTreeSet<&str> = hostile.into_iter().collect();
    assert_eq!(distinct.len(), hostile.len());
    for key in &distinct {
        store.set(key, *key).await.unwrap();
    }
    for key in &distinct {
        assert_eq!(
            store.get_string(key).await.unwrap().as_deref(),
            Some(*key),
            "{key:?}"
        );
    }
    assert_eq!(
        keys(&store, "").await,
        distinct.iter().copied().collect::<Vec<_>>()
    );
    assert!(store.delete("{k}").await.unwrap());
    assert_eq!(store.clear().await.unwrap() as usize, distinct.len() - 1);
}

pub(crate) async fn namespaces_are_apart(store: Store) {
    let names = ["a", "A", "ab", "a.b", "a-b", "a_b", "0"];
    for name in names {
        let inner = store.namespace(name).unwrap();
        assert!(!inner.exists("k").await.unwrap(), "{name}");
        inner.set("k", name).await.unwrap();
    }
    assert!(!store.exists("k").await.unwrap());
    for name in names {
        let inner = store.namespace(name).unwrap();
        assert_eq!(
            inner.get_string("k").await.unwrap().unwrap(),
            name,
            "the same name is the same namespace"
        );
        assert!(inner.delete("k").await.unwrap());
    }
}

pub(crate) async fn namespaces_nest(store: Store) {
    let outer = store.namespace("a").unwrap();
    let inner = outer.namespace("b").unwrap();
    outer.set("k", "outer").await.unwrap();
    inner.set("k", "inner").await.unwrap();
    store.namespace("b").unwrap().set("k", "other").await.unwrap();
    assert_eq!(outer.get_string("k").await.unwrap().unwrap(), "outer");
    let again = store.clone().namespace("a").unwrap().namespace("b").unwrap();
    assert_eq!(again.get_string("k").await.unwrap().unwrap(), "inner");
    assert_eq!(keys(&inner, "").await, ["k"]);
}

/// Whatever a stranger's key is made of, it stays in its namespace.
pub(crate) async fn no_key_leaves_its_namespace(store: Store) {
    let (outer, other) = (store.namespace("a").unwrap(), store.namespace("b").unwrap());
    let nested = outer.namespace("n").unwrap();
    for handle in [&other, &nested] {
        handle.set("k", "theirs").await.unwrap();
    }
    let escapes = [
        "../b:k",
        "b:k",
        ":b:k",
        "/n:k",
        "n:k",
        "n/k",
        "a/n:k",
        "\0b:k",
        "x\r\nb:k",
        "cachestore:x",
        "..",
        "/",
    ];
    for key in escapes {
        assert!(!outer.exists(key).await.unwrap(), "{key:?}");
        outer.set(key, "mine").depends_on([key]).await.unwrap();
        assert_eq!(outer.invalidate([key]).await.unwrap(), 1, "{key:?}");
        outer.set(key, "mine").await.unwrap();
    }
    assert_eq!(outer.clear().await.unwrap() as usize, escapes.len());
    for handle in [&other, &nested] {
        assert_eq!(handle.get_string("k").await.unwrap().unwrap(), "theirs");
    }
}

pub(crate) async fn a_namespace_has_a_name(store: Store) {
    let longest = "x".repeat(64);
    for name in [
        "a",
        "Z",
        "0",
        ".",
        "_",
        "-",
        "..",
        "tenant-1",
        "cachestore2",
        "Cachestore",
        &longest,
    ] {
        assert!(store.namespace(name).is_ok(), "{name}");
    }
    let too_long = "x".repeat(65);
    let refused = [
        "",
        " ",
        "a b",
        " a",
        "a:",
        ":",
        "a/b",
        "/",
        "ä",
        "a\0",
        "a\n",
        "{a}",
        "*",
        "a+b",
        "cachestore",
        &too_long,
    ];
    for name in refused {
        let outcome = store.namespace(name);
        assert!(
            matches!(outcome, Err(Error::InvalidNamespace { .. })),
            "{name:?}: {outcome:?}"
        );
    }
}

/// For a store inside a namespace, as every handle from `namespace` is.
pub(crate) async fn inside_a_namespace_no_key_is_reserved(store: Store) {
    for (call, outcome) in calls::with_key(&store, "cachestore:lock:k").await {
        assert!(!matches!(outcome, Err(Error::KeyReserved)), "{call}: {outcome:?}");
    }
    for (call, outcome) in calls::with_name(&store, "cachestore:depend:u").await {
        assert!(!matches!(outcome, Err(Error::KeyReserved)), "{call}: {outcome:?}");
    }
    store.set("cachestore:k", "v").await.unwrap();
    assert_eq!(keys(&store, "cachestore:k").await, ["cachestore:k"]);
}

/// For a store at the root.
pub(crate) async fn at_the_root_the_librarys_own_keys_are_reserved(store: Store) {
    for reserved in ["cachestore:", "cachestore:lock:k", "cachestore: "] {
        let mut outcomes = calls::with_key(&store, reserved).await;
        outcomes.extend(calls::with_name(&store, reserved).await);
        for (call, outcome) in outcomes {
            assert!(
                matches!(outcome, Err(Error::KeyReserved)),
                "{call} {reserved:?}: {outcome:?}"
            );
        }
    }
    assert!(keys(&store, "").await.is_empty(), "nothing was written");
    for free in [
        "cachestore",
        "cachestore2:k",
        "Cachestore:k",
        "a:cachestore:k",
        " cachestore:k",
        "\u{200b}cachestore:k",
    ] {
        store.set(free, "v").depends_on([free]).await.unwrap();
        assert_eq!(store.invalidate([free]).await.unwrap(), 1, "{free}");
    }
}

/// For a store at the root.
pub(crate) async fn the_root_sees_a_namespace_under_its_path(store: Store) {
    let tenant = store.namespace("tenant").unwrap();
    let nested = tenant.namespace("n").unwrap();
    tenant.set("k", "1").await.unwrap();
    nested.set("k", "2").await.unwrap();
    assert_eq!(store.get_string("tenant:k").await.unwrap().unwrap(), "1");
    assert_eq!(store.get_string("tenant/n:k").await.unwrap().unwrap(), "2");
    store.set("tenant:l", "3").await.unwrap();
    assert_eq!(tenant.get_string("l").await.unwrap().unwrap(), "3");
    assert!(store.delete("tenant:k").await.unwrap());
    assert!(!tenant.exists("k").await.unwrap());
    assert_eq!(keys(&tenant, "").await, ["l"]);
    tenant.set("page", "v").depends_on(["u"]).await.unwrap();
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 0);
    assert_eq!(store.invalidate(["tenant:u"]).await.unwrap(), 1);
}
