//! The reader's error for serde.

use std::fmt;

use serde::de::{Expected, Unexpected};

use super::{DecodeError, DecodeErrorKind};

/// Boxed, so that the results on the stack of a deep model stay small.
#[derive(Debug)]
pub(super) struct Failure(Box<DecodeError>);

impl Failure {
    #[cold]
    pub(super) fn new(kind: DecodeErrorKind) -> Self {
        Self(Box::new(DecodeError::new(kind, None)))
    }

    /// Adds the offset unless a closer one is known.
    #[cold]
    pub(super) fn set_offset(&mut self, offset: usize) {
        self.0.set_offset(offset);
    }

    /// Adds the field's name unless a closer one is known.
    #[cold]
    pub(super) fn set_field(&mut self, name: &'static str) {
        self.0.set_field(name);
    }

    #[cold]
    fn with_field(kind: DecodeErrorKind, name: &'static str) -> Self {
        let mut failure = Self::new(kind);
        failure.set_field(name);
        failure
    }

    #[cold]
    pub(super) fn into_error(self) -> DecodeError {
        *self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

/// None of these looks at the values and messages it is handed.
impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new(DecodeErrorKind::Custom)
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::new(DecodeErrorKind::TypeMismatch)
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::new(DecodeErrorKind::InvalidValue)
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self::new(DecodeErrorKind::InvalidLength)
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::new(DecodeErrorKind::UnknownVariant)
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::new(DecodeErrorKind::UnknownField)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::with_field(DecodeErrorKind::MissingField, field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::with_field(DecodeErrorKind::DuplicateField, field)
    }
}
