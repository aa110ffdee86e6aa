//! One connection and what waits for it.

mod flights;
mod health;
mod order;
mod outage;
mod vitals;
mod window;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use redis::{RedisResult, Value as Wire};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use self::flights::{Flight, Flights};
use self::outage::Outage;
use self::vitals::Vitals;
use self::window::Window;
use super::backoff::Backoff;
use super::batch::Batch;
use super::connect::Connected;
use super::connection_log::ConnectionLog;
use super::fault;
use super::generation::Generation;
use super::job::{Busy, Job, Task};
use super::layout::Layout;
use super::reply::{self, Origin, Outcome};
use super::resolver::Resolver;
use super::scanner::Bounds;
use super::tally::Tally;
use super::tracker::{TrackedConnection, Tracker};
use crate::config::RedisOptions;
use crate::error::{Cause, Error, Phase, Result};
use crate::events::Listeners;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A burst of at most this many requests is not worth a second pipeline.
const SMALL: usize = 32;

/// A connection that is being opened, is open, or is to be opened again.
pub(super) struct Link {
    options: Arc<RedisOptions>,
    layout: Layout,
    bounds: Bounds,
    state: State,
    /// Not yet sent.
    waiting: VecDeque<Job>,
    /// Sent and not yet answered, in the order in which the server answers.
    flights: Flights,
    window: Window,
    /// The bytes of replies that have been handed out.
    received: u64,
    /// What later jobs must wait for.
    busy: Busy,
    /// Whether it opens a connection only when it has something to do.
    rests: bool,
    /// Whether it then keeps the connection.
    lingers: bool,
    /// Whether it has ever been open: until then a failure is told at once.
    proven: bool,
    backoff: Backoff,
    log: ConnectionLog,
    /// Why it is not open.
    trouble: Option<Error>,
    /// It was open, and is known to be down now.
    outage: Option<Outage>,
    vitals: Vitals,
    /// To be replaced once nothing is under way.
    retiring: bool,
    /// When it is to be replaced, because a new generation has begun.
    replace_at: Option<Instant>,
    generation: Generation,
    resolver: Resolver,
    /// Writes the near cache, if there is one.
    tracker: Option<Tracker>,
    /// The generation of the connection that is open or being opened.
    born: u64,
    /// Whether the log has told that leases cannot be invalidated. It tells so once.
    not_invalidated: bool,
    /// The replies that have been handed out, those to the greeting included.
    replied: u64,
}

enum State {
    Down { until: Instant },
    Connecting(Boxed<Result<Connected>>),
    Up(Connected),
}

impl State {
    /// The near cache's view of the open connection, if the server tracks what it reads.
    fn tracked(&self) -> Option<&TrackedConnection> {
        match self {
            State::Up(connected) => connected.tracked.as_ref(),
            State::Down { .. } | State::Connecting(_) => None,
        }
    }
}

impl Link {
    pub(super) fn new(
        options: Arc<RedisOptions>,
        layout: Layout,
        bounds: Bounds,
        resolver: Resolver,
        tracker: Option<Tracker>,
        now: Instant,
    ) -> Self {
        let log = ConnectionLog::new("requests", &options.target);
        Self {
            options,
            layout,
            bounds,
            state: State::Down { until: now },
            waiting: VecDeque::new(),
            flights: Flights::default(),
            window: Window::new(now),
            received: 0,
            busy: Busy::default(),
            rests: false,
            lingers: false,
            proven: false,
            backoff: Backoff::default(),
            log,
            trouble: None,
            outage: None,
            vitals: Vitals::new(now),
            retiring: false,
            replace_at: None,
            born: resolver.generation().current(),
            generation: resolver.generation().clone(),
            resolver,
            tracker,
            not_invalidated: false,
            replied: 0,
        }
    }

    /// Tells listeners when the connection is lost and when it is open again.
    pub(super) fn heard_by(mut self, listeners: Arc<Listeners>) -> Self {
        self.log.heard_by(listeners);
        self
    }

    pub(super) fn push(&mut self, mut job: Job, now: Instant) {
        if !self.is_worth_waiting(&mut job, now) {
            return reply::fail(job.task, &self.why_down());
        }
        self.waiting.push_back(job);
    }

    /// Jobs not yet sent.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether it has something to do that somebody waits for.
    pub(super) fn is_awaited(&self, now: Instant) -> bool {
        !self.waiting.is_empty() || self.owes_an_answer(now)
    }

    /// Whether somebody waits for what is under way. A walk goes on without its caller, if the server answers.
    fn owes_an_answer(&self, now: Instant) -> bool {
        let patience = self.options.response_timeout;
        self.flights.iter().any(|flight| {
            let is_late = flight.sent + patience <= now;
            reply::is_awaited(&flight.parts, !is_late)
        })
    }

    /// Whether it has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flights.is_empty()
    }

    /// When the pipeline was sent that is answered next, and since when it has been the next.
    pub(super) fn first(&self) -> Option<(Instant, Instant)> {
        let flight = self.flights.first()?;
        Some((flight.sent, self.vitals.owes_since()))
    }

    /// Whether it opens a connection only when it has something to do.
    pub(super) fn rest(&mut self, rests: bool) {
        self.rests = rests;
    }

    /// Bounds what it asks at once as another link to the same server does, unless it has a bound of its own.
    pub(super) fn learn_from(&mut self, other: &Link) {
        self.window.learn_from(&other.window);
    }

    /// Whether it keeps a connection that has nothing to do any more, if it [`rests`](Self::rest).
    pub(super) fn linger(&mut self, lingers: bool) {
        self.lingers = lingers;
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Takes in what has happened, and sends what can be sent. Returns `true` if anything was done. `beside` is the link
    /// whose jobs [`crossing`](Job::crossing) ones wait for.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        tally: &mut Tally,
        beside: Option<&Link>,
    ) -> bool {
        let mut progress = self.poll_state(cx, now);
        progress |= self.poll_flights(cx, now, tally);
        progress |= self.send(cx, now, tally.is_heard(), beside);
        self.keep_near(cx, now);
        progress
    }

    /// Replies come in the order of the flights: only the first is to be looked at.
    fn poll_flights(&mut self, cx: &mut Context<'_>, now: Instant, tally: &mut Tally) -> bool {
        let mut progress = false;
        while let Some(flight) = self.flights.first_mut() {
            let Poll::Ready(replies) = flight.replies.as_mut().poll(cx) else {
                break;
            };
            progress = true;
            match replies {
                Ok(replies) => {
                    let Some(flight) = self.flights.pop() else {
                        break;
                    };
                    self.replied += flight.count;
                    self.widen(flight.values, now);
                    self.busy.end(&flight.busy);
                    self.heard(now);
                    let mut outcome = Outcome::default();
                    let tracked = self.state.tracked();
                    if let (Some(tracked), Some(launch)) = (tracked, flight.launch) {
                        tracked.answered(launch, flight.sent);
                    }
                    let near = tracked.map(|connection| Origin {
                        connection,
                        sent: flight.sent,
                    });
                    reply::settle(flight.parts, replies, near, tally, &mut outcome);
                    for job in outcome.again.into_iter().rev() {
                        self.waiting.push_front(job);
                    }
                    self.waiting.extend(outcome.later);
                    if outcome.demoted {
                        self.demoted();
                    }
                    if outcome.forgotten {
                        self.busy.forgotten();
                    }
                    if let Some(error) = outcome.not_invalidated
                        && !std::mem::replace(&mut self.not_invalidated, true)
                    {
                        tracing::warn!(
                            %error,
                            "Redis refuses to end leases: a load may store what is older than a change"
                        );
                    }
                }
                Err(error) => {
                    self.lose(fault::lost(&error), now);
                    break;
                }
            }
        }
        progress
    }

    /// Whether there is more room than before for what waits. `tells` says that somebody listens to what changes.
    fn send(&mut self, cx: &mut Context<'_>, now: Instant, tells: bool, beside: Option<&Link>) -> bool {
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

    fn may_send(&self) -> bool {
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
    fn pipelines(&self) -> usize {
        if self.rests { 1 } else { self.options.pipelines() }
    }

    /// The next pipeline: what waits, without those whose time is over or whose caller has gone.
    fn batch(&mut self, now: Instant, tells: bool, beside: Option<&Link>) -> Batch {
        let mut batch = Batch::new(self.layout).telling(tells);
        let mut commands = self.options.batch_commands;
        if self.flights.is_empty() && self.pipelines() > 1 {
            // The server works on the first half while the second is made.
            commands = commands.min(self.waiting.len().div_ceil(2).max(SMALL));
        }
        let mut room = self.window.room(self.flights.values());
        while batch.length() < commands && batch.bytes() < self.options.batch_bytes {
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            match &job.task {
                Task::Request(request) if request.is_pointless() => {}
                Task::Doubt(doubt) if doubt.is_pointless() => {}
                Task::Request(_) | Task::Doubt(_) if job.deadline <= now => {
                    let error = self.why_late(true);
                    reply::fail(job.task, &error);
                }
                _ if self.busy.holds(&job) || order::must_wait(&job, beside) => {
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
                    self.busy.begin(&job, &mut batch.busy);
                    batch.push(job, self.state.tracked(), now);
                }
            }
        }
        batch.finish(self.flights.bytes());
        batch
    }

    /// Takes in that a pipeline of so many values was answered.
    fn widen(&mut self, values: usize, now: Instant) {
        let State::Up(connected) = &self.state else { return };
        let received = connected.received();
        self.window.answered(values, received - self.received, now);
        self.received = received;
    }

    fn launch(&mut self, batch: Batch, cx: &mut Context<'_>, now: Instant) {
        let State::Up(connected) = &self.state else { return };
        let (bytes, values) = (batch.bytes(), batch.values());
        let Batch {
            pipeline,
            parts,
            busy,
            ..
        } = batch;
        let launch = connected.tracked.as_ref().map(|tracked| tracked.launched(now));
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
    fn keep_near(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.ping_at(now).is_some_and(|at| at <= now) {
            self.launch(Batch::ping(self.layout), cx, now);
            if let State::Up(connected) = &mut self.state {
                connected.drive(cx);
            }
        }
    }

    /// When the near cache needs a sign of life from the server.
    fn ping_at(&self, now: Instant) -> Option<Instant> {
        if self.retiring || self.flights.len() > self.options.pipelines() {
            return None;
        }
        let tracked = self.state.tracked()?;
        tracked.ping_at(self.flights.is_empty(), now)
    }

    /// Answers those whose time is over. The earliest deadline among the others.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut keep = |deadline: Instant| next = Some(next.map_or(deadline, |next| next.min(deadline)));
        let late = |job: &Job| job.deadline <= now;
        if self.waiting.iter().any(late) {
            let error = self.why_late(self.is_up());
            let waiting = std::mem::take(&mut self.waiting);
            for mut job in waiting {
                match &mut job.task {
                    Task::Walk(walk) if job.deadline <= now => {
                        let begun = walk.begun;
                        let unknown = Error::OutcomeUnknown(reply::no_answer());
                        let next = walk.expire(now, if begun { &unknown } else { &error });
                        if begun || next.is_some() {
                            job.deadline = next.unwrap_or(job.deadline);
                            self.waiting.push_back(job);
                        }
                    }
                    Task::Request(_) | Task::Doubt(_) if job.deadline <= now => {
                        reply::fail(job.task, &error);
                    }
                    _ => self.waiting.push_back(job),
                }
            }
        }
        for job in &self.waiting {
            if !late(job) {
                keep(job.deadline);
            }
        }
        self.flights.expire(now).into_iter().for_each(keep);
        next
    }

    /// Why what has not been sent is late.
    fn why_late(&self, up: bool) -> Error {
        match &self.trouble {
            _ if up => Error::Timeout { phase: Phase::Queue },
            Some(error) => error.clone(),
            None => Error::Timeout {
                phase: Phase::Connect,
            },
        }
    }

    /// Gives up on everything: the engine ends.
    pub(super) fn abandon(&mut self) {
        for job in self.waiting.drain(..) {
            reply::fail(job.task, &Error::Closed);
        }
        let cause = Cause::new(fault::Lost("the store was closed".to_owned()));
        let mut again = Vec::new();
        for flight in self.flights.take() {
            reply::lose(flight.parts, &cause, &mut again);
        }
        for job in again {
            reply::fail(job.task, &Error::Closed);
        }
    }
}
