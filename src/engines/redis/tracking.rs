//! What the near cache holds over Redis, and when it must not be served. Pure: times are arguments.
//!
//! The server tracks what a connection reads after `CLIENT CACHING YES`, and sends an invalidation when it changes.
//! These rules keep readers from what is older than they may see:
//!
//! * **A fetch is published only if its key was not changed since the fetch was launched.** The invalidation may come
//!   before the reply.
//! * **An own write removes its key** when it is accepted, and again before it is answered.
//! * **A read over another connection removes what it does not come from.** Invalidations of two connections have no
//!   order among each other, so a later look could find what is older.
//! * **A script that changes keys which it does not name raises a barrier** before it is answered. Its own
//!   invalidations come after its reply, but before the reply to a request that is sent later. Until each connection
//!   with entries has answered such a request, readers find nothing.
//! * **A lost connection takes its entries with it**, and a null invalidation too.
//! * **Readers find nothing once a connection with entries is silent**: each answer is good for `max_age` from the time
//!   at which its request was sent.

mod changes;
mod connections;
mod fetches;
mod popularity;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use tokio::time::Instant;

use self::changes::Changes;
use self::connections::Connections;
use self::fetches::Fetches;
use self::popularity::Popularity;
use crate::key::Key;
use crate::near::{NearEntry, NearWriter};
use crate::value::Value;

/// The server rounds the time that is left up to a millisecond.
const ROUNDING: Duration = Duration::from_millis(1);
/// How many entries one new entry may displace or spare.
const STEPS: usize = 8;
/// The bytes of an entry, for a cache that has none yet.
const USUAL: usize = 256;

/// A connection, by the number of its opening.
pub(super) type ConnectionId = u64;

/// Writes the near cache from what connections read.
#[derive(Debug)]
pub(super) struct Tracking {
    writer: NearWriter,
    /// What is near, by key.
    entries: HashMap<CompactString, Tracked>,
    fetches: Fetches,
    connections: Connections,
    changes: Changes,
    popularity: Popularity,
    /// The server refuses to track a connection. It would tell nobody of writes over that connection.
    off: bool,
}

#[derive(Debug)]
struct Tracked {
    entry: Arc<NearEntry>,
    over: ConnectionId,
    due: Option<Instant>,
}

impl Tracking {
    pub(super) fn new(writer: NearWriter, max_age: Duration) -> Self {
        let popularity = Popularity::for_bytes(writer.capacity());
        Self {
            writer: writer.holding_values(),
            entries: HashMap::new(),
            fetches: Fetches::default(),
            connections: Connections::new(max_age),
            changes: Changes::default(),
            popularity,
            off: false,
        }
    }

    /// A connection was opened whose reads the server tracks.
    pub(super) fn open(&mut self, now: Instant) -> ConnectionId {
        self.connections.open(now)
    }

    /// A connection has ended. The server tells nobody any more of changes to values that were read over it.
    pub(super) fn lost(&mut self, connection: ConnectionId) {
        self.fetches.lost(connection);
        self.drop_entries_of(connection);
        self.connections.lost(connection);
        self.caught_up();
    }

    /// All that the server holds was changed.
    pub(super) fn flushed(&mut self, connection: ConnectionId) {
        self.fetches.spoil_those_of(connection);
        self.drop_entries_of(connection);
    }

    /// A key is read over a connection that the server does not track. What is near may be older.
    pub(super) fn read_elsewhere(&mut self, key: &Key) {
        self.retract(key.as_str());
        self.fetches.spoil(key.as_str());
    }

    /// Drops all entries, and what is being fetched too.
    pub(super) fn forget(&mut self) {
        self.fetches.spoil_all();
        let keys: Vec<CompactString> = self.entries.keys().cloned().collect();
        if !keys.is_empty() {
            self.writer.count_flush();
        }
        keys.iter().for_each(|key| drop(self.retract(key)));
    }

    /// The server's message that a key was changed. `tells` says that somebody listens to changes by others.
    pub(super) fn invalidated(&mut self, key: &str, tells: bool, now: Instant) {
        // What is past its deadline has expired, and nobody has changed it.
        let was_near = |tracked: Tracked| tracked.due.is_none_or(|due| due > now);
        if self.retract(key).is_some_and(was_near) && tells {
            let may_be_own = self.connections.has_barrier();
            self.changes.add(key.into(), may_be_own);
        }
        self.fetches.spoil(key);
    }

    /// A write of this store changes a key, or has changed it.
    pub(super) fn changed(&mut self, key: &Key) {
        self.removed(key.as_str());
    }

    /// This store has removed a key. Listeners are told of it by that.
    pub(super) fn removed(&mut self, key: &str) {
        self.retract(key);
        self.fetches.spoil(key);
        self.changes.is_own(key);
    }

    /// This store has removed all keys with this prefix.
    pub(super) fn cleared(&mut self, prefix: &str) {
        let of_it = self.entries.keys().filter(|key| key.starts_with(prefix));
        let keys: Vec<CompactString> = of_it.cloned().collect();
        keys.iter().for_each(|key| drop(self.retract(key)));
        self.changes.are_own(prefix);
    }

    /// An invalidation or a clearing of this store begins.
    pub(super) fn begin_work(&mut self) {
        self.changes.begin_work();
    }

    pub(super) fn end_work(&mut self) {
        self.changes.end_work();
        self.caught_up();
    }

    /// Keys that others have changed, to be told to listeners.
    pub(super) fn take_foreign(&mut self) -> Vec<CompactString> {
        self.changes.take_foreign()
    }

    /// The server has answered a read of a key over this connection. What came over another one may be older.
    pub(super) fn read_over(&mut self, connection: ConnectionId, key: &Key) {
        let key = key.as_str();
        if self
            .entries
            .get(key)
            .is_some_and(|tracked| tracked.over != connection)
        {
            self.retract(key);
        }
        let fetched_over = self.fetches.connection_of(key);
        if fetched_over.is_some_and(|over| over != connection) {
            self.fetches.spoil(key);
        }
    }

    /// Counts a read of a key that the near cache did not answer. Whether it is to be fetched: this is then noted, and
    /// [`fetched`](Self::fetched) or the loss of the connection ends it.
    pub(super) fn begin_fetch(&mut self, connection: ConnectionId, key: &Key, now: Instant) -> bool {
        if self.off {
            return false;
        }
        self.popularity.add(key.hash(), 1);
        let is_near = self
            .entries
            .get(key.as_str())
            .is_some_and(|tracked| tracked.due.is_none_or(|due| due > now));
        if is_near || self.fetches.connection_of(key.as_str()).is_some() || !self.is_wanted(key) {
            return false;
        }
        if !self.connections.is_open(connection) {
            return false;
        }
        self.connections.begin_fetch(connection);
        self.fetches.begin(key.text().clone(), connection);
        true
    }

    /// Whether a key was read before, and more often than what it would displace.
    fn is_wanted(&mut self, key: &Key) -> bool {
        let reads = self.popularity.of(key.hash());
        if reads < 2 {
            return false;
        }
        let usual = (self.writer.bytes().checked_div(self.writer.len())).unwrap_or(USUAL);
        if self.writer.bytes() + usual <= self.writer.capacity() {
            return true;
        }
        self.next_victim().is_some_and(|(_, uses)| uses < reads)
    }

    /// The entry that is to go next, and how often it was read lately.
    fn next_victim(&mut self) -> Option<(Arc<NearEntry>, u8)> {
        self.popularity.count(self.writer.new_hits());
        let entry = self.writer.next_in_turn()?;
        let hash = entry.key().hash();
        self.popularity.add(hash, entry.take_uses());
        let reads = self.popularity.of(hash);
        Some((entry, reads))
    }

    /// The reply to a fetch that was sent at `sent`: the value, and the time that was left of it. `None` for a key that
    /// is absent or could not be read. Keys that no fetch was begun for are passed over.
    pub(super) fn fetched(
        &mut self,
        connection: ConnectionId,
        key: &Key,
        found: Option<(&Value, Option<Duration>)>,
        sent: Instant,
        now: Instant,
    ) {
        let Some(spoiled) = self.fetches.end(key.as_str(), connection) else {
            return;
        };
        self.connections.end_fetch(connection);
        let Some((value, left)) = found else { return };
        // Counted from before it was sent, so that it ends here no later than there.
        let due = left.map(|left| sent + left.saturating_sub(ROUNDING));
        if spoiled || due.is_some_and(|due| due <= now) || !self.writer.takes(key, value) {
            return;
        }
        self.retract(key.as_str());
        if self.make_room(key, value) {
            self.publish(connection, key, value, due);
        }
    }

    fn publish(&mut self, connection: ConnectionId, key: &Key, value: &Value, due: Option<Instant>) {
        if !self.connections.is_open(connection) {
            return;
        }
        self.connections.add_entry(connection, key.text());
        let entry = self.writer.publish_until(key.clone(), value.clone(), due);
        let tracked = Tracked {
            entry,
            over: connection,
            due,
        };
        self.entries.insert(key.text().clone(), tracked);
        self.tell_horizon();
    }

    fn make_room(&mut self, key: &Key, value: &Value) -> bool {
        let reads = self.popularity.of(key.hash());
        for _ in 0..STEPS {
            if self.writer.has_room_for(key, value) {
                return true;
            }
            match self.next_victim() {
                Some((victim, uses)) if uses < reads => drop(self.retract(victim.key().as_str())),
                Some(_) => {}
                None => return false,
            }
        }
        self.writer.has_room_for(key, value)
    }

    fn retract(&mut self, key: &str) -> Option<Tracked> {
        let tracked = self.entries.remove(key)?;
        self.writer.retract(&tracked.entry);
        self.connections.remove_entry(tracked.over);
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        Some(tracked)
    }

    fn drop_entries_of(&mut self, connection: ConnectionId) {
        let of_it = self
            .entries
            .iter()
            .filter(|(_, tracked)| tracked.over == connection);
        let keys: Vec<CompactString> = of_it.map(|(key, _)| key.clone()).collect();
        if !keys.is_empty() {
            self.writer.count_flush();
        }
        keys.iter().for_each(|key| drop(self.retract(key)));
    }

    /// A request is sent over a connection: the number of its launch. `is_proof` tells that its answer may prove what
    /// [`proven`](Self::proven) takes in.
    pub(super) fn launched(&mut self, connection: ConnectionId, now: Instant, is_proof: bool) -> u64 {
        self.connections.launched(connection, now, is_proof)
    }

    /// A request with this number was answered, and all that came before its answer was taken in.
    pub(super) fn answered(&mut self, connection: ConnectionId, launch: u64) {
        self.connections.answered(connection, launch);
        self.caught_up();
    }

    /// What was sent at `sent` was answered by a server that tells of changes to all that was read over this connection.
    pub(super) fn proven(&mut self, connection: ConnectionId, sent: Instant) {
        self.connections.proven(connection, sent);
        self.tell_horizon();
    }

    /// Keeps readers away until what has happened on the server so far is known here.
    pub(super) fn raise_barrier(&mut self) {
        self.connections.raise_barrier(self.writer.ticket());
        self.caught_up();
    }

    /// More may be known of the server than before.
    fn caught_up(&mut self) {
        if !self.connections.has_barrier() {
            self.changes.settle();
        }
        self.tell_horizon();
    }

    fn tell_horizon(&self) {
        if let Some(until) = self.connections.horizon() {
            self.writer.serve_until(until);
        }
    }

    /// When a connection is to be asked for a sign of life.
    pub(super) fn ping_at(&self, connection: ConnectionId, now: Instant) -> Option<Instant> {
        self.connections.ping_at(connection, now)
    }

    /// A key that was read over a connection.
    pub(super) fn key_of(&self, connection: ConnectionId) -> Option<CompactString> {
        self.connections.key_of(connection)
    }

    /// Drops everything after a fault of the engine. The connections are lost one by one.
    pub(super) fn reset(&mut self) {
        self.writer.flush();
        self.entries = HashMap::new();
        self.fetches = Fetches::default();
        self.connections.reset();
    }

    /// The server refuses to track a connection. From now on readers find nothing, whatever is read over others.
    pub(super) fn turn_off(&mut self) {
        self.off = true;
        self.writer.close();
        self.reset();
    }

    /// From now on readers find nothing.
    pub(super) fn close(&self) {
        self.writer.close();
    }

    pub(super) fn writer(&self) -> &NearWriter {
        &self.writer
    }
}
