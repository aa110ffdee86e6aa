//! How soon a connection is opened again.

use std::time::Duration;

use tokio::time::Instant;

use crate::actor;
use crate::config::RedisOptions;

/// A connection that lives as long begins with the shortest wait again when it is lost.
const LASTING: Duration = Duration::from_secs(1);

/// The pace at which one connection is opened. Attempts that failed count as failures, and so do connections that did
/// not last.
#[derive(Debug, Default)]
pub(super) struct Backoff(actor::Backoff);

impl Backoff {
    /// The wait after an attempt that failed.
    pub(super) fn after_failure(&mut self, options: &RedisOptions) -> Duration {
        let (shortest, longest) = (options.reconnect_backoff_min, options.reconnect_backoff_max);
        self.0.after_failure(shortest, longest)
    }

    /// The wait before a connection that was open `since` is opened anew: none, unless it did not last.
    pub(super) fn after(&mut self, since: Instant, now: Instant, options: &RedisOptions) -> Duration {
        let lasting = options.max_connection_age.map_or(LASTING, |age| age.min(LASTING));
        if now.saturating_duration_since(since) < lasting {
            return self.after_failure(options);
        }
        self.0.reset();
        Duration::ZERO
    }
}
