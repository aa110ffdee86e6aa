//! A store over all nodes, which cannot reach one of them, whose nodes all restart at once, or whose primary hands over.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::{Error, RedisConfig};
use tokio::time::{Instant, sleep};

use crate::harness::opening::{config, eventually, ms, open};
use crate::harness::{Cluster, RedisServer, lateness};
use crate::moves::{count, counted};

/// The nodes reach each other, and nothing tells that the slots have another owner.
#[tokio::test]
async fn a_node_that_this_client_cannot_reach_holds_up_its_own_slots_only() {
    let cluster = Cluster::start().await;
    // `open` asks the node of the layout's version.
    let needed = cluster.owner("cachestore:layout");
    let (hidden, other) = ((needed + 1) % 3, (needed + 2) % 3);
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let unreachable = cluster.nodes[hidden].port();
    let wait = ms(400);
    let settings = RedisConfig::cluster([cluster.nodes[needed].address()])
        .unwrap()
        .map_address(move |host, port| {
            let port = if port == unreachable { closed } else { port };
            (host.to_owned(), port)
        });
    let store = open(settings.wait_for_connection(wait)).await;
    let key_on = |node| {
        let mut all = (0..).map(|n| format!("k{n}"));
        all.find(|key| cluster.owner(key) == node).unwrap()
    };
    let [far, near, there] = [hidden, needed, other].map(key_on);
    for round in 0..4 {
        let began = Instant::now();
        let error = store.set(&far, "v").await.unwrap_err();
        let took = began.elapsed();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(took < wait + ms(600) + lateness::late(), "{took:?}");
        for key in [&near, &there] {
            let began = Instant::now();
            store.set(key, round.to_string()).await.unwrap();
            assert_eq!(store.get_string(key).await.unwrap(), Some(round.to_string()));
            let took = began.elapsed();
            assert!(took < ms(300) + lateness::late(), "{took:?}");
        }
    }
    assert_eq!(cluster.nodes[hidden].command(&["EXISTS", &far]).int(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_that_restart_at_once_lose_no_increment_and_make_none_twice() {
    let mut cluster = Cluster::with(0, |options| options.append_only(), "").await;
    let store = open(config(&cluster.spread_url()).request_timeout(Duration::from_secs(20))).await;
    let going = Arc::new(AtomicBool::new(true));
    let counters: Vec<_> = (0..6)
        .map(|n| tokio::spawn(count(store.clone(), format!("count{n}"), going.clone())))
        .collect();
    for _ in 0..2 {
        sleep(ms(300)).await;
        cluster.nodes.iter_mut().for_each(RedisServer::kill9);
        for node in &mut cluster.nodes {
            node.restart().await;
        }
        cluster.healthy().await;
        let well = Instant::now();
        let mut waiting: BTreeMap<usize, String> = (0..6).map(|n| (n, format!("count{n}"))).collect();
        while let Some((n, key)) = waiting.first_key_value() {
            let n = *n;
            if store.get(key).await.is_ok() {
                waiting.remove(&n);
            }
            let took = well.elapsed();
            assert!(took < Duration::from_secs(3) + lateness::late(), "{took:?}");
        }
    }
    going.store(false, Ordering::Relaxed);
    for counts in counted(&store, counters).await {
        assert!(counts.done > 0 && counts.unknown > 0, "{counts:?}");
    }
}

/// Planned, and with servers that take writes only while a replica follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_failover_loses_nothing_that_was_acknowledged() {
    let options = |options: crate::harness::server::Options| options.argument("min-replicas-to-write", "1");
    let cluster = Cluster::with(1, options, "").await;
    let store = open(config(&cluster.spread_url()).request_timeout(Duration::from_secs(20))).await;
    let mut keys = (0..).map(|n| format!("count{n}"));
    let mut key_on = |node| keys.find(|key| cluster.owner(key) == node).unwrap();
    let all = [key_on(0), key_on(0), key_on(1)];
    let writable = async || while store.set(&all[0], "0").await.is_err() {};
    writable().await;
    let going = Arc::new(AtomicBool::new(true));
    let counters = all
        .clone()
        .map(|key| tokio::spawn(count(store.clone(), key, going.clone())));
    for replica in [3, 0, 3] {
        sleep(ms(300)).await;
        let is_primary = || {
            cluster.nodes[replica].command(&["CLUSTER", "FAILOVER"]);
            cluster.nodes[replica].info("role") == "master"
        };
        assert!(eventually(Duration::from_secs(20), is_primary).await);
        cluster.healthy().await;
    }
    sleep(ms(300)).await;
    going.store(false, Ordering::Relaxed);
    for counts in counted(&store, counters).await {
        assert!(counts.done > 0, "{counts:?}");
    }
}
