//! What always holds of the graph, and its sizes, for tests.

use super::{Dependencies, Dependent, NONE};

impl Dependencies {
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.names.len(), self.edges.len(), self.tombstones)
    }

    /// # Panics
    ///
    /// If a load is behind another dependent of its name, or if the edges of a name do not lead back as they lead on.
    pub(crate) fn check(&self) {
        for name in (0..self.names.end()).filter_map(|name| self.names.get(name)) {
            let (mut edge, mut others) = (name.dependents, false);
            let mut last = NONE;
            while edge != NONE {
                if last != NONE {
                    assert_eq!(self.edges[edge].previous, last);
                }
                last = edge;
                let load = matches!(self.edges[edge].dependent, Dependent::Load(_));
                assert!(!(load && others), "loads come first");
                others |= !load;
                edge = self.edges[edge].next;
            }
            if last != NONE {
                assert_eq!(
                    self.edges[name.dependents].previous, last,
                    "the first leads to the last"
                );
            }
        }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }
}
