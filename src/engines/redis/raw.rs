//! The caller's own commands.

use std::any::Any;

use redis::{Arg, Cmd, Value as Wire};

use super::exchange::{Commands, Exchange, Replies, Settled, Way};
use super::tally::Tally;
use super::wire::{argument_bytes, refuse_errors};
use crate::error::{Error, Result};
use crate::request::{Asked, Raw, RawAnswer, RawCommand};

impl RawCommand for Cmd {
    fn bytes(&self) -> usize {
        self.args_iter().map(argument_bytes).sum()
    }
}

/// The command, if it is one for Redis.
fn command(raw: &Raw) -> Option<&Cmd> {
    (&*raw.command as &dyn Any).downcast_ref()
}

/// The reply that an answer to a [`Raw`] holds.
pub(crate) fn reply(answer: RawAnswer) -> Result<Wire> {
    answer.0.downcast().map(|reply| *reply).map_err(|_| unsupported())
}

fn unsupported() -> Error {
    Error::Unsupported {
        operation: "command of another engine",
    }
}

impl Exchange for Raw {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        if let Some(command) = command(self) {
            to.add(command.clone());
        }
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let answer = match command(&asked.operation) {
            Some(_) => refuse_errors(replies.take()).map(|reply| RawAnswer(Box::new(reply))),
            None => Err(unsupported()),
        };
        asked.answer(answer, tally)
    }
}

/// Why a command of the caller's own may not travel on a connection that others use too: it would
/// make others wait, or see what is not theirs. `None` if it may.
pub(crate) fn unshareable(command: &Cmd) -> Option<&'static str> {
    let mut words = command.args_iter().filter_map(|argument| match argument {
        Arg::Simple(word) => Some(word.to_ascii_uppercase()),
        _ => None,
    });
    let Some(name) = words.next() else {
        return Some("command without a name");
    };
    match name.as_slice() {
        b"MULTI" | b"EXEC" | b"DISCARD" | b"WATCH" | b"UNWATCH" => {
            Some("transaction on the shared connection: use a script")
        }
        b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" | b"SUNSUBSCRIBE"
        | b"MONITOR" | b"SYNC" | b"PSYNC" => Some("subscription on the shared connection"),
        b"SELECT" | b"AUTH" | b"HELLO" | b"RESET" | b"QUIT" | b"READONLY" | b"READWRITE" | b"ASKING" => {
            Some("change of the shared connection's state")
        }
        b"CLIENT"
            if words
                .next()
                .is_some_and(|word| word == b"REPLY" || word == b"TRACKING") =>
        {
            Some("change of the shared connection's state")
        }
        b"BLPOP" | b"BRPOP" | b"BRPOPLPUSH" | b"BLMOVE" | b"BLMPOP" | b"BZPOPMIN" | b"BZPOPMAX"
        | b"BZMPOP" | b"WAIT" | b"WAITAOF" => Some("blocking command on the shared connection"),
        b"XREAD" | b"XREADGROUP" if words.by_ref().take(6).any(|word| word == b"BLOCK") => {
            Some("blocking command on the shared connection")
        }
        _ => None,
    }
}
