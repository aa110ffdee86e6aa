//! Models to bytes and back, safe on bytes from strangers.
//!
//! Anyone who can write to the server can write any bytes. So one pass without recursion checks depth
//! and lengths before serde sees them, see [`depth`].

mod depth;
mod error;
mod field;
mod read;
#[cfg(test)]
mod tests;
mod text;
mod write;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// The most levels of arrays and maps that a model may nest, both written and read.
///
/// A struct, a map, a sequence and a tuple are one level each. An enum variant with data is one more level, for its
/// name. Options, boxes and newtypes are not levels.
pub const MAX_DEPTH: usize = 64;

/// How models are stored: the format of `set_model`, `get_model` and loads.
///
/// Both formats store field names. So a struct can reorder its fields, and add fields with `#[serde(default)]`, while
/// old entries are still cached. Both read and write at most [`MAX_DEPTH`] levels. Floats keep every bit.
///
/// Both are *human-readable* in serde's sense, as serde's own buffers for `tag`, `untagged` and `flatten` are. So types
/// with two forms, such as IP addresses and the identifiers of `uuid`, are stored as text.
///
/// # Bytes
///
/// MessagePack stores bytes as they are. JSON stores them as a list of numbers, which takes about four times the space,
/// and about a hundred times as long to read. In MessagePack a [`Bytes`](crate::Bytes), a [`Value`](crate::Value), and
/// a field with `#[serde(with = "serde_bytes")]` are read by one copy. A `Vec<u8>` of at least 32 bytes is stored in
/// the same space, but serde reads it byte by byte.
///
/// # Limits of serde
///
/// serde cannot buffer integers of 128 bits: inside `tag`, `untagged` and `flatten` they can be written but not read.
/// In JSON the same holds for maps with number keys inside these. `Some(None)`, and `Some` of a unit, are read as
/// `None`.
///
/// ```
/// use cachestore::Codec;
///
/// assert_eq!(Codec::default(), Codec::MessagePack);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// [MessagePack](https://msgpack.org), structs as maps from field names: compact and fast.
    ///
    /// A model does not decode from the text that [`set`](crate::Store::set) or
    /// [`incr`](crate::Store::incr) wrote. One ASCII digit is a small integer in MessagePack, and `"5"`
    /// would be read as 53. So a model that is a single number is read only in the form that its type writes, and a
    /// number below 128 takes two bytes. The exception is a text that has the same bytes as a number: the two bytes of
    /// `"\u{410}"` are also the integer -112.
    #[default]
    MessagePack,
    /// JSON, for other languages and people. Map keys must be strings, numbers, booleans or unit variants. A float that
    /// is not finite is stored as `null`. A counter of [`incr`](crate::Store::incr) can be read as a model, too: as its
    /// number.
    Json,
}

impl Codec {
    /// The bytes of `model`. The serializer is stopped at the first level past [`MAX_DEPTH`], so a
    /// list of a million links costs no more stack than one of 64.
    pub(crate) fn encode<T>(self, model: &T) -> Result<Vec<u8>, EncodeError>
    where
        T: Serialize + ?Sized,
    {
        match self {
            Self::MessagePack => {
                let mut bytes = write::to_bytes(model)?;
                text::keep_apart(&mut bytes);
                Ok(bytes)
            }
            Self::Json => {
                let mut bytes = Vec::with_capacity(depth::FIRST_CAPACITY);
                let formatter = depth::LevelFormatter::default();
                let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
                let result = model.serialize(&mut serializer);
                // Raw values pass the formatter by, and errors can be hidden from the serializer.
                depth::check_json(&bytes).map_err(|fault| EncodeError::from_scan(&fault))?;
                match result {
                    Ok(()) => Ok(bytes),
                    Err(error) => {
                        let error = EncodeError::from_json(&error, bytes.len());
                        Err(field::unwritten(error, model))
                    }
                }
            }
        }
    }

    /// The model in `bytes`, which must be one whole value and nothing after it.
    pub(crate) fn decode<T>(self, bytes: &[u8]) -> Result<T, DecodeError>
    where
        T: DeserializeOwned,
    {
        match self {
            Self::MessagePack => {
                depth::check_message_pack(bytes)?;
                if text::is_text(bytes) {
                    return Err(DecodeError::new(DecodeErrorKind::TypeMismatch, Some(0)));
                }
                read::from_scanned(bytes)
            }
            Self::Json => {
                depth::check_json(bytes)?;
                serde_json::from_slice(bytes)
                    .map_err(|error| field::unread::<T>(DecodeError::from_json(&error, bytes), bytes))
            }
        }
    }
}
