//! The graph of dependencies: which entry depends on which name, through others too, and in cycles.
//!
//! An entry has an edge to each name that it depends on; a name is kept while it has edges. When an entry
//! goes (deleted, expired, evicted) while others depend on *its* key, its edges stay with that name, as a
//! *tombstone*. An entry that was derived from the removed one was also derived from the names of the removed one,
//! and an invalidation of those must still find it. A tombstone goes when nothing that is still held was derived
//! through it. [`tombstone`] decides that.

#[cfg(test)]
mod invariants;
mod tombstone;

use super::index::Index;
use super::slab::{NONE, Slab, Slot};
use crate::key::Key;
use crate::prehashed::Set;
use crate::weigher;

/// A name in the graph.
pub(crate) type NameId = u32;
/// An edge in the graph: the head of a list of them, or [`NONE`].
pub(crate) type EdgeId = u32;

/// A load under way, as the leases number them.
pub(crate) type LeaseId = u32;

/// Who depends on a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependent {
    Entry(Slot),
    Tombstone(NameId),
    /// A load under way. It keeps tombstones, and a change of a name ends the loads that depend on the name. They
    /// are the first in the list of dependents, so that they are found at once.
    Load(LeaseId),
}

#[derive(Debug)]
struct Name {
    key: Key,
    /// The first edge from a dependent to this name.
    dependents: EdgeId,
    /// The first edge from this name to another, if it is a tombstone.
    depends_on: EdgeId,
    /// Of a tombstone, the edge from the dependent that keeps it; [`NONE`] while it is in doubt.
    holder: EdgeId,
    /// Found by its key. An invalidated name is not: an invalidation is draining it, and those who
    /// depend on the same key from now on depend on a new name.
    listed: bool,
}

#[derive(Debug)]
struct Edge {
    name: NameId,
    dependent: Dependent,
    /// The edge before it among those to the same name. The first edge has the last one here.
    previous: EdgeId,
    /// The edge after it among those to the same name, or [`NONE`].
    next: EdgeId,
    /// The next edge of the same dependent.
    sibling: EdgeId,
}

/// The graph of entries and the names that they depend on.
#[derive(Debug)]
pub(crate) struct Dependencies {
    names: Slab<Name>,
    index: Index,
    edges: Slab<Edge>,
    tombstones: usize,
    invalidated: usize,
    bytes: usize,
    /// Names on which nothing depends any more, no longer listed, whose own edges are still to be cut.
    dying: Vec<NameId>,
    /// Tombstones that have lost their holder, and some that have found one since or have gone.
    doubted: Vec<NameId>,
    /// What removals may still do in this turn.
    budget: usize,
    /// What they have done: edges looked at or cut, and names forgotten.
    #[cfg(test)]
    steps: u64,
}

impl Dependencies {
    pub(crate) fn new() -> Self {
        Self {
            names: Slab::new(),
            index: Index::new(),
            edges: Slab::new(),
            tombstones: 0,
            invalidated: 0,
            bytes: 0,
            dying: Vec::new(),
            doubted: Vec::new(),
            budget: tombstone::TURN,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// Bytes that names and edges hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the entry at `slot` a dependent of `names`. Returns the head of its list of edges.
    pub(crate) fn attach(&mut self, slot: Slot, names: &[Key]) -> EdgeId {
        self.attach_all(Dependent::Entry(slot), names)
    }

    /// Makes a load a dependent of `names`. Returns the head of its list of edges.
    pub(crate) fn attach_load(&mut self, load: LeaseId, names: &[Key]) -> EdgeId {
        self.attach_all(Dependent::Load(load), names)
    }

    /// The loads that depend on `key`.
    pub(crate) fn loads_of(&self, key: &Key) -> Vec<LeaseId> {
        let mut loads = Vec::new();
        let mut edge = self.find(key).map_or(NONE, |name| self.names[name].dependents);
        while edge != NONE
            && let Edge {
                dependent: Dependent::Load(load),
                next,
                ..
            } = self.edges[edge]
        {
            loads.push(load);
            edge = next;
        }
        loads
    }

    /// The names of a list of edges.
    pub(crate) fn names_of(&self, mut edge: EdgeId) -> impl Iterator<Item = &Key> {
        std::iter::from_fn(move || {
            if edge == NONE {
                return None;
            }
            let Edge { name, sibling, .. } = self.edges[edge];
            edge = sibling;
            Some(&self.names[name].key)
        })
    }

    /// Those of `names` that a list of edges does not have.
    pub(crate) fn missing(&self, edge: EdgeId, names: &[Key]) -> Vec<Key> {
        let known: Set<&Key> = self.names_of(edge).collect();
        let missing = names.iter().filter(|name| !known.contains(name));
        missing.cloned().collect()
    }

    fn attach_all(&mut self, dependent: Dependent, names: &[Key]) -> EdgeId {
        let mut head = NONE;
        for key in names {
            let name = self.find(key).unwrap_or_else(|| self.list(key));
            let edge = self.edges.insert(Edge {
                name,
                dependent,
                previous: NONE,
                next: NONE,
                sibling: head,
            });
            self.link(edge);
            self.bytes += weigher::EDGE;
            head = edge;
        }
        head
    }

    /// Puts an edge among those to the same name: a load at the front, all others at the end.
    fn link(&mut self, edge: EdgeId) {
        let Edge { name, dependent, .. } = self.edges[edge];
        let first = self.names[name].dependents;
        if first == NONE {
            self.edges[edge].previous = edge;
            self.edges[edge].next = NONE;
            self.names[name].dependents = edge;
            return;
        }
        let last = std::mem::replace(&mut self.edges[first].previous, edge);
        self.edges[edge].previous = last;
        if matches!(dependent, Dependent::Load(_)) {
            self.edges[edge].next = first;
            self.names[name].dependents = edge;
        } else {
            self.edges[edge].next = NONE;
            self.edges[last].next = edge;
        }
    }

    /// Takes an edge from its place among those to the same name.
    fn unlink(&mut self, edge: EdgeId) {
        let Edge {
            name, previous, next, ..
        } = self.edges[edge];
        let first = self.names[name].dependents;
        if first == edge {
            self.names[name].dependents = next;
        } else {
            self.edges[previous].next = next;
        }
        let behind = if next == NONE { first } else { next };
        self.edges[behind].previous = previous;
    }

    /// The entry `key` has been written anew, and its new edges attached: it no longer derives from
    /// what its tombstone derived from.
    pub(crate) fn end_tombstone(&mut self, key: &Key) {
        if self.tombstones == 0 {
            return;
        }
        if let Some(name) = self.find(key) {
            self.drop_tombstone(name);
            self.settle();
        }
    }

    /// The entry whose edges are `edges` is overwritten or invalidated.
    pub(crate) fn release(&mut self, edges: EdgeId) {
        if edges != NONE {
            self.cut(edges);
            self.settle();
        }
    }

    /// Takes the name of `key` out of the index, to be drained. Returns `None` if nothing depends on it.
    pub(crate) fn invalidate(&mut self, key: &Key) -> Option<NameId> {
        let name = self.find(key)?;
        self.invalidate_name(name);
        Some(name)
    }

    /// Takes a tombstone that depends on an invalidated name out of the index. Returns `false` if nothing depends on the
    /// tombstone, which is then only cut off.
    pub(crate) fn invalidate_name(&mut self, name: NameId) -> bool {
        let listed = self.names[name].listed;
        if listed {
            self.invalidated += 1;
            self.unlist(name);
        }
        self.drop_tombstone(name);
        self.settle();
        listed
    }

    /// The key of a name.
    pub(crate) fn key(&self, name: NameId) -> &Key {
        &self.names[name].key
    }

    /// Somebody who still depends on `name`.
    pub(crate) fn dependent(&self, name: NameId) -> Option<Dependent> {
        let edge = self.names[name].dependents;
        if edge == NONE {
            None
        } else {
            Some(self.edges[edge].dependent)
        }
    }

    /// Forgets an invalidated name on which nothing depends any more.
    pub(crate) fn forget_invalidated(&mut self, name: NameId) {
        self.invalidated -= 1;
        self.forget(name);
    }

    fn forget(&mut self, name: NameId) {
        let name = self.names.remove(name);
        self.bytes -= Self::cost(&name.key);
    }

    fn cost(key: &Key) -> usize {
        weigher::NAME + weigher::block(key.heap_bytes())
    }

    fn find(&self, key: &Key) -> Option<NameId> {
        self.index.find(key.hash(), |name| self.names[name].key == *key)
    }

    fn list(&mut self, key: &Key) -> NameId {
        let name = self.names.insert(Name {
            key: key.clone(),
            dependents: NONE,
            depends_on: NONE,
            holder: NONE,
            listed: true,
        });
        let names = &self.names;
        self.index.insert(key.hash(), name, |name| names[name].key.hash());
        self.bytes += Self::cost(key);
        name
    }

    fn unlist(&mut self, name: NameId) {
        self.names[name].listed = false;
        let names = &self.names;
        self.index
            .remove(names[name].key.hash(), name, |name| names[name].key.hash());
    }

    /// Cuts a list of edges. A name without dependents begins to die, and a tombstone without its holder is
    /// in doubt: [`settle`](Self::settle) goes on with both.
    fn cut(&mut self, mut edge: EdgeId) {
        while edge != NONE {
            self.unlink(edge);
            let Edge { name, sibling, .. } = self.edges.remove(edge);
            self.bytes -= weigher::EDGE;
            self.spend();
            let Name {
                dependents,
                holder,
                listed,
                ..
            } = self.names[name];
            if dependents != NONE {
                if holder == edge {
                    self.doubt(name);
                }
            } else {
                self.names[name].holder = NONE;
                if listed {
                    self.unlist(name);
                    self.dying.push(name);
                }
            }
            edge = sibling;
        }
    }
}
