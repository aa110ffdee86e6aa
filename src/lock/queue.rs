//! Who waits for which lock. Pure: what happens and `now` go in, what is to be done comes out.
//!
//! Each key has a line of waiters, in the order of their arrival. Only the first of a line, its head,
//! asks the engine; the others wait for it to leave. One ordered set holds all deadlines: those of the
//! waiters, and the times at which a head asks again. `now` is a time since an origin of the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::name::Name;
use crate::spread::Map;

/// A waiter's number, which its caller chose. No two are the same.
pub(crate) type Waiter = u64;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Ask the engine for the lock on behalf of this waiter, and tell [`Queues::answered`].
    Ask(Name, Waiter),
    /// The lock is this waiter's.
    Grant(Waiter),
    /// The lock was granted to a waiter who has gone: release it.
    Orphan(Name, Waiter),
    /// The waiter's time is over, or it did not want to wait.
    Refuse(Waiter),
    /// The waiter gave up on this lock because the engine failed.
    Fail(Waiter),
    /// A head has to wait: be told of releases, and wake it when that has begun.
    Watch(Name),
    /// Nobody waits any more.
    Unwatch(Name),
}

/// What the engine answered to a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is the head's, until `retry` at most if it is not renewed.
    Granted { retry: Duration },
    /// Another holds it. The head asks again at `retry`, if it is not woken before.
    Busy { retry: Duration },
    /// The engine failed. The head asks again at `retry`, unless it has no time left, or it is `None`.
    Failed { retry: Option<Duration> },
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
pub(crate) struct Queues {
    bounds: Bounds,
    lines: Map<Name, Line>,
    waiters: Map<Waiter, Place>,
    deadlines: BTreeSet<(Duration, Due)>,
    places: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Waiter(Waiter),
    Retry(Name),
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Place {
    name: Name,
    /// Its place in the line, by which lines are ordered.
    place: u64,
    /// `None` for those who do not wait: they ask once.
    deadline: Option<Duration>,
    /// Its deadline came while the engine was asked for it: the answer decides.
    late: bool,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Line {
    waiters: BTreeMap<u64, Waiter>,
    head: Head,
    /// When it is looked at, at the latest, to see whether its head is to ask.
    armed: Option<Duration>,
    watched: bool,
}

#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Clone))]
enum Head {
    /// The engine is asked for this waiter, who may have left meanwhile. `again`: something happened
    /// since, so that an answer of `Busy` may be old.
    Asking { waiter: Waiter, again: bool },
    /// The lock is another's: the head asks at this time, or when it is woken.
    Sleeping { until: Duration },
}

impl Queues {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lines: Map::default(),
            waiters: Map::default(),
            deadlines: BTreeSet::new(),
            places: 0,
        }
    }

    /// Whether anybody waits for this lock, or is just asking for it.
    pub(crate) fn has_line(&self, name: &Name) -> bool {
        self.lines.contains_key(name)
    }

    /// The head of this lock's line.
    pub(crate) fn head(&self, name: &Name) -> Option<Waiter> {
        let line = self.lines.get(name)?;
        line.waiters.first_key_value().map(|(_, waiter)| *waiter)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// When [`tick`](Self::tick) is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A waiter arrives, at the end of the line. Without a `deadline` it asks once, if nobody is before it.
    pub(crate) fn arrive(
        &mut self,
        name: &Name,
        waiter: Waiter,
        deadline: Option<Duration>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Full> {
        let ahead = self.lines.get(name).map_or(0, |line| line.waiters.len());
        let line_exists = self.lines.contains_key(name);
        // A line whose waiters have all left still waits for the engine's answer to the last of them.
        if deadline.is_none() && ahead > 0 {
            effects.push(Effect::Refuse(waiter));
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
                late: false,
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
            watched: false,
        };
        self.lines.insert(name.clone(), line);
        effects.push(Effect::Ask(name.clone(), waiter));
        Ok(())
    }

    /// The waiter's caller has gone. It leaves at once, wherever it is in the line.
    pub(crate) fn leave(&mut self, waiter: Waiter, effects: &mut Vec<Effect>) {
        let Some(name) = self.remove(waiter) else { return };
        self.settle(&name, effects);
    }

    /// Something happened that may have freed the lock: the head asks, at once or once more.
    pub(crate) fn wake(&mut self, name: &Name, now: Duration, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        match &mut line.head {
            Head::Asking { again, .. } => *again = true,
            Head::Sleeping { .. } => self.ask_or_end(name, now, effects),
        }
    }

    /// As [`wake`](Self::wake), for every line.
    pub(crate) fn wake_all(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let names: Vec<Name> = self.lines.keys().cloned().collect();
        for name in names {
            self.wake(&name, now, effects);
        }
    }

    /// The engine's answer to the last [`Effect::Ask`] of this line.
    pub(crate) fn answered(&mut self, name: &Name, answer: Answer, now: Duration, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        let Head::Asking { waiter, again } = line.head else {
            return;
        };
        let Some(place) = self.waiters.get(&waiter) else {
            let orphan = matches!(answer, Answer::Granted { .. });
            if orphan {
                effects.push(Effect::Orphan(name.clone(), waiter));
            }
            // An orphan is released before the next in line asks: requests for one key stay in order.
            self.next_in_line(name, answer, again || orphan, now, effects);
            return;
        };
        let stays = place.deadline.is_some_and(|deadline| deadline > now) && !place.late;
        let leaves = match answer {
            Answer::Granted { .. } => Some(Effect::Grant(waiter)),
            Answer::Busy { .. } if !stays => Some(Effect::Refuse(waiter)),
            Answer::Failed { retry } if retry.is_none() || !stays => Some(Effect::Fail(waiter)),
            _ => None,
        };
        if let Some(effect) = leaves {
            self.remove(waiter);
            effects.push(effect);
        }
        self.next_in_line(name, answer, again, now, effects);
    }

    /// Goes on with a line whose engine has answered.
    fn next_in_line(
        &mut self,
        name: &Name,
        answer: Answer,
        again: bool,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let until = match answer {
            // Whoever was granted the lock wakes the line when it is released.
            Answer::Granted { retry } | Answer::Busy { retry } => Some(retry),
            Answer::Failed { retry } => retry,
        };
        let Some(until) = until.filter(|_| !again) else {
            return self.ask_or_end(name, now, effects);
        };
        // One who does not wait came while the engine was asked for one who left: it has not asked yet.
        let head = self.head(name).and_then(|head| self.waiters.get(&head));
        if head.is_some_and(|place| place.deadline.is_none()) {
            return self.ask_or_end(name, now, effects);
        }
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        if line.waiters.is_empty() {
            return self.end(name, effects);
        }
        line.head = Head::Sleeping { until };
        self.arm(name, until);
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        if !line.watched {
            line.watched = true;
            effects.push(Effect::Watch(name.clone()));
        }
    }

    /// What is due at `now`.
    pub(crate) fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while let Some((at, _)) = self.deadlines.first()
            && *at <= now
        {
            let Some((_, due)) = self.deadlines.pop_first() else {
                return;
            };
            match due {
                Due::Retry(name) => self.look(&name, now, effects),
                Due::Waiter(waiter) => self.overdue(waiter, effects),
            }
        }
    }

    /// Sees to it that the line is looked at by then. One that is looked at too early is armed again, which
    /// costs less than to move its time with each holder.
    fn arm(&mut self, name: &Name, until: Duration) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        if line.armed.is_some_and(|at| at <= until) {
            return;
        }
        if let Some(later) = line.armed.replace(until) {
            self.deadlines.remove(&(later, Due::Retry(name.clone())));
        }
        self.deadlines.insert((until, Due::Retry(name.clone())));
    }

    /// The line's time has come, or what was its time once.
    fn look(&mut self, name: &Name, now: Duration, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        line.armed = None;
        match line.head {
            // The lock came free then, also for a waiter whose time ended after that.
            Head::Sleeping { until } if until <= now => self.ask_or_end(name, until, effects),
            Head::Sleeping { until } => self.arm(name, until),
            // It is armed again when it goes to sleep.
            Head::Asking { .. } => {}
        }
    }

    fn overdue(&mut self, waiter: Waiter, effects: &mut Vec<Effect>) {
        let Some(place) = self.waiters.get_mut(&waiter) else {
            return;
        };
        let asking = self
            .lines
            .get(&place.name)
            .is_some_and(|line| matches!(line.head, Head::Asking { waiter: asking, .. } if asking == waiter));
        if asking {
            place.late = true;
            return;
        }
        effects.push(Effect::Refuse(waiter));
        self.leave(waiter, effects);
    }

    /// Takes a waiter out of its line.
    fn remove(&mut self, waiter: Waiter) -> Option<Name> {
        let Place {
            name,
            place,
            deadline,
            ..
        } = self.waiters.remove(&waiter)?;
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, Due::Waiter(waiter)));
        }
        if let Some(line) = self.lines.get_mut(&name) {
            line.waiters.remove(&place);
        }
        Some(name)
    }

    /// Ends a line that is empty. One whose engine is asked ends with the answer. A head who comes after
    /// one who left keeps its time: nothing has freed the lock.
    fn settle(&mut self, name: &Name, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get(name) else { return };
        if line.waiters.is_empty() && matches!(line.head, Head::Sleeping { .. }) {
            self.end(name, effects);
        }
    }

    fn end(&mut self, name: &Name, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.remove(name) else {
            return;
        };
        if let Some(at) = line.armed {
            self.deadlines.remove(&(at, Due::Retry(name.clone())));
        }
        if line.watched {
            effects.push(Effect::Unwatch(name.clone()));
        }
    }

    /// The head asks the engine, because the lock may have come free `at` this time. A waiter whose deadline
    /// came before that is refused. Without a head, the line ends.
    fn ask_or_end(&mut self, name: &Name, at: Duration, effects: &mut Vec<Effect>) {
        while let Some(waiter) = self.head(name)
            && self.is_overdue(waiter, at)
        {
            self.remove(waiter);
            effects.push(Effect::Refuse(waiter));
        }
        let Some(waiter) = self.head(name) else {
            return self.end(name, effects);
        };
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        line.head = Head::Asking { waiter, again: false };
        effects.push(Effect::Ask(name.clone(), waiter));
    }

    fn is_overdue(&self, waiter: Waiter, at: Duration) -> bool {
        let deadline = self.waiters.get(&waiter).and_then(|place| place.deadline);
        deadline.is_some_and(|deadline| deadline <= at)
    }
}

#[cfg(test)]
#[path = "queue/tests.rs"]
mod tests;
