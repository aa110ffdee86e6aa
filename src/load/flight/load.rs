//! A load: its keys, who waits for each, and what it may be made from.

use std::time::Duration;

use super::{CallerId, Terms};
use crate::key::Key;
use crate::prehashed::Map;

/// One loader, and what is known of the keys that it was given for.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) names: Vec<Key>,
    /// How long its keys are left alone if it gives nothing to store.
    pub(super) retry_after: Duration,
    /// Keys for which it is not known yet who loads them.
    pub(super) undecided: usize,
    /// Keys that another process loads.
    pub(super) abroad: usize,
    /// Questions to the engine on its behalf.
    pub(super) asks: usize,
    pub(super) started: bool,
    pub(super) marks: Marks,
    pub(super) has_contexts: bool,
    /// One of its keys is there: before its loader is called for the others, that is to be looked at. It might
    /// have gone again, and the loader is called once.
    pub(super) again: bool,
    /// The keys that it loads, and who waits for each: their own loader, or another's.
    pub(super) taken: Map<Key, Vec<Passenger>>,
}

/// A caller who waits for a load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passenger {
    pub(super) caller: CallerId,
    /// Whether the loader is the caller's own.
    pub(super) own: bool,
    /// Whether the caller came before the loader was called. A later one may have come after a change of a name that only
    /// the result of the load tells.
    pub(super) early: bool,
}

/// Whether a load may be made from something that was given out and never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Doubt {
    #[default]
    None,
    /// It is if its loader finds out that it depends on something that its lease did not name.
    IfLate,
    /// It is: nothing of it is stored.
    Dead,
}

/// What is known of the values that a running load may be made from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Marks {
    pub(crate) doubt: Doubt,
    /// One of them was given out, and may be older than a change that did not end the lease of this load at once. Who joined
    /// the load may have come after that change.
    pub(crate) outdated: bool,
}

/// What a loader has made of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Product {
    /// Whether it is to be stored.
    pub(crate) stored: bool,
    /// Whether it is the old value, which the engine has kept already.
    pub(crate) kept: bool,
    /// Whether it depends on names that the lease did not have.
    pub(crate) late: bool,
}

impl Load {
    /// A load of which it is to be found out who loads its keys.
    pub(super) fn of(terms: Terms, keys: usize) -> Self {
        Self {
            names: terms.names,
            retry_after: terms.retry_after,
            undecided: keys,
            abroad: 0,
            asks: 0,
            started: false,
            marks: Marks::default(),
            has_contexts: terms.has_contexts,
            again: false,
            taken: Map::default(),
        }
    }

    /// A load of one key that its caller has begun.
    pub(super) fn direct(terms: Terms, key: &Key, marks: Marks) -> Self {
        Self {
            started: true,
            marks,
            taken: [(key.clone(), Vec::new())].into_iter().collect(),
            ..Self::of(terms, 0)
        }
    }
}
