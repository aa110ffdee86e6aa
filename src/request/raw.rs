//! Commands in the language of one engine, which the protocol and the other engines do not know.

use std::any::Any;
use std::fmt;

use super::field::Field;

/// A command for one engine, which finds out by its type whether it is one of its own.
pub(crate) trait RawCommand: Any + Send {
    /// The bytes that it holds beyond its own size.
    fn bytes(&self) -> usize;
}

/// What that engine answers.
pub(crate) struct RawAnswer(pub(crate) Box<dyn Any + Send>);

/// Shows nothing of the answer, which may hold values.
impl fmt::Debug for RawAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawAnswer")
    }
}

impl Field for Box<dyn RawCommand> {
    fn bytes(&self) -> usize {
        (**self).bytes()
    }
}
