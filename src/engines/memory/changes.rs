//! Which names have changed lately, for loads whose loaders find out what their values depend on.

use std::mem;

use crate::key::Key;
use crate::prehashed::Map;

/// The most names in each of the two halves.
const HALF: usize = 32_768;

/// The names that changed, each with the number of its last change. Names are known by their hashes: if two are equal,
/// a value is not stored that could be.
///
/// At least the last `HALF` names are remembered, and twice as many at most. A load that began before the oldest of
/// them cannot tell what changed meanwhile.
#[derive(Debug, Default)]
pub(super) struct Changes {
    last: u64,
    /// Of what changed up to this number, not all is remembered.
    forgotten: u64,
    young: Map<u64, u64>,
    old: Map<u64, u64>,
}

impl Changes {
    /// The number of the last change.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Takes note of a change.
    pub(super) fn note(&mut self, name: &Key) {
        if self.young.len() == HALF && !self.young.contains_key(&name.hash()) {
            // The older half is forgotten, and the younger half becomes the older.
            self.forgotten = self.forgotten.max(self.old.values().copied().max().unwrap_or(0));
            self.old = mem::take(&mut self.young);
        }
        self.last += 1;
        self.young.insert(name.hash(), self.last);
    }

    /// Takes note that names changed that nobody lists.
    pub(super) fn note_unknown(&mut self) {
        self.last += 1;
        self.forget();
    }

    /// Forgets all names.
    pub(super) fn forget(&mut self) {
        self.forgotten = self.last;
        self.young = Map::default();
        self.old = Map::default();
    }

    /// Whether one of these names may have changed since the change with the number `began`.
    pub(super) fn may_touch(&self, names: &[Key], began: u64) -> bool {
        let is_later =
            |half: &Map<u64, u64>, name: &Key| half.get(&name.hash()).is_some_and(|at| *at > began);
        let changed = |name| is_later(&self.young, name) || is_later(&self.old, name);
        !names.is_empty() && (self.forgotten > began || names.iter().any(changed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(number: u64) -> Key {
        Key::with_hash("n", number)
    }

    proptest! {
        /// Nothing that changed is ever missed, and what did not change is only suspected once too much has changed.
        #[test]
        fn a_change_is_told_however_many_follow(
            before in 0..3u64, after in prop_oneof![0..100u64, 0..4 * HALF as u64], unknown: bool,
        ) {
            let mut changes = Changes::default();
            (0..before).for_each(|number| changes.note(&name(number)));
            let began = changes.last();
            prop_assert!(!changes.may_touch(&[name(0), name(1)], began));
            changes.note(&name(0));
            (0..after).for_each(|number| changes.note(&name(100 + number)));
            if unknown {
                changes.note_unknown();
            }
            prop_assert!(changes.may_touch(&[name(9), name(0)], began));
            prop_assert!(!changes.may_touch(&[], began));
            if !unknown && after < HALF as u64 {
                prop_assert!(!changes.may_touch(&[name(1)], began));
            }
            prop_assert!(changes.young.len() <= HALF && changes.old.len() <= HALF);
            prop_assert!(!changes.may_touch(&[name(0)], changes.last()));
        }
    }
}
