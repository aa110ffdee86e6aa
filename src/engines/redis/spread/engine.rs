//! The actor of a store that is spread over a whole cluster: a queue, a clock, and the nodes whose connections it drives.

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
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::clears::Clears;
use super::held::Held;
use super::leases::Leases;
use super::machines::Machines;
use super::near::NearCalls;
use super::nodes::{Kit, Nodes};
use super::protocol::Seens;
use super::refresh::Refresh;
use super::scans::Scans;
use super::slots::SlotMap;
use crate::actor::queue::QueueReceiver;
use crate::actor::{Alarm, Step, Turns, poll_turn};
use crate::config::RedisOptions;
use crate::engines::redis::cluster::Directory;
use crate::engines::redis::generation::Generation;
use crate::engines::redis::layout::Layout;
use crate::engines::redis::own::Told;
use crate::engines::redis::reply;
use crate::engines::redis::scanner::Bounds;
use crate::engines::redis::stripe::Stripe;
use crate::engines::redis::tally::Tally;
use crate::engines::redis::tracker::Tracker;
use crate::error::{Error, Phase};
use crate::events::Listeners;
use crate::meters::Meters;
use crate::request::Outcome;

/// Deadlines closer together than this cost one look at all that is under way.
const TICK: Duration = Duration::from_millis(2);

/// What the engine is started with.
#[derive(Debug)]
pub(in crate::engines::redis) struct Setup {
    pub(in crate::engines::redis) queue: QueueReceiver,
    pub(in crate::engines::redis) options: Box<RedisOptions>,
    pub(in crate::engines::redis) directory: Arc<Directory>,
    /// The most bytes of a value.
    pub(in crate::engines::redis) max_value_bytes: usize,
    pub(in crate::engines::redis) layout: Layout,
    pub(in crate::engines::redis) listeners: Arc<Listeners>,
    pub(in crate::engines::redis) meters: Meters,
    /// Tells the subscriber of a failover.
    pub(in crate::engines::redis) generation: Generation,
    /// Writes the near cache, if there is one.
    pub(in crate::engines::redis) tracker: Option<Tracker>,
}

/// Owns the connections to all nodes, alone.
pub(in crate::engines::redis) struct SpreadEngine {
    pub(super) queue: QueueReceiver,
    pub(super) queue_ended: bool,
    pub(super) options: Arc<RedisOptions>,
    pub(super) layout: Layout,
    pub(super) directory: Arc<Directory>,
    pub(super) map: SlotMap,
    pub(super) nodes: Nodes,
    pub(super) held: Held,
    pub(super) refresh: Refresh,
    /// Whether the nodes have ever told who owns which slots.
    pub(super) proven: bool,
    /// Why they did not when they were asked last.
    pub(super) trouble: Option<Error>,
    pub(super) clears: Clears,
    pub(super) scans: Scans,
    /// Replies to the engine's own commands.
    pub(super) replies: mpsc::UnboundedReceiver<(u64, Outcome<Told>)>,
    pub(super) replies_to: mpsc::UnboundedSender<(u64, Outcome<Told>)>,
    pub(super) machines: Machines,
    pub(super) leases: Leases,
    pub(super) seens: Seens,
    pub(super) near: NearCalls,
    /// Replies to steps.
    pub(super) steps: mpsc::UnboundedReceiver<(u64, Outcome<Told>)>,
    pub(super) steps_to: mpsc::UnboundedSender<(u64, Outcome<Told>)>,
    pub(super) tally: Tally,
    pub(super) generation: Generation,
    /// No later than the earliest deadline of a request under way.
    pub(super) due: Option<Instant>,
    alarm: Alarm,
}

impl fmt::Debug for SpreadEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpreadEngine")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl Actor for SpreadEngine {
    type Args = Setup;
    type Error = Infallible;

    async fn on_start(setup: Setup, _: ActorRef<Self>) -> Result<Self, Infallible> {
        let now = Instant::now();
        let options = Arc::new(*setup.options);
        let nodes = Nodes::new(Kit {
            options: options.clone(),
            layout: setup.layout.clone(),
            bounds: Bounds::for_values(setup.max_value_bytes),
            directory: setup.directory.clone(),
            listeners: setup.listeners.clone(),
            meters: setup.meters,
            tracker: setup.tracker.clone(),
        });
        let (replies_to, replies) = mpsc::unbounded_channel();
        let (steps_to, steps) = mpsc::unbounded_channel();
        Ok(Self {
            queue: setup.queue,
            queue_ended: false,
            options,
            layout: setup.layout,
            refresh: Refresh::new(setup.directory.clone(), now),
            directory: setup.directory,
            map: SlotMap::new(),
            nodes,
            held: Held::default(),
            proven: false,
            trouble: None,
            clears: Clears::default(),
            scans: Scans::default(),
            replies,
            replies_to,
            machines: Machines::default(),
            leases: Leases::default(),
            seens: Seens::default(),
            near: NearCalls::new(setup.tracker),
            steps,
            steps_to,
            tally: Tally::new(setup.listeners),
            generation: setup.generation,
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
        self.near.reset();
        let now = Instant::now();
        self.nodes.stripes_mut().for_each(|stripe| stripe.reset(now));
        // Any of these may have lost the answer that it waits for.
        let error = Error::OutcomeUnknown(reply::no_answer());
        self.machines.abandon(&error);
        self.clears.abandon(&error);
        self.refresh.reset(now);
        Ok(ControlFlow::Continue(()))
    }

    /// Serves what had entered the queue, as long as the nodes answer, then refuses the rest.
    async fn on_stop(&mut self, _: WeakActorRef<Self>, reason: ActorStopReason) -> Result<(), Infallible> {
        // First, so that nobody finds a value after another was told that the store is closed.
        self.near.close();
        self.queue.close();
        poll_fn(|cx| poll_turn(self, None, cx)).await;
        self.clears.abandon(&Error::Closed);
        self.machines.abandon(&Error::Closed);
        self.scans.fail(u64::MAX, &Error::Closed);
        for job in self.held.take_all() {
            reply::fail(job.task, &Error::Closed);
        }
        self.nodes.abandon();
        tracing::debug!(?reason, "the Redis engine has stopped");
        Ok(())
    }
}

impl Turns for SpreadEngine {
    const TURN: usize = 32;

    fn step(&mut self, cx: &mut Context<'_>, _: usize) -> Step {
        let now = Instant::now();
        let mut done = self.poll_queue(cx, now);
        done |= self.poll_refresh(cx, now);
        done |= self.poll_replies(cx, now);
        done |= self.poll_steps(cx, now);
        done |= self.poll_nodes(cx, now);
        done |= self.release(now);
        if !done && self.is_finished(now) {
            return Step::Ended;
        }
        Step::of(done)
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        if self.due.is_some_and(|due| due <= now) {
            self.due = self.expire(now).map(|due| due.max(now + TICK));
            // Those who were answered have made room for others.
            return true;
        }
        let looks = self
            .nodes
            .stripes_mut()
            .filter_map(|stripe| stripe.look(now))
            .min();
        let others = [looks, self.due, self.refresh.due()];
        let due = others.into_iter().flatten().min();
        due.is_some_and(|at| self.alarm.poll(at, now, cx).is_ready())
    }
}

impl SpreadEngine {
    /// Answers callers whose time is over. Returns the earliest deadline of the others.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        let (late, held) = self.held.take_late(now);
        for job in late {
            let error = match (&job.refused, &self.trouble) {
                (Some(error), _) | (None, Some(error)) => error.clone(),
                (None, None) => Error::Timeout { phase: Phase::Queue },
            };
            reply::fail(job.task, &error);
        }
        let stripes = self
            .nodes
            .stripes_mut()
            .filter_map(|stripe| stripe.expire(now))
            .min();
        let others = [
            held,
            stripes,
            self.clears.expire(now),
            self.scans.expire(now),
            self.machines.expire(now),
        ];
        others.into_iter().flatten().min()
    }

    /// Takes in the replies to the engine's own commands.
    fn poll_replies(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut done = false;
        while let Poll::Ready(Some((number, outcome))) = self.replies.poll_recv(cx) {
            done = true;
            let next = self.clears.advance(number, outcome, &self.map, &mut self.tally);
            if let Some(next) = next {
                self.carry_out(number, next, now);
            }
        }
        done
    }

    /// Whether something goes on that takes several commands, or waits for a node.
    fn has_begun(&self) -> bool {
        !(self.clears.is_empty() && self.scans.is_empty() && self.held.is_empty() && self.machines.is_empty())
    }

    /// Whether nothing more can be done: the queue has ended, and each node has answered all that is waited for, or cannot.
    fn is_finished(&self, now: Instant) -> bool {
        let is_up = || self.nodes.stripes().any(Stripe::is_up);
        self.queue_ended
            && (!self.has_begun() || !is_up())
            && !self.nodes.stripes().any(|stripe| stripe.is_busy(now))
    }
}
