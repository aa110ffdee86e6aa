//! A counter that threads do not contend for.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

const PARTS: usize = 16;

/// Counts in parts, each on a cache line of its own. A thread always uses the same part.
#[derive(Debug)]
pub(super) struct Counter(Box<[Part]>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(AtomicU64);

thread_local! {
    static PART: usize = next_part();
}

fn next_part() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    THREADS.fetch_add(1, Relaxed) % PARTS
}

impl Counter {
    pub(super) fn new() -> Self {
        Self((0..PARTS).map(|_| Part::default()).collect())
    }

    pub(super) fn add(&self, count: u64) {
        // A thread that ends has no part any more, and takes the first.
        let part = PART.try_with(|part| *part).unwrap_or(0);
        self.0[part].0.fetch_add(count, Relaxed);
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Relaxed)).sum()
    }
}
