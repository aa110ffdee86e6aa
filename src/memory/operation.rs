//! Operations that look before they write. The table has one owner, so nothing comes between.

use std::time::Duration;

use super::expiry::Moment;
use super::table::Table;
use crate::envelope::{Stored, open};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::request::{Condition, Names, Write};
use crate::ttl::Ttl;
use crate::value::Value;

/// Writes if the condition holds. Returns `true` if it was written. A stale loaded value counts as absent.
pub(super) fn set_if(table: &mut Table, write: Write, condition: &Condition, now: Moment) -> bool {
    let held = table.peek_aged(&write.key, now);
    let vacant = held.is_none_or(|(value, remaining)| open(value.as_bytes()).is_vacant(remaining));
    let met = match condition {
        Condition::Absent => vacant,
        Condition::Present => !vacant,
        Condition::Holds(expected) => held.is_some_and(|(value, _)| value == expected),
    };
    match condition {
        _ if !met => {}
        Condition::Absent => table.write(write, now),
        Condition::Present | Condition::Holds(_) => table.overwrite(write, now),
    }
    met
}

/// Deletes the key if it holds this value. Returns `true` if it was deleted.
pub(super) fn delete_if(table: &mut Table, key: &Key, expected: &Value, now: Moment) -> bool {
    table.peek(key, now) == Some(expected) && table.delete(key, now).is_some()
}

/// How long an entry still lives; a loaded value lives while it is fresh.
pub(super) fn ttl(table: &Table, key: &Key, now: Moment) -> Option<Ttl> {
    let (value, remaining) = table.peek_aged(key, now)?;
    open(value.as_bytes()).ttl(remaining)
}

/// A new TTL, or none: taking away a TTL that is not there changes nothing. A loaded value that is fresh gets a
/// new fresh time, which its window follows; one that is stale stays as it is.
pub(super) fn expire(table: &mut Table, key: &Key, ttl: Option<Duration>, now: Moment) -> bool {
    let Some((value, remaining)) = table.peek_aged(key, now) else {
        return false;
    };
    let stored = open(value.as_bytes());
    if stored.ttl(remaining).is_none() || (ttl.is_none() && remaining.is_none()) {
        return false;
    }
    if let Stored::Loaded(head, model) = stored {
        let head = head.renewed(ttl, remaining);
        let value = head.seal(model);
        table.renew(key, value, head.ttl(), now)
    } else {
        table.expire(key, ttl, now)
    }
}

/// The sum, which is stored: in an entry that keeps the rest, or in a new one that has this TTL.
pub(super) fn incr(table: &mut Table, key: Key, by: i64, ttl: Option<Duration>, now: Moment) -> Result<i64> {
    let held = match table.peek(&key, now) {
        Some(value) => Some(value.to_integer().ok_or(Error::NotAnInteger)?),
        None => None,
    };
    let sum = held.unwrap_or(0).checked_add(by).ok_or(Error::Overflow)?;
    let value = Value::from(sum.to_string());
    if held.is_some() {
        table.rewrite(&key, value, now);
    } else {
        table.write(
            Write {
                key,
                value,
                ttl,
                depends_on: Names::default(),
            },
            now,
        );
    }
    Ok(sum)
}
