//! Invalidations and clearings with other requests between their steps, as the engine serves them.
//!
//! Which of two that overlap comes first is open, so there are two bounds. What an invalidation must
//! reach when nothing that was written meanwhile is followed has to go; what it cannot reach even if
//! everything that was written meanwhile is followed has to stay.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::dependency::NameId;
use super::super::expiry::Moment;
use super::super::sweep::Sweep;
use super::super::table::Table;
use super::model::{KEYS, Model, Set, Universe, closure, members, only};
use super::table::{Pair, Step};
use super::{Keys, Lcg};
use crate::key::Key;

/// An invalidation as [`Sweep`] carries it out, one removal a step, and what it must and may remove.
struct Invalidation {
    names: Vec<Key>,
    invalidated: Vec<NameId>,
    removed: u64,
    /// Entries that must go, unless they are written anew.
    doomed: Set,
    /// The names given, and the graph with all that was written since.
    given: Set,
    graph: [Set; KEYS],
}

impl Invalidation {
    fn new(pair: &Pair, given: Set) -> Self {
        let graph = pair.model.graph();
        Self {
            names: pair.universe.keys(given),
            invalidated: Vec::new(),
            removed: 0,
            doomed: closure(given, &graph),
            given,
            graph,
        }
    }

    /// One removal: whether this was the last.
    fn step(&mut self, table: &mut Table, now: Moment) -> bool {
        let outcome = if let Some(name) = self.invalidated.last() {
            table.drain(*name, now)
        } else if let Some(key) = self.names.pop() {
            Some(table.invalidate(&key, now))
        } else {
            return true;
        };
        match outcome {
            Some((alive, name)) => {
                self.removed += u64::from(alive);
                self.invalidated.extend(name);
            }
            None => drop(self.invalidated.pop()),
        }
        false
    }

    /// An entry was written: what was reached only through what it was before may now stay.
    fn note(&mut self, key: usize, names: Set, before: &[Set; KEYS]) {
        self.graph[key] |= names;
        let mut certain = *before;
        certain[key] = 0;
        self.doomed &= closure(self.given, &certain);
        self.doomed &= !only(key);
    }
}

/// A clearing of all keys with a prefix, one slot a step.
struct Clearing {
    prefix: &'static str,
    era: u32,
    cursor: Option<u32>,
    doomed: Set,
}

impl Clearing {
    fn new(pair: &mut Pair, prefix: &'static str) -> Self {
        let doomed = pair.model.held() & pair.universe.with_prefix(prefix);
        Self {
            prefix,
            era: pair.table.begin_era(""),
            cursor: Some(0),
            doomed,
        }
    }

    fn step(&mut self, table: &mut Table, now: Moment) -> bool {
        let Some(cursor) = self.cursor else { return true };
        (_, self.cursor) = table.clear(self.prefix, self.era, cursor, 1, now);
        self.cursor.is_none()
    }
}

/// Runs two invalidations, one after the other, and a clearing at once, with writes and deletions in
/// between.
fn overlap(pair: &mut Pair, draw: &mut Lcg) {
    let mut clearing = (draw.below(3) == 0).then(|| Clearing::new(pair, Universe::PREFIXES[0]));
    let mut sweeps: VecDeque<Invalidation> = VecDeque::new();
    for _ in 0..2 {
        let given = only(draw.below(KEYS as u64) as usize) | only(draw.below(KEYS as u64) as usize);
        sweeps.push_back(Invalidation::new(pair, given));
    }
    // What each key is known to be derived from, now that nobody knows which tombstones are left.
    let mut certain = pair.model.graph();
    let mut written: Set = 0;
    let mut deleted: Set = 0;
    let before = pair.model.held();
    let mut finished = 0;
    while !sweeps.is_empty() || clearing.is_some() {
        let now = pair.now();
        pair.table.begin_turn_of(draw.below(6) as usize);
        if draw.below(4) == 0 {
            pair.table.tidy();
        }
        match draw.below(6) {
            0 => {
                let Step::Write { key, names, .. } = random_write(draw) else {
                    continue;
                };
                let depends_on = pair.universe.keys(names).into();
                let value = pair.value(1);
                let key_text = pair.universe.key(key).clone();
                pair.table.write(
                    crate::request::Write {
                        key: key_text,
                        value,
                        ttl: None,
                        depends_on,
                    },
                    now,
                );
                sweeps
                    .iter_mut()
                    .for_each(|sweep| sweep.note(key, names, &certain));
                certain[key] = 0;
                written |= only(key);
                deleted &= !only(key);
                if let Some(clearing) = &mut clearing {
                    clearing.doomed &= !only(key);
                }
            }
            1 => {
                let key = draw.below(KEYS as u64) as usize;
                if pair.table.delete(pair.universe.key(key), now).is_some() {
                    deleted |= only(key);
                }
            }
            2 => {
                let key = draw.below(KEYS as u64) as usize;
                pair.table
                    .expire(pair.universe.key(key), Some(Duration::from_secs(1_000_000)), now);
            }
            3 if clearing.is_some() => {
                let done = clearing
                    .as_mut()
                    .is_some_and(|clearing| clearing.step(&mut pair.table, now));
                if done && let Some(Clearing { doomed, .. }) = clearing.take() {
                    let left = found(pair, now) & doomed & !written;
                    assert_eq!(left, 0, "a clearing removes what was there before it");
                }
            }
            _ => {
                let Some(mut sweep) = sweeps.pop_front() else {
                    continue;
                };
                if !sweep.step(&mut pair.table, now) {
                    sweeps.push_front(sweep);
                    continue;
                }
                let left = found(pair, now) & sweep.doomed & !written;
                assert_eq!(
                    left, 0,
                    "an invalidation of {:b} is never too little",
                    sweep.given
                );
                finished |= closure(sweep.given, &sweep.graph);
            }
        }
    }
    let now = pair.now();
    let cleared = pair.universe.with_prefix(Universe::PREFIXES[0]);
    let lost = (before | written) & !found(pair, now) & !deleted & !finished & !cleared;
    assert_eq!(lost, 0, "nothing goes that no invalidation can reach");
}

fn random_write(draw: &mut Lcg) -> Step {
    loop {
        let step = Step::from(draw.next());
        if matches!(step, Step::Write { .. }) {
            return step;
        }
    }
}

fn found(pair: &Pair, now: Moment) -> Set {
    (0..KEYS)
        .filter(|key| pair.table.contains(pair.universe.key(*key), now))
        .map(only)
        .sum()
}

#[test]
fn overlapping_sweeps_remove_enough_and_not_too_much() {
    let mut draw = Lcg(77);
    let mut pair = Pair::new(1 << 20);
    for _ in 0..3_000 {
        for _ in 0..20 {
            let write = match random_write(&mut draw) {
                Step::Write { key, len, names, .. } => Step::Write {
                    key,
                    len,
                    ttl: None,
                    names,
                },
                other => other,
            };
            pair.take(write);
            if draw.below(3) == 0 {
                pair.take(Step::Delete(draw.below(KEYS as u64) as usize));
            }
        }
        overlap(&mut pair, &mut draw);
        let now = pair.now();
        for key in members(found(&pair, now)) {
            pair.table.delete(pair.universe.key(key), now);
        }
        pair.tidy();
        let stats = pair.table.stats();
        assert_eq!((stats.entries, stats.bytes), (0, 0), "nothing stays behind");
        pair.model = Model::default();
    }
}

#[test]
fn what_is_written_during_a_clearing_stays() {
    let keys = Keys::new();
    let now = Moment::since_start(Duration::ZERO);
    let mut table = Table::new(1 << 20, None);
    for n in 0..1_000 {
        table.write(keys.write(format!("k{n}"), [""; 0]), now);
    }
    let mut sweep = Sweep::clearing(&mut table, "k".to_owned());
    assert_eq!(
        sweep.step(&mut table, now),
        None,
        "a clearing takes several steps"
    );
    for n in 990..1_010 {
        table.write(keys.write(format!("k{n}"), [""; 0]), now);
    }
    let removed = loop {
        if let Some(removed) = sweep.step(&mut table, now) {
            break removed;
        }
    };
    assert_eq!((removed, table.stats().entries), (990, 20));
}

#[test]
fn a_value_changed_in_place_during_a_clearing_goes_with_it() {
    let keys = Keys::new();
    let now = Moment::since_start(Duration::ZERO);
    let mut table = Table::new(1 << 20, None);
    for n in 0..200 {
        table.write(keys.write(format!("k{n}"), [""; 0]), now);
    }
    let mut sweep = Sweep::clearing(&mut table, String::new());
    assert_eq!(
        sweep.step(&mut table, now),
        None,
        "a clearing takes several steps"
    );
    // As `incr` does: its sum has seen the old value, so it comes before the clearing.
    assert!(table.rewrite(&keys.key("k199"), "2".into(), now));
    while sweep.step(&mut table, now).is_none() {}
    assert!(!table.contains(&keys.key("k199"), now));
}
