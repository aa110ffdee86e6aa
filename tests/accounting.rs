//! The bytes that a store counts are those that it holds, and never more than its capacity.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails by a panic too")]

#[path = "support/heap.rs"]
mod heap;

use std::fmt::Write as _;
use std::time::Duration;

use cachestore::{Error, MemoryConfig, Stats, Store};
use tokio::runtime::Builder;

const ENTRIES: usize = 100_000;
const HOUR: Duration = Duration::from_secs(3600);

/// What all entries of one measurement look like.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    long_keys: bool,
    value: usize,
    ttl: Option<Duration>,
    dependencies: usize,
    /// Out of how many names the dependencies are; each is of its own if 0.
    names: usize,
}

const PLAIN: Shape = Shape {
    name: "value of 64 B",
    long_keys: false,
    value: 64,
    ttl: None,
    dependencies: 0,
    names: 0,
};

const SHAPES: [Shape; 10] = [
    PLAIN,
    Shape {
        name: "empty value",
        value: 0,
        ..PLAIN
    },
    Shape {
        name: "value of 1000 B",
        value: 1000,
        ..PLAIN
    },
    Shape {
        name: "key of 40 B",
        long_keys: true,
        ..PLAIN
    },
    Shape {
        name: "with TTL",
        ttl: Some(HOUR),
        ..PLAIN
    },
    Shape {
        name: "1 shared dependency",
        dependencies: 1,
        names: 1000,
        ..PLAIN
    },
    Shape {
        name: "3 shared dependencies",
        dependencies: 3,
        names: 1000,
        ..PLAIN
    },
    Shape {
        name: "1 dependency of its own",
        dependencies: 1,
        ..PLAIN
    },
    Shape {
        name: "3 dependencies of its own",
        dependencies: 3,
        ..PLAIN
    },
    Shape {
        name: "all of it",
        long_keys: true,
        value: 1000,
        ttl: Some(HOUR),
        dependencies: 3,
        names: 0,
    },
];

impl Shape {
    fn key(&self, n: usize) -> String {
        if self.long_keys {
            format!("a-longer-kind-of-key:{n:08}:with-profile")
        } else {
            key(n)
        }
    }

    /// The names of dependencies, as long as keys.
    fn names(&self, n: usize) -> impl Iterator<Item = String> {
        let Shape {
            dependencies, names, ..
        } = *self;
        (0..dependencies).map(move |d| {
            let name = n * dependencies + d;
            format!("name:{:08}:group-1", if names == 0 { name } else { name % names })
        })
    }

    async fn fill(&self, store: &Store, entries: usize) {
        let value = vec![7; self.value];
        for n in 0..entries {
            let set = store.set(self.key(n), value.as_slice()).depends_on(self.names(n));
            match self.ttl {
                Some(ttl) => set.ttl(ttl).await,
                None => set.await,
            }
            .unwrap();
        }
    }
}

fn key(n: usize) -> String {
    format!("user:{n:08}:profile")
}

/// Runs a test on a runtime of its own while no other test of this file allocates.
fn alone<F: Future>(test: impl FnOnce() -> F) -> F::Output {
    let _alone = heap::alone();
    Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test())
}

/// A short queue, so that what waits in it does not blur the figures.
async fn open(capacity: usize) -> Store {
    Store::open(MemoryConfig::default().capacity_bytes(capacity).queue_length(64))
        .await
        .unwrap()
}

/// What the heap has grown by for these entries, and what is counted for them.
async fn measure(shape: Shape, entries: usize) -> (usize, usize) {
    let store = open(4 << 30).await;
    for _ in 0..1_000 {
        store.set("warm", "").await.unwrap();
    }
    store.delete("warm").await.unwrap();
    let before = heap::held();
    shape.fill(&store, entries).await;
    let stats = store.stats().await.unwrap();
    assert_eq!(stats.entries, Some(entries as u64));
    (heap::held() - before, stats.bytes.unwrap() as usize)
}

#[test]
fn what_is_counted_is_what_is_held() {
    let mut table = String::new();
    let mut off = 0;
    for shape in SHAPES {
        let (held, counted) = alone(|| measure(shape, ENTRIES));
        let each = |bytes: usize| bytes as f64 / ENTRIES as f64;
        let ratio = counted as f64 / held as f64;
        off += usize::from(!(0.9..=1.1).contains(&ratio));
        writeln!(
            table,
            "{:26} held {:7.1} B counted {:7.1} B ratio {ratio:.3}",
            shape.name,
            each(held),
            each(counted)
        )
        .unwrap();
    }
    println!("{table}");
    assert_eq!(
        off, 0,
        "shapes that are counted wrong by more than a tenth:\n{table}"
    );
}

/// What is read twice is near, and shares its value with the engine.
#[test]
fn what_is_near_is_counted_and_given_back() {
    for shape in SHAPES.iter().filter(|shape| shape.dependencies == 0) {
        let (taken, counted, left) = alone(|| measure_near(*shape));
        let ratio = counted as f64 / taken as f64;
        assert!(
            (0.9..=1.1).contains(&ratio),
            "{}: {counted} B for {taken} B",
            shape.name
        );
        assert!(left < taken / 50, "{}: {left} B of {taken} B stay", shape.name);
    }
}

/// What the heap has grown by for entries that have become near, what is counted for them, and what is left of the
/// former when they are near no more.
async fn measure_near(shape: Shape) -> (usize, usize, usize) {
    const NEAR: usize = 30_000;
    let store = Store::open(MemoryConfig::default().capacity_bytes(4 << 30).queue_length(64));
    let store = store.await.unwrap();
    shape.fill(&store, NEAR).await;
    let before = (heap::held(), store.stats().await.unwrap().bytes.unwrap());
    for _ in 0..3 {
        for n in 0..NEAR {
            store.get(shape.key(n)).await.unwrap();
        }
    }
    let stats = store.stats().await.unwrap();
    assert_eq!(stats.near_entries, NEAR as u64);
    assert_eq!(stats.bytes.unwrap() - before.1, stats.near_bytes);
    let taken = heap::held() - before.0;
    for n in 0..NEAR {
        store.expire(shape.key(n), 2 * HOUR).await.unwrap();
        store.persist(shape.key(n)).await.unwrap();
        if let Some(ttl) = shape.ttl {
            store.expire(shape.key(n), ttl).await.unwrap();
        }
    }
    assert_eq!(store.stats().await.unwrap().near_entries, 0);
    (
        taken,
        stats.near_bytes as usize,
        heap::held().saturating_sub(before.0),
    )
}

#[test]
fn what_changes_its_size_is_counted_anew() {
    alone(async || {
        let store = open(64 << 20).await;
        let bytes = async || store.stats().await.unwrap().bytes.unwrap();
        store.set("k", "").await.unwrap();
        let empty = bytes().await;
        for len in [1, 100, 10_000, 1_000_000, 5_000, 16, 0] {
            store.set("k", vec![0; len]).await.unwrap();
            let added = bytes().await - empty;
            // Blocks come in steps of 16 bytes.
            assert!(added.abs_diff(len as u64) <= 16, "{added} bytes for {len}");
        }
        assert_eq!(bytes().await, empty, "it is as small as it was");
        store.set("k", "").ttl(HOUR).depends_on(["a", "b"]).await.unwrap();
        assert!(
            bytes().await > empty + 100,
            "a deadline and dependencies are counted"
        );
        store.set("k", "").await.unwrap();
        assert_eq!(bytes().await, empty, "they go with the write that clears them");
        store.delete("k").await.unwrap();
        assert_eq!(bytes().await, 0);
    });
}

#[test]
fn a_refused_value_evicts_nothing() {
    alone(async || {
        let store = open(1 << 20).await;
        for n in 0..1_000 {
            store.set(key(n), [7; 64]).await.unwrap();
        }
        let before = store.stats().await.unwrap();
        let names = || (0..20_000).map(|n| format!("name-{n}"));
        let too_large = |result| matches!(result, Err(Error::ValueTooLarge { .. }));
        assert!(too_large(store.set("large", vec![0; 1 << 20]).await));
        assert!(
            too_large(store.set(key(5), vec![0; 2 << 20]).await),
            "a value that is there stays"
        );
        assert!(
            too_large(store.set("dependent", "").depends_on(names()).await),
            "dependencies take room too"
        );
        assert!(too_large(
            store
                .set_many([("small", vec![]), ("large", vec![0; 1 << 20])])
                .await
        ));
        let Stats {
            entries,
            bytes,
            evicted,
            sets,
            refused,
            ..
        } = store.stats().await.unwrap();
        assert_eq!(
            (entries, bytes, evicted, sets),
            (before.entries, before.bytes, Some(0), before.sets)
        );
        assert_eq!(refused, 4);
        assert_eq!(store.get(key(5)).await.unwrap().unwrap(), [7; 64][..]);
    });
}

#[test]
fn the_largest_value_that_is_taken_fits() {
    alone(async || {
        let store = open(100_000).await;
        let Err(Error::ValueTooLarge { max, .. }) = store.set("k", vec![0; 200_000]).await else {
            panic!("it is larger than the store");
        };
        assert!(max > 99_000, "{max}");
        for len in (max - 20..=max).rev() {
            store.set("k", vec![0; len]).ttl(HOUR).await.unwrap();
            assert!(
                store.exists("k").await.unwrap(),
                "a value of {len} bytes was taken, so it is there"
            );
        }
    });
}

#[test]
fn the_capacity_holds_at_every_moment() {
    alone(async || {
        for capacity in [1 << 10, 1 << 14, 1 << 18] {
            let store = open(capacity).await;
            let mut state = 42_u64;
            let mut draw = |bound: u64| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % bound
            };
            for _ in 0..4_000 {
                let key = key(draw(500) as usize);
                let len = [0, 10, 100, 400][draw(4) as usize] + draw(300) as usize;
                let names: Vec<String> = (0..draw(4)).map(|_| format!("name-{}", draw(50))).collect();
                match draw(10) {
                    0 => drop(store.delete(&key).await.unwrap()),
                    1 => drop(store.expire(&key, HOUR).await.unwrap()),
                    2 => drop(store.invalidate(&names).await.unwrap()),
                    3 => match store.incr(format!("n{}", draw(20)), 1 << draw(40)).await {
                        Ok(_) | Err(Error::Overflow) => {}
                        Err(error) => panic!("{error}"),
                    },
                    _ => match store.set(&key, vec![0; len]).ttl(HOUR).depends_on(&names).await {
                        Ok(()) => {}
                        Err(Error::ValueTooLarge { .. }) => assert!(capacity < 2048),
                        Err(error) => panic!("{error}"),
                    },
                }
                let stats = store.stats().await.unwrap();
                assert!(
                    stats.bytes <= Some(capacity as u64),
                    "{:?} of {capacity} bytes",
                    stats.bytes
                );
            }
            let stats = store.stats().await.unwrap();
            assert!(
                capacity > 1 << 14 || stats.evicted > Some(100),
                "the capacity was felt: {stats:?}"
            );
        }
    });
}
