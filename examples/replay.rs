//! Replays access traces through stores of several capacities, and prints their hit ratios beside those
//! of LRU and the best that any cache could reach; or through the one store that a URL names.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

#[path = "../cli/src/replay/trace.rs"]
mod trace;

use std::path::{Path, PathBuf};

use anstream::println;
use anyhow::{Context, Result};
use cachestore::{Config, Store};
use clap::Parser;
use indicatif::{BinaryBytes, HumanCount};

use self::trace::{Trace, open};

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
    let best = trace.best();
    heading(&format!(
        "{:>10} {:>12} {:>12} {:>12} {best:>12}",
        "capacity", "", "cachestore", "LRU"
    ));
    for percent in [1, 5, 10, 25] {
        let capacity = all * percent / 100;
        let ours = trace.hits(&open(capacity).await?, |_| {}).await?;
        let (lru, best) = (
            trace.lru_hits(&weights, capacity),
            trace.best_hits(&weights, capacity),
        );
        let [ours, lru, best] =
            [ours, lru, best].map(|hits| 100.0 * hits as f64 / trace.accesses.len() as f64);
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
    let hits = trace.hits(&store, |_| {}).await?;
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
