//! Removals that have failed and are to be replayed. Nothing that they cover is near once their callers are told.

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

    /// What was added since this was last called.
    pub(super) fn take(&mut self) -> Vec<Removal> {
        std::mem::take(&mut self.removals)
    }
}
