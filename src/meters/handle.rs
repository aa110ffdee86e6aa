//! What a recorder gives for a series.
//!
//! A recorder is the application's code, and runs wherever something is counted: in callers' tasks, and in actors that serve
//! all callers. So its panics end here. That costs nothing that can be measured.

use std::fmt;
use std::time::Duration;

use crate::contain::{Contained, contained};

/// A counter, a gauge or a histogram. It does nothing if the recorder panicked when it was asked for the series.
pub(super) struct Handle<T>(Contained<T>);

pub(super) type Counter = Handle<metrics::Counter>;
pub(super) type Gauge = Handle<metrics::Gauge>;
pub(super) type Histogram = Handle<metrics::Histogram>;

impl<T> Handle<T> {
    pub(super) fn register(register: impl FnOnce() -> T) -> Self {
        contained(register).map_or_else(Self::nothing, |handle| Self(Contained::new(handle)))
    }

    /// A handle that does nothing.
    pub(super) fn nothing() -> Self {
        Self(Contained::empty())
    }

    fn tell(&self, tell: impl FnOnce(&T)) {
        if let Some(handle) = self.0.get() {
            contained(|| tell(handle));
        }
    }
}

impl Counter {
    pub(super) fn increment(&self, by: u64) {
        self.tell(|counter| counter.increment(by));
    }
}

impl Gauge {
    pub(super) fn increment(&self, by: u64) {
        self.tell(|gauge| gauge.increment(by as f64));
    }

    pub(super) fn decrement(&self, by: u64) {
        self.tell(|gauge| gauge.decrement(by as f64));
    }
}

impl Histogram {
    pub(super) fn record(&self, time: Duration) {
        self.tell(|histogram| histogram.record(time));
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}
