//! The name of the field that was refused in JSON. serde_json does not tell it.
//!
//! The reader and the writer of MessagePack know which names are the program's own, and are asked about the same model. A
//! name that is only in the data, such as a key of a map, is never told.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{DecodeError, EncodeError};
use super::{read, write};

/// The most bytes of JSON that are read or written again for a name.
const LONGEST: usize = 64 * 1024;

/// Adds the field's name to the error of reading a `T` from `json`.
#[cold]
pub(super) fn unread<T: DeserializeOwned>(mut error: DecodeError, json: &[u8]) -> DecodeError {
    if let Some(again) = read_again::<T>(&error, json) {
        error.set_field(again);
    }
    error
}

/// Adds the field's name to the error of writing `model` as JSON.
#[cold]
pub(super) fn unwritten<T: Serialize + ?Sized>(mut error: EncodeError, model: &T) -> EncodeError {
    if error.offset().is_none_or(|written| written > LONGEST) {
        return error;
    }
    let again = write::to_bytes(model).err();
    if let Some(field) = again
        .filter(|again| again.kind() == error.kind())
        .and_then(EncodeError::into_field)
    {
        error.set_field(field);
    }
    error
}

/// The field that the reader of MessagePack refuses, if it is the one that holds the refused place of the JSON.
fn read_again<T: DeserializeOwned>(error: &DecodeError, json: &[u8]) -> Option<String> {
    let offset = error.offset()?;
    if error.field().is_some() || json.len() > LONGEST {
        return None;
    }
    let data: serde_json::Value = serde_json::from_slice(json).ok()?;
    let bytes = write::to_bytes(&data).ok()?;
    let again = read::from_scanned::<T>(&bytes).err()?;
    let field = again.field().filter(|field| lies_in(json, offset, field))?;
    (again.kind() == error.kind()).then(|| field.to_owned())
}

/// Whether the byte at `offset` lies in the value of an object's key `field`.
fn lies_in(json: &[u8], offset: usize, field: &str) -> bool {
    // The latest key of each level that is open.
    let mut keys: Vec<&[u8]> = Vec::new();
    let mut string: &[u8] = &[];
    let mut begin = None;
    let mut at = 0;
    while let Some(&byte) = json.get(at).filter(|_| at <= offset) {
        match (byte, begin) {
            // The byte after it is no end of the string.
            (b'\\', Some(_)) => at += 1,
            (b'"', Some(from)) => {
                string = &json[from..at];
                begin = None;
            }
            (_, Some(_)) => {}
            (b'"', None) => begin = Some(at + 1),
            (b':', None) => {
                keys.pop();
                keys.push(string);
            }
            (b'[' | b'{', None) => keys.push(&[]),
            // The parser can stop at the end of the value that it refuses.
            (b']' | b'}', None) if at < offset => {
                keys.pop();
            }
            _ => {}
        }
        at += 1;
    }
    keys.contains(&field.as_bytes())
}
