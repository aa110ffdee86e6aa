//! What the server does not answer: the connection is lost, or the time is over.

use tokio::time::Instant;

use crate::error::{Cause, Error, Phase};
use crate::redis::batch::Part;
use crate::redis::fault;
use crate::redis::job::{Job, Task};
use crate::redis::walk::Walk;
use crate::request::Effect;

/// Answers what can no longer be answered by the server, because the connection is lost: questions
/// are handed back to be asked again.
pub(in crate::redis) fn lose(parts: Vec<Part>, cause: &Cause, again: &mut Vec<Job>) {
    for part in parts {
        match part {
            Part::Gets(getters) => again.extend(getters.into_iter().flatten().map(Job::from)),
            Part::Other { job: Some(job), .. } => match &job.task {
                Task::Doubt(_) => again.push(job),
                Task::Request(request) if request.effect() == Effect::Question => again.push(job),
                _ => fail(job.task, &Error::OutcomeUnknown(cause.clone())),
            },
            Part::Other { job: None, .. } | Part::Kills => {}
        }
    }
}

/// Answers what was sent and whose time is over; the places of its replies are kept. The earliest
/// deadline among the others.
pub(in crate::redis) fn expire(parts: &mut [Part], now: Instant) -> Option<Instant> {
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
pub(in crate::redis) fn late(walk: &mut Walk) {
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
        Task::Request(request) if request.effect() == Effect::Question => {
            Error::Timeout { phase: Phase::Reply }
        }
        _ => Error::OutcomeUnknown(no_answer()),
    };
    fail(task, &error);
}

/// Answers a task with an error.
pub(in crate::redis) fn fail(task: Task, error: &Error) {
    let error = error.clone();
    match task {
        Task::Walk(walk) => {
            if let Some(reply) = walk.reply {
                reply.send(Err(error));
            }
        }
        Task::Doubt(doubt) => doubt.fail(error),
        Task::Request(request) => request.fail(error),
    }
}
