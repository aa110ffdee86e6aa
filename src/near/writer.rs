//! The engine's side of the near cache.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "redis")]
use super::Ticket;
use super::{Near, NearEntry};
use crate::key::Key;
#[cfg(feature = "redis")]
use crate::request::Keys;
use crate::value::Value;
use crate::weigher;

/// Longer values are not near: a copy of them costs more than the way to the engine.
const LONGEST: usize = 64 * 1024;

/// Writes the near cache, alone. Its drop closes it: nothing answers for an engine that has ended.
#[derive(Debug)]
pub(crate) struct NearWriter {
    near: Arc<Near>,
    /// All entries. Each knows its seat.
    entries: Vec<Arc<NearEntry>>,
    /// The seat that is considered next when room is short.
    hand: usize,
    bytes: usize,
    capacity: usize,
    flushes: u64,
    /// Where the engine's time begins.
    origin: Instant,
    /// Whether it alone holds the values, whose bytes count then.
    holds_values: bool,
    /// The hits that [`new_hits`](Self::new_hits) has told.
    hits_told: u64,
}

impl NearWriter {
    pub(super) fn new(near: Arc<Near>, capacity: usize) -> Self {
        Self {
            near,
            entries: Vec::new(),
            hand: 0,
            bytes: 0,
            capacity,
            flushes: 0,
            origin: Instant::now(),
            holds_values: false,
            hits_told: 0,
        }
    }

    /// Tells where the engine's time begins.
    pub(crate) fn since(self, origin: Instant) -> Self {
        let mut writer = self;
        writer.origin = origin;
        writer
    }

    /// For an engine that keeps no values itself: the writer alone holds them and what finds them by their keys.
    #[cfg(feature = "redis")]
    pub(crate) fn holding_values(self) -> Self {
        let mut writer = self;
        writer.holds_values = true;
        writer
    }

    /// Whether an entry may be near at all.
    pub(crate) fn takes(&self, key: &Key, value: &Value) -> bool {
        value.len() <= LONGEST && self.cost(key, value) <= self.capacity
    }

    pub(crate) fn has_room_for(&self, key: &Key, value: &Value) -> bool {
        self.bytes() + self.cost(key, value) <= self.capacity
    }

    fn cost(&self, key: &Key, value: &Value) -> usize {
        if self.holds_values {
            weigher::near_alone(key, value.len())
        } else {
            weigher::near(key)
        }
    }

    /// Readers find nothing from `at` on, until this is told anew. The engine calls it as long as it knows that what
    /// it has published is good.
    #[cfg(feature = "redis")]
    pub(crate) fn serve_until(&self, at: Instant) {
        self.near.horizon.set(at);
    }

    /// Closes the gates of all keys until the ticket is dropped.
    #[cfg(feature = "redis")]
    pub(crate) fn ticket(&self) -> Ticket {
        self.near.ticket(Keys::None)
    }

    /// Counts that all entries of one origin were lost at once.
    #[cfg(feature = "redis")]
    pub(crate) fn count_flush(&mut self) {
        self.flushes += 1;
    }

    #[cfg(feature = "redis")]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Lets readers find an entry that they did not find, until it is `due` by the engine's time.
    pub(crate) fn publish(&mut self, key: Key, value: Value, due: Option<Duration>) -> Arc<NearEntry> {
        // A time that the clock does not reach is none.
        let due = due.and_then(|due| self.origin.checked_add(due));
        self.publish_until(key, value, due)
    }

    /// The same, until a time of the clock.
    pub(crate) fn publish_until(&mut self, key: Key, value: Value, due: Option<Instant>) -> Arc<NearEntry> {
        self.bytes += self.cost(&key, &value);
        self.near.room.publish(self.bytes);
        // There are far fewer entries than that: each takes over a hundred bytes.
        let seat = self.entries.len() as u32;
        let entry = Arc::new(NearEntry::new(key, value, due, seat));
        self.entries.push(entry.clone());
        self.near.map.insert(entry.clone());
        entry
    }

    /// Readers that begin from now on do not find the entry.
    pub(crate) fn retract(&mut self, entry: &Arc<NearEntry>) {
        self.near.remove(entry);
        self.bytes -= self.cost(entry.key(), entry.value());
        self.near.room.publish(self.bytes);
        let seat = entry.seat();
        self.entries.swap_remove(seat);
        if let Some(moved) = self.entries.get(seat) {
            moved.set_seat(seat as u32);
        }
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// The entry that is to go next if it was not used: each in its turn.
    pub(crate) fn next_in_turn(&mut self) -> Option<Arc<NearEntry>> {
        let seat = if self.hand < self.entries.len() {
            self.hand
        } else {
            0
        };
        self.hand = seat + 1;
        self.entries.get(seat).cloned()
    }

    /// Removes all entries, after a fault.
    pub(crate) fn flush(&mut self) {
        self.near.clear();
        self.entries = Vec::new();
        self.bytes = 0;
        self.near.room.publish(0);
        self.flushes += 1;
    }

    /// From now on readers find nothing.
    pub(crate) fn close(&self) {
        self.near.gates.shut();
    }

    /// The hits since this was last called.
    pub(crate) fn new_hits(&mut self) -> u64 {
        let hits = self.near.hits();
        hits - std::mem::replace(&mut self.hits_told, hits)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What entries take, and the models that are kept beside them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.near.room.models()
    }

    pub(crate) fn flushes(&self) -> u64 {
        self.flushes
    }
}

impl Drop for NearWriter {
    fn drop(&mut self) {
        self.close();
        // Handles may outlive the engine for long.
        self.near.map.clear();
    }
}
