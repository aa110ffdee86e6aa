//! What a store holds with the feature `metrics`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Recorder, Unit};
use tokio::time::Instant;

use super::calls::Calls;
use super::figures::Figures;
use super::follow::Level;
use super::handle::{Counter, Histogram};
use super::series::Series;
use crate::stats::Stats;

/// What a store, its handles and its actors tell the recorder. Empty if there was none when the store was opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meters(Option<Arc<Labelled>>);

/// What the handles with one label have.
#[derive(Debug)]
struct Labelled {
    calls: Calls,
    store: Arc<Registered>,
}

/// The metrics of a store as a whole.
#[derive(Debug)]
struct Registered {
    engine: &'static str,
    figures: Figures,
    queue_depth: Level,
    /// Made if the engine has a capacity.
    capacity: OnceLock<Level>,
    load_duration: Histogram,
    locks_waiting: Level,
    locks_held: Level,
    lock_wait: Histogram,
    lock_hold: Histogram,
    locks_lost: Counter,
}

/// A loader that runs. Its end is told when this is dropped, also by a panic. Empty without a recorder.
#[derive(Debug)]
pub(crate) struct RunningLoad(Option<(Arc<Labelled>, Instant)>);

impl Meters {
    /// The meters of a store of this engine, for the recorder that is installed now.
    pub(crate) fn open(engine: &'static str) -> Self {
        let store = metrics::with_recorder(|recorder| {
            has_state(recorder).then(|| Registered::new(Series::new(recorder, engine), engine))
        });
        Self(store.map(|store| {
            let (calls, store) = (Calls::new(engine, None), Arc::new(store));
            Arc::new(Labelled { calls, store })
        }))
    }

    /// The same store's meters, for handles with a label.
    pub(crate) fn labelled(&self, label: &str) -> Self {
        Self(self.0.as_deref().map(|Labelled { store, .. }| {
            let (calls, store) = (Calls::new(store.engine, Some(label.into())), store.clone());
            Arc::new(Labelled { calls, store })
        }))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The metrics of calls, if there is a recorder.
    pub(crate) fn calls(&self) -> Option<&Calls> {
        self.0.as_deref().map(|labelled| &labelled.calls)
    }

    /// Makes series, if there is a recorder.
    #[cfg(feature = "redis")]
    pub(super) fn with_series<T>(&self, make: impl FnOnce(Series<'_>) -> T) -> Option<T> {
        Some(Series::make(self.store()?.engine, make))
    }

    /// A loader is called.
    pub(crate) fn load_begins(&self) -> RunningLoad {
        RunningLoad(self.0.clone().map(|labelled| (labelled, Instant::now())))
    }

    /// So many callers wait for locks, and so many locks are held through guards.
    pub(crate) fn locks(&self, waiting: usize, held: usize) {
        if let Some(store) = self.store() {
            store.locks_waiting.set(waiting as u64);
            store.locks_held.set(held as u64);
        }
    }

    /// A caller was granted a lock.
    pub(crate) fn lock_granted(&self, waited: Duration) {
        if let Some(store) = self.store() {
            store.lock_wait.record(waited);
        }
    }

    /// A guard has ended. `lost` says that its hold had ended before.
    pub(crate) fn lock_ended(&self, held: Duration, lost: bool) {
        if let Some(store) = self.store() {
            store.lock_hold.record(held);
            store.locks_lost.increment(u64::from(lost));
        }
    }

    /// Publishes the statistics of a store.
    pub(crate) fn publish(&self, stats: &Stats, capacity: Option<usize>) {
        if let Some(store) = self.store() {
            store.figures.follow(store.engine, stats);
            if let Some(bytes) = capacity {
                store.capacity().set(bytes as u64);
            }
        }
    }

    /// Publishes how many requests wait for the engine.
    pub(crate) fn publish_depth(&self, depth: u64) {
        if let Some(store) = self.store() {
            store.queue_depth.set(depth);
        }
    }

    /// The store has been closed: takes its levels back. Handles may live on.
    pub(crate) fn end(&self) {
        if let Some(store) = self.store() {
            store.end();
        }
    }

    fn store(&self) -> Option<&Registered> {
        self.0.as_deref().map(|labelled| &*labelled.store)
    }
}

impl RunningLoad {
    /// The loader has ended: the drop records how long it ran. A load that is dropped has ended too.
    pub(crate) fn end(self) {
        drop(self);
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        if let Some((labelled, began)) = &self.0 {
            labelled.store.load_duration.record(began.elapsed());
        }
    }
}

/// Whether this is a recorder. The facade cannot be asked whether one is installed, and passes one without any state if
/// there is none.
fn has_state(recorder: &dyn Recorder) -> bool {
    size_of_val(recorder) > 0
}

impl Registered {
    fn new(series: Series<'_>, engine: &'static str) -> Self {
        let level = |name, unit, about| Level::new(series.gauge(name, unit, about));
        Self {
            engine,
            figures: Figures::new(),
            queue_depth: level(
                "cachestore_queue_depth",
                Unit::Count,
                "Requests that wait for the engine",
            ),
            capacity: OnceLock::new(),
            load_duration: series.seconds("cachestore_load_duration_seconds", &[], "How long loaders ran"),
            locks_waiting: level(
                "cachestore_locks_waiting",
                Unit::Count,
                "Callers that wait for locks",
            ),
            locks_held: level("cachestore_locks_held", Unit::Count, "Locks that guards hold"),
            lock_wait: series.seconds(
                "cachestore_lock_wait_seconds",
                &[],
                "How long callers waited for the locks that they were granted",
            ),
            lock_hold: series.seconds("cachestore_lock_hold_seconds", &[], "How long guards lived"),
            locks_lost: series.counter(
                "cachestore_locks_lost_total",
                &[],
                Unit::Count,
                "Guards whose locks had ended before they were released",
            ),
        }
    }

    fn end(&self) {
        self.figures.end();
        self.capacity.get_or_init(Level::ended).end();
        for level in [&self.queue_depth, &self.locks_waiting, &self.locks_held] {
            level.end();
        }
    }

    fn capacity(&self) -> &Level {
        let about = "Bytes that entries may take";
        self.capacity.get_or_init(|| {
            let name = "cachestore_capacity_bytes";
            Level::new(Series::make(self.engine, |series| {
                series.gauge(name, Unit::Bytes, about)
            }))
        })
    }
}
