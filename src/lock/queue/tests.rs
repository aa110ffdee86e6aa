//! The queues against a naive model of them, at random and exhaustively.

mod world;

use proptest::prelude::*;

use self::world::{KEYS, Kind, Step, World};
use super::*;
use crate::lock::name::named;

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS;
    prop_oneof![
        4 => (key.clone(), proptest::option::weighted(0.8, 1..40_u64)).prop_map(|(k, w)| Step::Arrive(k, w)),
        2 => (0..6_usize).prop_map(Step::Leave),
        4 => key.clone().prop_map(|k| Step::Answer(k, Kind::Truly)),
        1 => key.clone().prop_map(|k| Step::Answer(k, Kind::Failed)),
        1 => key.clone().prop_map(|k| Step::Answer(k, Kind::Lost)),
        3 => key.prop_map(Step::Wake),
        2 => (1..15_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_effect_is_what_lists_would_do(
        asks_at_deadline: bool,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new(asks_at_deadline);
        for step in steps {
            world.step(step);
        }
        world.drain();
    }
}

/// Every schedule of up to five steps of one lock.
#[test]
fn every_short_schedule_ends_with_all_served_and_nothing_left() {
    const STEPS: [Step; 8] = [
        Step::Arrive(0, Some(12)),
        Step::Arrive(0, None),
        Step::Leave(0),
        Step::Leave(1),
        Step::Answer(0, Kind::Truly),
        Step::Answer(0, Kind::Failed),
        Step::Wake(0),
        Step::Pass(11),
    ];
    fn explore(world: &World, depth: usize, seen: &mut u64) {
        *seen += 1;
        world.clone().drain();
        if depth == 0 {
            return;
        }
        for step in STEPS {
            let mut next = world.clone();
            next.step(step);
            explore(&next, depth - 1, seen);
        }
    }
    let mut seen = 0;
    explore(&World::new(false), 5, &mut seen);
    explore(&World::new(true), 5, &mut seen);
    assert_eq!(seen, 2 * (0..=5).map(|depth| 8_u64.pow(depth)).sum::<u64>());
}

/// What is to be done.
fn effects(queues: &mut Queues<()>) -> Vec<Effect<()>> {
    std::iter::from_fn(|| queues.next_effect()).collect()
}

fn granted(retry: Duration) -> Answer<()> {
    Answer::Granted { retry, grant: () }
}

/// The lock came free while the waiter had time left. Nobody looked at the clock until it had none.
#[test]
fn a_late_look_at_the_clock_refuses_nobody_who_was_in_time() {
    for asks_at_deadline in [false, true] {
        let mut queues = Queues::new(Bounds { each: 4, all: 4 }, asks_at_deadline);
        let name = named("k");
        let at = Duration::from_millis;
        queues.arrive(&name, 0, Some(at(20))).unwrap();
        queues.answered(&name, Answer::Busy { retry: at(10) }, at(0));
        effects(&mut queues);
        queues.tick(at(30));
        assert_eq!(effects(&mut queues), [Effect::Ask(name.clone(), 0)]);
        queues.answered(&name, granted(at(90)), at(30));
        let end = Effect::End {
            name,
            subscribed: true,
        };
        assert_eq!(effects(&mut queues), [Effect::Grant(0, ()), end]);
    }
}

/// A question that was sent before the deadline tells nothing of what came after it.
#[test]
fn a_head_asks_once_more_if_its_deadline_passes_while_it_asks() {
    let mut queues = Queues::new(Bounds { each: 4, all: 4 }, true);
    let name = named("k");
    let at = Duration::from_millis;
    let busy = || Answer::Busy { retry: at(500) };
    queues.arrive(&name, 0, Some(at(20))).unwrap();
    queues.arrive(&name, 1, Some(at(90))).unwrap();
    effects(&mut queues);
    queues.tick(at(20));
    assert_eq!(effects(&mut queues), [], "the answer is on its way");
    queues.answered(&name, busy(), at(21));
    assert_eq!(effects(&mut queues), [Effect::Ask(name.clone(), 0)]);
    queues.answered(&name, busy(), at(22));
    assert_eq!(
        effects(&mut queues),
        [Effect::Refuse(0), Effect::Subscribe(name.clone())]
    );
    // The next asks at its deadline.
    queues.tick(at(89));
    assert_eq!(effects(&mut queues), []);
    queues.tick(at(90));
    assert_eq!(effects(&mut queues), [Effect::Ask(name.clone(), 1)]);
    queues.answered(&name, granted(at(500)), at(91));
    assert_eq!(effects(&mut queues).first(), Some(&Effect::Grant(1, ())));
}

#[test]
fn ten_thousand_leave_one_line_in_any_order() {
    let mut queues = Queues::new(
        Bounds {
            each: 10_000,
            all: 10_000,
        },
        false,
    );
    let name = named("k");
    let long = Some(Duration::from_secs(60));
    for waiter in 0..10_000 {
        queues.arrive(&name, waiter, long).unwrap();
    }
    assert_eq!(queues.arrive(&name, 10_000, long), Err(Full));
    for waiter in (0..10_000).rev() {
        queues.leave(waiter);
    }
    assert_eq!(effects(&mut queues), [Effect::Ask(name.clone(), 0)]);
    queues.answered(&name, granted(Duration::ZERO), Duration::ZERO);
    assert_eq!(effects(&mut queues).first(), Some(&Effect::Orphan(name, ())));
    assert!(queues.lines.is_empty() && queues.deadlines.is_empty());
}
