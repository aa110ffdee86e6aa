//! Removals that the server has not confirmed, because the connection was down or was lost under them. Pure.
//!
//! Their number and the bytes of their keys are bounded, and each key is kept once. On overflow, all removals of one
//! namespace become a clearing of that namespace.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use compact_str::CompactString;

use crate::engine::RemovalLimits;
use crate::key::{Key, Namespace, Within};
use crate::prehashed::Map;

/// The most keys of one step of a replay.
const CHUNK: usize = 512;
/// The most namespaces that are to be cleared. Beyond that, the whole store is: one walk takes so many.
const NAMESPACES: usize = 256;
/// What a key costs beside its heap bytes: its place in a map that may be half empty.
const COST: usize = 2 * (size_of::<Key>() + 16);

/// What a call was to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removal {
    /// The entries of these keys, of one namespace.
    Entries(Vec<Key>, Within),
    /// The entries of these names, of one namespace, and all that depends on them.
    Dependents(Vec<Key>, Within),
    /// All entries whose keys begin with one of these.
    Prefixes(Vec<String>),
}

/// One step of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chunk {
    Entries(Vec<(Key, Within)>),
    Dependents(Vec<(Key, Within)>),
    Prefixes(Vec<String>),
}

/// The removals of one store, in all its namespaces.
#[derive(Debug)]
pub(super) struct Removals {
    limits: RemovalLimits,
    /// What all keys of the store begin with.
    everything: Vec<String>,
    keys: Map<Key, Kept>,
    /// How much of `keys` each namespace has.
    shares: HashMap<CompactString, Share>,
    /// What the keys to clear begin with. None of them covers another.
    prefixes: Vec<String>,
    bytes: usize,
    /// Taken out of `keys`, to be replayed.
    round: Vec<(Key, Kept)>,
    /// What is being replayed.
    under_way: Option<Chunk>,
    /// The most keys of the next step: fewer after one that the server refused.
    most: usize,
    /// Prefixes that are to be cleared because there was no room.
    overflown: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    within: Within,
    /// What depends on the key is removed too.
    dependents: bool,
}

#[derive(Debug, Default)]
struct Share {
    keys: usize,
    bytes: usize,
}

fn cost(key: &Key) -> usize {
    COST + key.heap_bytes()
}

impl Removals {
    /// For a store that was opened in `namespace`.
    pub(super) fn new(limits: RemovalLimits, namespace: &Namespace) -> Self {
        let everything = match namespace.path() {
            "" => vec![namespace.prefix().to_owned()],
            // Its own keys, and those of the namespaces inside it.
            path => vec![
                namespace.prefix().to_owned(),
                format!("{}{path}/", namespace.root_prefix()),
            ],
        };
        Self {
            limits,
            everything,
            keys: Map::default(),
            shares: HashMap::new(),
            prefixes: Vec::new(),
            bytes: 0,
            round: Vec::new(),
            under_way: None,
            most: CHUNK,
            overflown: Vec::new(),
        }
    }

    /// Whether removals are kept at all.
    pub(super) fn are_kept(&self) -> bool {
        self.limits.keys > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys, names and prefixes there are.
    pub(super) fn len(&self) -> usize {
        let under_way = match &self.under_way {
            Some(Chunk::Entries(keys) | Chunk::Dependents(keys)) => keys.len(),
            Some(Chunk::Prefixes(prefixes)) => prefixes.len(),
            None => 0,
        };
        self.keys.len() + self.round.len() + self.prefixes.len() + under_way
    }

    /// The prefixes that are to be cleared, since this was last called, because there was no room.
    pub(super) fn take_overflown(&mut self) -> Vec<String> {
        std::mem::take(&mut self.overflown)
    }

    /// Keeps a removal.
    pub(super) fn add(&mut self, removal: Removal) {
        if !self.are_kept() {
            return;
        }
        let (keys, within, dependents) = match removal {
            Removal::Entries(keys, within) => (keys, within, false),
            Removal::Dependents(names, within) => (names, within, true),
            Removal::Prefixes(prefixes) => {
                return prefixes.into_iter().for_each(|prefix| self.clear(prefix));
            }
        };
        for key in keys {
            self.keep(key, Kept { within, dependents });
        }
    }

    fn keep(&mut self, key: Key, kept: Kept) {
        if self.is_covered(&key, kept) {
            return;
        }
        if let Some(known) = self.keys.get_mut(&key) {
            known.dependents |= kept.dependents;
            return;
        }
        let bytes = cost(&key);
        let share = self.shares.entry(key.namespace(kept.within).into()).or_default();
        share.keys += 1;
        share.bytes += bytes;
        self.bytes += bytes;
        self.keys.insert(key, kept);
        self.make_room();
    }

    /// Whether the key goes with a clearing. What depends on it goes too only if everything is cleared.
    fn is_covered(&self, key: &Key, kept: Kept) -> bool {
        let everything = self.prefixes == self.everything;
        let begins = |prefix: &String| key.as_str().starts_with(prefix.as_str());
        everything || (!kept.dependents && self.prefixes.iter().any(begins))
    }

    /// Clears the namespace that takes the most, if there is too much.
    fn make_room(&mut self) {
        let over_bytes = self.bytes > self.limits.bytes;
        if self.len() - self.prefixes() <= self.limits.keys && !over_bytes {
            return;
        }
        let takes = |share: &Share| if over_bytes { share.bytes } else { share.keys };
        let Some((prefix, _)) = self.shares.iter().max_by_key(|(_, share)| takes(share)) else {
            return;
        };
        let prefix = prefix.to_string();
        self.drop_keys(|key, kept| key.namespace(kept.within) == prefix);
        self.overflown.push(prefix.clone());
        self.clear(prefix);
    }

    /// How many prefixes there are.
    fn prefixes(&self) -> usize {
        let under_way = match &self.under_way {
            Some(Chunk::Prefixes(prefixes)) => prefixes.len(),
            _ => 0,
        };
        self.prefixes.len() + under_way
    }

    /// Adds what keys to clear begin with.
    fn clear(&mut self, prefix: String) {
        if self.prefixes == self.everything || self.prefixes.iter().any(|known| prefix.starts_with(known)) {
            return;
        }
        self.prefixes.retain(|known| !known.starts_with(&prefix));
        self.prefixes.push(prefix);
        if self.prefixes.len() > NAMESPACES || self.everything.iter().all(|all| self.prefixes.contains(all)) {
            self.prefixes.clone_from(&self.everything);
        }
        let (prefixes, all) = (self.prefixes.clone(), self.prefixes == self.everything);
        self.drop_keys(|key, kept| {
            all || !kept.dependents && prefixes.iter().any(|prefix| key.as_str().starts_with(prefix))
        });
    }

    fn drop_keys(&mut self, goes: impl Fn(&Key, Kept) -> bool) {
        let (shares, bytes) = (&mut self.shares, &mut self.bytes);
        self.keys.retain(|key, kept| {
            let goes = goes(key, *kept);
            if goes {
                *bytes -= take_share(shares, key, *kept);
            }
            !goes
        });
    }

    /// The next step of a replay, until [`end_step`](Self::end_step) tells how it went. `None` if nothing is left.
    pub(super) fn begin_step(&mut self) -> Option<Chunk> {
        if self.round.is_empty() {
            self.round = std::mem::take(&mut self.keys).into_iter().collect();
            self.shares = HashMap::new();
            // The chunks are taken from the end, and those of one kind are neighbours.
            self.round.sort_unstable_by_key(|(_, kept)| kept.dependents);
        }
        self.under_way = match self.round.last() {
            Some((_, last)) => {
                let dependents = last.dependents;
                let same = self.round.iter().rev().take(self.most);
                let count = same.take_while(|(_, kept)| kept.dependents == dependents).count();
                let chunk = self.round.drain(self.round.len() - count..);
                let keys = chunk.map(|(key, kept)| (key, kept.within)).collect();
                Some(if dependents {
                    Chunk::Dependents(keys)
                } else {
                    Chunk::Entries(keys)
                })
            }
            None if self.prefixes.is_empty() => None,
            None => Some(Chunk::Prefixes(std::mem::take(&mut self.prefixes))),
        };
        self.under_way.clone()
    }

    /// The server refuses the step for good. One of its keys may be the reason, so the next steps have half as many. Returns how
    /// many removals are dropped: those of a step that cannot be divided.
    pub(super) fn refuse_step(&mut self) -> usize {
        let (keys, dependents) = match self.under_way.take() {
            Some(Chunk::Entries(keys)) if keys.len() > 1 => (keys, false),
            Some(Chunk::Dependents(keys)) if keys.len() > 1 => (keys, true),
            undivided => {
                self.under_way = undivided;
                return self.end_step(true);
            }
        };
        self.most = keys.len() / 2;
        let kept = |(key, within)| (key, Kept { within, dependents });
        self.round.extend(keys.into_iter().map(kept));
        0
    }

    /// The step has ended. If it was not `done`, all that is left is kept for another replay. Returns how many removals
    /// it was.
    pub(super) fn end_step(&mut self, done: bool) -> usize {
        let before = self.len();
        let ended = self.under_way.take();
        let (keys, prefixes, dependents) = match ended {
            Some(Chunk::Entries(keys)) => (keys, Vec::new(), false),
            Some(Chunk::Dependents(keys)) => (keys, Vec::new(), true),
            Some(Chunk::Prefixes(prefixes)) => (Vec::new(), prefixes, false),
            None => return 0,
        };
        let count = before - self.len();
        if self.round.is_empty() {
            // It may have had room for very many.
            self.round = Vec::new();
        }
        self.bytes -= keys.iter().map(|(key, _)| cost(key)).sum::<usize>();
        if done {
            self.most = CHUNK.min(2 * self.most);
            return count;
        }
        let kept = |(key, within)| (key, Kept { within, dependents });
        let rest = std::mem::take(&mut self.round);
        self.bytes -= rest.iter().map(|(key, _)| cost(key)).sum::<usize>();
        prefixes.into_iter().for_each(|prefix| self.clear(prefix));
        for (key, kept) in rest.into_iter().chain(keys.into_iter().map(kept)) {
            self.keep(key, kept);
        }
        count
    }
}

/// Takes a key out of the share of its namespace. Returns its bytes.
fn take_share(shares: &mut HashMap<CompactString, Share>, key: &Key, kept: Kept) -> usize {
    let bytes = cost(key);
    let namespace = key.namespace(kept.within);
    if let Some(share) = shares.get_mut(namespace) {
        share.keys -= 1;
        share.bytes -= bytes;
        if share.keys == 0 {
            shares.remove(namespace);
        }
    }
    bytes
}
