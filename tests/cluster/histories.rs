//! Concurrent histories on a store over all nodes: each key is linearizable while its slot moves, and at clean failovers. A primary
//! that is killed may lose what it has acknowledged, so its histories prove nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::Cluster;
use crate::harness::histories::{Histories, KEYS, group};
use crate::harness::opening::{config, eventually, ms, open, soak};

/// The places of the nodes that are primaries.
fn primaries(cluster: &Cluster) -> Vec<usize> {
    let all = cluster.nodes.iter().enumerate();
    all.filter(|(_, node)| node.info("role") == "master")
        .map(|(place, _)| place)
        .collect()
}

/// Moves the slots of all registers, each to the next primary.
async fn move_slots(cluster: &Cluster) {
    for register in 0..KEYS {
        let group = group(register);
        let (slot, here) = (cluster.slot(&group), cluster.owner(&group));
        cluster.move_slot(&slot, here, (here + 1) % 3, ms(1)).await;
    }
}

/// Lets each replica and its primary change places.
async fn fail_over(cluster: &Cluster) {
    for place in 0..3 {
        let replica = if cluster.nodes[place].info("role") == "master" {
            place + 3
        } else {
            place
        };
        cluster.nodes[replica].command(&["CLUSTER", "FAILOVER"]);
        // One that takes longer than 5 s is given up by the servers.
        let is_primary = || cluster.nodes[replica].info("role") == "master";
        if !eventually(Duration::from_secs(6), is_primary).await {
            continue;
        }
        cluster.healthy().await;
        assert!(eventually(Duration::from_secs(20), || agree(cluster)).await);
    }
}

/// Whether all nodes name the same primaries as owners of slots.
fn agree(cluster: &Cluster) -> bool {
    let ports = primaries(cluster)
        .into_iter()
        .map(|place| i64::from(cluster.nodes[place].port()));
    let ports: BTreeSet<i64> = ports.collect();
    cluster.nodes.iter().all(|node| {
        let slots = node.command(&["CLUSTER", "SLOTS"]);
        let owners = slots
            .array()
            .iter()
            .map(|range| range.array()[2].array()[1].int());
        owners.collect::<BTreeSet<i64>>() == ports
    })
}

/// Checks histories for so long, while slots move, or while primaries and replicas change places.
async fn histories(cluster: Cluster, lasts: Duration, fails_over: bool) {
    let settings = config(&cluster.spread_url()).request_timeout(Duration::from_secs(20));
    let mut histories = Histories::new(open(settings).await, false);
    let going = Arc::new(AtomicBool::new(true));
    let changes = tokio::spawn({
        let going = going.clone();
        async move {
            let mut changes = 0;
            while going.load(Ordering::Relaxed) {
                // Not both: what a replica has not heard of yet is lost when it is promoted.
                if fails_over {
                    fail_over(&cluster).await;
                } else {
                    move_slots(&cluster).await;
                }
                changes += 1;
            }
            changes
        }
    });
    let end = Instant::now() + lasts;
    while Instant::now() < end || histories.checked < 60 {
        histories.round(sleep(ms(1))).await;
    }
    going.store(false, Ordering::Relaxed);
    let changes = changes.await.unwrap();
    println!(
        "spread: fails over: {fails_over}, {lasts:?}, {changes} rounds of changes: {} histories, {} wrong, {} lost replies, {} refused",
        histories.checked,
        histories.wrong,
        histories.lost(),
        histories.refused()
    );
    assert_eq!(histories.wrong, 0, "{:?}", histories.example);
    assert!(changes > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_slots_move() {
    histories(Cluster::start().await, ms(4000), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_clean_failovers() {
    histories(Cluster::with_replicas().await, ms(6000), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_histories_over_all_nodes() {
    histories(Cluster::start().await, soak() / 2, false).await;
    histories(Cluster::with_replicas().await, soak() / 2, true).await;
}
