//! What a recorder has been told.

use std::collections::{BTreeMap, BTreeSet};

use cachestore::{Config, Store};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// A recorder, which a test installs for its own thread: its runtime has no other.
pub(crate) struct Told {
    recorder: DebuggingRecorder,
}

/// Everything that the recorder has been told so far. A snapshot empties the recorder, so that values are added up.
pub(crate) struct Recorded {
    snapshotter: Snapshotter,
    values: BTreeMap<Series, f64>,
    samples: BTreeMap<Series, Vec<f64>>,
}

/// The name of a metric, and its labels in their order.
type Series = (String, BTreeMap<String, String>);

impl Told {
    pub(crate) fn new() -> Self {
        let recorder = DebuggingRecorder::new();
        Self { recorder }
    }

    /// Installs the recorder until the guard is dropped.
    pub(crate) fn install(&self) -> (metrics::LocalRecorderGuard<'_>, Recorded) {
        let recorded = Recorded {
            snapshotter: self.recorder.snapshotter(),
            values: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        (metrics::set_default_local_recorder(&self.recorder), recorded)
    }
}

impl Recorded {
    fn take(&mut self) {
        for (key, unit, description, value) in self.snapshotter.snapshot().into_vec() {
            let (_, key) = key.into_parts();
            assert!(unit.is_some() && description.is_some(), "{key} is not described");
            let labels = key
                .labels()
                .map(|label| (label.key().to_owned(), label.value().to_owned()));
            let series = (key.name().to_owned(), labels.collect());
            match value {
                DebugValue::Counter(count) => *self.values.entry(series).or_default() += count as f64,
                DebugValue::Gauge(change) => *self.values.entry(series).or_default() += change.into_inner(),
                DebugValue::Histogram(samples) => {
                    let samples = samples.into_iter().map(|sample| sample.into_inner());
                    self.samples.entry(series).or_default().extend(samples);
                }
            }
        }
    }

    /// The sum of all series with this name and these labels, others beside them.
    pub(crate) fn value(&mut self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.take();
        let of = self.values.iter().filter(|(series, _)| has(series, name, labels));
        of.map(|(_, value)| value).sum()
    }

    /// The same as a count.
    pub(crate) fn count(&mut self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.value(name, labels);
        assert!(
            value >= 0.0 && value.fract() == 0.0,
            "{name} {labels:?} is {value}"
        );
        value as u64
    }

    /// What a histogram was told, in its order.
    pub(crate) fn samples(&mut self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        self.take();
        let of = self
            .samples
            .iter()
            .filter(|(series, _)| has(series, name, labels));
        of.flat_map(|(_, samples)| samples).copied().collect()
    }

    /// The calls that have ended, by call and outcome.
    pub(crate) fn calls(&mut self) -> BTreeMap<(String, String), u64> {
        self.take();
        let of = self
            .values
            .iter()
            .filter(|((name, _), _)| name == "cachestore_calls_total");
        of.map(|((_, labels), count)| ((labels["call"].clone(), labels["outcome"].clone()), *count as u64))
            .collect()
    }

    /// All series that there are.
    pub(crate) fn series(&mut self) -> BTreeSet<Series> {
        self.take();
        self.values.keys().chain(self.samples.keys()).cloned().collect()
    }
}

fn has((name, labels): &Series, wanted: &str, pairs: &[(&str, &str)]) -> bool {
    name == wanted
        && pairs
            .iter()
            .all(|(key, value)| labels.get(*key).is_some_and(|has| has == value))
}

/// A store of one engine, and what it stands on.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) engine: &'static str,
    #[cfg(feature = "redis")]
    _server: Option<super::harness::RedisServer>,
}

impl World {
    /// Without a near cache: every read asks the engine.
    pub(crate) async fn memory() -> Self {
        Self::over(Config::memory().near_cache(cachestore::NearCache::off())).await
    }

    pub(crate) async fn over(config: impl Into<Config>) -> Self {
        Self {
            store: super::support::open(config).await,
            engine: "memory",
            #[cfg(feature = "redis")]
            _server: None,
        }
    }

    #[cfg(feature = "redis")]
    pub(crate) async fn redis() -> Self {
        let (server, store) = super::harness::opening::plain().await;
        Self {
            store,
            engine: "redis",
            _server: Some(server),
        }
    }
}

/// Makes a test of a script for each engine.
macro_rules! on_both_engines {
    ($($script:ident),* $(,)?) => {
        mod memory {
            $(
                #[tokio::test(start_paused = true)]
                async fn $script() {
                    let told = crate::told::Told::new();
                    let (_guard, recorded) = told.install();
                    super::$script(crate::told::World::memory().await, recorded).await;
                }
            )*
        }

        #[cfg(feature = "redis")]
        mod over_redis {
            $(
                #[tokio::test]
                async fn $script() {
                    let told = crate::told::Told::new();
                    let (_guard, recorded) = told.install();
                    super::$script(crate::told::World::redis().await, recorded).await;
                }
            )*
        }
    };
}

pub(crate) use on_both_engines;
