//! The reader's place in the bytes: headers, scalars, arrays and maps.

use serde::de::Visitor;
use serde::de::value::SeqAccessDeserializer;

use super::access::{Elements, Entries, Extension, Octets};
use super::failure::Failure;
use crate::codec::error::DecodeErrorKind;

pub(super) struct Reader<'de> {
    /// What has not been read.
    pub(super) rest: &'de [u8],
    /// How long all of it is, to tell places.
    len: usize,
    /// The name of the field that is likely to come next. A text of these bytes is known to be UTF-8.
    pub(super) expected: &'static str,
}

/// The start of a value, with its header read.
pub(super) enum Start {
    Array(u32),
    Map(u32),
    /// Any other, by its marker.
    Scalar(u8),
}

impl<'de> Reader<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
            expected: "",
        }
    }

    /// How many bytes have been read.
    #[inline]
    pub(super) fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'de [u8], Failure> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(Failure::new(DecodeErrorKind::Truncated));
        };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let Some((chunk, rest)) = self.rest.split_first_chunk() else {
            return Err(Failure::new(DecodeErrorKind::Truncated));
        };
        self.rest = rest;
        Ok(*chunk)
    }

    /// A number or anything else that is not asked to be more.
    #[inline]
    pub(super) fn plain<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Failure> {
        let [marker] = self.chunk()?;
        self.scalar(marker, visitor)
    }

    /// Whether `marker` is next, and passes it if so.
    #[inline]
    pub(super) fn skip(&mut self, marker: u8) -> bool {
        let Some(rest) = self.rest.strip_prefix(&[marker]) else {
            return false;
        };
        self.rest = rest;
        true
    }

    #[inline]
    pub(super) fn start(&mut self) -> Result<Start, Failure> {
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
    pub(super) fn payload(&mut self, marker: u8) -> Result<&'de [u8], Failure> {
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
    pub(super) fn string(&mut self, marker: u8) -> Result<&'de str, Failure> {
        let payload = match marker {
            // Nearly all names and most texts.
            0xa0..=0xbf => self.take(usize::from(marker & 0x1f))?,
            _ => self.payload(marker)?,
        };
        if payload == self.expected.as_bytes() {
            return Ok(self.expected);
        }
        std::str::from_utf8(payload).map_err(|_| Failure::new(DecodeErrorKind::InvalidUtf8))
    }

    /// A leaf for all that holds no values: the frames of deep models do without its many results.
    pub(super) fn scalar<V: Visitor<'de>>(&mut self, marker: u8, visitor: V) -> Result<V::Value, Failure> {
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

    pub(super) fn array<V: Visitor<'de>>(&mut self, len: u32, visitor: V) -> Result<V::Value, Failure> {
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
    pub(super) fn octets<V: Visitor<'de>>(&mut self, marker: u8, visitor: V) -> Result<V::Value, Failure> {
        let mut octets = Octets(self.payload(marker)?.iter());
        let mut result = visitor.visit_seq(&mut octets);
        if !octets.0.as_slice().is_empty() && result.is_ok() {
            result = Err(Failure::new(DecodeErrorKind::InvalidLength));
        }
        result
    }

    pub(super) fn map<V: Visitor<'de>>(
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
            to_come: fields,
        };
        let mut result = visitor.visit_map(&mut entries);
        if entries.left > 0 && result.is_ok() {
            result = Err(Failure::new(DecodeErrorKind::InvalidLength));
        }
        result
    }

    /// The 16 bytes that integers of 128 bits are written as, if they are next.
    pub(super) fn wide(&mut self) -> Option<[u8; 16]> {
        let (wide, rest) = self.rest.strip_prefix(&[0xc4, 16])?.split_first_chunk()?;
        self.rest = rest;
        Some(*wide)
    }
}
