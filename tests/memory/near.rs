//! The near cache as callers see it.

use std::time::Duration;

use cachestore::{Config, Error, LoadError, MemoryConfig, NearCache, Store};
use tokio::runtime::Builder;

async fn open() -> Store {
    Store::open(Config::memory()).await.unwrap()
}

/// Reads a key until the near cache answers.
async fn heat(store: &Store, key: &str) {
    let before = store.stats().await.unwrap().near_hits;
    for _ in 0..4 {
        store.get(key).await.unwrap();
    }
    assert!(store.stats().await.unwrap().near_hits > before, "{key} is near");
}

async fn near_hits(store: &Store) -> u64 {
    store.stats().await.unwrap().near_hits
}

#[tokio::test(start_paused = true)]
async fn every_read_is_answered_near_and_counts_once() {
    let store = open().await;
    store.set_model("k", &7_u32).await.unwrap();
    heat(&store, "k").await;
    let before = store.stats().await.unwrap();
    store.get("k").await.unwrap();
    assert_eq!(store.get_model("k").await.unwrap(), Some(7_u32));
    let models = store.get_models::<u32>(["k", "k"]).await.unwrap();
    assert_eq!(models, [Some(7), Some(7)]);
    assert!(store.get_many(["k"]).await.unwrap()[0].is_some());
    let loaded = store.get_or_load("k", || async { Err::<u32, _>(()) }).await;
    assert_eq!(loaded.unwrap(), 7);
    let loaded = store
        .get_or_load_many(["k"], |_| async {
            Err::<std::collections::HashMap<String, u32>, _>(())
        })
        .await;
    assert_eq!(loaded.unwrap()["k"], 7);
    assert!(store.exists("k").await.unwrap());
    let after = store.stats().await.unwrap();
    assert_eq!(after.near_hits - before.near_hits, 7);
    assert_eq!((after.hits - before.hits, after.misses - before.misses), (7, 0));
    store.set("text", "t").await.unwrap();
    heat(&store, "text").await;
    let before = near_hits(&store).await;
    assert_eq!(store.get_string("text").await.unwrap().as_deref(), Some("t"));
    assert_eq!(near_hits(&store).await, before + 1);
}

/// A call for many keys is one step: it never sees a part of a `set_many`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_are_read_in_one_step() {
    let store = open().await;
    let keys = ["a", "b", "c"];
    store.set_many(keys.map(|key| (key, "0"))).await.unwrap();
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for n in 0..20_000 {
            writer
                .set_many(keys.map(|key| (key, n.to_string())))
                .await
                .unwrap();
            for _ in 0..n % 16 {
                tokio::task::yield_now().await;
            }
        }
    });
    let reader = store.clone();
    let reading = tokio::spawn(async move {
        while !writing.is_finished() {
            let values = reader.get_many(keys).await.unwrap();
            assert!(values.iter().all(|value| value == &values[0]), "{values:?}");
        }
    });
    reading.await.unwrap();
    assert!(near_hits(&store).await > 100);
}

/// What is not near is asked of the engine with the rest of the call, and counts once.
#[tokio::test(start_paused = true)]
async fn a_call_with_a_key_that_is_not_near_counts_each_key_once() {
    let store = open().await;
    store.set("k", "v").await.unwrap();
    heat(&store, "k").await;
    let before = store.stats().await.unwrap();
    let values = store.get_many(["k", "none"]).await.unwrap();
    assert_eq!(values.iter().flatten().count(), 1);
    let after = store.stats().await.unwrap();
    assert_eq!((after.hits - before.hits, after.misses - before.misses), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn every_change_is_seen_by_the_next_read() {
    let store = open().await;
    let tenant = store.namespace("t").unwrap();
    let ttl = Duration::from_secs(60);
    for round in 0..12 {
        store.set("t:k", "1").depends_on("name").await.unwrap();
        heat(&tenant, "k").await;
        let expected = match round {
            0 => tenant.set("k", "2").await.map(|()| Some("2")),
            1 => tenant.set_many([("k", "2")]).await.map(|()| Some("2")),
            2 => tenant
                .set_many((0..40).map(|n| (if n == 39 { "k".to_owned() } else { n.to_string() }, "2")))
                .await
                .map(|()| Some("2")),
            3 => tenant.delete("k").await.map(|_| None),
            4 => tenant.take("k").await.map(|_| None),
            5 => store.invalidate("name").await.map(|_| None),
            6 => store.clear().await.map(|_| None),
            7 => tenant.incr("k", 1).await.map(|_| Some("2")),
            8 => tenant.replace("k", "2").await.map(|_| Some("2")),
            9 => tenant.swap("k", "2").await.map(|_| Some("2")),
            10 => tenant.compare_and_set("k", "1", "2").await.map(|_| Some("2")),
            _ => tenant.get_and_touch("k", ttl).await.map(|_| Some("1")),
        };
        let read = tenant.get_string("k").await.unwrap();
        assert_eq!(read.as_deref(), expected.unwrap(), "round {round}");
    }
    assert_eq!(
        tenant.ttl("k").await.unwrap().and_then(|ttl| ttl.remaining()),
        Some(ttl)
    );
}

#[tokio::test(start_paused = true)]
async fn an_entry_expires_to_the_millisecond() {
    let store = open().await;
    store.set("k", "v").ttl(Duration::from_millis(50)).await.unwrap();
    heat(&store, "k").await;
    tokio::time::advance(Duration::from_millis(49)).await;
    assert!(store.get("k").await.unwrap().is_some());
    store.expire("k", Duration::from_millis(5)).await.unwrap();
    heat(&store, "k").await;
    tokio::time::advance(Duration::from_millis(4)).await;
    let before = near_hits(&store).await;
    assert!(store.get("k").await.unwrap().is_some() && store.exists("k").await.unwrap());
    assert_eq!(near_hits(&store).await, before + 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!store.exists("k").await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_judged_by_its_age() {
    let store = open().await;
    let load = |value: u32| {
        store
            .get_or_load("k", move || async move { Ok::<_, ()>(value) })
            .ttl(Duration::from_millis(10))
            .stale_while_revalidate(Duration::from_secs(1))
    };
    assert_eq!(load(1).await.unwrap(), 1);
    for _ in 0..4 {
        load(2).await.unwrap();
    }
    let before = near_hits(&store).await;
    assert_eq!(load(2).outcome().await.unwrap().origin, cachestore::Origin::Fresh);
    assert_eq!(near_hits(&store).await, before + 1);
    tokio::time::advance(Duration::from_millis(11)).await;
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), None);
    assert_eq!(load(2).outcome().await.unwrap().origin, cachestore::Origin::Stale);
}

#[tokio::test]
async fn a_handle_can_do_without_it_and_a_store_too() {
    let store = open().await;
    store.set("t:k", "v").await.unwrap();
    heat(&store, "t:k").await;
    let plain = store.without_near_cache().namespace("t").unwrap();
    let before = store.stats().await.unwrap();
    assert!(plain.get("k").await.unwrap().is_some() && plain.exists("k").await.unwrap());
    let after = store.stats().await.unwrap();
    assert_eq!((after.near_hits, after.hits), (before.near_hits, before.hits + 1));

    for config in [
        Config::memory().near_cache(NearCache::off()),
        Config::from_url("memory://?near=off").unwrap(),
        MemoryConfig::default().near_cache(NearCache::off()).into(),
    ] {
        let store = Store::open(config).await.unwrap();
        store.set("k", "v").await.unwrap();
        for _ in 0..9 {
            store.get("k").await.unwrap();
        }
        let stats = store.stats().await.unwrap();
        assert_eq!(
            (stats.hits, stats.near_hits, stats.near_entries, stats.near_bytes),
            (9, 0, 0, 0)
        );
    }
    for refused in ["memory://?near=on", "memory://?near=0"] {
        assert!(
            matches!(Config::from_url(refused), Err(Error::InvalidConfig { .. })),
            "{refused}"
        );
    }
    let aged = NearCache::default().max_age(Duration::ZERO);
    let opened = Store::open(Config::memory().near_cache(aged)).await;
    assert!(matches!(opened, Err(Error::InvalidConfig { .. })));
}

/// Both on one thread: a task that polls uses up its budget and lets the engine and the writer run.
#[test]
fn a_polling_loop_lets_its_writer_run() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open().await;
        store.set_model("flag", &0_u8).await.unwrap();
        heat(&store, "flag").await;
        for way in 0..4_u8 {
            store.set_model("flag", &0_u8).await.unwrap();
            heat(&store, "flag").await;
            let writer = store.clone();
            tokio::spawn(async move { writer.set_model("flag", &1_u8).await.unwrap() });
            let read = || async {
                match way {
                    0 => store.get_model::<u8>("flag").await.unwrap().unwrap(),
                    1 => store.get_models::<u8>(["flag"]).await.unwrap()[0].unwrap(),
                    2 => store
                        .get_or_load("flag", || async { Ok::<u8, ()>(9) })
                        .await
                        .unwrap(),
                    _ => store.get("flag").await.unwrap().unwrap().last().copied().unwrap(),
                }
            };
            while read().await == 0 {}
            assert_eq!(read().await, 1);
        }
    });
}

#[test]
fn nothing_is_answered_after_the_close_or_the_end_of_the_runtime() {
    let runtime = |threads: usize| {
        Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap()
    };
    let here = runtime(1);
    for closes in [true, false] {
        let home = runtime(1);
        let store = home.block_on(async {
            let store = open().await;
            store.set("k", "v").await.unwrap();
            heat(&store, "k").await;
            store
        });
        let tenant = store.namespace("t").unwrap();
        if closes {
            home.block_on(store.close()).unwrap();
        }
        drop(home);
        here.block_on(async {
            assert!(matches!(store.get("k").await, Err(Error::Closed)));
            assert!(matches!(store.exists("k").await, Err(Error::Closed)));
            assert!(matches!(store.get_many(["k"]).await, Err(Error::Closed)));
            assert!(matches!(tenant.get("k").await, Err(Error::Closed)));
            let loaded = store
                .get_or_load("k", || async { Ok::<String, ()>(String::new()) })
                .await;
            assert!(matches!(loaded, Err(LoadError::Store(Error::Closed))));
        });
    }
}

#[tokio::test]
async fn its_bytes_are_bounded_and_part_of_the_capacity() {
    let near = NearCache::default().capacity_bytes(20_000);
    let store = Store::open(MemoryConfig::default().capacity_bytes(200_000).near_cache(near))
        .await
        .unwrap();
    for round in 0..3 {
        for n in 0..3_000 {
            let key = format!("key:{n}");
            store.set(&key, "a value").await.unwrap();
            for _ in 0..3 {
                store.get(&key).await.unwrap();
            }
            if n % 100 == 0 {
                let stats = store.stats().await.unwrap();
                assert!(
                    stats.near_bytes <= 20_000 && stats.bytes.unwrap() <= 200_000,
                    "{round}: {stats:?}"
                );
            }
        }
    }
    let stats = store.stats().await.unwrap();
    assert!(stats.near_entries > 50, "{stats:?}");
    store.clear().await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!(
        (stats.near_entries, stats.near_bytes, stats.bytes),
        (0, 0, Some(0))
    );
}

/// The hottest entries are read near, where the engine does not see it. They must not look cold to it.
#[tokio::test]
async fn what_is_read_near_stays_when_room_is_short() {
    let near = NearCache::default().capacity_bytes(4_000);
    let config = MemoryConfig::default().capacity_bytes(60_000).near_cache(near);
    let store = Store::open(config).await.unwrap();
    let hot: Vec<String> = (0..20).map(|n| format!("hot:{n}")).collect();
    for key in &hot {
        store.set(key, "v").await.unwrap();
        heat(&store, key).await;
    }
    for n in 0..40_000 {
        store.set(format!("cold:{n}"), "v").await.unwrap();
        // Served, it keeps no gate closed, so that the engine hears of none of the reads.
        store.exists("none").await.unwrap();
        store.get(&hot[n % 20]).await.unwrap();
    }
    let mut kept = 0;
    for key in &hot {
        kept += usize::from(store.exists(key).await.unwrap());
    }
    assert_eq!(kept, 20);
}

#[tokio::test]
async fn a_key_that_is_read_once_is_not_near() {
    let store = open().await;
    for n in 0..1_000 {
        let key = format!("k{n}");
        store.set(&key, "v").await.unwrap();
        assert!(store.get(&key).await.unwrap().is_some());
    }
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.near_entries, stats.near_bytes, stats.near_hits), (0, 0, 0));
    store.get("k7").await.unwrap();
    assert_eq!(store.stats().await.unwrap().near_entries, 1);
}

#[tokio::test]
async fn what_is_evicted_is_not_found_near() {
    let near = NearCache::default().capacity_bytes(4_000);
    let config = MemoryConfig::default().capacity_bytes(60_000).near_cache(near);
    let store = Store::open(config).await.unwrap();
    let keys: Vec<String> = (0..20).map(|n| format!("hot:{n}")).collect();
    for key in &keys {
        store.set(key, "1").await.unwrap();
        heat(&store, key).await;
    }
    // No other entry fits beside it.
    store.set("large", vec![0; 59_800]).await.unwrap();
    assert_eq!(store.stats().await.unwrap().entries, Some(1));
    for key in &keys {
        assert_eq!(store.get(key).await.unwrap(), None);
    }
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.near_entries, stats.near_bytes), (0, 0));
    // A new life of a key does not bring the old value back.
    for key in &keys {
        store.set(key, "2").await.unwrap();
        assert_eq!(store.get_string(key).await.unwrap().as_deref(), Some("2"));
    }
}

#[tokio::test]
async fn large_values_are_not_near() {
    let store = open().await;
    for (len, near) in [(64 << 10, 1), ((64 << 10) + 1, 0), (4 << 20, 0)] {
        store.clear().await.unwrap();
        store.set("k", vec![7; len]).await.unwrap();
        for _ in 0..5 {
            assert_eq!(store.get("k").await.unwrap().unwrap().len(), len);
        }
        assert_eq!(store.stats().await.unwrap().near_entries, near, "{len} bytes");
    }
}

#[tokio::test]
async fn a_hot_key_that_is_always_written_costs_no_memory() {
    let store = open().await;
    for n in 0..5_000 {
        store.set("k", n.to_string()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(store.get_string("k").await.unwrap().unwrap(), n.to_string());
        }
    }
    let stats = store.stats().await.unwrap();
    assert!(stats.near_entries <= 1 && stats.near_bytes < 200, "{stats:?}");
}

#[tokio::test]
async fn a_thousand_stores_are_opened_and_closed() {
    for _ in 0..1_000 {
        let store = open().await;
        store.set("k", "v").await.unwrap();
        heat(&store, "k").await;
        store.close().await.unwrap();
        assert!(matches!(store.get("k").await, Err(Error::Closed)));
    }
}

/// A cache in front of a source: the hits of a skewed workload whose hot keys change, a tenth of which fits.
async fn hits_of_a_workload(near: NearCache) -> f64 {
    const READS: u64 = 60_000;
    let config = MemoryConfig::default().capacity_bytes(64_000).near_cache(near);
    let store = Store::open(config).await.unwrap();
    let mut state = 1_u64;
    for n in 0..READS {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let part = (state >> 11) as f64 / (1_u64 << 53) as f64;
        // The key of a rank is asked for in inverse proportion to it.
        let rank = 5_000_f64.powf(part) as u64 + n / 15_000 * 100;
        let key = format!("key:{rank}");
        if store.get(&key).await.unwrap().is_none() {
            store.set(&key, "v").await.unwrap();
        }
    }
    store.stats().await.unwrap().hits as f64 / READS as f64
}

#[tokio::test]
async fn the_eviction_policy_sees_what_is_read_near() {
    let with = hits_of_a_workload(NearCache::default().capacity_bytes(1_000)).await;
    let without = hits_of_a_workload(NearCache::off()).await;
    assert!(
        (with - without).abs() < 0.01,
        "{with:.4} with, {without:.4} without"
    );
    println!("hits: {with:.4} with, {without:.4} without");
}
