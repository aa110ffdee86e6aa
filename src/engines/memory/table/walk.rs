//! Work on many entries: reclaiming, scanning, clearing, invalidating. Each call does one step of it.

use super::super::dependency::{Dependent, NameId};
use super::super::expiry::Moment;
use super::super::slab::Slot;
use super::gate::{Change, Told};
use super::{Departure, Entry, Table};
use crate::key::Key;
use crate::request::{Cursor, Page};

/// How many slots one page of a scan looks at, and the most keys it holds.
const PAGE: u32 = 512;

impl Table {
    /// Looks at no more than `limit` entries whose deadline may have passed, and reclaims those whose deadline has.
    /// Returns how many it looked at.
    pub(crate) fn reclaim(&mut self, now: Moment, limit: usize) -> usize {
        let mut looked_at = 0;
        while looked_at < limit
            && let Some((earliest, slot)) = self.expiry.first()
            && earliest <= now
        {
            let Entry { due, seat, .. } = self.entries[slot];
            if due <= now {
                let told = self.tell_of(slot, Change::Expired);
                self.remove(slot, Departure::Expired, told);
            } else {
                self.mutate(|table| table.expiry.update(seat, due, &mut table.entries));
            }
            looked_at += 1;
        }
        looked_at
    }

    /// The earliest time at which an entry may expire.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.expiry.first().map(|(due, _)| due)
    }

    /// The keys that begin with `prefix`, from slot `cursor` on, a page at a time. An entry that is
    /// there all the while is in exactly one page.
    pub(crate) fn scan(&self, prefix: &str, cursor: u64, now: Moment) -> Page {
        let end = u64::from(self.entries.end());
        let stop = end.min(cursor.saturating_add(u64::from(PAGE)));
        let keys = (cursor..stop)
            .filter_map(|slot| self.entries.get(slot as Slot))
            .filter(|entry| entry.key.as_str().starts_with(prefix) && entry.due > now)
            .map(|entry| entry.key.text().clone())
            .collect();
        Page {
            keys,
            next: (stop < end).then_some(Cursor {
                place: stop,
                ..Cursor::default()
            }),
        }
    }

    /// Begins a clearing: the era before which entries are removed by [`clear`](Self::clear).
    pub(crate) fn begin_era(&mut self, prefix: &str) -> u32 {
        self.tell_of_all(prefix);
        self.era = self.era.wrapping_add(1);
        self.era
    }

    /// Removes the entries written before `era` whose keys begin with `prefix`, among the next
    /// `limit` slots from `cursor` on. Returns how many were alive, and where to go on.
    pub(crate) fn clear(
        &mut self,
        prefix: &str,
        era: u32,
        cursor: Slot,
        limit: u32,
        now: Moment,
    ) -> (u64, Option<Slot>) {
        let stop = cursor.saturating_add(limit).min(self.entries.end());
        let mut removed = 0;
        for slot in cursor..stop {
            let Some(entry) = self.entries.get(slot) else {
                continue;
            };
            // Eras are compared as the distance around a circle, so that they may wrap.
            let older = (entry.era.wrapping_sub(era) as i32) < 0;
            if older && entry.key.as_str().starts_with(prefix) {
                // It may have been read since the clearing began, by what is being loaded since.
                let told = self.tell_of(slot, Change::Deleted);
                removed += u64::from(self.remove_at(slot, Departure::Cleared, told, now));
            }
        }
        (removed, (stop < self.entries.end()).then_some(stop))
    }

    /// Ends a clearing that has removed so many entries.
    pub(crate) fn end_clearing(&mut self, prefix: &str, removed: u64) {
        // What is being loaded may have been read from what was still there.
        self.tell_of_all(prefix);
        self.listeners.tell_of_clearing(prefix, removed);
    }

    /// Begins an invalidation of `key` by removing its entry. Returns whether an entry was alive, and the name whose
    /// dependents are to be drained.
    pub(crate) fn invalidate(&mut self, key: &Key, now: Moment) -> (bool, Option<NameId>) {
        let told = self.tell(key, Change::Invalidated);
        let alive = match self.locate(key) {
            Some(slot) => self.remove_at(slot, Departure::Invalidated, told, now),
            None => false,
        };
        (alive, self.mutate(|table| table.dependencies.invalidate(key)))
    }

    /// Removes one dependent of an invalidated name. Returns whether an alive entry was removed, and the name to drain
    /// because of it. Returns `None` if no dependent is left and the name is forgotten.
    pub(crate) fn drain(&mut self, name: NameId, now: Moment) -> Option<(bool, Option<NameId>)> {
        match self.dependencies.dependent(name) {
            Some(Dependent::Entry(slot)) => {
                let key = self.entries[slot].key.clone();
                Some(self.invalidate(&key, now))
            }
            Some(Dependent::Tombstone(tombstone)) => {
                if !self.leases.is_empty() {
                    let key = self.dependencies.key(tombstone).clone();
                    // There is no entry of that key.
                    let _ = self.tell(&key, Change::Invalidated);
                    // What kept the tombstone may have been what was being loaded.
                    if self.dependencies.dependent(name) != Some(Dependent::Tombstone(tombstone)) {
                        return Some((false, None));
                    }
                }
                let invalidated = self.mutate(|table| table.dependencies.invalidate_name(tombstone));
                Some((false, invalidated.then_some(tombstone)))
            }
            // A name is invalidated once its leases are dead, and those have no edges any more.
            Some(Dependent::Load(_)) | None => {
                self.mutate(|table| table.dependencies.forget_invalidated(name));
                None
            }
        }
    }

    /// Removes an entry. Counts it as expired if its deadline has passed. Returns whether it was alive.
    fn remove_at(&mut self, slot: Slot, departure: Departure, told: Told, now: Moment) -> bool {
        let expired = self.entries[slot].due <= now;
        let departure = if expired { Departure::Expired } else { departure };
        self.remove(slot, departure, told);
        !expired
    }
}
