//! The value at the top of a model, which is read only as its type would have written it.
//!
//! Stored text can be MessagePack too: `"\u{410}"` is an integer, and longer texts can be a float, a
//! string or a binary. Inside of a model a float may be read from an integer, and a sequence from a
//! binary, so that a field can change its type. At the top that would read a model from a text.

use serde::de::Visitor;
use serde::{Deserializer, forward_to_deserialize_any};

use super::{Failure, Reader};
use crate::codec::error::DecodeErrorKind;

pub(super) struct Top<'a, 'de>(pub(super) &'a mut Reader<'de>);

impl Top<'_, '_> {
    /// Refuses a number that is not of the type and width that are meant.
    fn number(&self, is_meant: fn(u8) -> bool) -> Result<(), Failure> {
        self.require(self.marker().is_some_and(is_meant) && self.is_shortest())
    }

    /// Refuses a text that is not in the form that is meant. What is no text may have another form, as a
    /// sequence that was written as bytes.
    fn unless_text(&self, is_meant: fn(u8) -> bool) -> Result<(), Failure> {
        self.require(self.marker().is_some_and(is_meant) || str::from_utf8(self.0.rest).is_err())
    }

    fn marker(&self) -> Option<u8> {
        self.0.rest.first().copied()
    }

    fn require(&self, holds: bool) -> Result<(), Failure> {
        match holds {
            true => Ok(()),
            false => Err(Failure::new(DecodeErrorKind::TypeMismatch)),
        }
    }

    /// Whether an integer has the shortest form there is for it. Below 128 that is the one of two bytes,
    /// see [`text`](crate::codec::text).
    fn is_shortest(&self) -> bool {
        match *self.0.rest {
            [0xcd, high, _] => high > 0,
            [0xce, high, low, ..] => high > 0 || low > 0,
            [0xcf, a, b, c, d, ..] => [a, b, c, d] != [0; 4],
            [0xd0, low] => (0x80..0xe0).contains(&low),
            [0xd1, high, low] => i16::from_be_bytes([high, low]) < i8::MIN.into(),
            [0xd2, a, b, c, d] => i32::from_be_bytes([a, b, c, d]) < i16::MIN.into(),
            [0xd3, a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]) < i32::MIN.into(),
            _ => true,
        }
    }
}

fn is_anything(_: u8) -> bool {
    true
}

fn is_integer(marker: u8) -> bool {
    matches!(marker, 0xcc..=0xcf | 0xd0..=0xd3 | 0xe0..=0xff)
}

/// Integers of 128 bits are binaries.
fn is_wide_integer(marker: u8) -> bool {
    marker == 0xc4
}

fn is_narrow_float(marker: u8) -> bool {
    marker == 0xca
}

fn is_float(marker: u8) -> bool {
    marker == 0xcb
}

fn is_string(marker: u8) -> bool {
    matches!(marker, 0xa0..=0xbf | 0xd9..=0xdb)
}

fn is_array(marker: u8) -> bool {
    matches!(marker, 0x90..=0x9f | 0xdc | 0xdd)
}

fn is_binary_or_array(marker: u8) -> bool {
    matches!(marker, 0xc4..=0xc6) || is_array(marker)
}

macro_rules! guarded {
    ($($method:ident($($argument:ident: $type:ty),*) => $guard:ident($is_meant:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, Failure> {
            self.$guard($is_meant)?;
            self.0.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Top<'_, 'de> {
    type Error = Failure;

    guarded! {
        deserialize_any() => number(is_anything);
        deserialize_i8() => number(is_integer);
        deserialize_i16() => number(is_integer);
        deserialize_i32() => number(is_integer);
        deserialize_i64() => number(is_integer);
        deserialize_i128() => number(is_wide_integer);
        deserialize_u8() => number(is_integer);
        deserialize_u16() => number(is_integer);
        deserialize_u32() => number(is_integer);
        deserialize_u64() => number(is_integer);
        deserialize_u128() => number(is_wide_integer);
        deserialize_f32() => number(is_narrow_float);
        deserialize_f64() => number(is_float);
        deserialize_char() => unless_text(is_string);
        deserialize_str() => unless_text(is_string);
        deserialize_string() => unless_text(is_string);
        deserialize_bytes() => unless_text(is_binary_or_array);
        deserialize_byte_buf() => unless_text(is_binary_or_array);
        deserialize_seq() => unless_text(is_array);
        deserialize_tuple(len: usize) => unless_text(is_array);
        deserialize_tuple_struct(name: &'static str, len: usize) => unless_text(is_array);
        deserialize_unit_struct(name: &'static str) => unless_text(is_anything);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) => unless_text(is_anything);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) => unless_text(is_anything);
        deserialize_ignored_any() => unless_text(is_anything);
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.0.skip(0xc0) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if name == super::EXTENSION {
            return self.0.deserialize_any(visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool unit map identifier
    }
}
