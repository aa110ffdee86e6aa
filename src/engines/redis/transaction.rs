//! Neighbouring changes in a slot of a cluster that need no script: one transaction of their plain commands and of what
//! ends the leases of their keys. While the slot moves, the server refuses all of it or nothing. Pure.

use redis::{Cmd, Value as Wire};

use super::exchange::{Commands, Way};
use super::fault;
use super::job::{Job, Task};
use super::lease::Invalidated;
use super::part::Part;
use super::redirect::Redirect;
use super::script::By;
use super::wire::refused;
use super::writes::{MERGED, TIED};
use crate::error::Error;
use crate::request::{Effect, EntryRequest};

/// The code of a reply that stands for a command of an aborted transaction. No server gives it.
pub(super) const ABORTED: &str = "ABORTED";
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

/// Why no further change is to be sent in a transaction for now.
#[derive(Debug)]
pub(super) enum Refused {
    /// The server has carried out nothing of a transaction.
    Whole,
    /// The server begins no transaction, and has carried out each command by itself.
    Begin(Error),
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

/// Puts what became of each command of a transaction in the place of `QUEUED`. A command of one that was refused gets the
/// reason, for which it is sent again. Tells if one was refused for another reason than a redirection.
pub(super) fn unwrap(parts: &[Part], replies: &mut [Wire]) -> Option<Refused> {
    let mut begun = None;
    let mut at = 0;
    let mut refused = None;
    for part in parts {
        match (part, begun) {
            (Part::Transaction(Edge::Begin), _) => begun = Some(at),
            (Part::Transaction(Edge::End), Some(begin)) => {
                if let Some(replies) = replies.get_mut(begin..=at) {
                    refused = unwrap_one(replies).or(refused);
                }
                begun = None;
            }
            _ => {}
        }
        at += part.replies();
    }
    refused
}

/// The same for the replies of one transaction.
fn unwrap_one(replies: &mut [Wire]) -> Option<Refused> {
    let [begin, own @ .., end] = replies else {
        return None;
    };
    if *begin != Wire::Okay {
        return Some(Refused::Begin(refused(Some(begin.clone()))));
    }
    if let Wire::Array(done) = end
        && done.len() == own.len()
    {
        for (own, done) in own.iter_mut().zip(std::mem::take(done)) {
            *own = done;
        }
        return None;
    }
    if let Some(reason) = text(end).as_deref().and_then(because) {
        *end = error(reason);
    }
    let refusals = || own.iter().chain([&*end]);
    let weight = |reply: &&Wire| Redirect::of(reply).map(|redirect| redirect.weight());
    let redirect = refusals()
        .filter(|reply| weight(reply).is_some())
        .max_by_key(weight)
        .cloned();
    let refused = redirect.is_none().then_some(Refused::Whole);
    let aborted = || {
        let reason = refusals().find_map(text);
        error(&format!("{ABORTED} {}", reason.unwrap_or_default()))
    };
    let reason = redirect.unwrap_or_else(aborted);
    own.fill(reason);
    refused
}

/// What an error says.
fn text(reply: &Wire) -> Option<String> {
    match reply {
        Wire::ServerError(error) => {
            let (code, text) = fault::parts(error);
            Some(format!("{code} {text}"))
        }
        _ => None,
    }
}

/// Why the server refused an `EXEC`, from the text of its reply.
fn because(text: &str) -> Option<&str> {
    text.strip_prefix("EXECABORT ")?.strip_prefix(BECAUSE)
}

/// An error that says this.
fn error(text: &str) -> Wire {
    let line = format!("-{text}\r\n");
    redis::parse_redis_value(line.as_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
