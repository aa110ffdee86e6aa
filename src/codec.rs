//! Models to bytes and back, safe on bytes from strangers.
//!
//! Whoever can write to the server can write any bytes, so nothing that they claim is believed:
//! one pass without recursion settles depth and lengths before serde sees them, see [`depth`].

mod depth;
mod error;
mod read;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// The most levels of arrays and maps that a model may nest, both written and read.
///
/// A struct, a map, a sequence and a tuple are a level each; an enum's variant is one more for its
/// name if it carries data. Options, boxes and newtypes are none.
pub const MAX_DEPTH: usize = 64;

/// How models are stored: the format of `set_model`, `get_model` and loads.
///
/// Both store field names, so fields can be reordered, and added with `#[serde(default)]`, while
/// old entries are still cached. Both read and write at most [`MAX_DEPTH`] levels.
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
    #[default]
    MessagePack,
    /// JSON, which other languages and people read. Map keys must be strings, numbers, booleans or
    /// unit variants, and a float that is not finite is stored as `null`.
    Json,
}

impl Codec {
    /// The bytes of `model`. The serializer is stopped at the first level past [`MAX_DEPTH`], so a
    /// list of a million links costs no more stack than one of 64; in MessagePack that does not hold
    /// for levels of unknown length, see [`ScannedOutput`](depth::ScannedOutput).
    pub(crate) fn encode<T>(self, model: &T) -> Result<Vec<u8>, EncodeError>
    where
        T: Serialize + ?Sized,
    {
        match self {
            Self::MessagePack => {
                let mut output = depth::ScannedOutput::new();
                let result = rmp_serde::encode::write_named(&mut output, model);
                if let Some(fault) = output.fault() {
                    return Err(EncodeError::from_scan(fault));
                }
                result.map_err(|_| EncodeError::new(EncodeErrorKind::Custom, Some(output.len())))?;
                output.finish().map_err(|fault| EncodeError::from_scan(&fault))
            }
            Self::Json => {
                let mut bytes = Vec::with_capacity(depth::FIRST_CAPACITY);
                let formatter = depth::LevelFormatter::default();
                let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
                let result = model.serialize(&mut serializer);
                // Raw values pass the formatter by, and errors can be hidden from the serializer.
                depth::check_json(&bytes).map_err(|fault| EncodeError::from_scan(&fault))?;
                result.map_err(|error| EncodeError::from_json(&error, bytes.len()))?;
                Ok(bytes)
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
                read::from_scanned(bytes)
            }
            Self::Json => {
                depth::check_json(bytes)?;
                serde_json::from_slice(bytes).map_err(|error| DecodeError::from_json(&error, bytes))
            }
        }
    }
}
