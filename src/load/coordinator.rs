//! The actor between those who want a value and the engine: it owns the loaders that run.

mod effects;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible, PanicError};
use kameo::mailbox::{MailboxReceiver, Signal};
use tokio::sync::oneshot;
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::Id;

use super::flight::{self, CallerId, Effect, Fate, Flights, Given, LoadId, Marks, Product, Terms, Told};
use super::policy::calls_for_load;
use super::work::{Answer, AnyLoader, Failure, Form, HeldLeases, Made, ToLoad, UnknownValues, Work};
use super::{Command, Ends, Landed, Notice, count};
use crate::actor::inbox::Received;
use crate::actor::pending::PendingRequests;
use crate::actor::queue::QueueSender;
use crate::actor::{Alarm, Step, Turns, contained, poll_turn};
use crate::error::{Cause, Error, Result};
use crate::key::Key;
use crate::prehashed::Map;
use crate::request::{
    Aged, Lease, LeaseAction, LeaseAnswer, LeaseTerms, Names, Notification, Notifications, Subject,
    Subscription, Write,
};
use crate::spans::{LoadLink, MOST_LINKS, Tie};

/// The most keys that are remembered because of a lease of a load that has ended.
const STRAYS: usize = 1024;

/// The most loads, and the most who wait for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) loads: usize,
    pub(crate) callers: usize,
}

/// What the coordinator is started with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) ends: Ends,
    pub(crate) engine: QueueSender,
    /// How it learns of other processes. Without one there are none.
    pub(crate) notifications: Option<Notifications>,
    pub(crate) bounds: Bounds,
}

/// Owns the flights and the loaders, alone.
pub(crate) struct Coordinator {
    ends: Ends,
    notifications: Option<Notifications>,
    bounds: Bounds,
    flights: Flights,
    loads: Map<LoadId, Load>,
    callers: Map<CallerId, Caller>,
    /// Keys whose leases the engine named although their loads have ended.
    strays: Map<Key, LoadId>,
    engine: QueueSender,
    pending: PendingRequests<Asked, LeaseAnswer>,
    unknown: UnknownValues,
    tasks: JoinSet<std::result::Result<Vec<(Key, Made)>, Failure>>,
    running: Map<task::Id, LoadId>,
    /// Keys whose leases are subscribed to, by their names.
    subscribed: HashMap<Arc<str>, Key>,
    origin: Instant,
    alarm: Alarm,
}

/// Who waits for a load.
struct Caller {
    answer: oneshot::Sender<Answer>,
    /// The id of the span of the call.
    span: Option<Id>,
}

/// A load and what it has made so far.
struct Load {
    names: Names,
    timeout: Duration,
    /// Whether the loader is given contexts.
    has_contexts: bool,
    /// What its keys held when their leases were taken, if it is.
    held: Map<Key, Aged>,
    /// Until it is called, or goes back to its caller.
    loader: Option<AnyLoader>,
    /// Where it goes back. A direct load has none.
    unused: Option<oneshot::Sender<AnyLoader>>,
    tie: Tie,
    /// Links the span of the load to those who join it, once it runs.
    link: LoadLink,
    /// The spans of those who join it before.
    joined: Vec<Id>,
    made: Map<Key, Made>,
    failure: Option<Failure>,
}

/// What an answer is to.
enum Asked {
    Take(LoadId, Key),
    Store(LoadId, Key),
    End(Given, Key),
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("loads", &self.loads.len())
            .field("callers", &self.callers.len())
            .finish_non_exhaustive()
    }
}

impl Actor for Coordinator {
    type Args = Start;
    type Error = Infallible;

    async fn on_start(start: Start, _: ActorRef<Self>) -> std::result::Result<Self, Infallible> {
        let origin = Instant::now();
        Ok(Self {
            ends: start.ends,
            notifications: start.notifications,
            bounds: start.bounds,
            flights: Flights::default(),
            loads: Map::default(),
            callers: Map::default(),
            strays: Map::default(),
            engine: start.engine.clone(),
            pending: PendingRequests::new(start.engine),
            unknown: UnknownValues::default(),
            tasks: JoinSet::new(),
            running: Map::default(),
            subscribed: HashMap::new(),
            origin,
            alarm: Alarm::new(),
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
        tracing::error!(%panic, "the load coordinator panicked: it goes on with what comes next");
        Ok(ControlFlow::Continue(()))
    }

    /// Stops the loaders, and gives up their leases: other processes need not wait for them.
    async fn on_stop(
        &mut self,
        _: WeakActorRef<Self>,
        reason: ActorStopReason,
    ) -> std::result::Result<(), Infallible> {
        self.tasks.abort_all();
        for direct in self.ends.direct.close() {
            self.end_lease(direct.load, direct.key, direct.names, Given::No);
        }
        let mut left = Vec::new();
        for received in self.ends.inbox.close() {
            match received {
                Received::Notice(Notice::Abandoned { load, key, names }) => {
                    self.end_lease(load, key, names, Given::No);
                }
                received => left.push(received),
            }
        }
        for (load, key) in self.flights.leases() {
            self.end(load, key, Given::No);
        }
        // Who waits is told by the end of the channel.
        drop_each(left);
        drop_each(std::mem::take(&mut self.callers));
        drop_each(std::mem::take(&mut self.loads));
        // The engine serves what is in its queue before it stops.
        let sent = poll_fn(|cx| {
            while self.pending.poll_answer(cx).is_ready() {}
            if self.pending.is_held_up() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        let in_time = timeout(self.ends.patience, sent).await.is_ok();
        tracing::debug!(?reason, in_time, "the load coordinator has stopped");
        Ok(())
    }
}

impl Turns for Coordinator {
    const TURN: usize = 256;

    fn step(&mut self, cx: &mut Context<'_>, _: usize) -> Step {
        let mut done = self.poll_engine(cx);
        done |= self.poll_tasks(cx);
        done |= self.poll_notifications(cx);
        done |= self.poll_inbox(cx);
        Step::of(done)
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.flights.next_due() else {
            return false;
        };
        if self
            .alarm
            .poll(self.origin + due, Instant::now(), cx)
            .is_pending()
        {
            return false;
        }
        self.change(|flights, now, effects| flights.tick(now, effects));
        true
    }
}

impl Coordinator {
    fn poll_engine(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready((asked, answer)) = self.pending.poll_answer(cx) else {
            return false;
        };
        match asked {
            Asked::Take(load, key) => self.lease_answered(load, &key, answer),
            Asked::Store(load, key) => self.store_answered(load, &key, answer),
            // A lease that could not be ended ends by itself. The engine then forgets what a value depends on that was given
            // out under it.
            Asked::End(Given::Yes, key) if answer.is_err() => {
                self.change(|flights, _, effects| flights.given_out(&key, effects));
            }
            Asked::End(..) => {}
        }
        true
    }

    fn poll_tasks(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(Some(ended)) = self.tasks.poll_join_next_with_id(cx) else {
            return false;
        };
        let (id, made) = match ended {
            Ok((id, made)) => (id, made),
            Err(error) => {
                let id = error.id();
                contained(|| drop(error));
                (id, Err(Failure::Panicked))
            }
        };
        if let Some(load) = self.running.remove(&id) {
            self.loaded(load, made);
        }
        true
    }

    fn poll_notifications(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(notifications) = &mut self.notifications else {
            return false;
        };
        let Poll::Ready(Some(notification)) = notifications.received.poll_recv(cx) else {
            return false;
        };
        match notification {
            Notification::Subscribed { key: name, .. } | Notification::Released { key: name, .. } => {
                if let Some(key) = self.subscribed.get(&name).cloned() {
                    self.change(|flights, _, effects| flights.hear(Some(&key), effects));
                }
            }
            // It asks again by itself.
            // The leases of running loads were ended at the new primary, and their ends are told there.
            Notification::Lost | Notification::Switched => {}
            Notification::Missed { .. } => self.change(|flights, _, effects| flights.hear(None, effects)),
        }
        true
    }

    fn poll_inbox(&mut self, cx: &mut Context<'_>) -> bool {
        // While the engine's queue has no room, calls and notices wait in ours, in their order.
        if self.pending.is_held_up() {
            return false;
        }
        match self.ends.inbox.poll(cx) {
            Poll::Ready(Some(Received::Call(command))) => self.begin(command),
            Poll::Ready(Some(Received::Notice(notice))) => self.hear(notice),
            Poll::Ready(None) | Poll::Pending => return false,
        }
        true
    }
}

/// Drops them one by one. The waker of a caller who waits for one may panic, which ends here.
fn drop_each<T>(all: impl IntoIterator<Item = T>) {
    for one in all {
        contained(|| drop(one));
    }
}
