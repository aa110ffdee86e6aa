//! The protocol between a handle and an engine: what any engine must answer.
//!
//! An engine serves the requests of a lane in order. It answers each through the request's own
//! [`Reply`], or drops the reply if it failed. A request that changes something is carried out once
//! it is in the lane, whether or not its caller still waits; a question whose caller has gone may be
//! skipped.
//!
//! What can be asked is the [`table`]. A request is one of its operations and the reply to it.

mod lease;
mod lock;
mod news;
mod operation;
mod progress;
mod reply;
mod table;
mod tagged;
mod write;

use std::fmt;

use compact_str::CompactString;

pub(crate) use self::lease::{Aged, LeaseAction, LeaseAnswer, PREFIX, Token};
pub(crate) use self::lock::{LockAction, LockAnswer, LockStep};
pub(crate) use self::news::{News, Topic, Watch, Watcher};
pub(crate) use self::operation::{Asked, Effect, Keys, Operation};
pub(crate) use self::progress::Progress;
pub(crate) use self::reply::Reply;
pub(crate) use self::table::*;
pub(crate) use self::tagged::{Outcome, TaggedReply};
use self::write::bytes_of;
pub(crate) use self::write::{Condition, Names, Write};
use crate::error::Error;

/// One page of a scan.
#[derive(Debug)]
pub(crate) struct Page {
    /// Whole keys, with their namespace.
    pub(crate) keys: Vec<CompactString>,
    /// Where the next page begins; `None` after the last.
    pub(crate) next: Option<u64>,
}

/// What an engine is asked.
pub(crate) enum Request {
    Entry(EntryRequest),
    Engine(EngineRequest),
}

/// Requests of up to this many bytes beyond their keys' inline part weigh nothing in the lane.
const WEIGHTLESS: usize = 256;

/// Evaluates the expression for the operation and the reply that a request consists of.
macro_rules! on_request {
    ($request:expr, $asked:pat => $body:expr) => {
        match $request {
            Request::Entry(request) => table::on_entry!(request, $asked => $body),
            Request::Engine(request) => table::on_engine!(request, $asked => $body),
        }
    };
}

impl Request {
    /// The bytes that the lane counts for this request while it waits.
    pub(crate) fn weight(&self) -> usize {
        let bytes = on_request!(self, Asked { operation, .. } => operation.bytes());
        if bytes <= WEIGHTLESS { 0 } else { bytes }
    }

    /// How much work it is: one for each key, and one for a request without any.
    pub(crate) fn work(&self) -> usize {
        on_request!(self, Asked { operation, .. } => operation.keys().len()).max(1)
    }

    /// Whether it is complete when enqueued and has a TTL.
    pub(crate) fn counts_from_the_call(&self) -> bool {
        on_request!(self, Asked { operation, reply } => reply.is_for_nobody() && operation.keys().get_a_ttl())
    }

    /// Whether it changes anything.
    pub(crate) fn changes(&self) -> bool {
        on_request!(self, Asked { operation, .. } => operation.effect()) != Effect::Question
    }

    /// Whether it only asks, and nobody waits for the answer any more.
    pub(crate) fn is_pointless(&self) -> bool {
        on_request!(self, asked => asked.is_pointless())
    }
}

impl EntryRequest {
    pub(crate) fn effect(&self) -> Effect {
        on_entry!(self, Asked { operation, .. } => operation.effect())
    }

    pub(crate) fn keys(&self) -> Keys<'_> {
        on_entry!(self, Asked { operation, .. } => operation.keys())
    }

    /// Whether it only asks, and nobody waits for the answer any more.
    pub(crate) fn is_pointless(&self) -> bool {
        on_entry!(self, asked => asked.is_pointless())
    }

    pub(crate) fn drop_values(&mut self) {
        on_entry!(self, Asked { operation, .. } => operation.drop_values());
    }

    /// Answers with an error.
    pub(crate) fn fail(self, error: Error) {
        on_entry!(self, Asked { reply, .. } => reply.send(Err(error)));
    }
}

/// Shows neither values nor the arguments of commands.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = on_request!(self, Asked { operation, .. } => operation.effect());
        write!(f, "Request({effect:?})")
    }
}

impl fmt::Debug for EntryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryRequest({:?})", self.effect())
    }
}

pub(crate) fn argument_bytes(argument: redis::Arg<&[u8]>) -> usize {
    match argument {
        redis::Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    }
}

/// Why a command of the caller's own may not travel on a connection that others use too: it would
/// make others wait, or see what is not theirs. `None` if it may.
pub(crate) fn unshareable(command: &redis::Cmd) -> Option<&'static str> {
    let mut words = command.args_iter().filter_map(|argument| match argument {
        redis::Arg::Simple(word) => Some(word.to_ascii_uppercase()),
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
