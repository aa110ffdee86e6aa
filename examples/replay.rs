//! Replays access traces through stores of several capacities, and prints their hit ratios beside those
//! of LRU and the best that any cache could reach; or through the one store that a URL names.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use anstream::println;
use anyhow::{Context, Result, ensure};
use cachestore::{Config, Error, MemoryConfig, Store};
use clap::Parser;
use indicatif::{BinaryBytes, HumanCount};

/// Replays access traces through a cache and prints hit ratios.
///
/// Without --url, memory engines of several capacities stand beside LRU and the best that any cache could reach. With
/// one, its store alone is used, in a namespace that is cleared before and after. How much a server holds is its own
/// setting (maxmemory), so there the hits stand beside those of a cache that never evicts.
#[derive(Parser)]
struct Options {
    /// Text files, gzipped or not: on each line the key of an access and, if entries differ in size, its value's bytes
    ///
    /// Each access reads its key and writes it on a miss. A key keeps its first size.
    #[arg(required = true)]
    traces: Vec<PathBuf>,
    /// The store, such as redis://localhost:6379
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    url: Option<String>,
}

/// Accesses to keys, which are numbered in the order of their first access.
#[derive(Default)]
struct Trace {
    accesses: Vec<usize>,
    /// When the key of each access is next accessed; `usize::MAX` after the last time.
    next: Vec<usize>,
    /// The size of each key's value.
    sizes: Vec<usize>,
    has_sizes: bool,
}

impl Trace {
    fn read(path: &Path) -> Result<Self> {
        let mut bytes = std::fs::read(path)?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let packed = std::mem::take(&mut bytes);
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes)?;
        }
        let mut trace = Trace::default();
        let mut numbers = HashMap::new();
        let mut last = Vec::new();
        for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let mut columns = line.split_whitespace();
            let Some(key) = columns.next() else { continue };
            let size: Option<usize> = columns
                .next()
                .map(|size| {
                    let parsed = size.parse();
                    parsed.with_context(|| format!("line {}: `{size}` is no number of bytes", index + 1))
                })
                .transpose()?;
            trace.has_sizes |= size.is_some();
            let at = trace.accesses.len();
            let number = *numbers.entry(key.to_owned()).or_insert(last.len());
            if number == last.len() {
                trace.sizes.push(size.unwrap_or(0));
                last.push(at);
            } else {
                trace.next[last[number]] = at;
                last[number] = at;
            }
            trace.accesses.push(number);
            trace.next.push(usize::MAX);
        }
        ensure!(!trace.accesses.is_empty(), "there are no accesses in it");
        Ok(trace)
    }

    /// The bytes that a store counts for each entry, so that all caches are measured alike.
    async fn weights(&self) -> Result<Vec<usize>> {
        let store = open(usize::MAX).await?;
        let mut weights = Vec::with_capacity(self.sizes.len());
        for (number, size) in self.sizes.iter().enumerate() {
            let key = number.to_string();
            store.set(&key, vec![0; *size]).await?;
            weights.push(usize::try_from(store.stats().await?.bytes.unwrap_or_default())?);
            store.delete(&key).await?;
        }
        Ok(weights)
    }

    /// The hits of a store that is read through.
    async fn hits(&self, store: &Store) -> Result<usize> {
        let before = store.stats().await?.hits;
        for &number in &self.accesses {
            let key = number.to_string();
            if store.get(&key).await?.is_none() {
                match store.set(&key, vec![0; self.sizes[number]]).await {
                    // What is larger than the whole store is fetched each time.
                    Ok(()) | Err(Error::ValueTooLarge { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(usize::try_from(store.stats().await?.hits - before)?)
    }

    /// The hits of a cache that gives up what has the lowest rank. An entry's rank is that of its last
    /// access: the time of it for LRU, what comes soonest for Belady's policy.
    fn hits_by_rank(&self, weights: &[usize], capacity: usize, rank: impl Fn(usize) -> usize) -> usize {
        let mut ranks = vec![None; weights.len()];
        let (mut order, mut bytes, mut hits) = (BTreeSet::new(), 0, 0);
        for (at, &number) in self
            .accesses
            .iter()
            .enumerate()
            .filter(|(_, n)| weights[**n] <= capacity)
        {
            if let Some(rank) = ranks[number].replace(rank(at)) {
                order.remove(&(rank, number));
                hits += 1;
            } else {
                bytes += weights[number];
            }
            order.insert((rank(at), number));
            while bytes > capacity
                && let Some((_, victim)) = order.pop_first()
            {
                ranks[victim] = None;
                bytes -= weights[victim];
            }
        }
        hits
    }

    /// Hits that no cache can exceed, whatever the sizes. A hit occupies an entry's bytes from one access
    /// to the next, and all the time a cache has no more than its capacity: it is filled with the
    /// cheapest hits, though they may not fit at one time. (PFOO-U of Berger, Beckmann and Harchol-Balter,
    /// "Practical Bounds on Optimal Caching with Variable Object Sizes", SIGMETRICS 2018.)
    fn bound(&self, weights: &[usize], capacity: usize) -> usize {
        let accesses = self.accesses.iter().zip(&self.next).enumerate();
        let mut costs: Vec<u128> = accesses
            .filter(|(_, (number, next))| weights[**number] <= capacity && **next != usize::MAX)
            .map(|(at, (number, next))| weights[*number] as u128 * (next - at) as u128)
            .collect();
        costs.sort_unstable();
        let spent = costs.iter().scan(0, |spent, cost| {
            *spent += cost;
            Some(*spent)
        });
        let budget = capacity as u128 * self.accesses.len() as u128;
        spent.take_while(|spent| *spent <= budget).count()
    }
}

async fn open(capacity: usize) -> cachestore::Result<Store> {
    Store::open(
        MemoryConfig::default()
            .capacity_bytes(capacity)
            .max_value_bytes(usize::MAX),
    )
    .await
}

/// A heading, bold where standard output is a terminal and NO_COLOR is not set.
fn heading(text: &str) {
    let bold = anstyle::Style::new().bold();
    println!("{bold}{text}{bold:#}");
}

async fn replay(path: &Path) -> Result<()> {
    let trace = Trace::read(path)?;
    let weights = trace.weights().await?;
    let all: usize = weights.iter().sum();
    let (accesses, keys) = (trace.accesses.len() as u64, weights.len() as u64);
    let (accesses, keys) = (HumanCount(accesses), HumanCount(keys));
    println!(
        "{}: {accesses} accesses, {keys} keys, {}",
        path.display(),
        BinaryBytes(all as u64)
    );
    let best = if trace.has_sizes { "upper bound" } else { "Belady" };
    heading(&format!(
        "{:>10} {:>12} {:>12} {:>12} {best:>12}",
        "capacity", "", "cachestore", "LRU"
    ));
    for percent in [1, 5, 10, 25] {
        let capacity = all * percent / 100;
        let best = if trace.has_sizes {
            trace.bound(&weights, capacity)
        } else {
            trace.hits_by_rank(&weights, capacity, |at| usize::MAX - trace.next[at])
        };
        let lru = trace.hits_by_rank(&weights, capacity, |at| at);
        let [ours, lru, best] = [trace.hits(&open(capacity).await?).await?, lru, best]
            .map(|hits| 100.0 * hits as f64 / trace.accesses.len() as f64);
        let size = BinaryBytes(capacity as u64).to_string();
        println!("{percent:>8} % {size:>12} {ours:>10.2} % {lru:>10.2} % {best:>10.2} %");
    }
    println!();
    Ok(())
}

async fn replay_over(url: &str, path: &Path) -> Result<()> {
    let trace = Trace::read(path)?;
    let opened = Store::open(Config::from_url(url)?).await;
    let store = opened.context("cannot open the store: is the server of --url running?")?;
    let store = store.namespace("replay")?;
    store.clear().await?;
    let (accesses, keys) = (trace.accesses.len(), trace.sizes.len());
    let counts = (HumanCount(accesses as u64), HumanCount(keys as u64));
    println!("{}: {} accesses, {} keys", path.display(), counts.0, counts.1);
    let began = tokio::time::Instant::now();
    let hits = trace.hits(&store).await?;
    let time = began.elapsed();
    let [ours, most] = [hits, accesses - keys].map(|hits| 100.0 * hits as f64 / accesses as f64);
    heading(&format!(
        "{:>10} {:>12} {:>12}",
        "time", "cachestore", "no eviction"
    ));
    println!("{time:>10.1?} {ours:>10.2} % {most:>10.2} %\n");
    store.clear().await?;
    Ok(store.close().await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Options { traces, url } = Options::parse();
    for trace in &traces {
        let replayed = match &url {
            Some(url) => replay_over(url, trace).await,
            None => replay(trace).await,
        };
        replayed.with_context(|| format!("cannot replay {}", trace.display()))?;
    }
    Ok(())
}
