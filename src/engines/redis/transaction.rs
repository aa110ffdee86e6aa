//! Neighbouring changes in a slot of a cluster that need no script: one transaction of their plain commands and of what
//! ends the leases of their keys. While the slot moves, the server refuses all of it or nothing. Pure.

use redis::{Cmd, Value as Wire};

use super::batch::Part;
use super::exchange::{Commands, Way};
use super::fault;
use super::job::{Job, Task};
use super::lease::Invalidated;
use super::redirect::Redirect;
use super::script::By;
use super::writes::{MERGED, TIED};
use crate::request::{Effect, EntryRequest};

/// The changes of one that is being gathered. Its commands are already among those of the pipeline.
#[derive(Debug)]
pub(super) struct Changes {
    keys: Invalidated,
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
    pub(super) fn begin(to: &mut Commands) -> Self {
        let (first, bytes) = (to.sent.len(), to.bytes);
        to.add(redis::cmd("MULTI"));
        Self {
            keys: Invalidated::default(),
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

    /// Ends the leases of the keys, and the transaction. Returns how many commands end leases.
    pub(super) fn end(self, to: &mut Commands) -> usize {
        let leases: Vec<Cmd> = self.keys.into_commands_at_once(&to.layout);
        let count = leases.len();
        to.sent.extend(leases);
        to.add(redis::cmd("EXEC"));
        count
    }
}

/// Puts what became of each command of a transaction in the place of `QUEUED`. A command of one that was refused gets the
/// reason, for which it is sent again. Returns whether one was refused for another reason than a redirection.
pub(super) fn unwrap(parts: &[Part], replies: &mut [Wire]) -> bool {
    let mut begun = None;
    let mut at = 0;
    let mut is_refused = false;
    for part in parts {
        match (part, begun) {
            (Part::Transaction(Edge::Begin), _) => begun = Some(at),
            (Part::Transaction(Edge::End), Some(begin)) => {
                if let Some(replies) = replies.get_mut(begin..=at) {
                    is_refused |= !unwrap_one(replies);
                }
                begun = None;
            }
            _ => {}
        }
        at += part.replies();
    }
    is_refused
}

/// The same for the replies of one transaction. Returns `false` if it was refused, and not redirected.
fn unwrap_one(replies: &mut [Wire]) -> bool {
    let [begin, own @ .., end] = replies else {
        return true;
    };
    if *begin != Wire::Okay {
        // Each command was carried out by itself.
        return false;
    }
    if let Wire::Array(done) = end
        && done.len() == own.len()
    {
        for (own, done) in own.iter_mut().zip(std::mem::take(done)) {
            *own = done;
        }
        return true;
    }
    let refusals = || own.iter().chain([&*end]);
    let weight = |reply: &&Wire| Redirect::of(reply).map(|redirect| redirect.weight());
    let redirect = refusals()
        .filter(|reply| weight(reply).is_some())
        .max_by_key(weight)
        .cloned();
    let is_redirected = redirect.is_some();
    let reason = redirect.unwrap_or_else(|| later(refusals().find_map(text)));
    own.fill(reason);
    is_redirected
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

/// A refusal for this reason that sends to the same server, a little later.
fn later(reason: Option<String>) -> Wire {
    let line = format!("-TRYAGAIN {}\r\n", reason.unwrap_or_default());
    redis::parse_redis_value(line.as_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
