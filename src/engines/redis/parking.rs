//! Jobs that a node of a cluster did not carry out, until they are sent again. Pure: times are arguments.
//!
//! Order is kept for each key. A job of a parked key is parked too, behind the others. What was sent before the refusal may
//! be carried out all the same, if the slot has come back meanwhile. A job that was overtaken so is not sent any more: its
//! caller is told that it was not carried out.

mod parked;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

pub(super) use self::parked::{Asked, Held};
use self::parked::{Parked, hashes};
use super::abilities::Abilities;
use super::cluster::Node;
use super::exchange::Way;
use super::gets::alone;
use super::job::{Job, Task};
use super::layout::Layout;
use super::part::Part;
use super::redirect::Redirect;
use crate::error::Error;
use crate::prehashed::Map;

/// When jobs are sent again: after this time, and up to as much again at random.
const PAUSE: Duration = Duration::from_millis(20);
const SPREAD: Duration = Duration::from_millis(30);

#[derive(Debug, Default)]
pub(super) struct Parking {
    /// In the order in which they came.
    parked: VecDeque<Parked>,
    /// The keys, by their hashes, of what is parked and of what another node is asked, and how often each.
    keys: Map<u64, u32>,
    /// The place of the next one in the order.
    next: u64,
    retry_at: Option<Instant>,
    /// Since when the node says that the cluster is down.
    down_since: Option<Instant>,
    /// What was told since [`Parking::news`] was called.
    news: Option<Redirect>,
}

/// Jobs that are not parked any more.
#[derive(Debug, Default)]
pub(super) struct Unparked {
    /// To be sent again, in their order.
    pub(super) again: Vec<Job>,
    /// Not to be sent again: a later job of their keys was carried out, or there is no time left for an answer.
    pub(super) ended: Vec<Job>,
}

/// Whether a job may be sent to the node that the slot is moving to. Scripts and walks may not: they need more keys.
fn may_ask(job: &Job, layout: &Layout) -> bool {
    match &job.task {
        Task::Request(request) => request.way(layout, Abilities::default()) != Way::Script,
        Task::Doubt(_) => true,
        Task::Own(own) => own.may_be_elsewhere(),
        Task::Walk(_) => false,
    }
}

impl Parking {
    /// Whether a job has to be parked behind others of its keys.
    pub(super) fn holds(&self, job: &Job) -> bool {
        !self.keys.is_empty() && hashes(job).iter().any(|key| self.keys.contains_key(key))
    }

    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether a job of this slot is parked.
    pub(super) fn has(&self, slot: u16) -> bool {
        let mut parked = self.parked.iter();
        parked.any(|parked| parked.asked.job.task.slot() == Some(slot))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// Calls `see` with the hash of each key that is parked, or that another node is asked for.
    pub(super) fn each_key(&self, mut see: impl FnMut(u64)) {
        self.keys.keys().for_each(|key| see(*key));
    }

    /// Parks a job behind others of its keys.
    pub(super) fn follow(&mut self, job: Job, now: Instant) {
        let asked = self.hold(job);
        self.park(Parked::waiting(asked), now);
    }

    /// Parks what a part of a pipeline stands for. `sent` is how many pipelines were sent so far.
    pub(super) fn refuse(&mut self, part: Part, redirect: &Redirect, error: &Error, sent: u64, now: Instant) {
        let mut redirect = redirect.clone();
        let jobs: Vec<Job> = match part {
            Part::Ping { .. } | Part::Leases(_) | Part::Transaction(_) => return,
            Part::Gets(getters) | Part::Fetches(_, getters) => {
                // Each by itself: the node has some of the keys, and another has the others. Before version 7, `ASK` does not
                // say that the other one has all, and that one would answer that a key is absent which it has not got yet.
                if getters.len() > 1 && matches!(redirect, Redirect::Ask(_)) {
                    redirect = Redirect::Later;
                }
                getters.into_iter().flatten().map(alone).collect()
            }
            Part::Sets(sets) => sets.setters.into_iter().flatten().map(Job::from).collect(),
            Part::Other { job, fetch, .. } => {
                let alone = fetch.is_some();
                let parked = job.map(|job| Job {
                    alone: job.alone || alone,
                    ..job
                });
                parked.into_iter().collect()
            }
        };
        for job in jobs {
            let asked = self.hold(job);
            self.park(Parked::refused(asked, redirect.clone(), error, sent), now);
        }
        self.heard(&redirect, now);
    }

    /// Parks a job again that another node has not answered.
    pub(super) fn refuse_again(&mut self, asked: Asked, redirect: Redirect, error: &Error, now: Instant) {
        self.heard(&redirect, now);
        self.park(Parked::refused(asked, redirect, error, 0), now);
    }

    fn heard(&mut self, redirect: &Redirect, now: Instant) {
        if *redirect == Redirect::Down {
            self.down_since.get_or_insert(now);
        }
        let told = self.news.take().into_iter().chain([redirect.clone()]);
        self.news = told.max_by_key(Redirect::weight);
    }

    /// Gives a job the next place in the order, and holds its keys.
    fn hold(&mut self, job: Job) -> Asked {
        self.next += 1;
        let keys = hashes(&job);
        for key in &keys {
            *self.keys.entry(*key).or_default() += 1;
        }
        let place = self.next;
        Held { place, keys }.with(job)
    }

    /// A job that holds these keys is not parked any more, nor asked of another node.
    pub(super) fn release(&mut self, keys: &[u64]) {
        for key in keys {
            if let Some(count) = self.keys.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.keys.remove(key);
                }
            }
        }
    }

    /// Parks a job whose keys are held.
    fn park(&mut self, parked: Parked, now: Instant) {
        self.retry_at
            .get_or_insert_with(|| now + PAUSE + SPREAD.mul_f64(rand::random()));
        // What has been sent comes first: it may be refused after a later job of its key has been parked.
        let order = |parked: &Parked| (parked.redirect.is_none(), parked.asked.held.place);
        let own = order(&parked);
        let at = self.parked.partition_point(|other| order(other) < own);
        self.parked.insert(at, parked);
    }

    /// The node has carried out a part of a pipeline, or may have.
    pub(super) fn executed(&mut self, part: &Part) {
        if self.parked.is_empty() {
            return;
        }
        let mut keys = Vec::new();
        part.each_key(&mut |key| keys.push(key.hash()));
        self.overtake(&keys, !part.is_question());
    }

    /// The node has carried out a command that names a key, so it has not lost the others. Without them, it carries out only
    /// commands without keys.
    pub(super) fn proven(&mut self) {
        self.down_since = None;
    }

    /// The node may have carried out changes of these keys, whose callers have left.
    pub(super) fn executed_for_nobody(&mut self, keys: &[u64]) {
        self.overtake(keys, true);
    }

    /// Parked jobs of these keys are overtaken. A question does not overtake another question.
    fn overtake(&mut self, keys: &[u64], changes: bool) {
        for parked in &mut self.parked {
            if parked.redirect.is_some() && (changes || !parked.asked.job.task.is_question()) {
                parked.is_overtaken |= parked.asked.shares(|key| keys.contains(key));
            }
        }
    }

    /// The redirection that was heard since the last call, the strongest of several.
    pub(super) fn news(&mut self) -> Option<Redirect> {
        self.news.take()
    }

    /// Since when the node says that the cluster is down.
    pub(super) fn down_since(&self) -> Option<Instant> {
        self.down_since
    }

    /// When something is to be sent again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Takes what another node is to be asked: jobs that the same node was named for, before which no other one of their keys
    /// is parked. So many pipelines are answered.
    pub(super) fn take_asked(&mut self, layout: &Layout, answered: u64) -> Option<(Node, Vec<Asked>)> {
        let mut node: Option<Node> = None;
        let mut before: Map<u64, bool> = Map::default();
        let mut asked = Vec::new();
        let parked = std::mem::take(&mut self.parked);
        for mut parked in parked {
            let question = parked.asked.job.task.is_question();
            let comes_after = |key: &u64| before.get(key).is_some_and(|changes| *changes || !question);
            let waits = parked.asked.shares(comes_after);
            let named = match &parked.redirect {
                Some(Redirect::Ask(named)) => Some(named),
                _ => None,
            };
            let is_ready = !waits && parked.sent <= answered && !parked.is_overtaken;
            if is_ready
                && let Some(named) = named
                && node.as_ref().is_none_or(|node| node == named)
                && may_ask(&parked.asked.job, layout)
            {
                node.get_or_insert_with(|| named.clone());
                parked.asked.job.alone = true;
                asked.push(parked.asked);
                continue;
            }
            for key in &parked.asked.held.keys {
                *before.entry(*key).or_default() |= !question;
            }
            self.parked.push_back(parked);
        }
        if self.parked.is_empty() {
            self.retry_at = None;
        }
        node.map(|node| (node, asked))
    }

    /// Takes what is to be sent again now, in its order, if so many pipelines are answered.
    ///
    /// A job that has no time left for an answer is not sent: its outcome is known, and it keeps no other job of its keys
    /// back.
    pub(super) fn take_due(&mut self, answered: u64, now: Instant) -> Unparked {
        if self.retry_at.is_none_or(|at| at > now) {
            return Unparked::default();
        }
        let stays = self.stay(|parked| {
            // Long work has no keys, and may have callers who wait longer.
            let is_walk = matches!(parked.asked.job.task, Task::Walk(_));
            parked.sent > answered || (is_walk && parked.is_late(now))
        });
        let mut due = Vec::new();
        for (parked, stays) in std::mem::take(&mut self.parked).into_iter().zip(stays) {
            if stays {
                self.parked.push_back(parked);
            } else {
                due.push(parked);
            }
        }
        self.retry_at = (!self.parked.is_empty()).then(|| now + PAUSE);
        self.unpark(due, |parked| parked.is_overtaken || parked.is_late(now))
    }

    /// Which parked jobs stay: some by themselves, and all that share a key with one that stays. A job that is refused once
    /// more would get its place behind that one.
    fn stay(&self, by_themselves: impl Fn(&Parked) -> bool) -> Vec<bool> {
        let mut stays = vec![false; self.parked.len()];
        let mut of_key: Map<u64, Vec<usize>> = Map::default();
        let mut more = Vec::new();
        for (index, parked) in self.parked.iter().enumerate() {
            if by_themselves(parked) {
                more.push(index);
            }
            for key in &parked.asked.held.keys {
                of_key.entry(*key).or_default().push(index);
            }
        }
        while let Some(index) = more.pop() {
            if !std::mem::replace(&mut stays[index], true) {
                let keys = &self.parked[index].asked.held.keys;
                more.extend(keys.iter().filter_map(|key| of_key.remove(key)).flatten());
            }
        }
        stays
    }

    /// Takes all, in their order: the connection is another one now.
    pub(super) fn take_all(&mut self) -> Unparked {
        let all = std::mem::take(&mut self.parked).into();
        self.retry_at = None;
        self.down_since = None;
        self.unpark(all, |parked| parked.is_overtaken)
    }

    fn unpark(&mut self, parked: Vec<Parked>, has_ended: impl Fn(&Parked) -> bool) -> Unparked {
        let mut unparked = Unparked::default();
        for parked in parked {
            self.release(&parked.asked.held.keys);
            let jobs = if has_ended(&parked) {
                &mut unparked.ended
            } else {
                &mut unparked.again
            };
            jobs.push(parked.asked.job);
        }
        unparked
    }

    /// Takes out the jobs whose time is over. Returns the earliest deadline of the others too.
    pub(super) fn take_late(&mut self, now: Instant) -> (Vec<Asked>, Option<Instant>) {
        let mut late = Vec::new();
        for parked in std::mem::take(&mut self.parked) {
            if parked.asked.job.deadline <= now {
                self.release(&parked.asked.held.keys);
                late.push(parked.asked);
            } else {
                self.parked.push_back(parked);
            }
        }
        if self.parked.is_empty() {
            self.retry_at = None;
        }
        let next = self.parked.iter().map(|parked| parked.asked.job.deadline).min();
        (late, next)
    }
}

#[cfg(test)]
mod tests;
