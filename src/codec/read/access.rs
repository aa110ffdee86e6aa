//! What visitors are handed to read the parts of arrays, maps, variants and extensions.
//!
//! Errors get their place here: the innermost part that failed is where they happened.

use std::slice;

use serde::Deserialize;
use serde::de::value::BorrowedBytesDeserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::{Failure, Reader, Start};

/// Collections reserve room for no more elements than this before they have read any, so that an
/// element which is large in memory and small on the wire is paid for as it comes.
const MAX_SIZE_HINT: u32 = 64;

/// The elements of an array.
pub(super) struct Elements<'a, 'de> {
    pub(super) reader: &'a mut Reader<'de>,
    pub(super) left: u32,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Failure;

    #[inline]
    fn next_element_seed<T>(&mut self, seed: T) -> Result<Option<T::Value>, Failure>
    where
        T: DeserializeSeed<'de>,
    {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let start = self.reader.offset();
        let mut result = seed.deserialize(&mut *self.reader).map(Some);
        if let Err(failure) = &mut result {
            failure.set_offset(start);
        }
        result
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        usize::try_from(self.left.min(MAX_SIZE_HINT)).ok()
    }
}

/// The elements of a sequence that is stored as one binary.
pub(super) struct Octets<'de>(pub(super) slice::Iter<'de, u8>);

impl<'de> SeqAccess<'de> for Octets<'de> {
    type Error = Failure;

    #[inline]
    fn next_element_seed<T>(&mut self, seed: T) -> Result<Option<T::Value>, Failure>
    where
        T: DeserializeSeed<'de>,
    {
        match self.0.next() {
            Some(octet) => seed.deserialize(Octet(*octet)).map(Some),
            None => Ok(None),
        }
    }

    /// All of them, for all of them are there.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// One of them.
struct Octet(u8);

impl<'de> serde::Deserializer<'de> for Octet {
    type Error = Failure;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u8(self.0)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The entries of a map.
pub(super) struct Entries<'a, 'de> {
    pub(super) reader: &'a mut Reader<'de>,
    pub(super) left: u32,
    /// All from the latest key on.
    pub(super) key: &'de [u8],
    /// The names that the program knows: keys from elsewhere may be data and are not told.
    pub(super) fields: &'static [&'static str],
    /// Those of them that are to come, if all are there and in their order.
    pub(super) to_come: &'static [&'static str],
}

impl Entries<'_, '_> {
    /// Says of a failure that it happened in the value at `start`, under the latest key.
    #[cold]
    fn place(&self, failure: &mut Failure, start: usize) {
        let mut key = Reader::new(self.key);
        let stored = match key.start() {
            Ok(Start::Scalar(marker)) => key.string(marker).ok(),
            _ => None,
        };
        if let Some(field) = self.fields.iter().find(|&&field| stored == Some(field)) {
            failure.set_field(field);
        }
        failure.set_offset(start);
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Failure;

    #[inline]
    fn next_key_seed<K>(&mut self, seed: K) -> Result<Option<K::Value>, Failure>
    where
        K: DeserializeSeed<'de>,
    {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if let Some((expected, to_come)) = self.to_come.split_first() {
            self.reader.expected = expected;
            self.to_come = to_come;
        }
        self.key = self.reader.rest;
        let start = self.reader.offset();
        let mut result = seed.deserialize(&mut *self.reader).map(Some);
        if let Err(failure) = &mut result {
            failure.set_offset(start);
        }
        result
    }

    #[inline]
    fn next_value_seed<T>(&mut self, seed: T) -> Result<T::Value, Failure>
    where
        T: DeserializeSeed<'de>,
    {
        let start = self.reader.offset();
        let mut result = seed.deserialize(&mut *self.reader);
        if let Err(failure) = &mut result {
            self.place(failure, start);
        }
        result
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        usize::try_from(self.left.min(MAX_SIZE_HINT)).ok()
    }
}

/// A variant with data: a map of one entry, from its name to its data.
pub(super) struct Variant<'a, 'de>(pub(super) &'a mut Reader<'de>);

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Failure;
    type Variant = Self;

    #[inline]
    fn variant_seed<T>(self, seed: T) -> Result<(T::Value, Self), Failure>
    where
        T: DeserializeSeed<'de>,
    {
        let start = self.0.offset();
        match seed.deserialize(&mut *self.0) {
            Ok(variant) => Ok((variant, self)),
            Err(mut failure) => {
                failure.set_offset(start);
                Err(failure)
            }
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        <()>::deserialize(self.0)
    }

    #[inline]
    fn newtype_variant_seed<T>(self, seed: T) -> Result<T::Value, Failure>
    where
        T: DeserializeSeed<'de>,
    {
        seed.deserialize(self.0)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        serde::Deserializer::deserialize_tuple(self.0, len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        serde::Deserializer::deserialize_struct(self.0, "", fields, visitor)
    }
}

/// An extension as rmp-serde shows it: a sequence of its type and its payload.
pub(super) struct Extension<'de> {
    tag: Option<i8>,
    payload: Option<&'de [u8]>,
}

impl<'de> Extension<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        let (tag, payload) = bytes.split_first().unzip();
        Self {
            tag: tag.map(|tag| tag.cast_signed()),
            payload,
        }
    }
}

impl<'de> SeqAccess<'de> for Extension<'de> {
    type Error = Failure;

    fn next_element_seed<T>(&mut self, seed: T) -> Result<Option<T::Value>, Failure>
    where
        T: DeserializeSeed<'de>,
    {
        if let Some(tag) = self.tag.take() {
            return seed.deserialize(tag.into_deserializer()).map(Some);
        }
        let payload = self.payload.take().map(BorrowedBytesDeserializer::new);
        payload.map(|payload| seed.deserialize(payload)).transpose()
    }
}
