//! Passwords, addresses and nodes that are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cachestore::{Error, RedisConfig, Store};

use crate::harness::opening::{config, open, told};
use crate::harness::{Cluster, Proxy};

#[tokio::test]
async fn all_nodes_have_one_password() {
    let cluster = Cluster::with(0, |options| options.password("s3cr3t"), ":s3cr3t@").await;
    // On each of the nodes.
    for tag in ["a", "b", "c", "d", "e", "f"] {
        let store = open(config(&cluster.url(tag))).await;
        store.set("k", tag).await.unwrap();
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some(tag));
    }
    let node = cluster.nodes[0].address();
    let named = || {
        RedisConfig::cluster([format!("redis://{node}")])
            .unwrap()
            .hash_tag("a")
    };
    open(named().password("s3cr3t")).await;
    let rotating = named().credentials(|| async { Ok::<_, Error>(("default", "s3cr3t")) });
    open(rotating).await;
    let error = Store::open(named().password("wr0ng")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized), "{error:?}");
    assert!(!told(&error).contains("wr0ng"), "{error:?}");
}

#[tokio::test]
async fn any_node_leads_to_all_others_also_if_another_is_gone() {
    let cluster = Cluster::start().await;
    for node in &cluster.nodes {
        let nodes = ["127.0.0.1:1".to_owned(), node.address()];
        for tag in ["a", "b", "c"] {
            let store = open(RedisConfig::cluster(&nodes).unwrap().hash_tag(tag)).await;
            store.set("k", "v").await.unwrap();
        }
    }
}

/// The addresses that nodes name are not reached from here, as in a container network.
#[tokio::test]
async fn addresses_are_mapped_and_so_are_those_of_redirections() {
    let cluster = Cluster::start().await;
    let mut proxies = Vec::new();
    for node in &cluster.nodes {
        proxies.push((node.port(), Proxy::start(node.address(), 7).await));
    }
    let port_of = |proxy: &Proxy| proxy.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let ports: Vec<(u16, u16)> = proxies
        .iter()
        .map(|(port, proxy)| (*port, port_of(proxy)))
        .collect();
    let asked = Arc::new(AtomicU64::new(0));
    let map = {
        let asked = asked.clone();
        move |host: &str, port: u16| {
            asked.fetch_add(1, Ordering::Relaxed);
            let there = ports.iter().find(|(node, _)| *node == port);
            (host.to_owned(), there.expect("a node").1)
        }
    };
    let first = proxies[0].1.address();
    let store = open(
        RedisConfig::cluster([first])
            .unwrap()
            .hash_tag("app")
            .map_address(map),
    )
    .await;
    store.set("k", "v").await.unwrap();
    assert!(asked.load(Ordering::Relaxed) > 0);
    let (slot, from) = (cluster.slot("app"), cluster.owner("app"));
    let to = (from + 1) % 3;
    cluster.begin_move(&slot, from, to);
    cluster.move_keys(&cluster.keys_at(from, &slot), from, to);
    assert_eq!(
        store.get_string("k").await.unwrap().as_deref(),
        Some("v"),
        "by ASK"
    );
    cluster.end_move(&slot, from, to);
    store.set("k", "new").await.unwrap();
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("new"));
    for node in [from, to] {
        assert!(proxies[node].1.accepted() > 0, "all goes through the proxies");
    }
}
