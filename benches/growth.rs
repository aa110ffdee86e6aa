//! Whether cost stays where it is as the store grows, and what others notice of large work.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program that prints and may fail"
)]

mod support;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use cachestore::{Config, MemoryConfig, Store};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use support::{
    Flavor, Samples, SplitMix, Table, VALUE, in_turn, is_wanted, key, millis, nanos, nanos_of, quantile,
    sized,
};

/// Keys written in one call where a store is filled.
const CHUNK: usize = 512;
/// Keys in one call of the many.
const MANY: usize = 100;
const TASKS: usize = 64;
/// Tasks that ask all the while, where others work.
const PROBERS: usize = 8;

fn main() {
    let mut table = Table::of_ratios();
    if is_wanted("cost") {
        cost(&mut table);
    }
    for flavor in Flavor::BOTH {
        if is_wanted("expiry") {
            expiry(flavor, &mut table);
        }
        if is_wanted("invalidation") {
            invalidation(flavor, &mut table);
        }
    }
    if is_wanted("hold") {
        holds(&mut table);
    }
    println!("in place of a peer: the cost at the smallest size, the quiet store, or the time allowed\n");
    table.print();
}

async fn open() -> Store {
    Store::open(MemoryConfig::default().capacity_bytes(12 << 30))
        .await
        .unwrap()
}

async fn fill(store: &Store, entries: usize) {
    for first in (0..entries).step_by(CHUNK) {
        let numbers = first..entries.min(first + CHUNK);
        store
            .set_many(numbers.map(|number| (key(number), VALUE)))
            .await
            .unwrap();
    }
    store.ping().await.unwrap();
}

fn count(entries: usize) -> String {
    match entries {
        1_000_000.. => format!("{} million", entries / 1_000_000),
        _ => format!("{} thousand", entries / 1000),
    }
}

/// `get` and `set` of keys chosen evenly, so that the caches of the CPU help as little as they can.
fn cost(table: &mut Table) {
    let sizes = sized([10_000, 1_000_000, 10_000_000], [10_000, 100_000, 300_000]);
    let calls = sized(1 << 20, 1 << 16) / TASKS / MANY * MANY;
    let flavor = Flavor::CurrentThread;
    let runtime = flavor.runtime().unwrap();
    let stores = runtime.block_on(async {
        let stores = [open().await, open().await, open().await];
        for (store, entries) in stores.iter().zip(sizes) {
            fill(store, entries).await;
        }
        stores
    });
    for operation in ["get", "set", "get_many", "set_many"] {
        let samples: [Samples; 3] = in_turn(sized(7, 5), |size| {
            let (store, entries) = (&stores[size], sizes[size]);
            runtime.block_on(async {
                let began = flavor.now();
                let tasks: Vec<JoinHandle<()>> = (0..TASKS)
                    .map(|task| tokio::spawn(work(operation, store.clone(), entries, calls, task as u64)))
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
                store.ping().await.unwrap();
                nanos_of(flavor.now() - began) / (calls * TASKS) as f64
            })
        });
        for (sample, entries) in samples.iter().zip(sizes).skip(1) {
            table.row([
                format!(
                    "{operation}, a key: {} entries, {}",
                    count(entries),
                    count(sizes[0])
                ),
                nanos(sample.median()),
                nanos(samples[0].median()),
                format!("{:.2}", sample.ratio(&samples[0])),
            ]);
        }
    }
}

async fn work(operation: &str, store: Store, entries: usize, calls: usize, seed: u64) {
    let mut random = SplitMix(seed);
    match operation {
        "get" => {
            for _ in 0..calls {
                assert!(store.get(key(random.below(entries))).await.unwrap().is_some());
            }
        }
        "set" => {
            for _ in 0..calls {
                store.set(key(random.below(entries)), VALUE).await.unwrap();
            }
        }
        "get_many" => {
            for _ in 0..calls / MANY {
                let keys = (0..MANY).map(|_| key(random.below(entries)));
                assert!(store.get_many(keys).await.unwrap().iter().all(Option::is_some));
            }
        }
        _ => {
            for _ in 0..calls / MANY {
                let pairs = (0..MANY).map(|_| (key(random.below(entries)), VALUE));
                store.set_many(pairs).await.unwrap();
            }
        }
    }
}

/// Tasks that read a key of their own again and again, until told to stop, and note how long each
/// read took.
struct Probes {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<Vec<f64>>>,
}

impl Probes {
    fn start(flavor: Flavor, store: &Store) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let running = (0..PROBERS)
            .map(|prober| {
                let (store, stop) = (store.clone(), stop.clone());
                tokio::spawn(async move {
                    let key = format!("probe:{prober}");
                    store.set(&key, VALUE).await.unwrap();
                    let mut times = Vec::with_capacity(1 << 20);
                    while !stop.load(Ordering::Relaxed) {
                        let began = flavor.now();
                        assert!(store.get(&key).await.unwrap().is_some());
                        times.push(nanos_of(flavor.now() - began));
                    }
                    times
                })
            })
            .collect();
        Self { stop, running }
    }

    async fn stop(self) -> Vec<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for task in self.running {
            times.append(&mut task.await.unwrap());
        }
        times
    }
}

/// The p50, the p99 and the longest of what the probes took, by round.
#[derive(Default)]
struct Waits([Samples; 3]);

const P50: usize = 0;
const P99: usize = 1;
const LONGEST: usize = 2;

impl Waits {
    fn add(&mut self, mut times: Vec<f64>) {
        for (samples, part) in self.0.iter_mut().zip([0.5, 0.99, 1.0]) {
            samples.push(quantile(&mut times, part));
        }
    }

    fn beside(&self, quiet: &Self, what: &str, table: &mut Table) {
        for (place, name) in [(P50, "p50"), (P99, "p99"), (LONGEST, "longest")] {
            let (wait, peer) = (self.0[place].median(), quiet.0[place].median());
            table.row([
                format!("{what}, {name}: quiet"),
                millis(wait),
                millis(peer),
                format!("{:.1}", wait / peer),
            ]);
        }
    }

    fn within(&self, place: usize, allowed: Duration, what: String, table: &mut Table) {
        within(&self.0[place], allowed, what, table);
    }
}

fn within(times: &Samples, allowed: Duration, what: String, table: &mut Table) {
    let (time, allowed) = (times.median(), nanos_of(allowed));
    table.row([
        format!("{what}: allowed"),
        millis(time),
        millis(allowed),
        format!("{:.2}", time / allowed),
    ]);
}

/// What other requests see while very many entries expire at once, and just after.
fn expiry(flavor: Flavor, table: &mut Table) {
    let entries = sized(1_000_000, 50_000);
    let runtime = flavor.runtime().unwrap();
    let (mut expiring, mut quiet) = (Waits::default(), Waits::default());
    for _ in 0..5 {
        let (during, after) = runtime.block_on(async {
            let store = open().await;
            let began = Instant::now();
            fill(&store, entries).await;
            // Written a second time, all are to expire at the end of thrice the time that it takes.
            let due = Instant::now() + 3 * began.elapsed() + Duration::from_millis(50);
            for first in (0..entries).step_by(CHUNK) {
                let pairs = (first..entries.min(first + CHUNK)).map(|number| (key(number), VALUE));
                let ttl = due.saturating_duration_since(Instant::now());
                store
                    .set_many(pairs)
                    .ttl(ttl.max(Duration::from_millis(1)))
                    .await
                    .unwrap();
            }
            store.ping().await.unwrap();
            tokio::time::sleep_until(due).await;
            let probes = Probes::start(flavor, &store);
            while store.stats().await.unwrap().expired < Some(entries as u64) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let took = due.elapsed();
            let during = probes.stop().await;
            let probes = Probes::start(flavor, &store);
            tokio::time::sleep(took).await;
            (during, probes.stop().await)
        });
        expiring.add(during);
        quiet.add(after);
    }
    let what = format!("a get while {} expire, {}", count(entries), flavor.name());
    expiring.beside(&quiet, &what, table);
    expiring.within(
        LONGEST,
        Duration::from_millis(2),
        format!("{what}, longest"),
        table,
    );
}

/// What other requests see while very many dependents are invalidated by one call, and just after.
fn invalidation(flavor: Flavor, table: &mut Table) {
    let entries = sized(1_000_000, 50_000);
    let runtime = flavor.runtime().unwrap();
    let (mut invalidating, mut quiet) = (Waits::default(), Waits::default());
    let mut lengths = Samples::default();
    for _ in 0..5 {
        let (during, after) = runtime.block_on(async {
            let store = open().await;
            for first in (0..entries).step_by(CHUNK) {
                let pairs = (first..entries.min(first + CHUNK)).map(|number| (key(number), VALUE));
                store.set_many(pairs).depends_on(["user:1"]).await.unwrap();
            }
            store.ping().await.unwrap();
            let probes = Probes::start(flavor, &store);
            let began = Instant::now();
            assert_eq!(store.invalidate(["user:1"]).await.unwrap(), entries as u64);
            let took = began.elapsed();
            lengths.push(nanos_of(took));
            let during = probes.stop().await;
            let probes = Probes::start(flavor, &store);
            tokio::time::sleep(took).await;
            (during, probes.stop().await)
        });
        invalidating.add(during);
        quiet.add(after);
    }
    let what = format!(
        "a get while {} are invalidated, {}",
        count(entries),
        flavor.name()
    );
    invalidating.beside(&quiet, &what, table);
    invalidating.within(P99, Duration::from_millis(10), format!("{what}, p99"), table);
    let timeout = Config::memory().settings().request_timeout;
    within(
        &lengths,
        timeout,
        format!("the invalidation of {}, {}", count(entries), flavor.name()),
        table,
    );
}

/// How long the engine keeps its thread at a stretch: it shares one with nothing but a task that
/// looks at the clock each time it is its turn.
fn holds(table: &mut Table) {
    let allowed = Duration::from_millis(1);
    for (callers, many) in [("get and set", 1), ("get_many and set_many of 512", CHUNK)] {
        let mut waits = Waits::default();
        for _ in 0..sized(7, 5) {
            waits.add(hold(many));
        }
        let what = format!("hold of the queue, {TASKS} callers of {callers}");
        waits.within(P99, allowed, format!("{what}, p99"), table);
        waits.within(LONGEST, allowed, format!("{what}, longest"), table);
    }
}

/// The times between two turns of the task beside the engine that are long enough for the engine to
/// have had its own.
fn hold(many: usize) -> Vec<f64> {
    let entries = 100_000;
    let flavor = Flavor::CurrentThread;
    let (handle, store) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let engine = thread::spawn(move || {
        flavor.runtime().unwrap().block_on(async move {
            let store = open().await;
            fill(&store, entries).await;
            handle.send(store).unwrap();
            watch(flavor, stopped).await
        })
    });
    flavor.runtime().unwrap().block_on(async {
        let store = store.await.unwrap();
        let until = Instant::now() + Duration::from_millis(sized(1000, 300));
        let callers: Vec<JoinHandle<()>> = (0..TASKS)
            .map(|task| tokio::spawn(call(store.clone(), entries, many, task, until)))
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    });
    stop.send(()).unwrap();
    engine.join().unwrap()
}

async fn call(store: Store, entries: usize, many: usize, task: usize, until: Instant) {
    let mut random = SplitMix(task as u64);
    while Instant::now() < until {
        let first = random.below(entries - many);
        let keys = (first..first + many).map(key);
        match (many, task % 2) {
            (1, 0) => _ = store.get(key(first)).await.unwrap(),
            (1, _) => store.set(key(first), VALUE).await.unwrap(),
            (_, 0) => _ = store.get_many(keys).await.unwrap(),
            (_, _) => store.set_many(keys.map(|key| (key, VALUE))).await.unwrap(),
        }
    }
}

async fn watch(flavor: Flavor, mut stopped: oneshot::Receiver<()>) -> Vec<f64> {
    let mut gaps = Vec::with_capacity(1 << 20);
    let mut last = flavor.now();
    poll_fn(|cx| {
        let now = flavor.now();
        let gap = nanos_of(now - last);
        if gap > 5_000.0 {
            gaps.push(gap);
        }
        last = now;
        if stopped.try_recv().is_ok() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    gaps
}
