//! What the scheduler does with the locks that are held when another server becomes the primary. That server may not know
//! them, because replication is asynchronous.

use super::*;
use crate::error::Cause;

/// How long to wait before a lock is checked again, after the engine failed.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
#[error("another server has become the primary, and the lock is being checked there")]
struct Unknown;

/// The holds that are being checked.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Those without an answer that settles the matter.
    open: BTreeSet<u64>,
    /// Those of them whose check failed and is made again then.
    again: BTreeSet<(Instant, u64)>,
    /// When another server last became the primary.
    switched: Option<Instant>,
}

impl Checks {
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.again.first().map(|(at, _)| *at)
    }

    /// Whether the primary may not have known a hold when it answered what was asked for it at `sent`.
    pub(super) fn explain(&self, hold: u64, sent: Instant) -> bool {
        self.open.contains(&hold) || self.switched.is_some_and(|switched| switched >= sent)
    }
}

/// What a caller is told whose extension met a primary that did not know the lock.
pub(super) fn unknown() -> Error {
    Error::Unavailable(Cause::new(Unknown))
}

impl Scheduler {
    /// Another server is the primary: each lock that is held is checked there.
    pub(super) fn check_all(&mut self) {
        self.checks.switched = Some(self.now);
        let holds: Vec<u64> = self.holds.keys().copied().collect();
        for hold in holds {
            self.check(hold);
        }
    }

    pub(super) fn check_due(&mut self, now: Instant) {
        while let Some((at, id)) = self.checks.again.first().copied()
            && at <= now
        {
            self.checks.again.pop_first();
            self.check(id);
        }
    }

    /// Renews a hold for the time that it has left. A lock that is free is taken anew under the same secret. Nobody gains
    /// time by it.
    pub(super) fn check(&mut self, id: u64) {
        let Some(hold) = self.holds.get(&id) else {
            self.checks.open.remove(&id);
            return;
        };
        let (name, secret) = (hold.name.clone(), hold.secret.clone());
        // Guards that share a secret share the lock: it has to last for the longest of them.
        let sharing = self.holders.get(&name).into_iter().flat_map(Holders::all);
        let deadline = sharing
            .filter_map(|holder| self.holds.get(holder))
            .filter(|other| other.secret == secret)
            .filter_map(Hold::deadline)
            .max();
        let left = deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.now));
        // Cut to whole milliseconds, as a hold is.
        let ttl = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        if ttl.is_zero() || self.holds.get(&id).is_none_or(|hold| hold.deadline().is_none()) {
            self.checks.open.remove(&id);
            return;
        }
        self.checks.open.insert(id);
        let known = self.tokens.highest(&name);
        let action = LockAction::Acquire { secret, ttl, known };
        self.ask(&name, action, Asked::Check(id));
    }

    pub(super) fn check_answered(&mut self, id: u64, answer: Result<LockAnswer>) {
        self.checks.open.remove(&id);
        // A guard that was dropped meanwhile has its release behind this.
        let Some(hold) = self.holds.get_mut(&id) else {
            return;
        };
        let name = hold.name.clone();
        match answer {
            Ok(LockAnswer::Granted { token, renewed, .. }) => {
                hold.token = token;
                let (secret, deadline) = (hold.secret.clone(), hold.deadline());
                self.remember(&name, token);
                if !renewed && deadline.is_none_or(|at| at <= self.now) {
                    // It came too late for its guard.
                    self.release_orphan(name, secret, Some(token), self.now);
                } else if !renewed {
                    tracing::warn!(
                        key = name.key().as_str(),
                        "a held lock was unknown to the new primary, and was taken anew"
                    );
                }
            }
            Ok(LockAnswer::Busy { token, .. }) => {
                hold.lose();
                self.remember(&name, token);
                tracing::warn!(
                    key = name.key().as_str(),
                    "a held lock is lost: at the new primary another holds it"
                );
            }
            Ok(_) => hold.lose(),
            // The same secret may ask as often as it likes.
            Err(error) if error.is_retryable() || matches!(error, Error::OutcomeUnknown(_)) => {
                self.checks.open.insert(id);
                self.checks.again.insert((self.now + PAUSE, id));
            }
            Err(_) => {}
        }
    }
}
