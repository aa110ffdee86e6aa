//! Jobs that a node of a cluster did not carry out, until they are sent again. Pure: times are arguments.
//!
//! Order is kept for each key. A job of a parked key is parked too, behind the others. What was sent before the refusal may
//! be carried out all the same, if the slot has come back meanwhile. A job that was overtaken so is not sent any more: its
//! caller is told that it was not carried out.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::Part;
use super::cluster::Node;
use super::exchange::Way;
use super::gets::alone;
use super::job::{Job, Task};
use super::layout::Layout;
use super::redirect::Redirect;
use crate::error::Error;
use crate::prehashed::Map;
use crate::request::Keys;

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

/// One job, and why it waits.
#[derive(Debug)]
struct Parked {
    place: u64,
    job: Job,
    /// `None` if it waits for another one of its key.
    redirect: Option<Redirect>,
    /// How many pipelines had been sent when it was refused. What these carry out is known once they are answered.
    sent: u64,
    is_overtaken: bool,
}

/// A job that is not parked any more, or that another node is asked, and its place in the order.
pub(super) type Asked = (u64, Job);

/// Jobs that are not parked any more.
#[derive(Debug, Default)]
pub(super) struct Unparked {
    /// To be sent again, in their order.
    pub(super) again: Vec<Job>,
    /// Not to be sent again: a later job of their keys was carried out.
    pub(super) overtaken: Vec<Job>,
}

/// Whether a job may be sent to the node that the slot is moving to. Scripts and walks may not: they need more keys.
fn may_ask(job: &Job, layout: &Layout) -> bool {
    match &job.task {
        Task::Request(request) => request.way(layout) != Way::Script,
        Task::Doubt(_) => true,
        Task::Walk(_) => false,
    }
}

fn shares(keys: Keys<'_>, see: impl Fn(u64) -> bool) -> bool {
    let mut shares = false;
    keys.for_each(|key| shares |= see(key.hash()));
    shares
}

impl Parking {
    /// Whether a job has to be parked behind others of its keys.
    pub(super) fn holds(&self, job: &Job) -> bool {
        !self.keys.is_empty() && shares(job.task.keys(), |key| self.keys.contains_key(&key))
    }

    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// Calls `see` with the hash of each key that is parked, or that another node is asked for.
    pub(super) fn each_key(&self, mut see: impl FnMut(u64)) {
        self.keys.keys().for_each(|key| see(*key));
    }

    /// Parks a job behind others of its keys.
    pub(super) fn follow(&mut self, job: Job) {
        let place = self.new_place();
        self.park(Parked {
            place,
            job,
            redirect: None,
            sent: 0,
            is_overtaken: false,
        });
    }

    /// Parks what a part of a pipeline stands for. `sent` is how many pipelines were sent so far.
    pub(super) fn refuse(&mut self, part: Part, redirect: &Redirect, error: &Error, sent: u64, now: Instant) {
        let jobs: Vec<Job> = match part {
            Part::Ping | Part::Leases(_) => return,
            Part::Gets(getters) | Part::Fetches(_, getters) => {
                // Each by itself: the node has some of the keys, and another has the others.
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
            let place = self.new_place();
            self.park_refused(place, job, redirect.clone(), error, sent);
        }
        self.heard(redirect, now);
    }

    /// Parks a job again that another node has not answered.
    pub(super) fn refuse_again(
        &mut self,
        (place, job): Asked,
        redirect: Redirect,
        error: &Error,
        now: Instant,
    ) {
        self.release(&job);
        self.heard(&redirect, now);
        self.park_refused(place, job, redirect, error, 0);
    }

    fn park_refused(&mut self, place: u64, job: Job, redirect: Redirect, error: &Error, sent: u64) {
        let refused = Some(error.clone());
        self.park(Parked {
            place,
            job: Job { refused, ..job },
            redirect: Some(redirect),
            sent,
            is_overtaken: false,
        });
    }

    fn heard(&mut self, redirect: &Redirect, now: Instant) {
        self.retry_at
            .get_or_insert_with(|| now + PAUSE + SPREAD.mul_f64(rand::random()));
        if *redirect == Redirect::Down {
            self.down_since.get_or_insert(now);
        }
        let told = self.news.take().into_iter().chain([redirect.clone()]);
        self.news = told.max_by_key(Redirect::weight);
    }

    fn new_place(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn park(&mut self, parked: Parked) {
        parked
            .job
            .task
            .keys()
            .for_each(|key| *self.keys.entry(key.hash()).or_default() += 1);
        let at = self.parked.partition_point(|other| other.place < parked.place);
        self.parked.insert(at, parked);
    }

    /// A job is not parked any more, nor asked of another node.
    fn release(&mut self, job: &Job) {
        job.task.keys().for_each(|key| {
            if let Some(count) = self.keys.get_mut(&key.hash()) {
                *count -= 1;
                if *count == 0 {
                    self.keys.remove(&key.hash());
                }
            }
        });
    }

    /// Another node has answered a job of these keys.
    pub(super) fn answered(&mut self, keys: &[u64]) {
        for key in keys {
            if let Some(count) = self.keys.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.keys.remove(key);
                }
            }
        }
    }

    /// The node has carried out a part of a pipeline, or may have.
    pub(super) fn executed(&mut self, part: &Part) {
        self.down_since = None;
        if self.parked.is_empty() {
            return;
        }
        let changes = !part.is_question();
        let mut keys = Vec::new();
        part.each_key(&mut |key| keys.push(key.hash()));
        for parked in &mut self.parked {
            if parked.redirect.is_some() && (changes || !parked.job.task.is_question()) {
                parked.is_overtaken |= shares(parked.job.task.keys(), |key| keys.contains(&key));
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
            let question = parked.job.task.is_question();
            let waits = shares(parked.job.task.keys(), |key| {
                before.get(&key).is_some_and(|changes| *changes || !question)
            });
            let named = match &parked.redirect {
                Some(Redirect::Ask(named)) => Some(named),
                _ => None,
            };
            let is_ready = !waits && parked.sent <= answered && !parked.is_overtaken;
            if is_ready
                && let Some(named) = named
                && node.as_ref().is_none_or(|node| node == named)
                && may_ask(&parked.job, layout)
            {
                node.get_or_insert_with(|| named.clone());
                parked.job.alone = true;
                asked.push((parked.place, parked.job));
                continue;
            }
            parked
                .job
                .task
                .keys()
                .for_each(|key| *before.entry(key.hash()).or_default() |= !question);
            self.parked.push_back(parked);
        }
        if self.parked.is_empty() {
            self.retry_at = None;
        }
        node.map(|node| (node, asked))
    }

    /// Takes what is to be sent again now, in its order, if so many pipelines are answered. What has no time left for an answer is not sent, and its outcome is known then.
    pub(super) fn take_due(&mut self, answered: u64, now: Instant) -> Unparked {
        if self.retry_at.is_none_or(|at| at > now) {
            return Unparked::default();
        }
        let known = self
            .parked
            .iter()
            .take_while(|parked| parked.sent <= answered)
            .count();
        let (mut due, mut late) = (Vec::new(), Vec::new());
        for parked in self.parked.drain(..known) {
            let goes_on = matches!(&parked.job.task, Task::Walk(walk) if walk.begun);
            let has_time = goes_on || parked.job.deadline > now + PAUSE;
            if has_time { &mut due } else { &mut late }.push(parked);
        }
        late.into_iter()
            .rev()
            .for_each(|parked| self.parked.push_front(parked));
        self.retry_at = (!self.parked.is_empty()).then(|| now + PAUSE);
        self.unpark(due)
    }

    /// Takes all, in their order: the connection is another one now.
    pub(super) fn take_all(&mut self) -> Unparked {
        let all = std::mem::take(&mut self.parked).into();
        self.retry_at = None;
        self.down_since = None;
        self.unpark(all)
    }

    fn unpark(&mut self, parked: Vec<Parked>) -> Unparked {
        let mut unparked = Unparked::default();
        for Parked {
            job, is_overtaken, ..
        } in parked
        {
            self.release(&job);
            if is_overtaken {
                &mut unparked.overtaken
            } else {
                &mut unparked.again
            }
            .push(job);
        }
        unparked
    }

    /// Takes out the jobs whose time is over. Returns the earliest deadline of the others too.
    pub(super) fn take_late(&mut self, now: Instant) -> (Vec<Asked>, Option<Instant>) {
        let mut late = Vec::new();
        for parked in std::mem::take(&mut self.parked) {
            if parked.job.deadline <= now {
                self.release(&parked.job);
                late.push((parked.place, parked.job));
            } else {
                self.parked.push_back(parked);
            }
        }
        if self.parked.is_empty() {
            self.retry_at = None;
        }
        (late, self.parked.iter().map(|parked| parked.job.deadline).min())
    }

    /// Parks a job again whose callers have left, and which goes on.
    pub(super) fn park_again(&mut self, (place, job): Asked, now: Instant) {
        self.retry_at.get_or_insert(now + PAUSE);
        self.park(Parked {
            place,
            job,
            redirect: None,
            sent: 0,
            is_overtaken: false,
        });
    }
}

#[cfg(test)]
mod tests;
