//! Passwords, addresses and nodes that are gone.

use cachestore::{Error, RedisConfig, Store};

use crate::harness::Cluster;
use crate::harness::opening::{config, open, told};
#[cfg(feature = "tls")]
use crate::harness::{
    server::Options,
    tls::{Certificates, Shown},
};

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

/// Moves the slot of the store, and reads the key `k` by `ASK` meanwhile. From where to where it has moved.
async fn moved_under(cluster: &Cluster, store: &Store) -> [usize; 2] {
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
    [from, to]
}

/// The addresses that nodes name are not reached from here, as in a container network.
#[tokio::test]
async fn addresses_are_mapped_and_so_are_those_of_redirections() {
    let cluster = Cluster::start().await;
    let (proxies, config) = cluster.proxied("app").await;
    let store = open(config).await;
    store.set("k", "v").await.unwrap();
    assert!(proxies[cluster.owner("app")].accepted() > 0);
    let [from, to] = moved_under(&cluster, &store).await;
    store.set("k", "new").await.unwrap();
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("new"));
    for node in [from, to] {
        assert!(proxies[node].accepted() > 0, "all goes through the proxies");
    }
}

/// All connections speak TLS: those that ask for the owner, to it, and by redirections.
#[cfg(feature = "tls")]
#[tokio::test]
async fn nodes_speak_tls_and_an_authority_that_is_not_known_is_an_error() {
    let certificates = Certificates::new();
    let shown = certificates.server(Shown::Good, false);
    // Nodes are clients of one another.
    let (certificate, key) = certificates.client();
    let with_tls = |options: Options| {
        options
            .tls(shown.clone())
            .argument("tls-cluster", "yes")
            .argument("tls-client-cert-file", certificate.to_str().unwrap())
            .argument("tls-client-key-file", key.to_str().unwrap())
    };
    let cluster = Cluster::with(0, with_tls, "").await;
    let url = cluster
        .url("app")
        .replace("redis-cluster://", "rediss-cluster://");
    let named = config(&url);
    let store = open(named.clone().tls_ca_pem(certificates.authority_pem())).await;
    store.set("k", "v").depends_on("name").await.unwrap();
    moved_under(&cluster, &store).await;
    assert_eq!(store.invalidate("name").await.unwrap(), 1, "by MOVED");
    // Of another authority, and of none that the platform knows.
    let stranger = Certificates::new();
    for config in [named.clone().tls_ca_pem(stranger.authority_pem()), named] {
        let error = Store::open(config).await.unwrap_err();
        let told = told(&error);
        assert!(matches!(error, Error::Unavailable(_)), "{told}");
        assert!(told.contains("certificate"), "{told}");
    }
    // Without TLS, nodes that speak it do not answer.
    let plain = Store::open(config(&cluster.url("app"))).await.unwrap_err();
    assert!(matches!(plain, Error::Unavailable(_)), "{plain:?}");
}
