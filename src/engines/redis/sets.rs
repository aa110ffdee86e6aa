//! Neighbouring `Set`s that depend on names, which travel as one script.

use redis::Value as Wire;
use tokio::time::Instant;

use super::exchange::Commands;
use super::job::{Job, Task};
use super::script::By;
use super::tally::Tally;
use super::wire::{flag, forgotten};
use super::writes::{MERGED, TIED, write_many};
use crate::request::{Asked, EntryRequest, Set, Write};

/// One of them.
#[derive(Debug)]
pub(super) struct Setter {
    pub(super) asked: Asked<Set>,
    pub(super) deadline: Instant,
}

/// Those that one script writes. A caller who has been answered already is `None`.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) setters: Vec<Option<Setter>>,
    /// How the script is called.
    by: By,
    /// What they write.
    pub(super) bytes: usize,
}

impl Sets {
    pub(super) fn new(by: By) -> Self {
        Self {
            setters: Vec::new(),
            by,
            bytes: 0,
        }
    }

    /// Whether another one may join them.
    pub(super) fn fits(&self, asked: &Asked<Set>, by: By) -> bool {
        let bytes = self.bytes + asked.operation.write.bytes();
        self.by == by && self.setters.len() < TIED && bytes <= MERGED
    }

    /// Takes one in.
    pub(super) fn push(&mut self, setter: Setter) {
        self.bytes += setter.asked.operation.write.bytes();
        self.setters.push(Some(setter));
    }

    /// Adds the command that writes them all.
    pub(super) fn encode(&self, to: &mut Commands) {
        let setters = self.setters.iter().flatten();
        let groups: Vec<&[Write]> = setters
            .map(|setter| std::slice::from_ref(&setter.asked.operation.write))
            .collect();
        to.by = self.by;
        write_many(&groups, to);
    }

    /// Answers the callers. What must be sent again is pushed to `again`.
    pub(super) fn decode(self, reply: Wire, tally: &mut Tally, again: &mut Vec<Job>) {
        let answers = match reply {
            Wire::Array(answers) if answers.len() == self.setters.len() => answers,
            reply => vec![reply; self.setters.len()],
        };
        for (setter, answer) in self.setters.into_iter().zip(answers) {
            let Some(setter) = setter else { continue };
            if forgotten(&answer, self.by) {
                again.push(Job {
                    by: By::Source,
                    ..Job::from(setter)
                });
                continue;
            }
            let answer = flag(answer).map(|_| tally.stats.sets += 1);
            setter.asked.answer(answer, tally);
        }
    }
}

impl From<Setter> for Job {
    fn from(Setter { asked, deadline }: Setter) -> Self {
        Job::new(Task::Request(EntryRequest::Set(asked)), deadline)
    }
}
