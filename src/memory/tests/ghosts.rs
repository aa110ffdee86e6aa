//! Large graphs of entries that are gone, with something still derived through them.

use std::time::Duration;

use super::super::expiry::Moment;
use super::super::sweep::Sweep;
use super::super::table::Table;
use super::{Keys, Lcg};

/// More edges than a search for living dependents looks at.
const MANY: usize = 700;

fn now() -> Moment {
    Moment::since_start(Duration::ZERO)
}

/// A key for each number, each derived from the next, the last from the first.
fn ring(keys: &Keys, table: &mut Table) {
    for n in 0..MANY {
        table.write(
            keys.write(format!("ring{n}"), [format!("ring{}", (n + 1) % MANY)]),
            now(),
        );
    }
}

fn sweep(table: &mut Table, mut sweep: Sweep) -> u64 {
    loop {
        if let Some(removed) = sweep.step(table, now()) {
            return removed;
        }
    }
}

fn assert_empty(table: &Table) {
    let stats = table.stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0), "nothing stays behind");
}

#[test]
fn an_invalidation_reaches_through_a_long_chain_of_what_is_gone() {
    let keys = Keys::new();
    let mut table = Table::new(1 << 20);
    ring(&keys, &mut table);
    table.write(keys.write("leaf", ["ring0"]), now());
    for n in 0..MANY {
        table.delete(&keys.key(format!("ring{n}")), now());
    }
    assert_eq!(table.stats().entries, 1);
    assert_eq!(
        sweep(
            &mut table,
            Sweep::invalidation(vec![keys.key(format!("ring{}", MANY - 1))])
        ),
        1
    );
    assert_empty(&table);
}

#[test]
fn a_long_cycle_leaves_nothing_behind_in_whatever_order_it_goes() {
    let mut draw = Lcg(3);
    for _ in 0..20 {
        let keys = Keys::new();
        let mut table = Table::new(1 << 20);
        ring(&keys, &mut table);
        let mut order: Vec<usize> = (0..MANY).collect();
        for at in (1..MANY).rev() {
            order.swap(at, draw.below(at as u64 + 1) as usize);
        }
        for n in order {
            table.delete(&keys.key(format!("ring{n}")), now());
        }
        assert_empty(&table);
    }
}

#[test]
fn a_long_cycle_that_goes_during_an_invalidation_leaves_nothing_behind() {
    let keys = Keys::new();
    let mut table = Table::new(1 << 20);
    ring(&keys, &mut table);
    table.write(keys.write("leaf", ["other"]), now());
    for n in 1..MANY {
        table.delete(&keys.key(format!("ring{n}")), now());
    }
    let (alive, name) = table.condemn(&keys.key("other"), now());
    let name = name.expect("the leaf depends on it");
    assert!(!alive);
    table.delete(&keys.key("ring0"), now());
    assert_eq!(table.drain(name, now()), Some((true, None)));
    assert_eq!(table.drain(name, now()), None);
    assert_empty(&table);
}

#[test]
fn a_long_cycle_leaves_nothing_behind_while_others_live() {
    let keys = Keys::new();
    let mut table = Table::new(1 << 20);
    table.write(keys.write("other", [""; 0]), now());
    let before = table.bytes();
    ring(&keys, &mut table);
    for n in 0..MANY {
        table.delete(&keys.key(format!("ring{n}")), now());
    }
    assert_eq!(table.bytes(), before, "only the other entry is left");
}

#[test]
fn a_star_goes_in_slices_and_comes_again() {
    let keys = Keys::new();
    let mut table = Table::new(16 << 20);
    for round in 0..3 {
        for n in 0..10_000 {
            table.write(keys.write(format!("leaf{n}"), [format!("mid{}", n % 100)]), now());
        }
        for n in 0..100 {
            table.write(keys.write(format!("mid{n}"), ["root"]), now());
            // Half of what is in between is gone when the root is invalidated.
            if n % 2 == round % 2 {
                table.delete(&keys.key(format!("mid{n}")), now());
            }
        }
        let mut sweep = Sweep::invalidation(vec![keys.key("root")]);
        let mut removed = None;
        let mut steps = 0;
        let mut before = table.stats().entries;
        while removed.is_none() {
            removed = sweep.step(&mut table, now());
            steps += 1;
            let left = table.stats().entries;
            assert!(before - left <= 64, "{} entries in one step", before - left);
            before = left;
        }
        assert_eq!(removed, Some(10_050));
        assert!(steps > 100, "{steps}");
        assert_empty(&table);
    }
}

#[test]
fn an_entry_written_anew_still_finds_what_it_names_derived_from_the_rest() {
    let keys = Keys::new();
    let mut table = Table::new(1 << 20);
    table.write(keys.write("page", ["user"]), now());
    table.write(keys.write("user", ["group"]), now());
    table.write(keys.write("group", ["root"]), now());
    table.delete(&keys.key("user"), now());
    table.delete(&keys.key("group"), now());
    // The page still leads to the group when the user names it again.
    table.write(keys.write("user", ["group"]), now());
    assert_eq!(sweep(&mut table, Sweep::invalidation(vec![keys.key("root")])), 2);
    assert_empty(&table);
}
