//! Whether a connection lives, and opening it anew.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::vitals::Verdict;
use super::{Link, State};
use crate::config::Target;
use crate::engines::redis::connect::connect;
use crate::engines::redis::connected::Connected;
use crate::engines::redis::connection_log::why;
use crate::engines::redis::fault;
use crate::engines::redis::job::{Busy, Job};
use crate::engines::redis::process::Process;
use crate::engines::redis::reply;
use crate::error::{Cause, Error};

/// Bytes flow on a connection if there was a sign of life as short a time ago.
const FLOWING: Duration = Duration::from_millis(200);

impl Link {
    pub(super) fn poll_state(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.generation.is_cut(self.born) {
            self.cut_off(now);
            return true;
        }
        let rests = self.rests && self.is_idle();
        let is_redirected = self.is_redirected();
        match &mut self.state {
            State::Down { .. } if rests => {
                // What is known grows old while nobody tries.
                self.outage = None;
                false
            }
            State::Down { until } if *until <= now => {
                self.born = self.generation.current();
                self.state = State::Connecting(Box::pin(connect(
                    self.options.clone(),
                    self.bounds,
                    self.layout.clone(),
                    self.tracker.clone(),
                    self.resolver.clone(),
                )));
                true
            }
            State::Down { .. } => false,
            State::Connecting(attempt) => match attempt.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(Ok(connected)) => {
                    self.opened(connected, now);
                    true
                }
                Poll::Ready(Err(error)) => {
                    self.not_opened(error, now);
                    true
                }
            },
            State::Up(connected) => {
                connected.drive(cx);
                // What is under way learns of its end by itself, and may have been answered before.
                if !self.flights.is_empty() {
                    return false;
                }
                if connected.has_ended() {
                    self.lose(
                        Cause::new(fault::Lost("the connection was closed".to_owned())),
                        now,
                    );
                    return true;
                }
                // The next reply would not be the one to the next command.
                if connected.replies() > self.replied {
                    self.lose(Cause::new(fault::Refusal::Unasked), now);
                    return true;
                }
                if self.rests && !self.lingers && self.waiting.is_empty() && !is_redirected {
                    tracing::debug!("a connection to Redis beside another is not needed any more");
                    self.state = State::Down { until: now };
                    return true;
                }
                if self.retiring {
                    tracing::debug!(age = ?connected.since.elapsed(), "a connection to Redis is replaced");
                    self.state = State::Down { until: now };
                    self.retiring = false;
                    return true;
                }
                false
            }
        }
    }

    /// Another server is the primary now: this connection is closed, and one to that server is opened at once.
    fn cut_off(&mut self, now: Instant) {
        if self.is_up() {
            let moved = "another server is the primary now".to_owned();
            self.lose(Cause::new(fault::Lost(moved)), now);
        }
        self.born = self.generation.current();
        if let State::Down { until } = &mut self.state {
            *until = now;
        }
    }

    fn opened(&mut self, mut connected: Connected, now: Instant) {
        // What another node was asked meanwhile goes back to the engine in its time.
        if !self.hands_over {
            self.unpark();
        }
        if let Some(route) = &connected.route {
            self.born = route.generation;
            self.log.leads_to(&route.address.place);
            if route.ends_leases {
                // The server takes no writes now, and is asked again over another connection.
                self.demoted();
            }
        }
        let first = self.generation.first_uncut();
        // Otherwise the connection is cut already, and nothing is sent over it.
        if self.born >= first {
            self.epoch = connected.run.unwrap_or(first);
        }
        let again = self.log.opened(now);
        connected.open = self.meters.connected(self.log.server(), again);
        self.busy = Busy::new(connected.scripts_loaded);
        self.replied = connected.replies();
        self.received = connected.received();
        self.process = Process::of_new_connection(connected.run);
        self.state = State::Up(connected);
        self.proven = true;
        if self.is_held && self.outage.is_some() {
            let first = "invalidations that were queued are replayed first".to_owned();
            self.trouble = Some(Error::Unavailable(Cause::new(fault::Lost(first))));
        } else {
            self.trouble = None;
            self.outage = None;
        }
        self.heard(now);
        self.retiring = false;
        self.replace_at = None;
    }

    fn not_opened(&mut self, error: Error, now: Instant) {
        self.log.not_opened(why(&error), now);
        let hopeless = matches!(error, Error::Unauthorized | Error::InvalidConfig { .. })
            || matches!(self.options.target, Target::Connection(_));
        if !self.proven || hopeless {
            // The server has not refused a step of a replay itself. So the step is kept for the next attempt.
            let kept = Error::Unavailable(Cause::new(error.clone()));
            for job in std::mem::take(&mut self.waiting) {
                let error = if job.is_replay { &kept } else { &error };
                self.give_up(job, error);
            }
        }
        self.trouble = Some(error);
        self.state = State::Down {
            until: now + self.backoff.after_failure(&self.options),
        };
        if self.proven {
            self.begin_outage(now);
        }
    }

    /// The connection is gone: questions are asked again, changes have an unknown outcome.
    pub(super) fn lose(&mut self, mut cause: Cause, now: Instant) {
        let mut again = Vec::new();
        if let State::Up(connected) = &self.state
            && let Some(refusal) = connected.refusal()
        {
            cause = Cause::new(refusal);
            if let Some(flight) = self.flights.first_mut() {
                let reply = connected.replies().saturating_sub(self.replied);
                reply::refuse(&mut flight.parts, reply, refusal, &mut again);
            }
        }
        self.log.lost(&cause, now);
        self.window.cut(self.flights.values(), now);
        self.generation.end(self.born);
        self.close(&cause, again, now);
        if self.proven {
            self.begin_outage(now);
        }
    }

    /// Closes the connection, and has another opened. What is under way is asked `again` where that is safe. The server
    /// is not known to be down.
    fn close(&mut self, cause: &Cause, mut again: Vec<Job>, now: Instant) {
        for flight in self.flights.take() {
            flight.parts.iter().for_each(|part| self.parking.executed(part));
            self.parking.executed_for_nobody(&flight.left);
            reply::lose(flight.parts, cause, &mut again, &mut self.unsent);
        }
        self.busy = Busy::default();
        for job in again.into_iter().rev() {
            self.waiting.push_front(job);
        }
        self.unpark();
        self.trouble = Some(Error::Unavailable(cause.clone()));
        self.state = State::Down {
            until: now + self.pause(now),
        };
    }

    /// The server of this connection takes no writes: it is a replica now, and another server may take them.
    /// The connection goes on with reads until it is replaced, which happens as often as after a failure.
    pub(super) fn demoted(&mut self) {
        self.generation.end(self.born);
    }

    /// How long to wait before this connection is replaced: not at all, unless it was opened just now.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let since = match &self.state {
            State::Up(connected) => connected.since,
            State::Down { .. } | State::Connecting(_) => now,
        };
        self.backoff.after(since, now, &self.options)
    }

    /// Looks after the connection's health, and after what waits to be sent again. When to look again.
    pub(in crate::engines::redis) fn look(&mut self, now: Instant) -> Option<Instant> {
        let redirected = self.look_after_redirects(now);
        self.look_after_connection(now)
            .into_iter()
            .chain(redirected)
            .min()
    }

    fn look_after_connection(&mut self, now: Instant) -> Option<Instant> {
        let (since, pulse, incoming) = match &self.state {
            State::Down { .. } if self.rests && self.is_idle() => return None,
            State::Down { until } => {
                let until = *until;
                return self.end_waits(now).into_iter().chain([until]).min();
            }
            State::Connecting(_) => return self.end_waits(now),
            State::Up(connected) => (connected.since, connected.pulse(), connected.incoming()),
        };
        let waits = self.end_waits(now);
        let mut next = self.ping_at(now).into_iter().chain(waits).min();
        if let Some(age) = self.options.max_connection_age {
            let end = since + age;
            if end <= now {
                self.generation.end(self.born);
            } else {
                next = Some(next.map_or(end, |next| next.min(end)));
            }
        }
        if self.is_outdated() && self.replace_at.is_none() && !self.retiring {
            self.replace_at = Some(now + self.pause(now));
        }
        if let Some(at) = self.replace_at {
            if at <= now {
                self.replace_at = None;
                self.retiring = true;
                return Some(now);
            }
            next = Some(next.map_or(at, |next: Instant| next.min(at)));
        }
        let Some(owed) = self.flights.first() else {
            return next;
        };
        let patience = self.options.response_timeout;
        // A side link carries slow requests only. Closing it early does no harm: it is opened again when it is needed.
        let unwanted_after = if self.rests { FLOWING } else { patience };
        let (overdue, bytes) = (owed.sent + unwanted_after, owed.bytes);
        match self.vitals.look(now, patience, bytes, pulse) {
            Verdict::Silent => {
                let silent = "the server was silent three times in a row".to_owned();
                self.lose(Cause::new(fault::Lost(silent)), now);
                Some(now)
            }
            Verdict::AliveUntil(_) if overdue <= now && self.is_unwanted(now) => {
                let server = &self.options.target;
                tracing::debug!(%server, incoming, "a connection to Redis is replaced: nobody waits for what it brings");
                let unwanted = "nobody waited for its answers any more".to_owned();
                self.close(&Cause::new(fault::Lost(unwanted)), Vec::new(), now);
                Some(now)
            }
            Verdict::AliveUntil(due) => {
                let due = if overdue > now { due.min(overdue) } else { due };
                Some(next.map_or(due, |next: Instant| next.min(due)))
            }
        }
    }

    /// Whether a connection of the library's own has given a sign of life just now.
    pub(in crate::engines::redis) fn is_receiving(&mut self, now: Instant) -> bool {
        let (State::Up(connected), false) =
            (&self.state, matches!(self.options.target, Target::Connection(_)))
        else {
            return false;
        };
        let pulse = connected.pulse();
        self.vitals.is_flowing(now, FLOWING, pulse)
    }

    /// Whether the server is busy sending what nobody waits for. It would hold up what is asked next, and a caller
    /// who asks again and again would have it sent again and again.
    fn is_unwanted(&self, now: Instant) -> bool {
        self.vitals.heard_within(self.options.response_timeout, now) && !self.owes_an_answer(now)
    }

    /// Whether it has nothing to do, and a connection that is not to be replaced.
    pub(in crate::engines::redis) fn is_spare(&self) -> bool {
        self.is_idle() && self.is_up() && !self.retiring && !self.is_outdated()
    }

    /// Whether a new generation has begun since the connection was opened. One that was handed in is all there is.
    fn is_outdated(&self) -> bool {
        self.born != self.generation.current() && !matches!(self.options.target, Target::Connection(_))
    }

    /// The server has answered, or owes nothing.
    pub(super) fn heard(&mut self, now: Instant) {
        let pulse = match &self.state {
            State::Up(connected) => connected.pulse(),
            State::Down { .. } | State::Connecting(_) => 0,
        };
        self.vitals.heard(now, pulse);
    }

    /// Starts again over a new connection: what is under way may be torn.
    pub(in crate::engines::redis) fn reset(&mut self, now: Instant) {
        let cause = Cause::new(fault::Lost("the engine failed".to_owned()));
        self.stop_asking(&cause, now);
        self.lose(cause, now);
    }
}

#[cfg(test)]
mod tests;
