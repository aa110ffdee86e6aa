//! What a client knows of the last invalidation in a slot.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answered;
use super::stamp::Stamp;
use super::step::{Epoch, Step};
use crate::engines::redis::cluster::slot_of;

/// For so long a client relies on a stamp. The older it is, the longer registrations are kept.
pub(super) const KNOWN: Duration = Duration::from_secs(300);

/// The stamp of a slot's last invalidation, and when it was that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Seen {
    pub(super) stamp: Stamp,
    /// The slot's time: its server's clock, in milliseconds.
    pub(super) at: u64,
    /// The client's time when the answer came.
    pub(super) learned: Instant,
    /// The link that the answer came over. Over another one, the stamp says nothing.
    pub(super) epoch: Epoch,
}

impl Seen {
    /// What was learned at a time.
    #[cfg(test)]
    pub(in crate::engines::redis) fn at(learned: Instant) -> Self {
        Self {
            stamp: Stamp::new(0, 0),
            at: 0,
            learned,
            epoch: Epoch::default(),
        }
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.learned)
    }

    pub(super) fn is_known(&self, now: Instant) -> bool {
        self.age(now) <= KNOWN
    }
}

/// The newest stamp of each slot that a client has seen. It has 16,384 entries at most.
#[derive(Debug, Default)]
pub(in crate::engines::redis) struct Seens(HashMap<u16, Seen>);

impl Seens {
    /// The stamp to begin a write of the key with, if there is one. `epoch` is that of the link that the write would go
    /// over.
    pub(in crate::engines::redis) fn of(&self, key: &str, epoch: Epoch, now: Instant) -> Option<Seen> {
        let seen = self.0.get(&slot_of(key.as_bytes())).copied()?;
        (seen.epoch == epoch && seen.is_known(now)).then_some(seen)
    }

    /// Takes in what an answer tells, if it tells a stamp.
    pub(in crate::engines::redis) fn learn(&mut self, step: &Step, answered: &Answered, now: Instant) {
        if let Some(seen) = answered.seen(now) {
            self.0.insert(slot_of(step.place().as_bytes()), seen);
        }
    }
}
