//! One operation after the other: the table answers, counts and accounts as the model does.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::super::expiry::Moment;
use super::super::operation;
use super::super::sweep::Sweep;
use super::super::table::Table;
use super::Lcg;
use super::model::{KEYS, Model, Removals, Set, Universe, members, only};
use crate::request::Write;
use crate::value::Value;

/// More than all entries together can take.
const AMPLE: usize = 1 << 20;

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Get(usize),
    Write {
        key: usize,
        len: usize,
        ttl: Option<Duration>,
        names: Set,
    },
    Rewrite {
        key: usize,
        len: usize,
    },
    Expire {
        key: usize,
        ttl: Option<Duration>,
    },
    Delete(usize),
    Reclaim {
        limit: usize,
    },
    Pass(Duration),
    Clear {
        prefix: usize,
    },
    Invalidate(Set),
}

impl From<u64> for Step {
    /// Every number is a step, so that whoever can make numbers can make runs.
    fn from(seed: u64) -> Self {
        let mut draw = Lcg(seed);
        // A generator's first draws resemble its seed.
        draw.next();
        let key = draw.below(KEYS as u64) as usize;
        let len = [0, 1, 8, 40, 300][draw.below(5) as usize];
        let ttl = [None, Some(1), Some(3), Some(20)][draw.below(4) as usize].map(Duration::from_millis);
        // Mostly none or a few names: a graph of all with all has nothing to find.
        let names = (draw.next() & draw.next()) as Set & (draw.next() | draw.next() & 0x1FF) as Set;
        let names = if draw.below(3) == 0 {
            0
        } else {
            names & (only(KEYS) - 1)
        };
        match draw.below(100) {
            0..10 => Step::Get(key),
            10..55 => Step::Write { key, len, ttl, names },
            55..60 => Step::Rewrite { key, len },
            60..65 => Step::Expire { key, ttl },
            65..82 => Step::Delete(key),
            82..86 => Step::Reclaim {
                limit: 1 + draw.below(3) as usize,
            },
            86..93 => Step::Pass(Duration::from_millis(draw.below(6))),
            93..94 => Step::Clear {
                prefix: draw.below(3) as usize,
            },
            _ => Step::Invalidate(only(key) | (names & names >> 1)),
        }
    }
}

/// The same runs on every machine.
pub(super) fn config(cases: u32) -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(20_240_229);
    ProptestConfig {
        cases,
        rng_seed,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

pub(super) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<u64>().prop_map(Step::from), 0..most)
}

/// A table and its model, side by side.
pub(super) struct Pair {
    pub(super) universe: Universe,
    pub(super) table: Table,
    pub(super) model: Model,
    time: Duration,
    written: u8,
}

impl Pair {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            universe: Universe::new(),
            table: Table::new(capacity, None),
            model: Model::default(),
            time: Duration::from_secs(1),
            written: 0,
        }
    }

    /// Time passes with every look at the clock, so that no two deadlines are the same.
    pub(super) fn now(&mut self) -> Moment {
        self.time += Duration::from_nanos(1);
        Moment::since_start(self.time)
    }

    /// A value that differs from the last two hundred of the same length.
    pub(super) fn value(&mut self, len: usize) -> Value {
        self.written = self.written.wrapping_add(1);
        Value::from(vec![self.written; len])
    }

    /// The entries held, expired or not: somebody who looks from before all deadlines sees them all.
    pub(super) fn held(&self) -> Set {
        let earliest = Moment::since_start(Duration::ZERO);
        let is_held = |key: &usize| self.table.contains(self.universe.key(*key), earliest);
        (0..KEYS).filter(is_held).map(only).sum()
    }

    /// Runs a sweep from its beginning to its end.
    fn sweep(&mut self, mut sweep: Sweep, now: Moment) -> u64 {
        loop {
            if let Some(removed) = sweep.step(&mut self.table, now) {
                return removed;
            }
        }
    }

    /// Takes a step in a turn that may be too short for what follows from it, and goes on with that after it.
    ///
    /// Only a write has time enough: it may reclaim an entry and depend on its key in one step, and a cycle
    /// that is still in doubt would then be kept, as any that others depend on.
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Write { .. } => self.table.begin_turn(),
            _ => self.table.begin_turn_of(usize::from(self.written) % 5),
        }
        self.carry_out(step);
        self.tidy();
    }

    /// Does all that removals have left to be done.
    pub(super) fn tidy(&mut self) {
        while self.table.is_untidy() {
            self.table.tidy();
        }
    }

    fn carry_out(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Get(key) => {
                let found = self.table.get(self.universe.key(key), now);
                assert_eq!(found.as_ref(), self.model.get(key, now));
            }
            Step::Write { key, len, ttl, names } => {
                let value = self.value(len);
                let depends_on = self.universe.keys(names).into();
                let write = Write {
                    key: self.universe.key(key).clone(),
                    value: value.clone(),
                    ttl,
                    depends_on,
                };
                self.table.write(write, now);
                self.model.write(key, value, ttl, names, now);
            }
            Step::Rewrite { key, len } => {
                let value = self.value(len);
                let rewritten = self.table.rewrite(self.universe.key(key), value.clone(), now);
                assert_eq!(rewritten, self.model.rewrite(key, value, now));
            }
            Step::Expire { key, ttl } => {
                let found = self.table.expire(self.universe.key(key), ttl, now);
                assert_eq!(found, self.model.expire(key, ttl, now));
            }
            Step::Delete(key) => {
                let deleted = self.table.delete(self.universe.key(key), now);
                assert_eq!(deleted, self.model.delete(key, now));
            }
            Step::Reclaim { limit } => {
                let due = self.model.held() & !self.model.alive(now);
                let looked_at = self.table.reclaim(now, limit);
                assert!(looked_at <= limit);
                let reclaimed = self.model.held() & !self.held();
                assert_eq!(reclaimed & !due, 0, "only what has expired is reclaimed");
                assert!(
                    looked_at == limit || reclaimed == due,
                    "it ends before its limit when all is done"
                );
                self.model.reclaim(reclaimed);
            }
            Step::Pass(time) => self.time += time,
            Step::Clear { prefix } => {
                let prefix = Universe::PREFIXES[prefix];
                let sweep = Sweep::clearing(&mut self.table, prefix.to_owned());
                let cleared = self.sweep(sweep, now);
                assert_eq!(cleared, self.model.clear(self.universe.with_prefix(prefix), now));
            }
            Step::Invalidate(names) => {
                let removed = self.sweep(Sweep::invalidation(self.universe.keys(names)), now);
                assert_eq!(removed, self.model.invalidate(names, now));
            }
        }
    }

    /// What can be known after every step: sizes, counters, and the next deadline.
    pub(super) fn check_sizes(&self) {
        self.table.check();
        let stats = self.table.stats();
        assert_eq!(stats.entries, u64::from(self.model.held().count_ones()));
        let Removals {
            deletes,
            expired,
            invalidated,
        } = self.model.removals;
        assert_eq!(
            (stats.deletes, stats.expired, stats.invalidated),
            (deletes, expired, invalidated)
        );
        // A deadline that was moved away may still be looked for at its old time, never too late.
        let (alarm, due) = (self.table.next_due(), self.model.next_due());
        assert!(alarm <= due || due.is_none(), "{alarm:?} is after {due:?}");
        assert_eq!(alarm.is_some(), due.is_some());
        assert_eq!(
            self.table.bytes(),
            self.model.bytes(&self.universe),
            "the bytes of all that is held"
        );
    }

    /// Every key and every prefix.
    pub(super) fn check_contents(&mut self) {
        let now = self.now();
        for key in 0..KEYS {
            let text = self.universe.key(key);
            assert_eq!(self.table.peek(text, now), self.model.get(key, now), "{text:?}");
            assert_eq!(
                operation::ttl(&self.table, text, now),
                self.model.ttl(key, now),
                "{text:?}"
            );
        }
        for prefix in Universe::PREFIXES {
            let page = self.table.scan(prefix, 0, now);
            let mut scanned: Vec<_> = page.keys.iter().map(|key| key.as_str().to_owned()).collect();
            scanned.sort_unstable();
            let alive = self.model.alive(now) & self.universe.with_prefix(prefix);
            let mut expected: Vec<_> = members(alive)
                .map(|key| self.universe.key(key).as_str().to_owned())
                .collect();
            expected.sort_unstable();
            assert_eq!(
                scanned, expected,
                "each key with the prefix {prefix:?} comes once"
            );
        }
    }

    /// Takes everything away, by one of the ways there are: nothing may stay behind.
    pub(super) fn end(&mut self, way: usize) {
        match way % 4 {
            0 => (0..KEYS).for_each(|key| self.take(Step::Delete(key))),
            1 => self.take(Step::Clear { prefix: 2 }),
            2 => self.take(Step::Invalidate(only(KEYS) - 1)),
            _ => {
                for key in 0..KEYS {
                    self.take(Step::Expire {
                        key,
                        ttl: Some(Duration::from_millis(1)),
                    });
                }
            }
        }
        self.take(Step::Pass(Duration::from_secs(1)));
        self.take(Step::Reclaim { limit: 2 * KEYS });
        self.check_sizes();
        assert_eq!(
            (self.table.stats().entries, self.table.bytes()),
            (0, 0),
            "nothing stays behind"
        );
        assert_eq!(self.table.next_due(), None);
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn short_runs_are_as_the_model_says(steps in steps(60), way in 0usize..4) {
        let mut pair = Pair::new(AMPLE);
        for step in steps {
            pair.take(step);
            pair.check_sizes();
            pair.check_contents();
        }
        pair.end(way);
    }
}

#[test]
fn a_long_run_is_as_the_model_says() {
    let mut pair = Pair::new(AMPLE);
    let mut draw = Lcg(20_240_229);
    for round in 0..10_000 {
        for _ in 0..50 {
            pair.take(Step::from(draw.next()));
            pair.check_sizes();
        }
        pair.check_contents();
        if round % 4 == 0 {
            pair.end(draw.below(4) as usize);
        }
    }
}
