//! A serde reader of MessagePack that has been scanned.
//!
//! Why not rmp-serde's: in a debug build it needs 320 KiB of stack for a plain recursive struct of
//! 64 levels, which has to be read on 256 KiB, and its errors are texts that quote values. Here the
//! frames that a level repeats are small, scalars are read in a leaf, and no error is formatted.
//! It reads what rmp-serde writes with field names, too.

mod access;
mod failure;
mod top;

use rmp_serde::MSGPACK_EXT_STRUCT_NAME as EXTENSION;
use serde::Deserialize;
use serde::de::Visitor;
use serde::de::value::{BorrowedStrDeserializer, SeqAccessDeserializer};

use self::access::{Elements, Entries, Extension, Octets, Variant};
use self::failure::Failure;
use super::depth::MessagePackScan;
use super::error::{DecodeError, DecodeErrorKind};

/// Reads a model from bytes that passed [`check_message_pack`](super::depth::check_message_pack).
///
/// The scan is what bounds the recursion: a level is entered only at a header that was counted.
pub(super) fn from_scanned<'de, T>(bytes: &'de [u8]) -> Result<T, DecodeError>
where
    T: Deserialize<'de>,
{
    let mut reader = Reader::new(bytes);
    match T::deserialize(top::Top(&mut reader)) {
        Ok(model) => Ok(model),
        Err(mut failure) => {
            failure.set_offset(0);
            Err(failure.into_error())
        }
    }
}

struct Reader<'de> {
    /// What has not been read.
    rest: &'de [u8],
    /// How long all of it is, to tell places.
    len: usize,
}

/// The start of a value, with its header read.
enum Start {
    Array(u32),
    Map(u32),
    /// Any other, by its marker.
    Scalar(u8),
}

impl<'de> Reader<'de> {
    fn new(bytes: &'de [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
        }
    }

    /// How many bytes have been read.
    #[inline]
    fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'de [u8], Failure> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(Failure::new(DecodeErrorKind::Truncated));
        };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let Some((chunk, rest)) = self.rest.split_first_chunk() else {
            return Err(Failure::new(DecodeErrorKind::Truncated));
        };
        self.rest = rest;
        Ok(*chunk)
    }

    /// A number or anything else that is not asked to be more.
    #[inline]
    fn plain<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Failure> {
        let [marker] = self.chunk()?;
        self.scalar(marker, visitor)
    }

    /// Whether `marker` is next, and passes it if so.
    #[inline]
    fn skip(&mut self, marker: u8) -> bool {
        let Some(rest) = self.rest.strip_prefix(&[marker]) else {
            return false;
        };
        self.rest = rest;
        true
    }

    #[inline]
    fn start(&mut self) -> Result<Start, Failure> {
        let [marker] = self.chunk()?;
        Ok(match marker {
            0x80..=0x8f => Start::Map(u32::from(marker & 0x0f)),
            0x90..=0x9f => Start::Array(u32::from(marker & 0x0f)),
            0xdc => Start::Array(u32::from(u16::from_be_bytes(self.chunk()?))),
            0xdd => Start::Array(u32::from_be_bytes(self.chunk()?)),
            0xde => Start::Map(u32::from(u16::from_be_bytes(self.chunk()?))),
            0xdf => Start::Map(u32::from_be_bytes(self.chunk()?)),
            _ => Start::Scalar(marker),
        })
    }

    /// The payload of a string, a binary or an extension.
    fn payload(&mut self, marker: u8) -> Result<&'de [u8], Failure> {
        let len = match marker {
            0xa0..=0xbf => u32::from(marker & 0x1f),
            0xc4 | 0xc7 | 0xd9 => u32::from(u8::from_be_bytes(self.chunk()?)),
            0xc5 | 0xc8 | 0xda => u32::from(u16::from_be_bytes(self.chunk()?)),
            0xc6 | 0xc9 | 0xdb => u32::from_be_bytes(self.chunk()?),
            0xd4..=0xd8 => 1 << (marker - 0xd4),
            _ => return Err(Failure::new(DecodeErrorKind::TypeMismatch)),
        };
        // An extension's type is read with its payload.
        let tag = usize::from(matches!(marker, 0xc7..=0xc9 | 0xd4..=0xd8));
        self.take(usize::try_from(len).unwrap_or(usize::MAX).saturating_add(tag))
    }

    #[inline]
    fn string(&mut self, marker: u8) -> Result<&'de str, Failure> {
        let payload = self.payload(marker)?;
        std::str::from_utf8(payload).map_err(|_| Failure::new(DecodeErrorKind::InvalidUtf8))
    }

    /// A leaf for all that holds no values: the frames of deep models do without its many results.
    fn scalar<V: Visitor<'de>>(&mut self, marker: u8, visitor: V) -> Result<V::Value, Failure> {
        match marker {
            0x00..=0x7f => visitor.visit_u8(marker),
            0xa0..=0xbf | 0xd9..=0xdb => visitor.visit_borrowed_str(self.string(marker)?),
            0xc0 => visitor.visit_unit(),
            0xc2 => visitor.visit_bool(false),
            0xc3 => visitor.visit_bool(true),
            0xc4 | 0xc5 => visitor.visit_borrowed_bytes(self.payload(marker)?),
            // A sequence of `u8`, or bytes of that length. A type that takes any value takes a sequence.
            0xc6 => self.octets(marker, visitor),
            0xca => visitor.visit_f32(f32::from_be_bytes(self.chunk()?)),
            0xcb => visitor.visit_f64(f64::from_be_bytes(self.chunk()?)),
            0xcc => visitor.visit_u8(u8::from_be_bytes(self.chunk()?)),
            0xcd => visitor.visit_u16(u16::from_be_bytes(self.chunk()?)),
            0xce => visitor.visit_u32(u32::from_be_bytes(self.chunk()?)),
            0xcf => visitor.visit_u64(u64::from_be_bytes(self.chunk()?)),
            0xd0 => visitor.visit_i8(i8::from_be_bytes(self.chunk()?)),
            0xd1 => visitor.visit_i16(i16::from_be_bytes(self.chunk()?)),
            0xd2 => visitor.visit_i32(i32::from_be_bytes(self.chunk()?)),
            0xd3 => visitor.visit_i64(i64::from_be_bytes(self.chunk()?)),
            0xc7..=0xc9 | 0xd4..=0xd8 => {
                let extension = Extension::new(self.payload(marker)?);
                visitor.visit_newtype_struct(SeqAccessDeserializer::new(extension))
            }
            0xe0..=0xff => visitor.visit_i8(marker.cast_signed()),
            0xc1 => Err(Failure::new(DecodeErrorKind::Malformed)),
            0x80..=0x9f | 0xdc..=0xdf => Err(Failure::new(DecodeErrorKind::TypeMismatch)),
        }
    }

    fn array<V: Visitor<'de>>(&mut self, len: u32, visitor: V) -> Result<V::Value, Failure> {
        let mut elements = Elements {
            reader: self,
            left: len,
        };
        let mut result = visitor.visit_seq(&mut elements);
        if elements.left > 0 && result.is_ok() {
            result = Err(Failure::new(DecodeErrorKind::InvalidLength));
        }
        result
    }

    /// The bytes of a binary as a sequence.
    fn octets<V: Visitor<'de>>(&mut self, marker: u8, visitor: V) -> Result<V::Value, Failure> {
        let mut octets = Octets(self.payload(marker)?.iter());
        let mut result = visitor.visit_seq(&mut octets);
        if !octets.0.as_slice().is_empty() && result.is_ok() {
            result = Err(Failure::new(DecodeErrorKind::InvalidLength));
        }
        result
    }

    fn map<V: Visitor<'de>>(
        &mut self,
        len: u32,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let mut entries = Entries {
            key: self.rest,
            reader: self,
            left: len,
            fields,
        };
        let mut result = visitor.visit_map(&mut entries);
        if entries.left > 0 && result.is_ok() {
            result = Err(Failure::new(DecodeErrorKind::InvalidLength));
        }
        result
    }

    /// The 16 bytes that integers of 128 bits are written as, if they are next.
    fn wide(&mut self) -> Option<[u8; 16]> {
        let (wide, rest) = self.rest.strip_prefix(&[0xc4, 16])?.split_first_chunk()?;
        self.rest = rest;
        Some(*wide)
    }
}

macro_rules! forward {
    ($($method:ident($($argument:ty),*) => $target:ident;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $(_: $argument,)*
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.$target(visitor)
        }
    )*};
}

impl<'de> serde::Deserializer<'de> for &mut Reader<'de> {
    type Error = Failure;

    /// As in serde's own buffers behind `tag`, `untagged` and `flatten`, which cannot be told otherwise.
    #[inline]
    fn is_human_readable(&self) -> bool {
        true
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.start()? {
            Start::Array(len) => self.array(len, visitor),
            Start::Map(len) => self.map(len, &[], visitor),
            Start::Scalar(marker) => self.scalar(marker, visitor),
        }
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(marker @ 0xc4..=0xc6) = self.rest.first() {
            let [_] = self.chunk()?;
            return self.octets(*marker, visitor);
        }
        self.deserialize_any(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(marker @ 0xc4..=0xc6) = self.rest.first() {
            let [_] = self.chunk()?;
            return visitor.visit_borrowed_bytes(self.payload(*marker)?);
        }
        self.deserialize_any(visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.start()? {
            Start::Array(len) => self.array(len, visitor),
            Start::Map(len) => self.map(len, fields, visitor),
            Start::Scalar(marker) => self.scalar(marker, visitor),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.skip(0xc0) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.start()? {
            Start::Map(1) => visitor.visit_enum(Variant(self)),
            Start::Scalar(marker @ (0xa0..=0xbf | 0xd9..=0xdb)) => {
                visitor.visit_enum(BorrowedStrDeserializer::new(self.string(marker)?))
            }
            _ => Err(Failure::new(DecodeErrorKind::TypeMismatch)),
        }
    }

    /// rmp-serde writes a unit struct as an empty array.
    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if self.skip(0x90) {
            return visitor.visit_unit();
        }
        self.deserialize_any(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if name == EXTENSION {
            return self.deserialize_any(visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.wide() {
            Some(wide) => visitor.visit_i128(i128::from_be_bytes(wide)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.wide() {
            Some(wide) => visitor.visit_u128(u128::from_be_bytes(wide)),
            None => self.deserialize_any(visitor),
        }
    }

    /// Skipped by the scan, which needs no stack for its levels.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let mut scan = MessagePackScan::new();
        scan.advance_value(self.rest)
            .map_err(|error| Failure::new(error.kind()))?;
        self.take(scan.end())?;
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(marker @ 0xa0..=0xbf) = self.rest.first() {
            let [_] = self.chunk()?;
            return visitor.visit_borrowed_str(self.string(*marker)?);
        }
        self.plain(visitor)
    }

    forward! {
        deserialize_bool() => plain;
        deserialize_i8() => plain;
        deserialize_i16() => plain;
        deserialize_i32() => plain;
        deserialize_i64() => plain;
        deserialize_u8() => plain;
        deserialize_u16() => plain;
        deserialize_u32() => plain;
        deserialize_u64() => plain;
        deserialize_f32() => plain;
        deserialize_f64() => plain;
        deserialize_char() => deserialize_str;
        deserialize_string() => deserialize_str;
        deserialize_identifier() => deserialize_str;
        deserialize_byte_buf() => deserialize_bytes;
        deserialize_tuple(usize) => deserialize_seq;
        deserialize_tuple_struct(&'static str, usize) => deserialize_seq;
    }

    serde::forward_to_deserialize_any! {
        unit map
    }
}
