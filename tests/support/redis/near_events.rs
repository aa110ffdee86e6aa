//! What listeners hear of changes by others, which only a near cache is told of.

use cachestore::{Event, Events, Store};
use tokio::time::timeout;

use super::near::{Servers, near, started, text, warm};
use super::opening::{ms, open};

/// The events until the one of this last call.
async fn until_marked(store: &Store, events: &mut Events) -> Vec<Event> {
    store.set("mark", "x").await.unwrap();
    let mut told = Vec::new();
    loop {
        match timeout(ms(5000), events.recv()).await.unwrap().unwrap() {
            Event::Written { key } if key == "mark" => return told,
            event => told.push(event),
        }
    }
}

fn invalidated(key: &str) -> Event {
    Event::Invalidated { key: key.to_owned() }
}

async fn next(events: &mut Events) -> Event {
    timeout(ms(5000), events.recv()).await.unwrap().unwrap()
}

pub(crate) async fn a_change_by_others_of_what_is_near_is_told_once<S: Servers>() {
    let (servers, store) = started::<S>().await;
    let tenant = store.namespace("tenant").unwrap();
    tenant.set("k", "v").await.unwrap();
    for command in [
        &["SET", "tenant:k", "w"][..],
        &["APPEND", "tenant:k", "x"],
        &["DEL", "tenant:k"],
    ] {
        tenant.set("k", "v").await.unwrap();
        warm(&tenant, "k").await;
        let (mut root, mut own) = (store.events(), tenant.events());
        let mut another = store.namespace("another").unwrap().events();
        servers.server_of("tenant:k").command(command);
        assert_eq!(next(&mut root).await, invalidated("tenant:k"), "{command:?}");
        assert_eq!(next(&mut own).await, invalidated("k"), "{command:?}");
        servers.server_of("tenant:k").command(command);
        assert_eq!(
            until_marked(&store, &mut root).await,
            [],
            "it is not near any more"
        );
        assert!(timeout(ms(1), another.recv()).await.is_err());
    }
}

/// A whole program beside this one that uses the library too.
pub(crate) async fn changes_by_another_store_are_told<S: Servers>() {
    let (servers, store) = started::<S>().await;
    let other = open(near(servers.config())).await;
    store.set("k", "v").depends_on(["n"]).await.unwrap();
    store.set("l", "v").await.unwrap();
    let mut events = store.events();
    warm(&store, "k").await;
    other.invalidate("n").await.unwrap();
    assert_eq!(next(&mut events).await, invalidated("k"));
    warm(&store, "l").await;
    other.clear().await.unwrap();
    assert_eq!(next(&mut events).await, invalidated("l"));
}

pub(crate) async fn own_changes_are_not_told_as_changes_by_others<S: Servers>() {
    for connections in [1, 3] {
        let servers = S::start().await;
        let store = open(near(servers.config()).connections(connections)).await;
        let names: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
        let mut events = store.events().capacity(10_000);
        let write = async || {
            for name in &names {
                store.set(name, "v").depends_on(["n"]).await.unwrap();
            }
            for name in &names {
                warm(&store, name).await;
            }
        };
        write().await;
        write().await;
        store.incr("n", 1).await.unwrap();
        warm(&store, "n").await;
        store.incr("n", 1).await.unwrap();
        store.expire("k0", ms(60_000)).await.unwrap();
        store.take("k1").await.unwrap();
        store.delete("k2").await.unwrap();
        let told = until_marked(&store, &mut events).await;
        let others = told
            .iter()
            .filter(|event| matches!(event, Event::Invalidated { .. }));
        assert_eq!(others.count(), 0, "{told:?}");
        // Each entry that an invalidation removes is told once.
        write().await;
        until_marked(&store, &mut events).await;
        store.delete("n").await.unwrap();
        assert_eq!(store.invalidate("n").await.unwrap(), 40);
        let mut told = until_marked(&store, &mut events).await;
        told.retain(|event| matches!(event, Event::Invalidated { .. }));
        assert_eq!(told.len(), 40, "{told:?}");
        // A clearing tells none of them one by one.
        write().await;
        until_marked(&store, &mut events).await;
        store.clear().await.unwrap();
        let told = until_marked(&store, &mut events).await;
        assert!(matches!(&told[..], [Event::Cleared { .. }]), "{told:?}");
        // What comes late is told by now.
        for _ in 0..3 {
            assert_eq!(until_marked(&store, &mut events).await, []);
        }
    }
}

/// Others change a key while this store removes others: it is told when that has ended.
pub(crate) async fn a_change_by_others_during_own_work_is_told<S: Servers>() {
    let (servers, store) = started::<S>().await;
    for n in 0..3000 {
        store.set(format!("d{n}"), "v").depends_on(["n"]).await.unwrap();
    }
    store.set("k", "v").await.unwrap();
    warm(&store, "k").await;
    let mut events = store.events().capacity(10_000);
    let mut foreign = servers.server_of("k").client();
    let invalidation = tokio::spawn({
        let store = store.clone();
        async move { store.invalidate("n").await.unwrap() }
    });
    // The first of its entries has gone, and most are still to go.
    let first = next(&mut events).await;
    assert!(matches!(first, Event::Invalidated { .. }), "{first:?}");
    foreign.try_command(&["SET", "k", "w"]).unwrap();
    assert_eq!(invalidation.await.unwrap(), 3000);
    let mut told = vec![first];
    while told.len() < 3001 {
        told.push(next(&mut events).await);
    }
    assert_eq!(told.iter().filter(|event| **event == invalidated("k")).count(), 1);
    assert_eq!(text(&store, "k").await.as_deref(), Some("w"));
}

pub(crate) async fn what_expires_is_not_told_as_a_change<S: Servers>() {
    let (_servers, store) = started::<S>().await;
    store.set("k", "v").ttl(ms(60)).await.unwrap();
    let mut events = store.events();
    warm(&store, "k").await;
    while text(&store, "k").await.is_some() {}
    // The server says so up to some 100 ms later.
    let told = timeout(ms(400), events.recv()).await;
    assert!(told.is_err(), "{told:?}");
}

/// One test for each of these cases.
macro_rules! near_event_cases {
    ($servers:ty: $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::harness::near_events::$case::<$servers>().await;
            }
        )*
    };
    ($servers:ty) => {
        $crate::harness::near_events::near_event_cases! {
            $servers:
            a_change_by_others_of_what_is_near_is_told_once
            changes_by_another_store_are_told
            own_changes_are_not_told_as_changes_by_others
            a_change_by_others_during_own_work_is_told
            what_expires_is_not_told_as_a_change
        }
    };
}
pub(crate) use near_event_cases;
