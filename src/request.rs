//! The protocol between a handle and an engine: what any engine must answer.
//!
//! An engine serves the requests of a queue in order. It answers each through the request's own
//! [`Reply`], or drops the reply if it failed. A request that changes something is carried out once
//! it is in the queue, whether or not its caller still waits; a question whose caller has gone may be
//! skipped.
//!
//! A request is one operation of the [`table`], and the channel of its reply.

mod change;
mod correlated;
mod field;
mod keys;
mod lease;
mod lock;
mod notification;
mod operation;
mod progress;
mod raw;
mod reply;
mod table;
mod write;

use std::fmt;

use compact_str::CompactString;

pub(crate) use self::change::KeyChange;
pub(crate) use self::correlated::{CorrelatedReply, Outcome};
pub(crate) use self::keys::Keys;
pub(crate) use self::lease::{Aged, LeaseAction, LeaseAnswer, LeaseTerms, Lookup, PREFIX, Renewal, Token};
pub(crate) use self::lock::{LockAction, LockAnswer, LockStep};
pub(crate) use self::notification::{Notification, Notifications, Subject, Subscription};
pub(crate) use self::operation::{Asked, Effect, Operation};
pub(crate) use self::progress::Progress;
pub(crate) use self::raw::{RawAnswer, RawCommand};
#[cfg(feature = "redis")]
pub(crate) use self::reply::Gather;
pub(crate) use self::reply::Reply;
pub(crate) use self::table::*;
use self::write::bytes_of;
pub(crate) use self::write::{Condition, Names, Write};
use crate::error::Error;

/// One page of a scan.
#[derive(Debug)]
pub(crate) struct Page {
    /// Whole keys, with their namespace.
    pub(crate) keys: Vec<CompactString>,
    /// Where the next page begins; `None` after the last.
    pub(crate) next: Option<Cursor>,
}

/// Where a page of a scan begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// As the engine or the server counts. A scan begins at 0.
    pub(crate) place: u64,
    /// The epoch that the place belongs to. The place means nothing to the server of another epoch.
    pub(crate) epoch: u64,
    /// Where the keys are on several nodes: which of them has come.
    #[cfg(feature = "redis")]
    pub(crate) round: Round,
}

/// One of the rounds that a scan makes over several nodes: the first over all of them, each other over those that have got
/// keys since the one before began. Each number is 0 before the scan begins.
#[cfg(feature = "redis")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// The node that has come.
    pub(crate) node: u32,
    /// What the engine knew of the nodes when the round before began.
    pub(crate) since: u32,
    /// What it knew when this one began.
    pub(crate) begun: u32,
}

impl Cursor {
    /// The scan goes on in this epoch. It begins anew if its place belongs to another one.
    pub(crate) fn enter(&mut self, epoch: u64) {
        if self.epoch != epoch {
            (self.place, self.epoch) = (0, epoch);
        }
    }
}

/// A request to an engine.
pub(crate) enum Request {
    Entry(EntryRequest),
    Engine(EngineRequest),
}

/// Requests of up to this many bytes beyond their keys' inline part weigh nothing in the queue.
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
    /// The bytes that the queue counts for this request while it waits.
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

    /// Whether it is complete when enqueued.
    pub(crate) fn is_complete_when_queued(&self) -> bool {
        on_request!(self, Asked { reply, .. } => reply.is_for_nobody())
    }

    pub(crate) fn keys(&self) -> Keys<'_> {
        on_request!(self, Asked { operation, .. } => operation.keys())
    }

    /// Whether it changes anything.
    pub(crate) fn changes(&self) -> bool {
        on_request!(self, Asked { operation, .. } => operation.effect()) != Effect::Question
    }

    /// Whether it only asks, and nobody waits for the answer any more.
    pub(crate) fn is_pointless(&self) -> bool {
        on_request!(self, asked => asked.is_pointless())
    }

    /// Answers with an error.
    #[cfg(feature = "testing")]
    pub(crate) fn fail(self, error: Error) {
        on_request!(self, Asked { reply, .. } => reply.send(Err(error)));
    }

    /// Answers with an error, and returns the same request for nobody.
    #[cfg(feature = "testing")]
    pub(crate) fn without_reply(self, error: Error) -> Self {
        on_request!(self, Asked { operation, reply } => {
            reply.send(Err(error));
            operation.into_request(Reply::Nobody)
        })
    }

    /// The name of the operation in lower case, and its keys.
    #[cfg(feature = "testing")]
    pub(crate) fn shown(&self) -> (String, Vec<String>) {
        on_request!(self, Asked { operation, .. } => {
            let mut keys = Vec::new();
            operation.keys().for_each(|key| keys.push(key.as_str().to_owned()));
            (operation::lower_case(operation.name()), keys)
        })
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
