//! Reads that take a lease if they find nothing, between loads and changes: a million interleavings against a source
//! that counts its versions.

use std::time::Duration;

use super::super::expiry::Moment;
use super::super::sweep::Sweep;
use super::super::table::Table;
use super::{Keys, Lcg};
use crate::key::Key;
use crate::request::{LeaseAction, LeaseAnswer, LeaseTerms, Lookup, Names, Token, Write};
use crate::value::Value;

const STEPS: u64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
/// Each key is made from the row of the same number.
const KEYS: [&str; 3] = ["user0", "user1", "user2"];
const ROWS: [&str; 3] = ["row0", "row1", "row2"];

/// A load, and what it has read from the source.
struct Load {
    key: usize,
    token: Token,
    version: u64,
    ends: u64,
    /// Nothing that its lease names has changed.
    alive: bool,
}

struct World {
    keys: Keys,
    table: Table,
    /// The version of each row. What a key may show is no older once its change is acknowledged.
    rows: [u64; 3],
    loads: Vec<Load>,
    now: u64,
}

impl World {
    fn now(&self) -> Moment {
        Moment::since_start(SECOND * u32::try_from(self.now).unwrap())
    }

    fn names(&self, key: usize) -> Names {
        [self.keys.key(ROWS[key])].into_iter().collect()
    }

    fn look(&mut self, key: usize, ttl: u64) -> Lookup {
        let token = Token::random();
        let terms = LeaseTerms {
            token,
            names: self.names(key),
            ttl: SECOND * u32::try_from(ttl).unwrap(),
            late_names: false,
        };
        let name = self.keys.key(KEYS[key]);
        let holds = self.table.contains(&name, self.now());
        let held = self
            .loads
            .iter()
            .any(|load| load.key == key && load.alive && load.ends > self.now);
        let found = self.table.get_or_lease(&name, &terms, self.now());
        match &found {
            Lookup::Found(aged) => {
                assert!(holds);
                let version: u64 = String::from_utf8_lossy(aged.value.as_bytes()).parse().unwrap();
                assert_eq!(
                    version, self.rows[key],
                    "a value older than an acknowledged change"
                );
            }
            Lookup::Leased => {
                assert!(!holds, "a lease is given although there is a value");
                assert!(!held, "a lease is given twice");
                self.loads.push(Load {
                    key,
                    token,
                    version: self.rows[key],
                    ends: self.now + ttl,
                    alive: true,
                });
            }
            Lookup::Held => assert!(!holds && held, "a lease that nobody has is held"),
        }
        found
    }

    fn fulfil(&mut self, load: Load) {
        let write = Write {
            key: self.keys.key(KEYS[load.key]),
            value: Value::from(load.version.to_string()),
            ttl: None,
            depends_on: self.names(load.key),
        };
        let token = load.token;
        let action = LeaseAction::Fulfil { token, write };
        let stored = self.table.serve_lease(action, false, self.now()) == LeaseAnswer::Stored(true);
        assert_eq!(stored, load.alive && load.ends > self.now);
    }

    fn end(&mut self, load: &Load, given: bool) {
        let action = LeaseAction::End {
            key: self.keys.key(KEYS[load.key]),
            token: load.token,
            names: self.names(load.key),
            given,
        };
        self.table.serve_lease(action, false, self.now());
    }

    /// A change of the source, and then of what is stored of it.
    fn change(&mut self, row: usize, how: u64) {
        self.rows[row] += 1;
        let (name, key): (Key, Key) = (self.keys.key(ROWS[row]), self.keys.key(KEYS[row]));
        if how == 0 {
            self.table.delete(&key, self.now());
        } else {
            let (now, mut sweep) = (self.now(), Sweep::invalidation(vec![name]));
            while sweep.step(&mut self.table, now).is_none() {}
        }
        let loads = self.loads.iter_mut().filter(|load| load.key == row);
        loads.for_each(|load| load.alive = false);
    }
}

#[test]
fn a_lease_is_given_once_and_only_where_nothing_is_and_nothing_old_is_stored() {
    let mut draw = Lcg(14);
    let mut world = World {
        keys: Keys::new(),
        table: Table::new(1 << 20, None),
        rows: [0; 3],
        loads: Vec::new(),
        now: 0,
    };
    let (mut found, mut leased, mut held) = (0_u64, 0_u64, 0_u64);
    for step in 0..STEPS {
        let key = draw.below(3) as usize;
        match draw.below(12) {
            0..5 => match world.look(key, 1 + draw.below(8)) {
                Lookup::Found(_) => found += 1,
                Lookup::Leased => leased += 1,
                Lookup::Held => held += 1,
            },
            kind @ 5..9 if !world.loads.is_empty() => {
                let at = draw.below(world.loads.len() as u64) as usize;
                let load = world.loads.swap_remove(at);
                match kind {
                    5..8 => world.fulfil(load),
                    _ => world.end(&load, draw.below(2) == 0),
                }
            }
            9 | 10 => world.change(key, draw.below(2)),
            11 => world.now += draw.below(3),
            _ => {}
        }
        if step % 256 == 0 {
            world.table.check();
        }
    }
    assert!(
        found > STEPS / 20 && leased > STEPS / 20 && held > STEPS / 50,
        "{found} values, {leased} leases, {held} held"
    );
}
