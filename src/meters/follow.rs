//! Counters and gauges that follow a figure which is counted elsewhere.
//!
//! The stores of a process share their series. So each store adds what has changed of its own figure.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::handle::{Counter, Gauge};

/// A counter that follows a count.
pub(super) struct Total {
    counter: Counter,
    last: AtomicU64,
}

impl Total {
    pub(super) fn new(counter: Counter) -> Self {
        let last = AtomicU64::new(0);
        Self { counter, last }
    }

    /// The count has become `value`. A lower one than before was read earlier, and is ignored.
    pub(super) fn follow(&self, value: u64) {
        let last = self.last.fetch_max(value, Relaxed);
        self.counter.increment(value.saturating_sub(last));
    }
}

/// What a level has become once it has ended.
const ENDED: u64 = u64::MAX;

/// A gauge that follows a level, until it ends or is dropped.
pub(super) struct Level {
    gauge: Gauge,
    last: AtomicU64,
}

impl Level {
    pub(super) fn new(gauge: Gauge) -> Self {
        gauge.increment(0);
        let last = AtomicU64::new(0);
        Self { gauge, last }
    }

    /// A level that has ended.
    pub(super) fn ended() -> Self {
        Self {
            gauge: Gauge::nothing(),
            last: AtomicU64::new(ENDED),
        }
    }

    /// The level has become `value`, unless it has ended.
    pub(super) fn set(&self, value: u64) {
        let set = |last| (last != ENDED).then_some(value);
        let Ok(last) = self.last.fetch_update(Relaxed, Relaxed, set) else {
            return;
        };
        if value > last {
            self.gauge.increment(value - last);
        } else if value < last {
            self.gauge.decrement(last - value);
        }
    }

    /// Takes the level back. It stays so.
    pub(super) fn end(&self) {
        let last = self.last.swap(ENDED, Relaxed);
        if last != ENDED {
            self.gauge.decrement(last);
        }
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Total({})", self.last.load(Relaxed))
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Level({})", self.last.load(Relaxed))
    }
}
