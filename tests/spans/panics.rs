//! A subscriber that panics. It is the application's code, so nobody else notices.

use cachestore::Config;
use tracing::Subscriber;
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::support::secs;

/// Panics when a load begins, when an end is recorded, and when a span closes.
struct Panics;

impl<S: Subscriber> Layer<S> for Panics {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        assert_ne!(span.metadata().name(), "load", "as planned");
    }

    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, S>) {
        panic!("as planned");
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        panic!("as planned");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_harms_no_call_and_no_load() {
    let subscriber = tracing_subscriber::registry().with(Panics);
    let _guard = tracing::subscriber::set_default(subscriber);
    let store = crate::support::open(Config::memory()).await;
    for n in 0..50 {
        store.set("k", "v").await.unwrap();
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
        let key = format!("l{n}");
        let load = move || async move { Ok::<_, String>(n) };
        assert_eq!(store.get_or_load(&key, load).ttl(secs(9)).await.unwrap(), n);
        let held = store.lock("job").await.unwrap();
        assert!(store.lock("job").await.is_err());
        held.release().await.unwrap();
    }
    store.close().await.unwrap();
}
