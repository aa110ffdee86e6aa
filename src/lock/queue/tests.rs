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
    /// The backend may have granted it, and did not.
    Lost,
}

/// The world around the queues, which checks each effect by lists and nothing else.
#[derive(Clone)]
struct World {
    queues: Queues<()>,
    names: Vec<Name>,
    now: u64,
    next: Waiter,
    /// In the order of their arrival: key, number, deadline.
    living: Vec<(usize, Waiter, Option<u64>)>,
    /// For whom the engine is asked, for each key.
    asked: [Option<Waiter>; KEYS],
    /// Whether the lock is held.
    held: [bool; KEYS],
    subscribed: [bool; KEYS],
    granted: Vec<Waiter>,
    /// Those who asked at their deadline or later.
    asked_last: BTreeSet<Waiter>,
}

impl World {
    fn new(asks_at_deadline: bool) -> Self {
        Self {
            queues: Queues::new(Bounds { each: 4, all: 6 }, asks_at_deadline),
            names: (0..KEYS).map(|key| named(&format!("k{key}"))).collect(),
            now: 0,
            next: 0,
            living: Vec::new(),
            asked: [None; KEYS],
            held: [false; KEYS],
            subscribed: [false; KEYS],
            granted: Vec::new(),
            asked_last: BTreeSet::new(),
        }
    }

    fn effects(&mut self) -> Vec<Effect<()>> {
        effects(&mut self.queues)
    }

    fn at(&self, millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn line(&self, key: usize) -> Vec<Waiter> {
        let line = self.living.iter().filter(|(of, ..)| *of == key);
        line.map(|(_, waiter, _)| *waiter).collect()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive(key, wait) => {
                let waiter = self.next;
                self.next += 1;
                let deadline = wait.map(|wait| self.now + wait);
                let ahead = self.line(key).len();
                let full = ahead >= 4 || self.living.len() >= 6;
                let until = deadline.map(|deadline| self.at(deadline));
                let arrived = self.queues.arrive(&self.names[key], waiter, until);
                if wait.is_none() && ahead > 0 {
                    assert_eq!(arrived, Ok(()));
                    assert_eq!(
                        self.effects(),
                        [Effect::Refuse(waiter)],
                        "a newcomer never overtakes"
                    );
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
                self.queues.leave(waiter);
            }
            Step::Answer(key, kind) => {
                let Some(_) = self.asked[key] else { return };
                let retry = self.at(self.now + 10);
                let answer = match kind {
                    Kind::Failed => Answer::Failed {
                        retry: (key == 0).then_some(retry),
                        lost: None,
                    },
                    Kind::Lost => Answer::Failed {
                        retry: Some(retry),
                        lost: Some(()),
                    },
                    Kind::Truly if self.held[key] => Answer::Busy { retry },
                    Kind::Truly => Answer::Granted { retry, grant: () },
                };
                let (granted, lost) = (
                    matches!(answer, Answer::Granted { .. }),
                    matches!(kind, Kind::Lost),
                );
                self.held[key] |= granted;
                let waiter = self.asked[key].take().unwrap();
                let name = self.names[key].clone();
                let now = self.at(self.now);
                self.queues.answered(&name, answer, now);
                let lives = self.living.iter().any(|(_, living, _)| *living == waiter);
                let effects = self.effects();
                match (granted, lost, lives) {
                    (true, _, true) => assert_eq!(effects.first(), Some(&Effect::Grant(waiter, ()))),
                    (true, _, false) | (_, true, false) => {
                        assert_eq!(effects.first(), Some(&Effect::Orphan(name, ())));
                    }
                    _ => {}
                }
                return self.check(effects);
            }
            Step::Wake(key) => {
                self.held[key] = false;
                let name = self.names[key].clone();
                self.queues.wake(&name, self.at(self.now));
            }
            Step::Pass(millis) => {
                self.now += millis;
                let now = self.at(self.now);
                self.queues.tick(now);
                let effects = self.effects();
                let late: Vec<Waiter> = self
                    .living
                    .iter()
                    .filter(|(key, waiter, deadline)| {
                        deadline.is_some_and(|at| at <= self.now) && self.asked[*key] != Some(*waiter)
                    })
                    .map(|(_, waiter, _)| *waiter)
                    .collect();
                for waiter in late {
                    // The one who is next to ask waits for the answer to another who left.
                    let key = self
                        .living
                        .iter()
                        .find(|(_, living, _)| *living == waiter)
                        .unwrap()
                        .0;
                    if self.queues.asks_at_deadline
                        && self.asked[key].is_some()
                        && self.line(key).first() == Some(&waiter)
                    {
                        continue;
                    }
                    let asked_now = effects
                        .iter()
                        .any(|e| matches!(e, Effect::Ask(_, w) if *w == waiter));
                    assert!(
                        asked_now || effects.contains(&Effect::Refuse(waiter)),
                        "{waiter} is overdue"
                    );
                }
                return self.check(effects);
            }
        }
        let effects = self.effects();
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

    fn check(&mut self, effects: Vec<Effect<()>>) {
        for effect in effects {
            match effect {
                Effect::Ask(name, waiter) => {
                    let key = self.key_of(&name);
                    assert_eq!(self.asked[key], None, "one question at a time");
                    assert_eq!(self.line(key).first(), Some(&waiter), "only the head asks");
                    self.asked[key] = Some(waiter);
                    let (_, _, deadline) = self
                        .living
                        .iter()
                        .find(|(_, living, _)| *living == waiter)
                        .unwrap();
                    if deadline.is_some_and(|at| at <= self.now) {
                        assert!(self.asked_last.insert(waiter), "one last question");
                    }
                }
                Effect::Grant(waiter, ()) => {
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
                Effect::Orphan(name, ()) => {
                    let key = self.key_of(&name);
                    self.held[key] = false;
                }
                Effect::Refuse(waiter) => {
                    let was_first = (0..KEYS).any(|key| self.line(key).first() == Some(&waiter));
                    let (_, deadline) = self.gone(waiter);
                    if self.queues.asks_at_deadline && was_first && deadline.is_some() {
                        assert!(
                            self.asked_last.contains(&waiter),
                            "{waiter} was not asked for at its deadline"
                        );
                    }
                    assert!(deadline.is_none_or(|at| at <= self.now), "{waiter} had time left");
                }
                Effect::Fail(waiter) => {
                    self.gone(waiter);
                }
                Effect::Subscribe(name) => {
                    let key = self.key_of(&name);
                    assert!(!std::mem::replace(&mut self.subscribed[key], true));
                }
                Effect::End { name, subscribed } => {
                    let key = self.key_of(&name);
                    assert_eq!(std::mem::take(&mut self.subscribed[key]), subscribed);
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
                assert!(self.subscribed[key], "it is told if it does not ask");
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
        assert!(self.queues.deadlines.is_empty() && self.subscribed == [false; KEYS]);
    }
}

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
