//! How a step is exchanged with a server: its command, and what the reply means. The scripts describe both.

mod parts;

use redis::{Cmd, Value as Wire};

use self::parts::{array, digits, key, life, sight, stamp, time, watchers};
use super::answer::{Above, Answer, Changed, Present, PutAnswer};
use super::life::Life;
use super::stamp::Stamp;
use super::step::{Act, Condition, Cover, Member, Proof, Put, Step};
use crate::engines::redis::layout::SlotNames;
use crate::engines::redis::script::By;
use crate::engines::redis::script::spread::SlotScript;
use crate::engines::redis::wire::{flag, integer, refuse_errors, unexpected, value};
use crate::error::Result;
use crate::value::Value;

/// So many members of a name a page has, or a few more: the server serves nobody else meanwhile.
const PAGE: u32 = 250;

impl Step {
    /// The bytes of a value that it writes.
    pub(in crate::engines::redis) fn bytes(&self) -> usize {
        match self {
            Self::Put(put) => put.value.len(),
            _ => 0,
        }
    }

    /// The command, with its script by digest or by source.
    pub(in crate::engines::redis) fn encode(&self, by: By) -> Cmd {
        let names = SlotNames::of(self.place());
        match self {
            Self::Look { key, fresh, intent } => {
                let mut keys = vec![names.kills()];
                keys.extend(intent.map(|_| names.intents()));
                let mut command = call(SlotScript::Look, by, &keys);
                command.arg(text(*fresh));
                if let Some(token) = intent {
                    command.arg(key.as_str()).arg(text(*token));
                }
                command
            }
            Self::Register {
                name,
                member,
                stamp,
                life,
                watch,
            } => {
                let mut keys = vec![names.depend(), names.records()];
                keys.extend(watch.map(|_| names.watch()));
                let mut command = call(SlotScript::Register, by, &keys);
                command.arg(name.as_str()).arg(member.as_str());
                command.arg(text(*stamp)).arg(millis(*life));
                if let Some(watch) = watch {
                    command.arg(text(watch.lease)).arg(millis(watch.life));
                }
                command
            }
            Self::Cover { name, cover } => {
                let Cover { record, at, life, .. } = cover;
                let mut command = call(SlotScript::Cover, by, &[names.records()]);
                command.arg(name.as_str()).arg(text(*record));
                command.arg(*at).arg(millis(*life));
                command
            }
            Self::Put(put) => encode_put(put, by),
            Self::Touch {
                key,
                ttl,
                cover,
                reads,
            } => {
                let keys = [key.to_string(), names.records()];
                let mut command = call(SlotScript::Touch, by, &keys);
                command.arg(key.as_str()).arg(millis(*ttl));
                command.arg(if *reads { "GET" } else { "" });
                if let Some(cover) = cover {
                    command.arg(text(cover.record));
                    command.arg(cover.at).arg(millis(cover.life));
                }
                command
            }
            Self::Change { key, change } => {
                let keys = [key.to_string(), names.leases(), names.watch()];
                let mut command = call(SlotScript::Change, by, &keys);
                command.arg(key.as_str());
                match change {
                    Act::Delete => command.arg("DEL"),
                    Act::Take => command.arg("GETDEL"),
                    Act::DeleteIf(held) => command.arg("EQ").arg(held.as_bytes()),
                    Act::Incr { by, ttl } => command.arg("INCR").arg(*by).arg(millis(*ttl)),
                };
                command
            }
            Self::Take {
                key,
                lease,
                life,
                fresh,
                reads,
                wanted,
            } => {
                let keys = [key.to_string(), names.leases(), names.kills()];
                let mut command = call(SlotScript::Take, by, &keys);
                command.arg(key.as_str()).arg(text(*lease));
                command.arg(millis(*life)).arg(text(*fresh));
                command.arg(u8::from(*reads)).arg(*wanted);
                command
            }
            Self::End { key, lease, given } => {
                let mut command = call(SlotScript::End, by, &[names.leases(), names.watch()]);
                command.arg(key.as_str()).arg(text(*lease));
                command.arg(u8::from(*given));
                command
            }
            Self::Mark {
                prefix, mark, life, ..
            } => {
                let mut command = call(SlotScript::Mark, by, &[names.leases(), names.clearings()]);
                command.arg(text(*mark)).arg(prefix.as_str());
                command.arg(life.map_or(String::new(), millis));
                command
            }
            Self::Unwatch { member, lease, .. } => {
                let mut command = call(SlotScript::Unwatch, by, &[names.watch()]);
                command.arg(member.as_str()).arg(text(*lease));
                command
            }
            Self::Cancel { key, lease } => {
                let keys = [key.to_string(), names.leases(), names.records()];
                let mut command = call(SlotScript::Cancel, by, &keys);
                command.arg(key.as_str()).arg(text(*lease));
                command
            }
            Self::Kill { key, stamp } => {
                let keys = [
                    key.to_string(),
                    names.kills(),
                    names.leases(),
                    names.intents(),
                    names.records(),
                    names.depend(),
                ];
                let mut command = call(SlotScript::Kill, by, &keys);
                command.arg(key.as_str()).arg(text(*stamp));
                command
            }
            Self::Scan { cursor, .. } => {
                let mut command = redis::cmd("HSCAN");
                command.arg(names.depend()).arg(*cursor).arg("COUNT").arg(PAGE);
                command
            }
            Self::Forget { members, .. } => {
                let mut command = call(SlotScript::Forget, by, &[names.depend()]);
                for Member { key, stamp } in members {
                    command.arg(key.as_str()).arg(text(*stamp));
                }
                command
            }
        }
    }

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

fn call(script: SlotScript, by: By, keys: &[String]) -> Cmd {
    script.call(by, keys)
}

fn text(stamp: Stamp) -> String {
    stamp.to_string()
}

/// A life as scripts take it: '' for ever.
fn millis(life: Life) -> String {
    match life {
        Life::Millis(millis) => millis.to_string(),
        Life::Ever => String::new(),
    }
}

fn encode_put(put: &Put, by: By) -> Cmd {
    let names = SlotNames::of(&put.key);
    let mut keys = vec![
        put.key.to_string(),
        names.leases(),
        names.watch(),
        names.records(),
    ];
    if put.tie.is_some() {
        keys.extend([names.kills(), names.intents(), names.depend()]);
    }
    if let Condition::Leased(_) = put.condition {
        keys.push(names.clearings());
    }
    let mut command = call(SlotScript::Put, by, &keys);
    command.arg(put.key.as_str()).arg(put.value.as_bytes());
    command.arg(millis(put.ttl));
    match &put.condition {
        Condition::Always => command.arg("").arg(""),
        Condition::Absent => command.arg("NX").arg(""),
        Condition::Present => command.arg("XX").arg(""),
        Condition::Holds(expected) => command.arg("EQ").arg(expected.as_bytes()),
        Condition::Leased(lease) => command.arg("LEASE").arg(text(*lease)),
        Condition::Swap => command.arg("GET").arg(""),
    };
    if let Some(tie) = &put.tie {
        match tie.proof {
            Proof::Slot => command.arg(text(tie.seen.stamp)).arg(""),
            Proof::Lease => command.arg("").arg(""),
            Proof::Intent(token) => command.arg("").arg(text(token)),
        };
        command.arg(text(tie.record));
        command.arg(tie.seen.at).arg(millis(tie.life));
        for name in &tie.names {
            command.arg(name.as_str());
        }
    }
    command
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
            Some(Answer::Taken { present, sight })
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
        names: array(names)?.into_iter().filter_map(key).collect(),
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
