//! The caller's own commands.

use std::any::Any;

use redis::{Arg, Cmd, Value as Wire};

use super::cluster::slot_of;
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

/// The slot of a cluster that a command is for: that of its first key. `None` if it has none.
pub(super) fn slot(raw: &Raw) -> Option<u16> {
    let command = command(raw)?;
    let arguments: Vec<&[u8]> = command
        .args_iter()
        .map(|argument| match argument {
            Arg::Simple(bytes) => bytes,
            _ => &[][..],
        })
        .collect();
    first_key(&arguments).map(slot_of)
}

/// The first key of a command. Commands without keys are known by their names: others have it behind their name.
fn first_key<'a>(arguments: &[&'a [u8]]) -> Option<&'a [u8]> {
    let name = arguments.first()?.to_ascii_uppercase();
    let counted = |at: usize| {
        let count = arguments.get(at)?;
        (*count != b"0").then(|| arguments.get(at + 1).copied())?
    };
    match name.as_slice() {
        b"PING" | b"ECHO" | b"INFO" | b"DBSIZE" | b"TIME" | b"ROLE" | b"LASTSAVE" | b"CONFIG" | b"CLIENT"
        | b"CLUSTER" | b"COMMAND" | b"SCRIPT" | b"FUNCTION" | b"ACL" | b"LATENCY" | b"SLOWLOG"
        | b"MODULE" | b"KEYS" | b"SCAN" | b"RANDOMKEY" | b"PUBLISH" | b"PUBSUB" | b"FLUSHALL"
        | b"FLUSHDB" | b"SAVE" | b"BGSAVE" | b"BGREWRITEAOF" | b"SHUTDOWN" | b"SWAPDB" | b"LOLWUT" => None,
        b"EVAL" | b"EVALSHA" | b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL" | b"FCALL_RO" => counted(2),
        b"LMPOP" | b"ZMPOP" | b"SINTERCARD" | b"ZINTERCARD" | b"ZINTER" | b"ZUNION" | b"ZDIFF"
        | b"MSETEX" => counted(1),
        b"OBJECT" | b"MEMORY" | b"XINFO" | b"XGROUP" | b"BITOP" | b"DEBUG" => arguments.get(2).copied(),
        b"MIGRATE" => arguments.get(3).copied(),
        b"XREAD" | b"XREADGROUP" => {
            let streams = arguments
                .iter()
                .position(|word| word.eq_ignore_ascii_case(b"STREAMS"))?;
            arguments.get(streams + 1).copied()
        }
        _ => arguments.get(1).copied(),
    }
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

const STATE: &str = "change of the shared connection's state";

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
        // Some of these have no reply: the next one would be taken for it.
        b"SELECT" | b"AUTH" | b"HELLO" | b"RESET" | b"QUIT" | b"READONLY" | b"READWRITE" | b"ASKING"
        | b"REPLCONF" => Some(STATE),
        b"CLIENT" if is_one_of(words.next(), &["REPLY", "TRACKING", "CACHING"]) => Some(STATE),
        b"SCRIPT" if is_one_of(words.next(), &["DEBUG"]) => Some(STATE),
        b"BLPOP" | b"BRPOP" | b"BRPOPLPUSH" | b"BLMOVE" | b"BLMPOP" | b"BZPOPMIN" | b"BZPOPMAX"
        | b"BZMPOP" | b"WAIT" | b"WAITAOF" => Some("blocking command on the shared connection"),
        b"XREAD" | b"XREADGROUP" if blocks(&mut words) => Some("blocking command on the shared connection"),
        _ => None,
    }
}

fn is_one_of(word: Option<Vec<u8>>, words: &[&str]) -> bool {
    word.is_some_and(|word| words.iter().any(|other| other.as_bytes() == word))
}

/// Whether the options of a read of streams, which end before the streams, have `BLOCK`.
fn blocks(words: &mut impl Iterator<Item = Vec<u8>>) -> bool {
    while let Some(word) = words.next() {
        match word.as_slice() {
            // Behind it are the names of the group and of the consumer.
            b"GROUP" => drop(words.nth(1)),
            b"BLOCK" => return true,
            b"STREAMS" => return false,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(line: &str) -> Cmd {
        let mut command = Cmd::new();
        line.split(' ').for_each(|word| {
            command.arg(word);
        });
        command
    }

    #[test]
    fn a_read_that_blocks_is_not_for_a_shared_connection() {
        for (command, blocks) in [
            ("XREADGROUP GROUP g c COUNT 1 NOACK BLOCK 0 STREAMS s >", true),
            ("xreadgroup group g c block 5 streams s >", true),
            ("XREAD COUNT 2 BLOCK 0 STREAMS s $", true),
            ("XREAD COUNT 2 STREAMS BLOCK 0", false),
            ("XREADGROUP GROUP BLOCK block NOACK STREAMS s >", false),
        ] {
            assert_eq!(unshareable(&sent(command)).is_some(), blocks, "{command}");
        }
    }

    #[test]
    fn what_shifts_the_replies_of_others_is_not_for_a_shared_connection() {
        for (command, is_refused) in [
            ("REPLCONF ACK 0", true),
            ("replconf getack *", true),
            ("SCRIPT DEBUG YES", true),
            ("SCRIPT LOAD text", false),
            ("CLIENT REPLY OFF", true),
            ("client caching yes", true),
            ("CLIENT INFO", false),
            ("PSYNC ? -1", true),
        ] {
            assert_eq!(unshareable(&sent(command)).is_some(), is_refused, "{command}");
        }
    }

    #[test]
    fn a_command_is_for_its_first_key() {
        for (command, key) in [
            ("HSET h field value", Some("h")),
            ("get k", Some("k")),
            ("EVAL text 2 k1 k2 a", Some("k1")),
            ("EVALSHA sha 0 a", None),
            ("ZUNION 2 z1 z2", Some("z1")),
            ("OBJECT ENCODING k", Some("k")),
            ("XREAD COUNT 2 STREAMS s1 s2 0 0", Some("s1")),
            ("PING", None),
            ("INFO server", None),
            ("GET", None),
        ] {
            let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            assert_eq!(first_key(&words), key.map(str::as_bytes), "{command}");
        }
    }
}
