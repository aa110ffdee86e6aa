//! Requests to commands. Pure: a batch of jobs in, one pipeline out, with what is to be done with each
//! of its replies.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, Pipeline};
use tokio::time::Instant;

use super::layout::{Layout, pattern};
use super::lease::{self, Kills};
use super::script::{By, Script};
use super::walk::Walk;
use crate::key::Key;
use crate::lane::Room;
use crate::request::{Aged, Condition, Reply, Request, Write};
use crate::value::Value;

/// How many keys one page of a scan looks at.
const PAGE: usize = 512;
/// What a command costs beside its arguments, roughly.
const FRAME: usize = 32;

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
    fn keys(&self) -> Vec<&Key> {
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
            Task::Request(Request::SetIf { write, condition, .. }) => {
                tied(write) || matches!(condition, Condition::Holds(_))
            }
            Task::Request(Request::Expire { .. } | Request::Lease(_)) => true,
            _ => false,
        }
    }

    /// Whether this changes its keys by plain commands, which kill no leases. Scripts do so themselves.
    fn changes_plainly(&self) -> bool {
        matches!(
            self,
            Task::Request(
                Request::Set { .. }
                    | Request::SetMany { .. }
                    | Request::SetIf { .. }
                    | Request::Take { .. }
                    | Request::Delete { .. }
                    | Request::DeleteMany { .. }
                    | Request::Incr { .. }
            )
        ) && !self.is_scripted()
    }

    /// Calls `see` with each key that this touches; another type of task touches none that its order
    /// matters to.
    fn each_key(&self, see: &mut impl FnMut(&Key)) {
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
pub(super) struct Busy(HashMap<u64, u32>);

impl Busy {
    /// Whether a job must wait for what is under way.
    pub(super) fn holds(&self, job: &Job) -> bool {
        // Scripts that are sent again keep their order among themselves.
        if self.0.is_empty() || job.task.is_scripted() {
            return false;
        }
        let mut holds = false;
        job.task
            .each_key(&mut |key| holds |= self.0.contains_key(&key.hash()));
        holds
    }

    /// Takes note of a job that is about to be sent, also in `keys`.
    pub(super) fn begin(&mut self, job: &Job, keys: &mut Vec<u64>) {
        if job.by == By::Digest && job.task.is_scripted() {
            job.task.each_key(&mut |key| {
                *self.0.entry(key.hash()).or_default() += 1;
                keys.push(key.hash());
            });
        }
    }

    /// What had these keys has been answered, or never will be.
    pub(super) fn end(&mut self, keys: &[u64]) {
        for key in keys {
            if let Some(count) = self.0.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.0.remove(key);
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

/// Requests that travel in one pipeline.
#[derive(Debug)]
pub(super) struct Batch {
    layout: Layout,
    /// What is sent, once the batch is finished.
    pub(super) pipeline: Pipeline,
    pub(super) parts: Vec<Part>,
    /// Keys of scripts among them, as [`Busy`] counts them.
    pub(super) busy: Vec<u64>,
    /// The neighbouring `GET`s that are being gathered.
    gets: Vec<Option<Getter>>,
    kills: Kills,
    sent: Vec<Cmd>,
    commands: usize,
    bytes: usize,
}

impl Batch {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            pipeline: Pipeline::new(),
            parts: Vec::new(),
            busy: Vec::new(),
            gets: Vec::new(),
            kills: Kills::default(),
            sent: Vec::new(),
            commands: 0,
            bytes: 0,
        }
    }

    /// Requests taken, those of several commands counted by them.
    pub(super) fn commands(&self) -> usize {
        self.commands
    }

    /// The bytes to send, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends the batch: it has its last command, and gets its first.
    pub(super) fn finish(&mut self) {
        self.end_gets();
        let commands = std::mem::take(&mut self.sent);
        let kills = std::mem::take(&mut self.kills).into_command();
        self.pipeline = Pipeline::with_capacity(commands.len() + usize::from(kills.is_some()));
        if kills.is_some() {
            self.parts.insert(0, Part::Kills);
        }
        for command in kills.into_iter().chain(commands) {
            self.pipeline.add_command(command);
        }
    }

    pub(super) fn push(&mut self, mut job: Job) {
        job.room = None;
        if let Task::Request(Request::Get { .. }) = job.task
            && !job.alone
        {
            let Task::Request(Request::Get { key, reply }) = job.task else {
                return;
            };
            self.commands += 1;
            self.bytes += FRAME + key.as_str().len();
            self.gets.push(Some(Getter {
                key,
                reply,
                deadline: job.deadline,
            }));
            return;
        }
        self.end_gets();
        if job.task.changes_plainly() {
            let (kills, bytes) = (&mut self.kills, &mut self.bytes);
            job.task.each_key(&mut |key| *bytes += kills.add(key));
        }
        let before = self.sent.len();
        match &job.task {
            Task::Walk(walk) => {
                let command = walk.command(self.layout, job.by);
                self.add(command);
            }
            Task::Doubt(doubt) if job.alone => {
                for key in doubt.keys() {
                    self.add(keyed("TYPE", [key]));
                }
            }
            Task::Doubt(doubt) => self.add(keyed("EXISTS", doubt.keys())),
            Task::Request(request) => self.add_request(request, job.by),
        }
        let replies = self.sent.len() - before;
        self.commands += replies;
        self.parts.push(Part::Other {
            job: Some(job),
            replies,
        });
    }

    fn add(&mut self, command: Cmd) {
        self.bytes += FRAME + bytes(&command);
        self.sent.push(command);
    }

    fn end_gets(&mut self) {
        let gets = std::mem::take(&mut self.gets);
        let keys = gets.iter().flatten().map(|getter| &getter.key);
        let command = match gets.len() {
            0 => return,
            1 => keyed("GET", keys),
            _ => keyed("MGET", keys),
        };
        self.sent.push(command);
        self.parts.push(Part::Gets(gets));
    }

    fn add_request(&mut self, request: &Request, by: By) {
        let layout = self.layout;
        match request {
            Request::Get { key, .. } => self.add(keyed("GET", [key])),
            Request::GetMany { keys, .. } => self.add(keyed("MGET", keys)),
            // The time that is left comes first: were the value written anew in between, one read before
            // would have the time of the one after it, and look younger than it is.
            Request::GetAged { key, .. } => {
                self.add(keyed("PTTL", [key]));
                self.add(keyed("GET", [key]));
            }
            Request::GetManyAged { keys, .. } => {
                for key in keys {
                    self.add(keyed("PTTL", [key]));
                }
                self.add(keyed("MGET", keys));
            }
            Request::Set { write, .. } => self.add(set(write, layout, by)),
            Request::SetMany { writes, .. } => {
                for write in writes {
                    self.add(set(write, layout, by));
                }
            }
            Request::SetIf { write, condition, .. } => self.add(set_if(write, condition, layout, by)),
            Request::Take { key, .. } => self.add(keyed("GETDEL", [key])),
            Request::Delete { key, .. } => self.add(keyed("DEL", [key])),
            Request::DeleteMany { keys, .. } => self.add(keyed("DEL", keys)),
            Request::Exists { key, .. } => self.add(keyed("EXISTS", [key])),
            Request::Ttl { key, .. } => self.add(keyed("PTTL", [key])),
            Request::Expire { key, ttl, .. } => {
                let mut command = Script::Expire.call(by, 1);
                command.arg(key.as_str()).arg(layout.depend).arg(layout.close);
                match ttl {
                    Some(ttl) => command.arg(millis(*ttl)),
                    None => command.arg(""),
                };
                self.add(command);
            }
            Request::Incr { key, by, .. } => {
                let mut command = keyed("INCRBY", [key]);
                command.arg(*by);
                self.add(command);
            }
            Request::Scan { prefix, cursor, .. } => {
                let mut command = redis::cmd("SCAN");
                command.arg(*cursor).arg("MATCH").arg(pattern(prefix));
                command.arg("COUNT").arg(PAGE).arg("TYPE").arg("string");
                self.add(command);
            }
            Request::Lock(request) => self.add(super::lock::command(request, layout, by)),
            Request::Lease(request) => self.add(lease::command(&request.action, layout, by)),
            Request::Ping { .. } => self.add(redis::cmd("PING")),
            Request::Redis { command, .. } => self.add(command.as_ref().clone()),
            // Walks of their own, or answered by the engine itself: nothing is sent for them here.
            Request::Clear { .. } | Request::Invalidate { .. } | Request::Stats { .. } => {}
            #[cfg(test)]
            Request::Panic { .. } => {}
        }
    }
}

fn keyed<'k>(name: &str, keys: impl IntoIterator<Item = &'k Key>) -> Cmd {
    let mut command = redis::cmd(name);
    for key in keys {
        command.arg(key.as_str());
    }
    command
}

fn bytes(command: &Cmd) -> usize {
    command.args_iter().map(crate::request::argument_bytes).sum()
}

/// In whole milliseconds, as TTLs are checked to be; the longest is far below 2^63.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

fn set(write: &Write, layout: Layout, by: By) -> Cmd {
    if write.depends_on.is_empty() {
        plain_set(write)
    } else {
        scripted_set(write, "", None, layout, by)
    }
}

fn plain_set(write: &Write) -> Cmd {
    let mut command = Cmd::with_capacity(5, write.key.as_str().len() + write.value.len() + FRAME);
    command
        .arg("SET")
        .arg(write.key.as_str())
        .arg(write.value.as_bytes());
    if let Some(ttl) = write.ttl {
        command.arg("PX").arg(millis(ttl));
    }
    command
}

fn set_if(write: &Write, condition: &Condition, layout: Layout, by: By) -> Cmd {
    let (word, expected) = match condition {
        Condition::Absent => ("NX", None),
        Condition::Present => ("XX", None),
        Condition::Holds(expected) => return scripted_set(write, "EQ", Some(expected), layout, by),
    };
    if !write.depends_on.is_empty() {
        return scripted_set(write, word, expected, layout, by);
    }
    let mut command = plain_set(write);
    command.arg(word);
    command
}

/// `expected` is what the condition compares with.
pub(super) fn scripted_set(
    write: &Write,
    condition: &str,
    expected: Option<&Value>,
    layout: Layout,
    by: By,
) -> Cmd {
    let mut command = Script::Write.call(by, 1);
    command
        .arg(write.key.as_str())
        .arg(layout.depend)
        .arg(layout.close)
        .arg(write.value.as_bytes());
    match write.ttl {
        Some(ttl) => command.arg(millis(ttl)),
        None => command.arg(""),
    };
    command
        .arg(condition)
        .arg(expected.map_or(&[][..], Value::as_bytes));
    for name in write.depends_on.iter() {
        command.arg(name.as_str());
    }
    command
}
