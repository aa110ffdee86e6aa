//! The pages of scans that wait until the nodes have told who owns which slots.

use tokio::time::Instant;

use crate::error::{Error, Phase};
use crate::request::{Asked, Scan};

#[derive(Debug, Default)]
pub(super) struct Scans(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    asked: Asked<Scan>,
    deadline: Instant,
    /// The question to the nodes that has to be answered first.
    question: u64,
}

impl Scans {
    pub(super) fn push(&mut self, asked: Asked<Scan>, deadline: Instant, question: u64) {
        self.0.push(Waiting {
            asked,
            deadline,
            question,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes those that waited for the answer to this question, and their deadlines.
    pub(super) fn take(&mut self, answered: u64) -> Vec<(Asked<Scan>, Instant)> {
        let ready = self.0.extract_if(.., |waiting| waiting.question <= answered);
        ready.map(|waiting| (waiting.asked, waiting.deadline)).collect()
    }

    /// Answers those that waited for the answer to this question with an error.
    pub(super) fn fail(&mut self, answered: u64, error: &Error) {
        for (asked, _) in self.take(answered) {
            asked.reply.send(Err(error.clone()));
        }
    }

    /// Answers callers whose time is over. Returns the earliest deadline of the others.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        for waiting in self.0.extract_if(.., |waiting| waiting.deadline <= now) {
            waiting
                .asked
                .reply
                .send(Err(Error::Timeout { phase: Phase::Queue }));
        }
        self.0.iter().map(|waiting| waiting.deadline).min()
    }
}
