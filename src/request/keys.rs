//! The keys of an operation, and the types of fields that have keys.

use super::{LeaseAction, LockStep, Write};
use crate::key::Key;

/// The keys of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keys<'a> {
    None,
    One(&'a Key),
    Many(&'a [Key]),
    /// The keys of what is written.
    Written(&'a [Write]),
}

impl<'a> Keys<'a> {
    pub(crate) fn first(self) -> Option<&'a Key> {
        match self {
            Keys::None => None,
            Keys::One(key) => Some(key),
            Keys::Many(keys) => keys.first(),
            Keys::Written(writes) => writes.first().map(|write| &write.key),
        }
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Keys::None => 0,
            Keys::One(_) => 1,
            Keys::Many(keys) => keys.len(),
            Keys::Written(writes) => writes.len(),
        }
    }

    pub(crate) fn for_each(self, mut see: impl FnMut(&'a Key)) {
        match self {
            Keys::None => {}
            Keys::One(key) => see(key),
            Keys::Many(keys) => keys.iter().for_each(see),
            Keys::Written(writes) => writes.iter().for_each(|write| see(&write.key)),
        }
    }

    /// Whether an entry is written that gets a TTL. All writes of one operation have the same.
    pub(super) fn get_a_ttl(self) -> bool {
        matches!(self, Keys::Written([write, ..]) if write.ttl.is_some())
    }
}

/// A field of an operation that has keys.
pub(super) trait Keyed {
    fn keys(&self) -> Keys<'_>;
}

impl Keyed for Key {
    fn keys(&self) -> Keys<'_> {
        Keys::One(self)
    }
}

impl Keyed for Vec<Key> {
    fn keys(&self) -> Keys<'_> {
        Keys::Many(self)
    }
}

impl Keyed for Write {
    fn keys(&self) -> Keys<'_> {
        Keys::Written(std::slice::from_ref(self))
    }
}

impl Keyed for Vec<Write> {
    fn keys(&self) -> Keys<'_> {
        Keys::Written(self)
    }
}

impl Keyed for LeaseAction {
    fn keys(&self) -> Keys<'_> {
        Keys::One(self.key())
    }
}

impl Keyed for LockStep {
    fn keys(&self) -> Keys<'_> {
        Keys::One(&self.key)
    }
}

impl<T: Keyed> Keyed for Box<T> {
    fn keys(&self) -> Keys<'_> {
        (**self).keys()
    }
}
