//! What a store tells those who listen.

use std::convert::Infallible;

use cachestore::{Event, Events, Store};
use tokio::time::timeout;

use crate::support::{ms, secs};

fn written(key: &str) -> Event {
    Event::Written { key: key.into() }
}

fn deleted(key: &str) -> Event {
    Event::Deleted { key: key.into() }
}

/// The next event, which is told before its call is answered.
async fn next(events: &mut Events) -> Event {
    let event = timeout(secs(5), events.recv()).await;
    event.unwrap().unwrap()
}

async fn is_quiet(events: &mut Events) -> bool {
    timeout(ms(20), events.recv()).await.is_err()
}

pub(crate) async fn a_change_is_told_once_and_in_order(store: Store) {
    let mut events = store.events();
    store.set("a", "1").await.unwrap();
    store.ping().await.unwrap();
    assert!(store.add("b", "1").await.unwrap());
    assert!(!store.add("b", "2").await.unwrap());
    assert!(store.replace("b", "3").await.unwrap());
    assert!(!store.replace("absent", "3").await.unwrap());
    assert!(store.compare_and_set("b", "3", "4").await.unwrap());
    assert!(!store.compare_and_set("b", "3", "5").await.unwrap());
    store.incr("n", 1).await.unwrap();
    store.swap("a", "2").await.unwrap();
    store.take("a").await.unwrap();
    store.take("a").await.unwrap();
    store.delete("b").await.unwrap();
    store.delete("b").await.unwrap();
    store.set_many([("c", "1"), ("d", "1")]).await.unwrap();
    store.delete_many(["c", "absent", "d", "c"]).await.unwrap();
    let expected = [
        written("a"),
        written("b"),
        written("b"),
        written("b"),
        written("n"),
        written("a"),
        deleted("a"),
        deleted("b"),
    ];
    for event in expected {
        assert_eq!(next(&mut events).await, event);
    }
    // The keys of one call may be on several servers.
    for both in [["c", "d"].map(written), ["c", "d"].map(deleted)] {
        let told = [next(&mut events).await, next(&mut events).await];
        assert!(
            both.iter().all(|event| told.contains(event)),
            "{told:?} for {both:?}"
        );
    }
    assert!(is_quiet(&mut events).await);
}

pub(crate) async fn reads_and_ttls_are_not_told(store: Store) {
    store.set("k", "1").await.unwrap();
    store.ping().await.unwrap();
    let mut events = store.events();
    store.get("k").await.unwrap();
    store.get_many(["k", "absent"]).await.unwrap();
    store.exists("k").await.unwrap();
    store.expire("k", secs(60)).await.unwrap();
    store.get_and_touch("k", secs(60)).await.unwrap();
    store.persist("k").await.unwrap();
    drop(store.lock("k").await.unwrap());
    assert!(is_quiet(&mut events).await);
}

pub(crate) async fn a_loaded_value_is_told_when_it_is_stored(store: Store) {
    let mut events = store.events();
    let load = || store.get_or_load("k", || async { Ok::<_, Infallible>(1_u32) });
    load().await.unwrap();
    load().await.unwrap();
    assert_eq!(next(&mut events).await, written("k"));
    assert!(is_quiet(&mut events).await);
}

pub(crate) async fn an_invalidation_tells_what_it_removed(store: Store) {
    store.set("a", "1").depends_on("u").await.unwrap();
    store.set("b", "1").depends_on("a").await.unwrap();
    store.set("other", "1").await.unwrap();
    store.ping().await.unwrap();
    let mut events = store.events();
    assert_eq!(store.invalidate("u").await.unwrap(), 2);
    let mut told = [next(&mut events).await, next(&mut events).await];
    told.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(told, ["a", "b"].map(|key| Event::Invalidated { key: key.into() }));
    assert!(is_quiet(&mut events).await);
}

pub(crate) async fn a_clearing_is_told_by_one_event(store: Store) {
    store.set_many([("a", "1"), ("b", "1")]).await.unwrap();
    store.ping().await.unwrap();
    let mut events = store.events();
    assert_eq!(store.clear().await.unwrap(), 2);
    let Event::Cleared { removed, .. } = next(&mut events).await else {
        panic!("a clearing is told");
    };
    assert_eq!(removed, 2);
    assert!(is_quiet(&mut events).await);
}

pub(crate) async fn a_namespace_hears_of_its_own_keys(store: Store) {
    let (one, two) = (store.namespace("one").unwrap(), store.namespace("two").unwrap());
    let nested = one.namespace("nested").unwrap();
    let (mut here, mut everywhere) = (one.events(), store.events());
    for (namespace, key) in [(&two, "2"), (&nested, "n"), (&one, "1")] {
        namespace.set(key, "v").await.unwrap();
        namespace.ping().await.unwrap();
    }
    two.clear().await.unwrap();
    nested.clear().await.unwrap();
    one.clear().await.unwrap();
    assert_eq!(next(&mut here).await, written("1"));
    let cleared = Event::Cleared {
        namespace: "one".into(),
        removed: 1,
    };
    assert_eq!(next(&mut here).await, cleared);
    for key in ["two:2", "one/nested:n", "one:1"] {
        assert_eq!(next(&mut everywhere).await, written(key));
    }
    // The root's clearing takes the keys of each namespace with it.
    one.set("1", "v").await.unwrap();
    store.clear().await.unwrap();
    assert_eq!(next(&mut here).await, written("1"));
    let all = Event::Cleared {
        namespace: String::new(),
        removed: 1,
    };
    assert_eq!(next(&mut here).await, all);
    assert!(is_quiet(&mut here).await);
}

pub(crate) async fn every_listener_is_told_and_a_dropped_one_harms_nobody(store: Store) {
    let (mut one, two) = (store.events(), store.events());
    drop(two);
    let mut three = store.clone().events();
    store.set("k", "v").await.unwrap();
    assert_eq!(next(&mut one).await, written("k"));
    assert_eq!(next(&mut three).await, written("k"));
}

pub(crate) async fn a_closed_store_ends_the_stream(store: Store) {
    let mut events = store.events();
    store.set("k", "v").await.unwrap();
    store.close().await.unwrap();
    assert_eq!(next(&mut events).await, written("k"));
    assert_eq!(events.recv().await, None);
    assert_eq!(store.events().recv().await, None, "nothing happens any more");
}

pub(crate) async fn a_listener_keeps_no_store_open(store: Store) {
    let mut events = store.events();
    drop(store);
    assert_eq!(timeout(secs(5), events.recv()).await.unwrap(), None);
}
