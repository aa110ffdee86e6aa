//! The actor of a store's own connection on which the server tells of locks that were released and leases
//! that were ended. It is opened when somebody waits for the first time, and subscribed to what is waited
//! for. It never fails: without it, waiters poll.

mod channels;
mod connection;
mod sender;
mod session;

use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};

use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible, PanicError};
use kameo::mailbox::{MailboxReceiver, Signal};
use redis::Msg;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::channels::Channels;
use self::connection::Connection;
use self::sender::NotificationSender;
use super::backoff::Backoff;
use super::connection_log::ConnectionLog;
use super::generation::Generation;
use super::layout::Layout;
use super::resolver::Resolver;
use crate::actor::{Alarm, Step, Turns, poll_turn};
use crate::config::RedisOptions;
use crate::request::{Notification, Subject, Subscription};

/// What the subscriber is started with.
#[derive(Debug)]
pub(super) struct SubscriberStart {
    pub(super) options: Box<RedisOptions>,
    pub(super) layout: Layout,
    pub(super) resolver: Resolver,
    pub(super) subscriptions: mpsc::UnboundedReceiver<Subscription>,
    /// Who is told of locks.
    pub(super) locks: mpsc::Sender<Notification>,
    /// Who is told of leases.
    pub(super) leases: mpsc::Sender<Notification>,
}

/// Owns the connection, alone.
pub(super) struct Subscriber {
    options: Arc<RedisOptions>,
    layout: Layout,
    subscriptions: mpsc::UnboundedReceiver<Subscription>,
    locks: NotificationSender,
    leases: NotificationSender,
    channels: Channels,
    connection: Connection,
    generation: Generation,
    resolver: Resolver,
    /// The generation of the connection that is open or being opened.
    born: u64,
    backoff: Backoff,
    log: ConnectionLog,
    /// It was told that the server does not let its user subscribe.
    warned: bool,
    alarm: Alarm,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("up", &matches!(self.connection, Connection::Up(_)))
            .finish_non_exhaustive()
    }
}

impl Actor for Subscriber {
    type Args = SubscriberStart;
    type Error = Infallible;

    async fn on_start(start: SubscriberStart, _: ActorRef<Self>) -> Result<Self, Infallible> {
        let now = Instant::now();
        Ok(Self {
            log: ConnectionLog::new("notifications", &start.options.target),
            options: Arc::new(*start.options),
            layout: start.layout,
            subscriptions: start.subscriptions,
            locks: NotificationSender::new(start.locks),
            leases: NotificationSender::new(start.leases),
            channels: Channels::default(),
            connection: Connection::Down { retry: now },
            born: start.resolver.generation().current(),
            generation: start.resolver.generation().clone(),
            resolver: start.resolver,
            backoff: Backoff::default(),
            warned: false,
            alarm: Alarm::new(),
        })
    }

    /// Watches what it is told to, until the mailbox has a signal, or nobody is there to tell it.
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
        tracing::error!(%panic, "the subscriber panicked: it goes on over a new connection");
        self.lose(&"the subscriber failed");
        Ok(ControlFlow::Continue(()))
    }
}

impl Turns for Subscriber {
    const TURN: usize = 256;

    fn step(&mut self, cx: &mut Context<'_>, _: usize) -> Step {
        match self.subscriptions.poll_recv(cx) {
            Poll::Ready(Some(subscription)) => {
                // Subscriptions come in numbers: one command serves them all.
                self.follow(subscription);
                return Step::Done(1);
            }
            Poll::Ready(None) => return Step::Ended,
            Poll::Pending => {}
        }
        let mut done = self.locks.poll(cx);
        done |= self.leases.poll(cx);
        done |= self.generation.poll_next(cx);
        done |= self.poll_connection(cx);
        Step::of(done)
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.next_due();
        due.is_some_and(|at| self.alarm.poll(at, Instant::now(), cx).is_ready())
    }
}

impl Subscriber {
    fn follow(&mut self, subscription: Subscription) {
        match subscription {
            Subscription::Begin(subject) => {
                if let Some(since) = self.channels.begin(&subject) {
                    self.subscribed(&subject, since);
                }
            }
            Subscription::End(subject) => self.channels.end(subject, Instant::now()),
        }
    }

    fn pass_on(&mut self, message: &Msg) {
        let token = std::str::from_utf8(message.get_payload_bytes())
            .ok()
            .and_then(|text| text.parse().ok());
        if let Some(subject) = self.layout.subject_of(message.get_channel_name()) {
            let key = subject.key().clone();
            self.sender(&subject).tell(Notification::Released { key, token });
        }
    }

    fn subscribed(&mut self, subject: &Subject, since: Instant) {
        let key = subject.key().clone();
        self.sender(subject).tell(Notification::Subscribed { key, since });
    }

    fn sender(&mut self, subject: &Subject) -> &mut NotificationSender {
        match subject {
            Subject::Lock(_) => &mut self.locks,
            Subject::Lease(_) => &mut self.leases,
        }
    }
}
