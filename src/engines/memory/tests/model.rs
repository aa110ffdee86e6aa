//! A table so simple that it is right: sets of small numbers, and every question answered by looking
//! at everything.

use std::time::Duration;

use super::super::expiry::Moment;
use super::Keys;
use crate::key::Key;
use crate::ttl::{Ttl, whole_millis};
use crate::value::Value;
use crate::weigher;

/// How many keys there are. Few keys meet often: most faults of a graph show with five to eight.
pub(super) const KEYS: usize = 9;

/// A set of keys, by number.
pub(super) type Set = u16;

pub(super) const fn only(key: usize) -> Set {
    1 << key
}

pub(super) fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..KEYS).filter(move |key| set & only(*key) != 0)
}

/// The keys: some inline and some on the heap, half of them with either prefix.
pub(super) struct Universe {
    keys: Vec<Key>,
}

impl Universe {
    pub(super) const PREFIXES: [&str; 3] = ["a:", "b:", ""];

    pub(super) fn new() -> Self {
        let keys = Keys::new();
        let text = |n: usize| {
            let prefix = Self::PREFIXES[n % 2];
            let tail = if n.is_multiple_of(3) {
                ":a-key-that-is-too-long-to-be-kept-inline"
            } else {
                ""
            };
            format!("{prefix}{n}{tail}")
        };
        Self {
            keys: (0..KEYS).map(|n| keys.key(text(n))).collect(),
        }
    }

    pub(super) fn key(&self, number: usize) -> &Key {
        &self.keys[number]
    }

    pub(super) fn keys(&self, set: Set) -> Vec<Key> {
        members(set).map(|key| self.keys[key].clone()).collect()
    }

    pub(super) fn with_prefix(&self, prefix: &str) -> Set {
        (0..KEYS)
            .filter(|key| self.keys[*key].as_str().starts_with(prefix))
            .map(only)
            .sum()
    }
}

#[derive(Clone, Default)]
struct Held {
    value: Value,
    due: Option<Moment>,
}

/// What the counters of removals must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Removals {
    pub(super) deletes: u64,
    pub(super) expired: u64,
    pub(super) invalidated: u64,
}

/// The entries held, expired ones included, and what each key was derived from when it was last
/// written. That outlives the entry as long as something held was derived through it.
#[derive(Clone, Default)]
pub(super) struct Model {
    held: Set,
    entries: [Held; KEYS],
    derived_from: [Set; KEYS],
    pub(super) removals: Removals,
}

impl Model {
    /// All entries held, expired or not.
    pub(super) fn held(&self) -> Set {
        self.held
    }

    pub(super) fn alive(&self, now: Moment) -> Set {
        members(self.held)
            .filter(|key| self.is_due_after(*key, now))
            .map(only)
            .sum()
    }

    /// The names that each key was derived from, keys that are gone included.
    pub(super) fn graph(&self) -> [Set; KEYS] {
        self.derived_from
    }

    fn is_due_after(&self, key: usize, now: Moment) -> bool {
        self.entries[key].due.is_none_or(|due| due > now)
    }

    pub(super) fn get(&self, key: usize, now: Moment) -> Option<&Value> {
        (self.alive(now) & only(key) != 0).then(|| &self.entries[key].value)
    }

    pub(super) fn ttl(&self, key: usize, now: Moment) -> Option<Ttl> {
        self.get(key, now)?;
        Some(match self.entries[key].due {
            None => Ttl::Persistent,
            Some(due) => Ttl::Remaining(whole_millis(due.left(now))),
        })
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        members(self.held).filter_map(|key| self.entries[key].due).min()
    }

    pub(super) fn write(&mut self, key: usize, value: Value, ttl: Option<Duration>, names: Set, now: Moment) {
        // What has expired is gone before something new depends on it.
        self.reclaim(names & self.held & !self.alive(now));
        self.held |= only(key);
        self.entries[key] = Held {
            value,
            due: ttl.map(|ttl| now.after(ttl)),
        };
        self.derived_from[key] = names;
        self.forget_tombstones();
    }

    pub(super) fn rewrite(&mut self, key: usize, value: Value, now: Moment) -> bool {
        let found = self.get(key, now).is_some();
        if found {
            self.entries[key].value = value;
        }
        found
    }

    pub(super) fn expire(&mut self, key: usize, ttl: Option<Duration>, now: Moment) -> bool {
        let found = self.get(key, now).is_some();
        if found {
            self.entries[key].due = ttl.map(|ttl| now.after(ttl));
        }
        found
    }

    pub(super) fn delete(&mut self, key: usize, now: Moment) -> Option<Value> {
        let value = self.get(key, now).cloned()?;
        self.removals.deletes += 1;
        self.remove(only(key));
        Some(value)
    }

    /// The table has reclaimed these.
    pub(super) fn reclaim(&mut self, these: Set) {
        self.removals.expired += u64::from(these.count_ones());
        self.remove(these);
    }

    pub(super) fn clear(&mut self, these: Set, now: Moment) -> u64 {
        let gone = self.held & these;
        let alive = u64::from((gone & self.alive(now)).count_ones());
        self.removals.deletes += alive;
        self.removals.expired += u64::from(gone.count_ones()) - alive;
        self.remove(gone);
        alive
    }

    pub(super) fn invalidate(&mut self, names: Set, now: Moment) -> u64 {
        let invalidated = closure(names, &self.derived_from);
        let gone = self.held & invalidated;
        let alive = u64::from((gone & self.alive(now)).count_ones());
        self.removals.invalidated += alive;
        self.removals.expired += u64::from(gone.count_ones()) - alive;
        self.held &= !gone;
        for key in members(invalidated) {
            self.derived_from[key] = 0;
        }
        self.forget_tombstones();
        alive
    }

    /// Takes entries away. What was derived through them still is.
    pub(super) fn remove(&mut self, gone: Set) {
        self.held &= !gone;
        self.forget_tombstones();
    }

    /// Keys that are gone matter only while something held was derived through them.
    fn forget_tombstones(&mut self) {
        let mut reached: Set = members(self.held).fold(0, |set, key| set | self.derived_from[key]);
        loop {
            let further = members(reached).fold(reached, |set, key| set | self.derived_from[key]);
            if further == reached {
                break;
            }
            reached = further;
        }
        for key in members(!(self.held | reached)) {
            self.derived_from[key] = 0;
        }
    }

    /// The bytes that entries, names and edges must be counted with.
    pub(super) fn bytes(&self, universe: &Universe) -> usize {
        let entries: usize = members(self.held)
            .map(|key| {
                let Held { value, due } = &self.entries[key];
                let deadline = if due.is_some() { weigher::DEADLINE } else { 0 };
                weigher::ENTRY + weigher::payload(universe.key(key), value.len()) + deadline
            })
            .sum();
        let edges: u32 = self.derived_from.iter().map(|names| names.count_ones()).sum();
        let named = self.derived_from.iter().fold(0, |set, names| set | names);
        let names: usize = members(named)
            .map(|name| weigher::NAME + weigher::block(universe.key(name).heap_bytes()))
            .sum();
        entries + names + edges as usize * weigher::EDGE
    }
}

/// `names`, and all that was derived from them directly or through others.
pub(super) fn closure(names: Set, derived_from: &[Set; KEYS]) -> Set {
    let mut reached = names;
    loop {
        let further: Set = (0..KEYS)
            .filter(|key| derived_from[*key] & reached != 0)
            .map(only)
            .sum();
        if further | reached == reached {
            return reached;
        }
        reached |= further;
    }
}
