//! Sums under a random load: each call has one outcome and one duration, and each read is a hit or a miss.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cachestore::{Config, NearCache, Store};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{ms, secs};
use crate::told::{Recorded, Told, World, on_both_engines};

on_both_engines!(calls_are_outcomes_and_reads_are_hits_and_misses);

const TASKS: u64 = 8;
const STEPS: u64 = 400;

/// What a random load has done.
#[derive(Default)]
struct Done {
    calls: AtomicU64,
    reads: AtomicU64,
}

/// Numbers that are spread well enough, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn step(store: &Store, numbers: &mut Numbers, done: &Done) {
    let key = format!("k{}", numbers.below(20));
    let mut reads = 0;
    match numbers.below(10) {
        0 | 1 => {
            reads = 1;
            store.get(&key).await.unwrap();
        }
        2 => {
            reads = 3;
            store.get_many([&key, "k1", "absent"]).await.unwrap();
        }
        3 => store.set(&key, "1").depends_on("n").await.unwrap(),
        4 => drop(store.add(&key, "2").await.unwrap()),
        5 => drop(store.delete(&key).await.unwrap()),
        6 => {
            reads = 1;
            let fails = numbers.below(4) == 0;
            let load = move || async move { if fails { Err("no".to_owned()) } else { Ok(1) } };
            let _ = store.get_or_load(format!("l{key}"), load).ttl(secs(60)).await;
        }
        7 => {
            reads = 1;
            drop(store.take(&key).await.unwrap());
        }
        8 => drop(store.invalidate([key.as_str(), "n"]).await.unwrap()),
        _ => {
            let lock = store.lock(&key).wait(ms(numbers.below(3))).into_future();
            // A guard that is granted is dropped at once.
            drop(timeout(ms(numbers.below(5)), lock).await);
        }
    }
    done.calls.fetch_add(1, SeqCst);
    done.reads.fetch_add(reads, SeqCst);
}

async fn run(store: &Store) -> Arc<Done> {
    let done = Arc::<Done>::default();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, done) = (store.clone(), done.clone());
        tasks.spawn(async move {
            let mut numbers = Numbers(task + 1);
            for _ in 0..STEPS {
                step(&store, &mut numbers, &done).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    done
}

async fn calls_are_outcomes_and_reads_are_hits_and_misses(world: World, mut recorded: Recorded) {
    let done = run(&world.store).await;
    let (calls, reads) = (done.calls.load(SeqCst), done.reads.load(SeqCst));
    assert_eq!(calls, TASKS * STEPS);
    let stats = world.store.stats().await.unwrap();
    let by_outcome = recorded.calls();
    let others = ["ping", "stats"];
    let told: u64 = by_outcome
        .iter()
        .filter(|((call, _), _)| !others.contains(&call.as_str()))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(told, calls, "{by_outcome:?}");
    let durations = recorded.samples("cachestore_call_duration_seconds", &[]).len() as u64;
    assert_eq!(durations, recorded.count("cachestore_calls_total", &[]));
    let hits = recorded.count("cachestore_hits_total", &[]);
    let misses = recorded.count("cachestore_misses_total", &[]);
    assert_eq!(hits + misses, reads);
    assert_eq!((hits, misses), (stats.hits, stats.misses));
    let loads = recorded.samples("cachestore_load_duration_seconds", &[]).len() as u64;
    assert_eq!(loads, recorded.count("cachestore_loads_total", &[]));
    let granted = by_outcome[&("lock".to_owned(), "ok".to_owned())];
    assert!(granted > 0 && recorded.samples("cachestore_lock_wait_seconds", &[]).len() as u64 >= granted);
}

/// With a near cache, a call that it answers is a hit and nothing else.
#[tokio::test(start_paused = true)]
async fn near_hits_take_the_place_of_calls() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let world = World::over(Config::memory().near_cache(NearCache::default())).await;
    let store = &world.store;
    for n in 0..10 {
        store.set(format!("k{n}"), "v").await.unwrap();
    }
    let mut numbers = Numbers(7);
    for _ in 0..5_000 {
        store.get(format!("k{}", numbers.below(12))).await.unwrap();
    }
    store.stats().await.unwrap();
    let near = recorded.count("cachestore_hits_total", &[("tier", "near")]);
    let engine = recorded.count("cachestore_hits_total", &[("tier", "engine")]);
    let misses = recorded.count("cachestore_misses_total", &[]);
    assert!(near > 1_000, "{near}");
    assert_eq!(near + engine + misses, 5_000);
    assert_eq!(
        recorded.count("cachestore_calls_total", &[("call", "get")]),
        engine + misses
    );
}
