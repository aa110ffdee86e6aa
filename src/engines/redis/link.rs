//! One connection and what waits for it.

mod asking;
mod deadlines;
mod flights;
mod handover;
mod health;
mod order;
mod outage;
mod redirects;
mod sending;
mod vitals;
mod window;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use self::asking::Asking;
use self::flights::Flights;
use self::outage::Outage;
use self::vitals::Vitals;
use self::window::Window;
use super::backoff::Backoff;
use super::connected::Connected;
use super::connection_log::ConnectionLog;
use super::fault;
use super::generation::Generation;
use super::job::{Busy, Job};
use super::layout::Layout;
use super::parking::Parking;
use super::process::Process;
use super::reply::{self, Origin, Outcome, Refusals};
use super::resolver::Resolver;
use super::scanner::Bounds;
use super::tally::Tally;
use super::tracker::{TrackedConnection, Tracker};
use super::unsent::Unsent;
use crate::config::RedisOptions;
use crate::error::{Error, Result};
use crate::events::Listeners;
use crate::meters::Meters;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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
    /// What a node of a cluster has refused.
    parking: Parking,
    /// What is asked of the node that the slot is moving to.
    asking: Option<Asking>,
    /// What is to be sent again goes back to the engine, which knows other nodes.
    hands_over: bool,
    /// What the engine has not taken back yet.
    strays: Vec<Job>,
    /// Where the last connection leads to.
    process: Process,
    /// Whether it opens a connection only when it has something to do.
    rests: bool,
    /// Whether it then keeps the connection.
    lingers: bool,
    /// Whether it has ever been open: until then a failure is told at once.
    proven: bool,
    backoff: Backoff,
    log: ConnectionLog,
    meters: Meters,
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
    /// The epoch of the server that the connection leads to: what only this process of it calls itself, or, of one that does
    /// not tell that, the first generation after the last cut.
    epoch: u64,
    /// Until when no change is sent in a transaction, because the server has refused one.
    apart_until: Option<Instant>,
    /// Whether the log has told that leases cannot be invalidated. It tells so once.
    not_invalidated: bool,
    /// What was not removed and is to be replayed.
    unsent: Unsent,
    /// Jobs wait for a replay.
    is_held: bool,
    /// The server has refused the replay for now.
    is_refused: bool,
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
            parking: Parking::default(),
            asking: None,
            hands_over: false,
            strays: Vec::new(),
            process: Process::default(),
            rests: false,
            lingers: false,
            proven: false,
            backoff: Backoff::default(),
            log,
            meters: Meters::default(),
            trouble: None,
            outage: None,
            vitals: Vitals::new(now),
            retiring: false,
            replace_at: None,
            born: resolver.generation().current(),
            epoch: 0,
            generation: resolver.generation().clone(),
            resolver,
            tracker,
            apart_until: None,
            not_invalidated: false,
            unsent: Unsent::default(),
            is_held: false,
            is_refused: false,
            replied: 0,
        }
    }

    /// Tells these meters of its connections.
    pub(super) fn metered_by(self, meters: Meters) -> Self {
        Self { meters, ..self }
    }

    /// Tells listeners when the connection is lost and when it is open again.
    pub(super) fn heard_by(mut self, listeners: Arc<Listeners>) -> Self {
        self.log.heard_by(listeners);
        self
    }

    /// Remembers what was to be removed by jobs that fail.
    pub(super) fn keeping_removals(mut self, keeps: bool) -> Self {
        if keeps {
            self.unsent = Unsent::kept(self.tracker.clone());
        }
        self
    }

    pub(super) fn push(&mut self, mut job: Job, now: Instant) {
        if !self.is_worth_waiting(&mut job, now) {
            let error = self.why_down();
            return self.give_up(job, &error);
        }
        self.waiting.push_back(job);
    }

    /// Jobs not yet sent.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.parking.len()
    }

    /// Whether it has something to do that somebody waits for.
    fn is_awaited(&self, now: Instant) -> bool {
        !self.waiting.is_empty() || self.is_redirected() || self.owes_an_answer(now)
    }

    /// Whether it has something to do that somebody waits for, and a connection for it. One that is being opened counts if
    /// none was lost: it is open or known to be down within `connect_timeout`.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        self.is_awaited(now) && (self.is_up() || !self.is_down())
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
        self.waiting.is_empty() && self.strays.is_empty() && self.flights.is_empty() && !self.is_redirected()
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
        if !self.hands_over {
            progress |= self.follow_redirects(cx, now, tally);
        }
        progress |= self.send(cx, now, tally.is_heard(), beside);
        if self.hands_over {
            // Last: what is to be sent again is back before later jobs of its keys are sent.
            progress |= self.follow_redirects(cx, now, tally);
        }
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
                    let mut outcome = Outcome {
                        // If handing out panics, the list of the link stays as it is.
                        unsent: self.unsent.emptied(),
                        ..Outcome::default()
                    };
                    let tracked = self.state.tracked();
                    if let (Some(tracked), Some(launch)) = (tracked, flight.launch) {
                        tracked.answered(launch);
                        if !self.layout.is_in_a_cluster() {
                            tracked.proven(flight.sent);
                        }
                    }
                    let near = tracked.map(|connection| Origin {
                        connection,
                        sent: flight.sent,
                    });
                    let refusals = self.layout.is_in_a_cluster().then_some(Refusals {
                        parking: &mut self.parking,
                        slot: self.layout.only_slot(),
                        sent: self.flights.sent(),
                        now,
                        is_proven: false,
                    });
                    reply::settle(flight.parts, replies, near, tally, &mut outcome, refusals);
                    self.unsent.append(outcome.unsent);
                    self.parking.executed_for_nobody(&flight.left);
                    self.send_again(outcome.again);
                    self.waiting.extend(outcome.later);
                    if outcome.demoted {
                        self.demoted();
                    }
                    if outcome.forgotten {
                        self.busy.forgotten();
                    }
                    if let Some(refused) = &outcome.no_transaction {
                        self.keep_apart(refused, now);
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
}
