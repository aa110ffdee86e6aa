//! What is asked of the node that a slot is moving to: `ASKING` before each command, over a connection of its own, one
//! pipeline at a time.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value as Wire};
use tokio::time::Instant;

use super::Boxed;
use crate::config::{Place, RedisOptions};
use crate::engines::redis::batch::Batch;
use crate::engines::redis::cluster::Node;
use crate::engines::redis::connect::connect_node;
use crate::engines::redis::connected::Connected;
use crate::engines::redis::fault::{self, Lost};
use crate::engines::redis::job::Task;
use crate::engines::redis::layout::Layout;
use crate::engines::redis::parking::{Asked, Held};
use crate::engines::redis::part::Part;
use crate::engines::redis::redirect::Redirect;
use crate::engines::redis::reply::{self, Outcome};
use crate::engines::redis::resolver::Resolver;
use crate::engines::redis::scanner::Bounds;
use crate::engines::redis::tally::Tally;
use crate::engines::redis::tracker::Tracker;
use crate::engines::redis::unsent::Unsent;
use crate::engines::redis::wire::refused;
use crate::error::{Cause, Error, Result};

/// How long the connection stays that nothing is asked over any more.
const LINGER: Duration = Duration::from_secs(5);

/// What has become of a job.
#[derive(Debug)]
pub(super) enum Finished {
    /// Its caller was answered. These are the hashes of its keys.
    Answered(Vec<u64>),
    /// It was not carried out.
    Refused(Box<Refused>),
}

/// A job, where it is to be sent, and why it was refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) asked: Asked,
    pub(super) redirect: Redirect,
    pub(super) error: Error,
}

impl Finished {
    fn refused(asked: Asked, redirect: Redirect, error: Error) -> Self {
        Self::Refused(Box::new(Refused {
            asked,
            redirect,
            error,
        }))
    }
}

/// The connection, and what it has to do.
pub(super) struct Asking {
    node: Node,
    options: Arc<RedisOptions>,
    layout: Layout,
    /// Writes the near cache, if there is one.
    tracker: Option<Tracker>,
    state: State,
    waiting: Vec<Asked>,
    flight: Option<Flight>,
    /// Since when it has had nothing to do, or was last given something.
    since: Instant,
}

enum State {
    Opening(Boxed<Result<Connected>>),
    Open(Connected),
    Failed,
}

struct Flight {
    replies: Boxed<RedisResult<Vec<Wire>>>,
    /// Each with the place and the keys of its job.
    parts: Vec<(Held, Part)>,
    sent: Instant,
}

impl Asking {
    /// Opens the connection to a node that the node `at` a place has named.
    pub(super) fn new(
        node: Node,
        at: Place,
        options: Arc<RedisOptions>,
        bounds: Bounds,
        layout: Layout,
        resolver: Resolver,
        tracker: Option<Tracker>,
    ) -> Self {
        let named = (node.clone(), at);
        let opening = connect_node(options.clone(), bounds, layout.clone(), resolver, named);
        Self {
            node,
            options,
            layout,
            tracker,
            state: State::Opening(Box::pin(opening)),
            waiting: Vec::new(),
            flight: None,
            since: Instant::now(),
        }
    }

    pub(super) fn is_of(&self, node: &Node) -> bool {
        self.node == *node && !matches!(self.state, State::Failed)
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || self.flight.is_some()
    }

    /// Asks the node. It has nothing else to do.
    pub(super) fn ask(&mut self, jobs: Vec<Asked>, now: Instant) {
        self.waiting = jobs;
        self.since = now;
    }

    /// Goes on. Returns what has become of jobs.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, tally: &mut Tally) -> Vec<Finished> {
        match &mut self.state {
            State::Opening(opening) => match opening.as_mut().poll(cx) {
                Poll::Pending => return Vec::new(),
                Poll::Ready(Ok(connected)) => self.state = State::Open(connected),
                Poll::Ready(Err(error)) => return self.fail(&error),
            },
            State::Open(connected) => connected.drive(cx),
            State::Failed => {}
        }
        let mut finished = Vec::new();
        if let Some(flight) = &mut self.flight
            && let Poll::Ready(replies) = flight.replies.as_mut().poll(cx)
        {
            let Some(flight) = self.flight.take() else {
                return finished;
            };
            self.since = now;
            match replies {
                Ok(replies) => {
                    let tracker = self.tracker.as_ref();
                    finished = settle(flight.parts, replies, tally, &self.node, tracker);
                }
                Err(error) => finished = self.lose(flight, &fault::lost(&error)),
            }
        }
        if self.flight.is_none() && !self.waiting.is_empty() {
            finished.append(&mut self.send(cx, now));
        }
        finished
    }

    /// Sends what waits. Returns what is not sent, because the connection has ended.
    fn send(&mut self, cx: &mut Context<'_>, now: Instant) -> Vec<Finished> {
        let State::Open(connected) = &mut self.state else {
            return Vec::new();
        };
        if connected.has_ended() {
            let ended = Cause::new(Lost("the connection was closed".to_owned()));
            return self.fail(&Error::Unavailable(ended));
        }
        let mut batch = Batch::new(self.layout.clone());
        let mut held = Vec::new();
        for asked in self.waiting.drain(..) {
            let (place, mut job) = asked.into_parts();
            if let Task::Own(own) = &mut job.task {
                own.send_elsewhere();
            }
            held.push(place);
            batch.push(job, None, now);
        }
        batch.finish(0);
        let commands = batch.pipeline.cmd_iter();
        let mut pipeline = Pipeline::with_capacity(2 * batch.pipeline.len());
        for command in commands {
            pipeline.cmd("ASKING");
            pipeline.add_command(command.clone());
        }
        let mut connection = connected.connection.clone();
        let count = pipeline.len();
        let replies = async move { connection.send_packed_commands(&pipeline, 0, count).await };
        let mut flight = Flight {
            replies: Box::pin(tokio::task::coop::unconstrained(replies)),
            parts: held.into_iter().zip(batch.parts).collect(),
            sent: now,
        };
        if let Poll::Ready(early) = flight.replies.as_mut().poll(cx) {
            flight.replies = Box::pin(std::future::ready(early));
        }
        connected.drive(cx);
        self.flight = Some(flight);
        Vec::new()
    }

    /// The node cannot be asked: the first one is asked again.
    fn fail(&mut self, error: &Error) -> Vec<Finished> {
        self.state = State::Failed;
        let waiting = self.waiting.drain(..);
        waiting
            .map(|asked| Finished::refused(asked, Redirect::Later, error.clone()))
            .collect()
    }

    /// The connection is lost: questions are asked again, changes have an unknown outcome.
    fn lose(&mut self, flight: Flight, cause: &Cause) -> Vec<Finished> {
        let error = Error::Unavailable(cause.clone());
        let mut finished = self.fail(&error);
        for (held, part) in flight.parts {
            let mut again = Vec::new();
            // What removes entries is a script, and is not sent here.
            reply::lose(vec![part], cause, &mut again, &mut Unsent::default());
            finished.push(match again.pop() {
                Some(job) => Finished::refused(held.with(job), Redirect::Later, error.clone()),
                None => Finished::Answered(held.keys),
            });
        }
        finished
    }

    /// Gives up on all.
    pub(super) fn end(mut self, cause: &Cause) -> Vec<Finished> {
        match self.flight.take() {
            Some(flight) => self.lose(flight, cause),
            None => self.fail(&Error::Unavailable(cause.clone())),
        }
    }

    /// Answers callers whose time is over. Returns the hashes of the keys that are not asked for any more, and the earliest
    /// deadline of the others.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<u64>, Option<Instant>) {
        let mut done = Vec::new();
        let mut next: Option<Instant> = None;
        for asked in std::mem::take(&mut self.waiting) {
            if asked.job.deadline > now {
                next = next.into_iter().chain([asked.job.deadline]).min();
                self.waiting.push(asked);
                continue;
            }
            let (held, job) = asked.into_parts();
            done.extend(held.keys);
            let error = job.refused.clone();
            reply::fail(
                job.task,
                &error.unwrap_or_else(|| Error::Unavailable(reply::no_answer())),
            );
        }
        if let Some(flight) = &mut self.flight {
            for (_, part) in &mut flight.parts {
                // What was sent keeps its keys until it is answered.
                let due = reply::expire(std::slice::from_mut(part), now, &mut Vec::new());
                next = next.into_iter().chain(due).min();
            }
        }
        (done, next)
    }

    /// What has become of jobs because the node is silent, and when to look again. `None` if the connection is not needed any
    /// more.
    pub(super) fn look(&mut self, now: Instant) -> (Vec<Finished>, Option<Instant>) {
        if let Some(flight) = &self.flight {
            let silent = flight.sent + self.options.response_timeout * 2;
            if silent > now {
                return (Vec::new(), Some(silent));
            }
        }
        match self.flight.take() {
            Some(flight) => {
                let silent = Cause::new(Lost("the server was silent".to_owned()));
                (self.lose(flight, &silent), None)
            }
            // Opening it has a timeout of its own.
            None if self.is_busy() => (Vec::new(), Some(now + LINGER)),
            None => {
                let end = self.since + LINGER;
                (Vec::new(), (end > now).then_some(end))
            }
        }
    }
}

/// Hands out the replies of a pipeline in which an `ASKING` comes before each command.
fn settle(
    parts: Vec<(Held, Part)>,
    replies: Vec<Wire>,
    tally: &mut Tally,
    node: &Node,
    tracker: Option<&Tracker>,
) -> Vec<Finished> {
    let mut replies = replies.into_iter();
    let mut own = || {
        replies.next();
        replies.next().unwrap_or_default()
    };
    let mut finished = Vec::new();
    for (held, part) in parts {
        let replies: Vec<Wire> = (0..part.replies()).map(|_| own()).collect();
        if Redirect::among(&replies, part.is_question()).is_some() {
            let error = refused(replies.into_iter().find(|reply| Redirect::of(reply).is_some()));
            // Wherever it sends the job to: the first node knows what is true now.
            match part {
                Part::Other { job: Some(job), .. } => {
                    finished.push(Finished::refused(held.with(job), Redirect::Later, error));
                }
                _ => finished.push(Finished::Answered(held.keys)),
            }
            continue;
        }
        if let Some(tracker) = tracker.filter(|_| part.needs_barrier()) {
            tracker.raise_barrier();
        }
        let mut outcome = Outcome::default();
        reply::settle(vec![part], replies, None, tally, &mut outcome, None);
        // One that is to be sent once more, because a script was forgotten or a key may have another type.
        finished.push(match outcome.again.pop() {
            Some(job) => {
                let error = Error::Unavailable(reply::no_answer());
                Finished::refused(held.with(job), Redirect::Ask(node.clone()), error)
            }
            None => Finished::Answered(held.keys),
        });
    }
    finished
}

#[cfg(test)]
mod tests;
