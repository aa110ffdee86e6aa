//! The functions that change the map, each with the byte count that goes with it.
//!
//! One inserts and one removes. Each takes the proof that the [`gate`](super::gate) was told.

use super::super::eviction::Node;
use super::super::expiry::{Moment, NO_SEAT};
use super::super::held::Held;
use super::super::slab::{NONE, Slot};
use super::Table;
use super::entry::Entry;
use super::gate::{Change, Told};
use crate::key::Key;
use crate::request::KeyChange;
use crate::value::Value;
use crate::weigher;

/// Why an entry leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    Deleted,
    /// A clearing takes it. Its end is told, and not each entry.
    Cleared,
    Expired,
    Evicted,
    Invalidated,
}

impl Departure {
    /// What listeners are told.
    fn told(self) -> Option<KeyChange> {
        match self {
            Departure::Deleted => Some(KeyChange::Deleted),
            Departure::Cleared => None,
            Departure::Expired => Some(KeyChange::Expired),
            Departure::Evicted => Some(KeyChange::Evicted),
            Departure::Invalidated => Some(KeyChange::Invalidated),
        }
    }
}

impl Table {
    /// Runs a mutation: if it panics, the table is torn.
    pub(super) fn mutate<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> T {
        self.torn = true;
        let result = change(self);
        self.torn = false;
        result
    }

    /// The one place where entries come in.
    pub(super) fn insert(&mut self, key: Key, value: Value, _: &Told) -> Slot {
        self.mutate(|table| {
            let hash = key.hash();
            let entry = Entry {
                key,
                held: Held::Alone(value),
                due: Moment::NEVER,
                seat: NO_SEAT,
                edges: NONE,
                era: table.era,
                node: Node::default(),
            };
            table.bytes += entry.bytes();
            let slot = table.entries.insert(entry);
            let entries = &table.entries;
            table.index.insert(hash, slot, |slot| entries[slot].key.hash());
            table.policy.insert(&mut table.entries, slot);
            slot
        })
    }

    /// The one place where entries go out.
    pub(super) fn remove(&mut self, slot: Slot, departure: Departure, _: Told) -> Entry {
        self.retract(slot);
        let entry = self.mutate(|table| {
            if departure != Departure::Evicted {
                table.policy.remove(&mut table.entries, slot);
            }
            table.bytes -= table.entries[slot].bytes();
            if table.entries[slot].seat != NO_SEAT {
                table.expiry.remove(table.entries[slot].seat, &mut table.entries);
                table.bytes -= weigher::DEADLINE;
            }
            let hash = table.entries[slot].key.hash();
            let entries = &table.entries;
            table.index.remove(hash, slot, |slot| entries[slot].key.hash());
            let entry = table.entries.remove(slot);
            match departure {
                Departure::Invalidated => table.dependencies.release(entry.edges),
                _ => table.dependencies.leave_tombstone(&entry.key, entry.edges),
            }
            table.forget_tombstones(false);
            let counters = &mut table.counters;
            *match departure {
                Departure::Deleted | Departure::Cleared => &mut counters.deletes,
                Departure::Expired => &mut counters.expired,
                Departure::Evicted => &mut counters.evicted,
                Departure::Invalidated => &mut counters.invalidated,
            } += 1;
            entry
        });
        if let Some(change) = departure.told() {
            self.listeners.tell_of(entry.key.as_str(), change);
        }
        entry
    }

    /// Changes the value of an entry in place.
    pub(super) fn replace_value(&mut self, slot: Slot, value: Value, _: &Told) {
        self.retract(slot);
        self.mutate(|table| {
            let before = table.entries[slot].bytes();
            let entry = &mut table.entries[slot];
            entry.held = Held::Alone(value);
            table.bytes = table.bytes - before + entry.bytes();
            table.policy.update(&mut table.entries, slot, before as u64);
        });
    }

    /// Moves an entry's deadline.
    pub(super) fn set_due(&mut self, slot: Slot, due: Moment, _: Told) {
        self.retract(slot);
        self.mutate(|table| {
            let was = std::mem::replace(&mut table.entries[slot].due, due);
            match (table.entries[slot].seat, due) {
                (NO_SEAT, Moment::NEVER) => {}
                (NO_SEAT, due) => {
                    table.expiry.insert(slot, due, &mut table.entries);
                    table.bytes += weigher::DEADLINE;
                }
                (seat, Moment::NEVER) => {
                    table.expiry.remove(seat, &mut table.entries);
                    table.bytes -= weigher::DEADLINE;
                }
                // A deadline that moves away is moved in the heap when its old time has come: most
                // writes renew a deadline, few let it come.
                (_, due) if due >= was => {}
                (seat, due) => table.expiry.update(seat, due, &mut table.entries),
            }
        });
    }

    /// Evicts until everything fits. What nothing depends on any more goes first.
    pub(super) fn make_room(&mut self) {
        if self.bytes() <= self.capacity {
            return;
        }
        self.count_near_hits();
        while self.bytes() > self.capacity {
            if self.mutate(|table| table.dependencies.forget_dying()) {
                continue;
            }
            let Some(slot) = self.mutate(|table| table.policy.victim(&mut table.entries)) else {
                return self.mutate(|table| table.forget_tombstones(true));
            };
            let told = self.tell_of(slot, Change::Evicted);
            self.remove(slot, Departure::Evicted, told);
        }
    }
}
