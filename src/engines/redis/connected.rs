//! An open connection, and how its owner drives it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::Context;

use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::abilities::Abilities;
use super::fault::Refusal;
use super::resolver::Route;
use super::stream::Pulse;
use super::tracker::TrackedConnection;
use super::unfold::Announcer;
use crate::meters::OpenConnection;

/// What reads and writes a socket. It ends when the connection does.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An open connection. Its owner drives it ([`drive`](Self::drive)), or a task of an application does. Dropping it closes it
/// at once, whatever is under way.
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    pub(super) since: Instant,
    /// Whether the server took all scripts when this was opened.
    pub(super) scripts_loaded: bool,
    /// A number for this run of the server, if the server tells its `run_id`.
    pub(super) run: Option<u64>,
    /// What the server lets its user do.
    pub(super) abilities: Abilities,
    /// None once it has ended, and for connections that others opened, which are driven by tasks of theirs.
    driver: Option<Driver>,
    /// The signs of life of its socket. None for connections that others opened.
    pulse: Option<Pulse>,
    /// Tells its reader where transactions are. None for connections that others opened.
    announcer: Option<Announcer>,
    /// The near cache's view of it, if the server tracks what it reads.
    pub(super) tracked: Option<TrackedConnection>,
    /// Where it leads to, and the generation that it belongs to. `None` for connections that others opened.
    pub(super) route: Option<Box<Route>>,
    /// What metrics see of it, once it is in use.
    pub(super) open: OpenConnection,
    ended: bool,
}

impl Drop for Connected {
    fn drop(&mut self) {
        // Bytes of a connection that was never used count too.
        self.report();
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected")
            .field("since", &self.since)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Connected {
    /// A connection that its owner reads and writes.
    pub(super) fn own(connection: MultiplexedConnection, driver: Driver, pulse: Pulse) -> Self {
        let mut own = Self::foreign(connection);
        (own.driver, own.pulse) = (Some(driver), Some(pulse));
        own
    }

    /// A connection that a task of somebody else reads and writes.
    pub(super) fn foreign(connection: MultiplexedConnection) -> Self {
        Self {
            connection,
            since: Instant::now(),
            scripts_loaded: false,
            run: None,
            abilities: Abilities::default(),
            driver: None,
            pulse: None,
            announcer: None,
            tracked: None,
            route: None,
            open: OpenConnection::default(),
            ended: false,
        }
    }

    /// How many signs of life the socket has given. The count grows while bytes flow; it stays 0 for a
    /// connection that others opened.
    pub(super) fn pulse(&self) -> u64 {
        self.pulse.as_ref().map_or(0, Pulse::count)
    }

    /// The complete replies so far. It stays 0 for a connection that others opened.
    pub(super) fn replies(&self) -> u64 {
        self.pulse.as_ref().map_or(0, Pulse::replies)
    }

    /// The bytes of the reply that is being received, those included that are announced. It stays 0 for a
    /// connection that others opened.
    pub(super) fn incoming(&self) -> u64 {
        self.pulse.as_ref().map_or(0, Pulse::incoming)
    }

    /// The bytes that were received so far. It stays 0 for a connection that others opened.
    pub(super) fn received(&self) -> u64 {
        self.pulse.as_ref().map_or(0, Pulse::received)
    }

    /// Its stream unfolds the replies of transactions that `announcer` announces.
    pub(super) fn unfolding(mut self, announcer: Announcer) -> Self {
        self.announcer = Some(announcer);
        self
    }

    /// Says which of the connection's replies are those to the commands of a transaction, before it is sent.
    pub(super) fn announce(&self, queued: Range<u64>) {
        if let Some(announcer) = &self.announcer {
            announcer.announce(queued);
        }
    }

    /// Tells metrics how many bytes it has carried so far.
    pub(super) fn report(&self) {
        if let Some(pulse) = &self.pulse {
            self.open.carried(pulse.sent(), pulse.received());
        }
    }

    /// Why the last reply was not read to its end.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.pulse.as_ref().and_then(Pulse::refusal)
    }

    /// Writes what has been sent and reads what the server has answered, as far as the socket goes.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
            self.ended = true;
        }
    }

    /// Whether the connection has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits for `answer`, which comes over this connection.
    pub(super) async fn wait_for<T>(&mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await
    }
}
