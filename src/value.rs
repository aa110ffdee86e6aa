//! A value on its way in or out: bytes, shared, in one allocation of exactly their length.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Up to this length a reader gets a copy of its own; longer values are shared with the engine.
/// A copy of this size costs less than the reference count it saves.
const COPIED: usize = 1024;

/// The value of a key: bytes. It is made from text, byte slices, vectors and [`Bytes`].
///
/// The bytes are copied once into an allocation of their exact length. So the byte count of an engine is exact: a small
/// [`Bytes`] that was cut from a large buffer does not keep the buffer alive.
///
/// `Debug` shows the length, never the bytes. In a model it is bytes, see [`Codec`](crate::Codec#bytes).
///
/// ```
/// use cachestore::Value;
///
/// let value = Value::from("hello");
/// assert_eq!(value.len(), 5);
/// assert_eq!(format!("{value:?}"), "Value(5 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Value {
    /// The bytes for a caller: a copy of few, and a share of many.
    pub(crate) fn to_bytes(&self) -> Bytes {
        if self.len() <= COPIED {
            Bytes::copy_from_slice(&self.0)
        } else {
            Bytes::from_owner(self.clone())
        }
    }

    /// The value as a decimal integer, in the one form that Redis takes too: no sign but `-`, no leading
    /// zeros, no blanks.
    pub(crate) fn to_integer(&self) -> Option<i64> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let number: i64 = text.parse().ok()?;
        (number.to_string() == text).then_some(number)
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

/// As bytes, like [`Bytes`].
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// From bytes, a string, or a sequence of numbers, like [`Bytes`].
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(Self::from)
    }
}

impl From<Value> for Bytes {
    fn from(value: Value) -> Self {
        if value.len() <= COPIED {
            value.to_bytes()
        } else {
            Bytes::from_owner(value)
        }
    }
}

/// Values of up to this length that are read together share blocks of [`BLOCK`] bytes.
const PACKED: usize = 256;
/// What one small value that is kept can keep alive at most.
const BLOCK: usize = 4096;

/// The bytes of values that were read together, with an allocation for many small ones.
pub(crate) fn pack(values: Vec<Option<Value>>) -> Vec<Option<Bytes>> {
    let mut left: usize = values
        .iter()
        .flatten()
        .map(Value::len)
        .filter(|len| *len <= PACKED)
        .sum();
    let mut block = BytesMut::new();
    let mut bytes = |value: Value| {
        if value.len() > PACKED {
            return Bytes::from(value);
        }
        if block.capacity() < value.len() {
            block = BytesMut::with_capacity(left.min(BLOCK));
        }
        left -= value.len();
        block.extend_from_slice(value.as_bytes());
        block.split().freeze()
    };
    values.into_iter().map(|value| value.map(&mut bytes)).collect()
}

macro_rules! from_bytes {
    ($($source:ty),+ $(,)?) => {$(
        impl From<$source> for Value {
            fn from(source: $source) -> Self {
                Self(Arc::from(AsRef::<[u8]>::as_ref(&*source)))
            }
        }
    )+};
}

from_bytes!(
    &str,
    &&str,
    Box<str>,
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
    fn values_read_together_are_whole_and_keep_a_block_alive_at_most() {
        let values: Vec<_> = (0..300)
            .map(|n| (n % 7 != 0).then(|| Value::from(vec![n as u8; n])))
            .collect();
        let packed = pack(values.clone());
        for (value, bytes) in values.iter().zip(&packed) {
            assert_eq!(value.as_ref().map(Value::as_bytes), bytes.as_deref());
        }
        let blocks = packed.iter().flatten().filter(|bytes| bytes.len() <= PACKED);
        let starts: Vec<_> = blocks.map(|bytes| bytes.as_ptr() as usize).collect();
        let packed_side_by_side = starts
            .windows(2)
            .filter(|pair| pair[1].wrapping_sub(pair[0]) <= PACKED)
            .count();
        assert!(packed_side_by_side > starts.len() / 2);
    }

    #[test]
    fn small_values_are_copied_out_and_large_ones_shared() {
        let small = Value::from(vec![1; COPIED]);
        let large = Value::from(vec![1; COPIED + 1]);
        assert_ne!(Bytes::from(small.clone()).as_ptr(), small.as_bytes().as_ptr());
        assert_eq!(Bytes::from(large.clone()).as_ptr(), large.as_bytes().as_ptr());
    }
}
