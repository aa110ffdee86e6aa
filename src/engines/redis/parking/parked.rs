//! One parked job: its place in the order, its keys, and why it waits.

use tokio::time::Instant;

use super::PAUSE;
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::redirect::Redirect;
use crate::error::Error;

/// The place of a job in the order, and the keys that it holds, by their hashes.
#[derive(Debug)]
pub(in crate::engines::redis) struct Held {
    pub(super) place: u64,
    pub(in crate::engines::redis) keys: Vec<u64>,
}

impl Held {
    /// Gives the place to a job: the one that had it, or a later read of the same keys.
    pub(in crate::engines::redis) fn with(self, job: Job) -> Asked {
        Asked { held: self, job }
    }
}

/// A job that is parked, or that another node is asked.
#[derive(Debug)]
pub(in crate::engines::redis) struct Asked {
    pub(super) held: Held,
    pub(in crate::engines::redis) job: Job,
}

impl Asked {
    pub(in crate::engines::redis) fn into_parts(self) -> (Held, Job) {
        (self.held, self.job)
    }

    pub(super) fn shares(&self, see: impl Fn(&u64) -> bool) -> bool {
        self.held.keys.iter().any(see)
    }
}

/// One job, and why it waits.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) asked: Asked,
    /// `None` if it waits for another one of its key.
    pub(super) redirect: Option<Redirect>,
    /// How many pipelines had been sent when it was refused. What these carry out is known once they are answered.
    pub(super) sent: u64,
    pub(super) is_overtaken: bool,
}

impl Parked {
    /// It waits for another one of its keys.
    pub(super) fn waiting(asked: Asked) -> Self {
        Self {
            asked,
            redirect: None,
            sent: 0,
            is_overtaken: false,
        }
    }

    pub(super) fn refused(mut asked: Asked, redirect: Redirect, error: &Error, sent: u64) -> Self {
        asked.job.refused = Some(error.clone());
        asked.job.redirect = Some(redirect.clone());
        Self {
            redirect: Some(redirect),
            sent,
            ..Self::waiting(asked)
        }
    }

    /// Whether there is no time left for an answer. Long work that has begun goes on without its callers.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        let goes_on = matches!(&self.asked.job.task, Task::Walk(walk) if walk.begun);
        !goes_on && self.asked.job.deadline <= now + PAUSE
    }
}

/// The keys of a job, by their hashes.
pub(super) fn hashes(job: &Job) -> Vec<u64> {
    let mut keys = Vec::new();
    job.task.keys().for_each(|key| keys.push(key.hash()));
    keys
}
