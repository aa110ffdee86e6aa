//! The queues against a naive model of them, at random and exhaustively.

use proptest::prelude::*;

use super::*;
use crate::lock::name::named;

const KEYS: usize = 2;

/// What happens to the queues.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A waiter with so much time, or who does not wait.
    Arrive(usize, Option<u64>),
    /// The `n`th of the living leaves.
    Leave(usize),
    /// The engine answers the question that it was asked for this key.
    Answer(usize, Kind),
    Wake(usize),
    /// Time passes.
    Pass(u64),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// As the lock is: granted if it is free.
    Truly,
    Failed,
}

/// The world around the queues, which checks each effect by lists and nothing else.
#[derive(Clone)]
struct World {
    queues: Queues,
    names: Vec<Name>,
    now: u64,
    next: Waiter,
    /// In the order of their arrival: key, number, deadline.
    living: Vec<(usize, Waiter, Option<u64>)>,
    /// For whom the engine is asked, for each key.
    asked: [Option<Waiter>; KEYS],
    /// Whether the lock is held.
    held: [bool; KEYS],
    watched: [bool; KEYS],
    granted: Vec<Waiter>,
}

impl World {
    fn new() -> Self {
        Self {
            queues: Queues::new(Bounds { each: 4, all: 6 }),
            names: (0..KEYS).map(|key| named(&format!("k{key}"))).collect(),
            now: 0,
            next: 0,
            living: Vec::new(),
            asked: [None; KEYS],
            held: [false; KEYS],
            watched: [false; KEYS],
            granted: Vec::new(),
        }
    }

    fn at(&self, millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn line(&self, key: usize) -> Vec<Waiter> {
        let line = self.living.iter().filter(|(of, ..)| *of == key);
        line.map(|(_, waiter, _)| *waiter).collect()
    }

    fn step(&mut self, step: Step) {
        let mut effects = Vec::new();
        match step {
            Step::Arrive(key, wait) => {
                let waiter = self.next;
                self.next += 1;
                let deadline = wait.map(|wait| self.now + wait);
                let ahead = self.line(key).len();
                let full = ahead >= 4 || self.living.len() >= 6;
                let until = deadline.map(|deadline| self.at(deadline));
                let arrived = self.queues.arrive(&self.names[key], waiter, until, &mut effects);
                if wait.is_none() && ahead > 0 {
                    assert_eq!(arrived, Ok(()));
                    assert_eq!(effects, [Effect::Refuse(waiter)], "a newcomer never overtakes");
                    return;
                }
                assert_eq!(arrived.is_err(), full);
                if arrived.is_ok() {
                    self.living.push((key, waiter, deadline));
                }
            }
            Step::Leave(n) => {
                if self.living.is_empty() {
                    return;
                }
                let (_, waiter, _) = self.living.remove(n % self.living.len());
                self.queues.leave(waiter, &mut effects);
            }
            Step::Answer(key, kind) => {
                let Some(_) = self.asked[key] else { return };
                let retry = self.at(self.now + 10);
                let answer = match kind {
                    Kind::Failed => Answer::Failed {
                        retry: (key == 0).then_some(retry),
                    },
                    Kind::Truly if self.held[key] => Answer::Busy { retry },
                    Kind::Truly => Answer::Granted { retry },
                };
                if matches!(answer, Answer::Granted { .. }) {
                    self.held[key] = true;
                }
                let waiter = self.asked[key].take().unwrap();
                let name = self.names[key].clone();
                let now = self.at(self.now);
                self.queues.answered(&name, answer, now, &mut effects);
                let lives = self.living.iter().any(|(_, living, _)| *living == waiter);
                if let Answer::Granted { .. } = answer {
                    let expected = if lives {
                        Effect::Grant(waiter)
                    } else {
                        Effect::Orphan(name, waiter)
                    };
                    assert_eq!(effects.first(), Some(&expected));
                }
            }
            Step::Wake(key) => {
                self.held[key] = false;
                let name = self.names[key].clone();
                self.queues.wake(&name, self.at(self.now), &mut effects);
            }
            Step::Pass(millis) => {
                self.now += millis;
                let now = self.at(self.now);
                self.queues.tick(now, &mut effects);
                let late: Vec<Waiter> = self
                    .living
                    .iter()
                    .filter(|(key, waiter, deadline)| {
                        deadline.is_some_and(|at| at <= self.now) && self.asked[*key] != Some(*waiter)
                    })
                    .map(|(_, waiter, _)| *waiter)
                    .collect();
                for waiter in late {
                    let asked_now = effects
                        .iter()
                        .any(|e| matches!(e, Effect::Ask(_, w) if *w == waiter));
                    assert!(
                        asked_now || effects.contains(&Effect::Refuse(waiter)),
                        "{waiter} is overdue"
                    );
                }
            }
        }
        self.check(effects);
    }

    fn key_of(&self, name: &Name) -> usize {
        self.names.iter().position(|known| known == name).unwrap()
    }

    fn gone(&mut self, waiter: Waiter) -> (usize, Option<u64>) {
        let place = self.living.iter().position(|(_, living, _)| *living == waiter);
        let (key, _, deadline) = self.living.remove(place.expect("an effect for one who lives"));
        (key, deadline)
    }

    fn check(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask(name, waiter) => {
                    let key = self.key_of(&name);
                    assert_eq!(self.asked[key], None, "one question at a time");
                    assert_eq!(self.line(key).first(), Some(&waiter), "only the head asks");
                    self.asked[key] = Some(waiter);
                }
                Effect::Grant(waiter) => {
                    let key = self
                        .living
                        .iter()
                        .find(|(_, living, _)| *living == waiter)
                        .unwrap()
                        .0;
                    assert_eq!(self.line(key).first(), Some(&waiter), "first come, first served");
                    self.gone(waiter);
                    self.granted.push(waiter);
                }
                Effect::Orphan(name, waiter) => {
                    assert!(!self.living.iter().any(|(_, living, _)| *living == waiter));
                    let key = self.key_of(&name);
                    self.held[key] = false;
                }
                Effect::Refuse(waiter) => {
                    let (_, deadline) = self.gone(waiter);
                    assert!(deadline.is_none_or(|at| at <= self.now), "{waiter} had time left");
                }
                Effect::Fail(waiter) => {
                    self.gone(waiter);
                }
                Effect::Watch(name) => {
                    let key = self.key_of(&name);
                    assert!(!std::mem::replace(&mut self.watched[key], true));
                }
                Effect::Unwatch(name) => {
                    let key = self.key_of(&name);
                    assert!(std::mem::replace(&mut self.watched[key], false));
                    assert!(self.line(key).is_empty());
                }
            }
        }
        assert_eq!(self.queues.len(), self.living.len());
        for key in 0..KEYS {
            let waits = !self.line(key).is_empty();
            assert_eq!(
                self.queues.has_line(&self.names[key]),
                waits || self.asked[key].is_some()
            );
            if waits && self.asked[key].is_none() {
                assert!(self.watched[key], "who does not ask is told");
                let due = self.queues.next_due().expect("and asks again by itself");
                assert!(due <= self.at(self.now + 10));
            }
        }
    }

    /// Locks are released as they are granted: all who live are served, in order, and nothing is left.
    fn drain(&mut self) {
        for round in 0.. {
            assert!(round < 100, "no end");
            if self.living.is_empty() && self.asked == [None; KEYS] {
                break;
            }
            for key in 0..KEYS {
                self.step(Step::Wake(key));
                self.step(Step::Answer(key, Kind::Truly));
            }
        }
        assert!(self.queues.lines.is_empty() && self.queues.waiters.is_empty());
        assert!(self.queues.deadlines.is_empty() && self.watched == [false; KEYS]);
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS;
    prop_oneof![
        4 => (key.clone(), proptest::option::weighted(0.8, 1..40_u64)).prop_map(|(k, w)| Step::Arrive(k, w)),
        2 => (0..6_usize).prop_map(Step::Leave),
        4 => key.clone().prop_map(|k| Step::Answer(k, Kind::Truly)),
        1 => key.clone().prop_map(|k| Step::Answer(k, Kind::Failed)),
        3 => key.prop_map(Step::Wake),
        2 => (1..15_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_effect_is_what_lists_would_do(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
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
    explore(&World::new(), 5, &mut seen);
    assert_eq!(seen, (0..=5).map(|depth| 8_u64.pow(depth)).sum::<u64>());
}

/// The lock came free while the waiter had time left. Nobody looked at the clock until it had none.
#[test]
fn a_late_look_at_the_clock_refuses_nobody_who_was_in_time() {
    let mut queues = Queues::new(Bounds { each: 4, all: 4 });
    let name = named("k");
    let at = Duration::from_millis;
    let mut effects = Vec::new();
    queues.arrive(&name, 0, Some(at(20)), &mut effects).unwrap();
    queues.answered(&name, Answer::Busy { retry: at(10) }, at(0), &mut effects);
    effects.clear();
    queues.tick(at(30), &mut effects);
    assert_eq!(effects, [Effect::Ask(name.clone(), 0)]);
    effects.clear();
    let retry = at(90);
    queues.answered(&name, Answer::Granted { retry }, at(30), &mut effects);
    assert_eq!(effects, [Effect::Grant(0), Effect::Unwatch(name)]);
}

#[test]
fn ten_thousand_leave_one_line_in_any_order() {
    let mut queues = Queues::new(Bounds {
        each: 10_000,
        all: 10_000,
    });
    let name = named("k");
    let mut effects = Vec::new();
    let long = Some(Duration::from_secs(60));
    for waiter in 0..10_000 {
        queues.arrive(&name, waiter, long, &mut effects).unwrap();
    }
    assert_eq!(queues.arrive(&name, 10_000, long, &mut effects), Err(Full));
    for waiter in (0..10_000).rev() {
        queues.leave(waiter, &mut effects);
    }
    assert_eq!(effects, [Effect::Ask(name.clone(), 0)]);
    let retry = Duration::ZERO;
    queues.answered(&name, Answer::Granted { retry }, Duration::ZERO, &mut effects);
    assert_eq!(effects.last(), Some(&Effect::Orphan(name, 0)));
    assert!(queues.lines.is_empty() && queues.deadlines.is_empty());
}
