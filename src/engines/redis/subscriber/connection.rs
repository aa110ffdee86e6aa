//! The connection of the subscriber: how it is opened, kept alive, replaced and given up.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream as _;
use tokio::time::Instant;

use super::Subscriber;
use super::session::{Opened, Opening, Session, carry_out, open_connection, ping};
use crate::engines::redis::connection_log::why;
use crate::request::Notification;

/// How often the connection is asked for a sign of life at most and at least, while somebody waits. Between
/// these it is as often as a server may be silent that owes an answer.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long to wait before a server is asked again that does not let its user subscribe: rights may be given later.
const FORBIDDEN: Duration = Duration::from_secs(30);

/// How far the connection is.
pub(super) enum Connection {
    /// Not to be opened before this.
    Down {
        retry: Instant,
    },
    Opening(Opening),
    Up(Session),
}

impl Subscriber {
    /// Goes on with the connection. Returns `true` if anything has happened.
    pub(super) fn poll_connection(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        // Read first: a cut that comes later is then noticed in the next turn.
        let current = self.generation.current();
        if self.generation.is_cut(self.born) {
            self.cut_off(now);
            return true;
        }
        match &mut self.connection {
            Connection::Down { retry } => {
                let open = *retry <= now && self.channels.are_wanted();
                if open {
                    self.born = current;
                    self.connection = Connection::Opening(Box::pin(open_connection(
                        self.options.clone(),
                        self.resolver.clone(),
                    )));
                }
                open
            }
            Connection::Opening(opening) => {
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
                        self.connection = Connection::Up(Session {
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
            Connection::Up(session) => {
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
        let Connection::Up(session) = &mut self.connection else {
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
    pub(super) fn lose(&mut self, cause: &dyn fmt::Display) {
        let now = Instant::now();
        let (proven, since) = match &self.connection {
            Connection::Up(session) => (session.proven, session.since),
            Connection::Down { .. } | Connection::Opening(_) => (None, now),
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
        if !matches!(self.connection, Connection::Opening(_)) {
            self.close(now);
        }
        self.locks.tell(Notification::Switched);
    }

    /// Closes the connection. It is opened again at `retry`, if somebody waits then.
    fn close(&mut self, retry: Instant) {
        self.channels.lost();
        self.locks.tell(Notification::Lost);
        self.connection = Connection::Down { retry };
    }

    /// When there is something to do for the connection.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let wanted = self.channels.are_wanted();
        match &self.connection {
            Connection::Down { retry } => wanted.then_some(*retry),
            Connection::Opening(_) => None,
            Connection::Up(session) => {
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
}
