//! The queues of the eviction policy: lists through what it keeps in each entry.

use super::super::slab::{NONE, Slot};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    Window,
    Main,
}

/// What the policy keeps in each entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// The neighbour towards the front, where entries come in.
    pub(super) prev: Slot,
    /// The neighbour towards the back, where they leave.
    pub(super) next: Slot,
    /// Uses of the key, as of `epoch`.
    pub(super) frequency: u8,
    /// The low bits of the epoch. An entry that nobody looks at for 256 epochs seems young again;
    /// that is too rare, and too small a mistake, to spend more bytes on.
    pub(super) epoch: u8,
    /// Uses since the entry came in or was last considered for eviction, up to `MAX_RECENT`.
    pub(super) recent: u8,
    pub(super) region: Region,
}

impl Node {
    /// Whether the entry was used more than once since it came in or was last considered for eviction.
    pub(crate) fn is_used_again(&self) -> bool {
        self.recent > 1
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            prev: NONE,
            next: NONE,
            frequency: 0,
            epoch: 0,
            recent: 0,
            region: Region::Window,
        }
    }
}

/// The table's slab, as far as the policy needs it. All slots passed are those of live entries.
pub(crate) trait Nodes {
    fn node(&self, slot: Slot) -> &Node;
    fn node_mut(&mut self, slot: Slot) -> &mut Node;
    /// The bytes the entry counts for.
    fn weight(&self, slot: Slot) -> u64;
    /// The keyed hash of the entry's key.
    fn hash(&self, slot: Slot) -> u64;
    /// Uses that the policy has not been told of, since this was last called: those of the near cache.
    fn take_near_uses(&self, slot: Slot) -> u8;
}

/// A doubly linked list through the nodes.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) front: Slot,
    pub(super) back: Slot,
    pub(super) len: usize,
    pub(super) bytes: u64,
}

impl Queue {
    pub(super) const EMPTY: Self = Self {
        front: NONE,
        back: NONE,
        len: 0,
        bytes: 0,
    };

    pub(super) fn push_front(&mut self, nodes: &mut impl Nodes, slot: Slot) {
        let node = nodes.node_mut(slot);
        node.prev = NONE;
        node.next = self.front;
        match self.front {
            NONE => self.back = slot,
            front => nodes.node_mut(front).prev = slot,
        }
        self.front = slot;
        self.len += 1;
        self.bytes = self.bytes.saturating_add(nodes.weight(slot));
    }

    pub(super) fn unlink(&mut self, nodes: &mut impl Nodes, slot: Slot) {
        let Node { prev, next, .. } = *nodes.node(slot);
        match prev {
            NONE => self.front = next,
            prev => nodes.node_mut(prev).next = next,
        }
        match next {
            NONE => self.back = prev,
            next => nodes.node_mut(next).prev = prev,
        }
        self.len -= 1;
        self.bytes = self.bytes.saturating_sub(nodes.weight(slot));
    }

    pub(super) fn move_to_front(&mut self, nodes: &mut impl Nodes, slot: Slot) {
        if self.front != slot {
            self.unlink(nodes, slot);
            self.push_front(nodes, slot);
        }
    }
}
