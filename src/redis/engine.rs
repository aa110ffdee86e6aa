//! The Redis engine's actor: a lane, a clock, and the connections that it drives.

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible, PanicError};
use kameo::mailbox::{MailboxReceiver, Signal};
use tokio::time::{Instant, Sleep};

use super::generation::Generation;
use super::job::{Job, Task};
use super::layout::Layout;
use super::link::Link;
use super::scanner::Bounds;
use super::walk::Walk;
use crate::config::RedisOptions;
use crate::lane::{Envelope, LaneReceiver};
use crate::request::{Asked, EngineRequest, EntryRequest, Request};
use crate::stats::Stats;

/// The most requests that are taken from the lane at once.
const BATCH: usize = 512;
/// The most requests that wait for one connection outside the lane.
const WAITING: usize = 4096;
/// How often the connections and the lane are looked at before the mailbox is.
const TURNS: u32 = 32;
/// Deadlines closer together than this cost one look at all that is under way.
const TICK: Duration = Duration::from_millis(2);
/// How far away the alarm is set when there is nothing to wait for.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// What the engine is started with.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) lane: LaneReceiver,
    pub(super) options: Box<RedisOptions>,
    pub(super) generation: Generation,
    /// The most bytes of a value.
    pub(super) max_value_bytes: usize,
    pub(super) go_compatible: bool,
}

/// Owns the connections, alone.
pub(super) struct RedisEngine {
    lane: LaneReceiver,
    lane_ended: bool,
    links: Vec<Link>,
    generation: Generation,
    stats: Stats,
    /// No later than the earliest deadline of a request under way.
    due: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl fmt::Debug for RedisEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisEngine")
            .field("connections", &self.links.len())
            .finish_non_exhaustive()
    }
}

impl Actor for RedisEngine {
    type Args = Setup;
    type Error = Infallible;

    async fn on_start(setup: Setup, _: ActorRef<Self>) -> Result<Self, Infallible> {
        let now = Instant::now();
        let layout = Layout::new(setup.go_compatible);
        let options = Arc::new(*setup.options);
        let bounds = Bounds::for_values(setup.max_value_bytes);
        let links = (0..options.connections)
            .map(|_| Link::new(options.clone(), layout, bounds, setup.generation.clone(), now))
            .collect();
        Ok(Self {
            lane: setup.lane,
            lane_ended: false,
            links,
            generation: setup.generation,
            stats: Stats::default(),
            due: None,
            alarm: Box::pin(tokio::time::sleep_until(now)),
        })
    }

    /// Serves the lane until the mailbox has a signal, or every handle has gone and all is answered.
    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Infallible> {
        Ok(poll_fn(|cx| self.poll(cx, Some(mailbox))).await)
    }

    async fn on_panic(
        &mut self,
        _: WeakActorRef<Self>,
        panic: PanicError,
    ) -> Result<ControlFlow<ActorStopReason>, Infallible> {
        tracing::error!(%panic, "the Redis engine panicked: it goes on over new connections");
        let now = Instant::now();
        self.links.iter_mut().for_each(|link| link.reset(now));
        Ok(ControlFlow::Continue(()))
    }

    /// Serves what had entered the lane, as long as the server answers, then refuses the rest.
    async fn on_stop(&mut self, _: WeakActorRef<Self>, reason: ActorStopReason) -> Result<(), Infallible> {
        self.lane.close();
        poll_fn(|cx| self.poll(cx, None)).await;
        self.links.iter_mut().for_each(Link::abandon);
        self.links.clear();
        tracing::debug!(?reason, "the Redis engine has stopped");
        Ok(())
    }
}

impl RedisEngine {
    /// Does all that can be done now. Ready with the mailbox's signal, or with nothing once the lane
    /// has ended and nothing more can be answered.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut mailbox: Option<&mut MailboxReceiver<Self>>,
    ) -> Poll<Option<Signal<Self>>> {
        for _ in 0..TURNS {
            let now = Instant::now();
            let mut progress = self.poll_lane(cx, now);
            progress |= self.generation.poll_next(cx);
            for link in &mut self.links {
                progress |= link.poll(cx, now, &mut self.stats);
            }
            if progress {
                continue;
            }
            if let Some(mailbox) = &mut mailbox
                && let Poll::Ready(signal) = mailbox.poll_recv(cx)
            {
                return Poll::Ready(signal);
            }
            if self.is_finished(now) {
                return Poll::Ready(None);
            }
            if !self.poll_alarm(cx, now) {
                return Poll::Pending;
            }
        }
        if let Some(mailbox) = mailbox
            && let Poll::Ready(signal) = mailbox.poll_recv(cx)
        {
            return Poll::Ready(signal);
        }
        self.poll_alarm(cx, Instant::now());
        // There is more to do, after others have had their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes requests from the lane, as long as there is room for them.
    fn poll_lane(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.lane_ended || self.links.iter().any(|link| link.waiting() >= WAITING) {
            return false;
        }
        match self.lane.poll_batch(cx, BATCH) {
            Poll::Pending => false,
            Poll::Ready(0) => {
                self.lane_ended = true;
                true
            }
            Poll::Ready(_) => {
                while let Some(envelope) = self.lane.next() {
                    self.accept(envelope, now);
                }
                true
            }
        }
    }

    fn accept(&mut self, envelope: Envelope, now: Instant) {
        // This engine's lane stamps every request with its deadline.
        let deadline = envelope.deadline().unwrap_or(now);
        let Envelope { request, room, .. } = envelope;
        let (link, task) = match request {
            Request::Entry(request) => (self.link_of(&request), Task::Request(request)),
            Request::Engine(EngineRequest::Invalidate(Asked { operation, reply })) => {
                if operation.names.is_empty() {
                    return reply.send(Ok(0));
                }
                let walk = Walk::invalidation(&operation.names, reply);
                (0, Task::Walk(walk.reporting(operation.progress)))
            }
            Request::Engine(EngineRequest::Clear(Asked { operation, reply })) => {
                let walk = Walk::clearing(operation.prefix, reply);
                (0, Task::Walk(walk.reporting(operation.progress)))
            }
            Request::Engine(EngineRequest::Stats(Asked { reply, .. })) => {
                let queue_depth = self.lane.depth() + self.links.iter().map(Link::waiting).sum::<usize>();
                return reply.send(Ok(Stats {
                    queue_depth: queue_depth as u64,
                    ..self.stats
                }));
            }
            #[cfg(test)]
            Request::Engine(EngineRequest::Panic(_)) => return,
        };
        self.due = Some(self.due.map_or(deadline, |due| due.min(deadline)));
        let mut job = Job::new(task, deadline);
        job.room = room;
        self.links[link].push(job);
    }

    /// The connection for a request: that of its key, or of the first of its keys.
    fn link_of(&self, request: &EntryRequest) -> usize {
        if self.links.len() == 1 {
            return 0;
        }
        // The count is at most 64, and what remains of a division by it is less.
        request
            .keys()
            .first()
            .map_or(0, |key| (key.hash() % self.links.len() as u64) as usize)
    }

    /// Whether nothing more can be done: the lane has ended, and each connection has answered all that is waited
    /// for, or cannot.
    fn is_finished(&self, now: Instant) -> bool {
        self.lane_ended
            && self
                .links
                .iter()
                .all(|link| !link.is_awaited(now) || !link.is_up())
    }

    /// Keeps the deadlines and looks after the connections when it is time. Returns `true` if it was.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.due.is_some_and(|due| due <= now) {
            let next = self.links.iter_mut().filter_map(|link| link.expire(now)).min();
            self.due = next.map(|due| due.max(now + TICK));
            // Those who were answered have made room for others.
            return true;
        }
        let mut next = self.due;
        let mut keep = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        for link in &mut self.links {
            if let Some(at) = link.look(now) {
                keep(at);
            }
        }
        let at = next.unwrap_or(now + FAR);
        if at <= now {
            return true;
        }
        // Set too early, it is set again when it rings; that costs less than setting it for each reply.
        if self.alarm.deadline() > at || self.alarm.deadline() <= now {
            self.alarm.as_mut().reset(at);
        }
        self.alarm.as_mut().poll(cx).is_ready()
    }
}
