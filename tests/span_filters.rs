//! A subscriber with a filter for each layer, as an application with OpenTelemetry has it. In a process of its own, because
//! a subscriber of another test changes what is asked of this one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cachestore::{Config, NearCache, Store};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Counts the events that reach it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<usize>>);

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        *self.0.lock().unwrap() += 1;
    }
}

async fn many(keys: Vec<String>) -> Result<HashMap<String, i32>, String> {
    Ok(keys.into_iter().map(|key| (key, 1)).collect())
}

/// The filters of layers note what they decide about a span until it opens. A call that opens none must not ask them.
#[tokio::test]
async fn no_log_is_lost_after_a_call_without_a_span() {
    let log = Log::default();
    let subscriber = tracing_subscriber::registry()
        .with(tracing_subscriber::layer::Identity::new().with_filter(LevelFilter::TRACE))
        .with(log.clone().with_filter(LevelFilter::WARN));
    let _guard = tracing::subscriber::set_default(subscriber);
    let store = Store::open(Config::memory().near_cache(NearCache::default()))
        .await
        .unwrap();
    let model = || store.get_or_load("k", || async { Ok::<_, String>(1) });
    model().await.unwrap();
    while store.stats().await.unwrap().near_hits == 0 {
        assert_eq!(store.get_model::<i32>("k").await.unwrap(), Some(1));
    }
    for _ in 0..3 {
        let before = *log.0.lock().unwrap();
        store.get_model::<i32>("k").await.unwrap();
        warn!("after a model");
        store.get_models::<i32>(["k"]).await.unwrap();
        warn!("after models");
        store.get_or_load_many(["k"], many).await.unwrap();
        warn!("after a load of many");
        model().await.unwrap();
        warn!("after a load");
        store.get("k").await.unwrap();
        warn!("after a value");
        assert_eq!(*log.0.lock().unwrap() - before, 5);
    }
}
