//! Removals that have failed and are to be replayed. What they cover leaves the near cache before their callers are told.
//! Callers who left at their deadlines were told before: a delete has left the near cache when it was accepted.

use super::removals::Removal;
use super::tracker::Tracker;

/// The removals of one connection, until the engine takes them. Each is added before its caller is told.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    removals: Vec<Removal>,
    are_kept: bool,
    near: Option<Tracker>,
}

impl Unsent {
    /// Keeps the removals that are added, and takes what they name out of the near cache. The list that `default` makes keeps
    /// none.
    pub(super) fn kept(near: Option<Tracker>) -> Self {
        Self {
            removals: Vec::new(),
            are_kept: true,
            near,
        }
    }

    pub(super) fn are_kept(&self) -> bool {
        self.are_kept
    }

    pub(super) fn is_empty(&self) -> bool {
        self.removals.is_empty()
    }

    /// Adds a removal whose caller has yet to be told that it has failed.
    pub(super) fn add(&mut self, removal: Option<Removal>) {
        let Some(removal) = removal.filter(|_| self.are_kept) else {
            return;
        };
        if let Some(near) = &self.near {
            near.is_to_go(&removal);
        }
        self.removals.push(removal);
    }

    /// An empty list that keeps what this one would keep.
    pub(super) fn emptied(&self) -> Self {
        Self {
            removals: Vec::new(),
            are_kept: self.are_kept,
            near: self.near.clone(),
        }
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.removals.append(&mut other.removals);
    }

    /// What was added since this was last called.
    pub(super) fn take(&mut self) -> Vec<Removal> {
        std::mem::take(&mut self.removals)
    }
}
