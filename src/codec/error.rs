//! What goes wrong with a model's bytes, told without telling what was in them.
//!
//! serde's messages quote the values they complain about. None of them is kept: an error is its
//! kind, a place, and at most a name that the program itself gave to a field.

use std::borrow::Cow;
use std::fmt;

/// Why stored bytes do not decode to the requested model, and where. It never holds stored data.
///
/// ```
/// use cachestore::{DecodeError, DecodeErrorKind};
///
/// fn is_older_schema(error: &DecodeError) -> bool {
///     error.kind() == DecodeErrorKind::MissingField
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored bytes are not this model: {kind}{}", Place(self.field(), *offset))]
pub struct DecodeError {
    kind: DecodeErrorKind,
    offset: Option<usize>,
    field: Option<Cow<'static, str>>,
}

impl DecodeError {
    pub(crate) fn new(kind: DecodeErrorKind, offset: Option<usize>) -> Self {
        Self {
            kind,
            offset,
            field: None,
        }
    }

    /// What may be told of a parser's error about `bytes`.
    pub(super) fn from_json(error: &serde_json::Error, bytes: &[u8]) -> Self {
        use serde_json::error::Category;

        let message = error.to_string();
        let kinds: &[(&str, DecodeErrorKind)] = match error.classify() {
            Category::Eof => &[("", DecodeErrorKind::Truncated)],
            Category::Io | Category::Syntax => &[
                ("trailing characters", DecodeErrorKind::TrailingBytes),
                ("invalid unicode code point", DecodeErrorKind::InvalidUtf8),
                ("", DecodeErrorKind::Malformed),
            ],
            Category::Data => &[
                ("invalid type: ", DecodeErrorKind::TypeMismatch),
                ("invalid value: ", DecodeErrorKind::InvalidValue),
                ("invalid length ", DecodeErrorKind::InvalidLength),
                ("unknown variant `", DecodeErrorKind::UnknownVariant),
                ("unknown field `", DecodeErrorKind::UnknownField),
                ("missing field `", DecodeErrorKind::MissingField),
                ("duplicate field `", DecodeErrorKind::DuplicateField),
                ("", DecodeErrorKind::Custom),
            ],
        };
        let found = kinds.iter().find_map(|&(prefix, kind)| {
            let rest = message.strip_prefix(prefix)?;
            Some((kind, rest))
        });
        let (kind, rest) = found.unwrap_or((DecodeErrorKind::Custom, ""));

        let mut decode = Self::new(kind, json_offset(error, bytes));
        if matches!(
            kind,
            DecodeErrorKind::MissingField | DecodeErrorKind::DuplicateField
        ) && let Some((name, tail)) = rest.split_once('`')
            && (tail.is_empty() || tail.starts_with(" at line "))
            && stands_only_as_key(bytes, name)
        {
            decode.set_field(name.to_owned());
        }
        decode
    }

    /// Returns what was wrong.
    #[must_use]
    pub fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// Returns the offset of the error in bytes, from 0. In MessagePack it is the begin of the refused value, in JSON
    /// the position of the parser.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }

    /// Returns the stored name of the struct's field that was refused. In JSON it is known for up to 64 KiB.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Adds the offset unless a closer one is known.
    pub(super) fn set_offset(&mut self, offset: usize) {
        self.offset.get_or_insert(offset);
    }

    /// Adds the field's name unless a closer one is known.
    pub(super) fn set_field(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        if self.field.is_none() && is_identifier(&name) {
            self.field = Some(name);
        }
    }
}

/// What can be wrong with stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end before the value does, or a claimed length exceeds them.
    Truncated,
    /// Arrays and maps nest deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    TooDeep,
    /// More bytes follow the value.
    TrailingBytes,
    /// The bytes are not the codec's format at all.
    Malformed,
    /// A value has another type than the model.
    TypeMismatch,
    /// A value has the right type but is not allowed, such as a number out of range.
    InvalidValue,
    /// A sequence or map has more or fewer elements than the model.
    InvalidLength,
    /// A string is not UTF-8.
    InvalidUtf8,
    /// The enum has no such variant.
    UnknownVariant,
    /// The struct has no such field and refuses unknown ones.
    UnknownField,
    /// A field of the struct is missing.
    MissingField,
    /// A field of the struct is there twice.
    DuplicateField,
    /// The model's own `Deserialize` refused, for a reason of its own.
    Custom,
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "truncated",
            Self::TooDeep => "nested deeper than 64 levels",
            Self::TrailingBytes => "more bytes after the value",
            Self::Malformed => "malformed",
            Self::TypeMismatch => "a value of another type",
            Self::InvalidValue => "a value out of range",
            Self::InvalidLength => "more or fewer elements than expected",
            Self::InvalidUtf8 => "a string that is not UTF-8",
            Self::UnknownVariant => "an unknown variant",
            Self::UnknownField => "an unknown field",
            Self::MissingField => "a missing field",
            Self::DuplicateField => "a duplicate field",
            Self::Custom => "refused by its Deserialize",
        })
    }
}

/// Why a model could not be encoded, and where. It never holds the model's data.
///
/// ```
/// use cachestore::{EncodeError, EncodeErrorKind};
///
/// fn is_too_deep(error: &EncodeError) -> bool {
///     error.kind() == EncodeErrorKind::TooDeep
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model cannot be stored: {kind}{}", Place(self.field(), *offset))]
pub struct EncodeError {
    kind: EncodeErrorKind,
    offset: Option<usize>,
    field: Option<&'static str>,
}

impl EncodeError {
    pub(super) fn new(kind: EncodeErrorKind, offset: Option<usize>) -> Self {
        Self {
            kind,
            offset,
            field: None,
        }
    }

    /// What a fault that the scan finds in fresh output says about the model.
    pub(super) fn from_scan(fault: &DecodeError) -> Self {
        let kind = match fault.kind {
            DecodeErrorKind::TooDeep => EncodeErrorKind::TooDeep,
            // Serializers write well-formed headers, so it is the count of what follows that is off.
            _ => EncodeErrorKind::LengthMismatch,
        };
        Self::new(kind, fault.offset)
    }

    pub(super) fn from_json(error: &serde_json::Error, written: usize) -> Self {
        use serde_json::error::Category;

        let kind = match error.classify() {
            // Memory takes all writes, so it is the formatter that refused.
            Category::Io => EncodeErrorKind::TooDeep,
            // Keys are all that the grammar can refuse while writing.
            Category::Syntax => EncodeErrorKind::InvalidKey,
            Category::Data | Category::Eof => EncodeErrorKind::Custom,
        };
        Self::new(kind, Some(written))
    }

    /// Returns what was wrong.
    #[must_use]
    pub fn kind(&self) -> EncodeErrorKind {
        self.kind
    }

    /// Returns the offset of the error in the output, in bytes, from 0.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }

    /// Returns the stored name of the struct's field that was refused. In JSON it is known up to 64 KiB into the output: the
    /// model is serialized a second time for it.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field
    }

    pub(super) fn into_field(self) -> Option<&'static str> {
        self.field
    }

    /// Adds the field's name unless a closer one is known.
    pub(super) fn set_field(&mut self, name: &'static str) {
        if self.field.is_none() && is_identifier(name) {
            self.field = Some(name);
        }
    }
}

/// What can be wrong with a model that is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// The model nests deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    TooDeep,
    /// A `Serialize` announced another number of elements than it then wrote.
    LengthMismatch,
    /// JSON cannot hold this type of map key.
    InvalidKey,
    /// The model's own `Serialize` refused, for a reason of its own.
    Custom,
}

impl fmt::Display for EncodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooDeep => "nested deeper than 64 levels",
            Self::LengthMismatch => "more or fewer elements than its Serialize announced",
            Self::InvalidKey => "a map key that JSON cannot hold",
            Self::Custom => "refused by its Serialize",
        })
    }
}

/// The tail of both messages.
struct Place<'a>(Option<&'a str>, Option<usize>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = self.0 {
            write!(f, ", field `{field}`")?;
        }
        if let Some(offset) = self.1 {
            write!(f, ", at byte {offset}")?;
        }
        Ok(())
    }
}

/// The offset of the parser's line and column, which both count from 1.
fn json_offset(error: &serde_json::Error, bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    for _ in 1..error.line() {
        start += 1 + bytes[start..].iter().position(|&byte| byte == b'\n')?;
    }
    let offset = start.checked_add(error.column().checked_sub(1)?)?;
    (error.line() > 0 && offset <= bytes.len()).then_some(offset)
}

/// Whether `name`, wherever it occurs in the text, is a whole key of an object.
///
/// A `Deserialize` of the user can word its own complaint about a value as serde words one about a
/// field; a name that also stands in a value is therefore not told.
fn stands_only_as_key(bytes: &[u8], name: &str) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    // An escaped value would not be found by its name.
    !text.contains("\\u")
        && text.match_indices(name).all(|(start, _)| {
            let before = &text[..start];
            let after = &text[start + name.len()..];
            before.ends_with('"')
                && after
                    .strip_prefix('"')
                    .is_some_and(|after| after.trim_start().starts_with(':'))
        })
}

/// Whether this looks like a field's name rather than like data.
fn is_identifier(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(is_part)
}
