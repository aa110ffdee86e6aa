//! What is on the servers, and what calls show of it.

use cachestore::{Error, Event, Store};
use futures_util::TryStreamExt;

use crate::harness::Cluster;
use crate::harness::opening::{config, ms, open};

/// Keys as strangers choose them.
const STRANGE: [&str; 9] = ["a{b}c", "{}", "{x}", "{", "}", "}{", "{{x}}", "{other}:k", "a:{b"];

async fn scanned(store: &Store) -> Vec<String> {
    let mut keys: Vec<String> = store.scan("").try_collect().await.unwrap();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[tokio::test]
async fn all_keys_are_in_the_slot_of_the_tag_whatever_braces_they_have() {
    let cluster = Cluster::start().await;
    let store = open(config(&cluster.url("app"))).await;
    let tenant = store.namespace("tenant").unwrap();
    for (n, key) in STRANGE.iter().enumerate() {
        for handle in [&store, &tenant] {
            handle.set(key, n.to_string()).depends_on("{name}").await.unwrap();
            handle.incr(format!("{key}:count"), 1).await.unwrap();
            assert_eq!(
                handle.get_string(key).await.unwrap(),
                Some(n.to_string()),
                "{key}"
            );
            assert!(handle.ttl(key).await.unwrap().is_some());
            let guard = handle.lock(key).ttl(ms(60_000)).await.unwrap();
            guard.release().await.unwrap();
            let loaded = handle.get_or_load(format!("{key}:loaded"), move || async move {
                Ok::<_, std::io::Error>(n)
            });
            assert_eq!(loaded.depends_on(key).await.unwrap(), n);
        }
    }
    let owner = cluster.owner("app");
    for (at, node) in cluster.nodes.iter().enumerate() {
        let all = node.command(&["KEYS", "*"]).sorted();
        assert_eq!(all.is_empty(), at != owner, "{all:?}");
        assert!(all.iter().all(|key| key.starts_with("{app}:")), "{all:?}");
        assert_eq!(cluster.keys_at(at, &cluster.slot("app")).len(), all.len());
    }
    let mut own: Vec<String> = STRANGE.iter().map(|key| (*key).to_owned()).collect();
    own.extend(
        STRANGE
            .iter()
            .flat_map(|key| [format!("{key}:count"), format!("{key}:loaded")]),
    );
    own.sort_unstable();
    assert_eq!(scanned(&tenant).await, own);
    assert_eq!(scanned(&store).await.len(), 2 * own.len());
    assert_eq!(
        tenant.invalidate("{name}").await.unwrap(),
        2 * STRANGE.len() as u64
    );
    assert_eq!(tenant.clear().await.unwrap(), STRANGE.len() as u64);
    assert_eq!(scanned(&store).await, own, "those of the root stay");
}

#[tokio::test]
async fn stores_with_different_tags_see_different_keys() {
    let cluster = Cluster::start().await;
    let node = |tag: &str| cluster.owner(tag);
    // Two on one node, and one on another.
    let tags: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    let same = tags
        .iter()
        .skip(1)
        .find(|tag| node(tag) == node(&tags[0]))
        .unwrap();
    let other = tags.iter().find(|tag| node(tag) != node(&tags[0])).unwrap();
    let mut stores = Vec::new();
    for tag in [&tags[0], same, other] {
        let store = open(config(&cluster.url(tag))).await;
        store.set("k", tag).await.unwrap();
        store.namespace("n").unwrap().set("k", "v").await.unwrap();
        stores.push(store);
    }
    assert_eq!(stores[0].clear().await.unwrap(), 2);
    assert_eq!(scanned(&stores[0]).await, [] as [&str; 0]);
    for (store, tag) in stores.iter().zip([&tags[0], same, other]).skip(1) {
        assert_eq!(store.get_string("k").await.unwrap().as_ref(), Some(tag));
        assert_eq!(scanned(store).await, ["k", "n:k"]);
        assert_eq!(store.namespace("n").unwrap().clear().await.unwrap(), 1);
        assert_eq!(scanned(store).await, ["k"]);
    }
}

#[tokio::test]
async fn events_and_errors_are_without_the_tag() {
    let cluster = Cluster::start().await;
    let store = open(config(&cluster.url("app"))).await;
    let tenant = store.namespace("tenant").unwrap();
    let (mut all, mut own) = (store.events(), tenant.events());
    tenant.set("k", "v").depends_on("name").await.unwrap();
    tenant.invalidate("name").await.unwrap();
    tenant.clear().await.unwrap();
    store.clear().await.unwrap();
    let key = |key: &str| key.to_owned();
    let cleared = |namespace: &str| Event::Cleared {
        namespace: namespace.to_owned(),
        removed: 0,
    };
    for (events, name) in [(&mut all, "tenant:k"), (&mut own, "k")] {
        assert_eq!(events.recv().await, Some(Event::Written { key: key(name) }));
        assert_eq!(events.recv().await, Some(Event::Invalidated { key: key(name) }));
        assert_eq!(events.recv().await, Some(cleared("tenant")));
        assert_eq!(events.recv().await, Some(cleared("")));
    }
    assert!(matches!(
        store.set("cachestore:k", "v").await,
        Err(Error::KeyReserved)
    ));
    tenant.set("cachestore:k", "v").await.unwrap();
    store.set("text", "v").await.unwrap();
    let error = store.incr("text", 1).await.unwrap_err();
    assert!(!format!("{error:?}").contains("{app}"), "{error:?}");
}
