//! What the near cache is told of calls in several steps. Each step that changes a value names its key. An invalidation ends
//! with a barrier: another one may have removed what this one did not find any more.

use std::collections::BTreeMap;

use super::protocol::Step;
use crate::engines::redis::tracker::{OwnWork, Tracker};
use crate::request::EntryRequest;
use crate::stats::Stats;

/// The engine's side of the near cache, if there is one.
#[derive(Debug)]
pub(super) struct NearCalls {
    tracker: Option<Tracker>,
    /// The invalidations under way, by their numbers among the calls.
    invalidations: BTreeMap<u64, OwnWork>,
}

impl NearCalls {
    pub(super) fn new(tracker: Option<Tracker>) -> Self {
        Self {
            tracker,
            invalidations: BTreeMap::new(),
        }
    }

    /// A request was accepted.
    pub(super) fn accepted(&self, request: &EntryRequest) {
        if let Some(tracker) = &self.tracker
            && request.changes_entries()
        {
            tracker.changes(request.keys());
        }
    }

    /// A step was answered, or may have been carried out.
    pub(super) fn answered(&self, step: &Step) {
        if let (Some(tracker), Some(key)) = (&self.tracker, changed(step)) {
            tracker.removed(key);
        }
    }

    /// A clearing begins.
    pub(super) fn clearing(&self) -> Option<OwnWork> {
        self.tracker.as_ref().map(Tracker::begin_work)
    }

    /// An invalidation begins.
    pub(super) fn begin(&mut self, number: u64) {
        if let Some(tracker) = &self.tracker {
            self.invalidations.insert(number, tracker.begin_work());
        }
    }

    /// A call ends. Its caller has not been answered yet.
    pub(super) fn end(&mut self, number: u64) {
        if let Some(work) = self.invalidations.remove(&number) {
            work.raise_barrier();
        }
    }

    pub(super) fn report(&self, stats: &mut Stats) {
        if let Some(tracker) = &self.tracker {
            tracker.report(stats);
        }
    }

    /// Drops everything after a fault of the engine.
    pub(super) fn reset(&mut self) {
        self.invalidations.clear();
        if let Some(tracker) = &self.tracker {
            tracker.reset();
        }
    }

    /// From now on readers find nothing.
    pub(super) fn close(&self) {
        if let Some(tracker) = &self.tracker {
            tracker.close();
        }
    }
}

/// The key of the value that a step may change.
fn changed(step: &Step) -> Option<&str> {
    match step {
        Step::Put(_) | Step::Touch { .. } | Step::Change { .. } | Step::Cancel { .. } | Step::Kill { .. } => {
            Some(step.place())
        }
        Step::Look { .. }
        | Step::Register { .. }
        | Step::Cover { .. }
        | Step::Take { .. }
        | Step::End { .. }
        | Step::Mark { .. }
        | Step::Unwatch { .. }
        | Step::Scan { .. }
        | Step::Forget { .. } => None,
    }
}
