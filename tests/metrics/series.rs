//! Which series there are: labels have closed sets of values, and the guide names every metric.

use std::collections::BTreeSet;

use cachestore::{Config, Error};
use futures_util::future::join_all;

use crate::support::{memory, secs};
use crate::told::{Recorded, Told, World, on_both_engines};

on_both_engines!(keys_make_no_series, every_metric_is_in_the_guide);

/// One call of each kind with this key.
async fn touch(world: &World, key: &str) {
    let store = &world.store;
    store
        .set(key, "1")
        .depends_on(format!("name of {key}"))
        .await
        .unwrap();
    store.get(key).await.unwrap();
    store
        .get_or_load(format!("l{key}"), || async { Ok::<_, String>(1) })
        .await
        .unwrap();
    store.invalidate(format!("name of {key}")).await.unwrap();
    if key.ends_with('7') {
        store
            .lock(key)
            .ttl(secs(60))
            .await
            .unwrap()
            .release()
            .await
            .unwrap();
        let secret = store.write_lock(key, secs(60)).await.unwrap();
        store.release_lock(key, &secret).await.unwrap();
        assert!(matches!(
            store.release_lock(key, "another").await,
            Ok(_) | Err(Error::LockMismatch)
        ));
    }
}

async fn keys_make_no_series(world: World, mut recorded: Recorded) {
    for n in 0..10 {
        touch(&world, &format!("first{n}")).await;
    }
    world.store.stats().await.unwrap();
    let before = recorded.series();
    // Scattered over all numbers, and odd.
    let keys: Vec<String> = (0..10_000_u64)
        .map(|n| format!("{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
        .collect();
    for keys in keys.chunks(250) {
        join_all(keys.iter().map(|key| touch(&world, key))).await;
    }
    world.store.stats().await.unwrap();
    assert_eq!(recorded.series(), before);
    assert_eq!(
        recorded.count("cachestore_calls_total", &[("call", "set")]),
        10_010
    );
}

/// The names in the table of `docs/observability.md`.
fn documented() -> BTreeSet<String> {
    let page = include_str!("../../docs/observability.md");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `cachestore_"));
    rows.map(|row| format!("cachestore_{}", row.split('`').next().unwrap()))
        .collect()
}

async fn every_metric_is_in_the_guide(world: World, mut recorded: Recorded) {
    touch(&world, "k7").await;
    world.store.stats().await.unwrap();
    let told: BTreeSet<String> = recorded.series().into_iter().map(|(name, _)| name).collect();
    let documented = documented();
    assert_eq!(
        told.difference(&documented).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    // The other way round, with what only one engine knows.
    let missing: Vec<&str> = documented.difference(&told).map(String::as_str).collect();
    let of_the_other: &[&str] = if world.engine == "memory" {
        &[
            "cachestore_connections",
            "cachestore_pipelines_total",
            "cachestore_received_bytes_total",
            "cachestore_reconnects_total",
            "cachestore_sent_bytes_total",
        ]
    } else {
        &[
            "cachestore_capacity_bytes",
            "cachestore_entries",
            "cachestore_evicted_total",
            "cachestore_expired_total",
            "cachestore_memory_bytes",
        ]
    };
    assert_eq!(missing, of_the_other);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_a_label_only_where_it_is_asked_for() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let world = World::memory().await;
    let plain = world.store.namespace("tenant-1").unwrap();
    plain.set("k", "v").await.unwrap();
    let series = format!("{:?}", recorded.series());
    assert!(
        !series.contains("namespace") && !series.contains("tenant-1"),
        "{series}"
    );

    let labelled = plain.metrics_label("tenants");
    labelled.set("k", "v").await.unwrap();
    // A namespace of it has its label, and so has a clone.
    labelled
        .namespace("inner")
        .unwrap()
        .clone()
        .set("k", "v")
        .await
        .unwrap();
    labelled
        .without_near_cache()
        .lock("k")
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    labelled.metrics_label("others").set("k", "v").await.unwrap();
    plain.set("k", "v").await.unwrap();
    labelled.stats().await.unwrap();
    let sets = |label| [("call", "set"), ("outcome", "ok"), ("namespace", label)];
    assert_eq!(recorded.count("cachestore_calls_total", &sets("tenants")), 2);
    assert_eq!(recorded.count("cachestore_calls_total", &sets("others")), 1);
    assert_eq!(recorded.count("cachestore_calls_total", &[("call", "set")]), 5);
    let lock = [("call", "lock"), ("namespace", "tenants")];
    assert_eq!(recorded.count("cachestore_calls_total", &lock), 1);
    assert_eq!(
        recorded.samples("cachestore_call_duration_seconds", &lock).len(),
        1
    );
    // A label makes series of calls only.
    for (name, labels) in recorded.series() {
        assert!(
            !labels.contains_key("namespace") || name.starts_with("cachestore_call"),
            "{name}"
        );
    }
    assert_eq!(recorded.count("cachestore_written_total", &[]), 5);
}

#[tokio::test(start_paused = true)]
async fn a_store_without_a_recorder_tells_nobody() {
    let store = memory().await;
    let told = Told::new();
    // Installed later, the recorder is not seen.
    let (_guard, mut recorded) = told.install();
    let labelled = store.metrics_label("tenants");
    labelled.set("k", "v").await.unwrap();
    labelled.lock("k").await.unwrap().release().await.unwrap();
    tokio::time::sleep(secs(2)).await;
    store.stats().await.unwrap();
    assert_eq!(recorded.series(), BTreeSet::new());
    let other = crate::support::open(Config::memory()).await;
    other.set("k", "v").await.unwrap();
    assert_eq!(recorded.count("cachestore_calls_total", &[("call", "set")]), 1);
}
