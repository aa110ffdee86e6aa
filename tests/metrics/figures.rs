//! Hits and misses, what changes entries, and what they take.

use std::future::IntoFuture;
use std::time::Duration;

use cachestore::{Config, MemoryConfig, NearCache};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::support::{ms, secs};
use crate::told::{Recorded, Told, World, on_both_engines};

on_both_engines!(
    reads_are_hits_or_misses,
    changes_of_entries_are_counted,
    stale_values_are_told_from_fresh_ones,
    gauges_end_with_the_store_whose_handles_live_on,
);

async fn reads_are_hits_or_misses(world: World, mut recorded: Recorded) {
    let store = &world.store;
    store.set("a", "1").await.unwrap();
    store.get("a").await.unwrap();
    store.get("b").await.unwrap();
    store.get_many(["a", "b", "a"]).await.unwrap();
    store.stats().await.unwrap();
    assert_eq!(recorded.count("cachestore_hits_total", &[("tier", "engine")]), 3);
    assert_eq!(recorded.count("cachestore_hits_total", &[("tier", "near")]), 0);
    assert_eq!(recorded.count("cachestore_misses_total", &[]), 2);
}

async fn changes_of_entries_are_counted(world: World, mut recorded: Recorded) {
    let store = &world.store;
    store
        .set_many([("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")])
        .depends_on("n")
        .await
        .unwrap();
    store.delete("a").await.unwrap();
    assert_eq!(store.invalidate("n").await.unwrap(), 3);
    store.stats().await.unwrap();
    assert_eq!(recorded.count("cachestore_written_total", &[]), 4);
    assert_eq!(recorded.count("cachestore_deleted_total", &[]), 1);
    assert_eq!(recorded.count("cachestore_invalidated_total", &[]), 3);
    assert_eq!(recorded.count("cachestore_resets_total", &[]), 0);
    // What only a server knows is not told as zero.
    let names: Vec<String> = recorded.series().into_iter().map(|(name, _)| name).collect();
    for name in [
        "expired_total",
        "evicted_total",
        "entries",
        "memory_bytes",
        "capacity_bytes",
    ] {
        let is_told = names.contains(&format!("cachestore_{name}"));
        assert_eq!(is_told, world.engine == "memory", "{name}");
    }
}

async fn gauges_end_with_the_store_whose_handles_live_on(world: World, mut recorded: Recorded) {
    let store = &world.store;
    store.set("a", "1").await.unwrap();
    let guard = store.lock("k").await.unwrap();
    let others = store.namespace("n").unwrap().metrics_label("n");
    others.set("b", "2").await.unwrap();
    store.stats().await.unwrap();
    let names = [
        "cachestore_entries",
        "cachestore_memory_bytes",
        "cachestore_capacity_bytes",
        "cachestore_locks_held",
        "cachestore_connections",
    ];
    let levels = |recorded: &mut Recorded| names.map(|name| recorded.value(name, &[]));
    let before = levels(&mut recorded).iter().filter(|level| **level > 0.0).count();
    assert_eq!(before, if world.engine == "memory" { 4 } else { 2 });
    store.close().await.unwrap();
    assert_eq!(levels(&mut recorded), [0.0; 5]);
    drop(guard);
    // Long enough for what is published once a second.
    assert!(store.stats().await.is_err());
    sleep(ms(1_100)).await;
    assert_eq!(levels(&mut recorded), [0.0; 5]);
}

async fn stale_values_are_told_from_fresh_ones(world: World, mut recorded: Recorded) {
    let store = &world.store;
    let load = || {
        store
            .get_or_load("k", || async { Ok::<_, String>(1) })
            .ttl(ms(50))
            .stale_while_revalidate(secs(60))
            .into_future()
    };
    load().await.unwrap();
    load().await.unwrap();
    // The time that makes the value stale, by the clock of either engine.
    tokio::time::sleep(ms(100)).await;
    load().await.unwrap();
    store.stats().await.unwrap();
    assert_eq!(recorded.count("cachestore_misses_total", &[]), 1);
    assert_eq!(recorded.count("cachestore_hits_total", &[]), 2);
    assert_eq!(recorded.count("cachestore_stale_hits_total", &[]), 1);
}

#[tokio::test(start_paused = true)]
async fn near_hits_are_hits_and_no_calls() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let world = World::over(Config::memory().near_cache(NearCache::default())).await;
    let store = &world.store;
    store.set("a", "1").await.unwrap();
    // An entry that is read again is near.
    while store.stats().await.unwrap().near_entries == 0 {
        store.get("a").await.unwrap();
    }
    let asked = recorded.count("cachestore_calls_total", &[("call", "get")]);
    let hits = recorded.count("cachestore_hits_total", &[("tier", "engine")]);
    assert_eq!(asked, hits);
    for _ in 0..10 {
        store.get("a").await.unwrap();
    }
    store.stats().await.unwrap();
    assert_eq!(recorded.count("cachestore_hits_total", &[("tier", "near")]), 10);
    assert_eq!(
        recorded.count("cachestore_hits_total", &[("tier", "engine")]),
        hits
    );
    assert_eq!(
        recorded.count("cachestore_calls_total", &[("call", "get")]),
        asked
    );
    assert_eq!(recorded.count("cachestore_near_entries", &[]), 1);
    assert_eq!(recorded.count("cachestore_near_flushes_total", &[]), 0);
    let stats = store.stats().await.unwrap();
    assert_eq!(recorded.count("cachestore_near_bytes", &[]), stats.near_bytes);
}

#[tokio::test(start_paused = true)]
async fn evictions_and_expiry_are_counted_and_memory_is_told_against_capacity() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let capacity = 256 * 1024;
    let world = World::over(MemoryConfig::default().capacity_bytes(capacity)).await;
    let store = &world.store;
    store.set("short", "1").ttl(secs(1)).await.unwrap();
    tokio::time::sleep(secs(2)).await;
    for n in 0..100 {
        store.set(format!("k{n}"), vec![0; 4096]).await.unwrap();
    }
    let stats = store.stats().await.unwrap();
    assert!(stats.evicted.unwrap() > 0);
    assert_eq!(recorded.count("cachestore_expired_total", &[]), 1);
    assert_eq!(
        recorded.count("cachestore_evicted_total", &[]),
        stats.evicted.unwrap()
    );
    assert_eq!(recorded.count("cachestore_entries", &[]), stats.entries.unwrap());
    assert_eq!(
        recorded.count("cachestore_memory_bytes", &[]),
        stats.bytes.unwrap()
    );
    assert_eq!(recorded.count("cachestore_capacity_bytes", &[]), capacity as u64);
}

/// Publishing goes on by itself, and what a store holds is taken back when it ends.
#[tokio::test(start_paused = true)]
async fn figures_are_published_every_second_until_the_store_ends() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let world = World::memory().await;
    let other = World::memory().await;
    world.store.set("a", "1").await.unwrap();
    other.store.set_many([("a", "1"), ("b", "2")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(
        recorded.count("cachestore_entries", &[]),
        3,
        "the stores of a process add up"
    );
    assert_eq!(recorded.count("cachestore_calls_total", &[("call", "stats")]), 0);
    drop(other);
    tokio::time::sleep(secs(2)).await;
    yield_now().await;
    assert_eq!(recorded.count("cachestore_entries", &[]), 1);
    world.store.close().await.unwrap();
    drop(world);
    tokio::time::sleep(secs(2)).await;
    for name in [
        "cachestore_entries",
        "cachestore_memory_bytes",
        "cachestore_capacity_bytes",
    ] {
        assert_eq!(recorded.count(name, &[]), 0, "{name}");
    }
    assert_eq!(
        recorded.count("cachestore_written_total", &[]),
        3,
        "a count stays"
    );
}
