//! The writer's error for serde.

use std::fmt;

/// The model cannot be written. The reason is in [`Writer::fault`](super::Writer), unless the model's own
/// `Serialize` or rmp-serde refused.
#[derive(Debug)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model cannot be stored")
    }
}

impl std::error::Error for Refused {}

impl serde::ser::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Its text is dropped: it can hold words of a `Serialize`.
impl From<rmp_serde::encode::Error> for Refused {
    fn from(_: rmp_serde::encode::Error) -> Self {
        Self
    }
}
