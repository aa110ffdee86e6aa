//! A model of one slot: what the scripts do, in Rust.

mod names;

use std::collections::BTreeMap;

use compact_str::CompactString;

use super::entry::{Entry, Held, Registration};
use super::manner::{Manner, Shortcut};
use crate::engines::redis::spread::protocol::answer::{Above, Answer, Changed, Present, PutAnswer, Sight};
use crate::engines::redis::spread::protocol::life::Life;
use crate::engines::redis::spread::protocol::stamp::Stamp;
use crate::engines::redis::spread::protocol::step::{Act, Condition, Cover, Given, Put, Step};
use crate::value::Value;

/// The end of what has none.
pub(super) const EVER: u64 = u64::MAX;

/// One slot, with all its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) kills: Option<Stamp>,
    pub(super) clearings: BTreeMap<Stamp, CompactString>,
    pub(super) keys: BTreeMap<CompactString, Entry>,
}

/// Whether the key or one of its names has the prefix.
fn is_under(put: &Put, prefix: &CompactString) -> bool {
    let names = put.tie.iter().flat_map(|tie| &tie.names);
    let mut keys = names.chain([&put.key]);
    keys.any(|key| key.starts_with(prefix.as_str()))
}

pub(super) fn end_of(now: u64, life: Life) -> u64 {
    match life {
        Life::Millis(millis) => now + millis,
        Life::Ever => EVER,
    }
}

impl Slot {
    /// Drops what has ended.
    pub(super) fn expire(&mut self, now: u64) {
        for entry in self.keys.values_mut() {
            entry.value.take_if(|held| held.end <= now);
            if entry.depend_end <= now {
                entry.depend.clear();
            }
            // Removed by chance, and never seen afterwards: so in each state.
            entry.depend.retain(|_, registration| registration.end >= now);
            if entry.depend.is_empty() {
                entry.depend_end = 0;
            }
            entry.record.take_if(|record| record.kept < now);
        }
        self.keys.retain(|_, entry| *entry != Entry::default());
    }

    /// Carries out a step.
    pub(super) fn carry_out(&mut self, step: &Step, now: u64, manner: Manner) -> Answer {
        match step {
            Step::Look { key, fresh, intent } => {
                let sight = self.sight(*fresh, now, manner);
                let intents = &mut self.keys.entry(key.clone()).or_default().intents;
                intents.extend(*intent);
                Answer::Looked(sight)
            }
            Step::Register {
                name,
                member,
                stamp,
                life,
                watch,
            } => {
                let registration = Registration {
                    stamp: *stamp,
                    end: end_of(now, *life),
                };
                self.register(name, member, registration, *watch, now, manner)
            }
            Step::Cover { name, cover } => {
                self.cover(name, *cover, manner);
                Answer::Done
            }
            Step::Put(put) => self.put(put, now, manner),
            Step::Touch {
                key,
                ttl,
                cover,
                reads,
            } => self.touch(key, *ttl, *cover, *reads, now, manner),
            Step::Change { key, change } => self.change(key, change, now, manner),
            Step::Cancel { key, lease } => {
                let entry = self.keys.entry(key.clone()).or_default();
                if entry.record.as_ref().is_some_and(|record| record.mark == *lease) {
                    entry
                        .value
                        .take_if(|_| !manner.takes(Shortcut::CancelLeavesValue));
                }
                entry.lease.take_if(|held| held.0 == *lease);
                Answer::Done
            }
            Step::Take {
                key,
                lease,
                life,
                names,
                fresh,
                reads,
                keeps_names,
                ..
            } => {
                let lease = (*lease, end_of(now, *life), names.as_slice());
                let wants = (*reads, *keeps_names);
                self.take(key, lease, *fresh, wants, now, manner)
            }
            Step::End { key, lease, given } => {
                let entry = self.keys.entry(key.clone()).or_default();
                let ended = entry.lease.take_if(|held| held.0 == *lease);
                let lived = ended.is_some_and(|(_, end)| end > now);
                let watchers = match given {
                    Given::Tied => entry.watchers(manner),
                    Given::Free if !lived => entry.watchers(manner),
                    Given::Free | Given::Nothing => Vec::new(),
                };
                Answer::Ended { watchers }
            }
            Step::Mark {
                prefix, mark, life, ..
            } => {
                let under = |key: &CompactString| key.starts_with(prefix.as_str());
                let is_left = life.is_none() && manner.takes(Shortcut::UnmarkLeavesLeases);
                for (key, entry) in &mut self.keys {
                    let reads = entry.reads.iter().any(under) && !manner.takes(Shortcut::MarkOfKeysAlone);
                    entry.lease.take_if(|_| !is_left && (under(key) || reads));
                }
                let noted = match life {
                    Some(_) => self.clearings.insert(*mark, prefix.clone()),
                    None => self.clearings.remove(mark),
                };
                let noted = noted.is_some();
                Answer::Marked { noted }
            }
            Step::Unwatch { name, member, lease } => {
                let watch = &mut self.keys.entry(name.clone()).or_default().watch;
                if watch.get(member) == Some(lease) {
                    watch.remove(member);
                }
                Answer::Done
            }
            Step::Kill { key, stamp } => self.kill(key, *stamp, manner),
            Step::Scan { name, cursor, .. } => self.scan(name, *cursor, manner),
            Step::Forget { name, members, .. } => {
                self.forget(name, members, manner);
                Answer::Done
            }
        }
    }

    fn take(
        &mut self,
        key: &CompactString,
        (lease, ends, read): (Stamp, u64, &[CompactString]),
        fresh: Stamp,
        (reads, keeps_names): (bool, bool),
        now: u64,
        manner: Manner,
    ) -> Answer {
        let entry = self.keys.entry(key.clone()).or_default();
        let names = entry.record.as_ref().filter(|_| keeps_names);
        let names = names.map_or(Vec::new(), |record| record.names.clone());
        let present = entry.value.as_ref().map(|held| Present {
            value: held.value.clone(),
            left: match held.end {
                EVER => -1,
                end => i64::try_from(end - now).expect("a TTL"),
            },
        });
        match (present, entry.lease) {
            (Some(present), _) if reads => Answer::Found(present),
            (_, Some((lease, end))) if end > now => {
                let left = end - now;
                Answer::Held { lease, left }
            }
            (present, _) => {
                entry.lease = Some((lease, ends));
                entry.reads = read.iter().chain(&names).cloned().collect();
                let sight = self.sight(fresh, now, manner);
                Answer::Taken {
                    present,
                    sight,
                    names,
                }
            }
        }
    }

    fn sight(&mut self, fresh: Stamp, at: u64, manner: Manner) -> Sight {
        let stamp = if manner.takes(Shortcut::NoKillsLikeNoKills) {
            self.kills.unwrap_or(Stamp::new(0, 0))
        } else {
            *self.kills.get_or_insert(fresh)
        };
        Sight { stamp, at }
    }

    fn put(&mut self, put: &Put, now: u64, manner: Manner) -> Answer {
        let sight = put.tie.as_ref().map(|tie| self.sight(tie.record, now, manner));
        let entry = self.keys.entry(put.key.clone()).or_default();
        let is_kept = !matches!(put.condition, Condition::Kept(_)) || entry.value.is_some();
        if put.condition.lease().is_some()
            && is_kept
            && self.clearings.values().any(|prefix| is_under(put, prefix))
            && !manner.takes(Shortcut::PutWhileCleared)
        {
            let watchers = entry.watchers(manner);
            let put = PutAnswer::Unmet { watchers };
            return Answer::Put { put, sight };
        }
        let put = match put.tie.as_ref().zip(sight) {
            Some((tie, sight)) => entry.put_tied(put, tie, sight, manner),
            None => match entry.unmet(&put.condition, now, manner) {
                Some(unmet) => unmet,
                None => {
                    entry.record = None;
                    entry.write(put, now, manner)
                }
            },
        };
        Answer::Put { put, sight }
    }

    fn touch(
        &mut self,
        key: &CompactString,
        ttl: Life,
        cover: Option<Cover>,
        reads: bool,
        now: u64,
        manner: Manner,
    ) -> Answer {
        let entry = self.keys.entry(key.clone()).or_default();
        let Some(held) = &mut entry.value else {
            let (changed, value) = (false, None);
            return Answer::Touched { changed, value };
        };
        let end = end_of(now, ttl);
        if let Some(record) = &mut entry.record {
            let covers = cover.filter(|cover| cover.record == record.mark);
            let covered = covers
                .map_or(0, |cover| end_of(cover.at, cover.life))
                .max(record.covered);
            if covered < end && !manner.takes(Shortcut::TouchUnregistered) {
                let above = Above {
                    names: record.names.clone(),
                    record: record.mark,
                    at: now,
                };
                let needed = ttl;
                return Answer::Short { above, needed };
            }
            record.covered = covered;
            record.kept = record.kept.max(covered);
        }
        let changed = ttl != Life::Ever || held.end != EVER;
        held.end = end;
        let value = reads.then(|| held.value.clone());
        Answer::Touched { changed, value }
    }

    fn change(&mut self, key: &CompactString, act: &Act, now: u64, manner: Manner) -> Answer {
        let entry = self.keys.entry(key.clone()).or_default();
        let reply = match act {
            Act::Delete => Changed::Removed(entry.value.take().is_some()),
            Act::Take => Changed::Taken(entry.value.take().map(|held| held.value)),
            Act::DeleteIf(expected) => {
                if entry.value.as_ref().map(|held| &held.value) != Some(expected) {
                    let (reply, watchers) = (Changed::Removed(false), Vec::new());
                    return Answer::Changed { reply, watchers };
                }
                entry.value = None;
                Changed::Removed(true)
            }
            Act::Incr { by, ttl } => {
                let fresh = Held {
                    value: Value::from("0"),
                    end: end_of(now, *ttl),
                };
                if entry.value.is_none() {
                    entry.record = None;
                }
                let held = entry.value.get_or_insert(fresh);
                let sum = held.value.to_integer().expect("a counter") + by;
                held.value = Value::from(sum.to_string());
                Changed::Sum(sum)
            }
        };
        entry.lease = None;
        let watchers = entry.watchers(manner);
        Answer::Changed { reply, watchers }
    }

    fn kill(&mut self, key: &CompactString, stamp: Stamp, manner: Manner) -> Answer {
        self.kills = Some(stamp);
        let entry = self.keys.entry(key.clone()).or_default();
        let removed = entry.value.take().is_some();
        let below = !entry.depend.is_empty();
        if !manner.takes(Shortcut::KillLeavesIntents) {
            entry.intents.clear();
        }
        if !manner.takes(Shortcut::KillLeavesLease) {
            entry.lease = None;
        }
        if !below || manner.takes(Shortcut::KillDropsRecord) {
            entry.record = None;
        }
        Answer::Killed { removed, below }
    }
}
