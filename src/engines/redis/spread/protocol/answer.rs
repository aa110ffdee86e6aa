//! What steps answer.

use compact_str::CompactString;
use tokio::time::Instant;

use super::life::Life;
use super::seen::Seen;
use super::stamp::Stamp;
use super::step::{Epoch, Member, Watcher};
use crate::value::Value;

/// The answer to a step, and the link that it came over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Answered {
    pub(in crate::engines::redis) answer: Answer,
    pub(in crate::engines::redis) epoch: Epoch,
}

impl Answered {
    /// The stamp of the slot's last invalidation, if the answer tells it.
    pub(super) fn seen(&self, now: Instant) -> Option<Seen> {
        let sight = match &self.answer {
            Answer::Looked(sight) | Answer::Taken { sight, .. } => sight,
            Answer::Put { sight, .. } => sight.as_ref()?,
            _ => return None,
        };
        Some(Seen {
            stamp: sight.stamp,
            at: sight.at,
            learned: now,
            epoch: self.epoch,
        })
    }
}

/// What a server tells of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Sight {
    /// The stamp of its last invalidation.
    pub(super) stamp: Stamp,
    /// Its clock, in milliseconds.
    pub(super) at: u64,
}

/// What a step answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum Answer {
    /// The step was not carried out, because its link is gone.
    Void,
    /// The step is done, and tells nothing.
    Done,
    Looked(Sight),
    Registered {
        /// The record of the name, if the name is to be registered for longer.
        above: Option<Above>,
    },
    Put {
        put: PutAnswer,
        /// `None` after a write without a tie.
        sight: Option<Sight>,
    },
    Touched {
        changed: bool,
        value: Option<Value>,
    },
    /// The key has to be registered for longer before it can be touched: for so long from now on.
    Short {
        above: Above,
        needed: Life,
    },
    Changed {
        reply: Changed,
        watchers: Vec<Watcher>,
    },
    Found(Present),
    Held {
        lease: Stamp,
        /// How many milliseconds it lives.
        left: u64,
    },
    Taken {
        present: Option<Present>,
        sight: Sight,
        /// What the value depends on, if that was asked for.
        names: Vec<CompactString>,
    },
    Ended {
        watchers: Vec<Watcher>,
    },
    Marked {
        /// Whether the clearing was noted until now.
        noted: bool,
    },
    Killed {
        /// Whether there was a value.
        removed: bool,
        /// Whether others are registered under the key.
        below: bool,
    },
    Page {
        members: Vec<Member>,
        /// Where to go on, 0 if this was the last page.
        cursor: u64,
    },
}

/// The record of a key whose own registrations end too early.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Above {
    pub(super) names: Vec<CompactString>,
    pub(super) record: Stamp,
    /// The slot's time.
    pub(super) at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum PutAnswer {
    Written {
        /// What there was, for a swap.
        held: Option<Value>,
        watchers: Vec<Watcher>,
    },
    /// The condition does not hold. The loads that name the key have read what is not stored, if this is one.
    Unmet { watchers: Vec<Watcher> },
    /// An invalidation may have come between.
    Refused,
    /// The key has to be registered for longer: for so long from now on.
    Short(Life),
}

/// A value that is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Present {
    pub(in crate::engines::redis) value: Value,
    /// What `PTTL` answers.
    pub(in crate::engines::redis) left: i64,
}

/// What a plain change answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum Changed {
    /// Whether a value was removed.
    Removed(bool),
    Taken(Option<Value>),
    Sum(i64),
}
