//! Replays removals over the first connection that is open, before anything else is read or written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::job::{Job, Task};
use super::removals::{Chunk, Removal, Removals};
use super::tracker::Tracker;
use super::walk::{Caller, Walk};
use crate::actor::Backoff;
use crate::config::RedisOptions;
use crate::engine::RemovalLimits;
use crate::error::{Error, Result};
use crate::key::{Namespace, Within};
use crate::request::{Asked, DeleteMany, EntryRequest, Progress, Reply};

/// A deadline that never comes: a step ends with its connection.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// So many dropped removals are told in one line of the log.
const TOLD: usize = 512;

/// The removals that wait, and the step of their replay that is under way.
#[derive(Debug)]
pub(super) struct Replay {
    removals: Removals,
    step: Option<Step>,
    /// Why the server refused the last step, if it did. It is made again later.
    refused: Option<Error>,
    retry_at: Option<Instant>,
    backoff: Backoff,
    /// How many were replayed since there were none.
    replayed: usize,
    /// How many the server has refused for good, and why, of which the log does not tell yet.
    dropped: Option<(usize, Error)>,
}

#[derive(Debug)]
struct Step {
    answer: oneshot::Receiver<Result<u64>>,
    /// Which stripe it went to.
    stripe: usize,
}

impl Replay {
    pub(super) fn new(limits: RemovalLimits, namespace: &Namespace) -> Self {
        Self {
            removals: Removals::new(limits, namespace),
            step: None,
            refused: None,
            retry_at: None,
            backoff: Backoff::default(),
            replayed: 0,
            dropped: None,
        }
    }

    pub(super) fn keeps_removals(&self) -> bool {
        self.removals.are_kept()
    }

    /// How many removals wait.
    pub(super) fn waiting(&self) -> usize {
        self.removals.len()
    }

    /// Whether nothing may be read before removals have been replayed.
    pub(super) fn holds(&self) -> bool {
        !self.removals.is_empty()
    }

    /// Why the server refuses the replay for now.
    pub(super) fn refused(&self) -> Option<&Error> {
        self.refused.as_ref()
    }

    /// When a step that the server refused is made again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Keeps a removal whose call has failed. Nothing that it covers is near any more; see [`Unsent`](super::unsent::Unsent).
    pub(super) fn keep(&mut self, removal: Removal) {
        if !self.holds() {
            tracing::debug!("an invalidation waits for the connection to Redis");
        }
        self.removals.add(removal);
        self.tell_of_overflow();
    }

    fn tell_of_overflow(&mut self) {
        for prefix in self.removals.take_overflown() {
            let namespace = prefix.trim_end_matches(':');
            tracing::warn!(
                namespace,
                "too many invalidations wait for the connection to Redis: the namespace will be cleared"
            );
        }
    }

    /// The next step, and `stripe`, which `open` names: that of an open connection. `None` while a step is under way,
    /// while no connection is open, and if nothing is left.
    pub(super) fn begin(
        &mut self,
        open: impl FnOnce() -> Option<usize>,
        tells: bool,
        tracker: Option<&Tracker>,
        now: Instant,
    ) -> Option<(Job, usize)> {
        if self.step.is_some() || self.removals.is_empty() || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        self.retry_at = None;
        let stripe = open()?;
        let chunk = self.removals.begin_step()?;
        let (reply, answer) = Reply::new();
        self.step = Some(Step { answer, stripe });
        let deadline = now + NEVER;
        let caller = |reply| Caller::new(reply, Progress::default(), deadline);
        let mut task = match chunk {
            Chunk::Entries(keys) => {
                let keys = keys.into_iter().map(|(key, _)| key).collect();
                let operation = DeleteMany {
                    keys,
                    within: Within::default(),
                };
                Task::Request(EntryRequest::DeleteMany(Asked { operation, reply }))
            }
            Chunk::Dependents(names) => {
                let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
                Task::Walk(Walk::invalidation(&names, caller(reply), tells))
            }
            Chunk::Prefixes(prefixes) => {
                Task::Walk(Walk::clearing(prefixes, vec![caller(reply)], Arc::default()))
            }
        };
        if let Task::Walk(walk) = &mut task {
            walk.near(tracker);
        }
        let job = Job {
            is_replay: true,
            ..Job::new(task, deadline)
        };
        Some((job, stripe))
    }

    /// Takes in how the step under way ended. `is_up` tells whether the connection of a stripe is open. Returns `true` if
    /// the step ended.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        options: &RedisOptions,
        is_up: impl FnOnce(usize) -> bool,
        now: Instant,
    ) -> bool {
        let Some(step) = &mut self.step else { return false };
        let Poll::Ready(answer) = Pin::new(&mut step.answer).poll(cx) else {
            return false;
        };
        let stripe = step.stripe;
        self.step = None;
        match answer {
            Ok(Ok(_)) => {
                self.replayed += self.removals.end_step(true);
                self.goes_on();
            }
            Ok(Err(error)) if !is_passing(&error) => {
                let dropped = self.removals.refuse_step();
                let before = self.dropped.take().map_or(0, |(before, _)| before);
                self.dropped = Some((before + dropped, error)).filter(|(dropped, _)| *dropped > 0);
                self.goes_on();
            }
            answer => {
                self.removals.end_step(false);
                self.tell_of_overflow();
                if is_up(stripe) {
                    let (shortest, longest) = (options.reconnect_backoff_min, options.reconnect_backoff_max);
                    self.retry_at = Some(now + self.backoff.after_failure(shortest, longest));
                    self.refused = answer.ok().and_then(Result::err).map(|error| match error {
                        // A part of it was carried out, which is nothing to other callers.
                        Error::OutcomeUnknown(cause) => Error::Unavailable(cause),
                        error => error,
                    });
                }
            }
        }
        true
    }

    /// A step has been done.
    fn goes_on(&mut self) {
        self.refused = None;
        self.backoff.reset();
        self.tell_of_dropped();
        if self.removals.is_empty() {
            let replayed = std::mem::take(&mut self.replayed);
            tracing::info!(replayed, "the invalidations that were queued have been replayed");
        }
    }

    fn tell_of_dropped(&mut self) {
        let is_over = self.removals.is_empty();
        if let Some((dropped, error)) = self.dropped.take_if(|(dropped, _)| is_over || *dropped >= TOLD) {
            tracing::warn!(%error, dropped, "Redis refuses invalidations that were queued: they are dropped");
        }
    }

    /// The engine ends.
    pub(super) fn abandon(&mut self) {
        let dropped = self.removals.len();
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "the store is closed, and invalidations that were queued are lost: Redis may serve what they cover"
            );
        }
    }
}

/// Whether a step that failed so may succeed later.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::OutcomeUnknown(cause) => cause.of::<Error>().is_none_or(is_passing),
        error => matches!(
            error,
            Error::Unavailable(_) | Error::Timeout { .. } | Error::Closed
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;

    #[test]
    fn what_the_server_refuses_for_good_is_not_replayed_again() {
        let unavailable = Error::Unavailable(Cause::new("it is a replica"));
        let partly = |error: Error| Error::OutcomeUnknown(Cause::new(error));
        assert!(is_passing(&unavailable));
        assert!(is_passing(&partly(unavailable)));
        assert!(is_passing(&Error::OutcomeUnknown(Cause::new("it was lost"))));
        assert!(!is_passing(&Error::Unauthorized));
        assert!(!is_passing(&partly(Error::Unauthorized)));
    }
}
