//! What the loads under way are made from, in short: whether one of them may depend on a name is known without a look at
//! each of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::key::Key;

const PLACES: usize = 1024;

/// How many loads depend on names, by the hashes of the names. Names whose hashes share a place count as one.
#[derive(Debug)]
pub(super) struct Sources {
    /// Boxed, for the coordinator is moved with every poll.
    names: Box<[AtomicUsize]>,
    /// How many loads may find out further names.
    open: AtomicUsize,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            names: (0..PLACES).map(|_| AtomicUsize::new(0)).collect(),
            open: AtomicUsize::new(0),
        }
    }
}

impl Sources {
    /// A load of these names is under way. `has_contexts` says that it may find out further names.
    pub(super) fn add(&self, names: &[Key], has_contexts: bool) {
        for name in names {
            self.place(name).fetch_add(1, Ordering::SeqCst);
        }
        if has_contexts {
            self.open.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The load has ended.
    pub(super) fn remove(&self, names: &[Key], has_contexts: bool) {
        for name in names {
            self.place(name).fetch_sub(1, Ordering::SeqCst);
        }
        if has_contexts {
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether a load may depend on `name`, as far as the names are known with which loads began.
    pub(super) fn have(&self, name: &Key) -> bool {
        self.place(name).load(Ordering::SeqCst) > 0
    }

    /// Whether a load may depend on `name`, or may find out that it does.
    pub(super) fn may_have(&self, name: &Key) -> bool {
        self.have(name) || self.open.load(Ordering::SeqCst) > 0
    }

    fn place(&self, name: &Key) -> &AtomicUsize {
        &self.names[name.hash() as usize % PLACES]
    }
}
