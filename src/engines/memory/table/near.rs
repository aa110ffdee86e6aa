//! What the table lets readers find in the near cache, and what it takes back before it changes it.

use super::super::expiry::Moment;
use super::super::held::Held;
use super::super::slab::Slot;
use super::Table;
use crate::key::Key;
use crate::value::Value;

/// How many entries of the near cache one read considers for removal. More would make reads of rarely used entries
/// pay for each other.
const STEPS: usize = 2;

impl Table {
    /// Reads a value and counts the use. An entry that was read before is published in the near cache.
    pub(crate) fn get_and_publish(&mut self, key: &Key, now: Moment) -> Option<Value> {
        let slot = self.find(key, now);
        let value = self.read(slot);
        self.publish_read(slot);
        value
    }

    /// Publishes entries that have just been read, where that was not the first time.
    ///
    /// A later write of the same key may wait in the request queue already. It has closed its gate, so nobody finds
    /// this value before that write is served, which takes it back.
    pub(super) fn publish_read(&mut self, slots: impl IntoIterator<Item = Slot>) {
        if self.near.is_none() {
            return;
        }
        for slot in slots {
            self.publish(slot);
        }
        self.make_room();
    }

    fn publish(&mut self, slot: Slot) {
        let entry = &self.entries[slot];
        let Held::Alone(value) = &entry.held else { return };
        if !entry.node.is_used_again() {
            return;
        }
        let (key, value, due) = (entry.key.clone(), value.clone(), entry.due);
        if !self.has_room_near(&key, &value) {
            return;
        }
        let due = (due != Moment::NEVER).then(|| due.as_duration());
        self.mutate(|table| {
            if let Some(near) = &mut table.near {
                table.entries[slot].held = Held::Near(near.publish(key, value, due));
            }
        });
    }

    /// Makes room for one more entry in the near cache, if what is next in turn has not been used.
    fn has_room_near(&mut self, key: &Key, value: &Value) -> bool {
        for _ in 0..STEPS {
            let Some(near) = &mut self.near else { return false };
            if !near.takes(key, value) {
                return false;
            }
            if near.has_room_for(key, value) {
                return true;
            }
            let Some(next) = near.next_in_turn() else {
                return false;
            };
            if let Some(slot) = self.locate(next.key())
                && !self.policy.catch_up(&mut self.entries, slot)
            {
                self.retract(slot);
            }
        }
        self.near
            .as_ref()
            .is_some_and(|near| near.has_room_for(key, value))
    }

    /// Takes an entry back from the near cache: before every change of it, so that no reader finds what was there
    /// once the change is acknowledged.
    pub(super) fn retract(&mut self, slot: Slot) {
        let Some(shared) = self.entries[slot].held.near().cloned() else {
            return;
        };
        self.mutate(|table| {
            if let Some(near) = &mut table.near {
                near.retract(&shared);
            }
            table.policy.catch_up(&mut table.entries, slot);
            table.entries[slot].held = Held::Alone(shared.value().clone());
        });
    }

    /// Lets the policy know how many reads the near cache has answered.
    pub(super) fn count_near_hits(&mut self) {
        if let Some(near) = &mut self.near {
            self.policy.count_uses(near.new_hits());
        }
    }

    /// Closes the near cache: readers ask the engine.
    pub(crate) fn close_near(&self) {
        if let Some(near) = &self.near {
            near.close();
        }
    }
}
