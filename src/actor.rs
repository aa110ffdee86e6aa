//! What all actors of this library share: how requests reach an actor, how it takes turns with other tasks, how it
//! keeps time, and what it has asked an engine.
//!
//! Requests do not travel in an actor's mailbox, but in a queue beside it: see ARCHITECTURE.md, *The request queue*.

mod alarm;
mod backoff;
pub(crate) mod inbox;
pub(crate) mod pending;
pub(crate) mod queue;
pub(crate) mod timer;
mod turn;

pub(crate) use self::alarm::Alarm;
pub(crate) use self::backoff::Backoff;
pub(crate) use self::turn::{Step, Turns, poll_turn};
pub(crate) use crate::contain::{Guarded, contained};
