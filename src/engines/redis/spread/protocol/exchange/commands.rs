//! The command of a step.

use redis::Cmd;

use crate::engines::redis::layout::SlotNames;
use crate::engines::redis::script::By;
use crate::engines::redis::script::spread::SlotScript;
use crate::engines::redis::spread::protocol::life::Life;
use crate::engines::redis::spread::protocol::stamp::Stamp;
use crate::engines::redis::spread::protocol::step::{Act, Condition, Cover, Given, Member, Proof, Put, Step};

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
                let keys = [key.to_string(), names.leases(), names.watch(), names.records()];
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
                names: read,
                fresh,
                reads,
                wanted,
                keeps_names,
            } => {
                let mut keys = vec![key.to_string(), names.leases(), names.kills()];
                keys.extend(keeps_names.then(|| names.records()));
                let mut command = call(SlotScript::Take, by, &keys);
                command.arg(key.as_str()).arg(text(*lease));
                command.arg(millis(*life)).arg(text(*fresh));
                command.arg(u8::from(*reads)).arg(*wanted);
                read.iter().for_each(|name| {
                    command.arg(name.as_str());
                });
                command
            }
            Self::End { key, lease, given } => {
                let mut command = call(SlotScript::End, by, &[names.leases(), names.watch()]);
                command.arg(key.as_str()).arg(text(*lease));
                command.arg(match given {
                    Given::Nothing => "",
                    Given::Free => "FREE",
                    Given::Tied => "TIED",
                });
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
    if put.condition.lease().is_some() {
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
        Condition::Kept(lease) => command.arg("KEEP").arg(text(*lease)),
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
