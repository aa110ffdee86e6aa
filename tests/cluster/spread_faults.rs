//! A store over all nodes, one of which fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::Error;
use tokio::time::{Instant, sleep};

use crate::harness::opening::{config, eventually, ms, open};
use crate::harness::server::Options;
use crate::harness::{Cluster, Direction, Toxic, lateness};
use crate::moves::{count, counted};

/// A key on each of the three primaries.
fn keys(cluster: &Cluster) -> [String; 3] {
    [0, 1, 2].map(|node| {
        let mut all = (0..).map(|n| format!("{{k{n}}}"));
        all.find(|key| cluster.owner(key) == node).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_promoted_is_followed_and_no_increment_is_made_twice() {
    let mut cluster = Cluster::with_replicas().await;
    let store = open(config(&cluster.spread_url()).request_timeout(Duration::from_secs(20))).await;
    let keys = keys(&cluster);
    for key in &keys {
        store.incr(key, 1).await.unwrap();
    }
    let offset = |cluster: &Cluster, node: usize| cluster.nodes[node].info("master_repl_offset");
    assert!(eventually(ms(5000), || offset(&cluster, 0) == offset(&cluster, 3)).await);
    let going = Arc::new(AtomicBool::new(true));
    let counters = keys
        .clone()
        .map(|key| tokio::spawn(count(store.clone(), format!("{key}:count"), going.clone())));
    sleep(ms(300)).await;
    cluster.nodes[0].kill9();
    let promoted = cluster.promotion(0).await;
    let back = loop {
        if store.incr(&keys[0], 1).await.is_ok() {
            break Instant::now();
        }
        sleep(ms(5)).await;
    };
    let after = back.saturating_duration_since(promoted);
    println!("spread: back {after:?} after the promotion");
    assert!(after < Duration::from_secs(2) + lateness::late(), "{after:?}");
    sleep(ms(300)).await;
    going.store(false, Ordering::Relaxed);
    for (node, counter) in counters.into_iter().enumerate() {
        let (key, counts) = counter.await.unwrap();
        let sum: u64 = store.get_string(&key).await.unwrap().unwrap().parse().unwrap();
        println!("spread: {key}: {sum} of {counts:?}");
        // What was not replicated may be lost with the node, and nothing is made twice.
        assert!(sum <= counts.done + counts.unknown, "{sum} of {counts:?}");
        assert!(node == 0 || sum >= counts.done, "{sum} of {counts:?}");
        assert!(counts.done > 0, "{counts:?}");
    }
}

/// The other nodes are not asked for anything, so none of them tells that the cluster has changed.
#[tokio::test]
async fn a_replica_that_is_promoted_is_followed_if_no_node_redirects() {
    let without = |options: Options| options.argument("cluster-require-full-coverage", "no");
    let mut cluster = Cluster::with(1, without, "").await;
    let store = open(config(&cluster.spread_url()).wait_for_connection(ms(100))).await;
    let [key, ..] = keys(&cluster);
    store.set(&key, "v").await.unwrap();
    cluster.nodes[0].kill9();
    let promoted = cluster.promotion(0).await;
    while store.set(&key, "w").await.is_err() {
        let after = promoted.elapsed();
        assert!(after < Duration::from_secs(2) + lateness::late(), "{after:?}");
        sleep(ms(5)).await;
    }
}

#[tokio::test]
async fn a_node_that_never_comes_back_holds_up_its_own_slots_only() {
    let mut cluster = Cluster::with(
        0,
        |options| options.argument("cluster-require-full-coverage", "no"),
        "",
    )
    .await;
    let wait = ms(500);
    let store = open(
        config(&cluster.spread_url())
            .wait_for_connection(wait)
            .request_timeout(Duration::from_secs(20)),
    )
    .await;
    let keys = keys(&cluster);
    for key in &keys {
        store.set(key, "v").await.unwrap();
    }
    cluster.nodes[1].kill9();
    for _ in 0..3 {
        let began = Instant::now();
        let error = store.get(&keys[1]).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        let took = began.elapsed();
        assert!(took < wait + ms(500) + lateness::late(), "{took:?}");
        for key in [&keys[0], &keys[2]] {
            assert!(store.get(key).await.unwrap().is_some());
            store.set(key, "w").await.unwrap();
        }
        let many = store.get_many(&keys).await;
        assert!(matches!(many, Err(Error::Unavailable(_))), "{many:?}");
    }
    cluster.nodes[1].restart().await;
    let end = Instant::now() + Duration::from_secs(20);
    while store.set(&keys[1], "v").await.is_err() {
        assert!(Instant::now() < end, "it comes back");
        sleep(ms(20)).await;
    }
}

#[tokio::test]
async fn a_slow_node_makes_calls_to_its_own_slots_slow_only() {
    let cluster = Cluster::start().await;
    let keys = keys(&cluster);
    let (proxies, config) = cluster.spread_proxied().await;
    let store = open(config.request_timeout(Duration::from_secs(20))).await;
    for key in &keys {
        store.set(key, "v").await.unwrap();
    }
    proxies[2].add(
        Direction::Down,
        Toxic::Latency {
            delay: ms(400),
            jitter: ms(0),
        },
    );
    let slow = tokio::spawn({
        let (store, key) = (store.clone(), keys[2].clone());
        async move {
            let began = Instant::now();
            store.get(&key).await.unwrap();
            began.elapsed()
        }
    });
    let began = Instant::now();
    for _ in 0..20 {
        for key in &keys[..2] {
            store.get(key).await.unwrap();
        }
    }
    let took = began.elapsed();
    assert!(took < ms(300) + lateness::late(), "{took:?}");
    assert!(slow.await.unwrap() >= ms(350));
}

/// Servers carry out what they have read, and the connections end before the replies have come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_reply_is_lost_says_so_and_is_made_once() {
    let cluster = Cluster::start().await;
    let keys = keys(&cluster);
    let (proxies, config) = cluster.spread_proxied().await;
    let store = open(config.request_timeout(Duration::from_secs(20))).await;
    let delay = Toxic::Latency {
        delay: ms(20),
        jitter: ms(0),
    };
    for proxy in &proxies {
        proxy.add(Direction::Down, delay.clone());
    }
    let going = Arc::new(AtomicBool::new(true));
    let counters = keys.map(|key| tokio::spawn(count(store.clone(), key, going.clone())));
    for _ in 0..8 {
        for proxy in &proxies {
            sleep(ms(70)).await;
            proxy.cut();
        }
    }
    sleep(ms(300)).await;
    going.store(false, Ordering::Relaxed);
    for counts in counted(&store, counters).await {
        assert!(counts.done > 0 && counts.unknown > 0, "{counts:?}");
    }
}
