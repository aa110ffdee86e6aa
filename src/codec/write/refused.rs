//! The writer's error for serde.

use std::fmt;

/// The model cannot be written. Why is in [`Writer::fault`](super::Writer), unless its own `Serialize` refused.
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
