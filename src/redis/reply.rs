//! Replies to answers. Pure but for the answers themselves, which go to their callers.

mod decode;
mod lost;
mod read;

use redis::Value as Wire;
use tokio::time::Instant;

pub(super) use self::decode::remaining;
use self::decode::{aged, flag, integer, number, page, refuse_errors, ttl, unexpected, value, values};
pub(super) use self::lost::{expire, fail, late, lose};
use self::read::{answer_many, count_read, settle_doubt, settle_gets, settle_many_aged};
use super::fault;
use super::job::{Doubt, Job, Part, Task};
use super::lease;
use super::script::By;
use super::walk::Walk;
use crate::error::{Cause, Error};
use crate::request::{LeaseAnswer, LeaseRequest, Reply, Request, Write};
use crate::stats::Stats;

/// What the engine learns while it hands out answers.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// To be sent next, before what waits.
    pub(super) again: Vec<Job>,
    /// To be sent in its turn, after what waits.
    pub(super) later: Vec<Job>,
    /// The server takes no writes any more: another may.
    pub(super) demoted: bool,
    /// The server did not know a script.
    pub(super) forgotten: bool,
    /// Why leases that should have been killed were not.
    pub(super) unkilled: Option<Error>,
}

/// Hands out the replies of one pipeline.
pub(super) fn settle(parts: Vec<Part>, replies: Vec<Wire>, stats: &mut Stats, outcome: &mut Outcome) {
    let mut replies = replies.into_iter();
    for part in parts {
        match part {
            Part::Gets(getters) => settle_gets(getters, replies.next(), stats, outcome),
            Part::Kills => {
                if let Some(Wire::ServerError(error)) = replies.next() {
                    outcome.demoted |= fault::is_demoted(&error);
                    outcome.unkilled = Some(fault::answered(&error));
                }
            }
            Part::Other { job, replies: count } => {
                let own: Vec<Wire> = replies.by_ref().take(count).collect();
                for reply in &own {
                    if let Wire::ServerError(error) = reply {
                        outcome.demoted |= fault::is_demoted(error);
                        outcome.forgotten |= fault::is_forgotten_script(error);
                    }
                }
                if let Some(job) = job {
                    settle_job(job, own, stats, outcome);
                }
            }
        }
    }
}

/// Whether a reply says that the script must be sent whole.
fn forgotten(reply: &Wire) -> bool {
    matches!(reply, Wire::ServerError(error) if fault::is_forgotten_script(error))
}

fn settle_job(job: Job, mut replies: Vec<Wire>, stats: &mut Stats, outcome: &mut Outcome) {
    let Job {
        task,
        deadline,
        by,
        alone,
        ..
    } = job;
    if by == By::Digest && replies.len() == 1 && forgotten(&replies[0]) {
        outcome.again.push(Job {
            by: By::Source,
            ..Job::new(task, deadline)
        });
        return;
    }
    let request = match task {
        Task::Request(Request::SetMany { writes, reply }) => {
            return settle_many(writes, reply, deadline, by, replies, stats, outcome);
        }
        Task::Request(Request::GetManyAged { keys, reply }) => {
            return settle_many_aged(keys, reply, deadline, replies, stats, outcome);
        }
        Task::Doubt(doubt) => return settle_doubt(*doubt, alone, deadline, replies, stats, outcome),
        Task::Walk(walk) => {
            let reply = replies.pop().unwrap_or_default();
            return settle_walk(walk, reply, deadline, stats, outcome);
        }
        Task::Request(request) => request,
    };
    let Some(got) = replies.pop() else { return };
    match request {
        Request::Get { reply, .. } => {
            let answer = value(got);
            count_read(&answer, stats);
            reply.send(answer);
        }
        Request::GetMany {
            keys,
            peek: true,
            reply,
        } => reply.send(values(got, keys.len())),
        Request::GetMany { keys, reply, .. } => match values(got, keys.len()) {
            Ok(found) if found.contains(&None) => {
                let task = Task::Doubt(Box::new(Doubt::GetMany { keys, found, reply }));
                outcome.again.push(Job::new(task, deadline));
            }
            answer => answer_many(reply, answer, stats),
        },
        Request::GetAged { reply, .. } => {
            let answer = aged(replies.pop().unwrap_or_default(), got);
            count_read(&answer, stats);
            reply.send(answer);
        }
        Request::Set { reply, .. } => {
            let answer = flag(got).map(|_| stats.sets += 1);
            if let Some(reply) = reply {
                reply.send(answer);
            }
        }
        Request::SetIf { reply, .. } => {
            let answer = flag(got);
            stats.sets += u64::from(matches!(answer, Ok(true)));
            reply.send(answer);
        }
        Request::Take { reply, .. } => {
            let answer = value(got);
            count_read(&answer, stats);
            stats.deletes += u64::from(matches!(answer, Ok(Some(_))));
            reply.send(answer);
        }
        Request::Delete { reply, .. } | Request::DeleteIf { reply, .. } => {
            let answer = flag(got);
            stats.deletes += u64::from(matches!(answer, Ok(true)));
            reply.send(answer);
        }
        Request::DeleteMany { reply, .. } => {
            let answer = number(got).map(|count| u64::try_from(count).unwrap_or(0));
            stats.deletes += answer.as_ref().map_or(0, |count| *count);
            reply.send(answer);
        }
        Request::Exists { reply, .. } | Request::Expire { reply, .. } => reply.send(flag(got)),
        Request::Ttl { reply, .. } => reply.send(ttl(replies.pop().unwrap_or_default(), &got)),
        Request::Incr { reply, .. } => {
            let answer = integer(got);
            stats.sets += u64::from(answer.is_ok());
            reply.send(answer);
        }
        Request::Scan { reply, .. } => reply.send(page(got)),
        Request::Lock(request) => {
            let answer = refuse_errors(got)
                .and_then(|got| super::lock::answer(&request.action, got).ok_or_else(unexpected));
            request.reply.send(answer);
        }
        Request::Lease(request) => {
            let LeaseRequest { action, reply } = *request;
            let answer =
                refuse_errors(got).and_then(|got| lease::answer(&action, got).ok_or_else(unexpected));
            stats.sets += u64::from(matches!(answer, Ok(LeaseAnswer::Stored(true))));
            reply.send(answer);
        }
        Request::Ping { reply } => reply.send(refuse_errors(got).map(drop)),
        Request::Redis { reply, .. } => reply.send(refuse_errors(got)),
        // These have no commands of their own, or are settled above.
        Request::SetMany { .. }
        | Request::Clear { .. }
        | Request::Invalidate { .. }
        | Request::GetManyAged { .. }
        | Request::Stats { .. } => {}
        #[cfg(test)]
        Request::Panic { .. } => {}
    }
}

fn settle_many(
    writes: Vec<Write>,
    reply: Option<Reply<()>>,
    deadline: Instant,
    by: By,
    replies: Vec<Wire>,
    stats: &mut Stats,
    outcome: &mut Outcome,
) {
    // One command may have written them all.
    let each = if replies.len() == 1 {
        writes.len() as u64
    } else {
        1
    };
    let mut failure = None;
    let mut written = 0;
    let mut unsent = Vec::new();
    for (write, got) in writes.into_iter().zip(replies) {
        if by == By::Digest && forgotten(&got) {
            unsent.push(write);
            continue;
        }
        match flag(got) {
            Ok(_) => written += each,
            Err(error) => failure = Some(error),
        }
    }
    stats.sets += written;
    match failure {
        None if !unsent.is_empty() => {
            let task = Task::Request(Request::SetMany {
                writes: unsent,
                reply,
            });
            outcome.again.push(Job {
                by: By::Source,
                ..Job::new(task, deadline)
            });
        }
        failure => {
            let Some(reply) = reply else { return };
            reply.send(match failure {
                None => Ok(()),
                Some(error) if written == 0 => Err(error),
                Some(error) => Err(Error::OutcomeUnknown(Cause::new(error))),
            });
        }
    }
}

fn settle_walk(mut walk: Walk, got: Wire, deadline: Instant, stats: &mut Stats, outcome: &mut Outcome) {
    let failure = match refuse_errors(got) {
        Ok(got) => match walk.advance(got) {
            Ok(true) => {
                let counter = if walk.is_invalidation() {
                    &mut stats.invalidated
                } else {
                    &mut stats.deletes
                };
                *counter += walk.removed;
                if let Some(reply) = walk.reply {
                    reply.send(Ok(walk.removed));
                }
                return;
            }
            Ok(false) => {
                outcome.later.push(Job::new(Task::Walk(walk), deadline));
                return;
            }
            Err(_) => unexpected(),
        },
        Err(error) => error,
    };
    if let Some(reply) = walk.reply {
        let partly = walk
            .begun
            .then(|| Error::OutcomeUnknown(Cause::new(failure.clone())));
        reply.send(Err(partly.unwrap_or(failure)));
    }
}
