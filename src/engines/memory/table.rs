//! The map of one store: entries, their bytes, their deadlines, and who goes when room is short.
//!
//! Pure: no clock, no I/O. One function inserts and one removes; between a change to the map and the
//! change to its byte count there is no second place.

mod changes;
mod entry;
mod gate;
#[cfg(test)]
mod invariants;
mod lease;
mod near;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use self::changes::Departure;
use self::entry::Entry;
use self::gate::{Change, Told};
use super::dependency::Dependencies;
use super::eviction::Policy;
use super::expiry::{Expiry, Moment};
use super::figures::Figures;
use super::index::Index;
use super::leases::Leases;
use super::slab::{Slab, Slot};
use crate::events::{Event, Listeners};
use crate::key::Key;
use crate::near::NearWriter;
use crate::request::{KeyChange, Write};
use crate::value::Value;

/// The entries of one store.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Slab<Entry>,
    index: Index,
    expiry: Expiry,
    dependencies: Dependencies,
    /// Loads under way. The gate tells them of each change before it is made.
    leases: Leases,
    policy: Policy,
    /// Entries that readers find without the engine.
    near: Option<NearWriter>,
    /// The listeners, which hear of each change after it is made.
    listeners: Arc<Listeners>,
    capacity: usize,
    /// Bytes of all entries; names and edges count their own.
    bytes: usize,
    era: u32,
    /// Set while a mutation is under way: a panic that finds it set may have left a torn table.
    torn: bool,
    counters: Figures,
}

impl Table {
    /// A table of at most `capacity` bytes, with or without a near cache.
    pub(crate) fn new(capacity: usize, near: Option<NearWriter>) -> Self {
        Self {
            entries: Slab::new(),
            index: Index::new(),
            expiry: Expiry::new(),
            dependencies: Dependencies::new(),
            leases: Leases::default(),
            policy: Policy::new(capacity as u64),
            near,
            listeners: Arc::default(),
            capacity,
            bytes: 0,
            era: 0,
            torn: false,
            counters: Figures::default(),
        }
    }

    /// Tells these listeners what changes from now on.
    pub(crate) fn heard_by(mut self, listeners: Arc<Listeners>) -> Self {
        self.listeners = listeners;
        self
    }

    /// Forgets every entry, as after a fault; the counters stay.
    pub(crate) fn reset(&mut self) {
        let mut near = self.near.take();
        if let Some(near) = &mut near {
            near.flush();
            self.listeners.tell_all(&Event::NearCacheFlushed);
        }
        let counters = Figures {
            resets: self.counters.resets + 1,
            ..self.counters
        };
        let listeners = self.listeners.clone();
        *self = Self {
            counters,
            ..Self::new(self.capacity, near).heard_by(listeners)
        };
        self.listeners.tell_all(&Event::Reset);
    }

    /// Whether a mutation began and did not end.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Leaves the table as a panic in the middle of a mutation would.
    #[cfg(test)]
    pub(crate) fn tear(&mut self) {
        self.torn = true;
    }

    /// Bytes held by entries and all that is kept beside them: never more than the capacity after a change. Readers who share
    /// models may have taken up to the near cache's room since.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.dependencies.bytes() + self.near.as_ref().map_or(0, NearWriter::bytes)
    }

    pub(super) fn stats(&self) -> Figures {
        let near = self.near.as_ref();
        Figures {
            entries: self.entries.len() as u64,
            bytes: self.bytes() as u64,
            near_entries: near.map_or(0, |near| near.len() as u64),
            near_bytes: near.map_or(0, |near| near.bytes() as u64),
            near_flushes: near.map_or(0, NearWriter::flushes),
            ..self.counters
        }
    }

    pub(crate) fn get(&mut self, key: &Key, now: Moment) -> Option<Value> {
        let slot = self.find(key, now);
        self.read(slot)
    }

    /// Reads the values of many keys, and counts a use of each. Publishes the entries that were read before.
    ///
    /// All keys are looked up before the first value is read, so that the processor fetches their memory side by side.
    pub(crate) fn get_many(&mut self, keys: &[Key], now: Moment) -> Vec<Option<Value>> {
        let slots: Vec<Option<Slot>> = keys.iter().map(|key| self.find(key, now)).collect();
        let values = slots.iter().map(|slot| self.read(*slot)).collect();
        self.publish_read(slots.into_iter().flatten());
        values
    }

    pub(crate) fn contains(&self, key: &Key, now: Moment) -> bool {
        self.find(key, now).is_some()
    }

    /// The value, without counting a use.
    pub(crate) fn peek(&self, key: &Key, now: Moment) -> Option<&Value> {
        self.find(key, now).map(|slot| self.entries[slot].value())
    }

    /// The value with the time that is left (`None` for ever), without counting a use.
    pub(crate) fn peek_aged(&self, key: &Key, now: Moment) -> Option<(&Value, Option<Duration>)> {
        let slot = self.find(key, now)?;
        Some((self.entries[slot].value(), self.remaining(slot, now)))
    }

    /// Writes an entry, with its TTL and dependencies or without any, whatever was there.
    pub(crate) fn write(&mut self, write: Write, now: Moment) {
        let told = self.tell(&write.key, Change::Written);
        let slot = self.put(write, now, told);
        self.entries[slot].era = self.era;
        self.make_room();
    }

    /// Writes an entry that was made from the one that it replaces. Keeps the old era, so that a running `clear` still
    /// removes the entry.
    pub(crate) fn overwrite(&mut self, write: Write, now: Moment) {
        let told = self.tell(&write.key, Change::Written);
        self.put(write, now, told);
        self.make_room();
    }

    fn put(&mut self, write: Write, now: Moment, told: Told) -> Slot {
        let Write {
            key,
            value,
            ttl,
            depends_on,
        } = write;
        self.counters.sets += 1;
        self.reclaim_expired(&depends_on, now);
        let slot = match self.locate(&key) {
            Some(slot) => {
                self.replace_value(slot, value, &told);
                slot
            }
            None => self.insert(key, value, &told),
        };
        self.set_due(slot, due(ttl, now), told);
        let edges = self.dependencies.attach(slot, &depends_on);
        let released = std::mem::replace(&mut self.entries[slot].edges, edges);
        // What the old edges alone kept goes now, and not what the new ones keep as well.
        self.dependencies.release(released);
        let key = &self.entries[slot].key;
        self.dependencies.end_tombstone(key);
        self.listeners.tell_of(key.as_str(), KeyChange::Written);
        slot
    }

    /// Reclaims what has expired under these names, before something new depends on them: that is not
    /// derived from it.
    fn reclaim_expired(&mut self, names: &[Key], now: Moment) {
        if self.next_due().is_none_or(|due| due > now) {
            return;
        }
        for name in names {
            if let Some(slot) = self.locate(name)
                && self.entries[slot].due <= now
            {
                let told = self.tell_of(slot, Change::Expired);
                self.remove(slot, Departure::Expired, told);
            }
        }
    }

    /// Changes a value and nothing else of its entry: false if there is no entry.
    pub(crate) fn rewrite(&mut self, key: &Key, value: Value, now: Moment) -> bool {
        let told = self.tell(key, Change::Written);
        let Some(slot) = self.find(key, now) else {
            return false;
        };
        self.counters.sets += 1;
        self.replace_value(slot, value, &told);
        self.listeners.tell_of(key.as_str(), KeyChange::Written);
        self.make_room();
        true
    }

    /// Gives an entry a new TTL, or none: false if there is no entry.
    pub(crate) fn expire(&mut self, key: &Key, ttl: Option<Duration>, now: Moment) -> bool {
        let Some(slot) = self.find(key, now) else {
            return false;
        };
        let told = self.tell_of(slot, Change::Renewed);
        self.set_due(slot, due(ttl, now), told);
        self.make_room();
        true
    }

    /// Gives an entry a new TTL and the value in which that is noted, which is no change of what it holds: false
    /// if there is no entry.
    pub(crate) fn renew(&mut self, key: &Key, value: Value, ttl: Option<Duration>, now: Moment) -> bool {
        let Some(slot) = self.find(key, now) else {
            return false;
        };
        let told = self.tell_of(slot, Change::Renewed);
        self.replace_value(slot, value, &told);
        self.set_due(slot, due(ttl, now), told);
        self.make_room();
        true
    }

    /// Removes an entry: its value, if it was there.
    pub(crate) fn delete(&mut self, key: &Key, now: Moment) -> Option<Value> {
        let told = self.tell(key, Change::Deleted);
        let slot = self.find(key, now)?;
        Some(self.remove(slot, Departure::Deleted, told).value().clone())
    }

    /// The slot of an entry, expired or not.
    fn locate(&self, key: &Key) -> Option<Slot> {
        self.index.find(key.hash(), |slot| self.entries[slot].key == *key)
    }

    fn find(&self, key: &Key, now: Moment) -> Option<Slot> {
        self.locate(key).filter(|slot| self.entries[*slot].due > now)
    }

    /// The value at a slot that was looked up: a use of it, if there is one.
    fn read(&mut self, slot: Option<Slot>) -> Option<Value> {
        let Some(slot) = slot else {
            self.counters.misses += 1;
            return None;
        };
        self.counters.hits += 1;
        self.policy.hit(&mut self.entries, slot);
        Some(self.entries[slot].value().clone())
    }

    /// Forgets what leads nowhere, once nothing is held and nothing is being loaded.
    fn forget_tombstones(&mut self, at_once: bool) {
        if self.entries.is_empty() && self.leases.is_empty() {
            self.dependencies.forget_tombstones(at_once);
        }
    }

    /// Begins a turn of the engine, with a new bound for the work that removals cause.
    pub(crate) fn begin_turn(&mut self) {
        self.dependencies.begin_turn();
    }

    /// Begins a turn of the engine with this bound.
    #[cfg(test)]
    pub(crate) fn begin_turn_of(&mut self, budget: usize) {
        self.dependencies.begin_turn_of(budget);
    }

    /// How many edges have been looked at or cut, and names forgotten, so far.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> u64 {
        self.dependencies.steps()
    }

    /// Whether removals have left something to be done between turns.
    pub(crate) fn is_untidy(&self) -> bool {
        self.dependencies.is_untidy()
    }

    /// Takes one step of what removals have left.
    pub(crate) fn tidy(&mut self) {
        self.mutate(|table| {
            table.dependencies.tidy();
            table.forget_tombstones(false);
        });
    }
}

/// When an entry written now with this TTL expires.
fn due(ttl: Option<Duration>, now: Moment) -> Moment {
    ttl.map_or(Moment::NEVER, |ttl| now.after(ttl))
}
