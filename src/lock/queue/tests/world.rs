//! The queues, and lists that do the same.

use super::*;

pub(super) const KEYS: usize = 2;

/// What happens to the queues.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
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
pub(super) enum Kind {
    /// As the lock is: granted if it is free.
    Truly,
    Failed,
    /// The backend may have granted it, and did not.
    Lost,
}

/// The world around the queues, which checks each effect by lists and nothing else.
#[derive(Clone)]
pub(super) struct World {
    pub(super) queues: Queues<()>,
    pub(super) names: Vec<Name>,
    pub(super) now: u64,
    pub(super) next: Waiter,
    /// In the order of their arrival: key, number, deadline.
    pub(super) living: Vec<(usize, Waiter, Option<u64>)>,
    /// For whom the engine is asked, for each key.
    pub(super) asked: [Option<Waiter>; KEYS],
    /// Whether the lock is held.
    pub(super) held: [bool; KEYS],
    pub(super) subscribed: [bool; KEYS],
    pub(super) granted: Vec<Waiter>,
    /// Those who asked at their deadline or later.
    pub(super) asked_last: BTreeSet<Waiter>,
}

impl World {
    pub(super) fn new(asks_at_deadline: bool) -> Self {
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

    pub(super) fn effects(&mut self) -> Vec<Effect<()>> {
        effects(&mut self.queues)
    }

    pub(super) fn at(&self, millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    pub(super) fn line(&self, key: usize) -> Vec<Waiter> {
        let line = self.living.iter().filter(|(of, ..)| *of == key);
        line.map(|(_, waiter, _)| *waiter).collect()
    }

    pub(super) fn step(&mut self, step: Step) {
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

    pub(super) fn key_of(&self, name: &Name) -> usize {
        self.names.iter().position(|known| known == name).unwrap()
    }

    pub(super) fn gone(&mut self, waiter: Waiter) -> (usize, Option<u64>) {
        let place = self.living.iter().position(|(_, living, _)| *living == waiter);
        let (key, _, deadline) = self.living.remove(place.expect("an effect for one who lives"));
        (key, deadline)
    }

    pub(super) fn check(&mut self, effects: Vec<Effect<()>>) {
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
    pub(super) fn drain(&mut self) {
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
