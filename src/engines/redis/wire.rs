//! What commands and replies are made of.

use std::time::Duration;

use redis::{Arg, Cmd, Value as Wire};

use super::fault;
use super::script::By;
use super::tally::Tally;
use crate::envelope::open;
use crate::error::{Cause, Error, Result};
use crate::key::Key;
use crate::request::{Aged, Cursor, Page};
use crate::ttl::{LONGEST, Ttl};
use crate::value::Value;

/// What a command costs beside its arguments, at most.
pub(super) const FRAME: usize = 16;
/// What an argument costs beside its bytes, at most: its length, and what ends both.
pub(super) const ARGUMENT: usize = 16;

/// A command about keys.
pub(super) fn keyed<'k>(name: &str, keys: impl IntoIterator<Item = &'k Key>) -> Cmd {
    let mut command = redis::cmd(name);
    for key in keys {
        command.arg(key.as_str());
    }
    command
}

/// The bytes of a command's arguments on the wire, or a few more.
pub(super) fn bytes(command: &Cmd) -> usize {
    let arguments = command.args_iter();
    arguments
        .map(|argument| ARGUMENT + argument_bytes(argument))
        .sum()
}

pub(super) fn argument_bytes(argument: Arg<&[u8]>) -> usize {
    match argument {
        Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    }
}

/// A TTL in whole milliseconds, as TTLs are checked to be. The longest is far below 2^63.
pub(super) fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

/// A TTL as scripts take it; empty for none.
pub(super) fn millis_or_empty(ttl: Option<Duration>) -> String {
    ttl.map(|ttl| millis(ttl).to_string()).unwrap_or_default()
}

pub(super) fn unexpected() -> Error {
    let cause = "the server's reply is not of the kind that the command has";
    Error::Rejected(Cause::new(fault::Lost(cause.to_owned())))
}

pub(super) fn refuse_errors(got: Wire) -> Result<Wire> {
    match got {
        Wire::ServerError(error) => Err(fault::answered(&error)),
        got => Ok(got),
    }
}

pub(super) fn refused(got: Option<Wire>) -> Error {
    match got {
        Some(Wire::ServerError(error)) => fault::answered(&error),
        _ => unexpected(),
    }
}

pub(super) fn value(got: Wire) -> Result<Option<Value>> {
    match got {
        Wire::BulkString(bytes) => Ok(Some(Value::from(bytes))),
        Wire::Nil => Ok(None),
        got => Err(refused(Some(got))),
    }
}

pub(super) fn values(got: Wire, asked: usize) -> Result<Vec<Option<Value>>> {
    match got {
        Wire::Array(found) if found.len() == asked => found.into_iter().map(value).collect(),
        got => Err(refused(Some(got))),
    }
}

/// Whether something was done: `OK` or nothing, or how often.
pub(super) fn flag(got: Wire) -> Result<bool> {
    match got {
        Wire::Okay => Ok(true),
        Wire::Nil => Ok(false),
        Wire::Int(count) => Ok(count > 0),
        got => Err(refused(Some(got))),
    }
}

pub(super) fn number(got: Wire) -> Result<i64> {
    match got {
        Wire::Int(number) => Ok(number),
        got => Err(refused(Some(got))),
    }
}

/// A number, or one as text: a script's numbers have 53 bits.
pub(super) fn integer(got: Wire) -> Result<i64> {
    match got {
        Wire::BulkString(text) => Value::from(text).to_integer().ok_or_else(unexpected),
        got => number(got),
    }
}

/// What `PTTL` answers for a key that is not there.
pub(super) const ABSENT: i64 = -2;
/// What `PTTL` answers for a key without expiry.
const PERSISTENT: i64 = -1;

/// How long an entry still lives, from its `PTTL` and the first bytes of its value. Data of another type has a
/// TTL, but no bytes.
pub(super) fn ttl(left: Wire, first: &Wire) -> Result<Option<Ttl>> {
    let remaining = match number(left)? {
        ABSENT => return Ok(None),
        left => remaining(left),
    };
    let first = match first {
        Wire::BulkString(first) => first.as_slice(),
        _ => &[],
    };
    Ok(open(first).ttl(remaining))
}

/// What has less than a millisecond left is still there.
fn left_of(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0).max(1))
}

/// A value and the time that was left just before it was read. If it was written in between, nothing of its
/// life has passed: it has the longest time there is, with which its age is zero.
pub(super) fn aged(left: Wire, got: Wire) -> Result<Option<Aged>> {
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

/// A page of a scan that had come to `cursor`. One that comes no further would never end.
pub(super) fn page(got: Wire, cursor: Cursor) -> Result<Page> {
    let Wire::Array(parts) = got else {
        return Err(refused(Some(got)));
    };
    let Ok([Wire::BulkString(next), Wire::Array(found)]) = <[Wire; 2]>::try_from(parts) else {
        return Err(unexpected());
    };
    let next: Option<u64> = std::str::from_utf8(&next).ok().and_then(|next| next.parse().ok());
    let next = next.ok_or_else(unexpected)?;
    if next != 0 && next == cursor.place {
        return Err(unexpected());
    }
    let keys = found.into_iter().filter_map(|key| match key {
        // A key that is not text is none that this library could be asked for.
        Wire::BulkString(key) => String::from_utf8(key).ok(),
        _ => None,
    });
    Ok(Page {
        keys: keys.map(Into::into).collect(),
        next: (next != 0).then_some(Cursor {
            place: next,
            ..cursor
        }),
    })
}

/// Whether the server has forgotten a script that was called by its digest.
pub(super) fn forgotten(reply: &Wire, by: By) -> bool {
    by == By::Digest && matches!(reply, Wire::ServerError(error) if fault::is_forgotten_script(error))
}

/// Counts a read: one hit or one miss.
pub(super) fn count_read<T>(answer: Result<Option<T>>, tally: &mut Tally) -> Result<Option<T>> {
    match &answer {
        Ok(Some(_)) => tally.stats.hits += 1,
        Ok(None) => tally.stats.misses += 1,
        Err(_) => {}
    }
    answer
}

/// Counts a read of many keys: one hit or one miss for each.
pub(super) fn count_many<T>(answer: Result<Vec<Option<T>>>, tally: &mut Tally) -> Result<Vec<Option<T>>> {
    if let Ok(values) = &answer {
        let hits = values.iter().flatten().count() as u64;
        tally.stats.hits += hits;
        tally.stats.misses += values.len() as u64 - hits;
    }
    answer
}
