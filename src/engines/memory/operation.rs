//! What the memory engine does for each operation. The table has one owner, so nothing comes between the steps of
//! one operation.

use std::time::Duration;

use super::expiry::Moment;
use super::sweep::Sweeps;
use super::table::Table;
use crate::envelope::{Stored, open};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::request::{
    Aged, Condition, Delete, DeleteIf, DeleteMany, Exists, Expire, Get, GetAged, GetAndTouch, GetMany,
    GetManyAged, GetOrLease, GetTtl, Incr, Lease, LeaseAnswer, Lock, LockAnswer, Lookup, Names, Operation,
    Page, Ping, Raw, RawAnswer, Scan, Set, SetIf, SetMany, Swap, Take, Write,
};
use crate::ttl::Ttl;
use crate::value::Value;

/// An operation that the memory engine carries out in one step.
pub(super) trait Serve: Operation {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Self::Answer>;
}

/// The time at which an operation is served, and the long work under way.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) now: Moment,
    /// When the call was made, if its TTL counts from there; else the same.
    pub(super) made: Moment,
    /// Long work under way.
    pub(super) sweeps: &'a Sweeps,
}

impl Serve for Get {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Option<Value>> {
        Ok(table.get_and_publish(&self.key, turn.now))
    }
}

impl Serve for GetMany {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Vec<Option<Value>>> {
        if self.peek {
            let peek = |key| table.peek(key, turn.now).cloned();
            return Ok(self.keys.iter().map(peek).collect());
        }
        Ok(table.get_many(&self.keys, turn.now))
    }
}

impl Serve for GetAged {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Option<Aged>> {
        Ok(table.get_aged(&self.key, turn.now))
    }
}

impl Serve for GetManyAged {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Vec<Option<Aged>>> {
        let get = |key| table.get_aged(key, turn.now);
        Ok(self.keys.iter().map(get).collect())
    }
}

impl Serve for GetOrLease {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Lookup> {
        Ok(table.get_or_lease(&self.key, &self.terms, turn.now))
    }
}

impl Serve for Exists {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<bool> {
        Ok(table.contains(&self.key, turn.now))
    }
}

impl Serve for GetTtl {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Option<Ttl>> {
        Ok(ttl(table, &self.key, turn.now))
    }
}

impl Serve for Scan {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Page> {
        Ok(table.scan(&self.prefix, self.cursor.place, turn.now))
    }
}

impl Serve for Set {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<()> {
        table.write(self.write, turn.made);
        Ok(())
    }
}

impl Serve for SetMany {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<()> {
        for write in self.writes {
            table.write(write, turn.made);
        }
        Ok(())
    }
}

impl Serve for SetIf {
    /// A stale loaded value counts as absent.
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<bool> {
        let held = table.peek_aged(&self.write.key, turn.now);
        let vacant = held.is_none_or(|(value, remaining)| open(value.as_bytes()).is_vacant(remaining));
        let met = match &self.condition {
            Condition::Absent => vacant,
            Condition::Present => !vacant,
            Condition::Holds(expected) => held.is_some_and(|(value, _)| value == expected),
        };
        match self.condition {
            _ if !met => {}
            Condition::Absent => table.write(*self.write, turn.now),
            Condition::Present | Condition::Holds(_) => table.overwrite(*self.write, turn.now),
        }
        Ok(met)
    }
}

impl Serve for Take {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Option<Value>> {
        let value = table.get(&self.key, turn.now);
        table.delete(&self.key, turn.now);
        Ok(value)
    }
}

impl Serve for Delete {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<bool> {
        Ok(table.delete(&self.key, turn.now).is_some())
    }
}

impl Serve for DeleteIf {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<bool> {
        let holds = table.peek(&self.key, turn.now) == Some(&self.expected);
        Ok(holds && table.delete(&self.key, turn.now).is_some())
    }
}

impl Serve for DeleteMany {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<u64> {
        let deleted = self
            .keys
            .iter()
            .filter(|key| table.delete(key, turn.now).is_some());
        Ok(deleted.count() as u64)
    }
}

impl Serve for Expire {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<bool> {
        Ok(expire(table, &self.key, self.ttl, turn.now))
    }
}

impl Serve for GetAndTouch {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Option<Value>> {
        let value = table.get(&self.key, turn.now);
        if value.is_some() {
            expire(table, &self.key, Some(self.ttl), turn.now);
        }
        Ok(value)
    }
}

impl Serve for Swap {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<Option<Value>> {
        let value = table.get(&self.write.key, turn.now);
        if value.is_some() {
            // Who saw a value that a clearing has not come to yet was before it, and so was this write.
            table.overwrite(*self.write, turn.now);
        } else {
            table.write(*self.write, turn.now);
        }
        Ok(value)
    }
}

impl Serve for Incr {
    /// The sum is stored in an entry that keeps the rest, or in a new one that has this TTL.
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<i64> {
        let Self { key, by, ttl } = self;
        let held = match table.peek(&key, turn.now) {
            Some(value) => Some(value.to_integer().ok_or(Error::NotAnInteger)?),
            None => None,
        };
        let sum = held.unwrap_or(0).checked_add(by).ok_or(Error::Overflow)?;
        let value = Value::from(sum.to_string());
        if held.is_some() {
            table.rewrite(&key, value, turn.now);
        } else {
            let write = Write {
                key,
                value,
                ttl,
                depends_on: Names::default(),
            };
            table.write(write, turn.now);
        }
        Ok(sum)
    }
}

impl Serve for Lease {
    fn serve(self, table: &mut Table, turn: &Turn<'_>) -> Result<LeaseAnswer> {
        let clearing = self.step.names().any(|name| turn.sweeps.clear(name));
        Ok(table.serve_lease(*self.step, clearing, turn.now))
    }
}

impl Serve for Lock {
    /// The scheduler keeps the locks of this process itself.
    fn serve(self, _: &mut Table, _: &Turn<'_>) -> Result<LockAnswer> {
        Err(Error::Unsupported { operation: "lock" })
    }
}

impl Serve for Ping {
    fn serve(self, _: &mut Table, _: &Turn<'_>) -> Result<()> {
        Ok(())
    }
}

impl Serve for Raw {
    /// The memory engine has no language of its own.
    fn serve(self, _: &mut Table, _: &Turn<'_>) -> Result<RawAnswer> {
        Err(Error::Unsupported {
            operation: "command of another engine",
        })
    }
}

/// How long an entry still lives; a loaded value lives while it is fresh.
pub(super) fn ttl(table: &Table, key: &Key, now: Moment) -> Option<Ttl> {
    let (value, remaining) = table.peek_aged(key, now)?;
    open(value.as_bytes()).ttl(remaining)
}

/// A new TTL, or none: taking away a TTL that is not there changes nothing. A loaded value that is fresh gets a
/// new fresh time, which its window follows; one that is stale stays as it is.
fn expire(table: &mut Table, key: &Key, ttl: Option<Duration>, now: Moment) -> bool {
    let Some((value, remaining)) = table.peek_aged(key, now) else {
        return false;
    };
    let stored = open(value.as_bytes());
    if stored.ttl(remaining).is_none() || (ttl.is_none() && remaining.is_none()) {
        return false;
    }
    if let Stored::Loaded(head, body) = stored {
        let head = head.renewed(ttl, remaining);
        let value = head.seal(body);
        table.renew(key, value, head.ttl(), now)
    } else {
        table.expire(key, ttl, now)
    }
}
