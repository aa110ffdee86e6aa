//! Replays a trace through memory engines of several capacities.

mod plot;
pub(crate) mod trace;

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::trace::Trace;
use crate::output::{self, Table};
use crate::{escape, units};

/// The hit ratios at one capacity, in percent of the accesses.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Point {
    /// In percent of what all entries need.
    percent: u32,
    pub(crate) capacity_bytes: usize,
    pub(crate) cachestore: f64,
    pub(crate) lru: f64,
    pub(crate) best: f64,
}

pub(crate) async fn run(
    path: &Path,
    capacities: Vec<u32>,
    svg: Option<&Path>,
    as_json: bool,
    out: &mut impl Write,
) -> Result<()> {
    let name = escape::key(&path.display().to_string());
    let trace = Trace::read(path).with_context(|| format!("cannot read {name}"))?;
    let weights = trace.weights().await?;
    let all: usize = weights.iter().sum();
    let capacities = ordered(capacities);
    let bar = progress(&trace, capacities.len());
    let mut points = Vec::new();
    for percent in capacities {
        let point = measure(&trace, &weights, all, percent, &bar).await?;
        if as_json {
            output::json(out, &point)?;
            out.flush()?;
        }
        points.push(point);
    }
    bar.finish_and_clear();
    if !as_json {
        let (accesses, keys) = (trace.accesses.len() as u64, weights.len() as u64);
        let (accesses, keys, all) = (
            units::count(accesses),
            units::count(keys),
            units::bytes(all as u64),
        );
        writeln!(out, "{name}: {accesses} accesses, {keys} keys, {all}\n")?;
        table(&trace, &points).write(out)?;
    }
    if let Some(svg) = svg {
        let shown = || format!("cannot write {}", escape::key(&svg.display().to_string()));
        let picture = plot::draw(&name, trace.best(), &points)?;
        fs::write(svg, picture).with_context(shown)?;
    }
    Ok(())
}

/// Each capacity once, the smallest first.
fn ordered(mut capacities: Vec<u32>) -> Vec<u32> {
    capacities.sort_unstable();
    capacities.dedup();
    capacities
}

/// How many caches are measured at each capacity.
const CACHES: usize = 3;

/// Shows on standard error how far the replay has come, if that is a terminal.
fn progress(trace: &Trace, capacities: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {percent} %, {eta} left");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new((CACHES * trace.accesses.len() * capacities) as u64).with_style(style)
}

async fn measure(
    trace: &Trace,
    weights: &[usize],
    all: usize,
    percent: u32,
    bar: &ProgressBar,
) -> Result<Point> {
    // A store has at least one byte.
    let capacity = (all * percent as usize / 100).max(1);
    let store = trace::open(capacity).await?;
    let ours = trace.hits(&store, |accesses| bar.inc(accesses as u64)).await?;
    store.close().await?;
    let accesses = trace.accesses.len();
    let lru = trace.lru_hits(weights, capacity);
    bar.inc(accesses as u64);
    let best = trace.best_hits(weights, capacity);
    bar.inc(accesses as u64);
    let [cachestore, lru, best] = [ours, lru, best].map(|hits| 100.0 * hits as f64 / accesses as f64);
    Ok(Point {
        percent,
        capacity_bytes: capacity,
        cachestore,
        lru,
        best,
    })
}

fn table(trace: &Trace, points: &[Point]) -> Table<5> {
    let mut table = Table::new(["capacity", "", "cachestore", "LRU", trace.best()]);
    for point in points {
        let [ours, lru, best] =
            [point.cachestore, point.lru, point.best].map(|ratio| format!("{ratio:.2} %"));
        let capacity = units::bytes(point.capacity_bytes as u64);
        table.row([format!("{} %", point.percent), capacity, ours, lru, best]);
    }
    table
}
