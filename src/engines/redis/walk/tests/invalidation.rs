//! The commands of an invalidation, step by step.

use super::*;
use crate::key::{KeyMaker, Namespace};

fn walk(names: &[&str]) -> Walk {
    let maker = KeyMaker::new(100, false);
    let keys: Vec<Key> = names
        .iter()
        .map(|name| maker.key(&Namespace::default(), name).unwrap())
        .collect();
    let caller = Caller::new(Reply::new().0, Progress::default(), Instant::now());
    Walk::invalidation(&keys, caller, false)
}

/// What a step answers that removed so many entries and has looked at so many names.
struct Drained<'a> {
    removed: i64,
    taken: i64,
    more: bool,
    marked: &'a [&'a str],
    unread: &'a [&'a str],
    below: &'a [&'a str],
    told: &'a [&'a str],
    /// Who drained last: 1 for this one, 2 for nobody, 0 for another.
    last: i64,
}

impl Drained<'_> {
    fn new(removed: i64, taken: i64) -> Self {
        Self {
            removed,
            taken,
            more: false,
            marked: &[],
            unread: &[],
            below: &[],
            told: &[],
            last: 2,
        }
    }

    fn wire(&self) -> Wire {
        Wire::Array(vec![
            Wire::Int(self.removed),
            Wire::Int(self.taken),
            Wire::Int(self.more.into()),
            bulk(self.marked),
            bulk(self.unread),
            bulk(self.below),
            bulk(self.told),
            Wire::Int(self.last),
        ])
    }
}

/// What a step answers that is done with the tombstones of so many names.
fn swept(names: i64, cursor: &str) -> Wire {
    Wire::Array(vec![
        Wire::Int(names),
        Wire::BulkString(cursor.as_bytes().to_vec()),
    ])
}

/// What a step answers that removed so many of the names' own entries.
fn invalidated(removed: i64) -> Wire {
    Wire::Array(vec![Wire::Int(removed), bulk(&[])])
}

#[test]
fn an_invalidation_removes_the_entries_then_their_dependents_chunk_by_chunk() {
    let mut walk = walk(&["a", "b", "a"]);
    assert_eq!(words(&walk), "EVALSHA 2 a b 0");
    assert_eq!(walk.advance(invalidated(1)), Ok(false));
    assert_eq!(words(&walk), "EVALSHA 0 depend:  250 0 0 0 a b");
    let full = Drained {
        more: true,
        ..Drained::new(500, 1)
    };
    assert_eq!(walk.advance(full.wire()), Ok(false));
    assert_eq!(
        words(&walk),
        "EVALSHA 0 depend:  250 1 0 0 a b",
        "the rest of one, and the other"
    );
    assert_eq!(walk.advance(Drained::new(3, 2).wire()), Ok(true));
    assert_eq!(walk.removed, 504);
}

#[test]
fn a_cycle_is_gone_around_once_and_its_tombstones_go_last() {
    let mut walk = walk(&["a"]);
    assert_eq!(walk.advance(invalidated(1)), Ok(false));
    let around = |name, below| Drained {
        marked: name,
        below,
        ..Drained::new(1, 1)
    };
    assert_eq!(walk.advance(around(&["a"], &["b"]).wire()), Ok(false));
    assert_eq!(words(&walk), "EVALSHA 0 depend:  250 0 0 1 b");
    assert_eq!(walk.advance(around(&["b"], &["a"]).wire()), Ok(false));
    assert_eq!(
        words(&walk),
        "EVALSHA 0 depend:  1000 0 2 0 b a",
        "those below first"
    );
    assert_eq!(walk.advance(swept(2, "0")), Ok(true));
    assert_eq!(walk.removed, 3);
}

#[test]
fn what_a_crash_left_behind_is_found_again() {
    let mut walk = walk(&["a"]);
    assert_eq!(walk.advance(invalidated(0)), Ok(false));
    let found = Drained {
        marked: &["a"],
        unread: &["a", "7"],
        below: &["b"],
        ..Drained::new(0, 1)
    };
    assert_eq!(walk.advance(found.wire()), Ok(false));
    for (cursor, next) in [("7", "9"), ("9", "0")] {
        let read = format!("SSCAN cachestore:tombstones:{{a}} {cursor} COUNT 250");
        assert_eq!(words(&walk), read);
        let next = Wire::BulkString(next.as_bytes().to_vec());
        let page = Wire::Array(vec![next, bulk(&["b", "c"])]);
        assert_eq!(walk.advance(page), Ok(false));
    }
    assert_eq!(words(&walk), "EVALSHA 0 depend:  250 0 0 1 b c");
    assert_eq!(walk.advance(Drained::new(2, 2).wire()), Ok(false));
    assert_eq!(words(&walk), "EVALSHA 0 depend:  1000 0 2 0 a");
    assert_eq!(walk.advance(swept(0, "7")), Ok(false));
    assert_eq!(words(&walk), "EVALSHA 0 depend:  1000 7 1 0 a");
    assert_eq!(walk.advance(swept(1, "0")), Ok(true));
}

/// It is alone if nobody had drained when it began, and nobody but itself since.
#[test]
fn an_invalidation_tells_whether_another_has_drained_meanwhile() {
    let sweeps = [
        ([2, 1, 1], "1"),
        ([2, 1, 0], "0"),
        ([2, 2, 1], "0"),
        ([1, 1, 1], "0"),
        ([0, 1, 1], "0"),
    ];
    for (last, is_alone) in sweeps {
        let mut walk = walk(&["a"]);
        assert_eq!(walk.advance(invalidated(1)), Ok(false));
        for (last, below) in last.into_iter().zip([&["b"][..], &["c"], &[]]) {
            let marked = &["a"];
            let drained = Drained {
                marked,
                below,
                last,
                ..Drained::new(1, 1)
            };
            assert_eq!(walk.advance(drained.wire()), Ok(false));
        }
        assert_eq!(
            words(&walk),
            format!("EVALSHA 0 depend:  1000 0 2 {is_alone} a a a")
        );
    }
}

/// A server that tells so for ever that there is more is not asked for ever.
#[test]
fn an_invalidation_that_gets_no_further_ends() {
    let ends = |mut walk: Walk, answer: &dyn Fn(usize) -> Wire| {
        let step = (0..1_100_000).find(|step| walk.advance(answer(*step)).is_err());
        assert!(step.is_some_and(|step| step > 1_000_000), "{step:?}");
    };
    let begun = |marked: &[&str], unread: &[&str]| {
        let mut walk = walk(&["a"]);
        assert_eq!(walk.advance(invalidated(1)), Ok(false));
        let drained = Drained {
            marked,
            unread,
            ..Drained::new(0, 1)
        };
        assert_eq!(walk.advance(drained.wire()), Ok(false));
        walk
    };
    let cursor = |step: usize| Wire::BulkString((step + 1).to_string().into_bytes());
    ends(begun(&["a"], &[]), &|step| swept(0, &(step + 1).to_string()));
    ends(begun(&["a"], &["a", "7"]), &|step| {
        Wire::Array(vec![cursor(step), bulk(&["a"])])
    });
    let mut walk = walk(&["a"]);
    assert_eq!(walk.advance(invalidated(1)), Ok(false));
    let more = Drained {
        more: true,
        ..Drained::new(0, 1)
    };
    ends(walk, &|_| more.wire());
}

#[test]
fn many_names_share_a_step_up_to_a_bound() {
    let names: Vec<String> = (0..1200).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut many = walk(&names);
    for (step, names) in [500, 500, 200].into_iter().enumerate() {
        assert_eq!(
            words(&many).split(' ').count(),
            3 + names,
            "invalidated in step {step}"
        );
        assert_eq!(many.advance(invalidated(0)), Ok(false));
    }
    assert_eq!(words(&many).split(' ').count(), 8 + 500);
    assert_eq!(many.advance(Drained::new(0, 499).wire()), Ok(false));
    assert!(
        words(&many).ends_with(" n1199"),
        "what was not looked at comes next"
    );
    assert_eq!(many.advance(Drained::new(0, 500).wire()), Ok(false));
    assert_eq!(words(&many).split(' ').count(), 8 + 201);
    assert_eq!(many.advance(Drained::new(0, 202).wire()), Err(Unexpected));
}

/// Who listens is told each key once.
#[test]
fn an_invalidation_tells_the_keys_that_it_is_asked_for() {
    let names = [KeyMaker::new(100, false).key(&Namespace::default(), "a").unwrap()];
    let caller = Caller::new(Reply::new().0, Progress::default(), Instant::now());
    let mut walk = Walk::invalidation(&names, caller, true);
    assert_eq!(words(&walk), "EVALSHA 1 a 1");
    let own = Wire::Array(vec![Wire::Int(1), bulk(&["a"])]);
    assert_eq!(walk.advance(own), Ok(false));
    assert_eq!(walk.told(), ["a"]);
    assert_eq!(words(&walk), "EVALSHA 0 depend:  250 0 1 0 a");
    let dependents = Drained {
        told: &["b", "c"],
        ..Drained::new(2, 1)
    };
    assert_eq!(walk.advance(dependents.wire()), Ok(true));
    assert_eq!(walk.told(), ["b", "c"]);
    assert!(walk.told().is_empty());
}

#[test]
fn an_invalidation_begins_anew_on_another_server_and_counts_on() {
    let [server, another] = [Some(1), Some(2)].map(Process::of_new_connection);
    let mut walk = walk(&["a", "b"]);
    walk.enter(server);
    assert_eq!(walk.advance(invalidated(1)), Ok(false));
    let below = Drained {
        marked: &["a"],
        below: &["c"],
        ..Drained::new(2, 2)
    };
    assert_eq!(walk.advance(below.wire()), Ok(false));
    walk.enter(another);
    assert_eq!(words(&walk), "EVALSHA 2 a b 0");
    assert_eq!(walk.advance(invalidated(0)), Ok(false));
    assert_eq!(words(&walk), "EVALSHA 0 depend:  250 0 0 0 a b");
    assert_eq!(walk.advance(Drained::new(1, 2).wire()), Ok(true));
    assert_eq!(walk.removed, 4);
}
