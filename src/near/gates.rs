//! Gates: which keys have writes in the request queue that are complete and not yet served.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Near;
use crate::request::Keys;

/// Keys share this many gates. A shared gate sends a reader to the engine for nothing, and does no other harm.
const GATES: usize = 256;
/// A write of more keys than this closes the gate of the whole store.
const MOST: usize = 16;
/// Added to the gate of the whole store when it closes for ever.
const SHUT: u64 = 1 << 63;

/// Counts the tickets that keep it closed. Each has a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Gate(AtomicU64);

impl Gate {
    fn is_open(&self) -> bool {
        // Pairs with the release of the last ticket, so that all changes which the engine made before it are seen.
        self.0.load(Ordering::Acquire) == 0
    }

    fn close(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn release(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The gates of one store.
#[derive(Debug)]
pub(super) struct Gates {
    gates: Box<[Gate]>,
    /// The gate of all keys.
    all: Gate,
}

impl Gates {
    pub(super) fn new() -> Self {
        Self {
            gates: (0..GATES).map(|_| Gate::default()).collect(),
            all: Gate::default(),
        }
    }

    /// Whether no complete write of a key with this hash waits for the engine.
    pub(super) fn are_open(&self, hash: u64) -> bool {
        self.all.is_open() && self.gates[gate(hash)].is_open()
    }

    pub(super) fn close(&self, place: &Place) {
        self.each(place, Gate::close);
    }

    /// Closes all gates for ever.
    pub(super) fn shut(&self) {
        self.all.0.fetch_or(SHUT, Ordering::AcqRel);
    }

    fn each(&self, place: &Place, change: impl Fn(&Gate)) {
        match place {
            Place::One(one) => change(&self.gates[*one]),
            Place::Few(few) => few.iter().for_each(|one| change(&self.gates[*one])),
            Place::All => change(&self.all),
        }
    }
}

fn gate(hash: u64) -> usize {
    (hash >> 32) as usize % GATES
}

/// Which gates a write closes.
#[derive(Debug)]
pub(super) enum Place {
    One(usize),
    Few(Box<[usize]>),
    All,
}

impl Place {
    pub(super) fn of(keys: Keys<'_>) -> Self {
        match (keys.len(), keys.first()) {
            (1, Some(key)) => Place::One(gate(key.hash())),
            (2..=MOST, _) => {
                let mut few = Vec::with_capacity(keys.len());
                keys.for_each(|key| few.push(gate(key.hash())));
                Place::Few(few.into())
            }
            _ => Place::All,
        }
    }
}

/// Keeps the gates of a write closed. It travels with the write, and its drop opens them, whether the write was
/// served, refused, or lost in a panic.
pub(crate) struct Ticket {
    near: Arc<Near>,
    place: Place,
}

impl Ticket {
    /// For a place whose gates have been closed.
    pub(super) fn new(near: Arc<Near>, place: Place) -> Self {
        Self { near, place }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.near.gates.each(&self.place, Gate::release);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.place).finish()
    }
}
