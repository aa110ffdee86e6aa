//! Releases that are under way, and releases that are made again because the backend refused them for a passing
//! reason. Pure: events and `now` go in, and [`Next`] says what to do.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::guard::Release;
use super::name::Name;
use crate::actor::Backoff;
use crate::error::{Cause, Error, Phase, Result};
use crate::prehashed::Map;
use crate::request::LockAnswer;
use crate::secret::Secret;

/// The shortest pause before a release is made again.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest pause before a release is made again.
const LONGEST: Duration = Duration::from_secs(1);
/// How long a release by secret is made again. When its hold ends is not known here.
const BY_SECRET: Duration = Duration::from_secs(60);
/// The most releases by secret that are made again after their callers were answered.
const MOST_BY_SECRET: usize = 4096;

/// The caller of a release, who waits for the answer.
pub(super) enum Caller {
    OfGuard(oneshot::Sender<Result<Release>>),
    BySecret(oneshot::Sender<Result<LockAnswer>>),
}

/// One release.
pub(super) struct Releasing {
    pub(super) name: Name,
    pub(super) secret: Secret,
    /// The fencing token of the hold, if it is known.
    pub(super) token: Option<u64>,
    caller: Option<Caller>,
    /// When the caller is answered, at the latest.
    answer_by: Instant,
    by_secret: bool,
    /// When the hold ends. The release is not made again then.
    until: Instant,
    refusals: u32,
    /// The answer to an earlier try was lost. That try may have released the lock.
    is_lost: bool,
    backoff: Backoff,
    /// Why it was refused last.
    error: Option<Error>,
    /// When it is made again; `None` while it is under way.
    again: Option<Instant>,
}

/// What is to be done about a release that was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make it again, now.
    Again,
    /// Nothing: it is made again later, or is over.
    Nothing,
}

/// All releases.
#[derive(Default)]
pub(super) struct Releases {
    all: Map<u64, Releasing>,
    /// The releases of each lock.
    of_lock: Map<Name, Vec<u64>>,
    numbers: u64,
    deadlines: BTreeSet<(Instant, Due)>,
    by_secret: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Again(u64),
    Caller(u64),
}

impl Caller {
    pub(super) fn answer(self, answer: Result<LockAnswer>) {
        match self {
            Caller::OfGuard(reply) => {
                let _ = reply.send(answer.map(|answer| match answer {
                    LockAnswer::Done => Release::Released,
                    _ => Release::NotHeld,
                }));
            }
            Caller::BySecret(reply) => {
                let _ = reply.send(answer);
            }
        }
    }
}

impl Releasing {
    /// A release of a hold that ends at `until`. Its caller is answered by `answer_by`.
    pub(super) fn new(name: Name, secret: Secret, token: Option<u64>, until: Instant) -> Self {
        Self {
            name,
            secret,
            token,
            caller: None,
            answer_by: until,
            by_secret: false,
            until,
            refusals: 0,
            is_lost: false,
            backoff: Backoff::default(),
            error: None,
            again: None,
        }
    }

    pub(super) fn by_secret(name: Name, secret: Secret, now: Instant) -> Self {
        Self {
            by_secret: true,
            ..Self::new(name, secret, None, now + BY_SECRET)
        }
    }

    pub(super) fn told_to(self, caller: Option<Caller>, answer_by: Instant) -> Self {
        Self {
            caller,
            answer_by,
            ..self
        }
    }

    /// Whether the backend failed at least once.
    pub(super) fn was_refused(&self) -> bool {
        self.refusals > 0
    }

    /// Answers the caller with what the backend said. A release is tried again only before its hold ends, so a lock
    /// that is not held after a lost answer was released by the try whose answer was lost.
    pub(super) fn made(&mut self, answer: LockAnswer) {
        let answer = if self.is_lost { LockAnswer::Done } else { answer };
        self.answer(Ok(answer));
    }

    /// Answers the caller, if that has not been done.
    pub(super) fn answer(&mut self, answer: Result<LockAnswer>) {
        if let Some(caller) = self.caller.take() {
            caller.answer(answer);
        }
    }
}

impl Releases {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Releasing> {
        self.all.get(&id)
    }

    /// A release is under way from now on.
    pub(super) fn begin(&mut self, release: Releasing) -> u64 {
        self.numbers += 1;
        self.by_secret += usize::from(release.by_secret);
        let ids = self.of_lock.entry(release.name.clone()).or_default();
        ids.push(self.numbers);
        self.all.insert(self.numbers, release);
        self.numbers
    }

    /// A release has been made, or is not made again.
    pub(super) fn end(&mut self, id: u64) -> Option<Releasing> {
        let release = self.all.remove(&id)?;
        self.by_secret -= usize::from(release.by_secret);
        if let Some(ids) = self.of_lock.get_mut(&release.name) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.of_lock.remove(&release.name);
            }
        }
        if let Some(again) = release.again {
            self.deadlines.remove(&(again, Due::Again(id)));
        }
        self.deadlines.remove(&(release.answer_by, Due::Caller(id)));
        Some(release)
    }

    /// The backend failed.
    pub(super) fn refused(&mut self, id: u64, error: Error, now: Instant) -> Next {
        let Some(release) = self.all.get_mut(&id) else {
            return Next::Nothing;
        };
        let lost = matches!(error, Error::OutcomeUnknown(_));
        if !(lost || error.is_retryable()) || release.until <= now {
            if let Some(mut release) = self.end(id) {
                release.answer(Err(error));
            }
            return Next::Nothing;
        }
        release.refusals += 1;
        release.is_lost |= lost;
        if lost && release.by_secret {
            // The caller has the secret, and may have other plans with it.
            release.answer(Err(error.clone()));
            self.deadlines.remove(&(release.answer_by, Due::Caller(id)));
            release.answer_by = now;
        }
        // A release can be made twice: the secret is nobody else's.
        if lost && release.refusals == 1 {
            return Next::Again;
        }
        release.error = Some(error);
        let again = now + release.backoff.after_failure(SHORTEST, LONGEST);
        release.again = Some(again);
        self.deadlines.insert((again, Due::Again(id)));
        if release.answer_by <= now {
            self.answer_in_time(id);
        } else if release.caller.is_some() {
            self.deadlines.insert((release.answer_by, Due::Caller(id)));
        }
        Next::Nothing
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Answers the callers whose time has come. Returns a release that is to be made again now.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        while let Some((at, due)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            match due {
                Due::Caller(id) => self.answer_in_time(id),
                Due::Again(id) => {
                    let Some(release) = self.all.get_mut(&id) else {
                        continue;
                    };
                    release.again = None;
                    if release.until > now {
                        return Some(id);
                    }
                    let error = release.error.take();
                    if let Some(mut release) = self.end(id) {
                        release.answer(Err(error.unwrap_or_else(timed_out)));
                    }
                }
            }
        }
        None
    }

    /// A release that was to be made now is made at a later time.
    pub(super) fn postpone(&mut self, id: u64, now: Instant) {
        if let Some(release) = self.all.get_mut(&id) {
            let again = now + release.backoff.whole(SHORTEST, LONGEST);
            release.again = Some(again);
            self.deadlines.insert((again, Due::Again(id)));
        }
    }

    /// Returns the releases that wait to be made again. They are under way from now on.
    pub(super) fn all_now(&mut self) -> Vec<u64> {
        let waiting = self.all.iter_mut();
        let ids = waiting.filter_map(|(id, release)| release.again.take().map(|again| (*id, again)));
        let ids: Vec<_> = ids.collect();
        for (id, again) in &ids {
            self.deadlines.remove(&(*again, Due::Again(*id)));
        }
        ids.into_iter().map(|(id, _)| id).collect()
    }

    /// The secret takes the lock again: an older release of it is not made again.
    pub(super) fn stop(&mut self, name: &Name, secret: &Secret, now: Instant) {
        let Some(ids) = self.of_lock.get(name) else { return };
        for id in ids.clone() {
            let Some(release) = self.all.get_mut(&id) else {
                continue;
            };
            if release.secret != *secret {
                continue;
            }
            // One that is under way ends with its answer.
            release.until = now;
            if release.again.is_some()
                && let Some(mut release) = self.end(id)
            {
                let error = release.error.take();
                release.answer(Err(error.unwrap_or_else(timed_out)));
            }
        }
    }

    /// Tells the caller that the release was refused so far, and goes on.
    fn answer_in_time(&mut self, id: u64) {
        let Some(release) = self.all.get_mut(&id) else {
            return;
        };
        if release.by_secret && self.by_secret > MOST_BY_SECRET {
            let error = release.error.take();
            if let Some(mut release) = self.end(id) {
                release.answer(Err(error.unwrap_or_else(timed_out)));
            }
            return;
        }
        let error = release.error.clone().unwrap_or_else(timed_out);
        release.answer(Err(goes_on(error)));
    }
}

fn timed_out() -> Error {
    Error::Timeout { phase: Phase::Reply }
}

/// The error of a call whose release is made again.
fn goes_on(error: Error) -> Error {
    match error {
        Error::Unavailable(cause) => Error::Unavailable(Cause::new(GoesOn(cause))),
        other => other,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}; the release is tried again in the background until the lock's time ends")]
struct GoesOn(Cause);

#[cfg(test)]
mod tests;
