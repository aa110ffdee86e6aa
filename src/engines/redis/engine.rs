//! The Redis engine's actor: a queue, a clock, and the connections that it drives.

use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible, PanicError};
use kameo::mailbox::{MailboxReceiver, Signal};
use tokio::time::Instant;

use super::clearings::Clearings;
use super::generation::Generation;
use super::job::{Job, Task};
use super::layout::Layout;
use super::link::Link;
use super::replay::Replay;
use super::resolver::Resolver;
use super::scanner::Bounds;
use super::stripe::Stripe;
use super::tally::Tally;
use super::tracker::Tracker;
use super::unsent::Unsent;
use super::walk::{Caller, Walk};
use crate::actor::queue::{QueueReceiver, Queued};
use crate::actor::{Alarm, Step, Turns, poll_turn};
use crate::config::RedisOptions;
use crate::engine::RemovalLimits;
use crate::events::Listeners;
use crate::key::Namespace;
use crate::meters::Meters;
use crate::request::{Asked, EngineRequest, EntryRequest, Request};
use crate::stats::Stats;

/// The most requests that are taken from the queue at once.
const BATCH: usize = 512;
/// The most requests that wait for one connection outside the queue.
const WAITING: usize = 4096;
/// Deadlines closer together than this cost one look at all that is under way.
const TICK: Duration = Duration::from_millis(2);

/// What the engine is started with.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) queue: QueueReceiver,
    pub(super) options: Box<RedisOptions>,
    pub(super) resolver: Resolver,
    /// The most bytes of a value.
    pub(super) max_value_bytes: usize,
    pub(super) removals: RemovalLimits,
    /// Where the store was opened.
    pub(super) namespace: Namespace,
    pub(super) layout: Layout,
    pub(super) listeners: Arc<Listeners>,
    pub(super) meters: Meters,
    /// Writes the near cache, if there is one.
    pub(super) tracker: Option<Tracker>,
}

/// Owns the connections, alone.
pub(super) struct RedisEngine {
    queue: QueueReceiver,
    queue_ended: bool,
    stripes: Vec<Stripe>,
    generation: Generation,
    clearings: Clearings,
    replay: Replay,
    options: Arc<RedisOptions>,
    tally: Tally,
    tracker: Option<Tracker>,
    /// No later than the earliest deadline of a request under way.
    due: Option<Instant>,
    alarm: Alarm,
}

impl fmt::Debug for RedisEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisEngine")
            .field("connections", &self.stripes.len())
            .finish_non_exhaustive()
    }
}

impl Actor for RedisEngine {
    type Args = Setup;
    type Error = Infallible;

    async fn on_start(setup: Setup, _: ActorRef<Self>) -> Result<Self, Infallible> {
        let now = Instant::now();
        let layout = setup.layout;
        let options = Arc::new(*setup.options);
        let bounds = Bounds::for_values(setup.max_value_bytes);
        let tracker = setup.tracker;
        let replay = Replay::new(setup.removals, &setup.namespace);
        let link = || {
            let link = Link::new(
                options.clone(),
                layout.clone(),
                bounds,
                setup.resolver.clone(),
                tracker.clone(),
                now,
            );
            let link = link.metered_by(setup.meters.clone());
            link.keeping_removals(replay.keeps_removals())
        };
        let stripes = (0..options.connections)
            .map(|_| Stripe::new(link().heard_by(setup.listeners.clone()), link()))
            .collect();
        Ok(Self {
            queue: setup.queue,
            queue_ended: false,
            stripes,
            generation: setup.resolver.generation().clone(),
            clearings: Clearings::default(),
            replay,
            options,
            tally: Tally::new(setup.listeners),
            tracker,
            due: None,
            alarm: Alarm::new(),
        })
    }

    /// Serves the queue until the mailbox has a signal, or every handle has gone and all is answered.
    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Infallible> {
        Ok(poll_fn(|cx| poll_turn(self, Some(mailbox), cx)).await)
    }

    async fn on_panic(
        &mut self,
        _: WeakActorRef<Self>,
        panic: PanicError,
    ) -> Result<ControlFlow<ActorStopReason>, Infallible> {
        tracing::error!(%panic, "the Redis engine panicked: it goes on over new connections");
        if let Some(tracker) = &self.tracker {
            tracker.reset();
        }
        let now = Instant::now();
        self.stripes.iter_mut().for_each(|stripe| stripe.reset(now));
        Ok(ControlFlow::Continue(()))
    }

    /// Serves what had entered the queue, as long as the server answers, then refuses the rest.
    async fn on_stop(&mut self, _: WeakActorRef<Self>, reason: ActorStopReason) -> Result<(), Infallible> {
        // First, so that nobody finds a value after another was told that the store is closed.
        if let Some(tracker) = &self.tracker {
            tracker.close();
        }
        self.queue.close();
        poll_fn(|cx| poll_turn(self, None, cx)).await;
        self.clearings.abandon();
        self.stripes.iter_mut().for_each(Stripe::abandon);
        self.stripes.clear();
        self.replay.abandon();
        tracing::debug!(?reason, "the Redis engine has stopped");
        Ok(())
    }
}

impl Turns for RedisEngine {
    const TURN: usize = 32;

    fn step(&mut self, cx: &mut Context<'_>, _: usize) -> Step {
        let now = Instant::now();
        let mut done = self.poll_queue(cx, now);
        done |= self.generation.poll_next(cx);
        self.start_clearing(now);
        self.keep_removals();
        done |= self.poll_replay(cx, now);
        for at in 0..self.stripes.len() {
            let (is_held, refused) = (self.replay.holds(), self.replay.refused());
            self.stripes[at].hold(is_held, refused, now);
            done |= self.stripes[at].poll(cx, now, &mut self.tally);
            self.keep_removals();
        }
        if !done && self.is_finished(now) {
            return Step::Ended;
        }
        Step::of(done)
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        if self.due.is_some_and(|due| due <= now) {
            let waiting = self.expire_clearings(now);
            let stripes = self.stripes.iter_mut().filter_map(|stripe| stripe.expire(now));
            let next = stripes.chain(waiting).min();
            self.due = next.map(|due| due.max(now + TICK));
            // Those who were answered have made room for others.
            return true;
        }
        let looks = self.stripes.iter_mut().filter_map(|stripe| stripe.look(now));
        let due = looks.chain(self.due).chain(self.replay.retry_at()).min();
        due.is_some_and(|at| self.alarm.poll(at, now, cx).is_ready())
    }
}

impl RedisEngine {
    /// Takes requests from the queue, as long as there is room for them.
    fn poll_queue(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.queue_ended
            || self.clearings.waiting() >= WAITING
            || self.stripes.iter().any(|stripe| stripe.waiting() >= WAITING)
        {
            return false;
        }
        match self.queue.poll_batch(cx, BATCH) {
            Poll::Pending => false,
            Poll::Ready(0) => {
                self.queue_ended = true;
                true
            }
            Poll::Ready(_) => {
                while let Some(queued) = self.queue.next() {
                    self.accept(queued, now);
                }
                true
            }
        }
    }

    fn accept(&mut self, queued: Queued, now: Instant) {
        // This engine's queue stamps every request with its deadline.
        let deadline = queued.deadline().unwrap_or(now);
        let Queued { request, room, .. } = queued;
        let (link, task) = match request {
            Request::Entry(request) => {
                if let Some(tracker) = &self.tracker
                    && request.changes_entries()
                {
                    tracker.changes(request.keys());
                }
                (self.link_of(&request), Task::Request(request))
            }
            Request::Engine(EngineRequest::Invalidate(Asked { operation, reply })) => {
                if operation.names.is_empty() {
                    return reply.send(Ok(0));
                }
                let caller = Caller::new(reply, operation.progress, deadline);
                let mut walk = Walk::invalidation(&operation.names, caller, self.tally.is_heard());
                walk.near(self.tracker.as_ref());
                if self.replay.keeps_removals() {
                    walk.remember(operation.names, operation.within);
                }
                (0, Task::Walk(walk))
            }
            Request::Engine(EngineRequest::Clear(Asked { operation, reply })) => {
                self.due = Some(self.due.map_or(deadline, |due| due.min(deadline)));
                let caller = Caller::new(reply, operation.progress, deadline);
                return self.clearings.push(operation.prefix, caller);
            }
            Request::Engine(EngineRequest::Stats(Asked { reply, .. })) => {
                let queue_depth = self.queue.depth()
                    + self.clearings.waiting()
                    + self.stripes.iter().map(Stripe::waiting).sum::<usize>();
                let mut stats = Stats {
                    queue_depth: queue_depth as u64,
                    queued_invalidations: self.replay.waiting() as u64,
                    ..self.tally.stats
                };
                if let Some(tracker) = &self.tracker {
                    tracker.report(&mut stats);
                }
                return reply.send(Ok(stats));
            }
            #[cfg(test)]
            Request::Engine(EngineRequest::Panic(_)) => return,
        };
        self.due = Some(self.due.map_or(deadline, |due| due.min(deadline)));
        let mut job = Job::new(task, deadline);
        job.room = room;
        self.stripes[link].push(job, now);
    }

    /// Keeps what jobs that have failed were to remove.
    fn keep_removals(&mut self) {
        for removal in self.stripes.iter_mut().flat_map(Stripe::take_unsent) {
            self.replay.keep(removal);
        }
    }

    /// Tells callers of clearings that have waited for too long. What an outage or a replay has held up is kept. Returns when
    /// the next one's time is over.
    fn expire_clearings(&mut self, now: Instant) -> Option<Instant> {
        let is_held_up = !self.stripes[0].is_up() || self.replay.holds();
        let mut unsent = if is_held_up && self.replay.keeps_removals() {
            Unsent::kept(self.tracker.clone())
        } else {
            Unsent::default()
        };
        let next = self.clearings.expire(now, &mut unsent);
        for removal in unsent.take() {
            self.replay.keep(removal);
        }
        next
    }

    /// Goes on with the replay, if there is one.
    fn poll_replay(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let stripes = &mut self.stripes;
        let is_up = |stripe: usize| stripes[stripe].is_up();
        let mut done = self.replay.poll(cx, &self.options, is_up, now);
        let open = || stripes.iter().position(Stripe::is_up);
        let next = self
            .replay
            .begin(open, self.tally.is_heard(), self.tracker.as_ref(), now);
        if let Some((job, stripe)) = next {
            stripes[stripe].push_replay(job);
            done = true;
        }
        done
    }

    /// Starts the next walk that clears, if there is one and none is under way.
    fn start_clearing(&mut self, now: Instant) {
        if let Some((mut walk, deadline)) = self.clearings.start() {
            walk.near(self.tracker.as_ref());
            self.stripes[0].push(Job::new(Task::Walk(walk), deadline), now);
        }
    }

    /// The connection for a request: that of its key, or of the first of its keys.
    fn link_of(&self, request: &EntryRequest) -> usize {
        if self.stripes.len() == 1 {
            return 0;
        }
        // The count is at most 64, and what remains of a division by it is less.
        request
            .keys()
            .first()
            .map_or(0, |key| (key.hash() % self.stripes.len() as u64) as usize)
    }

    /// Whether nothing more can be done: the queue has ended, and each connection has answered all that is waited
    /// for, or cannot.
    fn is_finished(&self, now: Instant) -> bool {
        self.queue_ended
            && (self.clearings.waiting() == 0 || !self.stripes[0].is_up())
            && !self.stripes.iter().any(|stripe| stripe.is_busy(now))
    }
}
