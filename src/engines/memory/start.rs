//! The memory engine as a store sees it: its profile, and its start.

use kameo::Actor;
use kameo::actor::Spawn;

use super::engine::{MemoryEngine, Setup};
use crate::actor::queue::Stamp;
use crate::config::{EngineKind, MemoryOptions};
use crate::engine::{Crew, Engine, EngineNotifications, Profile, Start};

/// The memory engine, configured.
#[derive(Debug)]
pub(crate) struct Memory {
    capacity_bytes: usize,
    /// The most bytes of the near cache. `None` if there is none.
    near_bytes: Option<usize>,
}

/// The near cache takes one part in so many of what the capacity has over [`SMALL`], unless its own is set.
const NEAR_PART: usize = 64;
/// It takes at least one part in so many of the capacity.
const NEAR_PART_OF_SMALL: usize = 256;
/// Up to here a cache needs its bytes for entries: a 64th of them costs up to 0.4 points of hit ratio.
const SMALL: usize = 4 * 1024 * 1024;

fn near_share(capacity_bytes: usize) -> usize {
    let over = capacity_bytes.saturating_sub(SMALL) / NEAR_PART;
    over.max(capacity_bytes / NEAR_PART_OF_SMALL)
}

impl Memory {
    pub(crate) fn new(options: MemoryOptions) -> Self {
        let capacity_bytes = options.capacity_bytes;
        Self {
            capacity_bytes,
            near_bytes: options.near_cache.bytes_of(near_share(capacity_bytes)),
        }
    }
}

impl Engine for Memory {
    fn profile(&self) -> Profile {
        Profile {
            kind: EngineKind::Memory,
            // The queue is first in, first out, and the engine alone owns what it writes to.
            completes_when_queued: true,
            keeps_order: true,
            stamp: Stamp::TimedWrites,
            capacity_bytes: Some(self.capacity_bytes),
            keeps_locks: false,
            near_bytes: self.near_bytes,
        }
    }

    async fn start<S: Actor>(self, start: Start, crew: &mut Crew<S>) -> EngineNotifications {
        let capacity_bytes = self.capacity_bytes;
        let setup = Setup {
            queue: start.queue,
            capacity_bytes,
            near: start.near,
            listeners: start.listeners,
        };
        crew.add("memory engine", MemoryEngine::spawn(setup)).await;
        tracing::debug!(capacity_bytes, "the memory engine has started");
        EngineNotifications::default()
    }
}
