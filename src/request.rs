//! The protocol between a handle and an engine: what any engine must answer.
//!
//! An engine serves the requests of a lane in order. It answers each through the request's own
//! [`Reply`], or drops the reply if it failed. A request that changes something is carried out once
//! it is in the lane, whether or not its caller still waits; a question whose caller has gone may be
//! skipped.

use std::ops::Deref;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::Result;
use crate::key::Key;
use crate::stats::EngineStats;
use crate::ttl::Ttl;
use crate::value::Value;

/// One entry to be written.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) value: Value,
    /// In whole milliseconds; `None` makes the entry persistent.
    pub(crate) ttl: Option<Duration>,
    pub(crate) depends_on: Names,
}

/// The names that an entry depends on, each once. Most entries have none: this is one word then.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::box_collection,
    reason = "a boxed slice is two words, in every request"
)]
pub(crate) struct Names(Option<Box<Vec<Key>>>);

impl From<Vec<Key>> for Names {
    fn from(names: Vec<Key>) -> Self {
        Self((!names.is_empty()).then(|| Box::new(names)))
    }
}

impl Deref for Names {
    type Target = [Key];

    fn deref(&self) -> &[Key] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// What must hold of the key for a write to be made.
#[derive(Debug)]
pub(crate) enum Condition {
    Absent,
    Present,
    Holds(Value),
}

/// One page of a scan.
#[derive(Debug)]
pub(crate) struct Page {
    /// Whole keys, with their namespace.
    pub(crate) keys: Vec<Key>,
    /// Where the next page begins; `None` after the last.
    pub(crate) next: Option<u64>,
}

#[derive(Debug)]
pub(crate) enum Request {
    Get {
        key: Key,
        reply: Reply<Option<Value>>,
    },
    GetMany {
        keys: Vec<Key>,
        reply: Reply<Vec<Option<Value>>>,
    },
    /// Complete when enqueued, so it has no reply: whoever reads later comes after it in the lane.
    Set {
        write: Write,
    },
    /// As `Set`, one after the other.
    SetMany {
        writes: Vec<Write>,
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
    Incr {
        key: Key,
        by: i64,
        reply: Reply<i64>,
    },
    Scan {
        prefix: String,
        cursor: u64,
        reply: Reply<Page>,
    },
    Clear {
        prefix: String,
        reply: Reply<u64>,
    },
    Invalidate {
        names: Vec<Key>,
        reply: Reply<u64>,
    },
    Ping {
        reply: Reply<()>,
    },
    Stats {
        reply: Reply<EngineStats>,
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
            | Request::Take { key, .. }
            | Request::Delete { key, .. }
            | Request::Exists { key, .. }
            | Request::Ttl { key, .. }
            | Request::Expire { key, .. }
            | Request::Incr { key, .. } => key.heap_bytes(),
            Request::Set { write } => write.bytes(),
            Request::SetIf { write, condition, .. } => {
                let expected = if let Condition::Holds(value) = condition {
                    value.len()
                } else {
                    0
                };
                write.bytes() + expected
            }
            Request::SetMany { writes } => writes.iter().map(|w| size_of::<Write>() + w.bytes()).sum(),
            Request::GetMany { keys, .. }
            | Request::DeleteMany { keys, .. }
            | Request::Invalidate { names: keys, .. } => bytes_of(keys),
            Request::Scan { prefix, .. } | Request::Clear { prefix, .. } => prefix.len(),
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
            | Request::DeleteMany { keys, .. }
            | Request::Invalidate { names: keys, .. } => keys.len(),
            Request::SetMany { writes } => writes.len(),
            _ => 1,
        }
    }

    /// Whether it changes anything.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Request::Get { .. }
            | Request::GetMany { .. }
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
            | Request::DeleteMany { .. }
            | Request::Expire { .. }
            | Request::Incr { .. }
            | Request::Clear { .. }
            | Request::Invalidate { .. } => true,
            #[cfg(test)]
            Request::Panic { .. } => false,
        }
    }

    /// Whether it only asks, and nobody waits for the answer any more.
    pub(crate) fn is_pointless(&self) -> bool {
        match self {
            Request::Get { reply, .. } => reply.is_closed(),
            Request::GetMany { reply, .. } => reply.is_closed(),
            Request::Exists { reply, .. } => reply.is_closed(),
            Request::Ttl { reply, .. } => reply.is_closed(),
            Request::Scan { reply, .. } => reply.is_closed(),
            _ => false,
        }
    }
}

impl Write {
    fn bytes(&self) -> usize {
        self.key.heap_bytes() + self.value.len() + bytes_of(&self.depends_on)
    }
}

fn bytes_of(keys: &[Key]) -> usize {
    keys.iter().map(|key| size_of::<Key>() + key.heap_bytes()).sum()
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
