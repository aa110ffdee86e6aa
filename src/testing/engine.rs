//! The actor between a store and its engine, which injects the faults.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible, PanicError};
use kameo::mailbox::{MailboxReceiver, Signal};
use tokio::time::Instant;

use crate::actor::queue::{Forwarder, QueueReceiver, Queued};
use crate::actor::{Alarm, Step, Turns, poll_turn};
use crate::error::{Cause, Error, Phase};
use crate::faults::{Fate, Faults};
use crate::lock::{LockTable, Name};
use crate::request::{Asked, EngineRequest, EntryRequest, Request};
use crate::ttl::LONGEST;

/// The most requests that wait here, and the most that wait for the engine behind.
pub(super) const QUEUE: usize = 4096;
/// The most requests that are taken from the queue at once.
const BATCH: usize = 256;

/// What the actor is started with.
pub(super) struct Setup {
    pub(super) queue: QueueReceiver,
    pub(super) inner: Forwarder,
    pub(super) faults: Faults,
    /// The locks, if the engine behind does not keep them.
    pub(super) locks: Option<LockTable>,
}

/// Owns what is on its way to the engine.
pub(super) struct FaultyEngine {
    queue: QueueReceiver,
    queue_ended: bool,
    inner: Forwarder,
    faults: Faults,
    locks: Option<LockTable>,
    /// In the order in which they came.
    held: VecDeque<Held>,
    origin: Instant,
    now: Instant,
    alarm: Alarm,
}

/// A request that waits for its delay to end, or for room in the engine's queue.
struct Held {
    due: Instant,
    fate: Fate,
    queued: Queued,
}

impl fmt::Debug for FaultyEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyEngine")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

impl Actor for FaultyEngine {
    type Args = Setup;
    type Error = Infallible;

    async fn on_start(setup: Setup, _: ActorRef<Self>) -> Result<Self, Infallible> {
        let now = Instant::now();
        Ok(Self {
            queue: setup.queue,
            queue_ended: false,
            inner: setup.inner,
            faults: setup.faults,
            locks: setup.locks,
            held: VecDeque::new(),
            origin: now,
            now,
            alarm: Alarm::new(),
        })
    }

    /// Serves the queue until the mailbox has a signal, or every handle has gone.
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
        tracing::error!(%panic, "the engine of faults panicked: it goes on with the next request");
        Ok(ControlFlow::Continue(()))
    }

    /// Serves what had entered the queue, then refuses the rest. The engine behind is stopped after this one.
    async fn on_stop(&mut self, _: WeakActorRef<Self>, _: ActorStopReason) -> Result<(), Infallible> {
        self.queue.close();
        poll_fn(|cx| poll_turn(self, None, cx)).await;
        Ok(())
    }
}

impl Turns for FaultyEngine {
    const TURN: usize = BATCH;

    fn begin_turn(&mut self) {
        self.now = Instant::now();
    }

    /// Sends on what is due, and takes what has come.
    fn step(&mut self, cx: &mut Context<'_>, _: usize) -> Step {
        if self.poll_first(cx).is_ready() {
            return Step::Done(1);
        }
        if !self.queue_ended && self.held.len() < QUEUE {
            match self.queue.poll_batch(cx, BATCH) {
                Poll::Ready(0) => self.queue_ended = true,
                Poll::Ready(_) => self.accept(),
                Poll::Pending => return Step::Idle,
            }
            return Step::Done(1);
        }
        if self.queue_ended && self.held.is_empty() {
            Step::Ended
        } else {
            Step::Idle
        }
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
        self.now = Instant::now();
        if self.expire(self.now) {
            return true;
        }
        let delayed = self
            .held
            .front()
            .map(|held| held.due)
            .filter(|due| *due > self.now);
        let deadlines = self.held.iter().filter_map(|held| held.queued.deadline());
        let next = delayed.into_iter().chain(deadlines).min();
        next.is_some_and(|at| self.alarm.poll(at, self.now, cx).is_ready())
    }
}

impl FaultyEngine {
    /// Takes the batch.
    fn accept(&mut self) {
        while let Some(queued) = self.queue.next() {
            let (fate, delay) = match &queued.request {
                // Tests look at the figures while the engine fails.
                Request::Engine(EngineRequest::Stats(_)) => (Fate::Served, Duration::ZERO),
                request => {
                    let (name, keys) = request.shown();
                    self.faults.meet(name, keys)
                }
            };
            let due = self.now + delay.min(LONGEST);
            self.held.push_back(Held { due, fate, queued });
        }
    }

    /// Settles the first request, if it is due and there is room for it. None overtakes another.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(held) = self.held.front().filter(|held| held.due <= self.now) else {
            return Poll::Pending;
        };
        if held.fate != Fate::Failed {
            ready!(self.inner.poll_room(cx));
        }
        let Some(held) = self.held.pop_front() else {
            return Poll::Pending;
        };
        self.settle(held.fate, held.queued);
        Poll::Ready(())
    }

    fn settle(&mut self, fate: Fate, mut queued: Queued) {
        queued.request = match fate {
            Fate::Served => queued.request,
            Fate::Failed => return queued.request.fail(unavailable()),
            Fate::Lost if !queued.request.changes() => return queued.request.fail(unavailable()),
            Fate::Lost => queued
                .request
                .without_reply(Error::OutcomeUnknown(Cause::new(Injected))),
        };
        match (&mut self.locks, queued.request) {
            (Some(locks), Request::Entry(EntryRequest::Lock(Asked { operation, reply }))) => {
                let step = *operation.step;
                let name = Name::from(step.key);
                reply.send(Ok(locks.serve(&name, step.action, self.now - self.origin)));
            }
            (_, request) => {
                queued.request = request;
                self.inner.send(queued);
            }
        }
    }

    /// Answers what has waited for longer than its call may take. It is not carried out. Returns `true` if there was any.
    fn expire(&mut self, now: Instant) -> bool {
        let is_late = |held: &Held| held.queued.deadline().is_some_and(|deadline| deadline <= now);
        if !self.held.iter().any(is_late) {
            return false;
        }
        for held in std::mem::take(&mut self.held) {
            if is_late(&held) {
                held.queued.request.fail(Error::Timeout { phase: Phase::Reply });
            } else {
                self.held.push_back(held);
            }
        }
        true
    }
}

fn unavailable() -> Error {
    Error::Unavailable(Cause::new(Injected))
}

#[derive(Debug, thiserror::Error)]
#[error("a fault that was asked for by `testing::Faults`")]
struct Injected;
