//! The metrics of connections to servers.

use metrics::Unit;

use super::follow::{Level, Total};
use super::handle::Counter;
use super::recorded::Meters;
use super::series::Series;

/// An open connection as metrics see it, until it is dropped. Empty without a recorder.
#[derive(Debug, Default)]
pub(crate) struct OpenConnection(Option<Box<Registered>>);

#[derive(Debug)]
struct Registered {
    /// One, until it is dropped.
    _open: Level,
    pipelines: Counter,
    sent: Total,
    received: Total,
}

impl Meters {
    /// A connection to `node` is open: an address without user and password. `again` says that it was lost before, or
    /// could not be opened.
    pub(crate) fn connected(&self, node: &str, again: bool) -> OpenConnection {
        let registered = self.with_series(|series| Registered::new(series.with(Some(("node", node))), again));
        OpenConnection(registered.map(Box::new))
    }
}

impl Registered {
    fn new(series: Series<'_>, again: bool) -> Self {
        let counter = |name, unit, about| series.counter(name, &[], unit, about);
        let reconnects = counter(
            "cachestore_reconnects_total",
            Unit::Count,
            "Connections for requests that were opened after a failure",
        );
        reconnects.increment(u64::from(again));
        let open = Level::new(series.gauge(
            "cachestore_connections",
            Unit::Count,
            "Open connections for requests",
        ));
        open.set(1);
        let sent = counter(
            "cachestore_sent_bytes_total",
            Unit::Bytes,
            "Bytes sent over connections for requests",
        );
        let received = counter(
            "cachestore_received_bytes_total",
            Unit::Bytes,
            "Bytes received over connections for requests",
        );
        Self {
            _open: open,
            pipelines: counter("cachestore_pipelines_total", Unit::Count, "Pipelines sent"),
            sent: Total::new(sent),
            received: Total::new(received),
        }
    }
}

impl OpenConnection {
    /// A pipeline was sent.
    pub(crate) fn launched(&self) {
        if let Some(registered) = &self.0 {
            registered.pipelines.increment(1);
        }
    }

    /// The connection has carried so many bytes since it was opened.
    pub(crate) fn carried(&self, sent: u64, received: u64) {
        if let Some(registered) = &self.0 {
            registered.sent.follow(sent);
            registered.received.follow(received);
        }
    }
}
