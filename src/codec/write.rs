//! A serde writer of MessagePack.
//!
//! Why not rmp-serde's: it collects levels of unknown length before it writes them, so that their
//! depth is known too late, and its mode for sequences of bytes refuses other sequences that begin
//! with a byte. Apart from such sequences and unit structs both write the same bytes.

mod header;
mod refused;
mod values;

use serde::Serialize;

use self::refused::Refused;
use self::values::Values;
use super::MAX_DEPTH;
use super::depth::FIRST_CAPACITY;
use super::error::{EncodeError, EncodeErrorKind};

/// Sequences of `u8` of at least this length are written as one binary. Shorter ones gain nothing.
const SHORTEST_RUN: usize = 32;

/// The name by which rmp-serde's users ask for an extension: a newtype of its type and payload.
pub(super) const EXTENSION: &str = "_ExtStruct";

/// The bytes of `model`, with at most [`MAX_DEPTH`] levels.
pub(super) fn to_bytes<T>(model: &T) -> Result<Vec<u8>, EncodeError>
where
    T: Serialize + ?Sized,
{
    let mut writer = Writer {
        bytes: Vec::with_capacity(FIRST_CAPACITY),
        levels: 0,
        run: None,
        fault: None,
    };
    let result = model.serialize(&mut writer);
    // A `Serialize` can hide the error of one of its parts.
    if let Some(fault) = writer.fault {
        return Err(fault);
    }
    match result {
        Ok(()) => Ok(writer.bytes),
        Err(Refused) => Err(EncodeError::new(
            EncodeErrorKind::Custom,
            Some(writer.bytes.len()),
        )),
    }
}

struct Writer {
    bytes: Vec<u8>,
    /// How many levels are open.
    levels: usize,
    /// The innermost open sequence, while all of its elements are `u8`.
    run: Option<Run>,
    /// The writer's own first complaint.
    fault: Option<EncodeError>,
}

/// A sequence whose elements have been written as the bytes of a binary.
#[derive(Clone, Copy)]
struct Run {
    /// Where its header begins.
    at: usize,
    /// How many elements were announced.
    len: u32,
}

impl Writer {
    #[cold]
    fn refuse(&mut self, kind: EncodeErrorKind) -> Refused {
        let offset = self.bytes.len();
        self.fault
            .get_or_insert_with(|| EncodeError::new(kind, Some(offset)));
        Refused
    }

    /// Where any value but a `u8` is written to.
    #[inline]
    fn output(&mut self) -> &mut Vec<u8> {
        if let Some(run) = self.run.take() {
            self.break_off(run);
        }
        &mut self.bytes
    }

    /// Writes a run as an array: it has an element that is no `u8`.
    #[cold]
    fn break_off(&mut self, run: Run) {
        let elements = self.bytes.split_off(run.at + header::BINARY_32);
        self.bytes.truncate(run.at);
        header::array(&mut self.bytes, run.len);
        for element in elements {
            header::unsigned(&mut self.bytes, element.into());
        }
    }

    /// Opens a level.
    #[inline]
    fn open(&mut self) -> Result<&mut Vec<u8>, Refused> {
        if self.levels == MAX_DEPTH {
            return Err(self.refuse(EncodeErrorKind::TooDeep));
        }
        self.levels += 1;
        Ok(self.output())
    }

    /// Opens the level of a variant with data, and writes its name.
    fn open_variant(&mut self, name: &str) -> Result<(), Refused> {
        header::map(self.open()?, 1);
        self.text(name)
    }

    /// A length as MessagePack counts it.
    #[inline]
    fn count(&mut self, len: usize) -> Result<u32, Refused> {
        u32::try_from(len).map_err(|_| self.refuse(EncodeErrorKind::LengthMismatch))
    }

    #[inline]
    fn text(&mut self, text: &str) -> Result<(), Refused> {
        let len = self.count(text.len())?;
        let output = self.output();
        header::string(output, len);
        output.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Opens a sequence or a tuple.
    fn sequence(&mut self, len: Option<usize>) -> Result<Values<'_>, Refused> {
        let at = self.open()?.len();
        match len {
            Some(announced) => {
                let count = self.count(announced)?;
                if announced < SHORTEST_RUN {
                    header::array(&mut self.bytes, count);
                } else {
                    header::binary_32(&mut self.bytes, count);
                    self.run = Some(Run { at, len: count });
                }
            }
            None => self.bytes.push(header::EMPTY_ARRAY),
        }
        Ok(Values::new(self, at, len))
    }

    /// Opens a map or a struct.
    fn entries(&mut self, len: Option<usize>) -> Result<Values<'_>, Refused> {
        let at = self.open()?.len();
        if let Some(len) = len {
            let len = self.count(len)?;
            header::map(&mut self.bytes, len);
        } else {
            self.bytes.push(header::EMPTY_MAP);
        }
        Ok(Values::new(self, at, len.map(|len| len.saturating_mul(2))))
    }
}

macro_rules! numbers {
    ($($method:ident($number:ty) => $target:ident;)*) => {$(
        #[inline]
        fn $method(self, number: $number) -> Result<(), Refused> {
            self.$target(number.into())
        }
    )*};
}

impl<'a> serde::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Values<'a>;
    type SerializeTuple = Values<'a>;
    type SerializeTupleStruct = Values<'a>;
    type SerializeTupleVariant = Values<'a>;
    type SerializeMap = Values<'a>;
    type SerializeStruct = Values<'a>;
    type SerializeStructVariant = Values<'a>;

    /// As in serde's own buffers behind `tag`, `untagged` and `flatten`, which cannot be told otherwise.
    #[inline]
    fn is_human_readable(&self) -> bool {
        true
    }

    #[inline]
    fn serialize_bool(self, flag: bool) -> Result<(), Refused> {
        self.output().push(if flag { 0xc3 } else { 0xc2 });
        Ok(())
    }

    numbers! {
        serialize_i8(i8) => serialize_i64;
        serialize_i16(i16) => serialize_i64;
        serialize_i32(i32) => serialize_i64;
        serialize_u16(u16) => serialize_u64;
        serialize_u32(u32) => serialize_u64;
    }

    #[inline]
    fn serialize_u8(self, number: u8) -> Result<(), Refused> {
        if self.run.is_some() {
            self.bytes.push(number);
            return Ok(());
        }
        self.serialize_u64(number.into())
    }

    #[inline]
    fn serialize_u64(self, number: u64) -> Result<(), Refused> {
        header::unsigned(self.output(), number);
        Ok(())
    }

    #[inline]
    fn serialize_i64(self, number: i64) -> Result<(), Refused> {
        header::signed(self.output(), number);
        Ok(())
    }

    fn serialize_i128(self, number: i128) -> Result<(), Refused> {
        self.serialize_bytes(&number.to_be_bytes())
    }

    fn serialize_u128(self, number: u128) -> Result<(), Refused> {
        self.serialize_bytes(&number.to_be_bytes())
    }

    #[inline]
    fn serialize_f32(self, number: f32) -> Result<(), Refused> {
        header::marked(self.output(), 0xca, number.to_be_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_f64(self, number: f64) -> Result<(), Refused> {
        header::marked(self.output(), 0xcb, number.to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, character: char) -> Result<(), Refused> {
        self.text(character.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Refused> {
        self.text(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refused> {
        let len = self.count(bytes.len())?;
        let output = self.output();
        header::binary(output, len);
        output.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Refused> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Refused> {
        self.output().push(0xc0);
        Ok(())
    }

    /// As JSON has it. An empty array, which is rmp-serde's form, is no unit to serde's buffers.
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Refused> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Refused> {
        self.text(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T>(self, name: &'static str, value: &T) -> Result<(), Refused>
    where
        T: Serialize + ?Sized,
    {
        if name != EXTENSION {
            return value.serialize(self);
        }
        let at = self.output().len();
        value.serialize(&mut *self)?;
        match header::pair_to_extension(&mut self.bytes, at) {
            true => Ok(()),
            false => Err(self.refuse(EncodeErrorKind::Custom)),
        }
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
        self.sequence(len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Values<'a>, Refused> {
        self.sequence(Some(len))
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Values<'a>, Refused> {
        self.sequence(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Values<'a>, Refused> {
        self.open_variant(variant)?;
        self.sequence(Some(len)).map(Values::in_a_variant)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Values<'a>, Refused> {
        self.entries(len)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Values<'a>, Refused> {
        self.entries(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Values<'a>, Refused> {
        self.open_variant(variant)?;
        self.entries(Some(len)).map(Values::in_a_variant)
    }
}
