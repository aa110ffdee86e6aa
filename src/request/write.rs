//! What is to be written.

use std::ops::Deref;
use std::time::Duration;

use crate::key::Key;
use crate::value::Value;

/// One entry to be written.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) value: Value,
    /// In whole milliseconds; `None` makes the entry persistent.
    pub(crate) ttl: Option<Duration>,
    pub(crate) depends_on: Names,
}

/// The names that an entry depends on, each once. Most entries have none: this is one word then.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::box_collection,
    reason = "a boxed slice is two words, in every request"
)]
pub(crate) struct Names(Option<Box<Vec<Key>>>);

impl From<Vec<Key>> for Names {
    fn from(names: Vec<Key>) -> Self {
        Self((!names.is_empty()).then(|| Box::new(names)))
    }
}

impl FromIterator<Key> for Names {
    fn from_iter<I: IntoIterator<Item = Key>>(names: I) -> Self {
        Self::from(Vec::from_iter(names))
    }
}

impl Deref for Names {
    type Target = [Key];

    fn deref(&self) -> &[Key] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// What must hold of the key for a write to be made.
#[derive(Debug)]
pub(crate) enum Condition {
    Absent,
    Present,
    Holds(Value),
}

impl Write {
    pub(crate) fn bytes(&self) -> usize {
        self.key.heap_bytes() + self.value.len() + bytes_of(&self.depends_on)
    }
}

pub(super) fn bytes_of(keys: &[Key]) -> usize {
    keys.iter().map(|key| size_of::<Key>() + key.heap_bytes()).sum()
}
