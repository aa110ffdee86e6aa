//! The types of replies.

use std::time::Duration;

use redis::Value as Wire;

use crate::envelope::open;
use crate::error::{Cause, Error, Result};
use crate::redis::fault;
use crate::redis::layout::Layout;
use crate::request::{Aged, Page};
use crate::ttl::{LONGEST, Ttl};
use crate::value::Value;

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
/// And for one without an end.
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
pub(in crate::redis) fn remaining(left: i64) -> Option<Duration> {
    match left {
        PERSISTENT => None,
        ABSENT => Some(LONGEST),
        left => Some(left_of(left)),
    }
}

pub(super) fn page(got: Wire) -> Result<Page> {
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
