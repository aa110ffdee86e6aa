//! What all actors of this library share: how an actor takes turns with other tasks, and how it keeps time.

mod alarm;
mod turn;

pub(crate) use self::alarm::Alarm;
pub(crate) use self::turn::{Step, Turns, poll_turn};
