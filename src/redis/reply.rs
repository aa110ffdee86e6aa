//! Replies to answers. Pure but for the answers themselves, which go to their callers.

use std::time::Duration;

use redis::Value as Wire;
use tokio::time::Instant;

use super::command::{Doubt, Getter, Job, Part, Task};
use super::fault;
use super::layout::Layout;
use super::lease;
use super::script::By;
use super::walk::Walk;
use crate::error::{Cause, Error, Phase, Result};
use crate::key::Key;
use crate::request::{Aged, LeaseAnswer, LeaseRequest, Page, Reply, Request, Write};
use crate::stats::Stats;
use crate::ttl::{LONGEST, Ttl};
use crate::value::Value;

/// What the engine learns while it hands out answers.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// To be sent next, before what waits.
    pub(super) again: Vec<Job>,
    /// To be sent in its turn, after what waits.
    pub(super) later: Vec<Job>,
    /// The server takes no writes any more: another may.
    pub(super) demoted: bool,
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
                    }
                }
                if let Some(job) = job {
                    settle_job(job, own, stats, outcome);
                }
            }
        }
    }
}

fn settle_gets(
    mut getters: Vec<Option<Getter>>,
    reply: Option<Wire>,
    stats: &mut Stats,
    outcome: &mut Outcome,
) {
    if getters.len() == 1 {
        if let Some(Some(getter)) = getters.pop() {
            answer_get(getter, value(reply.unwrap_or_default()), stats);
        }
        return;
    }
    match reply {
        Some(Wire::Array(values)) if values.len() == getters.len() => {
            for (getter, value) in getters.into_iter().zip(values) {
                let Some(getter) = getter else { continue };
                match value {
                    Wire::BulkString(bytes) => answer_get(getter, Ok(Some(Value::from(bytes))), stats),
                    _ => outcome.again.push(doubt(getter)),
                }
            }
        }
        // One key of many may be the reason, such as one that this user may not read.
        Some(Wire::ServerError(_)) => outcome.again.extend(getters.into_iter().flatten().map(alone)),
        reply => {
            let error = refused(reply);
            getters
                .into_iter()
                .flatten()
                .for_each(|getter| getter.reply.send(Err(error.clone())));
        }
    }
}

/// An `MGET` fails as a whole: its keys are asked for once more, each by itself.
fn alone(getter: Getter) -> Job {
    let Getter { key, reply, deadline } = getter;
    Job {
        alone: true,
        ..Job::new(Task::Request(Request::Get { key, reply }), deadline)
    }
}

/// An `MGET` shows a key of another type as absent: which it is, is asked for.
fn doubt(getter: Getter) -> Job {
    let Getter { key, reply, deadline } = getter;
    Job {
        alone: true,
        ..Job::new(Task::Doubt(Box::new(Doubt::Get { key, reply })), deadline)
    }
}

fn answer_get(getter: Getter, answer: Result<Option<Value>>, stats: &mut Stats) {
    count_read(&answer, stats);
    getter.reply.send(answer);
}

fn count_read<T>(answer: &Result<Option<T>>, stats: &mut Stats) {
    match answer {
        Ok(Some(_)) => stats.hits += 1,
        Ok(None) => stats.misses += 1,
        Err(_) => {}
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
        Request::GetMany { keys, reply } => match values(got, keys.len()) {
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
        Request::Delete { reply, .. } => {
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
        Request::Ttl { reply, .. } => reply.send(number(got).map(ttl)),
        Request::Incr { reply, .. } => reply.send(number(got)),
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

fn answer_many<T>(reply: Reply<Vec<Option<T>>>, answer: Result<Vec<Option<T>>>, stats: &mut Stats) {
    if let Ok(values) = &answer {
        let hits = values.iter().flatten().count() as u64;
        stats.hits += hits;
        stats.misses += values.len() as u64 - hits;
    }
    reply.send(answer);
}

/// The times that are left tell an absent key from one of another type, but for one that went in between.
fn settle_many_aged(
    keys: Vec<Key>,
    reply: Reply<Vec<Option<Aged>>>,
    deadline: Instant,
    mut replies: Vec<Wire>,
    stats: &mut Stats,
    outcome: &mut Outcome,
) {
    let got = replies.pop().unwrap_or_default();
    let times: Result<Vec<i64>> = replies.into_iter().map(number).collect();
    let (found, times) = match values(got, keys.len()).and_then(|found| Ok((found, times?))) {
        Ok(both) => both,
        Err(error) => return reply.send(Err(error)),
    };
    let doubted: Vec<Key> = keys
        .into_iter()
        .zip(found.iter().zip(&times))
        .filter(|(_, (value, left))| value.is_none() && **left != ABSENT)
        .map(|(key, _)| key)
        .collect();
    let found = found.into_iter().zip(times).map(|(value, left)| {
        let remaining = remaining(left);
        value.map(|value| Aged { value, remaining })
    });
    let found = found.collect();
    if doubted.is_empty() {
        return answer_many(reply, Ok(found), stats);
    }
    let task = Task::Doubt(Box::new(Doubt::GetManyAged {
        doubted,
        found,
        reply,
    }));
    outcome.again.push(Job {
        alone: true,
        ..Job::new(task, deadline)
    });
}

fn settle_doubt(
    doubt: Doubt,
    alone: bool,
    deadline: Instant,
    mut replies: Vec<Wire>,
    stats: &mut Stats,
    outcome: &mut Outcome,
) {
    let answer = if alone {
        replies.into_iter().try_for_each(no_other_type)
    } else {
        match number(replies.pop().unwrap_or_default()) {
            Ok(0) => Ok(()),
            Ok(_) => {
                let job = Job::new(Task::Doubt(Box::new(doubt)), deadline);
                return outcome.again.push(Job { alone: true, ..job });
            }
            Err(error) => Err(error),
        }
    };
    match doubt {
        Doubt::Get { reply, .. } => {
            let answer = answer.map(|()| None);
            count_read(&answer, stats);
            reply.send(answer);
        }
        Doubt::GetMany { found, reply, .. } => answer_many(reply, answer.map(|()| found), stats),
        Doubt::GetManyAged { found, reply, .. } => answer_many(reply, answer.map(|()| found), stats),
    }
}

/// Whether a key has no type, or that of values by now.
fn no_other_type(kind: Wire) -> Result<()> {
    match kind {
        Wire::SimpleString(kind) if kind == "none" || kind == "string" => Ok(()),
        Wire::SimpleString(_) => Err(Error::WrongType),
        kind => Err(refused(Some(kind))),
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
    let mut failure = None;
    let mut written = 0;
    let mut unsent = Vec::new();
    for (write, got) in writes.into_iter().zip(replies) {
        if by == By::Digest && forgotten(&got) {
            unsent.push(write);
            continue;
        }
        match flag(got) {
            Ok(_) => written += 1,
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

/// Answers what can no longer be answered by the server, because the connection is lost: questions
/// are handed back to be asked again.
pub(super) fn lose(parts: Vec<Part>, cause: &Cause, again: &mut Vec<Job>) {
    for part in parts {
        match part {
            Part::Gets(getters) => again.extend(getters.into_iter().flatten().map(|getter| {
                let Getter { key, reply, deadline } = getter;
                Job::new(Task::Request(Request::Get { key, reply }), deadline)
            })),
            Part::Other { job: Some(job), .. } => match &job.task {
                Task::Doubt(_) => again.push(job),
                Task::Request(request) if !request.changes() => again.push(job),
                _ => fail(job.task, &Error::OutcomeUnknown(cause.clone())),
            },
            Part::Other { job: None, .. } | Part::Kills => {}
        }
    }
}

/// Answers what was sent and whose time is over; the places of its replies are kept. The earliest
/// deadline among the others.
pub(super) fn expire(parts: &mut [Part], now: Instant) -> Option<Instant> {
    let mut next = None;
    let mut keep = |deadline: Instant| {
        next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
    };
    for part in parts {
        match part {
            Part::Kills => {}
            Part::Gets(getters) => {
                for place in getters {
                    match place {
                        Some(getter) if getter.deadline <= now => {
                            if let Some(getter) = place.take() {
                                getter.reply.send(Err(Error::Timeout { phase: Phase::Reply }));
                            }
                        }
                        Some(getter) => keep(getter.deadline),
                        None => {}
                    }
                }
            }
            Part::Other { job: place, .. } => match place {
                Some(Job {
                    task: Task::Walk(walk),
                    deadline,
                    ..
                }) => {
                    if walk.reply.is_none() {
                        continue;
                    }
                    if *deadline > now {
                        keep(*deadline);
                    } else {
                        late(walk);
                    }
                }
                Some(job) if job.deadline <= now => {
                    if let Some(job) = place.take() {
                        fail_sent(job.task);
                    }
                }
                Some(job) => keep(job.deadline),
                None => {}
            },
        }
    }
    next
}

/// Tells the caller of a walk that its time is over. The walk goes on.
pub(super) fn late(walk: &mut Walk) {
    if let Some(reply) = walk.reply.take() {
        reply.send(Err(Error::OutcomeUnknown(no_answer())));
    }
}

fn no_answer() -> Cause {
    Cause::new(fault::Lost("the server did not answer in time".to_owned()))
}

/// Answers a request that was sent and whose time is over.
fn fail_sent(task: Task) {
    let error = match &task {
        Task::Doubt(_) => Error::Timeout { phase: Phase::Reply },
        Task::Request(request) if !request.changes() => Error::Timeout { phase: Phase::Reply },
        _ => Error::OutcomeUnknown(no_answer()),
    };
    fail(task, &error);
}

/// Answers a task with an error.
pub(super) fn fail(task: Task, error: &Error) {
    let error = error.clone();
    let request = match task {
        Task::Walk(walk) => {
            if let Some(reply) = walk.reply {
                reply.send(Err(error));
            }
            return;
        }
        Task::Doubt(doubt) => {
            return match *doubt {
                Doubt::Get { reply, .. } => reply.send(Err(error)),
                Doubt::GetMany { reply, .. } => reply.send(Err(error)),
                Doubt::GetManyAged { reply, .. } => reply.send(Err(error)),
            };
        }
        Task::Request(request) => request,
    };
    match request {
        Request::Get { reply, .. } | Request::Take { reply, .. } => reply.send(Err(error)),
        Request::GetMany { reply, .. } => reply.send(Err(error)),
        Request::Set { reply, .. } | Request::SetMany { reply, .. } => {
            if let Some(reply) = reply {
                reply.send(Err(error));
            }
        }
        Request::SetIf { reply, .. }
        | Request::Delete { reply, .. }
        | Request::Exists { reply, .. }
        | Request::Expire { reply, .. } => reply.send(Err(error)),
        Request::DeleteMany { reply, .. }
        | Request::Clear { reply, .. }
        | Request::Invalidate { reply, .. } => reply.send(Err(error)),
        Request::Ttl { reply, .. } => reply.send(Err(error)),
        Request::Incr { reply, .. } => reply.send(Err(error)),
        Request::Scan { reply, .. } => reply.send(Err(error)),
        Request::Lock(request) => request.reply.send(Err(error)),
        Request::Lease(request) => request.reply.send(Err(error)),
        Request::GetAged { reply, .. } => reply.send(Err(error)),
        Request::GetManyAged { reply, .. } => reply.send(Err(error)),
        Request::Ping { reply } => reply.send(Err(error)),
        Request::Stats { reply } => reply.send(Err(error)),
        Request::Redis { reply, .. } => reply.send(Err(error)),
        #[cfg(test)]
        Request::Panic { reply, .. } => reply.send(Err(error)),
    }
}

fn unexpected() -> Error {
    let cause = "the server's reply is not of the kind that the command has";
    Error::Rejected(Cause::new(fault::Lost(cause.to_owned())))
}

fn refuse_errors(got: Wire) -> Result<Wire> {
    match got {
        Wire::ServerError(error) => Err(fault::answered(&error)),
        got => Ok(got),
    }
}

fn refused(got: Option<Wire>) -> Error {
    match got {
        Some(Wire::ServerError(error)) => fault::answered(&error),
        _ => unexpected(),
    }
}

fn value(got: Wire) -> Result<Option<Value>> {
    match got {
        Wire::BulkString(bytes) => Ok(Some(Value::from(bytes))),
        Wire::Nil => Ok(None),
        got => Err(refused(Some(got))),
    }
}

fn values(got: Wire, asked: usize) -> Result<Vec<Option<Value>>> {
    match got {
        Wire::Array(found) if found.len() == asked => found.into_iter().map(value).collect(),
        got => Err(refused(Some(got))),
    }
}

/// Whether something was done: `OK` or nothing, or how often.
fn flag(got: Wire) -> Result<bool> {
    match got {
        Wire::Okay => Ok(true),
        Wire::Nil => Ok(false),
        Wire::Int(count) => Ok(count > 0),
        got => Err(refused(Some(got))),
    }
}

fn number(got: Wire) -> Result<i64> {
    match got {
        Wire::Int(number) => Ok(number),
        got => Err(refused(Some(got))),
    }
}

/// What `PTTL` answers for a key that is not there.
const ABSENT: i64 = -2;
/// And for one without an end.
const PERSISTENT: i64 = -1;

fn ttl(millis: i64) -> Option<Ttl> {
    match millis {
        ABSENT => None,
        PERSISTENT => Some(Ttl::Persistent),
        left => Some(Ttl::Remaining(left_of(left))),
    }
}

/// What has less than a millisecond left is still there.
fn left_of(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0).max(1))
}

/// A value and the time that was left just before it was read. If it was written in between, nothing of its
/// life has passed: it has the longest time there is, with which its age is zero.
fn aged(left: Wire, got: Wire) -> Result<Option<Aged>> {
    let (left, value) = (number(left)?, value(got)?);
    let remaining = remaining(left);
    Ok(value.map(|value| Aged { value, remaining }))
}

/// The time that is left of a value, as [`aged`] has it.
pub(super) fn remaining(left: i64) -> Option<Duration> {
    match left {
        PERSISTENT => None,
        ABSENT => Some(LONGEST),
        left => Some(left_of(left)),
    }
}

fn page(got: Wire) -> Result<Page> {
    let Wire::Array(parts) = got else {
        return Err(refused(Some(got)));
    };
    let Ok([Wire::BulkString(next), Wire::Array(found)]) = <[Wire; 2]>::try_from(parts) else {
        return Err(unexpected());
    };
    let next: Option<u64> = std::str::from_utf8(&next).ok().and_then(|next| next.parse().ok());
    let next = next.ok_or_else(unexpected)?;
    let keys = found.into_iter().filter_map(|key| match key {
        // A key that is not text is none that this library could be asked for.
        Wire::BulkString(key) => String::from_utf8(key).ok(),
        _ => None,
    });
    let keys = keys
        .filter(|key| !Layout::is_reserved(key))
        .map(Into::into)
        .collect();
    Ok(Page {
        keys,
        next: (next != 0).then_some(next),
    })
}
