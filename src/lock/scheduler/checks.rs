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
    open: Map<u64, Open>,
    /// Those of them that are checked again then.
    again: BTreeSet<(Instant, u64)>,
    /// When another server last became the primary.
    switched: Option<Instant>,
}

/// A check without an answer that settles the matter.
#[derive(Debug, Default)]
struct Open {
    /// How many questions are not answered yet: more than one after several switches.
    under_way: u32,
    /// When the hold is checked again.
    again: Option<Instant>,
}

impl Checks {
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.again.first().map(|(at, _)| *at)
    }

    /// The next hold that is to be checked again now.
    fn due(&mut self, now: Instant) -> Option<u64> {
        let (_, id) = *self.again.first().filter(|(at, _)| *at <= now)?;
        self.again.pop_first();
        if let Some(open) = self.open.get_mut(&id) {
            open.again = None;
        }
        Some(id)
    }

    pub(super) fn is_open(&self, hold: u64) -> bool {
        self.open.contains_key(&hold)
    }

    /// Whether the primary may not have known a hold when it answered what was asked for it at `sent`.
    pub(super) fn explain(&self, hold: u64, sent: Instant) -> bool {
        self.is_open(hold) || self.switched.is_some_and(|switched| switched >= sent)
    }

    fn asked(&mut self, hold: u64) {
        self.again_at(hold, None);
        self.open.entry(hold).or_default().under_way += 1;
    }

    /// Returns `true` unless another answer follows, which comes from a later primary.
    fn answered(&mut self, hold: u64) -> bool {
        let Some(open) = self.open.get_mut(&hold) else {
            return true;
        };
        open.under_way = open.under_way.saturating_sub(1);
        open.under_way == 0
    }

    /// The hold is open, and is checked again at this time.
    fn again_at(&mut self, hold: u64, at: Option<Instant>) {
        let open = self.open.entry(hold).or_default();
        if let Some(before) = std::mem::replace(&mut open.again, at) {
            self.again.remove(&(before, hold));
        }
        self.again.extend(at.map(|at| (at, hold)));
    }

    /// A check that waits to be made again is made at once.
    pub(super) fn hasten(&mut self, hold: u64, now: Instant) {
        if self.open.get(&hold).is_some_and(|open| open.again.is_some()) {
            self.again_at(hold, Some(now));
        }
    }

    /// The hold needs no check any more.
    pub(super) fn close(&mut self, hold: u64) {
        if let Some(Open { again: Some(at), .. }) = self.open.remove(&hold) {
            self.again.remove(&(at, hold));
        }
    }
}

/// The answer to an extension that met a primary that did not know the lock.
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
        while let Some(id) = self.checks.due(now) {
            self.check(id);
        }
    }

    /// Makes sure of a hold for the time that it has left. A lock that is free is held again under the same secret and
    /// token. If the check waits in the queue, the server may hold the lock for longer than the guard.
    pub(super) fn check(&mut self, id: u64) {
        let Some(hold) = self.holds.get(&id) else {
            return self.checks.close(id);
        };
        let left = hold.deadline().map(|at| at.saturating_duration_since(self.now));
        // Cut to whole milliseconds, as a hold is.
        let left = left.map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        if left == 0 {
            return self.checks.close(id);
        }
        let (name, secret, token) = (hold.name.clone(), hold.secret.clone(), hold.token);
        self.checks.asked(id);
        let ttl = Duration::from_millis(left);
        let action = LockAction::Check { secret, ttl, token };
        self.ask(&name, action, Asked::Check(id));
    }

    pub(super) fn check_answered(&mut self, id: u64, answer: Result<LockAnswer>) {
        let is_last = self.checks.answered(id);
        if is_last {
            self.checks.close(id);
        }
        // A guard that was dropped meanwhile has its release behind this.
        let Some(hold) = self.holds.get_mut(&id) else {
            return;
        };
        match answer {
            Ok(answer @ (LockAnswer::Done | LockAnswer::Restored)) => {
                let (name, secret, token) = (hold.name.clone(), hold.secret.clone(), hold.token);
                // Others may hold it under a secret that the caller chose.
                let is_orphan = !hold.own_secret && !self.is_held(&name, &secret);
                if is_orphan {
                    // It came too late for its guard.
                    let until = self.now + self.ends.patience;
                    self.release_orphan(name, secret, Some(token), until);
                } else if answer == LockAnswer::Restored {
                    let key = name.key().as_str();
                    tracing::warn!(
                        key,
                        "a held lock was unknown to the new primary, and was taken anew"
                    );
                }
            }
            Ok(_) => {
                let key = hold.name.key().as_str();
                tracing::warn!(
                    key,
                    "a held lock is lost: at the new primary another holds it, or has held it since"
                );
                hold.lose();
            }
            // The same hold may be checked as often as it likes.
            Err(error) if error.is_retryable() || matches!(error, Error::OutcomeUnknown(_)) => {
                if is_last {
                    self.checks.again_at(id, Some(self.now + PAUSE));
                }
            }
            Err(_) => {}
        }
    }

    /// Whether a guard that is not over holds a lock under this secret.
    fn is_held(&self, name: &Name, secret: &Secret) -> bool {
        let holders = self.holders.get(name).into_iter().flat_map(Holders::all);
        let mut holds = holders.filter_map(|holder| self.holds.get(holder));
        holds.any(|hold| hold.secret == *secret && hold.is_live(self.now))
    }
}
