//! Who depends on whom: exact, cascading, safe with cycles, and leaving nothing behind.
//!
//! An entry has an edge to each name that it depends on; a name is kept while it has edges. When an
//! entry goes (deleted, expired, evicted) while others depend on *its* key, its edges stay with that
//! name, as a *ghost*: what was derived from the entry was derived from all that the entry was
//! derived from, and must still be found by an invalidation. A ghost goes when nothing that is still
//! held was derived through it.

use super::index::Index;
use super::slab::{NONE, Slab, Slot};
use crate::footprint;
use crate::key::Key;

/// How many edges a search for a ghost's living dependents looks at, about a millisecond's worth,
/// before it gives the ghost the benefit of the doubt.
const SEARCH: usize = 65_536;

/// A name in the graph.
pub(crate) type NameId = u32;
/// An edge in the graph: the head of a list of them, or [`NONE`].
pub(crate) type EdgeId = u32;

/// Who depends on a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependent {
    Entry(Slot),
    Ghost(NameId),
    /// What is being loaded: it keeps ghosts, but whoever changes a name kills its leases by their names.
    Load,
}

#[derive(Debug)]
struct Name {
    key: Key,
    /// The first edge from a dependent to this name.
    dependents: EdgeId,
    /// The first edge from this name to another, if it is a ghost.
    depends_on: EdgeId,
    /// Found by its key. A condemned name is not: an invalidation is draining it, and those who
    /// depend on the same key from now on depend on a new name.
    listed: bool,
    /// The last search that came by.
    found_by: u32,
}

#[derive(Debug)]
struct Edge {
    name: NameId,
    dependent: Dependent,
    /// Neighbours among the edges to the same name.
    previous: EdgeId,
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
    ghosts: usize,
    condemned: usize,
    bytes: usize,
    /// The number of the last search.
    search: u32,
    /// Lists of edges still to be cut; empty between calls.
    cutting: Vec<EdgeId>,
    /// Names on which nothing depends any more, kept until their own edges are cut.
    dying: Vec<NameId>,
}

impl Dependencies {
    pub(crate) fn new() -> Self {
        Self {
            names: Slab::new(),
            index: Index::new(),
            edges: Slab::new(),
            ghosts: 0,
            condemned: 0,
            bytes: 0,
            search: 0,
            cutting: Vec::new(),
            dying: Vec::new(),
        }
    }

    /// Bytes that names and edges hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ties the entry at `slot` to `names`: the head of its list of edges.
    pub(crate) fn attach(&mut self, slot: Slot, names: &[Key]) -> EdgeId {
        self.tie(Dependent::Entry(slot), names)
    }

    /// Ties what is being loaded to `names`: the head of its list of edges.
    pub(crate) fn attach_load(&mut self, names: &[Key]) -> EdgeId {
        self.tie(Dependent::Load, names)
    }

    fn tie(&mut self, dependent: Dependent, names: &[Key]) -> EdgeId {
        let mut head = NONE;
        for key in names {
            let name = self.find(key).unwrap_or_else(|| self.list(key));
            let next = self.names[name].dependents;
            let edge = self.edges.insert(Edge {
                name,
                dependent,
                previous: NONE,
                next,
                sibling: head,
            });
            if next != NONE {
                self.edges[next].previous = edge;
            }
            self.names[name].dependents = edge;
            self.bytes += footprint::EDGE;
            head = edge;
        }
        head
    }

    /// The entry `key` has been written anew, and its new edges attached: it no longer derives from
    /// what its ghost derived from.
    pub(crate) fn exorcise(&mut self, key: &Key) {
        if self.ghosts == 0 {
            return;
        }
        if let Some(name) = self.find(key) {
            self.drop_ghost(name);
            self.cut();
        }
    }

    /// The entry `key`, whose edges are `edges`, has gone by itself, or was given out and never stored. If
    /// others depend on it, its edges stay with its name, beside those of an earlier one.
    pub(crate) fn bereave(&mut self, key: &Key, edges: EdgeId) {
        if edges == NONE {
            return;
        }
        let Some(name) = self.find(key) else {
            return self.release(edges);
        };
        let (mut edge, mut last) = (edges, edges);
        while edge != NONE {
            self.edges[edge].dependent = Dependent::Ghost(name);
            last = edge;
            edge = self.edges[edge].sibling;
        }
        let earlier = std::mem::replace(&mut self.names[name].depends_on, edges);
        self.edges[last].sibling = earlier;
        self.ghosts += usize::from(earlier == NONE);
        self.lay_to_rest(name);
        self.cut();
    }

    /// The entry whose edges are `edges` is overwritten or invalidated.
    pub(crate) fn release(&mut self, edges: EdgeId) {
        if edges != NONE {
            self.cutting.push(edges);
            self.cut();
        }
    }

    /// Takes the name of `key` out of sight, to be drained: `None` if nothing depends on it.
    pub(crate) fn condemn(&mut self, key: &Key) -> Option<NameId> {
        let name = self.find(key)?;
        self.condemn_name(name);
        Some(name)
    }

    /// As [`condemn`](Self::condemn), for a ghost that depends on a condemned name.
    pub(crate) fn condemn_name(&mut self, name: NameId) {
        self.condemned += usize::from(self.names[name].listed);
        self.unlist(name);
        self.drop_ghost(name);
        self.cut();
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

    /// Forgets a condemned name on which nothing depends any more.
    pub(crate) fn bury(&mut self, name: NameId) {
        self.condemned -= 1;
        self.forget(name);
    }

    /// Forgets the ghosts that a search gave the benefit of the doubt, once there is no entry at all.
    pub(crate) fn forget_ghosts(&mut self) {
        if self.ghosts > 0 && self.condemned == 0 {
            *self = Self::new();
        }
    }

    fn forget(&mut self, name: NameId) {
        let name = self.names.remove(name);
        self.bytes -= Self::cost(&name.key);
    }

    fn cost(key: &Key) -> usize {
        footprint::NAME + footprint::block(key.heap_bytes())
    }

    fn find(&self, key: &Key) -> Option<NameId> {
        self.index.find(key.hash(), |name| self.names[name].key == *key)
    }

    fn list(&mut self, key: &Key) -> NameId {
        let name = self.names.insert(Name {
            key: key.clone(),
            dependents: NONE,
            depends_on: NONE,
            listed: true,
            found_by: 0,
        });
        let names = &self.names;
        self.index.insert(key.hash(), name, |name| names[name].key.hash());
        self.bytes += Self::cost(key);
        name
    }

    fn unlist(&mut self, name: NameId) {
        if std::mem::replace(&mut self.names[name].listed, false) {
            let names = &self.names;
            self.index
                .remove(names[name].key.hash(), name, |name| names[name].key.hash());
        }
    }

    /// Marks a ghost's edges to be cut.
    fn drop_ghost(&mut self, name: NameId) {
        let edges = std::mem::replace(&mut self.names[name].depends_on, NONE);
        if edges != NONE {
            self.ghosts -= 1;
            self.cutting.push(edges);
        }
    }

    /// Cuts the edges marked, and all that only they kept.
    fn cut(&mut self) {
        while let Some(mut edge) = self.cutting.pop() {
            while edge != NONE {
                let Edge {
                    name,
                    previous,
                    next,
                    sibling,
                    ..
                } = self.edges.remove(edge);
                self.bytes -= footprint::EDGE;
                match previous {
                    NONE => self.names[name].dependents = next,
                    previous => self.edges[previous].next = next,
                }
                if next != NONE {
                    self.edges[next].previous = previous;
                }
                self.lay_to_rest(name);
                edge = sibling;
            }
        }
        while let Some(name) = self.dying.pop() {
            self.forget(name);
        }
    }

    /// After `name` lost a dependent or became a ghost: forgets it if nothing depends on it, and
    /// drops the ghost if only ghosts without living dependents do.
    fn lay_to_rest(&mut self, name: NameId) {
        let Name {
            dependents,
            depends_on,
            listed,
            ..
        } = self.names[name];
        if dependents == NONE {
            self.drop_ghost(name);
            if listed {
                self.unlist(name);
                self.dying.push(name);
            }
        } else if depends_on != NONE {
            for ghost in self.without_living_dependents(name) {
                self.drop_ghost(ghost);
            }
        }
    }

    /// The ghosts that depend on `ghost`, itself first, if nothing alive does; none if something does,
    /// or the search was too long to tell.
    ///
    /// It goes deep first. Below a ghost that is rightly there something lives, so that the first way
    /// down nearly always ends the search: only what is dropped afterwards is looked at in full.
    fn without_living_dependents(&mut self, ghost: NameId) -> Vec<NameId> {
        self.search = self.search.wrapping_add(1);
        self.names[ghost].found_by = self.search;
        let mut reached = vec![ghost];
        let mut ways = vec![self.names[ghost].dependents];
        for _ in 0..SEARCH {
            let Some(edge) = ways.pop() else { return reached };
            let Edge { dependent, next, .. } = self.edges[edge];
            if next != NONE {
                ways.push(next);
            }
            let Dependent::Ghost(name) = dependent else {
                return Vec::new();
            };
            let found = &mut self.names[name];
            // Without edges of its own it has been dropped already, and waits to be cut.
            if found.depends_on != NONE && found.found_by != self.search {
                found.found_by = self.search;
                reached.push(name);
                if found.dependents != NONE {
                    ways.push(found.dependents);
                }
            }
        }
        Vec::new()
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.names.len(), self.edges.len(), self.ghosts)
    }
}
