//! What is explored.

use std::time::Duration;

use super::actor::User;
use super::manner::{Manner, Shortcut};

/// What does not change while a case is explored.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// The keys of each slot, and the node of the slot.
    pub(super) slots: Vec<(Vec<&'static str>, usize)>,
    pub(super) actors: Vec<User>,
    /// How many states it may have.
    pub(super) most: usize,
    /// So many of the actors, the first ones, have ended before the exploration begins.
    pub(super) ended: usize,
    /// Names of which an invalidation at any time has to find everything.
    pub(super) roots: Vec<&'static str>,
    pub(super) failovers: Vec<Failover>,
    /// How much time passes, and how often.
    pub(super) tick: Duration,
    pub(super) ticks: u32,
    /// How many steps are carried out whose answers are lost, so that they are sent again.
    pub(super) resent: u32,
    pub(super) page: usize,
    pub(super) shortcut: Option<Shortcut>,
    pub(super) plant: Option<Plant>,
}

/// What becomes of a node, once at most for each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failover {
    /// A replica is promoted that has everything.
    Clean(usize),
    /// A replica is promoted that has not received the last change.
    Stale(usize),
    /// The node restarts without data.
    Empty(usize),
}

/// Shortcuts that a client may take in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plant {
    WriteThenRegister,
    ForgetBeforeSubtree,
    /// A stamp is used over a link that it did not come over.
    KeepStamp,
    /// A cursor is used over a link that it did not come over.
    KeepCursor,
    /// What was killed through one name is not killed again through another.
    KillOnce,
    /// A change does not wait for the loads that it cancels.
    AnswerThenCancel,
    /// A load tells its names that it has ended before it is stored.
    UnwatchThenPut,
}

impl Case {
    pub(super) fn manner(&self, epoch: u64) -> Manner {
        Manner {
            shortcut: self.shortcut,
            page: self.page,
            backwards: epoch % 2 == 1,
        }
    }
}

/// The node and the slot of a key.
pub(super) fn place(key: &str, case: &Case) -> (usize, usize) {
    let slot = case.slots.iter().position(|(keys, _)| keys.contains(&key));
    let slot = slot.expect("each key has a slot");
    (case.slots[slot].1, slot)
}
