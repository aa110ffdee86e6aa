//! Neighbouring changes in a slot of a cluster that need no script: one transaction of their plain commands and of what
//! ends the leases of their keys. While the slot moves, the server refuses all of it or nothing. Pure.

use std::ops::Range;

use redis::{Cmd, ServerError, Value as Wire};

use super::exchange::{Commands, Way};
use super::fault;
use super::job::{Job, Task};
use super::lease::Invalidated;
use super::part::Part;
use super::redirect::Redirect;
use super::script::By;
use super::wire::{refused, unexpected};
use super::writes::{MERGED, TIED};
use crate::error::Error;
use crate::request::{Effect, EntryRequest};

/// What comes before the reason in the reply to an `EXEC` that the server itself has refused.
const BECAUSE: &str = "Transaction discarded because of: ";

/// The changes of one that is being gathered. Its commands are already among those of the pipeline.
#[derive(Debug)]
pub(super) struct Changes {
    keys: Invalidated,
    /// The place of its first part in the pipeline.
    part: usize,
    /// The commands of the pipeline, and their bytes, before its own.
    first: usize,
    bytes: usize,
}

/// How a transaction begins and ends: a reply each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Begin,
    End,
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Each of its commands has a reply of its own.
    Answered,
    /// Nothing was carried out: where all of it is to be sent, and why.
    Refused(Redirect, Error),
    /// It was ended, and the server has not told with which replies.
    Unknown,
}

/// Why no further change is to be sent in a transaction.
#[derive(Debug)]
pub(super) enum Refused {
    ForNow,
    /// The user may not.
    ForGood(Error),
}

impl Refused {
    fn by(error: Error) -> Self {
        match error {
            Error::Unauthorized => Refused::ForGood(error),
            _ => Refused::ForNow,
        }
    }
}

/// Whether a job may be one of the changes that are sent with `commands`.
///
/// One with many keys or bytes is sent by scripts in parts. One that answers a value is not gathered either, because the values
/// of a transaction come in one reply, whose size is bounded.
pub(super) fn takes(job: &Job, commands: &Commands) -> bool {
    match &job.task {
        Task::Request(EntryRequest::DeleteMany(_)) if commands.tells => false,
        Task::Request(EntryRequest::Take(_) | EntryRequest::Swap(_)) => false,
        Task::Request(request) => {
            job.by == By::Digest
                && !job.alone
                && request.effect() == Effect::Change
                && request.own_way(commands.abilities) == Way::Plain
                && request.keys().len() <= TIED
                && request.bytes() < MERGED
        }
        Task::Doubt(_) | Task::Walk(_) | Task::Own(_) => false,
    }
}

impl Changes {
    /// Begins a transaction.
    pub(super) fn begin(to: &mut Commands, parts: &mut Vec<Part>) -> Self {
        let (first, bytes) = (to.sent.len(), to.bytes);
        parts.push(Part::Transaction(Edge::Begin));
        to.add(redis::cmd("MULTI"));
        Self {
            keys: Invalidated::default(),
            part: parts.len(),
            first,
            bytes,
        }
    }

    /// Adds the commands of a change.
    pub(super) fn push(&mut self, request: &EntryRequest, to: &mut Commands) {
        request.keys().for_each(|key| {
            to.bytes += self.keys.add(key, &to.layout);
        });
        to.in_transaction = true;
        request.encode(to);
        to.in_transaction = false;
    }

    /// Whether nothing more is to be added: the server serves nobody else meanwhile.
    pub(super) fn are_full(&self, commands: &Commands) -> bool {
        commands.sent.len() - self.first > TIED || commands.bytes - self.bytes >= MERGED
    }

    /// Ends the leases of the keys, and the transaction. Leases end before the changes, as in a pipeline without a
    /// transaction: a server may refuse to begin one, and then carries out each command by itself.
    pub(super) fn end(self, to: &mut Commands, parts: &mut Vec<Part>) {
        let leases: Vec<Cmd> = self.keys.into_commands_at_once(&to.layout);
        parts.insert(self.part, Part::Leases(leases.len()));
        let after_begin = self.first + 1;
        to.sent.splice(after_begin..after_begin, leases);
        to.add(redis::cmd("EXEC"));
        parts.push(Part::Transaction(Edge::End));
    }
}

/// Which of the replies to a pipeline are those to the commands of a transaction, for each of its transactions.
pub(super) fn places(parts: &[Part]) -> impl Iterator<Item = Range<usize>> {
    let (mut begin, mut at) = (0, 0);
    parts.iter().filter_map(move |part| {
        let before = at;
        at += part.replies();
        match part {
            Part::Transaction(Edge::Begin) => {
                begin = at;
                None
            }
            Part::Transaction(Edge::End) => Some(begin..before),
            _ => None,
        }
    })
}

/// What became of each transaction of a pipeline, and whether another is to be sent for now. Puts the reply to each command that
/// was carried out in the place of `QUEUED`.
pub(super) fn unwrap(parts: &[Part], replies: &mut [Wire]) -> (Vec<Verdict>, Option<Refused>) {
    let (mut verdicts, mut refused) = (Vec::new(), None);
    for Range { start, end } in places(parts) {
        let own = replies.get_mut(start - 1..=end).unwrap_or_default();
        let (verdict, why) = unwrap_one(own);
        verdicts.push(verdict);
        refused = why.or(refused);
    }
    (verdicts, refused)
}

fn is_queued(reply: &Wire) -> bool {
    matches!(reply, Wire::SimpleString(text) if text == "QUEUED")
}

/// The same for the replies of one transaction.
fn unwrap_one(replies: &mut [Wire]) -> (Verdict, Option<Refused>) {
    let [begin, own @ .., end] = replies else {
        return (Verdict::Unknown, None);
    };
    if *begin != Wire::Okay {
        return (Verdict::Answered, Some(Refused::by(refused(Some(begin.clone())))));
    }
    let ended = match end {
        Wire::Array(done) if done.len() == own.len() => {
            for (own, done) in own.iter_mut().zip(std::mem::take(done)) {
                *own = done;
            }
            return (Verdict::Answered, None);
        }
        // The connection's reader has unfolded the array.
        Wire::Okay if !own.iter().any(is_queued) => return (Verdict::Answered, None),
        Wire::ServerError(error) => cause(error),
        Wire::Nil => Wire::Nil,
        _ => return (Verdict::Unknown, None),
    };
    let errors = || own.iter().chain([&ended]).filter_map(error);
    let redirect = errors()
        .filter_map(|error| Some((Redirect::read(error)?, error)))
        .max_by_key(|(redirect, _)| redirect.weight());
    if let Some((redirect, error)) = redirect {
        return (Verdict::Refused(redirect, fault::unavailable(error)), None);
    }
    // Of another command that the user may not run, the server tells here only that there were errors.
    let why = Refused::by(refused(Some(ended.clone())));
    let reason = errors().next().map_or_else(unexpected, fault::unavailable);
    (Verdict::Refused(Redirect::Later, reason), Some(why))
}

fn error(reply: &Wire) -> Option<&ServerError> {
    match reply {
        Wire::ServerError(error) => Some(error),
        _ => None,
    }
}

/// Why the server refused an `EXEC`: what it says it has discarded the transaction because of, or else all that it says.
fn cause(error: &ServerError) -> Wire {
    let told = error.details().and_then(|text| text.strip_prefix(BECAUSE));
    let line = told
        .filter(|_| error.code() == "EXECABORT")
        .map(|told| format!("-{told}\r\n"));
    let cause = line.and_then(|line| redis::parse_redis_value(line.as_bytes()).ok());
    cause.unwrap_or_else(|| Wire::ServerError(error.clone()))
}

#[cfg(test)]
mod tests;
