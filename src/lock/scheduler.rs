//! The lock scheduler: the actor between callers and the lock backend.

mod answers;
mod checks;
mod holds;
mod notifications;
mod release;
mod steps;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeSet, HashMap};
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
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use self::checks::Checks;
use self::notifications::Seen;
use self::waiting::{Asked, Grant, Holders, Waiting};
use super::backend::Backend;
use super::guard::{LockGuard, Release};
use super::hold::Hold;
use super::name::Name;
use super::queue::{Bounds, Effect, Queues, Waiter};
use super::releases::Releases;
use super::tokens::Tokens;
use super::{Command, Ends, Notice, Wish};
use crate::actor::inbox::Received;
use crate::actor::queue::QueueSender;
use crate::actor::{Alarm, Step, Turns, poll_turn};
use crate::error::{Error, Result};
use crate::meters::Meters;
use crate::prehashed::Map;
use crate::request::{LockAction, LockAnswer, Notification, Notifications, Subject, Subscription};
use crate::secret::Secret;

/// How much longer than a request may take its answer is waited for at the end.
const GRACE: Duration = Duration::from_millis(50);

/// The arguments of the scheduler's start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) ends: Ends,
    /// Who keeps the locks. Without one, the scheduler does: all locks pass through it.
    pub(crate) engine: Option<QueueSender>,
    /// How it learns of other holders. Without one there are none.
    pub(crate) notifications: Option<Notifications>,
    pub(crate) bounds: Bounds,
    pub(crate) meters: Meters,
}

/// Owns the queues and the holds, alone.
pub(crate) struct Scheduler {
    ends: Ends,
    notifications: Option<Notifications>,
    queues: Queues<Grant>,
    /// The callers that wait, and the callers on whose behalf the engine is asked.
    wishes: Map<Waiter, Waiting>,
    /// What is held through guards.
    holds: Map<u64, Hold>,
    holders: Map<Name, Holders>,
    renewals: BTreeSet<(Instant, u64)>,
    releases: Releases,
    checks: Checks,
    /// What was last seen of each lock that somebody waits for or asks for, where others may hold it.
    seen: Map<Name, Seen>,
    /// The same locks by their keys, which notifications name. Those of a lingering channel may come before the first
    /// question.
    known: HashMap<Arc<str>, Name>,
    /// The highest fencing tokens seen lately, where the server may forget.
    tokens: Tokens,
    backend: Backend<Asked>,
    origin: Instant,
    /// When this turn began, and how long after the origin that was.
    now: Instant,
    elapsed: Duration,
    alarm: Alarm,
    meters: Meters,
    /// It was told that releases are not announced.
    warned: bool,
    /// All that was held has been given back.
    stopped: bool,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("waiters", &self.queues.len())
            .field("holds", &self.holds.len())
            .finish_non_exhaustive()
    }
}

impl Actor for Scheduler {
    type Args = Start;
    type Error = Infallible;

    async fn on_start(start: Start, _: ActorRef<Self>) -> std::result::Result<Self, Infallible> {
        let origin = Instant::now();
        Ok(Self {
            ends: start.ends,
            // Another process may free a lock unnoticed.
            queues: Queues::new(start.bounds, start.notifications.is_some()),
            notifications: start.notifications,
            wishes: Map::default(),
            holds: Map::default(),
            holders: Map::default(),
            renewals: BTreeSet::new(),
            releases: Releases::default(),
            checks: Checks::default(),
            seen: Map::default(),
            tokens: Tokens::default(),
            known: HashMap::new(),
            backend: Backend::new(start.engine),
            origin,
            now: origin,
            elapsed: Duration::ZERO,
            alarm: Alarm::new(),
            meters: start.meters,
            warned: false,
            stopped: false,
        })
    }

    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> std::result::Result<Option<Signal<Self>>, Infallible> {
        Ok(poll_fn(|cx| poll_turn(self, Some(mailbox), cx)).await)
    }

    async fn on_panic(
        &mut self,
        _: WeakActorRef<Self>,
        panic: PanicError,
    ) -> std::result::Result<ControlFlow<ActorStopReason>, Infallible> {
        tracing::error!(%panic, "the lock scheduler panicked: it goes on with what comes next");
        Ok(ControlFlow::Continue(()))
    }

    /// Releases what is held, and waits for the engine's word on all that is under way.
    async fn on_stop(
        &mut self,
        _: WeakActorRef<Self>,
        reason: ActorStopReason,
    ) -> std::result::Result<(), Infallible> {
        self.look_at_the_clock();
        for received in self.ends.inbox.close() {
            match received {
                Received::Notice(notice) => self.noticed(notice),
                Received::Call(Command::Lock { sink, .. }) => drop(sink.send(Err(Error::Closed))),
                // The others are told by their replies' end.
                Received::Call(_) => {}
            }
        }
        let waiters: Vec<Waiter> = self.wishes.keys().copied().collect();
        for waiter in waiters {
            self.leave(waiter);
            self.conclude(waiter, Err(Error::Closed));
        }
        let holds: Vec<u64> = self.holds.keys().copied().collect();
        for hold in holds {
            self.release(hold, None);
        }
        for release in self.releases.all_now() {
            self.make_release(release);
        }
        let patience = self.ends.patience.saturating_add(GRACE);
        let answered = poll_fn(|cx| {
            self.poll_backend(cx);
            if self.backend.is_idle() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        // The engine answers each request by its deadline. A request that is sent a second time is not waited for.
        let in_time = timeout(patience, answered).await.is_ok();
        self.meters.locks(0, 0);
        self.stopped = true;
        tracing::debug!(?reason, in_time, "the lock scheduler has stopped");
        Ok(())
    }
}

impl Turns for Scheduler {
    const TURN: usize = 256;

    /// Keeps the deadlines first, because everything that the turn brings comes after a deadline that has passed.
    fn begin_turn(&mut self) {
        self.look_at_the_clock();
        self.keep_deadlines();
    }

    fn step(&mut self, cx: &mut Context<'_>, _: usize) -> Step {
        self.poll_backend(cx);
        let mut done = self.poll_notifications(cx);
        done |= self.poll_inbox(cx);
        self.meters.locks(self.wishes.len(), self.holds.len());
        Step::of(done)
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
        let was_due = self.keep_deadlines()
            || self
                .next_deadline()
                .is_some_and(|at| self.alarm.poll(at, self.now, cx).is_ready());
        if was_due {
            self.look_at_the_clock();
        }
        was_due
    }
}

impl Scheduler {
    fn poll_inbox(&mut self, cx: &mut Context<'_>) -> bool {
        // While the engine's queue has no room, calls and notices wait in ours, in their order.
        if self.backend.is_held_up() {
            return false;
        }
        match self.ends.inbox.poll(cx) {
            Poll::Ready(Some(Received::Call(command))) => self.begin(command),
            Poll::Ready(Some(Received::Notice(notice))) => self.noticed(notice),
            Poll::Ready(None) | Poll::Pending => return false,
        }
        true
    }

    fn poll_notifications(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(notifications) = &mut self.notifications else {
            return false;
        };
        match notifications.received.poll_recv(cx) {
            Poll::Ready(Some(notification)) => {
                self.hear(notification);
                true
            }
            _ => false,
        }
    }

    /// Takes all answers that there are.
    fn poll_backend(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready((asked, answer)) = self.backend.poll_answer(cx) {
            self.answered(asked, answer);
        }
    }

    /// Renews and checks holds, makes releases again and refuses waiters whose time has come. Returns `true` if a deadline was due.
    fn keep_deadlines(&mut self) -> bool {
        let now = self.now;
        if self.next_deadline().is_none_or(|at| at > now) {
            return false;
        }
        self.renew_due(now);
        self.make_due_releases(now);
        self.check_due(now);
        self.with_queues(Queues::tick);
        true
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waiters = self.queues.next_due().map(|due| self.origin + due);
        let renewal = self.renewals.first().map(|(at, _)| *at);
        let all = [waiters, renewal, self.releases.next_due(), self.checks.next_due()];
        all.into_iter().flatten().min()
    }

    /// Reads the clock once a turn. A hold that is counted from the beginning of the turn ends too early rather than too
    /// late.
    fn look_at_the_clock(&mut self) {
        self.now = Instant::now();
        self.elapsed = self.now.saturating_duration_since(self.origin);
    }

    fn ask(&mut self, name: &Name, action: LockAction, asked: Asked) {
        self.backend.ask(name, action, self.elapsed, asked);
    }

    /// Changes the queues and carries out the effects. An effect may change the queues again. The effects of that come
    /// last.
    fn with_queues(&mut self, change: impl FnOnce(&mut Queues<Grant>, Duration)) {
        change(&mut self.queues, self.elapsed);
        while let Some(effect) = self.queues.next_effect() {
            self.carry_out(effect);
        }
    }

    fn wake(&mut self, name: &Name) {
        self.with_queues(|queues, now| queues.wake(name, now));
    }

    /// Whether all locks of the engine pass through this scheduler, so that there is nobody to be fair to.
    fn is_alone(&self) -> bool {
        self.notifications.is_none()
    }
}

/// Warns of locks that were not given back: the runtime has ended, and with it this actor, without a stop.
impl Drop for Scheduler {
    fn drop(&mut self) {
        // Locks of this process alone end with the actor. Holds of guards that were dropped last are still there.
        let held = self.holds.len();
        if self.stopped
            || self.is_alone()
            || (held == 0 && self.releases.is_empty() && self.backend.is_idle())
        {
            return;
        }
        tracing::warn!(
            held,
            "the runtime ended before locks were released: they stay held until their TTLs end; await \
             `Store::close` before the runtime ends"
        );
    }
}
