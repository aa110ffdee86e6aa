//! Neighbouring `Get`s, which travel as one `MGET`.

use redis::{Cmd, Value as Wire};
use tokio::time::Instant;

use super::doubt::Doubt;
use super::job::{Job, Task};
use super::tally::Tally;
use super::wire::{count_read, keyed, refused, value};
use crate::request::{Asked, EntryRequest, Get};
use crate::value::Value;

/// One of them. A caller who has been answered already is `None`.
#[derive(Debug)]
pub(super) struct Getter {
    pub(super) asked: Asked<Get>,
    pub(super) deadline: Instant,
}

/// The command that reads them all.
pub(super) fn command(getters: &[Option<Getter>]) -> Cmd {
    let keys = getters.iter().flatten().map(|getter| &getter.asked.operation.key);
    keyed(if getters.len() == 1 { "GET" } else { "MGET" }, keys)
}

/// Answers the callers. What must be sent again is pushed to `again`.
pub(super) fn decode(
    mut getters: Vec<Option<Getter>>,
    reply: Option<Wire>,
    tally: &mut Tally,
    again: &mut Vec<Job>,
) {
    if getters.len() == 1 {
        if let Some(Some(Getter { asked, .. })) = getters.pop() {
            let answer = value(reply.unwrap_or_default());
            asked.reply.send(count_read(answer, tally));
        }
        return;
    }
    match reply {
        Some(Wire::Array(values)) if values.len() == getters.len() => {
            for (getter, value) in getters.into_iter().zip(values) {
                let Some(getter) = getter else { continue };
                match value {
                    Wire::BulkString(bytes) => {
                        let value = Some(Value::from(bytes));
                        getter.asked.reply.send(count_read(Ok(value), tally));
                    }
                    _ => again.push(doubt(getter)),
                }
            }
        }
        // One key of many may be the reason, such as one that this user may not read.
        Some(Wire::ServerError(_)) => again.extend(getters.into_iter().flatten().map(alone)),
        reply => {
            let error = refused(reply);
            for getter in getters.into_iter().flatten() {
                getter.asked.reply.send(Err(error.clone()));
            }
        }
    }
}

/// An `MGET` fails as a whole: its keys are asked for once more, each by itself.
pub(super) fn alone(getter: Getter) -> Job {
    Job {
        alone: true,
        ..Job::from(getter)
    }
}

/// An `MGET` shows a key of another type as absent: which it is, is asked for.
fn doubt(Getter { asked, deadline }: Getter) -> Job {
    let doubt = Doubt::Get {
        key: asked.operation.key,
        reply: asked.reply,
    };
    Job {
        alone: true,
        ..Job::new(Task::Doubt(Box::new(doubt)), deadline)
    }
}

impl From<Getter> for Job {
    fn from(Getter { asked, deadline }: Getter) -> Self {
        Job::new(Task::Request(EntryRequest::Get(asked)), deadline)
    }
}
