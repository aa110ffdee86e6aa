//! Time that passes, and nodes that fail.

use super::super::case::{Case, Failover, place};
use super::super::model::Slot;
use super::{User, World};

impl World {
    pub(super) fn tick(&mut self, case: &Case) {
        self.ticks += 1;
        self.now += u64::try_from(case.tick.as_millis()).unwrap();
        let before = self.values();
        for node in &mut self.nodes {
            node.slots.values_mut().for_each(|slot| slot.expire(self.now));
            node.replica.values_mut().for_each(|slot| slot.expire(self.now));
        }
        let after = self.values();
        before
            .difference(&after)
            .for_each(|(key, _)| self.ghost.gone(key));
    }

    pub(super) fn fail_over(&mut self, failover: Failover, case: &Case) {
        let (Failover::Clean(at) | Failover::Stale(at) | Failover::Empty(at)) = failover;
        let before = self.values();
        let node = &mut self.nodes[at];
        node.epoch += 1;
        let lost = match failover {
            Failover::Clean(_) => return,
            Failover::Stale(_) => std::mem::replace(&mut node.slots, node.replica.clone()),
            Failover::Empty(_) => {
                let slots = node.slots.keys().map(|slot| (*slot, Slot::default())).collect();
                std::mem::replace(&mut node.slots, slots)
            }
        };
        for (name, entry) in lost.values().flat_map(|slot| &slot.keys) {
            for (member, registration) in &entry.depend {
                let (node, slot) = place(name, case);
                let entry = self.nodes[node].slots[&slot].keys.get(name);
                let kept = entry.and_then(|entry| entry.depend.get(member));
                // With an older registration, what was written since may be forgotten.
                if kept != Some(registration) {
                    self.ghost.lost(name, member);
                }
            }
        }
        let after = self.values();
        before
            .difference(&after)
            .for_each(|(key, _)| self.ghost.gone(key));
        // A kill was lost.
        for value in after.difference(&before) {
            self.ghost.excused(&value.0);
            self.banned.remove(value);
        }
        for at in 0..self.actors.len() {
            if let User::Invalidation(_, root) = &self.actors[at].user {
                let expected = self.doomed(&root.clone());
                self.actors[at].doomed.retain(|value| expected.contains(value));
            }
        }
    }
}
