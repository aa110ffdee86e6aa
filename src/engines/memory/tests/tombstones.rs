//! Large graphs of entries that are gone, with something still derived through them.

use std::time::Duration;

use super::super::expiry::Moment;
use super::super::sweep::Sweep;
use super::super::table::Table;
use super::{Keys, Lcg};

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

/// Does all that removals have left to be done.
fn tidy(table: &mut Table) {
    while table.is_untidy() {
        table.tidy();
    }
}

fn assert_empty(table: &mut Table) {
    tidy(table);
    let stats = table.stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0), "nothing stays behind");
}

#[test]
fn an_invalidation_reaches_through_a_long_chain_of_what_is_gone() {
    let keys = Keys::new();
    let mut table = Table::new(1 << 20, None);
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
    assert_empty(&mut table);
}

#[test]
fn a_long_cycle_leaves_nothing_behind_in_whatever_order_it_goes() {
    let mut draw = Lcg(3);
    for _ in 0..20 {
        let keys = Keys::new();
        let mut table = Table::new(1 << 20, None);
        ring(&keys, &mut table);
        let mut order: Vec<usize> = (0..MANY).collect();
        for at in (1..MANY).rev() {
            order.swap(at, draw.below(at as u64 + 1) as usize);
        }
        for n in order {
            table.delete(&keys.key(format!("ring{n}")), now());
        }
        assert_empty(&mut table);
    }
}

#[test]
fn a_long_cycle_that_goes_during_an_invalidation_leaves_nothing_behind() {
    let keys = Keys::new();
    let mut table = Table::new(1 << 20, None);
    ring(&keys, &mut table);
    table.write(keys.write("leaf", ["other"]), now());
    for n in 1..MANY {
        table.delete(&keys.key(format!("ring{n}")), now());
    }
    let (alive, name) = table.invalidate(&keys.key("other"), now());
    let name = name.expect("the leaf depends on it");
    assert!(!alive);
    table.delete(&keys.key("ring0"), now());
    assert_eq!(table.drain(name, now()), Some((true, None)));
    assert_eq!(table.drain(name, now()), None);
    assert_empty(&mut table);
}

#[test]
fn a_long_cycle_leaves_nothing_behind_while_others_live() {
    let keys = Keys::new();
    let mut table = Table::new(1 << 20, None);
    table.write(keys.write("other", [""; 0]), now());
    let before = table.bytes();
    ring(&keys, &mut table);
    for n in 0..MANY {
        table.delete(&keys.key(format!("ring{n}")), now());
    }
    tidy(&mut table);
    assert_eq!(table.bytes(), before, "only the other entry is left");
}

#[test]
fn a_star_goes_in_slices_and_comes_again() {
    let keys = Keys::new();
    let mut table = Table::new(16 << 20, None);
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
        assert_empty(&mut table);
    }
}

#[test]
fn an_entry_written_anew_still_finds_what_it_names_derived_from_the_rest() {
    let keys = Keys::new();
    let mut table = Table::new(1 << 20, None);
    table.write(keys.write("page", ["user"]), now());
    table.write(keys.write("user", ["group"]), now());
    table.write(keys.write("group", ["root"]), now());
    table.delete(&keys.key("user"), now());
    table.delete(&keys.key("group"), now());
    // The page still leads to the group when the user names it again.
    table.write(keys.write("user", ["group"]), now());
    assert_eq!(sweep(&mut table, Sweep::invalidation(vec![keys.key("root")])), 2);
    assert_empty(&mut table);
}

/// The steps of one turn, and a few for the edges of the last name.
const TURN: u64 = 16_384 + 8;

/// A chain of entries, each derived from the next, with a leaf at its end that stays.
fn chain(keys: &Keys, table: &mut Table, length: usize) {
    for n in 0..length {
        let next = format!("link{}", n + 1);
        table.write(keys.write(format!("link{n}"), [next]), now());
    }
    table.write(keys.write("leaf", ["link0"]), now());
}

/// The steps that a turn takes.
fn steps(table: &mut Table, turn: impl FnOnce(&mut Table)) -> u64 {
    table.begin_turn();
    let before = table.steps();
    turn(table);
    table.steps() - before
}

/// Whatever the order in which a chain goes, no turn is long, and neither are all of them together.
#[test]
fn a_long_chain_goes_in_short_turns() {
    const LENGTH: usize = 20_000;
    const REMOVALS: usize = 512;
    let mut random: Vec<usize> = (0..LENGTH).collect();
    let mut draw = Lcg(5);
    for at in (1..LENGTH).rev() {
        random.swap(at, draw.below(at as u64 + 1) as usize);
    }
    let odd = || (0..LENGTH).filter(|n| n % 2 == 1);
    let even = || (0..LENGTH).filter(|n| n % 2 == 0);
    let orders: [(&str, Vec<usize>); 5] = [
        ("from the leaf", (0..LENGTH).collect()),
        ("from the root", (0..LENGTH).rev().collect()),
        ("at random", random),
        ("every other, then from the leaf", odd().chain(even()).collect()),
        (
            "every other, then from the root",
            odd().chain(even().rev()).collect(),
        ),
    ];
    for (order, links) in orders {
        let keys = Keys::new();
        let mut table = Table::new(64 << 20, None);
        chain(&keys, &mut table, LENGTH);
        let began = table.steps();
        for turn in links.chunks(REMOVALS) {
            let taken = steps(&mut table, |table| {
                for n in turn {
                    table.delete(&keys.key(format!("link{n}")), now());
                }
            });
            assert!(taken <= TURN, "{order}: {taken} steps in a turn");
        }
        tidy(&mut table);
        let taken = table.steps() - began;
        assert!(taken < 40 * LENGTH as u64, "{order}: {taken} steps in all");
        let root = keys.key(format!("link{LENGTH}"));
        assert_eq!(sweep(&mut table, Sweep::invalidation(vec![root])), 1, "{order}");
        assert_empty(&mut table);
    }
}

#[test]
fn many_that_go_under_a_long_chain_go_at_once() {
    let keys = Keys::new();
    let mut table = Table::new(64 << 20, None);
    chain(&keys, &mut table, 10_000);
    let roots: Vec<String> = (0..2_000).map(|n| format!("root{n}")).collect();
    table.write(keys.write("link10000", &roots), now());
    for root in &roots {
        table.write(keys.write(root, ["source"]), now());
    }
    for n in 0..=10_000 {
        table.begin_turn();
        table.delete(&keys.key(format!("link{n}")), now());
    }
    let taken = steps(&mut table, |table| {
        for root in &roots {
            table.delete(&keys.key(root), now());
        }
    });
    assert!(taken <= 4 * 2_000, "{taken} steps");
    assert!(!table.is_untidy());
    assert_eq!(
        sweep(&mut table, Sweep::invalidation(vec![keys.key("source")])),
        1
    );
    assert_empty(&mut table);
}

/// One removal may be the end of any number of tombstones. They go between turns.
#[test]
fn a_long_chain_that_nobody_needs_any_more_goes_in_slices() {
    const LENGTH: usize = 50_000;
    let keys = Keys::new();
    let mut table = Table::new(64 << 20, None);
    table.write(keys.write("other", [""; 0]), now());
    let before = table.bytes();
    chain(&keys, &mut table, LENGTH);
    for n in 0..LENGTH {
        table.begin_turn();
        table.delete(&keys.key(format!("link{n}")), now());
    }
    assert!(!table.is_untidy());
    let taken = steps(&mut table, |table| drop(table.delete(&keys.key("leaf"), now())));
    assert!(taken <= TURN, "{taken} steps in a turn");
    while table.is_untidy() {
        let taken = steps(&mut table, Table::tidy);
        assert!(taken <= 256 + 8, "{taken} steps in a slice");
    }
    assert_eq!(table.bytes(), before, "only the other entry is left");
}

/// A cycle whose case is larger than any that is settled stays until nothing is held.
#[test]
fn a_cycle_that_is_too_large_goes_with_the_last_entry() {
    const LENGTH: usize = 40_000;
    let keys = Keys::new();
    let mut table = Table::new(64 << 20, None);
    table.write(keys.write("other", [""; 0]), now());
    chain(&keys, &mut table, LENGTH);
    table.write(keys.write(format!("link{LENGTH}"), ["link0"]), now());
    table.delete(&keys.key("leaf"), now());
    for n in 0..=LENGTH {
        let taken = steps(&mut table, |table| {
            drop(table.delete(&keys.key(format!("link{n}")), now()));
        });
        assert!(taken <= TURN, "{taken} steps in a turn");
    }
    let taken = steps(&mut table, tidy);
    assert!(taken <= 65_536, "{taken} steps between turns");
    assert!(table.bytes() > LENGTH * 50, "it is kept");
    table.delete(&keys.key("other"), now());
    assert_empty(&mut table);
}

/// Each time that one of two entries goes, all that hangs on a large cycle needs the other.
#[test]
fn a_cycle_that_is_held_by_turns_stays_as_long_as_it_is_held() {
    const LENGTH: usize = 5_000;
    let keys = Keys::new();
    let mut table = Table::new(64 << 20, None);
    chain(&keys, &mut table, LENGTH);
    table.write(keys.write(format!("link{LENGTH}"), ["link0"]), now());
    for n in 0..=LENGTH {
        table.begin_turn();
        table.delete(&keys.key(format!("link{n}")), now());
    }
    tidy(&mut table);
    for round in 0..20 {
        let (comes, goes) = if round % 2 == 0 {
            ("one", "leaf")
        } else {
            ("leaf", "one")
        };
        let name = if round % 2 == 0 { "link2500" } else { "link0" };
        let taken = steps(&mut table, |table| {
            table.write(keys.write(comes, [name]), now());
            table.delete(&keys.key(goes), now());
        });
        assert!(taken <= TURN, "{taken} steps in a turn");
        tidy(&mut table);
        assert!(table.bytes() > LENGTH * 50, "it is kept");
    }
    let held = Sweep::invalidation(vec![keys.key("link77")]);
    assert_eq!(sweep(&mut table, held), 1, "the last that holds it");
    assert_empty(&mut table);
}
