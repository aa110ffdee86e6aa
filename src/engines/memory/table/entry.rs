//! One entry of the table, and what the policy and the heap of deadlines see of it.

use super::super::dependency::EdgeId;
use super::super::eviction::{Node, Nodes};
use super::super::expiry::{Moment, Seats};
use super::super::held::Held;
use super::super::slab::{Slab, Slot};
use crate::key::Key;
use crate::value::Value;
use crate::weigher;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) held: Held,
    /// When it expires. The heap may still have an earlier time.
    pub(super) due: Moment,
    /// Its place in the expiry heap; [`NO_SEAT`] if it is persistent.
    pub(super) seat: u32,
    /// Its edges to the names it depends on.
    pub(super) edges: EdgeId,
    /// How many clearings had begun when it was written. A change of its value alone is no write: what
    /// it was changed from is older.
    pub(super) era: u32,
    pub(super) node: Node,
}

impl Entry {
    pub(super) fn value(&self) -> &Value {
        self.held.value()
    }

    /// Its bytes but for its deadline and its edges, which are counted where they come and go.
    pub(super) fn bytes(&self) -> usize {
        weigher::ENTRY + weigher::payload(&self.key, self.value().len())
    }
}

impl Nodes for Slab<Entry> {
    fn node(&self, slot: Slot) -> &Node {
        &self[slot].node
    }

    fn node_mut(&mut self, slot: Slot) -> &mut Node {
        &mut self[slot].node
    }

    fn weight(&self, slot: Slot) -> u64 {
        self[slot].bytes() as u64
    }

    fn hash(&self, slot: Slot) -> u64 {
        self[slot].key.hash()
    }

    fn take_near_uses(&self, slot: Slot) -> u8 {
        self[slot].held.near().map_or(0, |shared| shared.take_uses())
    }
}

impl Seats for Slab<Entry> {
    fn set_seat(&mut self, slot: Slot, seat: u32) {
        self[slot].seat = seat;
    }
}
