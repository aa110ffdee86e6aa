//! The connections for one share of the keys: one for everything, and one beside it while a large value takes long.
//!
//! What was sent behind a large value is answered after it. So when an answer is late although bytes flow, what is
//! asked next goes over another connection. The keys of the late answer are remembered: next time they go over
//! the connection beside from the start. Order is kept for each key, because what touches a key of that
//! connection follows it there.

use std::fmt;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::job::{Job, Task};
use super::link::Link;
use super::removals::Removal;
use super::tally::Tally;
use crate::error::Error;
use crate::prehashed::Set;

/// The part of a call's time after which an answer is late, from when it was sent.
const LATE: u32 = 2;
/// The same from when all answers before it were there: it alone takes so long.
const LATE_ALONE: u32 = 32;
/// An answer is not late before this on a link that is not known to be slow.
const SOON: Duration = Duration::from_millis(50);
/// The same as [`LATE_ALONE`] once an answer was late, for a while: the link is slow.
const LATE_AGAIN: u32 = 100;
/// How long that is remembered.
const MEMORY: Duration = Duration::from_secs(60);
/// What writes as much goes beside on a slow link.
const LARGE: usize = 1024 * 1024;
/// What reads so many keys goes beside on a slow link: nobody knows how much it will bring.
const MANY: usize = 64;
/// The most keys of late answers that are remembered.
const KEYS: usize = 1024;

/// Whether a task may take a slow link long.
fn is_long(task: &Task) -> bool {
    task.bytes() >= LARGE || task.values() >= MANY
}

/// Two links, of which `main` carries what is new.
pub(super) struct Stripe {
    main: Link,
    /// Without a connection, unless it has something to do.
    side: Link,
    /// Whether the link that was the side link at first is the main link now.
    is_swapped: bool,
    /// The keys, by their hashes, of what the side link has.
    beside: Set<u64>,
    /// The keys, by their hashes, whose answers were late.
    large: Set<u64>,
    /// How much time callers give the server.
    patience: Duration,
    /// When an answer was late.
    late: Option<Instant>,
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe")
            .field("late", &self.late)
            .finish_non_exhaustive()
    }
}

impl Stripe {
    pub(super) fn new(main: Link, mut side: Link) -> Self {
        side.rest(true);
        Self {
            main,
            side,
            is_swapped: false,
            beside: Set::default(),
            large: Set::default(),
            patience: Duration::ZERO,
            late: None,
        }
    }

    pub(super) fn push(&mut self, mut job: Job, now: Instant) {
        self.patience = job.deadline.saturating_duration_since(now);
        if self.goes_beside(&job, now) {
            job.task.keys().for_each(|key| {
                self.beside.insert(key.hash());
            });
            // It follows one of its keys to the side link. The main link may have a job of another of them, or an earlier
            // job of the same key: then what it follows waits too, but may end before.
            job.crossing = self.main.touches(job.task.keys());
            self.side.learn_from(&self.main);
            self.side.push(job, now);
        } else {
            self.main.push(job, now);
        }
    }

    fn goes_beside(&self, job: &Job, now: Instant) -> bool {
        // The usual case, in which there is nothing to look up.
        if self.late.is_none() {
            return false;
        }
        // The steps of one call must go over one link, whatever their sizes are.
        let is_step = matches!(job.task, Task::Own(_));
        let (mut follows, mut is_large) = (false, false);
        job.task.keys().for_each(|key| {
            follows |= self.beside.contains(&key.hash());
            is_large |= self.large.contains(&key.hash());
        });
        follows
            || !is_step
                && ((is_large || (self.is_slow(now) && is_long(&job.task)))
                    && !self.main.touches(job.task.keys()))
    }

    fn is_slow(&self, now: Instant) -> bool {
        self.late
            .is_some_and(|late| now.saturating_duration_since(late) < MEMORY)
    }

    /// Takes in what has happened, and sends what can be sent. Returns `true` if anything was done.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, tally: &mut Tally) -> bool {
        if self.late.is_some() {
            self.use_what_lives();
        }
        let mut progress = self.main.poll(cx, now, tally, None);
        if self.late.is_some() {
            // Each late answer would open a connection anew.
            self.side.linger(self.is_slow(now));
            progress |= self.side.poll(cx, now, tally, Some(&self.main));
            if self.side.is_idle() {
                self.beside.clear();
            }
        }
        progress
    }

    /// Makes way for what is asked next if an answer is late. When to look again.
    fn make_way(&mut self, now: Instant) -> Option<Instant> {
        let (sent, first_since) = self.main.first()?;
        let alone = if self.is_slow(now) {
            self.patience / LATE_AGAIN
        } else {
            (self.patience / LATE_ALONE).max(SOON)
        };
        let due = (sent + self.patience / LATE).min(first_since + alone);
        if due > now {
            return Some(due);
        }
        if !self.main.is_receiving(now) {
            return None;
        }
        if self.large.len() > KEYS {
            self.large.clear();
        }
        self.late = Some(now);
        self.main.late_keys(&mut self.large);
        if self.side.is_idle() {
            self.swap();
        }
        None
    }

    /// Lets the links change places. The side link is idle, and gets what waits.
    fn swap(&mut self) {
        std::mem::swap(&mut self.main, &mut self.side);
        self.is_swapped = !self.is_swapped;
        self.main.learn_from(&self.side);
        self.main.rest(false);
        self.side.rest(true);
        self.side.hand_over(&mut self.main, &mut self.beside);
    }

    /// Gives what waits for a link without a connection to the link that has one. The server may refuse a new connection
    /// and go on serving the one that it has.
    fn use_what_lives(&mut self) {
        if !self.main.is_up() && self.side.is_spare() {
            self.swap();
        } else if self.main.is_up() && self.side.is_down() {
            self.main.learn_from(&self.side);
            self.side.hand_over(&mut self.main, &mut self.beside);
        }
    }

    /// Looks after the connections' health. When to look again.
    pub(super) fn look(&mut self, now: Instant) -> Option<Instant> {
        let way = self.make_way(now);
        let [main, side] = [self.main.look(now), self.side.look(now)];
        // The connection beside is closed then.
        let end = self.late.map(|late| late + MEMORY).filter(|end| *end > now);
        [way, main, side, end].into_iter().flatten().min()
    }

    /// Answers those whose time is over. The earliest deadline among the others.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let both = [self.main.expire(now), self.side.expire(now)];
        both.into_iter().flatten().min()
    }

    /// Holds all jobs but those of a replay: see [`Link::hold`].
    pub(super) fn hold(&mut self, is_held: bool, refused: Option<&Error>, now: Instant) {
        self.main.hold(is_held, refused, now);
        self.side.hold(is_held, refused, now);
    }

    /// Gives a step of a replay to the link that carries what is new.
    pub(super) fn push_replay(&mut self, job: Job) {
        self.main.push_replay(job);
    }

    /// What was to be removed by jobs that have failed since this was last called.
    pub(super) fn take_unsent(&mut self) -> impl Iterator<Item = Removal> + use<> {
        self.main.take_unsent().into_iter().chain(self.side.take_unsent())
    }

    /// What is to be sent again, here or to another node; see [`Link::take_strays`].
    pub(super) fn take_strays(&mut self) -> Vec<Job> {
        let mut strays = self.main.take_strays();
        strays.append(&mut self.side.take_strays());
        strays
    }

    /// Puts jobs of strays back, in their order, before what waits.
    pub(super) fn push_again(&mut self, jobs: Vec<Job>, now: Instant) {
        for job in jobs.into_iter().rev() {
            let mut is_beside = false;
            let keys = job.task.keys();
            keys.for_each(|key| is_beside |= self.beside.contains(&key.hash()));
            let link = if is_beside { &mut self.side } else { &mut self.main };
            link.push_first(job, now);
        }
    }

    /// Takes out what waits and is chosen. Order is kept for each key.
    pub(super) fn take_waiting(&mut self, mut chosen: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let mut taken = self.main.take_waiting(&mut chosen);
        taken.append(&mut self.side.take_waiting(chosen));
        taken
    }

    /// Drops what was read here for the near cache: another node has the slots.
    pub(super) fn drop_near(&self) {
        self.main.drop_near();
        self.side.drop_near();
    }

    /// How many pipelines each of the two links has sent so far.
    pub(super) fn sent(&self) -> [u64; 2] {
        self.of_both(Link::sent)
    }

    /// Whether all pipelines are answered, or lost, that were sent before `sent` was read.
    pub(super) fn has_answered(&self, sent: [u64; 2]) -> bool {
        let answered = self.of_both(Link::answered);
        answered[0] >= sent[0] && answered[1] >= sent[1]
    }

    /// Asks both links, the one first that was the main link at first.
    fn of_both(&self, ask: impl Fn(&Link) -> u64) -> [u64; 2] {
        let [main, side] = [ask(&self.main), ask(&self.side)];
        if self.is_swapped {
            [side, main]
        } else {
            [main, side]
        }
    }

    /// The number of the connection that carries what is new.
    pub(super) fn number(&self) -> u32 {
        self.main.number()
    }

    /// Whether something of this slot was refused, and is not decided yet.
    pub(super) fn has_refused(&self, slot: u16) -> bool {
        self.main.has_refused(slot) || self.side.has_refused(slot)
    }

    /// Whether it has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.main.is_idle() && self.side.is_idle()
    }

    /// Jobs not yet sent.
    pub(super) fn waiting(&self) -> usize {
        self.main.waiting() + self.side.waiting()
    }

    /// Whether the link that carries what is new has a connection.
    pub(super) fn is_up(&self) -> bool {
        self.main.is_up()
    }

    /// Whether one of its links is busy; see [`Link::is_busy`].
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        self.main.is_busy(now) || self.side.is_busy(now)
    }

    /// Starts again over new connections: what is under way may be torn.
    pub(super) fn reset(&mut self, now: Instant) {
        self.main.reset(now);
        if !self.side.is_idle() {
            self.side.reset(now);
        }
    }

    /// Gives up on everything: the engine ends.
    pub(super) fn abandon(&mut self) {
        self.main.abandon();
        self.side.abandon();
    }
}

#[cfg(test)]
mod tests;
