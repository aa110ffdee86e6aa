//! What waits for a connection that was lost, and for how long.

use tokio::time::Instant;

use super::Link;
use crate::engines::redis::fault::{self, Lost};
use crate::engines::redis::job::{Job, Task};
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
        if self.outage.is_some() {
            return;
        }
        let until = now + self.options.wait_for_connection;
        for job in &mut self.waiting {
            job.waits_until = Some(until);
        }
        let due = (!self.waiting.is_empty()).then_some(until);
        self.outage = Some(Outage { due });
        self.end_waits(now);
    }

    /// Whether the connection was open, and is known to be down.
    pub(in crate::engines::redis) fn is_down(&self) -> bool {
        self.outage.is_some()
    }

    /// Whether a job may wait for the connection.
    pub(super) fn is_worth_waiting(&mut self, job: &mut Job, now: Instant) -> bool {
        let Some(outage) = &mut self.outage else {
            return true;
        };
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
                    Task::Walk(walk) if walk.begun => {
                        walk.leave(&Error::OutcomeUnknown(reply::no_answer()));
                        job.waits_until = None;
                        self.waiting.push_back(job);
                    }
                    _ => reply::fail(job.task, &error),
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
