//! What an engine with faults is to a store: the engine that it wraps, with another profile.

use kameo::Actor;
use kameo::actor::Spawn;
use tokio::runtime::Handle;

use super::engine::{FaultyEngine, QUEUE, Setup};
use crate::actor::queue::{Bounds, Stamp, request_queue};
use crate::engine::{Crew, Engine, EngineNotifications, Profile, Start};
use crate::faults::Faults;
use crate::lock::LockTable;
use crate::ttl::LONGEST;

/// An engine whose requests meet faults.
#[derive(Debug)]
pub(crate) struct Faulty<E> {
    inner: E,
    faults: Faults,
}

impl<E> Faulty<E> {
    pub(crate) fn new(inner: E, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

impl<E: Engine> Engine for Faulty<E> {
    fn profile(&self) -> Profile {
        Profile {
            // A write that fails has to be told.
            completes_when_queued: false,
            stamp: Stamp::Watched,
            // Locks meet faults too.
            keeps_locks: true,
            // What is read past the queue meets no fault.
            near_bytes: None,
            ..self.inner.profile()
        }
    }

    async fn start<S: Actor>(self, start: Start, crew: &mut Crew<S>) -> EngineNotifications {
        let Profile {
            stamp, keeps_locks, ..
        } = self.inner.profile();
        // The actors of a store are started on its runtime.
        let bounds = Bounds {
            length: QUEUE,
            bytes: usize::MAX,
            patience: LONGEST,
        };
        let (to_inner, receiver) = request_queue(&bounds, stamp, &Handle::current());
        let outer = start.queue;
        let inner = Start {
            queue: receiver,
            ..start
        };
        let notifications = self.inner.start(inner, crew).await;
        let setup = Setup {
            queue: outer,
            inner: to_inner.into_forwarder(),
            faults: self.faults,
            locks: (!keeps_locks).then(LockTable::new),
        };
        crew.add("engine of faults", FaultyEngine::spawn(setup)).await;
        notifications
    }
}
