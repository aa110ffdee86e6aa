//! Clusters that do not serve the slot: errors that name the nodes and what came of each.

use std::time::Duration;

use cachestore::{Error, Store};
use tokio::time::timeout;

use crate::harness::opening::{config, eventually, ms, open, told};
use crate::harness::{Cluster, RedisServer};

#[tokio::test]
async fn a_server_alone_is_no_node() {
    let server = RedisServer::start().await;
    let url = format!("redis-cluster://{}?hash_tag=a", server.address());
    let Err(Error::InvalidConfig { reason }) = Store::open(config(&url)).await else {
        panic!("it opens");
    };
    assert!(reason.contains(&server.address()), "{reason}");
    assert!(reason.contains("no node of a cluster"), "{reason}");
}

#[tokio::test]
async fn a_slot_without_an_owner_is_unavailable() {
    let node = RedisServer::options().node().start().await;
    let url = format!("redis-cluster://{}?hash_tag=a", node.address());
    let error = Store::open(config(&url)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(told(&error).contains("no node owns slot"), "{}", told(&error));
}

#[tokio::test]
async fn nodes_that_do_not_answer_are_named() {
    let url = "redis-cluster://127.0.0.1:1?node=127.0.0.1:2&hash_tag=a";
    let error = Store::open(config(url)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let told = told(&error);
    assert!(
        told.contains("127.0.0.1:1") && told.contains("127.0.0.1:2"),
        "{told}"
    );
}

/// The owner of another slot is gone, and with it the cluster, as servers have it by default.
#[tokio::test]
async fn a_cluster_that_is_down_is_told_by_its_code_until_it_is_back() {
    let mut cluster = Cluster::start().await;
    let wait = Duration::from_secs(1);
    let store = open(
        config(&cluster.url("app"))
            .request_timeout(ms(1500))
            .wait_for_connection(wait),
    )
    .await;
    let owner = cluster.owner("app");
    store.set("k", "v").await.unwrap();
    let other = (owner + 1) % 3;
    cluster.nodes[other].kill9();
    let down = async {
        loop {
            match store.set("k", "v").await {
                Ok(()) => tokio::time::sleep(ms(20)).await,
                Err(error) => return error,
            }
        }
    };
    let error = timeout(Duration::from_secs(30), down).await.unwrap();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(told(&error).contains("CLUSTERDOWN"), "{}", told(&error));
    cluster.nodes[other].restart().await;
    let up = async { while store.set("k", "new").await.is_err() {} };
    timeout(Duration::from_secs(30), up).await.unwrap();
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("new"));
}

/// For a moment only: it goes on where it was.
#[tokio::test]
async fn a_call_waits_while_the_cluster_is_down() {
    let mut cluster = Cluster::start().await;
    let patience = Duration::from_secs(30);
    let store = open(
        config(&cluster.url("app"))
            .request_timeout(patience)
            .response_timeout(patience),
    )
    .await;
    let owner = cluster.owner("app");
    let other = (owner + 1) % 3;
    cluster.nodes[other].kill9();
    let down = || {
        cluster.nodes[owner]
            .command(&["SET", "{app}:raw", "v"])
            .text()
            .contains("CLUSTERDOWN")
    };
    assert!(eventually(patience, down).await);
    let waits = tokio::spawn({
        let store = store.clone();
        async move { (store.incr("n", 1).await, store.get_string("n").await) }
    });
    tokio::time::sleep(ms(300)).await;
    assert!(!waits.is_finished());
    cluster.nodes[other].restart().await;
    let (sum, read) = timeout(patience, waits).await.unwrap().unwrap();
    assert_eq!((sum.unwrap(), read.unwrap().as_deref()), (1, Some("1")));
}

#[tokio::test]
async fn keys_of_another_layout_are_refused() {
    let cluster = Cluster::start().await;
    let owner = cluster.owner("app");
    cluster.nodes[owner].command(&["SET", "{app}:cachestore:layout", "9"]);
    let error = Store::open(config(&cluster.url("app"))).await.unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
}

/// No node does it for this store. The connection goes on.
#[tokio::test]
async fn a_command_with_a_key_of_another_slot_is_refused_at_once() {
    let cluster = Cluster::start().await;
    let store = open(config(&cluster.url("app"))).await;
    store.set("k", "v").await.unwrap();
    let tags = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut elsewhere = tags
        .into_iter()
        .filter(|tag| cluster.owner(tag) != cluster.owner("app"));
    let foreign = format!("{{{}}}:k", elsewhere.next().unwrap());
    for _ in 0..3 {
        let mut command = cachestore::redis::cmd("GET");
        command.arg(&foreign);
        let answer = store.redis_command::<Option<String>>(command);
        let error = timeout(Duration::from_secs(1), answer)
            .await
            .expect("it ends")
            .unwrap_err();
        assert!(told(&error).contains("MOVED"), "{}", told(&error));
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
    }
}

/// Applications fetch tokens over a network.
#[tokio::test]
async fn credentials_may_take_their_time() {
    let cluster = Cluster::start().await;
    let slow = || async {
        tokio::time::sleep(ms(800)).await;
        Ok::<_, std::io::Error>(cachestore::Credentials::new("default", ""))
    };
    let store = open(config(&cluster.url("app")).credentials(slow)).await;
    store.set("k", "v").await.unwrap();
}
