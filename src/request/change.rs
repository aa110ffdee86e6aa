//! The change that an operation made to its keys, read from its answer.

use crate::value::Value;

/// What happened to the entry of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyChange {
    Written,
    Expired,
    Evicted,
    Deleted,
    Invalidated,
}

/// The answer of an operation that writes or deletes.
pub(super) trait Tells {
    /// Whether an operation that writes has written.
    fn has_written(&self) -> bool {
        true
    }

    /// Whether an operation that deletes has deleted anything.
    fn has_deleted(&self) -> bool {
        true
    }
}

impl Tells for () {}
impl Tells for i64 {}

impl Tells for bool {
    fn has_written(&self) -> bool {
        *self
    }

    fn has_deleted(&self) -> bool {
        *self
    }
}

impl Tells for u64 {
    fn has_deleted(&self) -> bool {
        *self > 0
    }
}

/// The value that was there before.
impl Tells for Option<Value> {
    fn has_deleted(&self) -> bool {
        self.is_some()
    }
}
