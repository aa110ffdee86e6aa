//! What a slot of the model keeps under a name: its registrations.

use compact_str::CompactString;

use super::{Slot, end_of};
use crate::engines::redis::spread::protocol::answer::{Above, Answer};
use crate::engines::redis::spread::protocol::stamp::Stamp;
use crate::engines::redis::spread::protocol::step::{Cover, Member, Watch};
use crate::engines::redis::spread::protocol::tests::entry::{Record, Registration};
use crate::engines::redis::spread::protocol::tests::manner::{Manner, Shortcut};

/// Twice the middle of the places of `a` to `z`.
const BACK: u64 = 221;

impl Slot {
    pub(super) fn register(
        &mut self,
        name: &CompactString,
        member: &CompactString,
        mut registration: Registration,
        watch: Option<Watch>,
        now: u64,
        manner: Manner,
    ) -> Answer {
        let entry = self.keys.entry(name.clone()).or_default();
        let held = entry.depend.get(member);
        if let Some(held) = held {
            registration.end = registration.end.max(held.end);
        }
        if manner.takes(Shortcut::CountedStamps) {
            // The number of a stamp is its last part.
            let count = held.map_or(0, |held| held.stamp.number());
            registration.stamp = Stamp::new(0, count + 1);
        }
        let end = registration.end;
        entry.depend_end = entry.depend_end.max(end);
        entry.depend.insert(member.clone(), registration);
        if let Some(watch) = watch {
            entry.watch.insert(member.clone(), watch.lease);
        }
        let above = entry
            .record
            .as_mut()
            .filter(|record| record.covered < end)
            .map(|record| {
                record.kept = record.kept.max(end);
                Above {
                    names: record.names.clone(),
                    record: record.mark,
                    at: now,
                }
            });
        Answer::Registered {
            above: above.filter(|_| !manner.takes(Shortcut::NoCover)),
        }
    }

    pub(super) fn cover(&mut self, name: &CompactString, cover: Cover, manner: Manner) {
        let entry = self.keys.entry(name.clone()).or_default();
        let same =
            |record: &&mut Record| record.mark == cover.record || manner.takes(Shortcut::CoverAnyRecord);
        if let Some(record) = entry.record.as_mut().filter(same) {
            record.covered = record.covered.max(end_of(cover.at, cover.life));
            record.kept = record.kept.max(record.covered);
        }
    }

    pub(super) fn forget(&mut self, name: &CompactString, members: &[Member], manner: Manner) {
        let entry = self.keys.entry(name.clone()).or_default();
        for member in members {
            let same = |held: &Registration| {
                held.stamp == member.stamp || manner.takes(Shortcut::ForgetWithoutStamp)
            };
            if entry.depend.get(&member.key).is_some_and(same) {
                entry.depend.remove(&member.key);
            }
        }
    }

    pub(super) fn scan(&self, name: &CompactString, cursor: u64, manner: Manner) -> Answer {
        // A cursor is the place of a member in an order that deletions do not change.
        let place = |key: &str| 1 + u64::from(key.bytes().next().unwrap_or(0));
        let place = |key: &str| {
            if manner.backwards {
                BACK - place(key)
            } else {
                place(key)
            }
        };
        let mut members: Vec<Member> = Vec::new();
        if let Some(entry) = self.keys.get(name) {
            let member = |(key, held): (&CompactString, &Registration)| Member {
                key: key.clone(),
                stamp: held.stamp,
            };
            members.extend(entry.depend.iter().map(member));
        }
        members.retain(|member| place(&member.key) > cursor);
        members.sort_by_key(|member| place(&member.key));
        let is_last = members.len() <= manner.page;
        members.truncate(manner.page);
        let last = members.last().filter(|_| !is_last);
        let cursor = last.map_or(0, |member| place(&member.key));
        Answer::Page { members, cursor }
    }
}
