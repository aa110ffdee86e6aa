//! An engine, a source and other processes that do as they like.

use std::collections::{HashMap, HashSet, VecDeque};

use super::super::answers::LONGEST_PAUSE;
use super::super::*;
use crate::error::{Cause, Error};
use crate::key::{KeyMaker, Namespace};

pub(super) const KEYS: usize = 3;
/// How long a failing source is left alone.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Whose lease it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Holder {
    Load(LoadId),
    Abroad,
}

/// A key at the engine.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) requests: VecDeque<Request>,
    pub(super) answers: VecDeque<Reply>,
    pub(super) lease: Option<Holder>,
    /// The version of the source that is stored.
    pub(super) stored: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Request {
    Take(LoadId),
    Store(LoadId),
    End(LoadId),
}

#[derive(Debug)]
pub(super) enum Reply {
    Asked(Answer),
    Stored(LoadId, Fate),
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) flights: Flights,
    pub(super) slots: [Slot; KEYS],
    /// The source's versions: one more with each change.
    pub(super) source: [u64; KEYS],
    /// What loads that run have read from the source, when they began: the oldest that they can have.
    pub(super) running: HashMap<LoadId, HashMap<usize, u64>>,
    /// Loads that have not been forgotten, and those that had a loader to start.
    pub(super) open: HashSet<LoadId>,
    pub(super) started: HashSet<LoadId>,
    pub(super) finished: HashSet<LoadId>,
    /// Direct loads that have not ended, and whether callers have joined them.
    pub(super) direct: HashMap<LoadId, bool>,
    /// Callers who wait: for which key, and the source's version when they came.
    pub(super) waiting: HashMap<CallerId, (usize, u64)>,
    /// Callers who have something stale, and how many of them were told to serve it.
    pub(super) stale: HashSet<CallerId>,
    pub(super) served_stale: usize,
    pub(super) now: Duration,
    pub(super) numbers: u64,
    /// Whether only the results of loads tell what they depend on.
    pub(super) late: bool,
}

pub(super) fn key(index: usize) -> Key {
    thread_local!(static MAKER: KeyMaker = KeyMaker::new(10, false));
    MAKER.with(|maker| maker.key(&Namespace::default(), &format!("k{index}")).unwrap())
}

fn index(key: &Key) -> usize {
    key.as_str()[1..].parse().unwrap()
}

impl World {
    pub(super) fn terms(&self) -> Terms {
        Terms {
            names: Vec::new(),
            retry_after: PAUSE,
            has_contexts: self.late,
        }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut Flights, Duration, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        change(&mut self.flights, self.now, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Take(load, key) => {
                let requests = &mut self.slots[index(&key)].requests;
                let asked = requests.iter().any(|request| matches!(request, Request::Take(_)));
                assert!(!asked, "one question at a time");
                requests.push_back(Request::Take(load));
            }
            Effect::Start(load, keys) => {
                assert!(
                    self.open.contains(&load) && self.started.insert(load),
                    "one start a load"
                );
                let read = keys.iter().map(|key| (index(key), self.source[index(key)]));
                self.running.insert(load, read.collect());
            }
            Effect::Store(load, key) => self.slots[index(&key)].requests.push_back(Request::Store(load)),
            Effect::End(load, key, _) => self.slots[index(&key)].requests.push_back(Request::End(load)),
            Effect::Forget(load) => {
                assert!(self.open.remove(&load), "forgotten once");
                self.running.remove(&load);
            }
            Effect::Tell(caller, told) => {
                let Some((at, version)) = self.waiting.remove(&caller) else {
                    return;
                };
                if told == Told::ServeStale {
                    assert!(self.stale.contains(&caller), "a caller with nothing stale loads");
                    self.served_stale += 1;
                }
                if let Told::Loaded { load, key, fate, .. } = told {
                    assert_eq!(index(&key), at);
                    self.check_given(load, at, version, fate);
                }
            }
            Effect::Joined(load, _) => {
                assert!(self.open.contains(&load), "it is told before it is forgotten")
            }
            Effect::Failing(load, ..) => {
                assert!(self.open.contains(&load), "it is told before it is forgotten")
            }
            Effect::Disown(_)
            | Effect::Outdate(_)
            | Effect::KeepNothing
            | Effect::Recovered(_)
            | Effect::Subscribe(_)
            | Effect::Unsubscribe(_) => {}
        }
    }

    /// A caller who came at this version of the source is given what a load made.
    fn check_given(&self, load: LoadId, at: usize, version: u64, fate: Fate) {
        let read = self.running[&load][&at];
        assert!(
            read >= version,
            "a value older than what was changed before the caller came"
        );
        assert!(fate != Fate::Stored || self.slots[at].stored.is_some() || read < self.source[at]);
    }

    /// A read finds nothing and is given the lease, if that is free.
    pub(super) fn begin_direct(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.lease.is_some() || slot.stored.is_some() {
            return;
        }
        self.numbers += 1;
        let load = self.numbers;
        slot.lease = Some(Holder::Load(load));
        self.direct.insert(load, false);
        self.running.insert(load, HashMap::from([(at, self.source[at])]));
        // A load and a caller never have the same number.
        self.waiting.insert(load, (at, self.source[at]));
    }

    /// Makes a direct load known to the flights, as the coordinator does.
    fn adopt(&mut self, load: LoadId, at: usize) {
        if self.direct.insert(load, true) == Some(false) {
            self.open.insert(load);
            self.started.insert(load);
            let terms = self.terms();
            self.flights.adopt(load, &key(at), terms, Marks::default());
        }
    }

    /// A direct load has ended. The flights go on with it if others have joined, or if it is not stored.
    fn land(&mut self, load: LoadId, at: usize, fate: Option<Fate>) {
        let joined = self.direct[&load];
        if let (false, Some(fate @ Fate::Stored)) = (joined, fate) {
            if let Some((at, version)) = self.waiting.remove(&load) {
                self.check_given(load, at, version, fate);
            }
            self.direct.remove(&load);
            self.running.remove(&load);
            return;
        }
        self.adopt(load, at);
        self.direct.remove(&load);
        self.flights.embark(load, &key(at), load);
        let late = self.late;
        self.change(|flights, now, effects| match fate {
            Some(fate) => flights.stored(load, &key(at), fate, late, now, effects),
            None => flights.failed(load, now, effects),
        });
    }

    pub(super) fn deliver(&mut self, at: usize) {
        let key = key(at);
        match self.slots[at].answers.pop_front() {
            Some(Reply::Stored(load, fate)) if self.direct.contains_key(&load) => {
                self.land(load, at, Some(fate));
            }
            Some(Reply::Asked(Answer::HeldHere(other))) if self.direct.contains_key(&other) => {
                self.adopt(other, at);
                let answer = Answer::HeldHere(other);
                self.change(|flights, now, effects| flights.answered(&key, answer, now, effects));
            }
            Some(Reply::Asked(answer)) => {
                self.change(|flights, now, effects| flights.answered(&key, answer, now, effects));
            }
            Some(Reply::Stored(load, fate)) => {
                let late = self.late;
                self.change(|flights, now, effects| flights.stored(load, &key, fate, late, now, effects));
            }
            None => {}
        }
    }

    pub(super) fn serve(&mut self, at: usize) {
        let Some(request) = self.slots[at].requests.pop_front() else {
            return;
        };
        let key = key(at);
        let slot = &mut self.slots[at];
        match request {
            Request::Take(load) => {
                let seen = self.flights.seen(&key);
                let answer = match slot.lease {
                    None => {
                        slot.lease = Some(Holder::Load(load));
                        let needed = slot.stored.is_none() || seen != Seen::Nothing;
                        Answer::Taken { needed }
                    }
                    Some(Holder::Load(other)) => Answer::HeldHere(other),
                    Some(Holder::Abroad) => Answer::HeldAbroad(Duration::from_secs(30)),
                };
                slot.answers.push_back(Reply::Asked(answer));
            }
            Request::Store(load) => {
                let mine = slot.lease == Some(Holder::Load(load));
                let read = self.running.get(&load).map_or(0, |read| read[&at]);
                if mine && self.late && read != self.source[at] {
                    slot.lease = None;
                }
                let lives = slot.lease == Some(Holder::Load(load));
                let fate = if lives {
                    assert_eq!(read, self.source[at], "what is stored is what the source has");
                    (slot.lease, slot.stored) = (None, Some(read));
                    Fate::Stored
                } else {
                    Fate::Superseded
                };
                slot.answers.push_back(Reply::Stored(load, fate));
            }
            Request::End(load) => {
                if slot.lease == Some(Holder::Load(load)) {
                    slot.lease = None;
                }
            }
        }
    }

    pub(super) fn refuse(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let reply = match slot.requests.front() {
            Some(Request::Take(_)) => {
                Reply::Asked(Answer::Failed(Error::Unavailable(Cause::new("it is down"))))
            }
            Some(Request::Store(load)) => Reply::Stored(*load, Fate::NotStored),
            _ => return,
        };
        if let (Reply::Stored(load, _), Some(Holder::Load(holder))) = (&reply, slot.lease)
            && *load == holder
        {
            slot.lease = None;
        }
        slot.requests.pop_front();
        slot.answers.push_back(reply);
    }

    pub(super) fn finish(&mut self, load: LoadId, all: bool, fails: bool) {
        // One whose values are being stored has ended already.
        if !self.finished.insert(load) {
            return;
        }
        if self.direct.contains_key(&load) {
            let at = *self.running[&load].keys().next().unwrap();
            if fails {
                self.land(load, at, None);
            } else {
                self.slots[at].requests.push_back(Request::Store(load));
            }
            return;
        }
        let late = self.late;
        self.change(|flights, now, effects| {
            if fails {
                flights.failed(load, now, effects);
            } else {
                let product = Product {
                    stored: true,
                    kept: false,
                    late,
                };
                let made = |key: &Key| (all || index(key).is_multiple_of(2)).then_some(product);
                flights.loaded(load, made, now, effects);
            }
        });
    }

    pub(super) fn end_foreign(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.lease == Some(Holder::Abroad) {
            (slot.lease, slot.stored) = (None, Some(self.source[at]));
        }
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        self.change(|flights, now, effects| flights.tick(now, effects));
    }

    /// Lets everything come to its end.
    pub(super) fn drain(&mut self) {
        for _ in 0..1000 {
            for at in 0..KEYS {
                self.end_foreign(at);
                while !self.slots[at].requests.is_empty() || !self.slots[at].answers.is_empty() {
                    self.serve(at);
                    self.deliver(at);
                }
            }
            let running: Vec<LoadId> = self.running.keys().copied().collect();
            running
                .into_iter()
                .for_each(|load| self.finish(load, true, false));
            self.wait(LONGEST_PAUSE);
            let served = self.slots.iter().all(|slot| slot.requests.is_empty()) && self.direct.is_empty();
            if served && self.open.is_empty() && self.flights.sizes() == (0, 0, 0) {
                break;
            }
        }
    }
}
