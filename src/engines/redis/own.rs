//! Commands that the engine sends for itself, and whose replies it reads.

use std::fmt;

use redis::{Cmd, Value as Wire};

use super::wire::{bytes, refuse_errors};
use crate::error::{Error, Result};
use crate::request::Reply;

/// One command, and where its reply goes.
pub(super) struct Own {
    pub(super) command: Cmd,
    /// The slot of a cluster that its keys are in. `None` if it has no keys.
    pub(super) slot: Option<u16>,
    /// Whether it may be sent again if its reply is lost.
    pub(super) is_repeatable: bool,
    pub(super) reply: Reply<Wire>,
}

/// Shows no command.
impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl Own {
    pub(super) fn bytes(&self) -> usize {
        bytes(&self.command)
    }

    /// Takes in the reply.
    pub(super) fn settle(self, reply: Option<Wire>) {
        self.reply.send(refuse_errors(reply.unwrap_or_default()));
    }

    pub(super) fn fail(self, error: Error) {
        let answer: Result<Wire> = Err(error);
        self.reply.send(answer);
    }
}
