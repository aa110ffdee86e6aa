//! What the reply to a step means.

use redis::Value as Wire;

use super::parts::{self, array, digits, key, keys, life, sight, stamp, time, watchers};
use crate::engines::redis::spread::protocol::answer::{Above, Answer, Changed, Present, PutAnswer};
use crate::engines::redis::spread::protocol::step::{Act, Condition, Member, Put, Step};
use crate::engines::redis::wire::{flag, integer, refuse_errors, unexpected, value};
use crate::error::Result;
use crate::value::Value;

impl Step {
    /// What the reply means.
    ///
    /// # Errors
    ///
    /// The server's error, or that the reply is none of the step's.
    pub(in crate::engines::redis) fn decode(&self, reply: Wire) -> Result<Answer> {
        let reply = refuse_errors(reply)?;
        let answer = match self {
            Self::Look { .. } => array(reply).and_then(looked),
            Self::Register { .. } => array(reply).and_then(registered),
            Self::Put(put) => return decode_put(put, array(reply)),
            Self::Touch { .. } => array(reply).and_then(touched),
            Self::Change { change, .. } => return decode_change(change, array(reply)),
            Self::Kill { .. } => array(reply).and_then(killed),
            Self::Scan { .. } => array(reply).and_then(page),
            Self::Take { .. } => array(reply).and_then(taken),
            Self::End { .. } => watchers(reply).map(|watchers| Answer::Ended { watchers }),
            Self::Mark { .. } => flag(reply).ok().map(|noted| Answer::Marked { noted }),
            Self::Cover { .. } | Self::Cancel { .. } | Self::Forget { .. } | Self::Unwatch { .. } => {
                Some(Answer::Done)
            }
        };
        answer.ok_or_else(unexpected)
    }
}

fn decode_put(put: &Put, reply: Option<Vec<Wire>>) -> Result<Answer> {
    let mut parts = reply.unwrap_or_default().into_iter();
    let mut next = || parts.next().unwrap_or_default();
    let code = next();
    let watchers = match code {
        Wire::Int(0 | 1) => watchers(next()),
        _ => None,
    };
    let sight = sight(next(), next());
    let answer = match code {
        Wire::Int(1) => {
            let held = match &put.condition {
                Condition::Swap => value(next())?,
                _ => None,
            };
            watchers.map(|watchers| PutAnswer::Written { held, watchers })
        }
        Wire::Int(0) => watchers.map(|watchers| PutAnswer::Unmet { watchers }),
        Wire::Int(-1) => Some(PutAnswer::Refused),
        Wire::Int(-2) => life(next()).map(PutAnswer::Short),
        _ => None,
    };
    if put.tie.is_some() && sight.is_none() {
        return Err(unexpected());
    }
    let put = answer.ok_or_else(unexpected)?;
    Ok(Answer::Put { put, sight })
}

fn decode_change(change: &Act, reply: Option<Vec<Wire>>) -> Result<Answer> {
    let parts = reply.and_then(|parts| <[Wire; 2]>::try_from(parts).ok());
    let [reply, watchers] = parts.ok_or_else(unexpected)?;
    let reply = match (change, reply) {
        // Another value than the expected one, or none.
        (Act::Delete | Act::DeleteIf(_), reply) => Changed::Removed(integer(reply)? > 0),
        (Act::Take, reply) => Changed::Taken(value(reply)?),
        (Act::Incr { .. }, reply) => Changed::Sum(integer(reply)?),
    };
    let watchers = parts::watchers(watchers).ok_or_else(unexpected)?;
    Ok(Answer::Changed { reply, watchers })
}

fn taken(parts: Vec<Wire>) -> Option<Answer> {
    let mut parts = parts.into_iter();
    let mut next = || parts.next().unwrap_or_default();
    match next() {
        Wire::Int(0) => {
            let (lease, left) = (stamp(&next())?, time(&next())?);
            Some(Answer::Held { lease, left })
        }
        Wire::Int(2) => present(&next(), next()).map(Answer::Found),
        Wire::Int(1) => {
            let (left, content) = (next(), next());
            let present = present(&left, content);
            let sight = sight(next(), next())?;
            let names = keys(next())?;
            Some(Answer::Taken {
                present,
                sight,
                names,
            })
        }
        _ => None,
    }
}

/// A value that there is.
fn present(left: &Wire, content: Wire) -> Option<Present> {
    match (left, content) {
        (Wire::Int(left), Wire::BulkString(content)) => Some(Present {
            value: Value::from(content),
            left: *left,
        }),
        _ => None,
    }
}

fn looked(parts: Vec<Wire>) -> Option<Answer> {
    let [stamp, at] = <[Wire; 2]>::try_from(parts).ok()?;
    sight(stamp, at).map(Answer::Looked)
}

fn registered(parts: Vec<Wire>) -> Option<Answer> {
    if parts.is_empty() {
        return Some(Answer::Registered { above: None });
    }
    let [at, record, names] = <[Wire; 3]>::try_from(parts).ok()?;
    let above = above(at, record, names)?;
    Some(Answer::Registered { above: Some(above) })
}

fn touched(parts: Vec<Wire>) -> Option<Answer> {
    let mut parts = parts.into_iter();
    let mut next = || parts.next().unwrap_or_default();
    match next() {
        Wire::Int(-1) => {
            let (at, record, names) = (next(), next(), next());
            let needed = life(next())?;
            let above = above(at, record, names)?;
            Some(Answer::Short { above, needed })
        }
        Wire::Int(changed) => {
            let changed = changed > 0;
            let value = value(next()).ok()?;
            Some(Answer::Touched { changed, value })
        }
        _ => None,
    }
}

fn above(at: Wire, record: Wire, names: Wire) -> Option<Above> {
    Some(Above {
        names: keys(names)?,
        record: stamp(&record)?,
        at: time(&at)?,
    })
}

fn killed(parts: Vec<Wire>) -> Option<Answer> {
    match parts[..] {
        [Wire::Int(removed), Wire::Int(below)] => Some(Answer::Killed {
            removed: removed > 0,
            below: below > 0,
        }),
        _ => None,
    }
}

fn page(parts: Vec<Wire>) -> Option<Answer> {
    let [cursor, members] = <[Wire; 2]>::try_from(parts).ok()?;
    let cursor = digits(&cursor)?;
    let mut fields = array(members)?.into_iter();
    let mut members = Vec::with_capacity(fields.len() / 2);
    while let (Some(member), Some(held)) = (fields.next(), fields.next()) {
        // Members that are no text are none of ours.
        if let Some((key, stamp)) = key(member).zip(stamp(&held)) {
            members.push(Member { key, stamp });
        }
    }
    Some(Answer::Page { members, cursor })
}
