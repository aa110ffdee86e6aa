//! Where answers go.

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
        }
    }

    /// Whether the caller has gone.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Reply::Caller(sender) if sender.is_closed())
    }

    /// Whether nobody ever waited.
    pub(crate) fn is_for_nobody(&self) -> bool {
        matches!(self, Reply::Nobody)
    }
}
