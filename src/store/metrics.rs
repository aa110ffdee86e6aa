//! Metrics: the label of a handle, and the figures of a store, which are published once a second.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Inner, Store};
use crate::stats::Stats;

/// How often the figures of a store are published, and how long the engine is waited for.
const EVERY: Duration = Duration::from_secs(1);

impl Store {
    /// A handle to the same namespace whose calls have the label `namespace="label"` in metrics.
    ///
    /// Namespaces made from it have the label too, until they are given another. Choose labels from a small fixed set:
    /// each makes series of its own for as long as the process runs. Without this call, no metric has such a label.
    /// Figures of the whole store, such as its bytes, never have it. See [the guide](crate::guide::observability).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let tenant = store.namespace("tenant-1")?.metrics_label("tenants");
    /// tenant.set("k", "v").await?; // cachestore_calls_total{call="set",namespace="tenants",...}
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    #[must_use]
    pub fn metrics_label(&self, label: impl AsRef<str>) -> Self {
        Self {
            meters: self.meters.labelled(label.as_ref()),
            ..self.clone()
        }
    }

    /// Publishes the figures of the store once a second, until it is closed or its last handle is dropped.
    pub(super) fn publish_every_second(&self) {
        if self.meters.is_on() {
            let store = Arc::downgrade(&self.inner);
            self.inner.home.spawn(publish(store));
        }
    }
}

async fn publish(store: Weak<Inner>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // It is held for one request at most, so that the store ends with its last handle.
        let Some(inner) = store.upgrade() else { return };
        if inner.queue.is_closed() {
            return;
        }
        // It publishes what it answers. While the engine does not answer, its figures stay as they are.
        if inner.stats(inner.queue.call().within(EVERY)).await.is_err() {
            inner.meters.publish_depth(inner.queue.depth() as u64);
        }
    }
}

impl Inner {
    pub(super) fn publish(&self, stats: &Stats) {
        self.meters.publish(stats, self.profile.capacity_bytes);
        self.meters.publish_depth(stats.queue_depth);
    }
}
