//! What always holds of a table, recomputed from its entries.

use super::super::expiry::{Moment, NO_SEAT};
use super::{Entry, Table};
use crate::weigher;

impl Table {
    /// # Panics
    ///
    /// If the map, its index, its heap and its byte count do not agree.
    pub(in crate::engines::memory) fn check(&self) {
        let entries: Vec<&Entry> = (0..self.entries.end())
            .filter_map(|slot| self.entries.get(slot))
            .collect();
        assert_eq!(self.entries.len(), entries.len());
        assert_eq!(self.index.len(), entries.len(), "an index entry for each entry");
        let timed = entries.iter().filter(|entry| entry.seat != NO_SEAT).count();
        assert_eq!(self.expiry.len(), timed, "a deadline for each entry that has one");
        for entry in &entries {
            assert_eq!(entry.due == Moment::NEVER, entry.seat == NO_SEAT);
            let found = self.locate(&entry.key).map(|slot| &self.entries[slot].key);
            assert_eq!(found, Some(&entry.key), "an entry is found by its key");
        }
        let bytes: usize = entries.iter().map(|entry| entry.bytes()).sum();
        assert_eq!(self.bytes, bytes + timed * weigher::DEADLINE);
        self.dependencies.check();
        let (names, edges, tombstones) = self.dependencies.sizes();
        assert!(tombstones <= names, "a tombstone is a name");
        assert!(self.dependencies.bytes() >= names * weigher::NAME + edges * weigher::EDGE);
    }
}
