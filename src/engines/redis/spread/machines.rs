//! The calls that take steps in several slots, and what waits for them.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::calls::{Call, Who};
use super::protocol::Step;
use crate::actor::queue::Room;
use crate::engines::redis::reply::no_answer;
use crate::error::{Error, Phase};
use crate::prehashed::Map;
use crate::request::EntryRequest;

/// A request for one key.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) request: EntryRequest,
    pub(super) deadline: Instant,
    pub(super) room: Option<Room>,
}

/// One call under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) call: Call,
    pub(super) deadline: Instant,
    /// Whether something has been changed.
    pub(super) has_changed: bool,
}

/// All calls under way.
#[derive(Debug, Default)]
pub(super) struct Machines {
    running: Map<u64, Running>,
    /// Steps under way, and the calls that they belong to.
    steps: Map<u64, (u64, Arc<Step>)>,
    /// Requests that wait for a call on their key, by its hash.
    keys: Map<u64, VecDeque<Entry>>,
    /// How many requests these are.
    following: usize,
    last: u64,
}

impl Machines {
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// How many calls are under way, and requests wait for them.
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.following
    }

    /// Whether requests for a key have to wait.
    pub(super) fn holds(&self, key: u64) -> bool {
        self.keys.contains_key(&key)
    }

    /// Has a request wait for the call on its key.
    pub(super) fn follow(&mut self, key: u64, entry: Entry) {
        self.keys.entry(key).or_default().push_back(entry);
        self.following += 1;
    }

    /// Takes a call in. Returns its number.
    pub(super) fn insert(&mut self, running: Running) -> u64 {
        if let Some(key) = running.call.holds() {
            self.keys.entry(key.hash()).or_default();
        }
        self.last += 1;
        self.running.insert(self.last, running);
        self.last
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Running> {
        self.running.get_mut(&number)
    }

    /// Takes a step in. Returns its number.
    pub(super) fn sent(&mut self, number: u64, step: Arc<Step>) -> u64 {
        self.last += 1;
        self.steps.insert(self.last, (number, step));
        self.last
    }

    /// Takes out a step that is answered, and the number of its call.
    pub(super) fn answered(&mut self, step: u64) -> Option<(u64, Arc<Step>)> {
        self.steps.remove(&step)
    }

    /// Takes out a call that has ended, and the requests that have waited for it.
    pub(super) fn remove(&mut self, number: u64) -> Option<(Running, VecDeque<Entry>)> {
        let running = self.running.remove(&number)?;
        let waiting = running.call.holds().and_then(|key| self.keys.remove(&key.hash()));
        let waiting = waiting.unwrap_or_default();
        self.following -= waiting.len();
        Some((running, waiting))
    }

    /// Tells those whose time is over while they wait for another call, or for an invalidation, which goes on. Returns when
    /// the time of the next one is over.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for waiting in self.keys.values_mut() {
            for entry in std::mem::take(waiting) {
                if entry.deadline <= now {
                    self.following -= 1;
                    entry.request.fail(Error::Timeout { phase: Phase::Queue });
                } else {
                    next = next.into_iter().chain([entry.deadline]).min();
                    waiting.push_back(entry);
                }
            }
        }
        for running in self.running.values_mut() {
            let Who::Invalidation(caller) = &mut running.call.who else {
                continue;
            };
            match caller.take_if(|caller| caller.deadline <= now) {
                Some(caller) => caller.reply.send(Err(Error::OutcomeUnknown(no_answer()))),
                None => next = caller.iter().map(|caller| caller.deadline).chain(next).min(),
            }
        }
        next
    }

    /// Ends all calls with an error.
    pub(super) fn abandon(&mut self, error: &Error) {
        self.steps.clear();
        for (_, running) in std::mem::take(&mut self.running) {
            running.call.who.fail(error.clone(), running.has_changed);
        }
        self.following = 0;
        for entry in std::mem::take(&mut self.keys).into_values().flatten() {
            entry.request.fail(error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engines::redis::spread::calls::Taken;
    use crate::engines::redis::spread::leases::Leases;
    use crate::key::{Key, KeyMaker, Namespace};
    use crate::request::{Asked, Expire, Reply};

    fn expire(deadline: Instant) -> Entry {
        let key = KeyMaker::new(100, false).key(&Namespace::default(), "k").unwrap();
        let operation = Expire { key, ttl: None };
        let reply = Reply::Nobody;
        Entry {
            request: EntryRequest::Expire(Asked { operation, reply }),
            deadline,
            room: None,
        }
    }

    /// What is not counted has no bound.
    #[tokio::test(start_paused = true)]
    async fn calls_and_those_who_wait_for_them_are_counted() {
        let mut machines = Machines::default();
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let Taken::InSteps(call) = Call::of(expire(later).request, &mut Leases::default(), |_| None) else {
            panic!("a new TTL takes steps");
        };
        let key = call.holds().map(Key::hash).unwrap();
        let number = machines.insert(Running {
            call,
            deadline: later,
            has_changed: false,
        });
        for deadline in [now, later, later] {
            machines.follow(key, expire(deadline));
        }
        assert_eq!(machines.len(), 4);
        assert_eq!(machines.expire(now), Some(later));
        assert_eq!(machines.len(), 3, "one was late");
        let (_, waiting) = machines.remove(number).unwrap();
        assert_eq!((waiting.len(), machines.len()), (2, 0));
        machines.follow(key, expire(later));
        machines.abandon(&Error::Closed);
        assert_eq!(machines.len(), 0);
    }
}
