//! What a slot of the model has of one key.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

use super::manner::{Manner, Shortcut};
use super::model::{EVER, end_of};
use crate::engines::redis::spread::protocol::answer::{PutAnswer, Sight};
use crate::engines::redis::spread::protocol::life::Life;
use crate::engines::redis::spread::protocol::stamp::Stamp;
use crate::engines::redis::spread::protocol::step::{Condition, Proof, Put, Tie, Watcher};
use crate::value::Value;

/// What a slot has of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) value: Option<Held>,
    pub(super) record: Option<Record>,
    pub(super) lease: Option<(Stamp, u64)>,
    /// What the load reads that has the lease.
    pub(super) reads: BTreeSet<CompactString>,
    pub(super) intents: BTreeSet<Stamp>,
    pub(super) watch: BTreeMap<CompactString, Stamp>,
    pub(super) depend: BTreeMap<CompactString, Registration>,
    /// Until when the registrations are kept as a whole.
    pub(super) depend_end: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) value: Value,
    pub(super) end: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) mark: Stamp,
    pub(super) covered: u64,
    pub(super) kept: u64,
    pub(super) names: Vec<CompactString>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Registration {
    pub(super) stamp: Stamp,
    pub(super) end: u64,
}

impl Entry {
    /// What a put answers if the condition does not hold.
    pub(super) fn unmet(&mut self, condition: &Condition, now: u64, manner: Manner) -> Option<PutAnswer> {
        let is_met = match condition {
            Condition::Always | Condition::Swap => true,
            Condition::Absent => self.value.is_none(),
            Condition::Present => self.value.is_some(),
            Condition::Holds(expected) => self.value.as_ref().map(|held| &held.value) == Some(expected),
            Condition::Kept(_) if self.value.is_none() => false,
            Condition::Leased(lease) | Condition::Kept(lease) => {
                if self.lease.is_none_or(|held| held.0 != *lease || held.1 <= now) {
                    let watchers = self.watchers(manner);
                    return Some(PutAnswer::Unmet { watchers });
                }
                true
            }
        };
        let watchers = Vec::new();
        (!is_met).then_some(PutAnswer::Unmet { watchers })
    }

    pub(super) fn put_tied(&mut self, put: &Put, tie: &Tie, sight: Sight, manner: Manner) -> PutAnswer {
        let now = sight.at;
        let is_sure = match tie.proof {
            Proof::Slot => sight.stamp == tie.seen.stamp,
            Proof::Intent(token) => self.intents.contains(&token),
            Proof::Lease => true,
        };
        if !is_sure && !manner.takes(Shortcut::PutWithoutCheck) {
            return PutAnswer::Refused;
        }
        if let Some(unmet) = self.unmet(&put.condition, now, manner) {
            return unmet;
        }
        let mut ends = end_of(now, put.ttl);
        if !manner.takes(Shortcut::NotShortForThoseBelow) {
            ends = ends.max(self.depend_end);
        }
        let from = if manner.takes(Shortcut::LifeFromPut) {
            now
        } else {
            tie.seen.at
        };
        let covered = end_of(from, tie.life);
        if covered < ends {
            return PutAnswer::Short(match ends {
                EVER => Life::Ever,
                ends => Life::Millis(ends - now),
            });
        }
        self.record = Some(Record {
            mark: tie.record,
            covered,
            kept: covered,
            names: tie.names.clone(),
        });
        if let Proof::Intent(token) = tie.proof {
            self.intents.remove(&token);
        }
        self.write(put, now, manner)
    }

    pub(super) fn write(&mut self, put: &Put, now: u64, manner: Manner) -> PutAnswer {
        let held = self.value.replace(Held {
            value: put.value.clone(),
            end: end_of(now, put.ttl),
        });
        let held = held
            .map(|held| held.value)
            .filter(|_| put.condition == Condition::Swap);
        self.lease = None;
        let watchers = match put.condition {
            Condition::Leased(_) | Condition::Kept(_) => Vec::new(),
            _ => self.watchers(manner),
        };
        PutAnswer::Written { held, watchers }
    }

    pub(super) fn watchers(&mut self, manner: Manner) -> Vec<Watcher> {
        let watcher = |(key, lease): (&CompactString, &Stamp)| Watcher {
            key: key.clone(),
            lease: *lease,
        };
        let watchers = self.watch.iter().map(watcher).collect();
        if manner.takes(Shortcut::ChangeTakesWatchers) {
            self.watch.clear();
        }
        watchers
    }
}
