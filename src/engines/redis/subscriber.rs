//! The actor of a store's own connection on which the server tells of locks that were released and leases
//! that were ended. It is opened when somebody waits for the first time, and subscribed to what is waited
//! for. It never fails: without it, waiters poll.

mod channels;
mod sender;
mod session;

use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream as _;
use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible, PanicError};
use kameo::mailbox::{MailboxReceiver, Signal};
use redis::Msg;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::channels::Channels;
use self::sender::NotificationSender;
use self::session::{Opened, Opening, Session, carry_out, open_line, ping};
use super::backoff::Backoff;
use super::connection_log::{ConnectionLog, why};
use super::generation::Generation;
use super::layout::Layout;
use super::resolver::Resolver;
use crate::actor::{Alarm, Step, Turns, poll_turn};
use crate::config::RedisOptions;
use crate::request::{Notification, Subject, Subscription};

/// How often the connection is asked for a sign of life at most and at least, while somebody waits. Between
/// these it is as often as a server may be silent that owes an answer.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long to wait before a server is asked again that does not let its user subscribe: rights may be given later.
const FORBIDDEN: Duration = Duration::from_secs(30);

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
    line: Line,
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

enum Line {
    /// Not to be opened before this.
    Down {
        retry: Instant,
    },
    Opening(Opening),
    Up(Session),
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("up", &matches!(self.line, Line::Up(_)))
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
            line: Line::Down { retry: now },
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
        done |= self.poll_line(cx);
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

    /// Goes on with the connection. Returns `true` if anything has happened.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        // Read first: a cut that comes later is then noticed in the next turn.
        let current = self.generation.current();
        if self.generation.is_cut(self.born) {
            self.cut_off(now);
            return true;
        }
        match &mut self.line {
            Line::Down { retry } => {
                let open = *retry <= now && self.channels.are_wanted();
                if open {
                    self.born = current;
                    self.line =
                        Line::Opening(Box::pin(open_line(self.options.clone(), self.resolver.clone())));
                }
                open
            }
            Line::Opening(opening) => {
                let Poll::Ready(opened) = opening.as_mut().poll(cx) else {
                    return false;
                };
                match opened {
                    Ok(Opened {
                        sink,
                        stream,
                        pulse,
                        generation,
                    }) => {
                        self.born = generation.unwrap_or(self.born);
                        self.line = Line::Up(Session {
                            sink,
                            stream,
                            pulse,
                            command: None,
                            since: now,
                            replace_at: None,
                            proven: None,
                            heard: now,
                        });
                    }
                    Err(error) => self.lose(why(&error)),
                }
                true
            }
            Line::Up(session) => {
                if self.born != self.generation.current() && session.replace_at.is_none() {
                    let pause = self.backoff.after(session.since, now, &self.options);
                    session.replace_at = Some(now + pause);
                }
                if session.replace_at.is_some_and(|at| at <= now) {
                    tracing::debug!(age = ?(now - session.since), "the connection for notifications is replaced");
                    self.close(now);
                    return true;
                }
                self.poll_session(cx, now)
            }
        }
    }

    fn poll_session(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let (until, heartbeat) = (now + self.patience(), self.heartbeat());
        let Line::Up(session) = &mut self.line else {
            return false;
        };
        match Pin::new(&mut session.stream).poll_next(cx) {
            Poll::Ready(Some(message)) => {
                session.heard = now;
                self.pass_on(&message);
                return true;
            }
            Poll::Ready(None) => {
                match session.pulse.refusal() {
                    Some(refusal) => self.lose(&refusal),
                    None => self.lose(&"the connection was closed"),
                }
                return true;
            }
            Poll::Pending => {}
        }
        if let Some(command) = &mut session.command {
            let confirmed = match command.answer.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) if error.code() == Some("NOPERM") => {
                    self.forbidden(now);
                    return true;
                }
                Poll::Ready(Err(_)) => false,
                Poll::Pending if command.until <= now => false,
                Poll::Pending => return false,
            };
            if !confirmed {
                self.lose(&"the server did not confirm a subscription or a sign of life");
                return true;
            }
            let subjects = std::mem::take(&mut command.subjects);
            session.command = None;
            session.heard = now;
            if session.proven.is_none() {
                session.proven = Some(now);
                self.log.opened(now);
            }
            for subject in self.channels.confirmed(subjects, now) {
                self.subscribed(&subject, now);
            }
            return true;
        }
        let (sink, heard) = (&session.sink, session.heard);
        let command = match self.channels.next_change(now) {
            Some(change) => Some(carry_out(sink.clone(), change, &self.layout, until)),
            None if heard + heartbeat <= now && self.channels.are_wanted() => Some(ping(sink.clone(), until)),
            None => None,
        };
        let begun = command.is_some();
        session.command = command;
        begun
    }

    /// How long the server may owe an answer: as long as on the connections for requests.
    fn patience(&self) -> Duration {
        self.options.response_timeout * 2
    }

    fn heartbeat(&self) -> Duration {
        let (shortest, longest) = HEARTBEAT;
        self.options.response_timeout.clamp(shortest, longest)
    }

    /// The connection is lost, or could not be opened: it is opened anew after a while. Once it has been of use,
    /// the store's other connections are too.
    fn lose(&mut self, cause: &dyn fmt::Display) {
        let now = Instant::now();
        let (proven, since) = match &self.line {
            Line::Up(session) => (session.proven, session.since),
            Line::Down { .. } | Line::Opening(_) => (None, now),
        };
        match proven {
            Some(_) if self.channels.are_wanted() => self.log.lost(cause, now),
            Some(_) => tracing::debug!(%cause, "the connection for notifications ended while nobody waited"),
            None => self.log.not_opened(cause, now),
        }
        let wait = if proven.is_some() {
            self.generation.end(self.born);
            self.backoff.after(since, now, &self.options)
        } else {
            self.backoff.after_failure(&self.options)
        };
        self.close(now + wait);
    }

    /// The server does not let its user subscribe. That is told once.
    fn forbidden(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.warned, true) {
            let server = self.options.target.to_string();
            tracing::warn!(
                %server,
                "the server's user may not subscribe, so that waiters for locks poll: it needs `+subscribe`, \
                 `+unsubscribe` and `&cachestore:*`"
            );
        }
        self.close(now + FORBIDDEN);
    }

    /// Another server is the primary now: this connection is closed, and one to that server is opened at once. One that
    /// is being opened looks after that itself.
    fn cut_off(&mut self, now: Instant) {
        self.born = self.generation.current();
        if !matches!(self.line, Line::Opening(_)) {
            self.close(now);
        }
        self.locks.tell(Notification::Switched);
    }

    /// Closes the connection. It is opened again at `retry`, if somebody waits then.
    fn close(&mut self, retry: Instant) {
        self.channels.lost();
        self.locks.tell(Notification::Lost);
        self.line = Line::Down { retry };
    }

    /// When there is something to do for the connection.
    fn next_due(&self) -> Option<Instant> {
        let wanted = self.channels.are_wanted();
        match &self.line {
            Line::Down { retry } => wanted.then_some(*retry),
            Line::Opening(_) => None,
            Line::Up(session) => {
                let (answer, heartbeat, change) = match &session.command {
                    Some(command) => (Some(command.until), None, None),
                    None => {
                        let heartbeat = wanted.then(|| session.heard + self.heartbeat());
                        (None, heartbeat, self.channels.next_due())
                    }
                };
                let all = [session.replace_at, answer, heartbeat, change];
                all.into_iter().flatten().min()
            }
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
