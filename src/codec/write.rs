//! Writes MessagePack by rmp-serde, under an adapter.
//!
//! The adapter hands rmp-serde one header, number, text or binary at a time and keeps the levels to itself.
//! rmp-serde alone does not bound depth, does not check the lengths that a `Serialize` announces, and writes a
//! `Vec<u8>` as an array of numbers.

mod refused;
mod values;

use serde::{Serialize, Serializer};

use self::refused::Refused;
use self::values::{Kind, Values};
use super::MAX_DEPTH;
use super::depth::FIRST_CAPACITY;
use super::error::{EncodeError, EncodeErrorKind};

/// Sequences of `u8` of at least this length are written as one binary. Shorter ones gain nothing.
const SHORTEST_RUN: usize = 32;

/// The marker of a binary whose length has 32 bits. It marks a sequence of `u8`, so that the reader can tell
/// sequences from bytes. rmp-serde writes the shortest form, which for fewer than 65,536 bytes is another.
const BINARY_32: u8 = 0xc6;

/// The size of that marker and of the length after it.
const BINARY_32_HEADER: usize = 5;

type Output = rmp_serde::Serializer<Vec<u8>>;

/// The bytes of `model`, with at most [`MAX_DEPTH`] levels.
pub(super) fn to_bytes<T>(model: &T) -> Result<Vec<u8>, EncodeError>
where
    T: Serialize + ?Sized,
{
    let mut writer = Writer {
        output: Output::new(Vec::with_capacity(FIRST_CAPACITY)),
        levels: 0,
        run: None,
        fault: None,
    };
    let result = model.serialize(&mut writer);
    // A `Serialize` can hide the error of one of its parts.
    if let Some(fault) = writer.fault {
        return Err(fault);
    }
    let bytes = writer.output.into_inner();
    match result {
        Ok(()) => Ok(bytes),
        Err(Refused) => Err(EncodeError::new(EncodeErrorKind::Custom, Some(bytes.len()))),
    }
}

struct Writer {
    output: Output,
    /// How many levels are open.
    levels: usize,
    /// The innermost open sequence, while all of its elements are `u8`.
    run: Option<Run>,
    /// The first error.
    fault: Option<EncodeError>,
}

/// A sequence whose elements have been written as the bytes of a binary.
#[derive(Clone, Copy)]
struct Run {
    /// Where its header begins.
    at: usize,
    /// How many elements were announced.
    len: usize,
}

impl Writer {
    #[cold]
    fn refuse(&mut self, kind: EncodeErrorKind) -> Refused {
        let offset = self.offset();
        self.fault
            .get_or_insert_with(|| EncodeError::new(kind, Some(offset)));
        Refused
    }

    /// Adds the name of the field that was refused.
    #[cold]
    fn place(&mut self, field: &'static str) {
        if let Some(fault) = &mut self.fault {
            fault.set_field(field);
        }
    }

    /// How many bytes have been written.
    fn offset(&self) -> usize {
        self.output.get_ref().len()
    }

    /// Where any value but a `u8` is written to.
    #[inline]
    fn output(&mut self) -> Result<&mut Output, Refused> {
        if let Some(run) = self.run.take() {
            self.break_off(run)?;
        }
        Ok(&mut self.output)
    }

    /// Writes a run as an array: it has an element that is no `u8`.
    #[cold]
    fn break_off(&mut self, run: Run) -> Result<(), Refused> {
        let bytes = self.output.get_mut();
        let elements = bytes.split_off(run.at + BINARY_32_HEADER);
        bytes.truncate(run.at);
        Kind::Array.begin(&mut self.output, run.len)?;
        for element in elements {
            self.output.serialize_u8(element)?;
        }
        Ok(())
    }

    /// Refuses a length that MessagePack cannot count. rmp-serde would write its lower 32 bits.
    #[inline]
    fn check_length(&mut self, len: usize) -> Result<u32, Refused> {
        u32::try_from(len).map_err(|_| self.refuse(EncodeErrorKind::LengthMismatch))
    }

    /// Opens a level.
    #[inline]
    fn open(&mut self, kind: Kind, len: Option<usize>) -> Result<Values<'_>, Refused> {
        if self.levels == MAX_DEPTH {
            return Err(self.refuse(EncodeErrorKind::TooDeep));
        }
        // A length that is not known yet is told at the end.
        let known = len.unwrap_or(0);
        self.check_length(known)?;
        let at = self.output()?.get_ref().len();
        kind.begin(&mut self.output, known)?;
        self.levels += 1;
        Ok(Values::new(self, kind, at, len))
    }

    /// Opens a sequence or a tuple, which is written as a binary while all of its elements are `u8`.
    fn open_sequence(&mut self, len: Option<usize>) -> Result<Values<'_>, Refused> {
        let values = self.open(Kind::Array, len)?;
        match len {
            Some(len @ SHORTEST_RUN..) => values.into_run(len),
            _ => Ok(values),
        }
    }

    /// Opens the level of a variant with data, and writes its name.
    fn open_variant(&mut self, name: &str) -> Result<(), Refused> {
        self.open(Kind::Map, Some(1))?;
        self.serialize_str(name)
    }
}

/// Values that rmp-serde writes whole.
macro_rules! scalars {
    ($($method:ident($($argument:ident: $type:ty)?);)*) => {$(
        #[inline]
        fn $method(self, $($argument: $type)?) -> Result<(), Refused> {
            Ok(self.output()?.$method($($argument)?)?)
        }
    )*};
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Values<'a>;
    type SerializeTuple = Values<'a>;
    type SerializeTupleStruct = Values<'a>;
    type SerializeTupleVariant = Values<'a>;
    type SerializeMap = Values<'a>;
    type SerializeStruct = Values<'a>;
    type SerializeStructVariant = Values<'a>;

    /// `true`, because serde's own buffers behind `tag`, `untagged` and `flatten` say so and cannot be changed.
    #[inline]
    fn is_human_readable(&self) -> bool {
        true
    }

    scalars! {
        serialize_bool(flag: bool);
        serialize_i8(number: i8);
        serialize_i16(number: i16);
        serialize_i32(number: i32);
        serialize_i64(number: i64);
        serialize_i128(number: i128);
        serialize_u16(number: u16);
        serialize_u32(number: u32);
        serialize_u64(number: u64);
        serialize_u128(number: u128);
        serialize_f32(number: f32);
        serialize_f64(number: f64);
        serialize_char(character: char);
        serialize_none();
        serialize_unit();
    }

    #[inline]
    fn serialize_u8(self, number: u8) -> Result<(), Refused> {
        if self.run.is_some() {
            self.output.get_mut().push(number);
            return Ok(());
        }
        Ok(self.output.serialize_u8(number)?)
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Refused> {
        self.check_length(text.len())?;
        Ok(self.output()?.serialize_str(text)?)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refused> {
        self.check_length(bytes.len())?;
        Ok(self.output()?.serialize_bytes(bytes)?)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    /// Writes nil, like JSON's `null`. serde's buffers do not take rmp-serde's form, an empty array, for a unit.
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Refused> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Refused> {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T>(self, name: &'static str, value: &T) -> Result<(), Refused>
    where
        T: Serialize + ?Sized,
    {
        if name != rmp_serde::MSGPACK_EXT_STRUCT_NAME {
            return value.serialize(self);
        }
        let output = self.output()?;
        let at = output.get_ref().len();
        output.serialize_newtype_struct(name, value)?;
        let len = output.get_ref().len() - at;
        self.check_length(len)?;
        Ok(())
    }

    fn serialize_newtype_variant<T>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refused>
    where
        T: Serialize + ?Sized,
    {
        self.open_variant(variant)?;
        value.serialize(&mut *self)?;
        self.levels -= 1;
        Ok(())
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Values<'a>, Refused> {
        self.open_sequence(len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Values<'a>, Refused> {
        self.open_sequence(Some(len))
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Values<'a>, Refused> {
        self.open_sequence(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Values<'a>, Refused> {
        self.open_variant(variant)?;
        self.open_sequence(Some(len)).map(Values::in_a_variant)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Values<'a>, Refused> {
        self.open(Kind::Map, len)
    }

    /// A map from field names.
    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Values<'a>, Refused> {
        self.open(Kind::Map, Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Values<'a>, Refused> {
        self.open_variant(variant)?;
        self.open(Kind::Map, Some(len)).map(Values::in_a_variant)
    }
}
