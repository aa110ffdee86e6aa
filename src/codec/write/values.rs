//! What a `Serialize` is handed to write the parts of arrays, maps, structs and variants.

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::{Refused, Writer, header};
use crate::codec::error::EncodeErrorKind;

/// The values of an open level; a map's entry is two.
pub(super) struct Values<'a> {
    writer: &'a mut Writer,
    /// Where the header begins.
    at: usize,
    /// How many were announced, if that was known.
    announced: Option<usize>,
    /// How many have been written. A value that failed is not one, so that its error cannot be hidden.
    written: usize,
    /// The levels that end with these values.
    levels: usize,
}

impl<'a> Values<'a> {
    pub(super) fn new(writer: &'a mut Writer, at: usize, announced: Option<usize>) -> Self {
        Self {
            writer,
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

    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        value.serialize(&mut *self.writer)?;
        self.written += 1;
        Ok(())
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Refused> {
        self.writer.text(name)?;
        value.serialize(&mut *self.writer)?;
        self.written += 2;
        Ok(())
    }

    #[inline]
    pub(super) fn close(self) -> Result<(), Refused> {
        self.writer.run = None;
        self.writer.levels -= self.levels;
        match self.announced {
            Some(announced) if announced == self.written => Ok(()),
            Some(_) => Err(self.writer.refuse(EncodeErrorKind::LengthMismatch)),
            None => self.tell_length(),
        }
    }

    /// Writes the length that was not known into the header.
    fn tell_length(self) -> Result<(), Refused> {
        let mut header = Vec::new();
        let written = self.writer.count(self.written)?;
        if self.writer.bytes[self.at] == header::EMPTY_ARRAY {
            header::array(&mut header, written);
        } else if written % 2 == 0 {
            header::map(&mut header, written / 2);
        } else {
            return Err(self.writer.refuse(EncodeErrorKind::LengthMismatch));
        }
        self.writer.bytes.splice(self.at..=self.at, header);
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
