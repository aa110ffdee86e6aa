//! The calls of the public API, as metrics and spans tell of them: their names, and how they end.

mod name;
mod outcome;

pub(crate) use self::name::CallName;
pub(crate) use self::outcome::{Answered, Outcome};
