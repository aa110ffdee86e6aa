//! What engines are asked about locks, and what a server tells of them unasked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::Result;
use crate::key::Key;
use crate::secret::Secret;

/// One step on one lock. Each is atomic.
#[derive(Debug)]
pub(crate) struct LockRequest {
    pub(crate) key: Key,
    pub(crate) action: LockAction,
    pub(crate) reply: LockReply,
}

#[derive(Debug)]
pub(crate) enum LockAction {
    /// Takes a free lock, or renews one that the same secret holds. A TTL is in whole milliseconds.
    Acquire {
        secret: Secret,
        ttl: Duration,
    },
    /// As `Acquire`, but a free lock is left free: for callers who must not overtake.
    Renew {
        secret: Secret,
        ttl: Duration,
    },
    /// A new TTL, from now on.
    Extend {
        secret: Secret,
        ttl: Duration,
    },
    Release {
        secret: Secret,
    },
    /// Who holds it, as far as it may be told.
    Info,
    /// Releases it, whoever holds it.
    Force,
}

impl LockAction {
    pub(crate) fn changes(&self) -> bool {
        !matches!(self, LockAction::Info)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockAnswer {
    /// To `Acquire` and `Renew`: the lock is the caller's.
    Granted {
        fence: u64,
        /// The same secret held it already.
        renewed: bool,
    },
    /// To `Acquire` and `Renew`: it is another's, for so long if it is not released before.
    Busy { remaining: Duration, fence: u64 },
    /// It was done.
    Done,
    /// There is no such lock.
    NotHeld,
    /// Another secret holds the lock.
    Mismatch,
    /// To `Info`.
    Held { remaining: Duration, fence: u64 },
}

/// What became of a request: `None` if the engine dropped it.
pub(crate) type LockResult = Option<Result<LockAnswer>>;

/// Where the answer to a [`LockRequest`] goes: a channel that one asker has for all its requests, which
/// this one is known by its number in. A reply that is dropped says so.
#[derive(Debug)]
pub(crate) struct LockReply {
    to: Option<mpsc::UnboundedSender<(u64, LockResult)>>,
    number: u64,
}

impl LockReply {
    pub(crate) fn new(to: mpsc::UnboundedSender<(u64, LockResult)>, number: u64) -> Self {
        Self { to: Some(to), number }
    }

    /// Hands out the answer.
    pub(crate) fn send(mut self, answer: Result<LockAnswer>) {
        if let Some(to) = self.to.take() {
            // Whoever asked may have gone.
            let _ = to.send((self.number, Some(answer)));
        }
    }
}

impl Drop for LockReply {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let _ = to.send((self.number, None));
        }
    }
}

/// A lock to be watched, or no longer, by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Watch {
    Begin(Arc<str>),
    End(Arc<str>),
}

/// What a server tells unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// From now on no release of this lock is missed.
    Watching(Arc<str>),
    /// The lock that had this fence was released; with `None`, whoever held it.
    Released { key: Arc<str>, fence: Option<u64> },
    /// Releases may have been missed.
    Reconnected,
}

/// How a scheduler learns of locks that others hold.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) watch: mpsc::UnboundedSender<Watch>,
    pub(crate) news: mpsc::UnboundedReceiver<News>,
    /// Whether there are holders who do not announce a release, so that it must be asked for.
    pub(crate) silent_holders: bool,
}
