//! The cluster that the contract runs over while slots move.

use crate::harness::opening::{eventually, ms};
use crate::harness::{Borrowed, Cluster, Moving};

#[tokio::test]
async fn slots_with_keys_move_back_and_forth_and_are_at_home_at_the_end() {
    let cluster = Borrowed::with(|options| options, "").await;
    let slot = cluster.slot("k");
    let owner = |cluster: &Cluster| cluster.owner_seen_by(0, &slot);
    let home = owner(&cluster);
    cluster.nodes[home].command(&["SET", "k", "v"]);
    let moving = Moving::begin(cluster);
    for is_at_home in [false, true, false] {
        let is_there = || (owner(moving.cluster()) == home) == is_at_home;
        assert!(eventually(ms(20_000), is_there).await, "at home: {is_at_home}");
    }
    drop(moving);
    // The same one: no other test of this binary borrows one.
    let cluster = Borrowed::with(|options| options, "").await;
    assert_eq!(owner(&cluster), home);
    assert!(cluster.nodes.iter().all(|node| node.keys("k").is_empty()));
}
