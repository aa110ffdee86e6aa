//! Decides when a tombstone goes.
//!
//! Each tombstone remembers one dependent that keeps it, its *holder*. Holders lead from tombstone to
//! tombstone and end at something that is held: a forest, whose roots are alive. So nothing has to be
//! searched as long as a holder stays, and most that lose theirs find the next at once.
//!
//! Where that needs a search, it is bounded. A tombstone whose holder has gone is *in doubt*: it is kept,
//! and ends chains of holders as if it were alive, until its case is settled. All removals of a turn share
//! one budget; the cases that are left are settled in slices between turns. An invalidation is exact
//! meanwhile, because a tombstone that is kept too long has no dependents that are alive.

use std::collections::BTreeSet;

use super::{Dependencies, Dependent, Edge, EdgeId, NONE, NameId};
use crate::key::Key;
use crate::prehashed::Set;

/// How much the removals of one turn may do, half a millisecond's worth: edges looked at or cut, and names
/// forgotten.
pub(super) const TURN: usize = 16_384;
/// How many edges one case may look at between turns, about a millisecond's worth. One that needs more
/// stays in doubt until nothing depends on it, or nothing is held at all.
const CASE: usize = 65_536;
/// How many names are forgotten and edges cut in one step between turns.
const STEP: usize = 256;
/// Longer lists of what is to be done give their memory back once they are empty.
const KEPT: usize = 1024;

impl Dependencies {
    /// The entry `key`, whose edges are `edges`, has gone by itself, or was given out and never stored. If
    /// others depend on it, its edges stay with its name, beside those of an earlier one.
    pub(crate) fn leave_tombstone(&mut self, key: &Key, edges: EdgeId) {
        if edges == NONE {
            return;
        }
        let Some(name) = self.find(key) else {
            return self.release(edges);
        };
        let earlier = self.names[name].depends_on;
        let (new, known) = self.part(edges, earlier);
        self.names[name].depends_on = new;
        let (mut last, mut edge) = (NONE, new);
        while edge != NONE {
            let was = std::mem::replace(&mut self.edges[edge].dependent, Dependent::Tombstone(name));
            if matches!(was, Dependent::Load(_)) {
                self.unlink(edge);
                self.link(edge);
            }
            last = edge;
            edge = self.edges[edge].sibling;
        }
        match last {
            NONE => self.names[name].depends_on = earlier,
            last => self.edges[last].sibling = earlier,
        }
        self.cut(known);
        self.tombstones += usize::from(earlier == NONE);
        self.doubt(name);
        self.settle();
    }

    /// Parts a list of edges: those to names that `earlier` does not lead to, and the others.
    fn part(&mut self, edges: EdgeId, earlier: EdgeId) -> (EdgeId, EdgeId) {
        if earlier == NONE {
            return (edges, NONE);
        }
        let mut names = BTreeSet::new();
        let mut edge = earlier;
        while edge != NONE {
            names.insert(self.edges[edge].name);
            edge = self.edges[edge].sibling;
        }
        let (mut new, mut known) = (NONE, NONE);
        edge = edges;
        while edge != NONE {
            let list = if names.contains(&self.edges[edge].name) {
                &mut known
            } else {
                &mut new
            };
            let next = std::mem::replace(&mut self.edges[edge].sibling, *list);
            *list = std::mem::replace(&mut edge, next);
        }
        (new, known)
    }

    /// Begins a turn of the engine, with a new budget.
    pub(crate) fn begin_turn(&mut self) {
        self.budget = TURN;
    }

    /// Begins a turn of the engine with this budget.
    #[cfg(test)]
    pub(crate) fn begin_turn_of(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// Whether removals have left something to be done between turns.
    pub(crate) fn is_untidy(&self) -> bool {
        !(self.dying.is_empty() && self.doubted.is_empty())
    }

    /// Takes one step of what removals have left.
    pub(crate) fn tidy(&mut self) {
        let turn = std::mem::replace(&mut self.budget, STEP);
        while self.budget > 0 && self.forget_dying() {}
        if self.dying.is_empty()
            && let Some(name) = self.doubted.pop()
        {
            self.budget = CASE;
            // A case that is too large even so is given up.
            let _ = self.resolve(name);
        }
        self.budget = turn;
        for list in [&mut self.dying, &mut self.doubted] {
            if list.is_empty() && list.capacity() > KEPT {
                *list = Vec::new();
            }
        }
    }

    /// Forgets one name on which nothing depends any more, and cuts its edges. Returns `false` if there is none.
    pub(crate) fn forget_dying(&mut self) -> bool {
        let Some(name) = self.dying.pop() else {
            return false;
        };
        self.spend();
        self.drop_tombstone(name);
        self.forget(name);
        true
    }

    /// Forgets the tombstones whose cases were too large, once nothing is held at all. `at_once` says not to
    /// wait for the tombstones whose cases are not settled yet.
    pub(crate) fn forget_tombstones(&mut self, at_once: bool) {
        if self.tombstones > 0 && self.invalidated == 0 && (at_once || !self.is_untidy()) {
            *self = Self::new();
        }
    }

    /// Goes on with what follows from a removal, as far as the turn's budget reaches.
    pub(super) fn settle(&mut self) {
        while self.budget > 0 {
            if self.forget_dying() {
                continue;
            }
            let Some(name) = self.doubted.pop() else { return };
            if self.resolve(name).is_none() {
                return self.doubted.push(name);
            }
        }
    }

    /// A tombstone has lost its holder, or is new.
    pub(super) fn doubt(&mut self, name: NameId) {
        self.names[name].holder = NONE;
        self.doubted.push(name);
    }

    /// Cuts a tombstone's edges; a name without any stays as it is.
    pub(super) fn drop_tombstone(&mut self, name: NameId) {
        let edges = std::mem::replace(&mut self.names[name].depends_on, NONE);
        if edges != NONE {
            self.names[name].holder = NONE;
            self.tombstones -= 1;
            self.cut(edges);
        }
    }

    /// Takes an edge from the budget, which may be empty.
    pub(super) fn spend(&mut self) {
        self.budget = self.budget.saturating_sub(1);
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }

    /// Spends from the budget. Returns `None` if it is empty.
    fn look(&mut self) -> Option<()> {
        if self.budget == 0 {
            return None;
        }
        self.spend();
        Some(())
    }

    /// Finds a holder for a tombstone in doubt, or drops it with all that only it keeps. Returns `None`, and changes
    /// nothing, if the budget is too small.
    fn resolve(&mut self, name: NameId) -> Option<()> {
        // It may have gone, been written anew, or found a holder meanwhile, and its place may be another's.
        let Some(tombstone) = self.names.get(name) else {
            return Some(());
        };
        if tombstone.depends_on == NONE || tombstone.holder != NONE {
            return Some(());
        }
        let mut edge = tombstone.dependents;
        if edge == NONE {
            return Some(());
        }
        while edge != NONE {
            if self.leads_past(edge, name)? {
                self.names[name].holder = edge;
                return Some(());
            }
            edge = self.edges[edge].next;
        }
        self.prune(name)
    }

    /// Whether the holders of the dependent at `edge` do not lead to `name`, which has none.
    ///
    /// They are followed upwards, while all that `name` holds is followed downwards: whichever is done
    /// first tells, so that the smaller of both decides what it costs.
    fn leads_past(&mut self, edge: EdgeId, name: NameId) -> Option<bool> {
        let dependent = self.edges[edge].dependent;
        let mut up = edge;
        let mut down = self.names[name].depends_on;
        let mut branches = Vec::new();
        loop {
            self.look()?;
            match self.edges[up].dependent {
                Dependent::Tombstone(above) if above == name => return Some(false),
                Dependent::Tombstone(above) if self.names[above].holder != NONE => {
                    up = self.names[above].holder;
                }
                _ => return Some(true),
            }
            if down == NONE {
                let Some(branch) = branches.pop() else {
                    return Some(true);
                };
                down = branch;
            }
            let Edge {
                name: below, sibling, ..
            } = self.edges[down];
            if self.names[below].holder == down {
                if dependent == Dependent::Tombstone(below) {
                    return Some(false);
                }
                branches.push(self.names[below].depends_on);
            }
            down = sibling;
        }
    }

    /// Finds new holders for all that hangs on `name`, which has none, and drops what has none either:
    /// cycles, and what they keep.
    fn prune(&mut self, name: NameId) -> Option<()> {
        let mut hanging = vec![name];
        let mut lost: Set<NameId> = hanging.iter().copied().collect();
        let mut at = 0;
        while let Some(above) = hanging.get(at) {
            at += 1;
            let mut edge = self.names[*above].depends_on;
            while edge != NONE {
                self.look()?;
                let Edge {
                    name: below, sibling, ..
                } = self.edges[edge];
                if self.names[below].holder == edge {
                    hanging.push(below);
                    lost.insert(below);
                }
                edge = sibling;
            }
        }
        // The holders of a dependent that is not in `hanging` lead to none of the names in it.
        let mut held = Vec::new();
        for name in &hanging {
            let mut edge = self.names[*name].dependents;
            while edge != NONE {
                self.look()?;
                let Edge { dependent, next, .. } = self.edges[edge];
                if !matches!(dependent, Dependent::Tombstone(above) if lost.contains(&above)) {
                    held.push((*name, edge));
                    break;
                }
                edge = next;
            }
        }
        // From here on it cannot end half way.
        for name in &hanging {
            self.names[*name].holder = NONE;
        }
        while let Some((name, holder)) = held.pop() {
            if !lost.remove(&name) {
                continue;
            }
            self.names[name].holder = holder;
            let mut edge = self.names[name].depends_on;
            while edge != NONE {
                let Edge {
                    name: below, sibling, ..
                } = self.edges[edge];
                if lost.contains(&below) {
                    held.push((below, edge));
                }
                edge = sibling;
            }
        }
        for name in hanging {
            if lost.contains(&name) {
                self.drop_tombstone(name);
            }
        }
        Some(())
    }
}
