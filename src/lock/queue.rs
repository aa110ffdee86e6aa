//! Decides who is granted which lock, and who waits. Pure: events and `now` go in, effects come out.
//!
//! Each key has a line of waiters, in the order of their arrival. Only the first of a line, its head, asks the
//! backend; the others wait for it to leave. The queues decide who is granted a lock, who is refused, and which
//! grant has nobody to go to. Their [`Effect`]s are carried out in order. `now` is a time since an origin of the
//! caller's.

mod clock;
mod line;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::clock::Due;
use self::line::{Head, Line, Place};
use super::name::Name;
use crate::prehashed::Map;

/// A waiter's number, which its caller chose. No two are the same.
pub(crate) type Waiter = u64;

/// An instruction to the scheduler. `G` is the backend's grant, which the queues pass on unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect<G> {
    /// Ask the backend for the lock on behalf of this waiter, and tell [`Queues::answered`].
    Ask(Name, Waiter),
    /// The lock is this waiter's.
    Grant(Waiter, G),
    /// The lock was, or may have been, granted to a waiter who has gone: release it.
    Orphan(Name, G),
    /// The waiter's time is over, or it did not want to wait.
    Refuse(Waiter),
    /// The waiter gave up because the backend failed.
    Fail(Waiter),
    /// A head has to wait: subscribe to the lock's releases, and wake the line when that has begun.
    Subscribe(Name),
    /// Nobody waits any more. `subscribed` says whether there was a [`Subscribe`](Self::Subscribe) before.
    End { name: Name, subscribed: bool },
}

/// What the backend answered to a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer<G> {
    /// It is the head's, until `retry` at most if it is not renewed.
    Granted { retry: Duration, grant: G },
    /// Another holds it. The head asks again at `retry`, if it is not woken before.
    Busy { retry: Duration },
    /// The backend failed. The head asks again at `retry`, unless it has no time left, or it is `None`. `lost`
    /// is what was granted if the lock was granted and only the answer was lost.
    Failed {
        retry: Option<Duration>,
        lost: Option<G>,
    },
}

/// The most waiters, for one key and in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) each: usize,
    pub(crate) all: usize,
}

/// There are as many waiters as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// All lines.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Queues<G> {
    bounds: Bounds,
    /// Whether a head asks once more at its deadline. A backend that other processes use may have freed the lock
    /// unnoticed.
    asks_at_deadline: bool,
    lines: Map<Name, Line>,
    waiters: Map<Waiter, Place>,
    /// All deadlines: those of the waiters, and the times at which a head asks again.
    deadlines: BTreeSet<(Duration, Due)>,
    places: u64,
    effects: VecDeque<Effect<G>>,
}

impl<G> Queues<G> {
    pub(crate) fn new(bounds: Bounds, asks_at_deadline: bool) -> Self {
        Self {
            bounds,
            asks_at_deadline,
            lines: Map::default(),
            waiters: Map::default(),
            deadlines: BTreeSet::new(),
            places: 0,
            effects: VecDeque::new(),
        }
    }

    /// What is to be done next.
    pub(crate) fn next_effect(&mut self) -> Option<Effect<G>> {
        self.effects.pop_front()
    }

    /// Whether anybody waits for this lock, or is just asking for it.
    pub(crate) fn has_line(&self, name: &Name) -> bool {
        self.lines.contains_key(name)
    }

    /// The head of this lock's line.
    fn head(&self, name: &Name) -> Option<Waiter> {
        let line = self.lines.get(name)?;
        line.waiters.first_key_value().map(|(_, waiter)| *waiter)
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// A waiter arrives, at the end of the line. Without a `deadline` it asks once, if nobody is before it.
    pub(crate) fn arrive(
        &mut self,
        name: &Name,
        waiter: Waiter,
        deadline: Option<Duration>,
    ) -> Result<(), Full> {
        let line = self.lines.get(name);
        let ahead = line.map_or(0, |line| line.waiters.len());
        // A line whose waiters have all left still waits for the backend's answer to the last of them.
        let line_exists = line.is_some();
        if deadline.is_none() && ahead > 0 {
            self.effects.push_back(Effect::Refuse(waiter));
            return Ok(());
        }
        if ahead >= self.bounds.each || self.waiters.len() >= self.bounds.all {
            return Err(Full);
        }
        self.places += 1;
        let place = self.places;
        self.waiters.insert(
            waiter,
            Place {
                name: name.clone(),
                place,
                deadline,
                asked_last: false,
            },
        );
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, Due::Waiter(waiter)));
        }
        if line_exists {
            if let Some(line) = self.lines.get_mut(name) {
                line.waiters.insert(place, waiter);
            }
            return Ok(());
        }
        let line = Line {
            waiters: BTreeMap::from([(place, waiter)]),
            head: Head::Asking { waiter, again: false },
            armed: None,
            subscribed: false,
        };
        self.lines.insert(name.clone(), line);
        self.effects.push_back(Effect::Ask(name.clone(), waiter));
        Ok(())
    }

    /// The waiter's caller has gone. It leaves at once, wherever it is in the line.
    pub(crate) fn leave(&mut self, waiter: Waiter) {
        let Some(name) = self.remove(waiter) else { return };
        self.settle(&name);
    }

    /// The lock may have come free. The head asks now, or once more if it is asking.
    pub(crate) fn wake(&mut self, name: &Name, now: Duration) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        match &mut line.head {
            Head::Asking { again, .. } => *again = true,
            Head::Sleeping { .. } => self.ask_or_end(name, now, now),
        }
    }

    /// Any lock may have come free. The head of every line asks now, or once more if it is asking.
    pub(crate) fn wake_all(&mut self, now: Duration) {
        let names: Vec<Name> = self.lines.keys().cloned().collect();
        for name in names {
            self.wake(&name, now);
        }
    }

    /// The backend's answer to the last [`Effect::Ask`] of this line.
    pub(crate) fn answered(&mut self, name: &Name, answer: Answer<G>, now: Duration) {
        let Some(line) = self.lines.get(name) else { return };
        let Head::Asking { waiter, again } = line.head else {
            return;
        };
        let (until, granted) = match answer {
            // The holder wakes the line when it releases the lock.
            Answer::Granted { retry, grant } => (Some(retry), Ok(Some(grant))),
            Answer::Busy { retry } => (Some(retry), Ok(None)),
            Answer::Failed { retry, lost } => (retry, Err(lost)),
        };
        let Some(place) = self.waiters.get(&waiter) else {
            let orphan = granted.unwrap_or_else(|lost| lost);
            let was_granted = orphan.is_some();
            self.effects
                .extend(orphan.map(|grant| Effect::Orphan(name.clone(), grant)));
            // An orphan is released before the next in line asks: requests for one key stay in order.
            return self.next_in_line(name, until, again || was_granted, now);
        };
        let in_time = place.deadline.is_some_and(|deadline| deadline > now);
        let asks_once_more = self.asks_at_deadline && place.deadline.is_some() && !place.asked_last;
        let leaves = match granted {
            Ok(Some(grant)) => Some(Effect::Grant(waiter, grant)),
            Ok(None) if !in_time && !asks_once_more => Some(Effect::Refuse(waiter)),
            Err(_) if until.is_none() || !in_time => Some(Effect::Fail(waiter)),
            _ => None,
        };
        if let Some(effect) = leaves {
            self.remove(waiter);
            self.effects.push_back(effect);
        }
        self.next_in_line(name, until, again, now);
    }

    /// Goes on with a line whose question was answered. Its head sleeps `until` this time, if there is one and
    /// nothing happened since the question that the answer may not know `again`.
    fn next_in_line(&mut self, name: &Name, until: Option<Duration>, again: bool, now: Duration) {
        let Some(until) = until.filter(|_| !again) else {
            return self.ask_or_end(name, now, now);
        };
        // Its deadline came while the backend was asked for another who left, or before this answer. Or it does not
        // wait, came while the backend was asked for another, and has not asked yet.
        let head = self.head(name).and_then(|head| self.waiters.get(&head));
        if head.is_some_and(|place| place.deadline.is_none_or(|deadline| deadline <= now)) {
            return self.ask_or_end(name, now, now);
        }
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        if line.waiters.is_empty() {
            return self.end(name);
        }
        line.head = Head::Sleeping { until };
        if !std::mem::replace(&mut line.subscribed, true) {
            self.effects.push_back(Effect::Subscribe(name.clone()));
        }
        self.arm(name, until);
    }

    /// Takes a waiter out of its line.
    fn remove(&mut self, waiter: Waiter) -> Option<Name> {
        let place = self.waiters.remove(&waiter)?;
        if let Some(deadline) = place.deadline {
            self.deadlines.remove(&(deadline, Due::Waiter(waiter)));
        }
        if let Some(line) = self.lines.get_mut(&place.name) {
            line.waiters.remove(&place.place);
        }
        Some(place.name)
    }

    /// Takes a waiter out of its line and refuses it.
    fn refuse(&mut self, waiter: Waiter) -> Option<Name> {
        self.effects.push_back(Effect::Refuse(waiter));
        self.remove(waiter)
    }

    /// Ends a line that is empty. One whose backend is asked ends with the answer. A head who comes after
    /// one who left keeps its time: nothing has freed the lock.
    fn settle(&mut self, name: &Name) {
        let Some(line) = self.lines.get(name) else { return };
        if line.waiters.is_empty() && matches!(line.head, Head::Sleeping { .. }) {
            self.end(name);
        }
    }

    fn end(&mut self, name: &Name) {
        let Some(line) = self.lines.remove(name) else {
            return;
        };
        if let Some(at) = line.armed {
            self.deadlines.remove(&(at, Due::Retry(name.clone())));
        }
        self.effects.push_back(Effect::End {
            name: name.clone(),
            subscribed: line.subscribed,
        });
    }

    /// The head asks the backend, because the lock may have come free `at` this time. A waiter whose deadline
    /// came before that is refused, unless it may ask once more. Without a head, the line ends.
    fn ask_or_end(&mut self, name: &Name, at: Duration, now: Duration) {
        while let Some(waiter) = self.head(name)
            && !self.asks_at_deadline
            && self.is_overdue(waiter, at)
        {
            self.refuse(waiter);
        }
        let Some(waiter) = self.head(name) else {
            return self.end(name);
        };
        let is_last = self.is_overdue(waiter, now);
        if let Some(place) = self.waiters.get_mut(&waiter) {
            place.asked_last = is_last;
        }
        if let Some(line) = self.lines.get_mut(name) {
            line.head = Head::Asking { waiter, again: false };
            self.effects.push_back(Effect::Ask(name.clone(), waiter));
        }
    }

    fn is_overdue(&self, waiter: Waiter, at: Duration) -> bool {
        let deadline = self.waiters.get(&waiter).and_then(|place| place.deadline);
        deadline.is_some_and(|deadline| deadline <= at)
    }
}

#[cfg(test)]
mod tests;
