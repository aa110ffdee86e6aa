//! One key at a time: reads, writes, and writes under a condition.

use cachestore::{Bytes, Error, Store, Value};

use crate::support::{keys, secs};

pub(crate) async fn an_absent_key_is_none_and_false(store: Store) {
    assert_eq!(store.get("k").await.unwrap(), None);
    assert_eq!(store.get_string("k").await.unwrap(), None);
    assert_eq!(store.get_model::<u8>("k").await.unwrap(), None);
    assert_eq!(store.take("k").await.unwrap(), None);
    assert_eq!(store.ttl("k").await.unwrap(), None);
    assert!(!store.exists("k").await.unwrap());
    assert!(!store.delete("k").await.unwrap());
    assert!(!store.replace("k", "v").await.unwrap());
    assert!(
        !store.compare_and_set("k", "", "v").await.unwrap(),
        "an absent value is not an empty one"
    );
    assert!(!store.expire("k", secs(1)).await.unwrap());
    assert!(!store.persist("k").await.unwrap());
    assert!(keys(&store, "").await.is_empty(), "none of them wrote");
}

pub(crate) async fn every_form_of_value_is_read_as_it_was_written(store: Store) {
    store.set("str", "é").await.unwrap();
    store.set("string", String::from("é")).await.unwrap();
    store.set("slice", &b"\xc3\xa9"[..]).await.unwrap();
    store.set("array", b"\xc3\xa9").await.unwrap();
    store.set("vec", vec![0xc3, 0xa9]).await.unwrap();
    store.set("bytes", Bytes::from_static(b"\xc3\xa9")).await.unwrap();
    store.set("value", Value::from("é")).await.unwrap();
    store.set("box", Box::<str>::from("é")).await.unwrap();
    for (key, value) in &[("reference", "é")] {
        store.set(key, value).await.unwrap();
    }
    for key in [
        "str",
        "string",
        "slice",
        "array",
        "vec",
        "bytes",
        "value",
        "box",
        "reference",
    ] {
        assert_eq!(store.get(key).await.unwrap().unwrap(), "é", "{key}");
        assert_eq!(store.get_string(key).await.unwrap().unwrap(), "é", "{key}");
    }
}

pub(crate) async fn a_value_is_any_bytes(store: Store) {
    let every: Vec<u8> = (0..=255).collect();
    store.set("every", &every).await.unwrap();
    assert_eq!(store.get("every").await.unwrap().unwrap(), every);
    store.set("lines", "a\r\nb\0c").await.unwrap();
    assert_eq!(store.get("lines").await.unwrap().unwrap(), "a\r\nb\0c");
}

pub(crate) async fn an_empty_value_is_a_value(store: Store) {
    store.set("k", "").await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap(), "");
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "");
    assert!(store.exists("k").await.unwrap());
    assert!(!store.add("k", "v").await.unwrap());
    assert!(store.compare_and_set("k", "", "v").await.unwrap());
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "v");
}

pub(crate) async fn text_that_is_not_utf8_is_a_decode_error(store: Store) {
    store.set("k", b"text \xff").await.unwrap();
    assert!(matches!(store.get_string("k").await, Err(Error::Decode(_))));
    assert_eq!(
        store.get("k").await.unwrap().unwrap(),
        &b"text \xff"[..],
        "the bytes stay"
    );
}

pub(crate) async fn the_last_set_wins(store: Store) {
    for value in ["long enough to be replaced by less", "", "short"] {
        store.set("k", value).await.unwrap();
        assert_eq!(store.get_string("k").await.unwrap().unwrap(), value);
    }
    assert_eq!(keys(&store, "").await, ["k"]);
}

pub(crate) async fn add_writes_only_where_there_is_nothing(store: Store) {
    assert!(store.add("k", "first").await.unwrap());
    assert!(!store.add("k", "second").await.unwrap());
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "first");
    store.delete("k").await.unwrap();
    assert!(store.add("k", "third").await.unwrap());
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "third");
}

pub(crate) async fn replace_writes_only_where_there_is_something(store: Store) {
    assert!(!store.replace("k", "v").await.unwrap());
    assert!(!store.exists("k").await.unwrap());
    store.set("k", "first").await.unwrap();
    assert!(store.replace("k", "second").await.unwrap());
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "second");
}

pub(crate) async fn compare_and_set_writes_only_over_what_is_expected(store: Store) {
    store.set("k", "1").await.unwrap();
    for other in ["", "0", "10", "1 "] {
        assert!(
            !store.compare_and_set("k", other, "2").await.unwrap(),
            "{other:?}"
        );
    }
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "1");
    assert!(store.compare_and_set("k", "1", "2").await.unwrap());
    assert!(!store.compare_and_set("k", "1", "3").await.unwrap());
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "2");
    assert!(
        store.compare_and_set("k", "2", "2").await.unwrap(),
        "the same value again is a write"
    );
}

pub(crate) async fn take_reads_and_deletes(store: Store) {
    store.set("k", "v").await.unwrap();
    assert_eq!(store.take("k").await.unwrap().unwrap(), "v");
    assert!(!store.exists("k").await.unwrap());
    assert_eq!(store.take("k").await.unwrap(), None);
}

pub(crate) async fn delete_says_whether_there_was_a_value(store: Store) {
    store.set("k", "v").await.unwrap();
    store.set("other", "v").await.unwrap();
    assert!(store.delete("k").await.unwrap());
    assert!(!store.delete("k").await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), None);
    assert!(store.exists("other").await.unwrap());
}

/// A `set` has been made when it returns, also for those who ask through another handle.
pub(crate) async fn every_clone_sees_what_was_written(store: Store) {
    let other = store.clone();
    for n in 0..200 {
        store.set("k", n.to_string()).await.unwrap();
        let other = other.clone();
        let seen = tokio::spawn(async move { other.get_string("k").await })
            .await
            .unwrap();
        assert_eq!(seen.unwrap().unwrap(), n.to_string());
    }
}

pub(crate) async fn of_many_adds_one_wins(store: Store) {
    let adds = (0..50).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { (n, store.add("k", n.to_string()).await.unwrap()) })
    });
    let outcomes = futures_util::future::try_join_all(adds).await.unwrap();
    let winners: Vec<i32> = outcomes
        .into_iter()
        .filter(|(_, won)| *won)
        .map(|(n, _)| n)
        .collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(
        store.get_string("k").await.unwrap().unwrap(),
        winners[0].to_string()
    );
}

pub(crate) async fn of_many_takes_one_gets_the_value(store: Store) {
    store.set("k", "v").await.unwrap();
    let takes = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.take("k").await.unwrap() })
    });
    let taken = futures_util::future::try_join_all(takes).await.unwrap();
    assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), ["v"]);
}

/// Eight tasks count together by reading and writing back: no step is lost.
pub(crate) async fn compare_and_set_loses_no_update(store: Store) {
    store.set("n", "0").await.unwrap();
    let tasks = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..25 {
                loop {
                    let held = store.get_string("n").await.unwrap().unwrap();
                    let next = held.parse::<u32>().unwrap() + 1;
                    if store.compare_and_set("n", held, next.to_string()).await.unwrap() {
                        break;
                    }
                }
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    assert_eq!(store.get_string("n").await.unwrap().unwrap(), "200");
}

/// Settings: at most 1,000 bytes a value.
pub(crate) async fn a_value_over_the_limit_is_refused(store: Store) {
    let large = vec![b'x'; 1001];
    let refused = |outcome: Result<(), Error>| {
        assert!(
            matches!(outcome, Err(Error::ValueTooLarge { len: 1001, max: 1000 })),
            "{outcome:?}"
        );
    };
    store.set("held", "v").await.unwrap();
    refused(store.set("held", &large).await);
    refused(store.add("absent", &large).await.map(drop));
    refused(store.replace("held", &large).await.map(drop));
    refused(store.compare_and_set("held", "v", &large).await.map(drop));
    refused(store.set_many([("held", &b"new"[..]), ("absent", &large)]).await);
    assert_eq!(store.get_string("held").await.unwrap().unwrap(), "v");
    assert!(!store.exists("absent").await.unwrap());
    store.set("held", &large[..1000]).await.unwrap();
    assert_eq!(store.get("held").await.unwrap().unwrap().len(), 1000);
}

/// What the texts below read as in MessagePack: a small integer, an integer of two bytes, a float of
/// another width, and bytes whose length is the second character.
pub(crate) async fn a_text_is_not_a_model(store: Store) {
    store.set("five", "5").await.unwrap();
    let outcome = store.get_model::<u32>("five").await;
    assert!(matches!(outcome, Err(Error::Decode(_))), "{outcome:?}");
    let load = || async { Ok::<_, String>(5) };
    assert_eq!(store.get_or_load::<u32, _, _, _>("five", load).await.unwrap(), 5);

    let title = format!("\u{0130}{}", "a".repeat(0xb0));
    for text in ["7", "x", "\0", "\u{410}", "\u{280}abc", "\u{3c0}1234567", &title] {
        store.set("text", text).await.unwrap();
        let outcome = store.get_model::<f64>("text").await;
        assert!(matches!(outcome, Err(Error::Decode(_))), "{text}: {outcome:?}");
        let outcome = store.get_model::<String>("text").await;
        assert!(matches!(outcome, Err(Error::Decode(_))), "{text}: {outcome:?}");
        let outcome = store.get_model::<Vec<u8>>("text").await;
        assert!(matches!(outcome, Err(Error::Decode(_))), "{text}: {outcome:?}");
    }
}
