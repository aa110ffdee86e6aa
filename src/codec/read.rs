//! A serde reader of MessagePack that has been scanned.
//!
//! Why not rmp-serde's: in a debug build it needs 320 KiB of stack for a plain recursive struct of
//! 64 levels, which has to be read on 256 KiB, and its errors are texts that quote values. Here the
//! frames that a level repeats are small, scalars are read in a leaf, and no error is formatted.
//! It reads what rmp-serde writes with field names, too.

mod access;
mod failure;
mod reader;
mod top;

use rmp_serde::MSGPACK_EXT_STRUCT_NAME as EXTENSION;
use serde::Deserialize;
use serde::de::Visitor;
use serde::de::value::BorrowedStrDeserializer;

use self::access::Variant;
use self::failure::Failure;
use self::reader::{Reader, Start};
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

    /// `true`, because serde's own buffers behind `tag`, `untagged` and `flatten` say so and cannot be changed.
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
