//! Neighbouring `Set`s that depend on names, which travel as one script.

use redis::Value as Wire;
use tokio::time::Instant;

use super::exchange::Commands;
use super::fault;
use super::job::{Job, Task};
use super::script::By;
use super::tally::Tally;
use super::wire::{flag, forgotten};
use super::writes::{MERGED, TIED, write_many};
use crate::error::Result;
use crate::key::Key;
use crate::prehashed::Map;
use crate::request::{Asked, EntryRequest, Set, Write};

/// One of them.
#[derive(Debug)]
pub(super) struct Setter {
    pub(super) asked: Asked<Set>,
    pub(super) deadline: Instant,
}

/// The writes of one script. A setter whose caller was answered at its deadline is `None`.
///
/// The script writes them in groups that have the same names and the same TTL. That changes no order that anybody
/// sees: writes of one key are in one group.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) setters: Vec<Option<Setter>>,
    /// The group of each setter.
    group_of: Vec<usize>,
    /// The first setter of each group.
    groups: Vec<usize>,
    /// The last group with these names and this TTL, by a hash of them.
    alike: Map<u64, usize>,
    /// The group that writes a key, by its hash.
    written: Map<u64, usize>,
    /// How the script is called.
    by: By,
    /// What they write.
    pub(super) bytes: usize,
}

impl Sets {
    pub(super) fn new(by: By) -> Self {
        Self {
            setters: Vec::new(),
            group_of: Vec::new(),
            groups: Vec::new(),
            alike: Map::default(),
            written: Map::default(),
            by,
            bytes: 0,
        }
    }

    /// Whether another one may join them.
    pub(super) fn fits(&self, asked: &Asked<Set>, by: By) -> bool {
        let write = &asked.operation.write;
        let written = self.written.get(&write.key.hash());
        self.by == by
            && self.setters.len() < TIED
            && self.bytes + write.bytes() <= MERGED
            && written.is_none_or(|group| self.group(write) == Some(*group))
    }

    /// Takes one in.
    pub(super) fn push(&mut self, setter: Setter) {
        let write = &setter.asked.operation.write;
        let group = self.group(write).unwrap_or(self.groups.len());
        if group == self.groups.len() {
            self.groups.push(self.setters.len());
            self.alike.insert(hash_of_group(write), group);
        }
        self.group_of.push(group);
        self.written.insert(write.key.hash(), group);
        self.bytes += write.bytes();
        self.setters.push(Some(setter));
    }

    /// The group that a write belongs to, if there is one.
    fn group(&self, write: &Write) -> Option<usize> {
        let group = *self.alike.get(&hash_of_group(write))?;
        let first = self.setters.get(*self.groups.get(group)?)?.as_ref()?;
        let first = &first.asked.operation.write;
        (first.ttl == write.ttl && *first.depends_on == *write.depends_on).then_some(group)
    }

    /// Adds the command that writes them all.
    pub(super) fn encode(&self, to: &mut Commands) {
        let mut groups = vec![Vec::new(); self.groups.len()];
        for (setter, group) in self.setters.iter().zip(&self.group_of) {
            if let (Some(setter), Some(group)) = (setter, groups.get_mut(*group)) {
                group.push(&setter.asked.operation.write);
            }
        }
        to.by = self.by;
        write_many(&groups, to);
    }

    /// Answers the callers. What must be sent again is pushed to `again`.
    pub(super) fn decode(self, reply: Wire, tally: &mut Tally, again: &mut Vec<Job>) {
        // One key of many may be the reason: the server refuses a script as a whole.
        if let Wire::ServerError(error) = &reply
            && self.setters.len() > 1
            && fault::is_forbidden(error)
        {
            return again.extend(self.setters.into_iter().flatten().map(alone));
        }
        // Each reply is judged first, because one may stand for all groups, and a hostile server's may be large. A
        // group whose script the server has forgotten has no answer.
        let judge = |reply| (!forgotten(&reply, self.by)).then(|| flag(reply));
        let answers: Vec<Option<Result<bool>>> = match reply {
            Wire::Array(replies) if replies.len() == self.groups.len() => {
                replies.into_iter().map(judge).collect()
            }
            reply => vec![judge(reply); self.groups.len()],
        };
        for (setter, group) in self.setters.into_iter().zip(self.group_of) {
            let Some(setter) = setter else { continue };
            let Some(answer) = answers.get(group).cloned().flatten() else {
                again.push(Job {
                    by: By::Source,
                    ..Job::from(setter)
                });
                continue;
            };
            let answer = answer.map(|_| tally.stats.sets += 1);
            setter.asked.answer(answer, tally);
        }
    }
}

/// A hash of what the writes of a group have in common.
fn hash_of_group(write: &Write) -> u64 {
    let ttl = write
        .ttl
        .map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    let names = write.depends_on.iter().map(Key::hash);
    names.fold(ttl, |hash, name| hash.rotate_left(5) ^ name)
}

/// One of several that were refused together is sent once more, by itself.
fn alone(setter: Setter) -> Job {
    Job {
        alone: true,
        ..Job::from(setter)
    }
}

impl From<Setter> for Job {
    fn from(Setter { asked, deadline }: Setter) -> Self {
        Job::new(Task::Request(EntryRequest::Set(asked)), deadline)
    }
}
