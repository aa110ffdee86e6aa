//! What the memory engine is to a store.

use kameo::Actor;
use kameo::actor::Spawn;

use super::engine::{MemoryEngine, Setup};
use crate::actor::queue::Stamp;
use crate::config::EngineKind;
use crate::engine::{Crew, Engine, EngineNotifications, Profile, Start};

/// The memory engine, configured.
#[derive(Debug)]
pub(crate) struct Memory {
    capacity_bytes: usize,
}

impl Memory {
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        Self { capacity_bytes }
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
        }
    }

    async fn start<S: Actor>(self, start: Start, crew: &mut Crew<S>) -> EngineNotifications {
        let capacity_bytes = self.capacity_bytes;
        let setup = Setup {
            queue: start.queue,
            capacity_bytes,
        };
        crew.add("memory engine", MemoryEngine::spawn(setup)).await;
        tracing::debug!(capacity_bytes, "the memory engine has started");
        EngineNotifications::default()
    }
}
