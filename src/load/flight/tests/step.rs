//! What may happen to flights, in any order.

use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::world::{Holder, KEYS, PAUSE, World, key};

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Callers come for these keys with one loader; the last of them may only want it refreshed.
    Come {
        first: usize,
        keys: usize,
        refresh: bool,
        /// The callers have something stale.
        stale: bool,
    },
    /// A caller who has something stale does not wait any longer.
    Overdue(usize),
    /// A caller's read is given the lease of a key, and its load begins past the flights.
    Direct(usize),
    /// The engine serves the next request for a key. Its answer is under way from then on.
    Serve(usize),
    /// The next of its answers arrives.
    Deliver(usize),
    /// The engine refuses it.
    Refuse(usize),
    /// The source changes, and what was cached of it is invalidated.
    Change(usize),
    /// The same, by a name that only the results of loads tell: it does not end a lease.
    ChangeUnnamed(usize),
    /// One of the loaders that run ends: with values for the keys of even numbers or all, or with an error.
    Finish {
        which: usize,
        all: bool,
        fails: bool,
    },
    Leave(usize),
    /// Another process loads a key, or has done so.
    Foreign(usize),
    ForeignEnds(usize),
    Hear(Option<usize>),
    Wait(u64),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS;
    prop_oneof![
        4 => (key.clone(), 1..=KEYS, proptest::bool::weighted(0.2), proptest::bool::weighted(0.3))
            .prop_map(|(first, keys, refresh, stale)| Step::Come { first, keys, refresh, stale }),
        1 => (0..16usize).prop_map(Step::Overdue),
        2 => key.clone().prop_map(Step::Direct),
        6 => key.clone().prop_map(Step::Serve),
        6 => key.clone().prop_map(Step::Deliver),
        1 => key.clone().prop_map(Step::Refuse),
        2 => key.clone().prop_map(Step::Change),
        2 => key.clone().prop_map(Step::ChangeUnnamed),
        3 => (0..8usize, proptest::bool::weighted(0.8), proptest::bool::weighted(0.2))
            .prop_map(|(which, all, fails)| Step::Finish { which, all, fails }),
        1 => (0..16usize).prop_map(Step::Leave),
        1 => key.clone().prop_map(Step::Foreign),
        1 => key.clone().prop_map(Step::ForeignEnds),
        1 => proptest::option::of(key).prop_map(Step::Hear),
        1 => (0..1500u64).prop_map(Step::Wait),
    ]
}

impl World {
    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Come {
                first,
                keys,
                refresh,
                stale,
            } => {
                self.numbers += 1;
                let load = self.numbers;
                self.open.insert(load);
                let mut wanted = Vec::new();
                for nth in 0..keys {
                    let at = (first + nth) % KEYS;
                    let idle = refresh && nth + 1 == keys;
                    self.numbers += 1;
                    let caller = (!idle).then_some(self.numbers);
                    if let Some(caller) = caller {
                        self.waiting.insert(caller, (at, self.source[at]));
                        if stale {
                            self.stale.insert(caller);
                        }
                    }
                    let seen = if idle { Seen::Plain } else { Seen::Nothing };
                    wanted.push(Wanted {
                        key: key(at),
                        caller,
                        seen,
                        patience: (stale || idle).then_some(PAUSE),
                        mark: None,
                    });
                }
                let terms = self.terms();
                self.change(|flights, now, effects| flights.begin(load, terms, wanted, now, effects));
            }
            Step::Overdue(which) => {
                let mut waiting: Vec<CallerId> = self.waiting.keys().copied().collect();
                waiting.retain(|caller| self.stale.contains(caller));
                waiting.sort_unstable();
                let Some(caller) = waiting.get(which % waiting.len().max(1)).copied() else {
                    return;
                };
                if let Some((at, _)) = self.waiting.remove(&caller) {
                    self.change(|flights, _, _| flights.overdue(&key(at), caller));
                }
            }
            Step::Direct(at) => self.begin_direct(at),
            Step::Serve(at) => self.serve(at),
            Step::Deliver(at) => self.deliver(at),
            Step::Refuse(at) => self.refuse(at),
            Step::ChangeUnnamed(at) if self.late => {
                self.source[at] += 1;
                self.slots[at].stored = None;
            }
            Step::Change(at) | Step::ChangeUnnamed(at) => {
                self.source[at] += 1;
                (self.slots[at].lease, self.slots[at].stored) = (None, None);
            }
            Step::Finish { which, all, fails } => {
                let mut running: Vec<LoadId> = self.running.keys().copied().collect();
                running.sort_unstable();
                let Some(load) = running.get(which % running.len().max(1)) else {
                    return;
                };
                self.finish(*load, all, fails);
            }
            Step::Leave(which) => {
                let mut waiting: Vec<CallerId> = self.waiting.keys().copied().collect();
                waiting.sort_unstable();
                let Some(caller) = waiting.get(which % waiting.len().max(1)).copied() else {
                    return;
                };
                // The caller of a direct load just goes.
                if let Some((at, _)) = self.waiting.remove(&caller)
                    && !self.direct.contains_key(&caller)
                {
                    self.change(|flights, _, effects| flights.left(&key(at), caller, effects));
                }
            }
            Step::Foreign(at) => {
                let lease = &mut self.slots[at].lease;
                *lease = lease.or(Some(Holder::Abroad));
            }
            Step::ForeignEnds(at) => self.end_foreign(at),
            Step::Hear(at) => {
                let key = at.map(key);
                self.change(|flights, _, effects| flights.hear(key.as_ref(), effects));
            }
            Step::Wait(millis) => self.wait(Duration::from_millis(millis)),
        }
    }
}
