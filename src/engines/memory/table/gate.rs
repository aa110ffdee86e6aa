//! The one gate of changes: whatever changes an entry tells it first, and it tells the loads.
//!
//! The functions that change the map take a [`Told`], which only the gate makes. So a change that tells nothing does
//! not compile.

use super::super::expiry::Moment;
use super::super::slab::{NONE, Slot};
use super::Table;
use super::entry::Entry;
use crate::key::Key;

/// A change of an entry, or of a key without an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A caller writes it.
    Written,
    /// A load stores what it has made. Who loads from the key meanwhile may store that too.
    Stored,
    /// It gets another TTL, and at most a value in which that is noted.
    Renewed,
    /// A caller deletes it, or a clearing does.
    Deleted,
    /// A caller invalidates it.
    Invalidated,
    Expired,
    Evicted,
}

impl Change {
    /// Whether what is loaded from the key may be old now.
    fn ends_loads(self) -> bool {
        match self {
            Change::Written | Change::Deleted | Change::Invalidated => true,
            Change::Stored | Change::Renewed | Change::Expired | Change::Evicted => false,
        }
    }

    /// Whether an entry goes by itself.
    fn departs(self) -> bool {
        matches!(self, Change::Expired | Change::Evicted)
    }
}

/// The proof that the gate was told of a change.
#[derive(Debug)]
#[must_use = "a change that is told is made"]
pub(super) struct Told(());

impl Table {
    /// Tells of a change of this key, which is about to be made.
    pub(super) fn tell(&mut self, key: &Key, change: Change) -> Told {
        if change.ends_loads() && !self.leases.is_empty() {
            self.mutate(|table| table.leases.invalidate(key, &mut table.dependencies));
        }
        debug_assert!(
            !change.ends_loads() || self.dependencies.loads_of(key).is_empty(),
            "no load survives a change of what it is made from"
        );
        Told(())
    }

    /// Tells of a change of an entry, which is about to be made.
    pub(super) fn tell_of(&mut self, slot: Slot, change: Change) -> Told {
        if self.leases.is_empty() {
            return Told(());
        }
        let Entry { key, edges, .. } = &self.entries[slot];
        if change.ends_loads() {
            let key = key.clone();
            return self.tell(&key, change);
        }
        // What this entry depends on does not lead any more to a load that has read it and does not say so yet.
        if change.departs() && *edges != NONE {
            self.leases.note(key);
        }
        Told(())
    }

    /// Tells that all keys with this prefix change. Ends the loads that depend on any of them.
    pub(crate) fn tell_of_all(&mut self, prefix: &str) {
        self.mutate(|table| table.leases.invalidate_all(prefix, &mut table.dependencies));
    }

    /// Tells that a value of `key` was given out and is not stored, and that what it depends on leads to its key as long
    /// as anything that is known depends on that. For a load that has read it and does not say so yet, that is too short.
    pub(super) fn tell_of_given(&mut self, key: &Key) {
        self.mutate(|table| table.leases.note(key));
    }

    /// Tells that a value of `key` was given out and is not stored. Ends the loads that depend on `key`, because they
    /// may have read that value.
    pub(super) fn tell_of_unstored(&mut self, key: &Key) {
        self.mutate(|table| table.leases.invalidate_derived(key, &mut table.dependencies));
    }

    pub(super) fn expire_leases(&mut self, now: Moment) {
        self.mutate(|table| table.leases.expire(now, &mut table.dependencies));
    }
}
