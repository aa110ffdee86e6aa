//! The protocol between a handle and an engine: what any engine must answer.
//!
//! An engine serves the requests of a lane in order. It answers each through the request's own
//! [`Reply`], or drops the reply if it failed. A request that changes something is carried out once
//! it is in the lane, whether or not its caller still waits; a question whose caller has gone may be
//! skipped.

mod lease;
mod lock;
mod news;
mod progress;
mod tagged;
mod write;

use std::fmt;
use std::time::Duration;

use compact_str::CompactString;
use tokio::sync::oneshot;

use crate::error::Result;
use crate::key::Key;
use crate::stats::EngineStats;
use crate::ttl::Ttl;
use crate::value::Value;

pub(crate) use self::lease::{Aged, LeaseAction, LeaseAnswer, LeaseRequest, PREFIX, Token};
pub(crate) use self::lock::{LockAction, LockAnswer, LockRequest};
pub(crate) use self::news::{News, Topic, Watch, Watcher};
pub(crate) use self::progress::Progress;
pub(crate) use self::tagged::{Outcome, TaggedReply};
use self::write::bytes_of;
pub(crate) use self::write::{Condition, Names, Write};

/// One page of a scan.
#[derive(Debug)]
pub(crate) struct Page {
    /// Whole keys, with their namespace.
    pub(crate) keys: Vec<CompactString>,
    /// Where the next page begins; `None` after the last.
    pub(crate) next: Option<u64>,
}

pub(crate) enum Request {
    Get {
        key: Key,
        reply: Reply<Option<Value>>,
    },
    /// With `peek` it is no use of the entries, is not counted, and finds what is no value absent.
    GetMany {
        keys: Vec<Key>,
        peek: bool,
        reply: Reply<Vec<Option<Value>>>,
    },
    /// Where enqueueing completes it, it has no reply: whoever reads later comes after it in the lane.
    Set {
        write: Write,
        reply: Option<Reply<()>>,
    },
    /// As `Set`, one after the other.
    SetMany {
        writes: Vec<Write>,
        reply: Option<Reply<()>>,
    },
    SetIf {
        write: Box<Write>,
        condition: Condition,
        reply: Reply<bool>,
    },
    Take {
        key: Key,
        reply: Reply<Option<Value>>,
    },
    Delete {
        key: Key,
        reply: Reply<bool>,
    },
    /// Deletes the key if it holds this value.
    DeleteIf {
        key: Key,
        expected: Value,
        reply: Reply<bool>,
    },
    DeleteMany {
        keys: Vec<Key>,
        reply: Reply<u64>,
    },
    Exists {
        key: Key,
        reply: Reply<bool>,
    },
    Ttl {
        key: Key,
        reply: Reply<Option<Ttl>>,
    },
    /// A new TTL for an entry; `None` makes it persistent, and is true only if it was not.
    Expire {
        key: Key,
        ttl: Option<Duration>,
        reply: Reply<bool>,
    },
    /// Adds to an integer. `ttl` is for an entry that this creates.
    Incr {
        key: Key,
        by: i64,
        ttl: Option<Duration>,
        reply: Reply<i64>,
    },
    Scan {
        prefix: String,
        cursor: u64,
        reply: Reply<Page>,
    },
    Clear {
        prefix: String,
        progress: Progress,
        reply: Reply<u64>,
    },
    Invalidate {
        names: Vec<Key>,
        progress: Progress,
        reply: Reply<u64>,
    },
    Ping {
        reply: Reply<()>,
    },
    Stats {
        reply: Reply<EngineStats>,
    },
    /// As `Get`, with the time that is left.
    GetAged {
        key: Key,
        reply: Reply<Option<Aged>>,
    },
    /// As `GetMany`, with the time that is left.
    GetManyAged {
        keys: Vec<Key>,
        reply: Reply<Vec<Option<Aged>>>,
    },
    /// A step on a lock. In a box: requests stay small.
    Lock(Box<LockRequest>),
    /// A step on a lease.
    Lease(Box<LeaseRequest>),
    /// The caller's own command. The handle sends it to the engine that it is for.
    Redis {
        command: Box<redis::Cmd>,
        reply: Reply<redis::Value>,
    },
    /// A fault of the engine itself, for the tests of its recovery.
    #[cfg(test)]
    Panic {
        inside_the_table: bool,
        reply: Reply<()>,
    },
}

/// Requests of up to this many bytes beyond their keys' inline part weigh nothing in the lane.
const WEIGHTLESS: usize = 256;

impl Request {
    /// The bytes that the lane counts for this request while it waits.
    pub(crate) fn weight(&self) -> usize {
        let bytes = match self {
            Request::Get { key, .. }
            | Request::GetAged { key, .. }
            | Request::Take { key, .. }
            | Request::Delete { key, .. }
            | Request::Exists { key, .. }
            | Request::Ttl { key, .. }
            | Request::Expire { key, .. }
            | Request::Incr { key, .. } => key.heap_bytes(),
            Request::DeleteIf { key, expected, .. } => key.heap_bytes() + expected.len(),
            Request::Set { write, .. } => write.bytes(),
            Request::SetIf { write, condition, .. } => {
                let expected = if let Condition::Holds(value) = condition {
                    value.len()
                } else {
                    0
                };
                write.bytes() + expected
            }
            Request::SetMany { writes, .. } => writes.iter().map(|w| size_of::<Write>() + w.bytes()).sum(),
            Request::GetMany { keys, .. }
            | Request::GetManyAged { keys, .. }
            | Request::DeleteMany { keys, .. }
            | Request::Invalidate { names: keys, .. } => bytes_of(keys),
            Request::Scan { prefix, .. } | Request::Clear { prefix, .. } => prefix.len(),
            Request::Redis { command, .. } => command.args_iter().map(argument_bytes).sum(),
            Request::Lock(request) => request.key.heap_bytes(),
            Request::Lease(request) => request.bytes(),
            Request::Ping { .. } | Request::Stats { .. } => 0,
            #[cfg(test)]
            Request::Panic { .. } => 0,
        };
        if bytes <= WEIGHTLESS { 0 } else { bytes }
    }

    /// How many keys it names: how much work it is.
    pub(crate) fn keys(&self) -> usize {
        match self {
            Request::GetMany { keys, .. }
            | Request::GetManyAged { keys, .. }
            | Request::DeleteMany { keys, .. }
            | Request::Invalidate { names: keys, .. } => keys.len(),
            Request::SetMany { writes, .. } => writes.len(),
            _ => 1,
        }
    }

    /// Its key, or the first of them.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Request::Get { key, .. }
            | Request::GetAged { key, .. }
            | Request::Take { key, .. }
            | Request::Delete { key, .. }
            | Request::DeleteIf { key, .. }
            | Request::Exists { key, .. }
            | Request::Ttl { key, .. }
            | Request::Expire { key, .. }
            | Request::Incr { key, .. } => Some(key),
            Request::Set { write, .. } => Some(&write.key),
            Request::SetIf { write, .. } => Some(&write.key),
            Request::SetMany { writes, .. } => writes.first().map(|write| &write.key),
            Request::GetMany { keys, .. }
            | Request::GetManyAged { keys, .. }
            | Request::DeleteMany { keys, .. } => keys.first(),
            Request::Lock(request) => Some(&request.key),
            Request::Lease(request) => Some(request.action.key()),
            _ => None,
        }
    }

    /// Whether it is complete when enqueued and has a TTL.
    pub(crate) fn counts_from_the_call(&self) -> bool {
        match self {
            Request::Set { write, reply: None } => write.ttl.is_some(),
            Request::SetMany { writes, reply: None } => {
                writes.first().is_some_and(|write| write.ttl.is_some())
            }
            _ => false,
        }
    }

    /// Whether it changes anything.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Request::Get { .. }
            | Request::GetMany { .. }
            | Request::GetAged { .. }
            | Request::GetManyAged { .. }
            | Request::Exists { .. }
            | Request::Ttl { .. }
            | Request::Scan { .. }
            | Request::Ping { .. }
            | Request::Stats { .. } => false,
            Request::Set { .. }
            | Request::SetMany { .. }
            | Request::SetIf { .. }
            | Request::Take { .. }
            | Request::Delete { .. }
            | Request::DeleteIf { .. }
            | Request::DeleteMany { .. }
            | Request::Expire { .. }
            | Request::Incr { .. }
            | Request::Redis { .. }
            | Request::Clear { .. }
            | Request::Lease(_)
            | Request::Invalidate { .. } => true,
            Request::Lock(request) => request.action.changes(),
            #[cfg(test)]
            Request::Panic { .. } => false,
        }
    }

    /// Whether it only asks, and nobody waits for the answer any more.
    pub(crate) fn is_pointless(&self) -> bool {
        match self {
            Request::Get { reply, .. } => reply.is_closed(),
            Request::GetMany { reply, .. } => reply.is_closed(),
            Request::GetAged { reply, .. } => reply.is_closed(),
            Request::GetManyAged { reply, .. } => reply.is_closed(),
            Request::Exists { reply, .. } => reply.is_closed(),
            Request::Ttl { reply, .. } => reply.is_closed(),
            Request::Scan { reply, .. } => reply.is_closed(),
            Request::Ping { reply } => reply.is_closed(),
            _ => false,
        }
    }
}

/// Shows neither values nor the arguments of commands.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.changes() {
            "Request(a change)"
        } else {
            "Request(a question)"
        })
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

/// Where the answer to one request goes.
#[derive(Debug)]
pub(crate) struct Reply<T>(oneshot::Sender<Result<T>>);

impl<T> Reply<T> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<T>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Hands out the answer. If the caller has gone, the answer is dropped.
    pub(crate) fn send(self, answer: Result<T>) {
        drop(self.0.send(answer));
    }

    /// Whether the caller has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
