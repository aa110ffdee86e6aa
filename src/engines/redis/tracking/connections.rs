//! The open connections, and until when what was read over them is good.

use std::time::Duration;

use compact_str::CompactString;
use tokio::time::Instant;

use super::ConnectionId;
use crate::near::Ticket;
use crate::prehashed::Map;

/// Idle connections are not asked for signs of life more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Connections {
    open: Map<ConnectionId, Connection>,
    /// Connections opened so far.
    opened: ConnectionId,
    /// Counts launches and barriers.
    steps: u64,
    barrier: Option<Barrier>,
    max_age: Duration,
}

#[derive(Debug)]
struct Connection {
    entries: usize,
    fetches: usize,
    /// The key of the last entry.
    last_key: Option<CompactString>,
    /// The step of the last request that was launched.
    launched: u64,
    /// The step of the last request that was answered.
    answered: u64,
    /// When the last request was launched whose answer may prove that the entries are good, and its step.
    last_proof: (Instant, u64),
    /// Until when its entries are good.
    good_until: Instant,
}

impl Connection {
    fn is_used(&self) -> bool {
        self.entries > 0 || self.fetches > 0
    }
}

/// Keeps readers away until each connection in use has answered a request that was launched later.
#[derive(Debug)]
struct Barrier {
    step: u64,
    _ticket: Ticket,
}

impl Connections {
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            open: Map::default(),
            opened: 0,
            steps: 0,
            barrier: None,
            max_age,
        }
    }

    pub(super) fn open(&mut self, now: Instant) -> ConnectionId {
        self.opened += 1;
        let connection = Connection {
            entries: 0,
            fetches: 0,
            last_key: None,
            launched: 0,
            answered: 0,
            last_proof: (now, 0),
            good_until: now,
        };
        self.open.insert(self.opened, connection);
        self.opened
    }

    pub(super) fn lost(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
        self.lower_barrier();
    }

    /// Whether the connection is open.
    pub(super) fn is_open(&self, connection: ConnectionId) -> bool {
        self.open.contains_key(&connection)
    }

    pub(super) fn add_entry(&mut self, connection: ConnectionId, key: &CompactString) {
        if let Some(over) = self.open.get_mut(&connection) {
            over.entries += 1;
            over.last_key = Some(key.clone());
        }
    }

    /// A key that was read over a connection.
    pub(super) fn key_of(&self, connection: ConnectionId) -> Option<CompactString> {
        self.open.get(&connection)?.last_key.clone()
    }

    pub(super) fn remove_entry(&mut self, connection: ConnectionId) {
        if let Some(over) = self.open.get_mut(&connection) {
            over.entries -= 1;
        }
    }

    pub(super) fn begin_fetch(&mut self, connection: ConnectionId) {
        if let Some(over) = self.open.get_mut(&connection) {
            over.fetches += 1;
        }
    }

    pub(super) fn end_fetch(&mut self, connection: ConnectionId) {
        if let Some(over) = self.open.get_mut(&connection) {
            over.fetches -= 1;
        }
    }

    /// A request is sent over a connection: the number of its launch. `is_proof` tells that its answer may prove that the
    /// entries are good.
    pub(super) fn launched(&mut self, connection: ConnectionId, now: Instant, is_proof: bool) -> u64 {
        self.steps += 1;
        if let Some(over) = self.open.get_mut(&connection) {
            over.launched = self.steps;
            if is_proof {
                over.last_proof = (now, self.steps);
            }
        }
        self.steps
    }

    /// A request with this number was answered, and all that came before its answer was taken in.
    pub(super) fn answered(&mut self, connection: ConnectionId, launch: u64) {
        if let Some(over) = self.open.get_mut(&connection) {
            over.answered = over.answered.max(launch);
        }
        self.lower_barrier();
    }

    /// The answer to a request that was sent at `sent` proves that the entries are good.
    pub(super) fn proven(&mut self, connection: ConnectionId, sent: Instant) {
        if let Some(over) = self.open.get_mut(&connection) {
            over.good_until = over.good_until.max(sent + self.max_age);
        }
    }

    /// Holds the ticket until what has happened on the server so far is known here.
    pub(super) fn raise_barrier(&mut self, ticket: Ticket) {
        self.steps += 1;
        self.barrier = Some(Barrier {
            step: self.steps,
            _ticket: ticket,
        });
        self.lower_barrier();
    }

    fn lower_barrier(&mut self) {
        let Some(barrier) = &self.barrier else { return };
        let knows = |connection: &Connection| !connection.is_used() || connection.answered > barrier.step;
        if self.open.values().all(knows) {
            self.barrier = None;
        }
    }

    pub(super) fn has_barrier(&self) -> bool {
        self.barrier.is_some()
    }

    /// Until when readers may find what is near. `None` if nothing is.
    pub(super) fn horizon(&self) -> Option<Instant> {
        let used = self.open.values().filter(|connection| connection.entries > 0);
        used.map(|connection| connection.good_until).min()
    }

    /// When a connection is to be asked for a sign of life.
    pub(super) fn ping_at(&self, connection: ConnectionId, now: Instant) -> Option<Instant> {
        let over = self.open.get(&connection).filter(|over| over.is_used())?;
        let is_behind = |barrier: &Barrier| over.launched < barrier.step;
        if self.barrier.as_ref().is_some_and(is_behind) {
            return Some(now);
        }
        let (at, step) = over.last_proof;
        (step <= over.answered).then(|| at + (self.max_age / 2).max(SHORTEST_PAUSE))
    }

    /// Nothing is near and nothing is fetched any more.
    pub(super) fn reset(&mut self) {
        for connection in self.open.values_mut() {
            (connection.entries, connection.fetches) = (0, 0);
        }
        self.barrier = None;
    }
}
