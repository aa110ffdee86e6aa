//! What the engine counts while it hands out answers, and who hears of what they tell.

use std::sync::Arc;

use crate::error::Result;
use crate::events::Listeners;
use crate::request::{KeyChange, Operation};
use crate::stats::Stats;

/// The counts of the engine, and the listeners of its store.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) stats: Stats,
    listeners: Arc<Listeners>,
}

impl Tally {
    pub(super) fn new(listeners: Arc<Listeners>) -> Self {
        Self {
            stats: Stats::default(),
            listeners,
        }
    }

    /// Whether anybody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.listeners.any()
    }

    /// Tells listeners what an operation has done to its keys. An answer that is an error tells nothing.
    pub(super) fn tell<O: Operation>(&self, operation: &O, answer: &Result<O::Answer>) {
        if self.is_heard()
            && let Ok(answer) = answer
            && let Some(change) = O::change(answer)
        {
            operation
                .keys()
                .for_each(|key| self.listeners.tell_of(key.as_str(), change));
        }
    }

    pub(super) fn tell_of(&self, key: &str, change: KeyChange) {
        self.listeners.tell_of(key, change);
    }

    /// Tells listeners that all keys with this prefix were cleared.
    pub(super) fn tell_of_clearing(&self, prefix: &str, removed: u64) {
        self.listeners.tell_of_clearing(prefix, removed);
    }
}
