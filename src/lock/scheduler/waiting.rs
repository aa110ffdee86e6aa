//! What the scheduler remembers of waiting callers, and of its pending requests.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::lock::name::Name;
use crate::lock::queue::Waiter;
use crate::lock::{Handle, Sink, Wish};
use crate::request::LockAnswer;
use crate::secret::Secret;

/// The holds of a lock: more than one only if they share a secret, or are over.
pub(super) struct Holders {
    pub(super) first: u64,
    pub(super) others: Vec<u64>,
}

/// A wish, and what has become of it so far.
pub(super) struct Waiting {
    pub(super) name: Name,
    pub(super) wish: Box<Wish>,
    pub(super) sink: Sink,
    pub(super) handle: Handle,
    /// Why the engine failed when it was last asked.
    pub(super) error: Option<Error>,
    /// The engine is asked to renew what its secret may hold.
    pub(super) renewing: bool,
    /// The lock may be held by this wish, because an answer was lost.
    pub(super) uncertain: bool,
    /// How long to pause after the next failure of the engine.
    pub(super) pause: Duration,
    /// When the scheduler was asked.
    pub(super) since: Instant,
}

impl Waiting {
    /// Keeps the error of a question, for the case that no later one is answered.
    pub(super) fn note(&mut self, error: Error) {
        self.uncertain |= is_lost(&error);
        self.error = Some(error);
    }
}

/// Whether the engine may have carried out what failed so.
pub(super) fn is_lost(error: &Error) -> bool {
    matches!(error, Error::OutcomeUnknown(_))
}

/// Whether the same question may succeed later.
pub(super) fn is_passing(error: &Error) -> bool {
    is_lost(error) || error.is_retryable()
}

/// What a head asked with. It outlives the wish of a caller who leaves meanwhile.
pub(super) struct Question {
    pub(super) secret: Secret,
    /// The caller chose the secret, so that it may have held the lock before.
    pub(super) own_secret: bool,
    pub(super) ttl: Duration,
    pub(super) sent: Instant,
}

/// A lock that was granted to a question, or may have been.
pub(super) struct Grant {
    pub(super) question: Question,
    /// `None` if the answer was lost.
    pub(super) token: Option<u64>,
    pub(super) renewed: bool,
}

/// The question that an answer belongs to.
pub(super) enum Asked {
    Head {
        name: Name,
        waiter: Waiter,
        question: Question,
    },
    /// A wish whose secret may hold the lock already: it is tried before it waits in line.
    Renew { waiter: Waiter, question: Question },
    Extend {
        hold: u64,
        /// Its number among those for the hold.
        question: u64,
        ttl: Duration,
        sent: Instant,
        reply: Option<oneshot::Sender<Result<()>>>,
    },
    /// By the number of the hold that another primary may not know.
    Check(u64),
    /// By the number of the release.
    Release(u64),
    Step {
        name: Name,
        /// It is a forced release.
        frees: bool,
        reply: oneshot::Sender<Result<LockAnswer>>,
    },
}

impl Holders {
    pub(super) fn all(&self) -> impl Iterator<Item = &u64> {
        std::iter::once(&self.first).chain(&self.others)
    }
}
