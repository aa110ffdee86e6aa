//! What the server does not answer: the connection is lost, or the time is over.

use tokio::time::Instant;

use crate::engines::redis::fault::{self, Refusal};
use crate::engines::redis::gets::alone;
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::part::Part;
use crate::engines::redis::removals::Removal;
use crate::engines::redis::unsent::Unsent;
use crate::error::{Cause, Error, Phase};

/// Answers what can no longer be answered by the server, because the connection is lost: questions
/// are handed back to be asked again. Adds what was to be removed to `removals`, before callers are told.
pub(in crate::engines::redis) fn lose(
    parts: Vec<Part>,
    cause: &Cause,
    again: &mut Vec<Job>,
    removals: &mut Unsent,
) {
    for part in parts {
        match part {
            Part::Gets(getters) | Part::Fetches(_, getters) => {
                again.extend(getters.into_iter().flatten().map(Job::from));
            }
            Part::Sets(sets) => {
                for setter in sets.setters.into_iter().flatten() {
                    setter.asked.reply.send(Err(Error::OutcomeUnknown(cause.clone())));
                }
            }
            Part::Other { job: Some(job), .. } => {
                if job.task.is_question() {
                    again.push(job);
                } else {
                    removals.add(unsent(&job));
                    fail(job.task, &Error::OutcomeUnknown(cause.clone()));
                }
            }
            Part::Other { job: None, left, .. } => removals.add(left),
            Part::Leases(_) | Part::Transaction(_) | Part::Ping { .. } => {}
        }
    }
}

/// The part of a pipeline that the reply with this number is for.
pub(in crate::engines::redis) fn at(parts: &[Part], reply: u64) -> Option<usize> {
    let mut end = 0;
    parts.iter().position(|part| {
        end += part.replies() as u64;
        end > reply
    })
}

/// Answers the question whose reply was refused, so that it is not asked again. It is the one of the pipeline with
/// this number. Where one command stands for several calls, each is asked for once more by itself.
pub(in crate::engines::redis) fn refuse(
    parts: &mut [Part],
    reply: u64,
    refusal: Refusal,
    again: &mut Vec<Job>,
) {
    let Some(at) = at(parts, reply) else { return };
    match &mut parts[at] {
        Part::Leases(_) | Part::Transaction(_) | Part::Ping { .. } | Part::Sets(_) => {}
        Part::Gets(getters) | Part::Fetches(_, getters) if getters.len() == 1 => {
            if let Some(getter) = getters.pop().flatten() {
                getter.asked.reply.send(Err(refusal.for_caller()));
            }
        }
        Part::Gets(getters) | Part::Fetches(_, getters) => {
            again.extend(getters.drain(..).flatten().map(alone));
        }
        Part::Other { job, .. } => {
            if let Some(asked) = job.take_if(|job| job.task.is_question()) {
                fail(asked.task, &refusal.for_caller());
            }
        }
    }
}

/// Whether somebody waits for a reply of these. Walks without a caller count if they are to go on.
pub(in crate::engines::redis) fn is_awaited(parts: &[Part], walks: bool) -> bool {
    parts.iter().any(|part| match part {
        Part::Leases(_) | Part::Transaction(_) | Part::Ping { .. } => false,
        Part::Gets(getters) | Part::Fetches(_, getters) => getters
            .iter()
            .flatten()
            .any(|getter| !getter.asked.is_pointless()),
        Part::Sets(sets) => sets.setters.iter().any(Option::is_some),
        Part::Other { job, .. } => job.as_ref().is_some_and(|job| match &job.task {
            Task::Request(request) => !request.is_pointless(),
            Task::Doubt(doubt) => !doubt.is_pointless(),
            Task::Walk(walk) => walks || walk.is_awaited(),
            Task::Own(_) => true,
        }),
    })
}

/// Answers callers whose time is over, and keeps the places of their replies and what was to be removed. Adds the keys of
/// their changes, by their hashes, to `changed`. Returns the earliest deadline of the others.
pub(in crate::engines::redis) fn expire(
    parts: &mut [Part],
    now: Instant,
    changed: &mut Vec<u64>,
) -> Option<Instant> {
    let mut next = None;
    let mut keep = |deadline: Instant| {
        next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
    };
    for part in parts {
        match part {
            Part::Leases(_) | Part::Transaction(_) | Part::Ping { .. } => {}
            Part::Gets(getters) | Part::Fetches(_, getters) => {
                for place in getters {
                    match place {
                        Some(getter) if getter.deadline <= now => {
                            if let Some(getter) = place.take() {
                                getter
                                    .asked
                                    .reply
                                    .send(Err(Error::Timeout { phase: Phase::Reply }));
                            }
                        }
                        Some(getter) => keep(getter.deadline),
                        None => {}
                    }
                }
            }
            Part::Sets(sets) => {
                for place in &mut sets.setters {
                    match place.take_if(|setter| setter.deadline <= now) {
                        Some(setter) => {
                            changed.push(setter.asked.operation.write.key.hash());
                            let unknown = Error::OutcomeUnknown(no_answer());
                            setter.asked.reply.send(Err(unknown));
                        }
                        None => place.iter().for_each(|setter| keep(setter.deadline)),
                    }
                }
            }
            Part::Other { job: place, left, .. } => match place {
                Some(Job {
                    task: Task::Walk(walk),
                    deadline,
                    ..
                }) => {
                    if let Some(next) = walk.expire(now, &Error::OutcomeUnknown(no_answer())) {
                        *deadline = next;
                        keep(next);
                    }
                }
                Some(job) if job.deadline <= now => {
                    if let Some(job) = place.take() {
                        if !job.task.is_question() {
                            job.task.keys().for_each(|key| changed.push(key.hash()));
                            *left = unsent(&job);
                        }
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

pub(in crate::engines::redis) fn no_answer() -> Cause {
    Cause::new(fault::Lost("the server did not answer in time".to_owned()))
}

/// Answers a request that was sent and whose time is over.
fn fail_sent(task: Task) {
    let error = if task.is_question() {
        Error::Timeout { phase: Phase::Reply }
    } else {
        Error::OutcomeUnknown(no_answer())
    };
    fail(task, &error);
}

/// What a job was to remove that the server has not confirmed. The replay itself remembers its steps.
pub(in crate::engines::redis) fn unsent(job: &Job) -> Option<Removal> {
    if job.is_replay { None } else { job.task.removal() }
}

/// Answers a task with an error.
pub(in crate::engines::redis) fn fail(task: Task, error: &Error) {
    let error = error.clone();
    match task {
        Task::Walk(walk) => walk.fail(&error),
        Task::Doubt(doubt) => doubt.fail(error),
        Task::Own(own) => own.fail(error),
        Task::Request(request) => request.fail(error),
    }
}
