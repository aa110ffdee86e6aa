//! The calls that take steps in several slots, and what waits for them.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::protocol::{Condition, Content, Invalidation, Life, Stamps, Step, Touch, Touched, Write, Written};
use crate::actor::queue::Room;
use crate::engines::redis::reply::no_answer;
use crate::engines::redis::tally::Tally;
use crate::engines::redis::walk::Caller;
use crate::engines::redis::wire::count_read;
use crate::error::{Cause, Error, Phase, Result};
use crate::key::Key;
use crate::prehashed::Map;
use crate::request::{self, Asked, EntryRequest, Expire, GetAndTouch, KeyChange, Set, SetIf, Swap};

/// A request for one key.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) request: EntryRequest,
    pub(super) deadline: Instant,
    pub(super) room: Option<Room>,
}

/// How a request is carried out.
#[derive(Debug)]
pub(super) enum Taken {
    /// In steps, until this deadline.
    InSteps(Call, Instant),
    /// By one job.
    Alone(Entry),
}

/// A call in steps.
#[derive(Debug)]
pub(super) enum Call {
    Write(Asking, Box<Write>, Key),
    Touch(Asking, Box<Touch>, Key),
    Invalidation(Option<Caller>, Box<Invalidation>),
}

/// Who waits for a call on one key.
#[derive(Debug)]
pub(super) enum Asking {
    Set(Asked<Set>),
    SetIf(Asked<SetIf>),
    Swap(Asked<Swap>),
    Expire(Asked<Expire>),
    GetAndTouch(Asked<GetAndTouch>),
}

fn stamps() -> Stamps {
    Stamps::new(rand::random())
}

fn content(write: &request::Write, condition: Condition) -> Content {
    let names = write.depends_on.iter().filter(|name| **name != write.key);
    Content {
        key: write.key.text().clone(),
        value: write.value.clone(),
        ttl: Life::of(write.ttl),
        condition,
        names: names.map(|name| name.text().clone()).collect(),
    }
}

impl Call {
    /// How a request is carried out.
    pub(super) fn of(entry: Entry) -> Taken {
        let Entry {
            request,
            deadline,
            room,
        } = entry;
        let write = |asking, content: Content, key| {
            let write = Write::new(content, None, stamps());
            Taken::InSteps(Self::Write(asking, Box::new(write), key), deadline)
        };
        match request {
            EntryRequest::Set(asked) if !asked.operation.write.depends_on.is_empty() => {
                let own = &asked.operation.write;
                let (content, key) = (content(own, Condition::Always), own.key.clone());
                write(Asking::Set(asked), content, key)
            }
            EntryRequest::SetIf(asked) if !asked.operation.write.depends_on.is_empty() => {
                let condition = match &asked.operation.condition {
                    request::Condition::Absent => Condition::Absent,
                    request::Condition::Present => Condition::Present,
                    request::Condition::Holds(value) => Condition::Holds(value.clone()),
                };
                let own = &asked.operation.write;
                let (content, key) = (content(own, condition), own.key.clone());
                write(Asking::SetIf(asked), content, key)
            }
            EntryRequest::Swap(asked) if !asked.operation.write.depends_on.is_empty() => {
                let own = &asked.operation.write;
                let (content, key) = (content(own, Condition::Swap), own.key.clone());
                write(Asking::Swap(asked), content, key)
            }
            EntryRequest::Expire(asked) => {
                let (key, ttl) = (asked.operation.key.clone(), Life::of(asked.operation.ttl));
                let touch = Touch::new(key.text().clone(), ttl, false, stamps());
                Taken::InSteps(Self::Touch(Asking::Expire(asked), Box::new(touch), key), deadline)
            }
            EntryRequest::GetAndTouch(asked) => {
                let (key, ttl) = (asked.operation.key.clone(), Life::of(Some(asked.operation.ttl)));
                let touch = Touch::new(key.text().clone(), ttl, true, stamps());
                let call = Self::Touch(Asking::GetAndTouch(asked), Box::new(touch), key);
                Taken::InSteps(call, deadline)
            }
            request => Taken::Alone(Entry {
                request,
                deadline,
                room,
            }),
        }
    }

    /// An invalidation of these names.
    pub(super) fn invalidation(names: &[Key], caller: Caller) -> Self {
        let mut roots: Vec<_> = names.iter().map(|name| name.text().clone()).collect();
        roots.sort_unstable();
        roots.dedup();
        Self::Invalidation(Some(caller), Box::new(Invalidation::new(roots, stamps())))
    }

    /// The key whose other calls wait for it.
    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Self::Write(_, _, key) | Self::Touch(_, _, key) => Some(key),
            Self::Invalidation(..) => None,
        }
    }

    /// Answers with an error. `has_begun` says that something may have been removed.
    pub(super) fn fail(self, error: Error, has_begun: bool) {
        match self {
            Self::Write(asking, ..) | Self::Touch(asking, ..) => asking.fail(error),
            Self::Invalidation(caller, _) => {
                if let Some(caller) = caller {
                    caller.reply.send(Err(match error {
                        error @ Error::OutcomeUnknown(_) => error,
                        error if has_begun => Error::OutcomeUnknown(Cause::new(error)),
                        error => error,
                    }));
                }
            }
        }
    }
}

impl Asking {
    fn fail(self, error: Error) {
        match self {
            Self::Set(asked) => asked.reply.send(Err(error)),
            Self::SetIf(asked) => asked.reply.send(Err(error)),
            Self::Swap(asked) => asked.reply.send(Err(error)),
            Self::Expire(asked) => asked.reply.send(Err(error)),
            Self::GetAndTouch(asked) => asked.reply.send(Err(error)),
        }
    }

    pub(super) fn written(self, Written { written, held }: Written, tally: &mut Tally) {
        tally.stats.sets += u64::from(written);
        match self {
            Self::Set(asked) => drop(asked.answer(Ok(()), tally)),
            Self::SetIf(asked) => drop(asked.answer(Ok(written), tally)),
            Self::Swap(asked) => {
                let answer = count_read(Ok(held), tally);
                drop(asked.answer(answer, tally));
            }
            other => other.fail(Error::Unavailable(no_answer())),
        }
    }

    pub(super) fn touched(self, Touched { changed, value }: Touched, tally: &mut Tally) {
        match self {
            Self::Expire(asked) => drop(asked.answer(Ok(changed), tally)),
            Self::GetAndTouch(asked) => {
                let answer = count_read(Ok(value), tally);
                drop(asked.answer(answer, tally));
            }
            other => other.fail(Error::Unavailable(no_answer())),
        }
    }
}

/// One call under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) call: Call,
    pub(super) deadline: Instant,
    /// Whether something may have been removed.
    pub(super) has_begun: bool,
}

/// All calls under way.
#[derive(Debug, Default)]
pub(super) struct Machines {
    running: BTreeMap<u64, Running>,
    /// Steps under way, and the calls that they belong to.
    steps: BTreeMap<u64, (u64, Step)>,
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
        if let Some(key) = running.call.key() {
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
    pub(super) fn sent(&mut self, number: u64, step: Step) -> u64 {
        self.last += 1;
        self.steps.insert(self.last, (number, step));
        self.last
    }

    /// Takes out a step that is answered, and the number of its call.
    pub(super) fn answered(&mut self, step: u64) -> Option<(u64, Step)> {
        self.steps.remove(&step)
    }

    /// Takes out a call that has ended, and the requests that have waited for it.
    pub(super) fn remove(&mut self, number: u64) -> Option<(Running, VecDeque<Entry>)> {
        let running = self.running.remove(&number)?;
        let waiting = running.call.key().and_then(|key| self.keys.remove(&key.hash()));
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
            let Call::Invalidation(caller, _) = &mut running.call else {
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
            running.call.fail(error.clone(), running.has_begun);
        }
        self.following = 0;
        for entry in std::mem::take(&mut self.keys).into_values().flatten() {
            entry.request.fail(error.clone());
        }
    }
}

/// What an invalidation has removed.
pub(super) fn tell(removed: u64, tally: &mut Tally, caller: Option<Caller>) {
    tally.stats.invalidated = tally.stats.invalidated.saturating_add(removed);
    if let Some(caller) = caller {
        let answer: Result<u64> = Ok(removed);
        caller.reply.send(answer);
    }
}

/// Tells listeners of an entry that was removed.
pub(super) fn tell_of(key: &str, tally: &Tally) {
    tally.tell_of(key, KeyChange::Invalidated);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::{KeyMaker, Namespace};
    use crate::request::Reply;

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
        let Taken::InSteps(call, deadline) = Call::of(expire(later)) else {
            panic!("a new TTL takes steps");
        };
        let key = call.key().unwrap().hash();
        let number = machines.insert(Running {
            call,
            deadline,
            has_begun: false,
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
