//! Leases in the graph of dependencies.

use std::time::Duration;

use super::super::expiry::Moment;
use super::super::sweep::Sweep;
use super::super::table::Table;
use super::Keys;
use crate::request::{LeaseAction, LeaseAnswer, LeaseTerms, Names, Token};

fn now() -> Moment {
    Moment::since_start(Duration::ZERO)
}

/// A table, and the lease that each key took last.
struct World {
    keys: Keys,
    table: Table,
}

impl World {
    fn new() -> Self {
        Self {
            keys: Keys::new(),
            table: Table::new(1 << 20, None),
        }
    }

    fn take(&mut self, key: &str, names: &[&str]) -> Token {
        let token = Token::random();
        let action = LeaseAction::Take {
            key: self.keys.key(key),
            terms: LeaseTerms {
                token,
                names: names.iter().map(|name| self.keys.key(name)).collect(),
                ttl: Duration::from_secs(30),
                late_names: false,
            },
        };
        let answer = self.table.serve_lease(action, false, now());
        assert!(matches!(answer, LeaseAnswer::Taken { .. }), "{answer:?}");
        self.table.check();
        token
    }

    fn end(&mut self, key: &str, token: Token, given: bool) {
        let action = LeaseAction::End {
            key: self.keys.key(key),
            token,
            names: Names::default(),
            given,
        };
        self.table.serve_lease(action, false, now());
        self.table.check();
    }

    /// Whether what was loaded is stored.
    fn fulfil(&mut self, key: &str, token: Token, names: &[&str]) -> bool {
        let write = self.keys.write(key, names);
        let answer = self
            .table
            .serve_lease(LeaseAction::Fulfil { token, write }, false, now());
        self.table.check();
        answer == LeaseAnswer::Stored(true)
    }

    fn write(&mut self, key: &str, names: &[&str]) {
        self.table.write(self.keys.write(key, names), now());
        self.table.check();
    }
}

#[test]
fn a_change_finds_a_load_behind_what_another_left() {
    let mut world = World::new();
    world.write("page", &["part"]);
    let later = world.take("other", &["row"]);
    // It is given out and not stored, so what it was made from stays known as long as the page does.
    let first = world.take("part", &["row"]);
    world.end("part", first, true);
    world.write("row", &[]);
    assert!(!world.fulfil("other", later, &["row"]));
}

/// However often a value is given out, what it was made from is noted once.
#[test]
fn what_is_given_out_again_and_again_takes_no_more_room() {
    let mut world = World::new();
    world.write("page", &["part"]);
    let give = |world: &mut World, names: &[&str]| {
        let token = world.take("part", names);
        world.end("part", token, true);
        world.table.bytes()
    };
    let first = give(&mut world, &["row"]);
    let second = give(&mut world, &["line", "row"]);
    assert!(second > first, "the page was made from another row, too");
    for names in [["row", "line"], ["line", "row"]].repeat(50) {
        assert_eq!(give(&mut world, &names), second);
    }
    let mut invalidation = Sweep::invalidation(vec![world.keys.key("line")]);
    assert_eq!(
        invalidation.step(&mut world.table, now()),
        Some(1),
        "it finds the page"
    );
}

#[test]
fn a_change_finds_each_load_among_entries() {
    let mut world = World::new();
    let mut loads = Vec::new();
    for n in 0..20 {
        world.write(&format!("before{n}"), &["row"]);
        let key = format!("load{n}");
        loads.push((world.take(&key, &["row", "other"]), key));
        world.write(&format!("after{n}"), &["row", "other"]);
    }
    let (token, key) = loads.pop().unwrap();
    assert!(world.fulfil(&key, token, &["row"]), "nothing has changed");
    world.table.delete(&world.keys.key("row"), now());
    for (token, key) in loads {
        assert!(!world.fulfil(&key, token, &["row"]), "{key}");
    }
    world.take("load0", &["row"]);
}

/// It expires as the last entry, and is reclaimed while the value is stored that was made from it.
#[test]
fn a_lease_that_is_fulfilled_keeps_its_edges_until_the_value_is_stored() {
    let mut world = World::new();
    let mut part = world.keys.write("part", ["row"]);
    part.ttl = Some(Duration::from_secs(1));
    world.table.write(part, now());
    let page = world.take("page", &["part"]);
    let write = world.keys.write("page", ["part"]);
    let later = Moment::since_start(Duration::from_secs(2));
    let fulfil = LeaseAction::Fulfil { token: page, write };
    let answer = world.table.serve_lease(fulfil, false, later);
    assert_eq!(answer, LeaseAnswer::Stored(true));
    world.table.check();
}

#[test]
fn what_is_loaded_from_what_is_loaded_ends_with_it() {
    let mut world = World::new();
    let part = world.take("part", &["row", "part"]);
    let page = world.take("page", &["part"]);
    let cycle = world.take("row", &["page"]);
    let apart = world.take("apart", &["elsewhere"]);
    world.write("row", &[]);
    for (key, token) in [("part", part), ("page", page), ("row", cycle)] {
        assert!(!world.fulfil(key, token, &[]), "{key}");
    }
    assert!(world.fulfil("apart", apart, &["elsewhere"]));
}
