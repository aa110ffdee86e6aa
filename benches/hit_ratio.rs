//! Hit ratios over real access traces, beside moka's, quick_cache's and LRU's.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program that prints and may fail"
)]

mod support;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use cachestore::{Config, Error, MemoryConfig, NearCache, Store};
use flate2::read::GzDecoder;
use tokio::runtime::Builder;

use support::{Table, sized, traces};

const TRACES: [&str; 5] = ["orm-busy", "web12", "w106", "multi3", "cdn-weighted"];
/// Sizes of the cache, in percent of what the trace asks for.
const PERCENT: [u64; 4] = [1, 5, 10, 25];
const CONTESTANTS: [&str; 4] = ["ours", "moka", "quick_cache", "LRU"];
/// One byte of a stored value stands for this many of an object.
const SCALE: usize = 16;
/// The largest value stored, so that every object fits into the smallest cache.
const LARGEST: usize = 16 * 1024;
/// The value where a trace gives no sizes.
const FIXED: usize = 8;

fn main() {
    let Some(folder) = traces() else {
        println!("skipped: there is no folder of traces; name one with CACHESTORE_TRACES");
        return;
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut head = vec!["trace", "capacity"];
    head.extend(CONTESTANTS);
    let mut detail = Table::new(&head);
    let mut near = Table::new(&["trace", "capacity", "near", "without", "difference"]);
    let mut summary = Summary::default();
    for name in TRACES {
        let trace = runtime.block_on(Trace::read(&folder.join(format!("{name}.txt.gz"))));
        for percent in PERCENT {
            let capacity = trace.distinct_bytes * percent / 100;
            let with_near = runtime.block_on(ours(&trace, capacity, NearCache::default()));
            let without = runtime.block_on(ours(&trace, capacity, NearCache::off()));
            let hits = [
                with_near,
                moka(&trace, capacity),
                quick_cache(&trace, capacity),
                lru(&trace, capacity),
            ];
            let percents = |hits: usize| 100.0 * hits as f64 / trace.accesses.len() as f64;
            let ratios = hits.map(percents);
            detail.row(
                [name.to_owned(), format!("{percent} %")]
                    .into_iter()
                    .chain(ratios.map(points)),
            );
            near.row([
                name.to_owned(),
                format!("{percent} %"),
                points(ratios[0]),
                points(percents(without)),
                format!("{:+.2}", ratios[0] - percents(without)),
            ]);
            summary.add(format!("{name} {percent} %"), ratios);
        }
    }
    println!("hit ratios in percent of the accesses\n");
    detail.print();
    println!();
    summary.print();
    println!("\nours with the near cache and without\n");
    near.print();
}

fn points(ratio: f64) -> String {
    format!("{ratio:.2}")
}

/// An access: which key, and how large its value is if it has to be stored.
#[derive(Debug, Clone, Copy)]
struct Access {
    key: u32,
    len: usize,
}

struct Trace {
    accesses: Vec<Access>,
    /// The keys under new names, all of one length.
    keys: Vec<String>,
    /// What the store counts for an entry, by the length of its value.
    weights: Vec<u32>,
    /// The weights of all distinct keys together.
    distinct_bytes: u64,
}

impl Trace {
    async fn read(path: &Path) -> Self {
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        let mut numbers = HashMap::new();
        let mut accesses = Vec::new();
        for line in text.lines().take(sized(usize::MAX, 100_000)) {
            let mut fields = line.split_ascii_whitespace();
            let Some(key) = fields.next() else { continue };
            let next = numbers.len() as u32;
            let key = *numbers.entry(key).or_insert(next);
            let size = fields.next().map(|size| size.parse::<usize>().unwrap());
            let len = size.map_or(FIXED, |size| (size / SCALE).clamp(1, LARGEST));
            accesses.push(Access { key, len });
        }
        let keys: Vec<String> = (0..numbers.len()).map(|number| format!("{number:08}")).collect();
        let largest = accesses.iter().map(|access| access.len).max().unwrap_or(0);
        let weights = weights(largest).await;
        let mut last = vec![0; keys.len()];
        for access in &accesses {
            last[access.key as usize] = access.len;
        }
        let distinct_bytes = last.iter().map(|len| u64::from(weights[*len])).sum();
        Self {
            accesses,
            keys,
            weights,
            distinct_bytes,
        }
    }

    fn weight(&self, len: usize) -> u64 {
        u64::from(self.weights[len])
    }
}

/// What the store counts for an entry, found by writing one of each length.
async fn weights(largest: usize) -> Vec<u32> {
    let store = Store::open(MemoryConfig::default()).await.unwrap();
    let mut weights = Vec::with_capacity(largest + 1);
    for len in 0..=largest {
        store.set("00000000", vec![0; len]).await.unwrap();
        weights.push(u32::try_from(store.stats().await.unwrap().bytes.unwrap()).unwrap());
    }
    weights
}

/// Through the whole store, as an application would: a read, and after a miss a write.
async fn ours(trace: &Trace, capacity: u64, near: NearCache) -> usize {
    let capacity_bytes = usize::try_from(capacity).unwrap();
    let config = Config::memory().capacity_bytes(capacity_bytes).near_cache(near);
    let store = Store::open(config).await.unwrap();
    let mut hits = 0;
    for access in &trace.accesses {
        let key = &trace.keys[access.key as usize];
        if store.get(key).await.unwrap().is_some() {
            hits += 1;
            continue;
        }
        match store.set(key, vec![0; access.len]).await {
            Ok(()) | Err(Error::ValueTooLarge { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let stats = store.stats().await.unwrap();
    assert!(
        stats.bytes <= Some(capacity) && stats.evicted > Some(0),
        "{stats:?} within {capacity}"
    );
    hits
}

fn moka(trace: &Trace, capacity: u64) -> usize {
    let cache: moka::sync::Cache<u32, u32> = moka::sync::Cache::builder()
        .max_capacity(capacity)
        .weigher(|_, weight| *weight)
        .build();
    let mut hits = 0;
    for access in &trace.accesses {
        if cache.get(&access.key).is_some() {
            hits += 1;
        } else {
            cache.insert(access.key, trace.weights[access.len]);
        }
        cache.run_pending_tasks();
    }
    hits
}

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<u32, u32> for Weight {
    fn weight(&self, _: &u32, weight: &u32) -> u64 {
        u64::from(*weight)
    }
}

fn quick_cache(trace: &Trace, capacity: u64) -> usize {
    let items = capacity * trace.keys.len() as u64 / trace.distinct_bytes;
    let items = usize::try_from(items).unwrap().max(1);
    // The form of one shard: many would each have too little room in the small caches.
    let mut cache = quick_cache::unsync::Cache::with_weighter(items, capacity, Weight);
    let mut hits = 0;
    for access in &trace.accesses {
        if cache.get(&access.key).is_some() {
            hits += 1;
        } else {
            cache.insert(access.key, trace.weights[access.len]);
        }
    }
    hits
}

fn lru(trace: &Trace, capacity: u64) -> usize {
    let mut cache = lru::LruCache::unbounded();
    let (mut hits, mut held) = (0, 0);
    for access in &trace.accesses {
        if cache.get(&access.key).is_some() {
            hits += 1;
            continue;
        }
        let weight = trace.weight(access.len);
        held += weight;
        cache.put(access.key, weight);
        while held > capacity {
            held -= cache.pop_lru().map_or(held, |(_, weight)| weight);
        }
    }
    hits
}

/// The means, and the trace on which ours is furthest behind.
#[derive(Default)]
struct Summary {
    runs: Vec<(String, [f64; 4])>,
}

impl Summary {
    fn add(&mut self, run: String, ratios: [f64; 4]) {
        self.runs.push((run, ratios));
    }

    fn mean(&self, contestant: usize) -> f64 {
        self.runs
            .iter()
            .map(|(_, ratios)| ratios[contestant])
            .sum::<f64>()
            / self.runs.len() as f64
    }

    fn print(&self) {
        let mut table = Table::of_ratios();
        let ours = self.mean(0);
        for (contestant, name) in CONTESTANTS.iter().enumerate().skip(1) {
            let peer = self.mean(contestant);
            let what = format!("mean hit ratio: {name}");
            table.row([what, points(ours), points(peer), format!("{:.3}", ours / peer)]);
        }
        let best = |ratios: &[f64; 4]| ratios[1..].iter().copied().fold(f64::MIN, f64::max);
        let behind = |(_, ratios): &(String, [f64; 4])| best(ratios) - ratios[0];
        if let Some(worst) = self.runs.iter().max_by(|a, b| behind(a).total_cmp(&behind(b))) {
            let (run, ratios) = worst;
            let (what, peer) = (format!("furthest behind the best: {run}"), best(ratios));
            table.row([
                what,
                points(ratios[0]),
                points(peer),
                format!("{:.3}", ratios[0] / peer),
            ]);
        }
        table.print();
    }
}
