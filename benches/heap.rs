//! Heap held for a million small entries, beside moka, mini-moka and quick_cache, and what
//! `stats().bytes` says of it.
//!
//! A global allocator counts. Each cache is built in a process of its own, so that none inherits
//! another's leftovers.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program that prints and may fail"
)]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachestore::{MemoryConfig, Store};
use tokio::runtime::Builder;

use support::{SplitMix, Table, VALUE, key, sized};

const HOUR: Duration = Duration::from_secs(3600);
/// Names that the entries depend on, one each, where they depend on any.
const NAMES: usize = 1000;
/// What tells a child which cache to build, and with how many entries.
const CHILD: &str = "CACHESTORE_BENCH_HEAP";

#[global_allocator]
static ALLOCATOR: Counting = Counting;
/// Bytes asked for and not given back.
static REQUESTED: AtomicUsize = AtomicUsize::new(0);
/// The blocks that they take.
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

/// What glibc's malloc takes for a request: a header of 8 bytes, blocks in steps of 16, at least 32;
/// large ones are whole pages with a header of 16.
const fn block(len: usize) -> usize {
    if len >= 128 * 1024 {
        (len + 16).next_multiple_of(4096)
    } else {
        let block = (len + 8).next_multiple_of(16);
        if block < 32 { 32 } else { block }
    }
}

impl Counting {
    fn add(len: usize) {
        REQUESTED.fetch_add(len, Ordering::Relaxed);
        HELD.fetch_add(block(len), Ordering::Relaxed);
    }

    fn subtract(len: usize) {
        REQUESTED.fetch_sub(len, Ordering::Relaxed);
        HELD.fetch_sub(block(len), Ordering::Relaxed);
    }
}

// SAFETY: all is left to the system's allocator; counting touches no memory that it hands out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Self::subtract(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::subtract(layout.size());
        Self::add(size);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

fn main() {
    match env::var(CHILD) {
        Ok(task) => {
            let (cache, entries) = task.split_once(' ').unwrap();
            println!("{}", measure(cache, entries.parse().unwrap()));
        }
        Err(_) => compare(),
    }
}

fn compare() {
    let entries = sized(1_000_000, 100_000);
    let run = |cache: &str| Held::of_child(cache, entries);
    let mut table = Table::of_ratios();
    let a_piece = |held: &Held| format!("{:.1} B", held.blocks as f64 / held.entries as f64);
    let asked = |held: &Held| format!("{:.1} B", held.requested as f64 / held.entries as f64);
    for (ours, peers) in [
        ("ours", ["moka", "mini-moka", "quick_cache"].as_slice()),
        ("ours with TTL", &["moka with TTL", "mini-moka with TTL"]),
        ("ours read twice", &["quick_cache"]),
    ] {
        let held = run(ours);
        let suffix = if ours == "ours read twice" {
            ", each read twice"
        } else {
            ""
        };
        for name in peers {
            let peer = run(name);
            let ratio = format!("{:.2}", held.blocks as f64 / peer.blocks as f64);
            table.row([
                format!("heap an entry{suffix}: {name}"),
                a_piece(&held),
                a_piece(&peer),
                ratio,
            ]);
            let ratio = format!("{:.2}", held.requested as f64 / peer.requested as f64);
            table.row([
                format!("bytes asked for{suffix}: {name}"),
                asked(&held),
                asked(&peer),
                ratio,
            ]);
        }
    }
    for (what, cache, entries) in [
        ("as written", "ours", entries),
        ("nine tenths of it", "ours", entries * 9 / 10),
        ("six tenths of it", "ours", entries * 6 / 10),
        ("with TTL", "ours with TTL", entries),
        ("with a dependency each", "ours with dependency", entries),
        ("left of four times as many by eviction", "ours churned", entries),
        ("a tenth left by deletion", "ours emptied", entries / 10),
        ("values of 16 B to 2 KiB", "ours of all sizes", entries),
        ("each read twice", "ours read twice", entries),
    ] {
        let held = Held::of_child(cache, entries);
        table.row([
            format!("stats().bytes, {what}: heap"),
            format!("{:.1} MiB", held.stats as f64 / 1024.0 / 1024.0),
            format!("{:.1} MiB", held.blocks as f64 / 1024.0 / 1024.0),
            format!("{:.3}", held.stats as f64 / held.blocks as f64),
        ]);
    }
    println!("{entries} entries, values of {} bytes\n", VALUE.len());
    table.print();
}

/// What a cache was found to hold.
struct Held {
    entries: usize,
    requested: usize,
    blocks: usize,
    /// What our own `stats()` say of it.
    stats: usize,
}

impl Held {
    fn of_child(cache: &str, entries: usize) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .env(CHILD, format!("{} {entries}", cache.replace(' ', "_")))
            .output()
            .unwrap();
        assert!(
            child.status.success(),
            "{cache}: {}",
            String::from_utf8_lossy(&child.stderr)
        );
        let text = String::from_utf8(child.stdout).unwrap();
        let numbers: Vec<usize> = text
            .split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect();
        let [entries, requested, blocks, stats] = numbers[..] else {
            panic!("{text}")
        };
        Self {
            entries,
            requested,
            blocks,
            stats,
        }
    }
}

/// In the child: builds the cache and says what it holds.
fn measure(cache: &str, entries: usize) -> String {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let before = (REQUESTED.load(Ordering::Relaxed), HELD.load(Ordering::Relaxed));
    let capacity = 2 * entries as u64;
    let pairs =
        || (0..entries).map(|number| (Box::<str>::from(key(number)), Arc::<[u8]>::from(VALUE.as_slice())));
    let now = |entries: usize, stats: u64| {
        let requested = REQUESTED.load(Ordering::Relaxed) - before.0;
        let blocks = HELD.load(Ordering::Relaxed) - before.1;
        format!("{entries} {requested} {blocks} {stats}")
    };
    match cache {
        "moka" | "moka_with_TTL" => {
            let builder = moka::sync::Cache::<Box<str>, Arc<[u8]>>::builder().max_capacity(capacity);
            let cache = if cache == "moka" {
                builder.build()
            } else {
                builder.time_to_live(HOUR).build()
            };
            for (key, value) in pairs() {
                cache.insert(key, value);
            }
            cache.run_pending_tasks();
            assert_eq!(cache.entry_count(), entries as u64);
            now(entries, 0)
        }
        "mini-moka" | "mini-moka_with_TTL" => {
            use mini_moka::sync::ConcurrentCacheExt;
            let builder = mini_moka::sync::Cache::<Box<str>, Arc<[u8]>>::builder().max_capacity(capacity);
            let cache = if cache == "mini-moka" {
                builder.build()
            } else {
                builder.time_to_live(HOUR).build()
            };
            for (key, value) in pairs() {
                cache.insert(key, value);
            }
            cache.sync();
            assert_eq!(cache.entry_count(), entries as u64);
            now(entries, 0)
        }
        "quick_cache" => {
            // The room that its shards need to lose nothing.
            let cache = quick_cache::sync::Cache::<Box<str>, Arc<[u8]>>::new(entries * 11 / 10);
            for (key, value) in pairs() {
                cache.insert(key, value);
            }
            assert_eq!(cache.len(), entries);
            now(entries, 0)
        }
        ours => runtime.block_on(async {
            let store = build(ours, entries).await;
            let stats = store.stats().await.unwrap();
            let found = usize::try_from(stats.entries.unwrap()).unwrap();
            assert!(found.abs_diff(entries) <= entries / 100, "{stats:?}");
            now(found, stats.bytes.unwrap())
        }),
    }
}

/// What one entry counts for.
async fn bytes_of_one() -> usize {
    let store = Store::open(MemoryConfig::default()).await.unwrap();
    store.set(key(0), VALUE).await.unwrap();
    usize::try_from(store.stats().await.unwrap().bytes.unwrap()).unwrap()
}

async fn build(kind: &str, entries: usize) -> Store {
    let capacity = if kind == "ours_churned" {
        entries * bytes_of_one().await
    } else {
        8 << 30
    };
    let store = Store::open(MemoryConfig::default().capacity_bytes(capacity))
        .await
        .unwrap();
    let mut random = SplitMix(1);
    let written = match kind {
        "ours_churned" => entries * 4,
        "ours_emptied" => entries * 10,
        _ => entries,
    };
    for number in 0..written {
        let set = match kind {
            "ours_of_all_sizes" => {
                let exponent = random.below(8);
                let len = (16 << exponent) - random.below(8 << exponent);
                store.set(key(number), vec![7; len])
            }
            _ => store.set(key(number), VALUE),
        };
        match kind {
            "ours_with_TTL" => set.ttl(HOUR).await.unwrap(),
            "ours_with_dependency" => set
                .depends_on([format!("name:{}", number % NAMES)])
                .await
                .unwrap(),
            _ => set.await.unwrap(),
        }
    }
    if kind == "ours_read_twice" {
        // The near cache takes entries that are read again, as far as its share of the capacity goes.
        for number in (0..written).chain(0..written) {
            assert!(store.get(key(number)).await.unwrap().is_some());
        }
    }
    if kind == "ours_emptied" {
        for number in (0..written).filter(|number| number % 10 != 0) {
            store.delete(key(number)).await.unwrap();
        }
    }
    store
}
