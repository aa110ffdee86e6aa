//! What comes and goes leaves nothing behind: not in the counts, and not on the heap.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails by a panic too")]

#[path = "support/heap.rs"]
mod heap;

use std::time::Duration;

use cachestore::{MemoryConfig, Store};
use tokio::runtime::Builder;

const MIB: usize = 1 << 20;

/// How entries go.
#[derive(Debug, Clone, Copy)]
enum Way {
    Expiry,
    Deletion,
    Invalidation,
    Clearing,
    Overwriting,
}

const WAYS: [Way; 5] = [
    Way::Expiry,
    Way::Deletion,
    Way::Invalidation,
    Way::Clearing,
    Way::Overwriting,
];

fn key(n: usize) -> String {
    format!("user:{n:08}:a-profile-with-a-key-on-the-heap")
}

async fn fill(store: &Store, entries: usize) {
    for n in 0..entries {
        // Names that few share, names that many share, and names that are entries themselves.
        let names = [
            format!("name:{}", n / 3),
            format!("group:{}", n % 100),
            key(n / 2),
        ];
        store
            .set(key(n), [7; 64])
            .ttl(Duration::from_secs(60))
            .depends_on(names)
            .await
            .unwrap();
    }
}

async fn remove(store: &Store, entries: usize, way: Way) {
    match way {
        Way::Expiry => {
            // Past the longest TTL, and past the time that reclaiming may wait.
            tokio::time::sleep(Duration::from_secs(61)).await;
        }
        Way::Deletion => {
            for n in 0..entries {
                assert!(store.delete(key(n)).await.unwrap());
            }
        }
        Way::Invalidation => {
            let groups = (0..100).map(|group| format!("group:{group}"));
            assert_eq!(store.invalidate(groups).await.unwrap(), entries as u64);
        }
        Way::Clearing => assert_eq!(store.clear().await.unwrap(), entries as u64),
        Way::Overwriting => {
            for n in 0..entries {
                store.set(key(n), "").ttl(Duration::from_millis(1)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Lets entries come and go in every way, and holds the heap against what it was at first.
fn come_and_go(entries: usize, rounds: usize) {
    let _alone = heap::alone();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = MemoryConfig::default()
            .capacity_bytes(4096 * MIB)
            .request_timeout(Duration::from_secs(600));
        let store = Store::open(config).await.unwrap();
        fill(&store, 1_000).await;
        remove(&store, 1_000, Way::Deletion).await;
        let before = heap::held();
        for round in 0..rounds {
            let way = WAYS[round % WAYS.len()];
            fill(&store, entries).await;
            let full = store.stats().await.unwrap();
            assert_eq!(full.entries, Some(entries as u64));
            assert!(heap::held() - before > entries * 300, "the heap has grown");
            remove(&store, entries, way).await;
            let stats = store.stats().await.unwrap();
            assert_eq!((stats.entries, stats.bytes), (Some(0), Some(0)), "after {way:?}");
            assert_eq!(stats.evicted, Some(0));
            let left = heap::held().saturating_sub(before);
            // Small hash segments and the policy's memory of what has gone may stay.
            assert!(
                left < MIB,
                "{left} of {:?} bytes are left on the heap after {way:?}",
                full.bytes
            );
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_hundred_thousand_entries_leave_nothing_behind() {
    come_and_go(20_000, WAYS.len());
}

#[test]
#[ignore = "takes minutes in a debug build: tests/soak.sh runs it"]
fn soak_millions_of_entries_leave_nothing_behind() {
    come_and_go(1_000_000, WAYS.len());
}

#[test]
fn evicted_entries_leave_nothing_behind() {
    let _alone = heap::alone();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let capacity = 4 * MIB;
        let store = Store::open(MemoryConfig::default().capacity_bytes(capacity))
            .await
            .unwrap();
        let before = heap::held();
        fill(&store, 60_000).await;
        let stats = store.stats().await.unwrap();
        assert!(stats.evicted > Some(30_000), "{stats:?}");
        let held = heap::held() - before;
        assert!(
            held < capacity + capacity / 4,
            "{held} bytes are held for a capacity of {capacity}"
        );
        store.clear().await.unwrap();
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.entries, stats.bytes), (Some(0), Some(0)));
        let left = heap::held().saturating_sub(before);
        assert!(left < MIB, "{left} bytes are left on the heap");
    });
}

#[test]
fn a_store_gives_everything_back() {
    let _alone = heap::alone();
    let cycle = || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(MemoryConfig::default()).await.unwrap();
            fill(&store, 5_000).await;
            store.close().await.unwrap();
        });
    };
    cycle();
    let before = heap::held();
    (0..5).for_each(|_| cycle());
    let left = heap::held().saturating_sub(before);
    assert!(left < MIB / 16, "{left} bytes are left of five stores");
}
