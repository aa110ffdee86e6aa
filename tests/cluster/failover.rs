//! The owner of the slot fails, and the store follows the replica that is promoted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::{Error, Event, Release};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use crate::harness::opening::{back, config, eventually, ms, open, token};
use crate::harness::{Cluster, Direction, Toxic, lateness};
use crate::moves::write_in_order;

const TAG: &str = "app";
/// How soon calls succeed after the promotion.
const BACK: Duration = Duration::from_secs(2);

/// Also what is held and known goes on.
#[tokio::test]
async fn a_killed_owner_is_followed() {
    let mut cluster = Cluster::with_replicas().await;
    let store = open(config(&cluster.url(TAG))).await;
    let owner = cluster.owner(TAG);
    let mut events = store.events();
    store.set("k", "v").await.unwrap();
    let guard = store.lock("held").ttl(Duration::from_secs(60)).await.unwrap();
    let before = token(&store).await;
    let replica = owner + 3;
    let offset = |node: usize| cluster.nodes[node].info("master_repl_offset");
    assert!(eventually(ms(5000), || offset(owner) == offset(replica)).await);
    cluster.nodes[owner].kill9();
    let (promoted, back) = tokio::join!(cluster.promotion(owner), back(&store));
    let after = back.saturating_duration_since(promoted);
    println!("cluster: back {after:?} after the promotion");
    assert!(after < BACK + lateness::late(), "{after:?}");
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
    let node = cluster.nodes[replica].address();
    let told = async { while events.next().await != Some(Event::SwitchedPrimary { node: node.clone() }) {} };
    timeout(ms(5000), told).await.unwrap();
    assert!(guard.remaining() > ms(30_000));
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    assert!(token(&store).await > before);
    // The old owner comes back as a replica of the new one.
    cluster.nodes[owner].restart().await;
    cluster.healthy().await;
    store.set("k", "new").await.unwrap();
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("new"));
}

/// A replica takes over in agreement with its primary, and back: nothing is lost, no increment is made twice, and writes of a
/// key keep their order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_failover_counts_each_increment_once_and_keeps_order() {
    let cluster = Cluster::with_replicas().await;
    let store = open(config(&cluster.url(TAG)).request_timeout(Duration::from_secs(10))).await;
    let owner = cluster.owner(TAG);
    let going = Arc::new(AtomicBool::new(true));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, going) = (store.clone(), going.clone());
            tokio::spawn(async move {
                let (mut done, mut unknown) = (0u64, 0u64);
                while going.load(Ordering::Relaxed) {
                    match store.incr("n", 1).await {
                        Ok(_) => done += 1,
                        Err(Error::OutcomeUnknown(_)) => unknown += 1,
                        Err(Error::Unavailable(_) | Error::Timeout { .. }) => sleep(ms(1)).await,
                        Err(other) => panic!("{other:?}"),
                    }
                }
                (done, unknown)
            })
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|n| tokio::spawn(write_in_order(store.clone(), format!("key{n}"), going.clone())))
        .collect();
    for node in [owner + 3, owner] {
        sleep(ms(300)).await;
        // On a busy machine the nodes may give up an attempt, after 5 s.
        let mut asked = 0;
        while cluster.nodes[node].info("role") != "master" {
            if asked % 600 == 0 {
                cluster.nodes[node].command(&["CLUSTER", "FAILOVER"]);
            }
            asked += 1;
            assert!(asked < 6000, "no replica takes over");
            sleep(ms(10)).await;
        }
        cluster.healthy().await;
    }
    sleep(ms(300)).await;
    going.store(false, Ordering::Relaxed);
    let (mut done, mut unknown) = (0, 0);
    for task in tasks {
        let counts = task.await.unwrap();
        done += counts.0;
        unknown += counts.1;
    }
    for writer in writers {
        assert!(writer.await.unwrap().done > 0);
    }
    let sum: u64 = store.get_string("n").await.unwrap().unwrap().parse().unwrap();
    println!("cluster: {sum}, {done} acknowledged, {unknown} unknown");
    assert!(
        (done..=done + unknown).contains(&sum),
        "{sum}: {done} and {unknown}"
    );
    assert!(done > 100);
}

#[tokio::test]
async fn a_store_comes_back_after_all_nodes_were_restarted_at_once() {
    let mut cluster = Cluster::with(0, |options| options.append_only(), "").await;
    let store = open(config(&cluster.url(TAG))).await;
    store.set("k", "v").depends_on("name").await.unwrap();
    let calls = tokio::spawn({
        let store = store.clone();
        async move {
            let mut errors = Vec::new();
            for n in 0.. {
                match store.set("n", n.to_string()).await {
                    Ok(()) if !errors.is_empty() => break,
                    Ok(()) => {}
                    Err(error) => errors.push(error),
                }
                sleep(ms(10)).await;
            }
            errors
        }
    });
    sleep(ms(100)).await;
    cluster.nodes.iter_mut().for_each(|node| node.kill9());
    sleep(ms(300)).await;
    for node in &mut cluster.nodes {
        node.restart().await;
    }
    let errors = timeout(Duration::from_secs(60), calls).await.unwrap().unwrap();
    for error in &errors {
        let typed = matches!(
            error,
            Error::Unavailable(_) | Error::OutcomeUnknown(_) | Error::Timeout { .. }
        );
        assert!(typed, "{error:?}");
    }
    println!("cluster: {} errors until all nodes were back", errors.len());
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
    assert_eq!(store.invalidate("name").await.unwrap(), 1);
}

/// The owner has carried the change out, and the connection is lost before the reply.
#[tokio::test]
async fn a_change_whose_reply_is_lost_says_so_and_is_made_once() {
    let cluster = Cluster::start().await;
    let (proxies, config) = cluster.proxied(TAG).await;
    let owner = cluster.owner(TAG);
    let (proxy, node) = (&proxies[owner], &cluster.nodes[owner]);
    let store = open(config.request_timeout(ms(5000)).response_timeout(ms(3000))).await;
    let count = || node.command(&["GET", "{app}:n"]).text();
    store.incr("n", 1).await.unwrap();
    proxy.add(Direction::Down, Toxic::Timeout { close: None });
    let cut = async {
        while count() == "1" {
            sleep(ms(2)).await;
        }
        proxy.cut();
    };
    let (answer, ()) = tokio::join!(store.incr("n", 1), cut);
    // Not before: what the proxy holds back would still get through a connection that is being cut.
    proxy.heal();
    assert!(matches!(answer, Err(Error::OutcomeUnknown(_))), "{answer:?}");
    back(&store).await;
    assert_eq!(count(), "2", "once");
}
