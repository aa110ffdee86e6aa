//! The types of an operation's fields: the bytes that they hold, and the values that can be dropped.

use std::time::Duration;

use super::{Condition, Cursor, LeaseAction, LeaseTerms, LockStep, Progress, Write};
use crate::key::{Key, Within};
use crate::value::Value;

/// A field of an operation.
pub(super) trait Field {
    /// The bytes that it holds beyond its own size.
    fn bytes(&self) -> usize {
        0
    }

    /// Drops the values to be written in it.
    fn drop_values(&mut self) {}
}

impl Field for bool {}
impl Field for i64 {}
impl Field for Cursor {}
impl Field for Duration {}
impl Field for Progress {}
impl Field for Within {}
impl<T: Field> Field for Option<T> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, Field::bytes)
    }

    fn drop_values(&mut self) {
        self.iter_mut().for_each(Field::drop_values);
    }
}

impl<T: Field> Field for Box<T> {
    fn bytes(&self) -> usize {
        (**self).bytes()
    }

    fn drop_values(&mut self) {
        (**self).drop_values();
    }
}

impl Field for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Field for Key {
    fn bytes(&self) -> usize {
        self.heap_bytes()
    }
}

impl Field for Vec<Key> {
    fn bytes(&self) -> usize {
        super::bytes_of(self)
    }
}

impl Field for Value {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Field for Condition {
    fn bytes(&self) -> usize {
        match self {
            Condition::Absent | Condition::Present => 0,
            Condition::Holds(value) => value.len(),
        }
    }
}

impl Field for Write {
    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn drop_values(&mut self) {
        self.value = Value::default();
    }
}

impl Field for Vec<Write> {
    fn bytes(&self) -> usize {
        self.iter().map(|write| size_of::<Write>() + write.bytes()).sum()
    }

    fn drop_values(&mut self) {
        self.iter_mut().for_each(Field::drop_values);
    }
}

impl Field for LeaseAction {
    fn bytes(&self) -> usize {
        self.bytes()
    }
}

impl Field for LeaseTerms {
    fn bytes(&self) -> usize {
        self.bytes()
    }
}

impl Field for LockStep {
    fn bytes(&self) -> usize {
        self.key.heap_bytes()
    }
}
