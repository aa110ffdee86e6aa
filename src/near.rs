//! The near cache: entries that are read often, where their readers look before they ask the engine.
//!
//! The engine alone writes it, by its [`NearWriter`]. Handles only look. It is linearizable by two rules:
//!
//! * A write that completes when it is queued takes a [`Ticket`] before it enters the queue. That closes the gate of
//!   its key until the engine has served it. A reader that finds the gate closed asks the engine, behind the write.
//! * For every change of an entry the engine removes it from here, then changes its table, then drops the ticket, then
//!   answers.
//!
//! So the engine may publish a value while a later write of the same key waits in the queue: that write has closed
//! the gate, and the engine removes the value when it serves the write.
//!
//! An engine whose entries a server can change tells a [`Horizon`] too: until when what it published is good. If it
//! hears nothing of the server, readers find nothing from then on.

mod counter;
mod decoded;
mod entry;
mod gates;
mod horizon;
mod map;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use self::counter::Counter;
use self::decoded::{Decoded, Room};
pub(crate) use self::entry::NearEntry;
pub(crate) use self::gates::Ticket;
use self::gates::{Gates, Place};
use self::horizon::Horizon;
use self::map::Map;
pub(crate) use self::writer::NearWriter;
use crate::key::Key;
use crate::request::Keys;
use crate::value::Value;

/// What handles share with the engine.
#[derive(Debug)]
pub(crate) struct Near {
    gates: Gates,
    map: Map,
    horizon: Horizon,
    hits: Counter,
    room: Arc<Room>,
    /// Raised after an entry was removed and before the table changes. So entries that were found while it stood still
    /// were all there at one time.
    version: AtomicU64,
}

/// An empty near cache of at most `capacity` bytes, for handles and for the engine.
pub(crate) fn near(capacity: usize) -> (Arc<Near>, NearWriter) {
    let near = Arc::new(Near {
        gates: Gates::new(),
        map: Map::new(),
        horizon: Horizon::none(),
        hits: Counter::new(),
        room: Arc::new(Room::new(capacity)),
        version: AtomicU64::new(0),
    });
    let writer = NearWriter::new(near.clone(), capacity);
    (near, writer)
}

impl Near {
    /// Shows the value of a key, and the time that it has left, to `see`. That is a use of the entry and a hit. `None`
    /// if the engine is to be asked.
    ///
    /// `see` runs under a lock: it clones or copies, and nothing else.
    pub(crate) fn read<T>(&self, key: &Key, see: impl FnOnce(&Value, Option<Duration>) -> T) -> Option<T> {
        let seen = self.look(key, |entry, left| {
            entry.count_use();
            see(entry.value(), left)
        })?;
        self.hits.add(1);
        Some(seen)
    }

    /// The entry of a key, and the time that it has left. It counts nothing: see [`count_hit`](Self::count_hit).
    pub(crate) fn sight(&self, key: &Key) -> Option<(Arc<NearEntry>, Option<Duration>)> {
        self.look(key, |entry, left| (entry.clone(), left))
    }

    /// Counts a use of an entry that was sighted, and a hit.
    pub(crate) fn count_hit(&self, entry: &NearEntry) {
        entry.count_use();
        self.hits.add(1);
    }

    /// Keeps the model of an entry for its other readers, if there is room for it and no other is kept. It is dropped in
    /// a task on the runtime `home`.
    pub(crate) fn keep_model<T: Send + Sync + 'static>(
        &self,
        entry: &NearEntry,
        model: Arc<T>,
        home: &Handle,
    ) {
        if entry.model().is_none()
            && let Some(decoded) = Decoded::new(model, entry.value().len(), &self.room, home)
        {
            entry.keep(decoded);
        }
    }

    /// Reads many keys at one point in time: all are answered or none. `None` counts nothing.
    pub(crate) fn read_all<T>(
        &self,
        keys: &[Key],
        see: impl Fn(&Value, Option<Duration>) -> T,
    ) -> Option<Vec<T>> {
        self.read_all_by(keys, see, Instant::now)
    }

    /// Reads many keys. `end` tells the time after the last look, so that tests can choose it.
    fn read_all_by<T>(
        &self,
        keys: &[Key],
        see: impl Fn(&Value, Option<Duration>) -> T,
        end: impl FnOnce() -> Instant,
    ) -> Option<Vec<T>> {
        let version = self.version.load(Ordering::Acquire);
        let mut seen = Vec::with_capacity(keys.len());
        let mut earliest: Option<Instant> = None;
        for key in keys {
            seen.push(self.look(key, |entry, left| {
                entry.count_use();
                earliest = [earliest, entry.due()].into_iter().flatten().min();
                see(entry.value(), left)
            })?);
        }
        // All were there at the time of the last look, if none has expired and none was removed until then. An entry
        // that was published after a removal shows that removal too: the lock of the map orders both.
        if earliest.is_some_and(|due| due <= end()) || self.version.load(Ordering::Acquire) != version {
            return None;
        }
        self.hits.add(keys.len() as u64);
        Some(seen)
    }

    /// Removes an entry, before the table changes.
    fn remove(&self, entry: &Arc<NearEntry>) {
        self.map.remove(entry);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Removes all entries.
    fn clear(&self) {
        self.map.clear();
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a key is known to hold a value. That is no use of the entry, and no hit.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.look(key, |_, _| ()).is_some()
    }

    fn look<T>(&self, key: &Key, see: impl FnOnce(&Arc<NearEntry>, Option<Duration>) -> T) -> Option<T> {
        // The gate comes first. A value that is found behind an open gate is no older than the last complete write.
        if !self.gates.are_open(key.hash()) {
            return None;
        }
        if self.horizon.is_passed() {
            return None;
        }
        self.map.find(key, |entry| {
            let left = match entry.due() {
                None => None,
                Some(due) => Some(
                    due.checked_duration_since(Instant::now())
                        .filter(|left| !left.is_zero())?,
                ),
            };
            Some(see(entry, left))
        })?
    }

    /// Closes the gates of these keys until the ticket is dropped.
    pub(crate) fn ticket(self: &Arc<Self>, keys: Keys<'_>) -> Ticket {
        let place = Place::of(keys);
        self.gates.close(&place);
        Ticket::new(self.clone(), place)
    }

    /// How many reads it has answered.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.sum()
    }
}
