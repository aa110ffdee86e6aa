//! A recorder is the application's code. Its panics are not those of the store.

use std::sync::Arc;

use cachestore::{Config, NearCache, Store};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tokio::task::JoinSet;

use crate::support::secs;

/// A recorder that panics.
struct Panics {
    /// When it is told of a series, or else when the series changes.
    at_once: bool,
}

impl Panics {
    fn given<T>(&self, series: impl FnOnce() -> T) -> T {
        assert!(!self.at_once, "a recorder panics");
        series()
    }
}

struct Series;

impl CounterFn for Series {
    fn increment(&self, _: u64) {
        panic!("a counter panics");
    }

    fn absolute(&self, _: u64) {
        panic!("a counter panics");
    }
}

impl GaugeFn for Series {
    fn increment(&self, _: f64) {
        panic!("a gauge panics");
    }

    fn decrement(&self, _: f64) {
        panic!("a gauge panics");
    }

    fn set(&self, _: f64) {
        panic!("a gauge panics");
    }
}

impl HistogramFn for Series {
    fn record(&self, _: f64) {
        panic!("a histogram panics");
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        // A second panic would end the process.
        assert!(std::thread::panicking(), "the drop of a series panics");
    }
}

impl Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.given(|| ());
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.given(|| ());
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.given(|| ());
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.given(|| Counter::from_arc(Arc::new(Series)))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.given(|| Gauge::from_arc(Arc::new(Series)))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        self.given(|| Histogram::from_arc(Arc::new(Series)))
    }
}

/// Everything that a recorder is told of.
async fn all_is_as_without_it(store: Store) {
    store.set("a", "1").depends_on("n").await.unwrap();
    assert_eq!(store.get_string("a").await.unwrap().as_deref(), Some("1"));
    for key in ["l", "m"] {
        let loaded = store.get_or_load(key, || async { Ok::<_, String>(1) }).await;
        assert_eq!(loaded.unwrap(), 1);
    }
    let load = store.get_or_load("p", || async { panic!("a loader panics") as Result<i32, String> });
    assert!(load.await.is_err());
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            let guard = store.lock("k").wait(secs(10)).await.unwrap();
            guard.release().await.unwrap();
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    drop(store.lock("k").await.unwrap());
    assert_eq!(store.invalidate("n").await.unwrap(), 1);
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.resets, stats.loads), (0, 3));
    drop(store.metrics_label("other").get("a").await.unwrap());
    store.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn over_the_memory_engine() {
    for at_once in [true, false] {
        let recorder = Panics { at_once };
        let _guard = metrics::set_default_local_recorder(&recorder);
        let config = Config::memory().near_cache(NearCache::off());
        all_is_as_without_it(crate::support::open(config).await).await;
    }
}

/// How many connections the same calls take.
#[cfg(feature = "redis")]
async fn connections() -> String {
    let (server, store) = crate::harness::opening::plain().await;
    all_is_as_without_it(store).await;
    server.info("total_connections_received")
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn over_redis() {
    let without = connections().await;
    for at_once in [true, false] {
        let recorder = Panics { at_once };
        let _guard = metrics::set_default_local_recorder(&recorder);
        assert_eq!(connections().await, without, "no connection is lost");
    }
}
