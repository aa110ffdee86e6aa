//! The owner of the slot stands still, and goes on when another node has taken over.

use std::time::Duration;

use cachestore::{NearCache, Release};
use tokio::time::sleep;

use crate::harness::opening::{back, config, eventually, ms, open};
use crate::harness::switch::{Writers, switched};
use crate::harness::{Cluster, lateness};

const TAG: &str = "app";
const TTL: Duration = Duration::from_secs(60);
/// How soon calls succeed after the promotion: before an attempt to connect to the silent owner ends, which takes 2 s.
const BACK: Duration = Duration::from_secs(1);

/// What the new owner has not got was acknowledged before the store knew it. No lock is lost, and no increment that was
/// acknowledged after the switch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_by_an_owner_that_stood_still() {
    let cluster = Cluster::with_replicas().await;
    let store = open(config(&cluster.url(TAG)).request_timeout(ms(1000))).await;
    let owner = cluster.owner(TAG);
    let replica = owner + 3;
    let mut events = store.events();
    let guard = store.lock("held").ttl(TTL).await.unwrap();
    let offset = |node: usize| cluster.nodes[node].info("master_repl_offset");
    assert!(eventually(ms(5000), || offset(owner) == offset(replica)).await);
    let writers = Writers::begin(&store);
    sleep(ms(300)).await;
    cluster.nodes[owner].stop();
    let promoted = cluster.promotion(owner).await;
    let switched = switched(&mut events).await;
    // It still takes itself for the owner, until it hears of the others.
    cluster.nodes[owner].cont();
    let after = back(&store).await.saturating_duration_since(promoted);
    println!("cluster: back {after:?} after the promotion");
    assert!(after < BACK + lateness::late(), "{after:?}");
    sleep(ms(1500)).await;
    let after = writers.acknowledged_after(switched).await;
    let mut client = cluster.nodes[replica].client();
    for key in &after {
        let name = format!("{{{TAG}}}:{key}");
        let there = client.try_command(&["EXISTS", &name]).unwrap().int();
        assert_eq!(there, 1, "{key} was acknowledged by the old owner");
    }
    assert!(guard.remaining() > TTL / 4);
    assert_eq!(guard.release().await.unwrap(), Release::Released);
}

/// The owner that stands still tells of no change at the next one, and its connections stay open.
#[tokio::test]
async fn nothing_near_outlives_an_owner_that_stands_still() {
    let cluster = Cluster::with_replicas().await;
    // Without a sign of life, an entry may be served for this long. It goes with the connection that has read it.
    let near = NearCache::default().max_age(TTL);
    let store = open(config(&cluster.url(TAG)).near_cache(near)).await;
    let owner = cluster.owner(TAG);
    let replica = owner + 3;
    store.set("k", "v").await.unwrap();
    for _ in 0..20 {
        store.get("k").await.unwrap();
    }
    assert!(store.stats().await.unwrap().near_hits > 0);
    let offset = |node: usize| cluster.nodes[node].info("master_repl_offset");
    assert!(eventually(ms(5000), || offset(owner) == offset(replica)).await);
    cluster.nodes[owner].stop();
    cluster.promotion(owner).await;
    let entry = format!("{{{TAG}}}:k");
    let set = || cluster.nodes[replica].command(&["SET", &entry, "new"]).text() == "OK";
    assert!(eventually(ms(20_000), set).await);
    // The store asks for another key, and hears of the new owner.
    back(&store).await;
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("new"));
    cluster.nodes[owner].cont();
}
