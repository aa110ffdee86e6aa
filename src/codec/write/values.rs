//! What a `Serialize` is handed to write the parts of arrays, maps, structs and variants.

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{BINARY_32, Output, Refused, Run, Writer};
use crate::codec::error::EncodeErrorKind;

/// What a level is written as.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Array,
    Map,
}

impl Kind {
    /// Writes a header. rmp-serde writes nothing at the end of a level of known length.
    #[inline]
    pub(super) fn begin(self, output: &mut Output, len: usize) -> Result<(), rmp_serde::encode::Error> {
        match self {
            Self::Array => output.serialize_seq(Some(len)).and_then(SerializeSeq::end),
            Self::Map => output.serialize_map(Some(len)).and_then(SerializeMap::end),
        }
    }
}

/// The values of an open level; a map's entry is two.
pub(super) struct Values<'a> {
    writer: &'a mut Writer,
    kind: Kind,
    /// Where the header begins.
    at: usize,
    /// The announced number of elements or entries, if that was known.
    announced: Option<usize>,
    /// How many values have been written.
    written: usize,
    /// The levels that end with these values.
    levels: usize,
}

impl<'a> Values<'a> {
    pub(super) fn new(writer: &'a mut Writer, kind: Kind, at: usize, announced: Option<usize>) -> Self {
        Self {
            writer,
            kind,
            at,
            announced,
            written: 0,
            levels: 1,
        }
    }

    /// The values of a variant, whose name has a level of its own.
    pub(super) fn in_a_variant(self) -> Self {
        Self { levels: 2, ..self }
    }

    /// Replaces the header by that of a binary, to which elements are added while they are `u8`.
    pub(super) fn into_run(self, len: usize) -> Result<Self, Refused> {
        let count = self.writer.check_length(len)?;
        let bytes = self.writer.output.get_mut();
        bytes.truncate(self.at);
        bytes.push(BINARY_32);
        bytes.extend(count.to_be_bytes());
        self.writer.run = Some(Run { at: self.at, len });
        Ok(self)
    }

    /// Writes a value. If that fails, the model is refused even if its `Serialize` hides the error, because a
    /// part of the value may have been written.
    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        if value.serialize(&mut *self.writer).is_err() {
            return Err(self.writer.refuse(EncodeErrorKind::Custom));
        }
        self.written += 1;
        Ok(())
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Refused> {
        self.value(name)?;
        self.value(value).inspect_err(|_| self.writer.place(name))
    }

    #[inline]
    fn close(self) -> Result<(), Refused> {
        self.writer.run = None;
        self.writer.levels -= self.levels;
        let per_entry = match self.kind {
            Kind::Array => 1,
            Kind::Map => 2,
        };
        let is_whole = self.written.is_multiple_of(per_entry);
        let written = self.written / per_entry;
        match self.announced {
            Some(announced) if is_whole && announced == written => Ok(()),
            None if is_whole => self.tell_length(written),
            _ => Err(self.writer.refuse(EncodeErrorKind::LengthMismatch)),
        }
    }

    /// Replaces the header of an empty level, which is one byte, by that of `len` elements or entries.
    fn tell_length(self, len: usize) -> Result<(), Refused> {
        self.writer.check_length(len)?;
        let output = &mut self.writer.output;
        let end = output.get_ref().len();
        self.kind.begin(output, len)?;
        let header = output.get_mut().split_off(end);
        output.get_mut().splice(self.at..=self.at, header);
        Ok(())
    }
}

macro_rules! values {
    ($($part:ident: $method:ident;)*) => {$(
        impl $part for Values<'_> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.value(value)
            }

            #[inline]
            fn end(self) -> Result<(), Refused> {
                self.close()
            }
        }
    )*};
}

values! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

macro_rules! fields {
    ($($part:ident)*) => {$(
        impl $part for Values<'_> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn serialize_field<T>(&mut self, name: &'static str, value: &T) -> Result<(), Refused>
            where
                T: Serialize + ?Sized,
            {
                self.field(name, value)
            }

            #[inline]
            fn end(self) -> Result<(), Refused> {
                self.close()
            }
        }
    )*};
}

fields!(SerializeStruct SerializeStructVariant);

impl SerializeMap for Values<'_> {
    type Ok = ();
    type Error = Refused;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.value(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.value(value)
    }

    #[inline]
    fn end(self) -> Result<(), Refused> {
        self.close()
    }
}
