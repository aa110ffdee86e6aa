//! Operations that look before they write. The table has one owner, so nothing comes between.

use std::time::Duration;

use super::expiry::Moment;
use super::table::Table;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::request::{Condition, Names, Write};
use crate::ttl::Ttl;
use crate::value::Value;

/// Writes if the condition holds: whether it did.
pub(super) fn set_if(table: &mut Table, write: Write, condition: &Condition, now: Moment) -> bool {
    let held = table.peek(&write.key, now);
    let met = match condition {
        Condition::Absent => held.is_none(),
        Condition::Present => held.is_some(),
        Condition::Holds(expected) => held == Some(expected),
    };
    match (met, held.is_some()) {
        (true, true) => table.overwrite(write, now),
        (true, false) => table.write(write, now),
        (false, _) => {}
    }
    met
}

/// A new TTL, or none: taking away a TTL that is not there changes nothing.
pub(super) fn expire(table: &mut Table, key: &Key, ttl: Option<Duration>, now: Moment) -> bool {
    let was_persistent = table.ttl(key, now) == Some(Ttl::Persistent);
    if ttl.is_none() && was_persistent {
        false
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
