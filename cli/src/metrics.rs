//! What a process tells of its stores, for any engine.

mod durations;
mod endpoint;
mod exposition;

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, ensure};

pub(crate) use self::durations::Durations;
pub(crate) use self::endpoint::Endpoint;
use self::exposition::{Sample, samples};

/// What the names of all metrics begin with. docs/observability.md lists them.
const PREFIX: &str = "cachestore_";
/// What the names of counters end with. The others are levels.
const COUNTER: &str = "_total";
const CALLS: &str = "calls_total";
const DURATION: &str = "call_duration_seconds";
const HITS: &str = "hits_total";
/// The outcomes of calls that the store has answered as it should, and of those whose caller has gone.
const NO_FAILURE: [&str; 5] = ["ok", "cancelled", "conflict", "lock_held", "lock_mismatch"];

/// The figures of a process at one time, or what they have grown by between two. Those of all stores and namespaces
/// are added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Process {
    figures: BTreeMap<String, f64>,
    near_hits: f64,
    calls: BTreeMap<String, Call>,
}

/// The figures of one call, such as `get`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Call {
    pub(crate) ended: f64,
    pub(crate) failed: f64,
    pub(crate) durations: Durations,
}

impl Process {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut process = Self::default();
        for sample in samples(text, PREFIX) {
            process.add(&sample.map_err(|line| anyhow!("line {line} of the answer is no sample"))?);
        }
        ensure!(
            process != Self::default(),
            "there are no metrics of cachestore: the recorder must be installed before the store is opened"
        );
        Ok(process)
    }

    fn add(&mut self, sample: &Sample) {
        let name = sample.name.strip_prefix(PREFIX).unwrap_or(&sample.name);
        if let Some(call) = sample.label("call") {
            let call = self.calls.entry(call.to_owned()).or_default();
            if name == CALLS {
                call.ended += sample.value;
                if !sample
                    .label("outcome")
                    .is_some_and(|outcome| NO_FAILURE.contains(&outcome))
                {
                    call.failed += sample.value;
                }
            } else if name.starts_with(DURATION) {
                call.durations.add(sample);
            }
            return;
        }
        if sample.label("le").or(sample.label("quantile")).is_some() {
            return;
        }
        if name == HITS && sample.label("tier") == Some("near") {
            self.near_hits += sample.value;
        }
        *self.figures.entry(name.to_owned()).or_default() += sample.value;
    }

    /// What the counters have grown by since `earlier`. Levels are those of now.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let figures = self.figures.iter().map(|(name, value)| {
            let grown = match earlier.figures.get(name) {
                Some(before) if name.ends_with(COUNTER) => growth(*value, *before),
                _ => *value,
            };
            (name.clone(), grown)
        });
        let none = Call::default();
        let calls = self.calls.iter().map(|(name, call)| {
            let before = earlier.calls.get(name).unwrap_or(&none);
            (name.clone(), call.since(before))
        });
        Self {
            figures: figures.collect(),
            near_hits: growth(self.near_hits, earlier.near_hits),
            calls: calls.collect(),
        }
    }

    /// A figure by its name without the prefix. `None` if the process does not tell it.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// All counters and levels that are not of calls, by their names without the prefix.
    pub(crate) fn figures(&self) -> &BTreeMap<String, f64> {
        &self.figures
    }

    pub(crate) fn near_hits(&self) -> f64 {
        self.near_hits
    }

    /// Reads that found a value, those that the near cache answered, and all reads.
    pub(crate) fn reads(&self) -> Option<(f64, f64, f64)> {
        let hits = self.figure(HITS)?;
        Some((hits, self.near_hits, hits + self.figure("misses_total")?))
    }

    /// The calls by their names, the most frequent first.
    pub(crate) fn calls(&self) -> Vec<(&str, &Call)> {
        let mut calls: Vec<_> = self
            .calls
            .iter()
            .map(|(name, call)| (name.as_str(), call))
            .collect();
        calls.sort_by(|(_, a), (_, b)| b.ended.total_cmp(&a.ended));
        calls
    }

    pub(crate) fn call(&self, name: &str) -> Option<&Call> {
        self.calls.get(name)
    }

    /// The number of calls that have ended.
    pub(crate) fn ended(&self) -> f64 {
        self.calls.values().map(|call| call.ended).sum()
    }
}

impl Call {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            ended: growth(self.ended, earlier.ended),
            failed: growth(self.failed, earlier.failed),
            durations: self.durations.since(&earlier.durations),
        }
    }
}

/// What a counter has grown by. One that is lower than before began anew with its process.
fn growth(now: f64, before: f64) -> f64 {
    if now >= before { now - before } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
cachestore_hits_total{engine="memory",tier="near"} 10
cachestore_hits_total{engine="memory",tier="engine"} 5
cachestore_misses_total{engine="memory"} 5
cachestore_locks_waiting{engine="memory"} 7
cachestore_calls_total{engine="memory",call="get",outcome="ok"} 15
cachestore_calls_total{engine="memory",call="get",outcome="timeout"} 1
cachestore_calls_total{engine="memory",call="set",outcome="ok"} 2
"#;
    const AFTER: &str = r#"
cachestore_hits_total{engine="memory",tier="near"} 40
cachestore_hits_total{engine="memory",tier="engine"} 15
cachestore_misses_total{engine="memory"} 10
cachestore_locks_waiting{engine="memory"} 3
cachestore_locks_waiting{engine="redis"} 1
cachestore_lock_wait_seconds_bucket{engine="redis",le="0.1"} 9
cachestore_calls_total{engine="memory",call="get",outcome="ok"} 55
cachestore_calls_total{engine="memory",call="get",outcome="timeout"} 4
cachestore_calls_total{engine="redis",call="get",outcome="cancelled"} 6
cachestore_calls_total{engine="memory",call="set",outcome="ok"} 1
"#;

    #[test]
    fn counters_grow_and_levels_are_those_of_now() {
        let [before, after] = [BEFORE, AFTER].map(|text| Process::read(text).unwrap());
        assert_eq!(before.reads(), Some((15.0, 10.0, 20.0)));
        let grown = after.since(&before);
        assert_eq!(grown.reads(), Some((40.0, 30.0, 45.0)));
        assert_eq!(grown.figure("locks_waiting"), Some(4.0));
        assert_eq!(grown.figure("queue_depth"), None);
        assert_eq!(grown.figure("lock_wait_seconds_bucket"), None);
        let calls: Vec<_> = grown
            .calls()
            .into_iter()
            .map(|(name, call)| (name, call.ended, call.failed))
            .collect();
        // The process has counted `set` anew.
        assert_eq!(calls, [("get", 49.0, 3.0), ("set", 1.0, 0.0)]);
        assert_eq!(grown.ended(), 50.0);
    }

    #[test]
    fn an_answer_without_our_metrics_is_refused() {
        let error = Process::read("other_total 1\n").unwrap_err().to_string();
        assert!(error.contains("no metrics of cachestore"), "{error}");
        assert!(Process::read("cachestore_x one\n").is_err());
    }
}
