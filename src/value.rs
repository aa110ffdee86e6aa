//! A value on its way in or out: bytes, shared, in one allocation of exactly their length.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// Up to this length a reader gets a copy of its own; longer values are shared with the engine.
/// A copy of this size costs less than the reference count it saves.
const COPIED: usize = 1024;

/// What a key holds: bytes. Made from anything that is bytes already.
///
/// The bytes are copied once into an allocation of their exact length, so that what an engine
/// accounts for is what it holds: a small [`Bytes`] cut from a large buffer does not keep the
/// buffer alive.
///
/// `Debug` shows the length, never the bytes.
///
/// ```
/// use cachestore::Value;
///
/// let value = Value::from("hello");
/// assert_eq!(value.len(), 5);
/// assert_eq!(format!("{value:?}"), "Value(5 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

impl From<Value> for Bytes {
    fn from(value: Value) -> Self {
        if value.len() <= COPIED {
            Bytes::copy_from_slice(&value.0)
        } else {
            Bytes::from_owner(value)
        }
    }
}

macro_rules! from_bytes {
    ($($source:ty),+ $(,)?) => {$(
        impl From<$source> for Value {
            fn from(source: $source) -> Self {
                Self(Arc::from(AsRef::<[u8]>::as_ref(&source)))
            }
        }
    )+};
}

from_bytes!(
    &str,
    &String,
    String,
    &[u8],
    &Vec<u8>,
    Vec<u8>,
    Box<[u8]>,
    Bytes,
    &Bytes
);

impl From<Arc<[u8]>> for Value {
    fn from(source: Arc<[u8]>) -> Self {
        Self(source)
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(source: [u8; N]) -> Self {
        Self(Arc::from(source.as_slice()))
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(source: &[u8; N]) -> Self {
        Self(Arc::from(source.as_slice()))
    }
}

impl From<Cow<'_, str>> for Value {
    fn from(source: Cow<'_, str>) -> Self {
        Self::from(&*source)
    }
}

impl From<Cow<'_, [u8]>> for Value {
    fn from(source: Cow<'_, [u8]>) -> Self {
        Self::from(&*source)
    }
}

impl From<&Value> for Value {
    fn from(source: &Value) -> Self {
        source.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_of_a_large_buffer_does_not_keep_the_buffer() {
        let buffer = Bytes::from(vec![7; 1 << 20]);
        let value = Value::from(buffer.slice(10..20));
        assert!(buffer.is_unique(), "the value holds a copy");
        assert_eq!(value.as_bytes(), [7; 10]);
    }

    #[test]
    fn small_values_are_copied_out_and_large_ones_shared() {
        let small = Value::from(vec![1; COPIED]);
        let large = Value::from(vec![1; COPIED + 1]);
        assert_ne!(Bytes::from(small.clone()).as_ptr(), small.as_bytes().as_ptr());
        assert_eq!(Bytes::from(large.clone()).as_ptr(), large.as_bytes().as_ptr());
    }
}
