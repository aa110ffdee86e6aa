//! Sizes: accounted bytes never pass the capacity, and what cannot fit harms nobody.

use cachestore::{Error, MemoryConfig, Store};

use crate::support::{keys, open, secs};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

async fn capacity(bytes: usize) -> Store {
    open(MemoryConfig::default().capacity_bytes(bytes)).await
}

async fn assert_within(store: &Store, capacity: usize) {
    let bytes = store.stats().await.unwrap().bytes.unwrap();
    assert!(bytes <= capacity as u64, "{bytes} of {capacity} bytes");
}

/// The most bytes that a value may have, as the refusal of far too many tells it.
fn told_limit(outcome: Result<(), Error>) -> usize {
    match outcome {
        Err(Error::ValueTooLarge { max, .. }) => max,
        other => panic!("a value that cannot fit: {other:?}"),
    }
}

#[tokio::test]
async fn every_size_of_value_and_key() {
    let store = capacity(16 * MIB).await;
    for key_len in [1, 23, 24, 25, 1000, 65_535] {
        let key = "k".repeat(key_len);
        for exponent in 0..=22 {
            for len in [(1_usize << exponent) - 1, 1 << exponent, (1 << exponent) + 1] {
                let value = vec![exponent as u8; len];
                store.set(&key, &value).await.unwrap();
                assert_eq!(
                    store.get(&key).await.unwrap().unwrap(),
                    value,
                    "{key_len} and {len} bytes"
                );
                assert_within(&store, 16 * MIB).await;
            }
        }
        assert!(store.delete(&key).await.unwrap());
        let stats = store.stats().await.unwrap();
        assert_eq!(
            (stats.entries, stats.bytes),
            (Some(0), Some(0)),
            "after a key of {key_len} bytes"
        );
    }
}

/// Writes of all kinds whose sizes are in no order, far more than fit.
#[tokio::test]
async fn the_bound_holds_after_every_write() {
    const CAPACITY: usize = 4 * MIB;
    let store = capacity(CAPACITY).await;
    let mut random = 0x9e37_79b9_u64;
    for step in 0..4000_u64 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(step | 1);
        let bits = (random >> 33) as usize;
        let key = format!("{}{}", "k".repeat(bits % 97), bits % 300);
        let len = (bits >> 9) % (1 << (bits % 18));
        let value = vec![1_u8; len];
        match bits % 7 {
            0 => store.set(&key, &value).ttl(secs(60)).await.unwrap(),
            1 => drop(
                store
                    .add(&key, &value)
                    .depends_on([format!("u{}", bits % 50)])
                    .await
                    .unwrap(),
            ),
            2 => drop(
                store
                    .replace(&key, &value)
                    .depends_on(["u1", "u2", "u3"])
                    .await
                    .unwrap(),
            ),
            3 => store
                .set_many((0..20).map(|n| (format!("{key}-{n}"), &value)))
                .await
                .unwrap(),
            4 => drop(store.expire(&key, secs(60)).await.unwrap()),
            5 => drop(store.incr(format!("n{}", bits % 100), 1).await.unwrap()),
            _ => store.set(&key, &value).await.unwrap(),
        }
        assert_within(&store, CAPACITY).await;
    }
    assert!(
        store.stats().await.unwrap().evicted > Some(0),
        "the writes were too few to fill it"
    );
    store.clear().await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.entries, stats.bytes), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_growing_value_makes_others_go_but_not_itself() {
    const CAPACITY: usize = 2 * MIB;
    let store = capacity(CAPACITY).await;
    store
        .set_many((0..100).map(|n| (format!("small{n}"), vec![0_u8; KIB])))
        .await
        .unwrap();
    let mut value = Vec::new();
    loop {
        value.resize(value.len() + 64 * KIB, 7);
        match store.set("grows", &value).await {
            Ok(()) => {
                assert_eq!(store.get("grows").await.unwrap().unwrap().len(), value.len());
                assert_within(&store, CAPACITY).await;
            }
            Err(Error::ValueTooLarge { len, max }) => {
                assert_eq!(len, value.len());
                assert!(max < CAPACITY && max > CAPACITY - 64 * KIB - KIB, "{max}");
                break;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(
        store.get("grows").await.unwrap().unwrap().len(),
        value.len() - 64 * KIB,
        "it keeps what fitted"
    );
}

#[tokio::test]
async fn a_value_that_cannot_fit_evicts_nothing() {
    let store = capacity(MIB).await;
    store
        .set_many((0..500).map(|n| (format!("k{n:03}"), vec![0_u8; KIB])))
        .await
        .unwrap();
    let before = store.stats().await.unwrap();
    let value = vec![0_u8; MIB];
    let refused = |outcome: Result<(), Error>| assert!(told_limit(outcome) < MIB);
    refused(store.set("k000", &value).await);
    refused(store.set("new", &value).await);
    refused(store.add("new", &value).await.map(drop));
    refused(store.replace("k000", &value).await.map(drop));
    refused(
        store
            .compare_and_set("k000", vec![0_u8; KIB], &value)
            .await
            .map(drop),
    );
    refused(store.set_many([("k000", &b"small"[..]), ("new", &value)]).await);
    refused(store.set_model("new", &"x".repeat(MIB)).await);
    refused(store.set_models([("new", &"x".repeat(MIB))]).await);
    let after = store.stats().await.unwrap();
    assert_eq!(
        (after.entries, after.bytes, after.evicted),
        (before.entries, before.bytes, Some(0))
    );
    assert_eq!(after.refused, before.refused + 8);
    assert_eq!(store.get("k000").await.unwrap().unwrap().len(), KIB);
}

/// The limit that a refusal tells is true: so much is taken, and one byte more is not.
#[tokio::test]
async fn the_limit_that_is_told_is_the_limit() {
    const CAPACITY: usize = 100 * KIB;
    let huge = vec![0_u8; MIB];
    let long = "k".repeat(3000);
    for key in ["k", &long] {
        for names in [0_usize, 1, 40] {
            let store = capacity(CAPACITY).await;
            let names: Vec<String> = (0..names)
                .map(|n| format!("name-{n}-{}", "x".repeat(40)))
                .collect();
            let max = told_limit(store.set(key, &huge).depends_on(&names).await);
            let more = store.set(key, &huge[..max + 1]).depends_on(&names).await;
            assert_eq!(told_limit(more), max);
            store
                .set(key, &huge[..max])
                .depends_on(&names)
                .ttl(secs(60))
                .await
                .unwrap();
            assert_eq!(store.get(key).await.unwrap().map(|value| value.len()), Some(max));
            assert_within(&store, CAPACITY).await;
            assert_eq!(store.stats().await.unwrap().evicted, Some(0));
        }
    }
}

/// An entry that grows in place, by a TTL that it had not, never pushes itself past the bound.
#[tokio::test]
async fn an_entry_that_fills_the_store_may_be_given_a_ttl() {
    const CAPACITY: usize = 10 * KIB;
    let store = capacity(CAPACITY).await;
    let max = told_limit(store.set("k", vec![0_u8; MIB]).await);
    store.set("k", vec![0_u8; max]).await.unwrap();
    assert!(store.expire("k", secs(60)).await.unwrap());
    assert!(store.exists("k").await.unwrap());
    assert_within(&store, CAPACITY).await;
}

#[tokio::test]
async fn a_store_without_room_for_anything_refuses_everything() {
    let store = capacity(1).await;
    for outcome in [
        store.set("k", "").await,
        store.add("k", "v").await.map(drop),
        store.set_many([("k", "v")]).await,
        store.incr("n", 1).await.map(drop),
    ] {
        assert_eq!(told_limit(outcome), 0);
    }
    assert_eq!(keys(&store, "").await, [""; 0]);
    assert_eq!(store.get("k").await.unwrap(), None);
}

/// A million names would fill the store though the value is empty: they count.
#[tokio::test]
async fn names_count_as_the_entrys_own() {
    let store = capacity(MIB).await;
    let names: Vec<String> = (0..20_000).map(|n| format!("name-{n}")).collect();
    let outcome = store.set("k", "").depends_on(&names).await;
    assert_eq!(told_limit(outcome), 0);
    store.set("k", "").depends_on(&names[..5_000]).await.unwrap();
    assert!(store.stats().await.unwrap().bytes > Some(5_000 * 50));
    assert_within(&store, MIB).await;
    assert_eq!(store.invalidate(["name-4999"]).await.unwrap(), 1);
    assert_eq!(store.stats().await.unwrap().bytes, Some(0));
}
