//! What all handles of one store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kameo::actor::ActorRef;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::reads::Reads;
use crate::actor::queue::{Call, QueueSender};
use crate::config::Config;
use crate::engine::Profile;
use crate::error::Result;
use crate::events::Listeners;
use crate::key::KeyMaker;
use crate::load as loading;
use crate::lock as locking;
#[cfg(feature = "metrics")]
use crate::meters::Meters;
use crate::near::Near;
use crate::request;
use crate::spans::Spans;
use crate::stats::Stats;
use crate::supervisor::Supervisor;

/// The engine, the actors beside it, and the counts that handles keep themselves.
pub(super) struct Inner {
    pub(super) queue: QueueSender,
    pub(super) keys: KeyMaker,
    pub(super) config: Config,
    pub(super) profile: Profile,
    pub(super) near: Option<Arc<Near>>,
    pub(super) listeners: Arc<Listeners>,
    /// The runtime that the store was opened on.
    pub(super) home: Handle,
    pub(super) refused: AtomicU64,
    pub(super) reads: Reads,
    pub(super) supervisor: ActorRef<Supervisor>,
    /// Closed when all actors have ended.
    pub(super) ended: watch::Receiver<()>,
    pub(super) locks: locking::Handle,
    pub(super) loads: loading::Handle,
    pub(super) spans: Spans,
    /// What is told of the store as a whole.
    #[cfg(feature = "metrics")]
    pub(super) meters: Meters,
}

impl Inner {
    /// The statistics of the store, of which the engine knows a part.
    pub(super) async fn stats(&self, mut call: Call<'_>) -> Result<Stats> {
        let corrections = self.reads.corrections();
        let engine = call.ask_for_long(request::Stats {}).await?;
        let mut stats = Stats {
            refused: self.refused.load(Ordering::Relaxed),
            ..engine
        };
        if let Some(near) = &self.near {
            stats.near_hits = near.hits();
            stats.hits += stats.near_hits;
        }
        corrections.apply(&mut stats);
        self.loads.counters().report(&mut stats);
        #[cfg(feature = "metrics")]
        self.publish(&stats);
        Ok(stats)
    }
}
