//! The values on all nodes, and which of them an invalidation has to remove.

use std::collections::BTreeSet;

use compact_str::CompactString;

use super::super::actor::Actor;
use super::super::case::Case;
use super::super::clear::Clear;
use super::{Load, Next, Step, World};
use crate::engines::redis::spread::protocol::Machine;
use crate::engines::redis::spread::protocol::invalidation::Invalidation;
use crate::engines::redis::spread::protocol::stamp::Stamps;
use crate::value::Value;

impl World {
    /// All values.
    pub(super) fn values(&self) -> BTreeSet<(CompactString, Vec<u8>)> {
        let slots = self.nodes.iter().flat_map(|node| node.slots.values());
        let entries = slots.flat_map(|slot| &slot.keys);
        let value = |value: &Value| value.as_bytes().to_vec();
        let held =
            entries.filter_map(|(key, entry)| Some((key.clone(), value(&entry.value.as_ref()?.value))));
        held.collect()
    }

    /// The values that depend on a name.
    pub(super) fn doomed(&self, root: &CompactString) -> BTreeSet<(CompactString, Vec<u8>)> {
        let below = self.ghost.below(root);
        let mut values = self.values();
        values.retain(|(key, _)| below.contains(key));
        for (at, actor) in self.actors.iter().enumerate() {
            let load = actor.load();
            let is_below = |load: &&Load| below.contains(&loader(at)) || below.contains(&load.content.key);
            values.extend(load.filter(is_below).map(written));
        }
        values
    }

    /// The values that a clearing removes, and those of loads that read them.
    pub(super) fn cleared(&self, clear: &Clear) -> BTreeSet<(CompactString, Vec<u8>)> {
        let mut values = self.values();
        values.retain(|(key, _)| clear.is_of(key));
        let loads = self.actors.iter().filter_map(Actor::load);
        let reads = |load: &Load| load.content.names.iter().any(|name| clear.is_of(name));
        let ended = loads.filter(|load| clear.is_of(&load.content.key) || reads(load));
        values.extend(ended.map(written));
        values
    }

    /// Whether an invalidation that is alone now finds all that it has to.
    pub(in super::super) fn check(&self, case: &Case) -> Result<(), String> {
        if let Some((key, _)) = self.banned.intersection(&self.values()).next() {
            return Err(format!("{key} has a value that was too old to be stored"));
        }
        for root in &case.roots {
            let root = CompactString::from(*root);
            let mut doomed = self.doomed(&root);
            // Loads go on, or not.
            doomed.retain(|value| self.values().contains(value));
            if doomed.is_empty() {
                continue;
            }
            let mut world = self.clone();
            let mut alone = Invalidation::new(vec![root.clone()], Stamps::new(u64::MAX));
            let mut next = alone.start(world.client_now());
            let mut steps = Vec::new();
            while let Next::Steps(more) = next {
                steps.extend(more);
                let step: Step = steps.remove(0);
                let answered = world.send(&step, case);
                next = alone.advance(world.client_now(), &step, answered);
            }
            if let Some((key, _)) = doomed.intersection(&world.values()).next() {
                return Err(format!("an invalidation of {root} does not find {key}"));
            }
        }
        Ok(())
    }
}

/// What stands for the value of a load that is not stored.
pub(super) fn loader(actor: usize) -> CompactString {
    CompactString::from(format!("the load of {actor}"))
}

pub(super) fn written(load: &Load) -> (CompactString, Vec<u8>) {
    (load.content.key.clone(), load.content.value.as_bytes().to_vec())
}
