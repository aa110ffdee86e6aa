//! The memory engine's actor: a queue, a clock, and calls into the table.

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

use super::expiry::Moment;
use super::operation::{Serve, Turn};
use super::sweep::{Sweep, Sweeps};
use super::table::Table;
use crate::actor::queue::QueueReceiver;
use crate::actor::{Alarm, Step, Turns, poll_turn};
use crate::events::Listeners;
use crate::near::{NearWriter, Ticket};
use crate::request::{Asked, EngineRequest, Request, on_entry};

/// The most requests that are taken from the queue at once.
const BATCH: usize = 256;
/// How many batches are served before the mailbox is looked at.
const BATCHES: usize = 32;
/// How long chores may go on while the queue waits.
const SLICE: Duration = Duration::from_micros(500);
/// How many entries are reclaimed between two looks at the clock.
const RECLAIM: usize = 64;
/// Expired entries are never served; that they are reclaimed can wait this long, so that deadlines
/// close together cost one wake-up.
const TICK: Duration = Duration::from_millis(10);

/// The arguments of the engine's start.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) queue: QueueReceiver,
    pub(super) capacity_bytes: usize,
    pub(super) near: Option<NearWriter>,
    pub(super) listeners: Arc<Listeners>,
}

/// Owns the table, alone.
#[derive(Debug)]
pub(super) struct MemoryEngine {
    /// Boxed, for the actor's future is moved with every poll. It is dropped first: it closes the near cache before
    /// the tickets of writes that are not served open their gates.
    table: Box<Table>,
    queue: QueueReceiver,
    /// The ticket of the write that is served now. If that panics, the table is reset before the gate opens.
    serving: Option<Ticket>,
    /// Long work, carried out in slices between batches.
    sweeps: Sweeps,
    /// Whether entries have expired and wait to be reclaimed.
    overdue: bool,
    origin: Instant,
    /// Wakes the engine when entries expire.
    alarm: Alarm,
}

impl Actor for MemoryEngine {
    type Args = Setup;
    type Error = Infallible;

    async fn on_start(setup: Setup, _: ActorRef<Self>) -> std::result::Result<Self, Infallible> {
        let origin = Instant::now();
        let near = setup.near.map(|near| near.since(origin));
        Ok(Self {
            table: Box::new(Table::new(setup.capacity_bytes, near).heard_by(setup.listeners)),
            queue: setup.queue,
            serving: None,
            sweeps: Sweeps::default(),
            overdue: false,
            origin,
            alarm: Alarm::new(),
        })
    }

    /// Serves the queue until the mailbox has a signal, or every handle has gone.
    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> std::result::Result<Option<Signal<Self>>, Infallible> {
        Ok(poll_fn(|cx| poll_turn(self, Some(mailbox), cx)).await)
    }

    /// The request that panicked has lost its reply, which tells its caller. The rest of the batch is
    /// still in the queue and is served next.
    async fn on_panic(
        &mut self,
        _: WeakActorRef<Self>,
        panic: PanicError,
    ) -> std::result::Result<ControlFlow<ActorStopReason>, Infallible> {
        if self.table.is_torn() {
            self.table.reset();
            self.sweeps.reset();
            tracing::error!(%panic, "the memory engine panicked in its table: all entries are dropped");
        } else {
            tracing::error!(%panic, "the memory engine panicked: it goes on with the next request");
        }
        self.serving = None;
        Ok(ControlFlow::Continue(()))
    }

    /// Serves what had entered the queue, then refuses the rest.
    async fn on_stop(
        &mut self,
        _: WeakActorRef<Self>,
        reason: ActorStopReason,
    ) -> std::result::Result<(), Infallible> {
        // First, so that nobody finds a value after another was told that the store is closed.
        self.table.close_near();
        self.queue.close();
        while poll_fn(|cx| self.queue.poll_batch(cx, BATCH)).await > 0 {
            self.serve_batch(Self::TURN);
        }
        // Their callers wait for the result.
        while !self.sweeps.is_empty() {
            self.do_chores();
            tokio::task::yield_now().await;
        }
        tracing::debug!(?reason, "the memory engine has stopped");
        Ok(())
    }
}

impl Turns for MemoryEngine {
    /// In keys, or what takes as long: half a millisecond's worth.
    const TURN: usize = 2048;

    fn step(&mut self, cx: &mut Context<'_>, left: usize) -> Step {
        let batch = self.queue.poll_batch(cx, BATCH);
        let has_ended = batch == Poll::Ready(0);
        // The callers of sweeps wait for the result.
        if has_ended && self.sweeps.is_empty() {
            return Step::Ended;
        }
        let served = batch.is_ready().then(|| self.serve_batch(left));
        if self.has_chores() {
            // The callers who were answered run before more is done.
            self.do_chores();
            return Step::Done(left);
        }
        served.map_or(Step::Idle, |served| Step::Done(served.max(Self::TURN / BATCHES)))
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
        self.set_alarm();
        let rings = self.alarm.poll_ring(cx).is_ready();
        self.overdue |= rings;
        rings
    }
}

impl MemoryEngine {
    fn now(&self) -> Moment {
        self.moment(Instant::now())
    }

    fn moment(&self, at: Instant) -> Moment {
        Moment::since_start(at.saturating_duration_since(self.origin))
    }

    /// Serves the batch, all of it at one time, until `most` keys have been served. Returns how many were.
    fn serve_batch(&mut self, most: usize) -> usize {
        let now = self.now();
        self.table.begin_turn();
        let mut served = 0;
        while served < most
            && let Some(queued) = self.queue.next()
        {
            let made = queued.made().map_or(now, |made| self.moment(made));
            self.serving = queued.ticket;
            served += queued.request.work();
            self.serve(queued.request, made, now);
            self.serving = None;
        }
        served
    }

    fn has_chores(&self) -> bool {
        self.overdue || !self.sweeps.is_empty() || self.table.is_untidy()
    }

    /// Reclaims, sweeps and tidies, for one slice at most.
    fn do_chores(&mut self) {
        let began = Instant::now();
        let now = self.now();
        self.table.begin_turn();
        while self.has_chores() && began.elapsed() < SLICE {
            if self.overdue {
                self.overdue = self.table.reclaim(now, RECLAIM) == RECLAIM;
            }
            self.sweeps.step(&mut self.table, now);
            if self.table.is_untidy() {
                self.table.tidy();
            }
        }
        self.sweeps.report();
    }

    /// Sets the alarm for the next deadline, unless it rings earlier already.
    fn set_alarm(&mut self) {
        let Some(due) = self.table.next_due() else { return };
        let due = self.origin + due.as_duration();
        if self.overdue || self.alarm.rings_at().is_some_and(|rings_at| rings_at <= due) {
            return;
        }
        self.alarm.set(due.max(Instant::now() + TICK));
    }

    /// `made` is when the call was made, if that was before `now`: a set's TTL counts from there.
    fn serve(&mut self, request: Request, made: Moment, now: Moment) {
        if request.is_pointless() {
            return;
        }
        let (table, sweeps) = (&mut self.table, &mut self.sweeps);
        match request {
            Request::Entry(request) => {
                let turn = Turn { now, made, sweeps };
                on_entry!(request, Asked { operation, reply } => reply.send(operation.serve(table, &turn)));
            }
            Request::Engine(EngineRequest::Clear(Asked { operation, reply })) => {
                let sweep = Sweep::clearing(table, operation.prefix);
                sweeps.begin(sweep, operation.progress, reply, table, now);
            }
            Request::Engine(EngineRequest::Invalidate(Asked { operation, reply })) => {
                let sweep = Sweep::invalidation(operation.names);
                sweeps.begin(sweep, operation.progress, reply, table, now);
            }
            Request::Engine(EngineRequest::Stats(Asked { reply, .. })) => {
                let queue_depth = self.queue.depth() as u64;
                reply.send(Ok(table.stats().told(queue_depth)));
            }
            #[cfg(test)]
            Request::Engine(EngineRequest::Panic(Asked { operation, reply })) => {
                if operation.inside_the_table {
                    table.tear();
                }
                let _lost = reply;
                panic!("a fault of the engine, made for a test");
            }
        }
    }
}
