//! What engines are asked about locks.

use std::time::Duration;

use super::Effect;
use crate::key::Key;
use crate::secret::Secret;

/// One step on one lock. Each is atomic.
#[derive(Debug)]
pub(crate) struct LockStep {
    pub(crate) key: Key,
    pub(crate) action: LockAction,
}

impl LockStep {
    pub(super) fn effect(&self) -> Effect {
        self.action.effect()
    }
}

#[derive(Debug)]
pub(crate) enum LockAction {
    /// Takes a free lock, or renews one that the same secret holds. A TTL is in whole milliseconds.
    Acquire {
        secret: Secret,
        ttl: Duration,
        /// The highest fencing token that the caller has seen of this lock. The next one is higher.
        known: u64,
    },
    /// Gains the lock if this secret holds it already. A free lock stays free: for callers who must not overtake others.
    Renew {
        secret: Secret,
        ttl: Duration,
        known: u64,
    },
    /// Makes sure of a hold at a server that may not know it: it lasts for the TTL at least, under its token. A free lock
    /// is held so again, unless another has held it since.
    Check {
        secret: Secret,
        ttl: Duration,
        token: u64,
    },
    /// A new TTL, from now on. With a token, only for the hold that was granted that token.
    Extend {
        secret: Secret,
        ttl: Duration,
        token: Option<u64>,
    },
    /// Ends the hold. With a token, only the hold that was granted that token: the same secret may have taken the lock
    /// again since.
    Release { secret: Secret, token: Option<u64> },
    /// Who holds it, as far as it may be told.
    Info,
    /// Releases the lock, also if another caller holds it.
    Force,
}

impl LockAction {
    pub(crate) fn effect(&self) -> Effect {
        match self {
            LockAction::Info => Effect::Question,
            LockAction::Acquire { .. }
            | LockAction::Renew { .. }
            | LockAction::Check { .. }
            | LockAction::Extend { .. }
            | LockAction::Release { .. }
            | LockAction::Force => Effect::Aside,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockAnswer {
    /// To `Acquire` and `Renew`: the lock is the caller's.
    Granted {
        token: u64,
        /// The same secret held it already.
        renewed: bool,
        /// Its release will be announced to the waiters of other processes.
        announces: bool,
    },
    /// To `Acquire` and `Renew`: it is another's, for so long if it is not released before.
    Busy {
        remaining: Duration,
        token: u64,
        /// Its holder announces the release. Else it must be asked for.
        announces: bool,
    },
    /// It was done. To `Check`: the lock is held so.
    Done,
    /// To `Check`: the lock was free, and is held so again.
    Restored,
    /// There is no such lock.
    NotHeld,
    /// Another secret holds the lock, or another hold of the same secret. To `Check`: or another has held it since.
    Mismatch,
    /// To `Info`.
    Held { remaining: Duration, token: u64 },
}
