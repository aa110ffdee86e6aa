//! What is kept, and what becomes of it on overflow.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::key::KeyMaker;

/// Keys of a store, by the path of their namespace.
struct Keys(KeyMaker);

impl Keys {
    fn new() -> Self {
        Self(KeyMaker::new(1000, false))
    }

    fn all(&self, path: &str, names: &[&str]) -> (Vec<Key>, Within) {
        let namespace = namespace(path);
        let key = |name: &&str| self.0.key(&namespace, name).unwrap();
        (names.iter().map(key).collect(), namespace.within())
    }

    fn entries(&self, path: &str, names: &[&str]) -> Removal {
        let (keys, within) = self.all(path, names);
        Removal::Entries(keys, within)
    }

    fn dependents(&self, path: &str, names: &[&str]) -> Removal {
        let (keys, within) = self.all(path, names);
        Removal::Dependents(keys, within)
    }
}

fn namespace(path: &str) -> Namespace {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.fold(Namespace::default(), |outer, name| outer.nested(name).unwrap())
}

fn removals(keys: usize) -> Removals {
    let bytes = usize::MAX;
    Removals::new(RemovalLimits { keys, bytes }, &Namespace::default())
}

/// All steps of a replay that succeeds: what is deleted, what is invalidated, what is cleared.
fn replayed(removals: &mut Removals) -> (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
    let (mut deleted, mut invalidated, mut cleared) = Default::default();
    let texts = |keys: Vec<(Key, Within)>| keys.into_iter().map(|(key, _)| key.as_str().to_owned());
    while let Some(chunk) = removals.begin_step() {
        match chunk {
            Chunk::Entries(keys) => BTreeSet::extend(&mut deleted, texts(keys)),
            Chunk::Dependents(keys) => BTreeSet::extend(&mut invalidated, texts(keys)),
            Chunk::Prefixes(prefixes) => BTreeSet::extend(&mut cleared, prefixes),
        }
        removals.end_step(true);
    }
    assert!(removals.is_empty());
    assert_eq!((removals.bytes, removals.shares.len()), (0, 0));
    (deleted, invalidated, cleared)
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_is_kept_unless_it_is_asked_for() {
    let (keys, mut removals) = (Keys::new(), removals(0));
    removals.add(keys.entries("", &["a"]));
    removals.add(Removal::Prefixes(vec![String::new()]));
    assert!(!removals.are_kept() && removals.is_empty());
}

#[test]
fn a_key_is_kept_once_and_an_invalidation_is_more_than_a_delete() {
    let (keys, mut removals) = (Keys::new(), removals(10));
    for _ in 0..100 {
        removals.add(keys.entries("", &["a", "b", "a"]));
        removals.add(keys.dependents("", &["b", "c"]));
        removals.add(keys.entries("", &["c"]));
    }
    assert_eq!(removals.len(), 3);
    assert_eq!(replayed(&mut removals), (set(&["a"]), set(&["b", "c"]), set(&[])));
}

#[test]
fn a_clearing_covers_deletes_under_it_but_not_what_depends_on_names_there() {
    let (keys, mut removals) = (Keys::new(), removals(10));
    removals.add(keys.entries("t", &["before"]));
    removals.add(keys.dependents("t", &["before"]));
    removals.add(Removal::Prefixes(vec!["t:".to_owned()]));
    removals.add(Removal::Prefixes(vec!["t:".to_owned()]));
    removals.add(keys.entries("t", &["after"]));
    removals.add(keys.entries("", &["t:after", "other"]));
    removals.add(keys.dependents("t", &["after"]));
    assert_eq!(
        replayed(&mut removals),
        (set(&["other"]), set(&["t:before", "t:after"]), set(&["t:"]))
    );
}

#[test]
fn a_clearing_of_the_root_covers_everything() {
    let (keys, mut removals) = (Keys::new(), removals(10));
    removals.add(keys.dependents("t", &["before"]));
    removals.add(Removal::Prefixes(vec!["t:".to_owned(), String::new()]));
    removals.add(keys.dependents("", &["after"]));
    removals.add(keys.entries("u", &["after"]));
    assert_eq!(replayed(&mut removals), (set(&[]), set(&[]), set(&[""])));
}

#[test]
fn on_overflow_the_largest_namespace_is_cleared_and_others_are_not() {
    let (keys, mut removals) = (Keys::new(), removals(4));
    removals.add(keys.entries("small", &["a"]));
    removals.add(keys.dependents("large", &["a", "b", "c"]));
    assert!(removals.take_overflown().is_empty());
    removals.add(keys.entries("small", &["b"]));
    assert_eq!(removals.take_overflown(), ["large:"]);
    assert_eq!(removals.len(), 3);
    removals.add(keys.entries("large", &["d", "e", "f", "g"]));
    assert!(removals.take_overflown().is_empty());
    assert_eq!(
        replayed(&mut removals),
        (set(&["small:a", "small:b"]), set(&[]), set(&["large:"]))
    );
}

#[test]
fn an_overflow_of_the_root_store_clears_the_whole_database() {
    let (keys, mut removals) = (Keys::new(), removals(2));
    removals.add(keys.entries("t", &["a"]));
    removals.add(keys.entries("", &["user:1", "user:2"]));
    assert_eq!(removals.take_overflown(), [""]);
    assert_eq!(replayed(&mut removals), (set(&[]), set(&[]), set(&[""])));
}

#[test]
fn the_bytes_of_keys_are_bounded() {
    let keys = Keys::new();
    let limits = RemovalLimits {
        keys: usize::MAX,
        bytes: 100 * (COST + 900),
    };
    let mut removals = Removals::new(limits, &Namespace::default());
    let long = "x".repeat(890);
    for n in 0..1000 {
        let name = format!("{long}{n}");
        removals.add(keys.entries("t", &[&name]));
        assert!(removals.bytes <= limits.bytes);
    }
    assert_eq!(replayed(&mut removals).2, set(&["t:"]));
}

#[test]
fn very_many_namespaces_become_the_whole_store_which_is_what_it_was_opened_in() {
    let keys = Keys::new();
    for (opened, all) in [("", set(&[""])), ("app", set(&["app:", "app/"]))] {
        let (limits, opened_in) = (
            RemovalLimits {
                keys: 1,
                bytes: usize::MAX,
            },
            namespace(opened),
        );
        let mut removals = Removals::new(limits, &opened_in);
        for n in 0..NAMESPACES + 2 {
            removals.add(keys.entries(&format!("{opened}/{n}"), &["a", "b"]));
        }
        assert_eq!(removals.len(), all.len());
        removals.add(keys.dependents(opened, &["a"]));
        assert_eq!(replayed(&mut removals), (set(&[]), set(&[]), all));
    }
}

#[test]
fn a_replay_that_fails_keeps_all_that_is_not_confirmed() {
    let (keys, mut removals) = (Keys::new(), removals(5000));
    let names: Vec<String> = (0..1500).map(|n| format!("k{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    removals.add(keys.dependents("", &names));
    removals.add(Removal::Prefixes(vec!["t:".to_owned()]));
    assert!(removals.begin_step().is_some());
    assert_eq!(removals.end_step(true), CHUNK);
    let Some(Chunk::Dependents(lost)) = removals.begin_step() else {
        panic!("names come first");
    };
    // One that comes during a step may be younger than the step.
    removals.add(keys.entries("", &[lost[0].0.as_str(), "new"]));
    assert_eq!(removals.end_step(false), CHUNK);
    assert_eq!(removals.len(), 1500 - CHUNK + 2);
    let (deleted, invalidated, cleared) = replayed(&mut removals);
    assert_eq!((deleted, cleared), (set(&["new"]), set(&["t:"])));
    assert_eq!(invalidated.len(), 1500 - CHUNK);
    assert!(invalidated.contains(lost[0].0.as_str()));
}

/// The server refuses a command for one of its keys. All others are removed.
#[test]
fn what_is_refused_is_found_among_its_neighbours() {
    let (keys, mut removals) = (Keys::new(), removals(5000));
    let names: Vec<String> = (0..1500).map(|n| format!("k{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    removals.add(keys.entries("", &names));
    let forbidden = ["k7", "k700", "k701"];
    let (mut done, mut steps, mut dropped) = (0, 0, 0);
    while let Some(chunk) = removals.begin_step() {
        let Chunk::Entries(step) = chunk else {
            panic!("they are entries");
        };
        steps += 1;
        if step.iter().any(|(key, _)| forbidden.contains(&key.as_str())) {
            dropped += removals.refuse_step();
        } else {
            done += removals.end_step(true);
        }
    }
    assert_eq!((done, dropped), (1497, 3));
    assert!(steps <= 100, "{steps}");
    assert_eq!((removals.len(), removals.bytes), (0, 0));
}

/// Nothing is asked for twice as often as there are keys.
#[test]
fn what_is_refused_altogether_is_dropped() {
    let (keys, mut removals) = (Keys::new(), removals(5000));
    removals.add(keys.dependents("", &["a", "b", "c", "d", "e"]));
    removals.add(Removal::Prefixes(vec!["t:".to_owned(), "u:".to_owned()]));
    let (mut steps, mut dropped) = (0, 0);
    while removals.begin_step().is_some() {
        steps += 1;
        dropped += removals.refuse_step();
    }
    assert_eq!((dropped, removals.len(), removals.bytes), (7, 0, 0));
    assert!(steps <= 12, "{steps}");
}

#[test]
fn what_comes_during_a_step_is_replayed_after_it() {
    let (keys, mut removals) = (Keys::new(), removals(10));
    removals.add(keys.entries("", &["a"]));
    assert!(removals.begin_step().is_some());
    removals.add(keys.entries("", &["a"]));
    assert_eq!(removals.len(), 2);
    removals.end_step(true);
    assert_eq!(replayed(&mut removals).0, set(&["a"]));
}

#[derive(Debug, Clone)]
enum Act {
    Delete(usize, usize),
    Invalidate(usize, usize),
    Clear(usize),
    Step(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..4usize, 0..6usize).prop_map(|(path, key)| Act::Delete(path, key)),
        4 => (0..4usize, 0..6usize).prop_map(|(path, key)| Act::Invalidate(path, key)),
        1 => (0..4usize).prop_map(Act::Clear),
        2 => any::<bool>().prop_map(Act::Step),
    ];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    /// Whatever was added is covered by a step that was done later: a key by its delete, its invalidation or a clearing
    /// above it; a name by its invalidation, or by the clearing of its namespace on overflow or of everything.
    #[test]
    fn nothing_that_was_added_is_forgotten_and_the_bounds_hold(acts in acts(), most in 1..8usize) {
        const PATHS: [&str; 4] = ["", "a", "b", "b/c"];
        let (keys, mut removals) = (Keys::new(), removals(most));
        // What is not done yet: the key, and whether its dependents go with it.
        let mut owed: BTreeSet<(String, bool)> = BTreeSet::new();
        // Prefixes whose names go with a clearing, because they overflowed.
        let mut overflown = BTreeSet::new();
        let done = |removals: &mut Removals, owed: &mut BTreeSet<(String, bool)>, overflown: &mut BTreeSet<String>, works| {
            let Some(chunk) = removals.begin_step() else { return false };
            removals.end_step(works);
            overflown.extend(removals.take_overflown());
            if works {
                owed.retain(|(key, dependents)| match &chunk {
                    Chunk::Entries(keys) => *dependents || !keys.iter().any(|(done, _)| done.as_str() == key),
                    Chunk::Dependents(keys) => !keys.iter().any(|(done, _)| done.as_str() == key),
                    Chunk::Prefixes(prefixes) => !prefixes.iter().any(|prefix| {
                        key.starts_with(prefix.as_str())
                            && (!dependents || prefix.is_empty() || overflown.contains(prefix))
                    }),
                });
            }
            true
        };
        for act in acts {
            match act {
                Act::Delete(path, key) | Act::Invalidate(path, key) => {
                    let dependents = matches!(act, Act::Invalidate(..));
                    let name = key.to_string();
                    let removal = if dependents {
                        keys.dependents(PATHS[path], &[&name])
                    } else {
                        keys.entries(PATHS[path], &[&name])
                    };
                    let (all, _) = keys.all(PATHS[path], &[&name]);
                    owed.insert((all[0].as_str().to_owned(), dependents));
                    removals.add(removal);
                    overflown.extend(removals.take_overflown());
                }
                Act::Clear(path) => {
                    removals.add(Removal::Prefixes(vec![namespace(PATHS[path]).prefix().to_owned()]));
                }
                Act::Step(works) => {
                    done(&mut removals, &mut owed, &mut overflown, works);
                }
            }
            prop_assert!(removals.keys.len() <= most);
            prop_assert!(removals.prefixes.len() <= PATHS.len());
        }
        while done(&mut removals, &mut owed, &mut overflown, true) {}
        prop_assert!(owed.is_empty(), "{owed:?}");
        prop_assert_eq!((removals.len(), removals.bytes, removals.shares.len()), (0, 0, 0));
    }
}
