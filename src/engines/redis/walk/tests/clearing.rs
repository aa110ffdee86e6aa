//! The commands of a clearing, step by step.

use super::*;

fn clearing(prefixes: &[&str]) -> Walk {
    let prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
    Walk::clearing(prefixes, Vec::new(), Arc::default())
}

/// The words of the next command of a clearing, without its id and a random number.
fn step(walk: &Walk) -> String {
    let words = words(walk);
    let (before, after) = words.split_once("EVALSHA 0 depend:  ").unwrap();
    assert_eq!(before, "");
    let mut step: Vec<&str> = after.split(' ').collect();
    assert_eq!(step.remove(0).len(), 32);
    if step[2] == "*" {
        step[3] = "#";
    }
    step.join(" ")
}

/// The next cursor, how many values were removed, and whether it was marked.
fn page(next: &str, removed: i64, marked: bool) -> Wire {
    Wire::Array(vec![
        Wire::BulkString(next.as_bytes().to_vec()),
        Wire::Array(vec![Wire::Int(removed)]),
        Wire::Int(marked.into()),
        Wire::Array(Vec::new()),
        Wire::Array(Vec::new()),
    ])
}

/// The same, with something in one of its parts.
fn page_with(next: &str, place: usize, part: Wire) -> Wire {
    let Wire::Array(mut parts) = page(next, 0, true) else {
        unreachable!("a page is an array")
    };
    parts[place] = part;
    Wire::Array(parts)
}

#[test]
fn a_clearing_removes_values_then_sets_and_invalidates_leases_before_and_after() {
    let mut walk = clearing(&["t:"]);
    assert_eq!(step(&walk), "0 1024 t:* 0  1 t:", "leases");
    assert_eq!(walk.advance(page("9", 0, false)), Ok(false), "now it is marked");
    assert_eq!(step(&walk), "9 1024 t:* 0  1 t:");
    assert_eq!(walk.advance(page("0", 0, true)), Ok(false));
    assert_eq!(step(&walk), "0 1024 t:* 0  1 t:", "values");
    assert_eq!(walk.advance(page("18446744073709551615", 2, true)), Ok(false));
    assert_eq!(step(&walk), "18446744073709551615 1024 t:* 0  1 t:");
    assert_eq!(walk.advance(page("0", 3, true)), Ok(false));
    assert_eq!(step(&walk), "0 256 * #  1 t:", "sets");
    assert_eq!(walk.advance(page("0", 0, true)), Ok(false));
    assert_eq!(step(&walk), "0 1024 t:* 1  1 t:", "leases, and the mark");
    assert_eq!(walk.advance(page("0", 0, true)), Ok(true));
    assert_eq!(walk.removed, 5);
    assert_eq!(walk.advance(Wire::Nil), Err(Unexpected));
}

#[test]
fn several_clearings_share_a_walk_and_each_is_told_its_own() {
    let mut answers = Vec::new();
    let callers = [0, 1, 2, 1].map(|place| {
        let (reply, answer) = Reply::new();
        answers.push(answer);
        let caller = Caller::new(reply, Progress::default(), Instant::now());
        Caller { place, ..caller }
    });
    let prefixes = ["t:", "", "u:"].map(str::to_owned);
    let mut walk = Walk::clearing(prefixes.to_vec(), Vec::from(callers), Arc::default());
    assert_eq!(step(&walk), "0 1024 * #  3 t:  u:");
    let removed = Wire::Array([3, 4, 5].map(Wire::Int).to_vec());
    for _ in 0..3 {
        assert_eq!(walk.advance(page_with("0", 1, removed.clone())), Ok(false));
    }
    assert_eq!(walk.advance(page_with("0", 1, Wire::Array(Vec::new()))), Ok(true));
    assert_eq!(walk.removed, 36);
    walk.finish();
    let removed = answers
        .iter_mut()
        .map(|answer| answer.try_recv().unwrap().unwrap());
    assert_eq!(removed.collect::<Vec<_>>(), [9, 36, 15, 36], "all is in the root");
}

#[test]
fn a_clearing_looks_at_a_large_set_part_by_part() {
    let mut walk = clearing(&["t:"]);
    for _ in 0..2 {
        assert_eq!(walk.advance(page("0", 0, true)), Ok(false));
    }
    assert_eq!(walk.advance(page_with("7", 3, bulk(&["d:a", "d:b"]))), Ok(false));
    assert_eq!(step(&walk), "0 512 * # d:b 1 t:");
    assert_eq!(walk.advance(page("5", 0, true)), Ok(false));
    assert_eq!(step(&walk), "5 512 * # d:b 1 t:");
    assert_eq!(walk.advance(page("0", 0, true)), Ok(false));
    assert_eq!(step(&walk), "0 512 * # d:a 1 t:");
    assert_eq!(walk.advance(page("0", 0, true)), Ok(false));
    assert_eq!(step(&walk), "7 256 * #  1 t:");
    assert_eq!(walk.advance(page_with("0", 3, bulk(&["d:c"]))), Ok(false));
    assert_eq!(step(&walk), "0 512 * # d:c 1 t:");
    assert_eq!(walk.advance(page("0", 0, true)), Ok(false));
    assert_eq!(step(&walk), "0 1024 t:* 1  1 t:", "leases, and the mark");
}

#[test]
fn a_clearing_decides_about_names_whose_members_do_not() {
    let mut walk = clearing(&["t:"]);
    for _ in 0..2 {
        assert_eq!(walk.advance(page("0", 0, true)), Ok(false));
    }
    let told = |name: &str, below: &str| {
        let text = |text: &str| Wire::BulkString(text.as_bytes().to_vec());
        Wire::Array(vec![text(name), Wire::Int(1), text(below)])
    };
    assert_eq!(walk.advance(page_with("7", 4, told("t:a", "t:b"))), Ok(false));
    assert_eq!(walk.advance(page_with("0", 4, told("t:b", "t:c"))), Ok(false));
    assert_eq!(step(&walk), "0 256 * #  1 t: t:b t:a", "those below first");
    assert_eq!(walk.advance(page("1", 0, true)), Ok(false));
    assert_eq!(step(&walk), "0 256 * #  1 t: t:a");
    assert_eq!(walk.advance(page("1", 0, true)), Ok(false));
    assert_eq!(step(&walk), "0 1024 t:* 1  1 t:", "leases, and the mark");
}

#[test]
fn a_clearing_of_everything_goes_the_same_ways() {
    let mut walk = clearing(&[""]);
    for step in 0..4 {
        assert_eq!(walk.advance(page("0", 0, true)), Ok(step == 3));
    }
}

#[test]
fn a_clearing_that_finds_nothing_for_ever_ends() {
    let mut walk = clearing(&["t:"]);
    let mut pages = (0..1_100_000).map(|step: u32| page(&(step % 2 + 1).to_string(), 0, true));
    let step = pages.position(|page| walk.advance(page).is_err());
    assert!(step.is_some_and(|step| step > 1_000_000), "{step:?}");
}

/// In a slot of a cluster the prefix of the root is the slot's hash tag.
#[test]
fn what_a_namespace_loses_the_root_loses_too() {
    for prefixes in [["", "n:"], ["{t}:", "{t}:n:"]] {
        let mut walk = clearing(&prefixes);
        let removed = |[root, namespace]: [i64; 2]| {
            let Wire::Array(mut parts) = page("7", 0, true) else {
                unreachable!("a page is an array")
            };
            parts[1] = Wire::Array(vec![Wire::Int(root), Wire::Int(namespace)]);
            Wire::Array(parts)
        };
        assert_eq!(walk.advance(removed([2, 3])), Ok(false));
        let cleared: Vec<_> = walk.cleared().collect();
        assert_eq!(cleared, [(prefixes[0], 5), (prefixes[1], 3)]);
    }
}

#[test]
fn a_clearing_whose_mark_was_lost_begins_anew() {
    for pass in 0..4 {
        let mut walk = clearing(&["t:"]);
        assert_eq!(walk.advance(page("5", 0, false)), Ok(false));
        for _ in 0..pass {
            assert_eq!(walk.advance(page("0", 1, true)), Ok(false));
        }
        assert_eq!(walk.advance(page("0", 1, false)), Ok(false), "{pass}");
        assert_eq!(step(&walk), "0 1024 t:* 0  1 t:", "{pass}");
        for _ in 0..3 {
            assert_eq!(walk.advance(page("0", 1, true)), Ok(false));
        }
        assert_eq!(walk.advance(page("0", 0, true)), Ok(true));
        assert_eq!(walk.removed, pass + 4);
    }
}

#[test]
fn a_clearing_begins_anew_on_another_server() {
    let [connection, next, another] = [Some(1), Some(1), Some(2)].map(Process::of_new_connection);
    let mut walk = clearing(&["t:"]);
    walk.enter(connection);
    assert_eq!(walk.advance(page("0", 0, true)), Ok(false));
    assert_eq!(walk.advance(page("7", 3, true)), Ok(false));
    walk.enter(next);
    assert_eq!(step(&walk), "7 1024 t:* 0  1 t:", "it is the same server");
    walk.enter(another);
    assert_eq!(step(&walk), "0 1024 t:* 0  1 t:");
    assert_eq!(
        walk.advance(page("0", 0, false)),
        Ok(false),
        "it has no mark there"
    );
    assert_eq!(step(&walk), "0 1024 t:* 0  1 t:");
}
