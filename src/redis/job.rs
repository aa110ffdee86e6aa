//! What is to be done, and what must wait for what is under way. Pure.

use tokio::time::Instant;

use super::script::By;
use super::walk::Walk;
use crate::key::Key;
use crate::lane::Room;
use crate::request::{Aged, Reply, Request, Write};
use crate::spread::Map;
use crate::value::Value;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    Request(Request),
    /// Keys that an `MGET` did not find.
    Doubt(Box<Doubt>),
    Walk(Walk),
}

/// Keys that an `MGET` did not find, which does not tell an absent key from one of another type: that
/// is asked for. Whatever has been written there since changes nothing about the answer.
#[derive(Debug)]
pub(super) enum Doubt {
    Get {
        key: Key,
        reply: Reply<Option<Value>>,
    },
    GetMany {
        keys: Vec<Key>,
        found: Vec<Option<Value>>,
        reply: Reply<Vec<Option<Value>>>,
    },
    /// Only those keys that had a TTL, or none, so that there was something.
    GetManyAged {
        doubted: Vec<Key>,
        found: Vec<Option<Aged>>,
        reply: Reply<Vec<Option<Aged>>>,
    },
}

impl Doubt {
    pub(super) fn keys(&self) -> Vec<&Key> {
        match self {
            Doubt::Get { key, .. } => vec![key],
            Doubt::GetMany { keys, found, .. } => keys
                .iter()
                .zip(found)
                .filter(|(_, found)| found.is_none())
                .map(|(key, _)| key)
                .collect(),
            Doubt::GetManyAged { doubted, .. } => doubted.iter().collect(),
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_pointless(&self) -> bool {
        match self {
            Doubt::Get { reply, .. } => reply.is_closed(),
            Doubt::GetMany { reply, .. } => reply.is_closed(),
            Doubt::GetManyAged { reply, .. } => reply.is_closed(),
        }
    }
}

impl Task {
    /// Whether the server may have forgotten the script that this needs. It is then sent again, so
    /// that nothing but scripts may be sent for its keys before it has been answered.
    fn is_scripted(&self) -> bool {
        let tied = |write: &Write| !write.depends_on.is_empty();
        match self {
            Task::Request(Request::Set { write, .. }) => tied(write),
            Task::Request(Request::SetMany { writes, .. }) => writes.first().is_some_and(tied),
            Task::Request(Request::Incr { ttl, .. }) => ttl.is_some(),
            Task::Request(
                Request::SetIf { .. } | Request::DeleteIf { .. } | Request::Expire { .. } | Request::Lease(_),
            ) => true,
            _ => false,
        }
    }

    /// Whether this is a step on a lock: a script, but one whose keys no plain command touches.
    fn is_lock(&self) -> bool {
        matches!(self, Task::Request(Request::Lock(_)))
    }

    /// Whether this changes its keys by plain commands, which kill no leases. Scripts do so themselves.
    pub(super) fn changes_plainly(&self) -> bool {
        matches!(
            self,
            Task::Request(
                Request::Set { .. }
                    | Request::SetMany { .. }
                    | Request::Take { .. }
                    | Request::Delete { .. }
                    | Request::DeleteMany { .. }
                    | Request::Incr { .. }
            )
        ) && !self.is_scripted()
    }

    /// Drops the values of a task that has become commands, where they are never sent again.
    pub(super) fn drop_values(&mut self) {
        if !self.changes_plainly() {
            return;
        }
        match self {
            Task::Request(Request::Set { write, .. }) => write.value = Value::default(),
            Task::Request(Request::SetMany { writes, .. }) => {
                writes.iter_mut().for_each(|write| write.value = Value::default());
            }
            _ => {}
        }
    }

    /// Calls `see` with each key that this touches; another type of task touches none that its order
    /// matters to.
    pub(super) fn each_key(&self, see: &mut impl FnMut(&Key)) {
        let Task::Request(request) = self else { return };
        match request {
            Request::SetMany { writes, .. } => writes.iter().for_each(|write| see(&write.key)),
            Request::GetMany { keys, .. }
            | Request::GetManyAged { keys, .. }
            | Request::DeleteMany { keys, .. } => {
                keys.iter().for_each(see);
            }
            request => {
                if let Some(key) = request.key() {
                    see(key);
                }
            }
        }
    }
}

/// The keys, by their hashes, of scripts that are under way, and how often each.
#[derive(Debug, Default)]
pub(super) struct Busy {
    keys: Map<u64, u32>,
    /// The server may know some scripts and not others. One that it knows must then not follow one that it
    /// may have to be sent again. Where it knows all or none, scripts keep their order among themselves.
    partly: bool,
}

impl Busy {
    /// For a new connection, to whose server all scripts were sent, or not.
    pub(super) fn new(all_loaded: bool) -> Self {
        Self {
            keys: Map::default(),
            partly: !all_loaded,
        }
    }

    /// The server has forgotten scripts. They come back one by one.
    pub(super) fn forgotten(&mut self) {
        self.partly = true;
    }

    /// Whether a job must wait for what is under way.
    pub(super) fn holds(&self, job: &Job) -> bool {
        if self.keys.is_empty() || (job.task.is_scripted() && !self.partly) {
            return false;
        }
        let mut holds = false;
        job.task
            .each_key(&mut |key| holds |= self.keys.contains_key(&key.hash()));
        holds
    }

    /// Takes note of a job that is about to be sent, also in `keys`.
    pub(super) fn begin(&mut self, job: &Job, keys: &mut Vec<u64>) {
        let scripted = job.task.is_scripted() || (self.partly && job.task.is_lock());
        if job.by == By::Digest && scripted {
            job.task.each_key(&mut |key| {
                *self.keys.entry(key.hash()).or_default() += 1;
                keys.push(key.hash());
            });
        }
    }

    /// What had these keys has been answered, or never will be.
    pub(super) fn end(&mut self, keys: &[u64]) {
        for key in keys {
            if let Some(count) = self.keys.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.keys.remove(key);
                }
            }
        }
    }
}

/// A task and how it is to be sent.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) deadline: Instant,
    /// Keys that must each have a command of their own: one for many of them does not say enough.
    pub(super) alone: bool,
    pub(super) by: By,
    /// Its room in the lane, kept until it is sent.
    pub(super) room: Option<Room>,
}

impl Job {
    pub(super) fn new(task: Task, deadline: Instant) -> Self {
        Self {
            task,
            deadline,
            alone: false,
            by: By::Digest,
            room: None,
        }
    }
}

/// A caller of `get`.
#[derive(Debug)]
pub(super) struct Getter {
    pub(super) key: Key,
    pub(super) reply: Reply<Option<Value>>,
    pub(super) deadline: Instant,
}

/// Who waits for the next replies of a pipeline.
#[derive(Debug)]
pub(super) enum Part {
    /// One reply, for which nobody waits: leases were killed.
    Kills,
    /// One reply: a value, or as many as there are callers. A caller who has been answered already is
    /// `None`.
    Gets(Vec<Option<Getter>>),
    /// As many replies as the request has commands. One that has been answered already is `None`.
    Other { job: Option<Job>, replies: usize },
}
