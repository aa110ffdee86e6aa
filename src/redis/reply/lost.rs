//! What the server does not answer: the connection is lost, or the time is over.

use tokio::time::Instant;

use crate::error::{Cause, Error, Phase};
use crate::redis::fault;
use crate::redis::job::{Doubt, Getter, Job, Part, Task};
use crate::redis::walk::Walk;
use crate::request::Request;

/// Answers what can no longer be answered by the server, because the connection is lost: questions
/// are handed back to be asked again.
pub(in crate::redis) fn lose(parts: Vec<Part>, cause: &Cause, again: &mut Vec<Job>) {
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
        Task::Request(request) if !request.changes() => Error::Timeout { phase: Phase::Reply },
        _ => Error::OutcomeUnknown(no_answer()),
    };
    fail(task, &error);
}

/// Answers a task with an error.
pub(in crate::redis) fn fail(task: Task, error: &Error) {
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
        | Request::DeleteIf { reply, .. }
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
