//! What is read: values, of which an `MGET` tells too little.

use redis::Value as Wire;
use tokio::time::Instant;

use super::Outcome;
use super::decode::{ABSENT, number, refused, remaining, value, values};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::redis::job::{Doubt, Getter, Job, Task};
use crate::request::{Aged, Reply, Request};
use crate::stats::Stats;
use crate::value::Value;

pub(super) fn settle_gets(
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

pub(super) fn count_read<T>(answer: &Result<Option<T>>, stats: &mut Stats) {
    match answer {
        Ok(Some(_)) => stats.hits += 1,
        Ok(None) => stats.misses += 1,
        Err(_) => {}
    }
}

pub(super) fn answer_many<T>(
    reply: Reply<Vec<Option<T>>>,
    answer: Result<Vec<Option<T>>>,
    stats: &mut Stats,
) {
    if let Ok(values) = &answer {
        let hits = values.iter().flatten().count() as u64;
        stats.hits += hits;
        stats.misses += values.len() as u64 - hits;
    }
    reply.send(answer);
}

/// The times that are left tell an absent key from one of another type, but for one that went in between.
pub(super) fn settle_many_aged(
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

pub(super) fn settle_doubt(
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
