//! The metrics of calls.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::Unit;

use super::handle::{Counter, Histogram};
use super::series::Series;
use crate::calls::{CallName, Outcome};

/// The calls of the handles with one label. A series is made when it first occurs.
pub(crate) struct Calls {
    engine: &'static str,
    label: Option<Box<str>>,
    /// For each call one of each outcome.
    outcomes: Box<[OnceLock<Counter>]>,
    durations: Box<[OnceLock<Histogram>]>,
}

impl Calls {
    pub(super) fn new(engine: &'static str, label: Option<Box<str>>) -> Self {
        let outcomes = CallName::ALL.len() * Outcome::COUNT;
        Self {
            engine,
            label,
            outcomes: (0..outcomes).map(|_| OnceLock::new()).collect(),
            durations: (0..CallName::ALL.len()).map(|_| OnceLock::new()).collect(),
        }
    }

    /// A call has ended.
    pub(crate) fn ended(&self, call: CallName, outcome: Outcome, took: Duration) {
        self.count(call, outcome).increment(1);
        self.duration(call).record(took);
    }

    fn count(&self, call: CallName, outcome: Outcome) -> &Counter {
        let place = call as usize * Outcome::COUNT + outcome as usize;
        self.outcomes[place].get_or_init(|| {
            let labels = [("call", call.as_str()), ("outcome", outcome.as_str())];
            let (name, about) = ("cachestore_calls_total", "Calls that have ended");
            self.make(|series| series.counter(name, &labels, Unit::Count, about))
        })
    }

    fn duration(&self, call: CallName) -> &Histogram {
        self.durations[call as usize].get_or_init(|| {
            let labels = [("call", call.as_str())];
            let (name, about) = ("cachestore_call_duration_seconds", "How long calls took");
            self.make(|series| series.seconds(name, &labels, about))
        })
    }

    fn make<T>(&self, make: impl FnOnce(Series<'_>) -> T) -> T {
        let label = self.label.as_deref().map(|label| ("namespace", label));
        Series::make(self.engine, |series| make(series.with(label)))
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("engine", &self.engine)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
