//! Which channels the server is asked for: those that somebody wants, and for a while those that somebody
//! did. Pure: what happens and `now` go in, the next command comes out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::request::Subject;

/// How long a channel stays that nobody wants any more. A lock with one waiter after the other is
/// subscribed to once.
pub(super) const LINGER: Duration = Duration::from_secs(3);
/// The most that linger; the first go first.
const LINGERING: usize = 256;
/// Those whose time is so near go along with one whose time has come.
const GRAIN: Duration = Duration::from_millis(500);
/// The most channels of one command.
const BATCH: usize = 1024;

/// What the server is to be asked next. One command is under way at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// To be told of by [`Channels::confirmed`].
    Subscribe(Vec<Subject>),
    Unsubscribe(Vec<Subject>),
}

/// All channels of one connection.
#[derive(Debug, Default)]
pub(super) struct Channels {
    known: HashMap<Subject, Channel>,
    /// Wanted, and no command for them is under way.
    unasked: HashSet<Subject>,
    lingering: BTreeSet<(Instant, Subject)>,
}

#[derive(Debug)]
struct Channel {
    /// Since when nothing of it is missed.
    since: Option<Instant>,
    /// Until when it lingers; `None` while it is wanted.
    until: Option<Instant>,
}

impl Channels {
    /// It is wanted. Since when it has been subscribed to without a gap, if it is.
    pub(super) fn begin(&mut self, subject: &Subject) -> Option<Instant> {
        if let Some(channel) = self.known.get_mut(subject) {
            if let Some(until) = channel.until.take() {
                self.lingering.remove(&(until, subject.clone()));
            }
            return channel.since;
        }
        let channel = Channel {
            since: None,
            until: None,
        };
        self.known.insert(subject.clone(), channel);
        self.unasked.insert(subject.clone());
        None
    }

    /// It is not wanted any more.
    pub(super) fn end(&mut self, subject: Subject, now: Instant) {
        if self.unasked.remove(&subject) {
            self.known.remove(&subject);
        } else if let Some(channel) = self.known.get_mut(&subject)
            && channel.until.is_none()
        {
            let until = now + LINGER;
            channel.until = Some(until);
            self.lingering.insert((until, subject));
        }
    }

    /// What the server is to be asked at `now`, if no command is under way.
    pub(super) fn next_change(&mut self, now: Instant) -> Option<Change> {
        if !self.unasked.is_empty() {
            let some: Vec<Subject> = self.unasked.iter().take(BATCH).cloned().collect();
            for subject in &some {
                self.unasked.remove(subject);
            }
            return Some(Change::Subscribe(some));
        }
        let due = self.lingering.first().is_some_and(|(until, _)| *until <= now);
        let horizon = if due { now + GRAIN } else { now };
        // Those that are too many go in numbers too.
        let most = if self.lingering.len() > LINGERING {
            LINGERING * 3 / 4
        } else {
            LINGERING
        };
        let mut gone = Vec::new();
        while let Some((until, _)) = self.lingering.first()
            && (*until <= horizon || self.lingering.len() > most)
            && gone.len() < BATCH
            && let Some((_, subject)) = self.lingering.pop_first()
        {
            self.known.remove(&subject);
            gone.push(subject);
        }
        (!gone.is_empty()).then_some(Change::Unsubscribe(gone))
    }

    /// The server has confirmed these at `now`: those that are still wanted.
    pub(super) fn confirmed(&mut self, subjects: Vec<Subject>, now: Instant) -> Vec<Subject> {
        let mut wanted = subjects;
        wanted.retain(|subject| {
            self.known.get_mut(subject).is_some_and(|channel| {
                channel.since = Some(now);
                channel.until.is_none()
            })
        });
        wanted
    }

    /// The connection is lost, and all that the server knew.
    pub(super) fn lost(&mut self) {
        self.lingering.clear();
        self.known.retain(|_, channel| {
            channel.since = None;
            channel.until.is_none()
        });
        self.unasked = self.known.keys().cloned().collect();
    }

    /// Whether anybody wants anything.
    pub(super) fn are_wanted(&self) -> bool {
        self.known.len() > self.lingering.len()
    }

    /// When there is a change without anything else happening.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.lingering.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
#[path = "channels/tests.rs"]
mod tests;
