//! What the benches share: the workload of `bars.md`, rounds in turn, and the table at the end.

// Each bench is a crate of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::env;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

/// Keys of the speed workload.
pub const KEYS: usize = 100_000;
/// Bytes in each of its values.
pub const VALUE: [u8; 64] = [7; 64];
/// How skewed its choice of keys is.
pub const SKEW: f64 = 0.99;

/// Whether a few seconds must do: asked for by `--quick` or `CACHESTORE_BENCH_QUICK=1`, and given
/// whenever it is not `cargo bench` that runs the program.
pub fn quick() -> bool {
    let asked = env::var("CACHESTORE_BENCH_QUICK").is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
    let mut arguments = env::args().skip(1);
    asked
        || arguments.any(|argument| argument == "--quick")
        || !env::args().any(|argument| argument == "--bench")
}

/// Whether this part of a bench was named in the arguments, or none was.
pub fn is_wanted(part: &str) -> bool {
    let mut named = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

/// `full`, or `quick` if a few seconds must do.
pub fn sized<T>(full: T, quick_size: T) -> T {
    if quick() { quick_size } else { full }
}

/// The key with this number: `user:00012345:profile`.
pub fn key(number: usize) -> String {
    let mut text = String::with_capacity(21);
    let _ = write!(text, "user:{number:08}:profile");
    text
}

/// The traces, if they are there: `CACHESTORE_TRACES`, else beside the project.
pub fn traces() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces");
    let folder = env::var_os("CACHESTORE_TRACES").map_or_else(|| beside.into(), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// Which runtime a figure is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    CurrentThread,
    /// With two workers.
    MultiThread,
}

impl Flavor {
    pub const BOTH: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    pub fn runtime(self) -> std::io::Result<Runtime> {
        match self {
            Self::CurrentThread => Builder::new_current_thread().enable_all().build(),
            Self::MultiThread => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current thread",
            Self::MultiThread => "multi thread",
        }
    }

    /// The time for what happens in this runtime. One thread that is never idle is measured by its
    /// own clock, which stands still while other programs have the processor.
    pub fn now(self) -> Duration {
        match self {
            Self::CurrentThread => clock(ClockId::ThreadCPUTime),
            Self::MultiThread => clock(ClockId::Monotonic),
        }
    }
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, OOPSLA
/// 2014): the same numbers on every run.
#[derive(Debug, Clone)]
pub struct SplitMix(pub u64);

impl SplitMix {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// From 0 inclusive to 1 exclusive.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// `length` numbers below `items`, the r-th most frequent of them with a frequency as r^-[`SKEW`].
/// Which numbers are the frequent ones is drawn too, so that neighbours are not alike.
pub fn zipf(items: usize, length: usize, seed: u64) -> Vec<u32> {
    let mut cumulative = Vec::with_capacity(items);
    let mut sum = 0.0;
    for rank in 1..=items {
        sum += (rank as f64).powf(-SKEW);
        cumulative.push(sum);
    }
    // The same numbers are frequent whatever the seed: tasks share their favourites.
    let mut shuffle = SplitMix(items as u64);
    let mut numbers: Vec<u32> = (0..items as u32).collect();
    for place in (1..items).rev() {
        numbers.swap(place, shuffle.below(place + 1));
    }
    let mut random = SplitMix(seed);
    (0..length)
        .map(|_| {
            let at = random.fraction() * sum;
            numbers[cumulative.partition_point(|bound| *bound <= at).min(items - 1)]
        })
        .collect()
}

/// What one contestant took in each round.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub fn median(&self) -> f64 {
        quantile(&mut self.0.clone(), 0.5)
    }

    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::MIN, f64::max)
    }

    /// All of them times a factor.
    pub fn scaled(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|sample| sample * factor).collect())
    }

    /// The median of the ratios of rounds that ran side by side: what slows the machine for a while
    /// slows both.
    pub fn ratio(&self, peer: &Samples) -> f64 {
        let mut ratios: Vec<f64> = self
            .0
            .iter()
            .zip(&peer.0)
            .map(|(ours, peer)| ours / peer)
            .collect();
        quantile(&mut ratios, 0.5)
    }
}

/// The value below which this part of the samples lies.
pub fn quantile(samples: &mut [f64], part: f64) -> f64 {
    if samples.is_empty() {
        return f64::NAN;
    }
    samples.sort_unstable_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * part).round() as usize]
}

/// Runs `rounds` rounds of `N` contestants after one to warm up. The first to run is another one
/// each round.
pub fn in_turn<const N: usize>(rounds: usize, mut contest: impl FnMut(usize) -> f64) -> [Samples; N] {
    let mut samples: [Samples; N] = std::array::from_fn(|_| Samples::default());
    for round in 0..=rounds {
        for turn in 0..N {
            let contestant = (round + turn) % N;
            let sample = contest(contestant);
            if round > 0 {
                samples[contestant].push(sample);
            }
        }
    }
    samples
}

/// The table that ends a bench.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()],
        }
    }

    /// One whose columns are those of the bars.
    pub fn of_ratios() -> Self {
        Self::new(&["what", "ours", "peer", "ratio"])
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A row of times a call.
    pub fn times(&mut self, what: String, ours: &Samples, peer: &Samples) {
        self.row([
            what,
            nanos(ours.median()),
            nanos(peer.median()),
            format!("{:.2}", ours.ratio(peer)),
        ]);
    }

    #[allow(clippy::print_stdout, reason = "a bench is a program that prints")]
    pub fn print(&self) {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            println!("| {} |", cells.join(" | "));
            if number == 0 {
                let line = |(column, width): (usize, &usize)| match column {
                    0 => "-".repeat(*width),
                    _ => format!("{}:", "-".repeat(width - 1)),
                };
                let lines: Vec<String> = widths.iter().enumerate().map(line).collect();
                println!("| {} |", lines.join(" | "));
            }
        }
    }
}

pub fn nanos(nanos: f64) -> String {
    if nanos < 100.0 {
        format!("{nanos:.1} ns")
    } else {
        format!("{nanos:.0} ns")
    }
}

pub fn millis(nanos: f64) -> String {
    format!("{:.3} ms", nanos / 1e6)
}

pub fn nanos_of(time: Duration) -> f64 {
    time.as_nanos() as f64
}
