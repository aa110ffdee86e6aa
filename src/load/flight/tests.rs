//! Flights against an engine, a source and other processes that do as they like.

mod step;
mod world;

use proptest::prelude::*;

use self::step::{Step, step};
use self::world::{World, key};
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Nobody is given a value that is older than what had changed before he came, nothing old is stored,
    /// everybody is told once, and nothing is left behind.
    #[test]
    fn nobody_is_given_what_had_changed_before_he_came(
        late: bool, steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World { late, ..World::default() };
        for step in steps {
            world.step(step);
        }
        world.drain();
        prop_assert!(world.waiting.is_empty(), "still waiting: {:?}", world.waiting);
        prop_assert!(world.open.is_empty(), "still open: {:?}", world.open);
        prop_assert_eq!(world.flights.sizes(), (0, 0, 0));
        prop_assert_eq!(world.flights.under_way(), 0);
        prop_assert!(world.slots.iter().all(|slot| slot.lease.is_none()), "a lease was left behind");
    }
}

/// A world in which one caller has come for the first key, and its load runs.
fn one_runs() -> World {
    let mut world = World::default();
    come(&mut world);
    exchange(&mut world);
    assert_eq!(world.running.len(), 1);
    world
}

/// The engine serves a request, and its answer arrives.
fn exchange(world: &mut World) {
    world.step(Step::Serve(0));
    world.step(Step::Deliver(0));
}

fn come(world: &mut World) {
    come_with(world, false, false);
}

fn refresh(world: &mut World) {
    come_with(world, true, false);
}

/// One comes for the first key: to refresh it, or with something stale to serve.
fn come_with(world: &mut World, refresh: bool, stale: bool) {
    world.step(Step::Come {
        first: 0,
        keys: 1,
        refresh,
        stale,
    });
}

#[test]
fn a_source_that_failed_is_left_alone_by_all_who_have_something_stale() {
    let mut world = one_runs();
    world.step(Step::Finish {
        which: 0,
        all: true,
        fails: true,
    });
    world.serve(0);
    let asked = |world: &World| world.slots[0].requests.len();
    for _ in 0..1000 {
        come_with(&mut world, true, false);
        come_with(&mut world, false, true);
    }
    assert_eq!((asked(&world), world.served_stale), (0, 1000));
    come(&mut world);
    assert_eq!(asked(&world), 1, "who has nothing stale asks");
    world.step(Step::Leave(0));
    world.drain();
    world.step(Step::Wait(1000));
    come_with(&mut world, false, true);
    assert_eq!(asked(&world), 1, "the pause is over");
    world.drain();
    assert_eq!(world.flights.sizes(), (0, 0, 0));
}

#[test]
fn who_has_something_stale_does_not_wait_for_a_load_that_was_too_slow_for_others() {
    let mut world = World::default();
    come_with(&mut world, false, true);
    exchange(&mut world);
    world.step(Step::Overdue(0));
    (0..1000).for_each(|_| come_with(&mut world, false, true));
    assert_eq!((world.served_stale, world.waiting.len()), (1000, 0));
    assert!(world.slots[0].requests.is_empty());
    come(&mut world);
    assert_eq!(world.waiting.len(), 1, "who has nothing stale waits");
    world.drain();
    assert_eq!(world.slots[0].stored, Some(0), "the load went on");
    come_with(&mut world, false, true);
    assert_eq!(world.waiting.len(), 1, "the next load is another");
    world.drain();
}

#[test]
fn callers_of_one_key_share_one_load() {
    let mut world = World::default();
    (0..1000).for_each(|_| come(&mut world));
    exchange(&mut world);
    assert_eq!(
        world.slots[0].requests.len(),
        0,
        "all of them joined what began with the answer"
    );
    (0..1000).for_each(|_| come(&mut world));
    world.drain();
    assert!(world.waiting.is_empty());
    assert_eq!(world.started.len(), 1);
}

#[test]
fn who_comes_after_a_change_starts_a_new_load() {
    let mut world = one_runs();
    world.step(Step::Change(0));
    come(&mut world);
    exchange(&mut world);
    assert_eq!(world.running.len(), 2);
    world.drain();
    assert!(world.waiting.is_empty());
    assert_eq!(world.slots[0].stored, Some(1));
}

#[test]
fn a_refresh_joins_nothing_and_asks_nothing_while_a_load_runs() {
    let mut world = one_runs();
    (0..10).for_each(|_| refresh(&mut world));
    assert!(world.slots[0].requests.is_empty());
    assert_eq!(world.open.len(), 1);
}

#[test]
fn who_waits_for_another_process_takes_over_when_its_lease_ends() {
    let mut world = World::default();
    world.step(Step::Foreign(0));
    come(&mut world);
    exchange(&mut world);
    assert_eq!(world.running.len(), 0);
    world.slots[0].lease = None;
    world.step(Step::Hear(Some(0)));
    exchange(&mut world);
    assert_eq!(
        world.running.len(),
        1,
        "its lease was invalidated before it could store anything"
    );
    world.drain();
    assert!(world.waiting.is_empty());
}

#[test]
fn a_load_for_which_nobody_waits_any_more_is_not_begun_but_goes_on_if_it_was() {
    let mut world = World::default();
    come(&mut world);
    world.step(Step::Leave(0));
    world.drain();
    assert!(world.started.is_empty());
    let mut world = one_runs();
    world.step(Step::Leave(0));
    world.drain();
    assert_eq!(world.slots[0].stored, Some(0));
}

#[test]
fn what_was_made_from_a_value_that_may_not_have_been_stored_is_not_stored() {
    let mut flights = Flights::default();
    let mut effects = Vec::new();
    for (load, at, names) in [(1, 0, vec![key(1)]), (2, 1, vec![])] {
        let wanted = Wanted {
            mark: None,
            key: key(at),
            caller: Some(load),
            seen: Seen::Nothing,
            patience: None,
        };
        let terms = Terms {
            names,
            has_contexts: false,
            retry_after: Duration::ZERO,
        };
        flights.begin(load, terms, vec![wanted], Duration::ZERO, &mut effects);
        flights.answered(
            &key(at),
            Answer::Taken { needed: true },
            Duration::ZERO,
            &mut effects,
        );
    }
    let product = Product {
        stored: true,
        kept: false,
        late: false,
    };
    flights.loaded(2, |_| Some(product), Duration::ZERO, &mut effects);
    flights.stored(2, &key(1), Fate::NotStored, false, Duration::ZERO, &mut effects);
    effects.clear();
    flights.loaded(1, |_| Some(product), Duration::ZERO, &mut effects);
    let superseded = Told::Loaded {
        load: 1,
        key: key(0),
        fate: Fate::Superseded,
        own: true,
    };
    assert!(effects.contains(&Effect::Tell(1, superseded)), "{effects:?}");
    assert!(!effects.contains(&Effect::Store(1, key(0))));
}
