//! Decides which of the server's invalidation messages become events: those about changes by other clients.
//!
//! The server sends a message for each change of a tracked key, by this store and by other clients. A write of this store
//! removes its key from the near cache before it is sent, so the message about that write finds no entry. Invalidations and clearings do not know their keys before the server
//! has removed them. So while one of them runs, a message may be its own. The key then waits until it is known what the
//! work has removed.

use std::collections::HashSet;

use compact_str::CompactString;

/// The most keys that wait. Further ones are told at once, even if this store may have removed them itself.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Invalidations and clearings of this store's own that run.
    works: usize,
    /// Keys that were near when the server named them, and that these may have removed.
    undecided: HashSet<CompactString>,
    /// Keys that others have changed, to be told.
    foreign: Vec<CompactString>,
}

impl Changes {
    /// The server has named a key that was near. `may_be_own` tells that the effect of own work may still be under way.
    pub(super) fn add(&mut self, key: CompactString, may_be_own: bool) {
        if (self.works > 0 || may_be_own) && self.undecided.len() < MOST {
            self.undecided.insert(key);
        } else {
            self.foreign.push(key);
        }
    }

    pub(super) fn begin_work(&mut self) {
        self.works += 1;
    }

    pub(super) fn end_work(&mut self) {
        self.works -= 1;
    }

    /// Own work has removed a key, and listeners are told of it by that.
    pub(super) fn is_own(&mut self, key: &str) {
        self.undecided.remove(key);
    }

    /// A clearing of this store's own has removed all keys with this prefix.
    pub(super) fn are_own(&mut self, prefix: &str) {
        self.undecided.retain(|key| !key.starts_with(prefix));
    }

    /// Decides about what waits, once no effect of own work is under way.
    pub(super) fn settle(&mut self) {
        if self.works == 0 && !self.undecided.is_empty() {
            self.foreign.extend(std::mem::take(&mut self.undecided));
        }
    }

    /// The keys to tell listeners of.
    pub(super) fn take_foreign(&mut self) -> Vec<CompactString> {
        std::mem::take(&mut self.foreign)
    }
}
