//! Requests to commands. Pure: a batch of jobs in, one pipeline out, with what is to be done with each
//! of its replies.

use std::time::Duration;

use redis::{Cmd, Pipeline};

use super::job::{Getter, Job, Part, Task};
use super::layout::{Layout, pattern};
use super::lease::{self, Kills};
use super::script::{By, Script};
use crate::key::Key;
use crate::request::{Condition, PREFIX, Request, Write};
use crate::value::Value;

/// How many keys one page of a scan looks at.
const PAGE: usize = 512;
/// The most bytes of values that one command writes.
const MERGED: usize = 256 * 1024;
/// What a command costs beside its arguments, at most.
const FRAME: usize = 16;
/// What an argument costs beside its bytes, at most: its length, and what ends both.
pub(super) const ARGUMENT: usize = 16;

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

    /// Requests taken, those that write several entries counted by them.
    pub(super) fn commands(&self) -> usize {
        self.commands
    }

    /// The bytes to send, or a few more.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends the batch: it has its last command, and gets its first. So many bytes may still be before it on
    /// their way to the server.
    pub(super) fn finish(&mut self, before: usize) {
        self.end_gets();
        let commands = std::mem::take(&mut self.sent);
        let (first, last) = std::mem::take(&mut self.kills).into_commands(before + self.bytes);
        self.pipeline = Pipeline::with_capacity(commands.len() + 2);
        if first.is_some() {
            self.parts.insert(0, Part::Kills);
        }
        if last.is_some() {
            self.parts.push(Part::Kills);
        }
        for command in first.into_iter().chain(commands).chain(last) {
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
            self.bytes += FRAME + 2 * ARGUMENT + key.as_str().len();
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
        job.task.drop_values();
        let replies = self.sent.len() - before;
        self.commands += match &job.task {
            // One command for them all is as much work for the server.
            Task::Request(Request::SetMany { writes, .. }) => writes.len(),
            _ => replies,
        };
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
            Request::SetMany { writes, .. } if fit_one(writes) => self.add(set_all(writes)),
            Request::SetMany { writes, .. } => {
                for write in writes {
                    self.add(set(write, layout, by));
                }
            }
            Request::SetIf { write, condition, .. } => self.add(set_if(write, condition, layout, by)),
            Request::Take { key, .. } => self.add(keyed("GETDEL", [key])),
            Request::Delete { key, .. } => self.add(keyed("DEL", [key])),
            Request::DeleteIf { key, expected, .. } => {
                let mut command = Script::DeleteIf.call(by, 1);
                command.arg(key.as_str()).arg(expected.as_bytes());
                self.add(command);
            }
            Request::DeleteMany { keys, .. } => self.add(keyed("DEL", keys)),
            Request::Exists { key, .. } => self.add(keyed("EXISTS", [key])),
            // Of a loaded value, its head tells how much of the TTL it is fresh.
            Request::Ttl { key, .. } => {
                self.add(keyed("PTTL", [key]));
                let mut command = keyed("GETRANGE", [key]);
                command.arg(0).arg(PREFIX - 1);
                self.add(command);
            }
            Request::Expire { key, ttl, .. } => {
                let mut command = Script::Expire.call(by, 1);
                command.arg(key.as_str()).arg(layout.depend).arg(layout.close);
                match ttl {
                    Some(ttl) => command.arg(millis(*ttl)),
                    None => command.arg(""),
                };
                self.add(command);
            }
            Request::Incr {
                key,
                by: count,
                ttl: Some(ttl),
                ..
            } => {
                let mut command = Script::Incr.call(by, 1);
                command.arg(key.as_str()).arg(*count).arg(millis(*ttl));
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
    let arguments = command.args_iter();
    arguments
        .map(|argument| ARGUMENT + crate::request::argument_bytes(argument))
        .sum()
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

/// Whether one command can write them all: none has a TTL or dependencies, as all have the same, and
/// they hold the server for no longer than a large value does.
fn fit_one(writes: &[Write]) -> bool {
    let plain = |write: &Write| write.ttl.is_none() && write.depends_on.is_empty();
    writes.len() > 1 && writes.iter().all(plain) && writes.iter().map(Write::bytes).sum::<usize>() <= MERGED
}

fn set_all(writes: &[Write]) -> Cmd {
    let bytes = writes
        .iter()
        .map(|write| write.key.as_str().len() + write.value.len());
    let mut command = Cmd::with_capacity(1 + 2 * writes.len(), "MSET".len() + bytes.sum::<usize>());
    command.arg("MSET");
    for write in writes {
        command.arg(write.key.as_str()).arg(write.value.as_bytes());
    }
    command
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

/// Always a script: only it can tell a loaded value that is stale, which counts as absent.
fn set_if(write: &Write, condition: &Condition, layout: Layout, by: By) -> Cmd {
    let (word, expected) = match condition {
        Condition::Absent => ("NX", None),
        Condition::Present => ("XX", None),
        Condition::Holds(expected) => ("EQ", Some(expected)),
    };
    scripted_set(write, word, expected, layout, by)
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
