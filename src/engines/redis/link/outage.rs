//! What waits for a connection that was lost, and for how long.

use tokio::time::Instant;

use super::Link;
use crate::engines::redis::fault::{self, Lost};
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::removals::Removal;
use crate::engines::redis::reply;
use crate::error::{Cause, Error};

/// A connection that was open is known to be down.
#[derive(Debug)]
pub(super) struct Outage {
    /// No later than the first of those who wait gives up. `None` if nobody waits.
    due: Option<Instant>,
}

impl Link {
    /// The connection is known to be down from now on, if it was not before.
    pub(super) fn begin_outage(&mut self, now: Instant) {
        let (is_new, keeps) = (self.outage.is_none(), self.unsent.are_kept());
        let until = now + self.options.wait_for_connection;
        for job in &mut self.waiting {
            if keeps && job.is_replayed() {
                // Another connection may be open already.
                job.waits_until = Some(now);
            } else if is_new || (keeps && job.waits_until.is_none()) {
                job.waits_until = Some(until);
            }
        }
        let due = self.waiting.iter().filter_map(|job| job.waits_until).min();
        self.outage = Some(Outage { due });
        self.end_waits(now);
    }

    /// Whether the connection was open, and is known to be down.
    pub(in crate::engines::redis) fn is_down(&self) -> bool {
        self.outage.is_some()
    }

    /// Whether a job may wait for the connection.
    pub(super) fn is_worth_waiting(&mut self, job: &mut Job, now: Instant) -> bool {
        let is_replaying = self.is_held && !self.is_refused && self.is_up();
        let Some(outage) = &mut self.outage else {
            return true;
        };
        // Removals that failed during a replay would be replayed too, and it would not end.
        if is_replaying && (job.task.is_removal() || !job.waits_for_replay()) {
            return true;
        }
        let wait = self.options.wait_for_connection;
        job.waits_until = Some(now + wait);
        outage.due = outage.due.or(job.waits_until);
        !wait.is_zero()
    }

    /// Answers those who have waited long enough for a connection. When the next one will have.
    pub(super) fn end_waits(&mut self, now: Instant) -> Option<Instant> {
        let due = self.outage.as_ref()?.due?;
        if due > now {
            return Some(due);
        }
        let error = self.why_down();
        let mut next = None;
        for mut job in std::mem::take(&mut self.waiting) {
            match job.waits_until {
                Some(until) if until <= now => match &mut job.task {
                    // The rest of it is done when the connection is back.
                    Task::Walk(walk) if walk.begun && !self.unsent.are_kept() => {
                        walk.leave(&Error::OutcomeUnknown(reply::no_answer()));
                        job.waits_until = None;
                        self.waiting.push_back(job);
                    }
                    Task::Walk(walk) if walk.begun => {
                        self.give_up(job, &Error::OutcomeUnknown(reply::no_answer()));
                    }
                    _ => self.give_up(job, &error),
                },
                until => {
                    next = next.into_iter().chain(until).min();
                    self.waiting.push_back(job);
                }
            }
        }
        if let Some(outage) = &mut self.outage {
            outage.due = next;
        }
        next
    }

    /// Holds all jobs but those of the replay, and those that read and write no entries. A server that has `refused` the
    /// replay counts as down.
    pub(in crate::engines::redis) fn hold(&mut self, is_held: bool, refused: Option<&Error>, now: Instant) {
        let was_held = std::mem::replace(&mut self.is_held, is_held);
        self.is_refused = refused.is_some();
        if was_held && !is_held && self.is_up() {
            self.trouble = None;
            self.outage = None;
        }
        if let Some(error) = refused
            && self.is_up()
            && self.outage.is_none()
        {
            self.trouble = Some(error.clone());
            self.begin_outage(now);
        }
    }

    /// Gives a step of a replay to this connection.
    pub(in crate::engines::redis) fn push_replay(&mut self, job: Job) {
        self.waiting.push_front(job);
    }

    /// What was to be removed by jobs that have failed since this was last called.
    pub(in crate::engines::redis) fn take_unsent(&mut self) -> Vec<Removal> {
        self.unsent.take()
    }

    /// The error of a call that does not wait for the connection any longer.
    pub(super) fn why_down(&self) -> Error {
        match &self.trouble {
            Some(error @ (Error::Unavailable(_) | Error::Unauthorized | Error::InvalidConfig { .. })) => {
                error.clone()
            }
            _ => {
                let silent = Cause::new(Lost("it did not answer in time".to_owned()));
                fault::unreachable(&self.options.target, &silent)
            }
        }
    }
}
