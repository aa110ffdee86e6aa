//! The keys of what a connection has to do, so that order is kept for each of them where there are two.

use super::{Link, State};
use crate::engines::redis::fault::Lost;
use crate::engines::redis::job::Job;
use crate::engines::redis::reply;
use crate::error::{Cause, Error};
use crate::prehashed::Set;
use crate::request::Keys;

impl Link {
    /// Whether something that is waiting or under way touches one of these keys.
    pub(in crate::engines::redis) fn touches(&self, keys: Keys<'_>) -> bool {
        let mut asked = Set::default();
        keys.for_each(|key| {
            asked.insert(key.hash());
        });
        let mut touches = false;
        let mut see = |key: u64| touches |= asked.contains(&key);
        self.flights.each_key(&mut see);
        self.parking.each_key(&mut see);
        self.waiting
            .iter()
            .for_each(|job| job.task.keys().for_each(|key| see(key.hash())));
        touches
    }

    /// Puts jobs before what waits. A write that was set apart is given up if a later job of its key was sent meanwhile.
    pub(super) fn send_again(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            if job.is_set_apart() && self.has_sent(job.task.keys()) {
                let overtaken = "a later call for its key was sent before it could be sent once more";
                let error = Error::Unavailable(Cause::new(Lost(overtaken.to_owned())));
                self.give_up(job, &error);
            } else {
                self.waiting.push_front(job);
            }
        }
    }

    /// Whether something that is under way touches one of these keys.
    fn has_sent(&self, keys: Keys<'_>) -> bool {
        let mut asked = Set::default();
        keys.for_each(|key| {
            asked.insert(key.hash());
        });
        let mut has_sent = false;
        self.flights.each_key(|key| has_sent |= asked.contains(&key));
        has_sent
    }

    /// Adds the keys whose answer is received now.
    pub(in crate::engines::redis) fn late_keys(&self, keys: &mut Set<u64>) {
        let (State::Up(connected), Some(flight)) = (&self.state, self.flights.first()) else {
            return;
        };
        let reply = connected.replies().saturating_sub(self.replied);
        if let Some(at) = reply::at(&flight.parts, reply) {
            flight.parts[at].each_key(&mut |key| {
                keys.insert(key.hash());
            });
        }
    }

    /// Gives `other` what waits, but for what has to follow something that is under way. `keys` are then those of what
    /// this link keeps.
    pub(in crate::engines::redis) fn hand_over(&mut self, other: &mut Link, keys: &mut Set<u64>) {
        // The server is known: what waits there does not fail at once if no connection can be opened.
        other.proven |= self.proven;
        keys.clear();
        self.flights.each_key(|key| {
            keys.insert(key);
        });
        self.parking.each_key(|key| {
            keys.insert(key);
        });
        for mut job in std::mem::take(&mut self.waiting) {
            let mut follows = false;
            job.task
                .keys()
                .for_each(|key| follows |= keys.contains(&key.hash()));
            if follows {
                job.task.keys().for_each(|key| {
                    keys.insert(key.hash());
                });
                job.crossing = other.touches(job.task.keys());
                self.waiting.push_back(job);
            } else {
                other.waiting.push_back(job);
            }
        }
    }

    /// Takes what could be sent now out of what waits.
    #[cfg(test)]
    pub(in crate::engines::redis) fn take_batch(&mut self, now: tokio::time::Instant, beside: &Link) {
        drop(self.batch(now, false, Some(beside)));
    }

    /// Counts what could be sent now as sent, to a server that never answers.
    #[cfg(test)]
    pub(in crate::engines::redis) fn send_in_vain(&mut self, now: tokio::time::Instant) {
        let batch = self.batch(now, false, None);
        let (bytes, values) = (batch.bytes(), batch.values());
        self.flights.push(super::flights::Flight {
            replies: Box::pin(std::future::pending()),
            bytes,
            values,
            count: batch.pipeline.len() as u64,
            parts: batch.parts,
            busy: batch.busy,
            sent: now,
            launch: None,
            left: Vec::new(),
        });
    }
}

/// Whether the link beside has other jobs of the same keys, which come first.
pub(super) fn must_wait(job: &Job, beside: Option<&Link>) -> bool {
    job.crossing && beside.is_some_and(|link| link.touches(job.task.keys()))
}
