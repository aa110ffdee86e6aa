//! Reads that the near cache may keep: `CLIENT CACHING YES`, so that the server tracks the keys, and a transaction of
//! `PTTL`s and one `MGET`, so that times and values belong together. The script of a load's first read is sent as it is.

use std::fmt;
use std::time::Duration;

use redis::{Cmd, Value as Wire};
use tokio::time::Instant;

use super::exchange::Commands;
use super::gets::{Getter, alone};
use super::job::{Job, Task};
use super::lease;
use super::reply::Origin;
use super::tally::Tally;
use super::tracker::TrackedConnection;
use super::wire::{ABSENT, count_read, keyed, number, remaining, value};
use crate::key::Key;
use crate::request::EntryRequest;
use crate::value::Value;

/// The commands beside one `PTTL` for each key: `CLIENT CACHING`, `MULTI`, `MGET`, `EXEC`.
const FRAME: usize = 4;

/// One request whose keys are fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    /// All keys of the request. Some of them do not enter the near cache.
    pub(super) keys: Vec<Key>,
    /// `None` if it is a script, which needs no transaction.
    shape: Option<Shape>,
}

/// Which replies the request has without a transaction.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// The value.
    Value,
    /// One array of values.
    Values,
    /// The time that is left, and the value.
    AgedValue,
    /// The times that are left, and one array of values.
    AgedValues,
}

impl Fetch {
    /// Whether a request is to be sent so: if at least one of its keys is to be near.
    pub(super) fn begin(job: &Job, tracked: &TrackedConnection, now: Instant) -> Option<Self> {
        let (keys, shape) = match &job.task {
            _ if job.alone => return None,
            Task::Request(request) => asked(request)?,
            Task::Own(own) => (std::slice::from_ref(own.read()?), None),
            Task::Doubt(_) | Task::Walk(_) => return None,
        };
        let mut is_any = false;
        for key in keys {
            is_any |= tracked.begin_fetch(key, now);
        }
        is_any.then(|| Self {
            keys: keys.to_vec(),
            shape,
        })
    }

    /// Adds its commands. Returns `true` if those of the request itself are to follow.
    pub(super) fn encode(&self, to: &mut Commands) -> bool {
        match self.shape {
            Some(_) => encode(&self.keys, to),
            None => to.add(caching()),
        }
        self.shape.is_none()
    }

    /// How many replies come before those of the request itself, if the request is sent as it is.
    pub(super) fn lead(&self) -> usize {
        usize::from(self.shape.is_none())
    }

    /// Shows the near cache what the replies hold. Returns the replies that the request has without a fetch, or `None` if
    /// the server refused.
    pub(super) fn settle(&self, mut replies: Vec<Wire>, near: Option<&Origin<'_>>) -> Option<Vec<Wire>> {
        if let Some(shape) = self.shape {
            return found(&self.keys, replies, near).and_then(|found| shape.of(found));
        }
        let reply = replies.pop()?;
        let found = lease::found(&reply).filter(|_| is_tracked(&replies));
        if let (Some(Origin { connection, sent }), [key]) = (near, &*self.keys) {
            connection.fetched(key, found.as_ref().map(|(value, left)| (value, *left)), *sent);
        }
        Some(vec![reply])
    }
}

/// The keys that a request reads, and the replies that it has.
fn asked(request: &EntryRequest) -> Option<(&[Key], Option<Shape>)> {
    Some(match request {
        // Neighbours that are in one slot are fetched together.
        EntryRequest::Get(asked) => (std::slice::from_ref(&asked.operation.key), Some(Shape::Value)),
        EntryRequest::GetMany(asked) if !asked.operation.peek => (&asked.operation.keys, Some(Shape::Values)),
        EntryRequest::GetAged(asked) => (std::slice::from_ref(&asked.operation.key), Some(Shape::AgedValue)),
        EntryRequest::GetManyAged(asked) => (&asked.operation.keys, Some(Shape::AgedValues)),
        EntryRequest::GetOrLease(asked) => (std::slice::from_ref(&asked.operation.key), None),
        _ => return None,
    })
}

impl Shape {
    /// What was found, as replies to a request of this shape. `None` if the key may have another type, which an `MGET` does not
    /// tell from an absent one. Requests for many keys see that by themselves.
    fn of(self, found: Found) -> Option<Vec<Wire>> {
        let Found {
            mut times,
            mut values,
        } = found;
        let is_doubtful = || values == [Wire::Nil] && times != [Wire::Int(ABSENT)];
        Some(match self {
            Shape::Value | Shape::AgedValue if is_doubtful() => return None,
            Shape::Value => values,
            Shape::Values => vec![Wire::Array(values)],
            Shape::AgedValue => {
                times.append(&mut values);
                times
            }
            Shape::AgedValues => {
                times.push(Wire::Array(values));
                times
            }
        })
    }
}

/// How many replies a fetch of so many keys has.
pub(super) fn replies(keys: usize) -> usize {
    keys + FRAME
}

/// The command after which the server tracks the keys that the next one reads.
fn caching() -> Cmd {
    let mut caching = redis::cmd("CLIENT");
    caching.arg("CACHING").arg("YES");
    caching
}

/// Whether the reply to [`caching`] is the first one, and is none of an error. After an error the server reads all the same,
/// and tells of no change later.
fn is_tracked(replies: &[Wire]) -> bool {
    replies.first() == Some(&Wire::Okay)
}

pub(super) fn encode(keys: &[Key], to: &mut Commands) {
    to.add(caching());
    to.add(redis::cmd("MULTI"));
    for key in keys {
        to.add(keyed("PTTL", [key]));
    }
    to.add(keyed("MGET", keys));
    to.add(redis::cmd("EXEC"));
}

/// The times that are left of keys, and their values, in the order of the keys.
pub(super) struct Found {
    times: Vec<Wire>,
    values: Vec<Wire>,
}

/// Shows no value.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("values", &self.values.len())
            .finish_non_exhaustive()
    }
}

/// What the replies tell, which the near cache keeps as far as it may. `None` if the server refused.
pub(super) fn found(keys: &[Key], mut replies: Vec<Wire>, near: Option<&Origin<'_>>) -> Option<Found> {
    let is_tracked = is_tracked(&replies);
    let found = match replies.pop() {
        Some(Wire::Array(mut both)) if both.len() == keys.len() + 1 => match both.pop() {
            Some(Wire::Array(values)) if values.len() == keys.len() => Some(Found { times: both, values }),
            _ => None,
        },
        _ => None,
    };
    if let Some(Origin { connection, sent }) = near {
        for (at, key) in keys.iter().enumerate() {
            let kept = found.as_ref().filter(|_| is_tracked);
            let kept = kept.and_then(|found| found.entry(at));
            let kept = kept.as_ref().map(|(value, left)| (value, *left));
            connection.fetched(key, kept, *sent);
        }
    }
    found
}

impl Found {
    /// A key's value and the time that is left of it. `None` if it is absent, or gone within the transaction.
    fn entry(&self, at: usize) -> Option<(Value, Option<Duration>)> {
        let left = match self.times.get(at)? {
            Wire::Int(ABSENT) => return None,
            Wire::Int(left) => remaining(*left),
            _ => return None,
        };
        match self.values.get(at)? {
            Wire::BulkString(bytes) => Some((Value::from(bytes.clone()), left)),
            _ => None,
        }
    }
}

/// Answers callers who asked for one value each. What must be sent again is pushed to `again`.
pub(super) fn decode_gets(
    found: Option<Found>,
    getters: Vec<Option<Getter>>,
    tally: &mut Tally,
    again: &mut Vec<Job>,
) {
    let Some(Found { times, values }) = found else {
        again.extend(getters.into_iter().flatten().map(alone));
        return;
    };
    for (getter, (left, got)) in getters.into_iter().zip(times.into_iter().zip(values)) {
        let Some(getter) = getter else { continue };
        // An `MGET` shows a key of another type as absent.
        if got == Wire::Nil && number(left).is_ok_and(|left| left != ABSENT) {
            again.push(alone(getter));
        } else {
            getter.asked.reply.send(count_read(value(got), tally));
        }
    }
}

#[cfg(test)]
mod tests;
