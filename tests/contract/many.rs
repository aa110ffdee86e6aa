//! Many keys in one call.

use std::collections::BTreeSet;
use std::time::Duration;

use cachestore::{Error, Store};

use crate::support::keys;

pub(crate) async fn values_come_in_the_order_asked(store: Store) {
    store
        .set_many([("a", "1"), ("b", "2"), ("c", "3")])
        .await
        .unwrap();
    let values = store.get_many(["c", "absent", "a", "c", "b"]).await.unwrap();
    let texts: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    assert_eq!(texts, [Some(&b"3"[..]), None, Some(b"1"), Some(b"3"), Some(b"2")]);
}

pub(crate) async fn no_keys_are_no_work(store: Store) {
    let none: [&str; 0] = [];
    assert_eq!(
        store.get_many(none).await.unwrap(),
        Vec::<Option<cachestore::Bytes>>::new()
    );
    assert_eq!(store.get_models::<u8>(none).await.unwrap(), []);
    assert_eq!(store.delete_many(none).await.unwrap(), 0);
    assert_eq!(store.invalidate(none).await.unwrap(), 0);
    store.set_many(none.map(|key| (key, "v"))).await.unwrap();
    store.set_models(none.map(|key| (key, &1))).await.unwrap();
}

pub(crate) async fn keys_are_any_iterator_of_text(store: Store) {
    let owned = vec![String::from("a"), String::from("b")];
    store.set_many(owned.iter().zip(["1", "2"])).await.unwrap();
    let set: BTreeSet<&str> = ["a", "b"].into();
    assert_eq!(store.get_many(&owned).await.unwrap().len(), 2);
    assert_eq!(store.get_many(set).await.unwrap().len(), 2);
    assert_eq!(
        store.get_many((0..3).map(|n| format!("k{n}"))).await.unwrap(),
        [None, None, None]
    );
    assert_eq!(store.delete_many(owned).await.unwrap(), 2);
}

pub(crate) async fn thousands_travel_together(store: Store) {
    let names: Vec<String> = (0..3000).map(|n| format!("k{n}")).collect();
    store
        .set_many(names.iter().map(|name| (name, name.as_str())))
        .await
        .unwrap();
    let values = store.get_many(names.iter().rev()).await.unwrap();
    assert!(
        names
            .iter()
            .rev()
            .zip(&values)
            .all(|(name, value)| value.as_deref() == Some(name.as_bytes()))
    );
    assert_eq!(values.len(), 3000);
    assert_eq!(store.delete_many(names.iter().chain(&names)).await.unwrap(), 3000);
    assert!(keys(&store, "").await.is_empty());
}

pub(crate) async fn of_a_key_given_twice_the_last_value_stays(store: Store) {
    store
        .set_many([("k", "1"), ("other", "x"), ("k", "2"), ("k", "3")])
        .await
        .unwrap();
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "3");
    store.set_models([("k", &1), ("k", &2)]).await.unwrap();
    assert_eq!(store.get_model::<u8>("k").await.unwrap(), Some(2));
    // Far apart, so that they do not travel in the same request.
    let entries = (0..2000).map(|n| (format!("k{}", n % 1000), n.to_string()));
    store.set_many(entries).await.unwrap();
    assert_eq!(store.get_string("k7").await.unwrap().unwrap(), "1007");
}

pub(crate) async fn a_write_of_many_is_refused_whole(store: Store) {
    store.set("held", "v").await.unwrap();
    let blank = store.set_many([("held", "w"), ("new", "w"), (" ", "w")]).await;
    assert!(matches!(blank, Err(Error::KeyRequired)));
    let blank = store.set_models([("held", &1), ("", &1)]).await;
    assert!(matches!(blank, Err(Error::KeyRequired)));
    let name = store
        .set_many([("held", "w"), ("new", "w")])
        .depends_on([""])
        .await;
    assert!(matches!(name, Err(Error::KeyRequired)));
    let ttl = store
        .set_many([("held", "w"), ("new", "w")])
        .ttl(Duration::ZERO)
        .await;
    assert!(matches!(ttl, Err(Error::InvalidTtl { .. })));
    // The one that is refused is the last of thousands, after those that could have been sent.
    let entries = (0..3000).map(|n| if n < 2999 { format!("k{n}") } else { String::new() });
    let late = store.set_many(entries.map(|key| (key, "w"))).await;
    assert!(matches!(late, Err(Error::KeyRequired)));
    assert_eq!(keys(&store, "").await, ["held"]);
    assert_eq!(store.get_string("held").await.unwrap().unwrap(), "v");
}

pub(crate) async fn a_delete_of_many_counts_what_was_there_once(store: Store) {
    store
        .set_many([("a", "1"), ("b", "2"), ("c", "3")])
        .await
        .unwrap();
    assert_eq!(
        store.delete_many(["a", "absent", "b", "a", "a"]).await.unwrap(),
        2
    );
    assert_eq!(keys(&store, "").await, ["c"]);
}

pub(crate) async fn a_delete_of_many_is_refused_whole(store: Store) {
    store.set_many([("a", "1"), ("b", "2")]).await.unwrap();
    assert!(matches!(
        store.delete_many(["a", "", "b"]).await,
        Err(Error::KeyRequired)
    ));
    assert!(matches!(store.get_many(["a", ""]).await, Err(Error::KeyRequired)));
    assert_eq!(keys(&store, "").await, ["a", "b"]);
}
