//! Callers whose time is over, and the end of all of them.

use tokio::time::Instant;

use super::Link;
use crate::engines::redis::fault;
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::reply;
use crate::engines::redis::unsent::Unsent;
use crate::error::{Cause, Error, Phase};

impl Link {
    /// Answers callers whose time is over. Returns the earliest deadline of the others.
    pub(in crate::engines::redis) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut keep = |deadline: Instant| next = Some(next.map_or(deadline, |next| next.min(deadline)));
        let late = |job: &Job| job.deadline <= now;
        if self.waiting.iter().any(late) {
            let error = self.why_late(self.is_up());
            let waiting = std::mem::take(&mut self.waiting);
            for job in waiting {
                let left = if late(&job) {
                    self.end(job, now, &error)
                } else {
                    Some(job)
                };
                self.waiting.extend(left);
            }
        }
        for job in &self.waiting {
            if !late(job) {
                keep(job.deadline);
            }
        }
        self.flights.expire(now).into_iter().for_each(&mut keep);
        self.expire_redirected(now).into_iter().for_each(keep);
        next
    }

    /// Why what has not been sent is late.
    pub(super) fn why_late(&self, up: bool) -> Error {
        match &self.trouble {
            _ if up => Error::Timeout { phase: Phase::Queue },
            Some(error) => error.clone(),
            None => Error::Timeout {
                phase: Phase::Connect,
            },
        }
    }

    /// Answers the callers of a job whose time is over before it was sent. Gives back a walk that goes on.
    pub(super) fn end(&mut self, mut job: Job, now: Instant, error: &Error) -> Option<Job> {
        let error = job.refused.as_ref().unwrap_or(error).clone();
        if let Task::Walk(walk) = &mut job.task {
            let begun = walk.begun;
            let unknown = Error::OutcomeUnknown(reply::no_answer());
            let next = walk.expire(now, if begun { &unknown } else { &error });
            if begun || next.is_some() {
                job.deadline = next.unwrap_or(job.deadline);
                return Some(job);
            }
        }
        self.give_up(job, &error);
        None
    }

    /// Answers a job that is not sent any more with an error. What it was to remove can be replayed.
    pub(super) fn give_up(&mut self, job: Job, error: &Error) {
        self.unsent.add(reply::unsent(&job));
        reply::fail(job.task, error);
    }

    /// Gives up on everything: the engine ends.
    pub(in crate::engines::redis) fn abandon(&mut self) {
        let cause = Cause::new(fault::Lost("the store was closed".to_owned()));
        self.stop_asking(&cause, Instant::now());
        self.unpark();
        for job in self.waiting.drain(..) {
            reply::fail(job.task, &Error::Closed);
        }
        let mut again = Vec::new();
        for flight in self.flights.take() {
            reply::lose(flight.parts, &cause, &mut again, &mut Unsent::default());
        }
        for job in again {
            reply::fail(job.task, &Error::Closed);
        }
    }
}
