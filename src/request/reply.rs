//! Where answers go.

#[cfg(feature = "redis")]
use std::fmt;
#[cfg(feature = "redis")]
use std::sync::Arc;

use tokio::sync::oneshot;

use super::CorrelatedReply;
use crate::error::Result;

/// Where the answer to one request goes.
#[derive(Debug)]
pub(crate) enum Reply<T> {
    /// Nobody waits for it: the request is complete once it is in the queue.
    Nobody,
    /// A caller who waits for this answer alone.
    Caller(oneshot::Sender<Result<T>>),
    /// An actor that has many questions under way.
    Actor(CorrelatedReply<T>),
    /// A call that was split into several requests. This is the answer to one of them.
    #[cfg(feature = "redis")]
    Part { of: Arc<dyn Gather<T>>, place: u32 },
}

/// Takes the answers to the requests that a call was split into.
#[cfg(feature = "redis")]
pub(crate) trait Gather<T>: fmt::Debug + Send + Sync {
    /// Takes the answer to one of them.
    fn take(&self, place: u32, answer: Result<T>);

    /// Whether the caller has gone.
    fn is_closed(&self) -> bool;
}

impl<T> Reply<T> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<T>>) {
        let (sender, receiver) = oneshot::channel();
        (Self::Caller(sender), receiver)
    }

    /// Hands out the answer. If the caller has gone, the answer is dropped.
    pub(crate) fn send(self, answer: Result<T>) {
        match self {
            Reply::Nobody => {}
            Reply::Caller(sender) => drop(sender.send(answer)),
            Reply::Actor(reply) => reply.send(answer),
            #[cfg(feature = "redis")]
            Reply::Part { of, place } => of.take(place, answer),
        }
    }

    /// Whether the caller has gone.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Reply::Caller(sender) => sender.is_closed(),
            #[cfg(feature = "redis")]
            Reply::Part { of, .. } => of.is_closed(),
            Reply::Nobody | Reply::Actor(_) => false,
        }
    }

    /// Whether nobody ever waited.
    pub(crate) fn is_for_nobody(&self) -> bool {
        matches!(self, Reply::Nobody)
    }
}
