//! The steps, and what they answer.

use compact_str::CompactString;

use super::life::Life;
use super::seen::Seen;
use super::stamp::Stamp;
use crate::value::Value;

/// The number of a link to the owner of a slot; see [the protocol](super).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Epoch(pub(in crate::engines::redis) u64);

/// A link has a number, and each time at which a slot gets an owner has one. Both together are an epoch.
impl Epoch {
    pub(in crate::engines::redis) fn of(link: u32, ownership: u32) -> Self {
        Self(u64::from(link) << 32 | u64::from(ownership))
    }

    /// The same over another link.
    pub(in crate::engines::redis) fn over(self, link: u32) -> Self {
        Self::of(link, self.ownership())
    }

    pub(in crate::engines::redis) fn link(self) -> u32 {
        // The upper half.
        (self.0 >> 32) as u32
    }

    pub(in crate::engines::redis) fn ownership(self) -> u32 {
        // The lower half, cut off.
        self.0 as u32
    }
}

/// One command on one slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum Step {
    /// Reads the stamp of the last invalidation in the key's slot. With a token, the writer's intent is noted too.
    Look {
        key: CompactString,
        /// For a slot that has none.
        fresh: Stamp,
        intent: Option<Stamp>,
    },
    /// Registers a member under a name.
    Register {
        name: CompactString,
        member: CompactString,
        stamp: Stamp,
        life: Life,
        /// A load of the member that names the name.
        watch: Option<Watch>,
    },
    /// Notes that a name is registered under its own names for longer than its record says.
    Cover { name: CompactString, cover: Cover },
    /// Writes a value.
    Put(Box<Put>),
    /// Gives a value another TTL.
    Touch {
        key: CompactString,
        ttl: Life,
        cover: Option<Cover>,
        /// Whether the value is wanted.
        reads: bool,
    },
    /// Changes a value in another way than by a write.
    Change { key: CompactString, change: Act },
    /// Takes the lease of a key, unless a load has it.
    Take {
        key: CompactString,
        lease: Stamp,
        life: Life,
        /// What the load reads. A clearing of one of these ends the lease.
        names: Vec<CompactString>,
        /// For a slot that has no stamp.
        fresh: Stamp,
        reads: bool,
        wanted: usize,
        /// Whether the names are wanted that the value depends on which there is.
        keeps_names: bool,
    },
    /// Ends a lease without storing a value.
    End {
        key: CompactString,
        lease: Stamp,
        given: Given,
    },
    /// Ends the loads under a prefix. Notes a clearing, or that it has ended.
    Mark {
        /// A key of the slot.
        place: CompactString,
        prefix: CompactString,
        mark: Stamp,
        life: Option<Life>,
    },
    /// Notes that a load has ended.
    Unwatch {
        name: CompactString,
        member: CompactString,
        lease: Stamp,
    },
    /// Ends the lease of a load, and removes the value that it has stored.
    Cancel { key: CompactString, lease: Stamp },
    /// Removes a value, and ends the loads and intents of its key.
    Kill { key: CompactString, stamp: Stamp },
    /// Reads a page of the registrations under a name.
    Scan {
        name: CompactString,
        cursor: u64,
        /// The link that the cursor came over.
        epoch: Option<Epoch>,
    },
    /// Removes registrations, if their stamps are still these.
    Forget {
        name: CompactString,
        members: Vec<Member>,
        epoch: Epoch,
    },
}

/// The load of a member, as it is noted under the names of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Watch {
    pub(super) lease: Stamp,
    pub(super) life: Life,
}

/// For how long a key is registered under the names that its record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Cover {
    /// Which record.
    pub(super) record: Stamp,
    /// The slot's time from which `life` counts.
    pub(super) at: u64,
    pub(super) life: Life,
    pub(super) epoch: Epoch,
}

/// A write of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Put {
    pub(super) key: CompactString,
    pub(super) value: Value,
    pub(super) ttl: Life,
    pub(super) condition: Condition,
    /// The link over which the lease was taken, or the kills were seen.
    pub(super) bound: Option<Epoch>,
    /// What the value depends on. A write without names needs no tie.
    pub(super) tie: Option<Tie>,
}

/// How a value is tied to its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Tie {
    pub(super) names: Vec<CompactString>,
    /// What shows that no invalidation came between.
    pub(super) proof: Proof,
    /// What was seen before the key was registered.
    pub(super) seen: Seen,
    /// How long after `seen` the key is registered.
    pub(super) life: Life,
    /// The record's mark.
    pub(super) record: Stamp,
}

/// What shows that no invalidation has killed the key since it was registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum Proof {
    /// No key of the slot was killed.
    Slot,
    /// The intent is still noted.
    Intent(Stamp),
    /// The lease lives, which is the condition.
    Lease,
}

/// What must hold of a key for a write to be made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum Condition {
    Always,
    Absent,
    Present,
    Holds(Value),
    /// The lease lives. It ends with the write.
    Leased(Stamp),
    /// The same, and there is a value. If there is none, the lease goes on.
    Kept(Stamp),
    /// Always. The answer is to have the value that there was.
    Swap,
}

/// A plain change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum Act {
    Delete,
    /// Deletes, and answers the value that there was.
    Take,
    DeleteIf(Value),
    /// Adds to a counter. One that this creates gets the TTL.
    Incr {
        by: i64,
        ttl: Life,
    },
}

/// What a load has given out that is not stored. Loads that name the key may have read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum Given {
    Nothing,
    /// A value that depends on nothing. If its lease has ended, it may be older than a change.
    Free,
    /// A value that depends on names. If these change later, nothing leads from them to the loads that have read it.
    Tied,
}

/// A registration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Member {
    pub(super) key: CompactString,
    pub(super) stamp: Stamp,
}

/// A load that names a key which was changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Watcher {
    pub(super) key: CompactString,
    pub(super) lease: Stamp,
}

impl Condition {
    /// The lease of a loaded value.
    pub(super) fn lease(&self) -> Option<Stamp> {
        match self {
            Self::Leased(lease) | Self::Kept(lease) => Some(*lease),
            Self::Always | Self::Absent | Self::Present | Self::Holds(_) | Self::Swap => None,
        }
    }
}

impl Step {
    /// A key of the slot that this is for.
    pub(in crate::engines::redis) fn place(&self) -> &str {
        match self {
            Self::Look { key, .. }
            | Self::Touch { key, .. }
            | Self::Change { key, .. }
            | Self::Take { key, .. }
            | Self::End { key, .. }
            | Self::Cancel { key, .. }
            | Self::Kill { key, .. } => key,
            Self::Register { name, .. }
            | Self::Cover { name, .. }
            | Self::Unwatch { name, .. }
            | Self::Scan { name, .. }
            | Self::Forget { name, .. } => name,
            Self::Mark { place, .. } => place,
            Self::Put(put) => &put.key,
        }
    }

    /// The only link over which this may be carried out.
    pub(in crate::engines::redis) fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Put(put) => put.bound,
            Self::Touch { cover, .. } => cover.map(|cover| cover.epoch),
            Self::Cover { cover, .. } => Some(cover.epoch),
            Self::Scan { epoch, .. } => *epoch,
            Self::Forget { epoch, .. } => Some(*epoch),
            Self::Look { .. }
            | Self::Register { .. }
            | Self::Change { .. }
            | Self::Take { .. }
            | Self::End { .. }
            | Self::Unwatch { .. }
            | Self::Mark { .. }
            | Self::Cancel { .. }
            | Self::Kill { .. } => None,
        }
    }

    /// Whether this reads or changes the value or the lease of `key` for a call on the key.
    pub(in crate::engines::redis) fn is_of_value(&self, key: &str) -> bool {
        let is_one = matches!(
            self,
            Self::Look { .. }
                | Self::Put(_)
                | Self::Touch { .. }
                | Self::Change { .. }
                | Self::Take { .. }
                | Self::End { .. }
        );
        is_one && self.place() == key
    }

    /// Whether this may be sent again when nobody knows if it was carried out.
    pub(in crate::engines::redis) fn is_repeatable(&self) -> bool {
        !matches!(
            self,
            Self::Put(_) | Self::Touch { .. } | Self::Change { .. } | Self::Take { .. } | Self::End { .. }
        )
    }
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum Next<T> {
    /// These steps, and the answers to others that are under way.
    Steps(Vec<Step>),
    /// All is done but to send `rest`, whose answers nobody waits for.
    Done { output: T, rest: Vec<Step> },
}

impl<T> Next<T> {
    pub(in crate::engines::redis) fn map<U>(self, output: impl FnOnce(T) -> U) -> Next<U> {
        match self {
            Self::Steps(steps) => Next::Steps(steps),
            Self::Done { output: old, rest } => Next::Done {
                output: output(old),
                rest,
            },
        }
    }

    pub(super) fn done(output: T) -> Self {
        let rest = Vec::new();
        Self::Done { output, rest }
    }
}
