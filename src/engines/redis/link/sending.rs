//! Pipelines: what waits for a connection is put into them, as far as there is room, and sent.

use std::task::{Context, Poll};
use std::time::Duration;

use redis::{RedisResult, Value as Wire};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::flights::Flight;
use super::{Boxed, Link, State, order};
use crate::engines::redis::abilities::Abilities;
use crate::engines::redis::batch::Batch;
use crate::engines::redis::connected::Connected;
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::tracker::TrackedConnection;
use crate::engines::redis::transaction::{self, Refused};

/// A burst of at most this many requests is not worth a second pipeline.
const SMALL: usize = 32;
/// For how long changes travel by scripts after the server has refused a transaction: its memory is full, for example.
pub(super) const APART: Duration = Duration::from_secs(1);

impl Link {
    /// Whether there is more room than before for what waits. `tells` says that somebody listens to what changes.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        tells: bool,
        beside: Option<&Link>,
    ) -> bool {
        let waiting = self.waiting.len();
        while self.may_send() {
            let before = self.waiting.len();
            let batch = self.batch(now, tells, beside);
            if batch.parts.is_empty() {
                if self.waiting.len() == before {
                    // The first of them waits for what is under way.
                    break;
                }
                continue;
            }
            self.launch(batch, cx, now);
            if let State::Up(connected) = &mut self.state {
                connected.drive(cx);
            }
        }
        self.waiting.len() < waiting
    }

    /// Whether leases of another primary may be left, because the server took no writes when the connection was opened.
    /// It may take them at any time, before the connection is replaced.
    fn owes_leases(&self) -> bool {
        match &self.state {
            State::Up(connected) => connected.route.as_ref().is_some_and(|route| route.ends_leases),
            State::Down { .. } | State::Connecting(_) => false,
        }
    }

    /// What the server lets its user do now.
    fn abilities(&self, now: Instant) -> Abilities {
        let State::Up(Connected { abilities, .. }) = self.state else {
            return Abilities::default();
        };
        Abilities {
            transacts: abilities.transacts && self.apart_until.is_none_or(|until| until <= now),
            ..abilities
        }
    }

    /// The server has refused a transaction: changes are sent as scripts for a while, or for as long as the connection is open
    /// if the user has lost the right.
    pub(super) fn keep_apart(&mut self, refused: &Refused, now: Instant) {
        self.apart_until = Some(now + APART);
        if let Refused::ForGood(error) = refused
            && let State::Up(connected) = &mut self.state
        {
            connected.abilities.transacts = false;
            tracing::warn!(%error, "Redis refuses MULTI or EXEC: changes in a slot are sent as scripts, which cost the server more");
        }
    }

    pub(super) fn may_send(&self) -> bool {
        !self.waiting.is_empty()
            && !self.retiring
            && !self.generation.is_cut(self.born)
            && matches!(&self.state, State::Up(connected) if !connected.has_ended())
            && self.flights.len() < self.pipelines()
            && (self.flights.is_empty()
                || (self.flights.bytes() < self.options.max_in_flight_bytes
                    && self.window.room(self.flights.values()) > 0))
    }

    /// How many pipelines may be under way. On the link beside another the first one is slow: what would be sent behind
    /// it would be answered after it, and would have an unknown outcome if nobody waits for the first one any more.
    pub(super) fn pipelines(&self) -> usize {
        if self.rests { 1 } else { self.options.pipelines() }
    }

    /// The next pipeline: what waits, without those whose time is over or whose caller has gone.
    pub(super) fn batch(&mut self, now: Instant, tells: bool, beside: Option<&Link>) -> Batch {
        let mut batch = Batch::new(self.layout.clone())
            .telling(tells)
            .in_epoch(self.epoch)
            .for_process(self.process)
            .ending_leases(self.owes_leases())
            .to(self.abilities(now));
        let mut commands = self.options.batch_commands;
        if self.flights.is_empty() && self.pipelines() > 1 {
            // The server works on the first half while the second is made.
            commands = commands.min(self.waiting.len().div_ceil(2).max(SMALL));
        }
        let mut room = self.window.room(self.flights.values());
        while batch.length() < commands && batch.bytes() < self.options.batch_bytes {
            let Some(mut job) = self.next_job(beside) else {
                break;
            };
            if let Task::Own(own) = &mut job.task
                && !own.send_over(self.process)
            {
                job.void();
                continue;
            }
            if self.parking.holds(&job) {
                self.parking.follow(job, now);
                continue;
            }
            let way = batch.way(&job);
            match &job.task {
                Task::Request(request) if request.is_pointless() => {}
                Task::Doubt(doubt) if doubt.is_pointless() => {}
                Task::Request(_) | Task::Doubt(_) if job.deadline <= now => {
                    let error = job.refused.clone().unwrap_or_else(|| self.why_late(true));
                    self.give_up(job, &error);
                }
                _ if self.busy.holds(&job, way) || order::must_wait(&job, beside) => {
                    self.waiting.push_front(job);
                    break;
                }
                // One of more than there is room for goes alone.
                task if task.values() > room && (batch.values() > 0 || !self.flights.is_empty()) => {
                    self.waiting.push_front(job);
                    break;
                }
                task => {
                    room = room.saturating_sub(task.values());
                    self.busy.begin(&job, way, &mut batch.busy);
                    batch.push(job, self.state.tracked(), now);
                }
            }
        }
        batch.finish(self.flights.bytes());
        batch
    }

    /// The next one of those who wait that may be sent.
    fn next_job(&mut self, beside: Option<&Link>) -> Option<Job> {
        // Removals that have just failed are replayed first. The engine does not hold the links for them yet.
        let has_failed = |link: &Link| !link.unsent.is_empty();
        if !self.is_held && !has_failed(self) && !beside.is_some_and(has_failed) {
            return self.waiting.pop_front();
        }
        let place = self.waiting.iter().position(|job| !job.waits_for_replay())?;
        self.waiting.remove(place)
    }

    /// Takes in that a pipeline of so many values was answered.
    pub(super) fn widen(&mut self, values: usize, now: Instant) {
        let State::Up(connected) = &self.state else { return };
        let received = connected.received();
        self.window.answered(values, received - self.received, now);
        connected.report();
        self.received = received;
    }

    pub(super) fn launch(&mut self, batch: Batch, cx: &mut Context<'_>, now: Instant) {
        let State::Up(connected) = &self.state else { return };
        let (bytes, values, is_proof) = (batch.bytes(), batch.values(), batch.is_proof());
        connected.open.launched();
        let before = self.replied + self.flights.replies();
        for queued in transaction::places(&batch.parts) {
            connected.announce(before + queued.start as u64..before + queued.end as u64);
        }
        let Batch {
            pipeline,
            parts,
            busy,
            ..
        } = batch;
        let tracked = connected.tracked.as_ref();
        let launch = tracked.map(|tracked| tracked.launched(now, is_proof));
        let mut connection = connected.connection.clone();
        let count = pipeline.len() as u64;
        // Unconstrained: at the end of its budget it would not be sent, and a later one would be before it.
        let mut replies: Boxed<RedisResult<Vec<Wire>>> = Box::pin(unconstrained(async move {
            let commands = pipeline.len();
            connection.send_packed_commands(&pipeline, 0, commands).await
        }));
        if self.flights.is_empty() {
            self.heard(now);
        }
        // The first poll sends. There can be no answer yet, and a failure is seen when its turn comes.
        let early = replies.as_mut().poll(cx);
        if let Poll::Ready(early) = early {
            replies = Box::pin(std::future::ready(early));
        }
        self.flights.push(Flight {
            replies,
            parts,
            busy,
            bytes,
            values,
            count,
            sent: now,
            launch,
            left: Vec::new(),
        });
    }

    /// Sends a `PING` if the near cache needs a sign of life from the server. Readers find nothing near once the server has
    /// been silent for too long.
    pub(super) fn keep_near(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.ping_at(now).is_some_and(|at| at <= now) {
            let owned = self.state.tracked().and_then(TrackedConnection::key);
            self.launch(Batch::ping(self.layout.clone(), owned.as_deref()), cx, now);
            if let State::Up(connected) = &mut self.state {
                connected.drive(cx);
            }
        }
    }

    /// When the near cache needs a sign of life from the server.
    pub(super) fn ping_at(&self, now: Instant) -> Option<Instant> {
        if self.retiring || self.flights.len() > self.options.pipelines() {
            return None;
        }
        self.state.tracked()?.ping_at(now)
    }
}

#[cfg(test)]
mod tests;
