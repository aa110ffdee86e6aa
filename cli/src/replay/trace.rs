//! A recorded sequence of accesses, and the hits that caches have on it.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cachestore::{Error, MemoryConfig, Store};

/// How many accesses are told at once.
const REPORT: usize = 1024;
/// The largest value, in bytes: each one is made.
const LARGEST: usize = 1 << 30;

/// Accesses to keys, which are numbered in the order of their first access.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) accesses: Vec<usize>,
    /// When the key of each access is next accessed; `usize::MAX` after the last time.
    next: Vec<usize>,
    /// The size of each key's value.
    pub(crate) sizes: Vec<usize>,
    has_sizes: bool,
}

impl Trace {
    /// Reads a text file, gzipped or not. Each line has the key of an access and, if entries differ in size, the bytes of
    /// its value. A key keeps its first size.
    pub(crate) fn read(path: &Path) -> Result<Self> {
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
            ensure!(
                size.is_none_or(|size| size <= LARGEST),
                "line {}: a value has at most {LARGEST} bytes",
                index + 1
            );
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
    pub(crate) async fn weights(&self) -> Result<Vec<usize>> {
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

    /// The hits of a store that is read through. `progress` is told of accesses that have been made.
    pub(crate) async fn hits(&self, store: &Store, progress: impl Fn(usize)) -> Result<usize> {
        let before = store.stats().await?.hits;
        for accesses in self.accesses.chunks(REPORT) {
            for &number in accesses {
                let key = number.to_string();
                if store.get(&key).await?.is_none() {
                    match store.set(&key, vec![0; self.sizes[number]]).await {
                        // What is larger than the whole store is fetched each time.
                        Ok(()) | Err(Error::ValueTooLarge { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            progress(accesses.len());
        }
        Ok(usize::try_from(store.stats().await?.hits - before)?)
    }

    /// The hits of a cache that evicts what was used least recently.
    pub(crate) fn lru_hits(&self, weights: &[usize], capacity: usize) -> usize {
        self.hits_by_rank(weights, capacity, |at| at)
    }

    /// What is known of the best that any cache could reach: the hits of Belady's policy where all entries are of one
    /// size, else an upper bound.
    pub(crate) fn best_hits(&self, weights: &[usize], capacity: usize) -> usize {
        if self.has_sizes {
            self.bound(weights, capacity)
        } else {
            self.hits_by_rank(weights, capacity, |at| usize::MAX - self.next[at])
        }
    }

    /// What [`best_hits`](Self::best_hits) are.
    pub(crate) fn best(&self) -> &'static str {
        if self.has_sizes { "upper bound" } else { "Belady" }
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

/// A memory engine of this capacity.
pub(crate) async fn open(capacity: usize) -> cachestore::Result<Store> {
    Store::open(
        MemoryConfig::default()
            .capacity_bytes(capacity)
            .max_value_bytes(usize::MAX),
    )
    .await
}
