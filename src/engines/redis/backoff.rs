//! How long to wait before a connection is opened again. Pure, but for its jitter.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::RedisOptions;

/// A connection that lives as long begins with the shortest wait again when it is lost.
const LASTING: Duration = Duration::from_secs(1);

/// The pace at which one connection is opened.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Attempts that failed, and connections that did not last, in a row.
    failures: u32,
}

impl Backoff {
    /// The wait after an attempt that failed: longer with each failure, at random within its upper half.
    pub(super) fn after_failure(&mut self, options: &RedisOptions) -> Duration {
        let whole = options
            .reconnect_backoff_min
            .saturating_mul(1 << self.failures.min(20))
            .min(options.reconnect_backoff_max);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    /// The wait before a connection that was open `since` is opened anew: none, unless it did not last.
    pub(super) fn after(&mut self, since: Instant, now: Instant, options: &RedisOptions) -> Duration {
        let lasting = options.max_connection_age.map_or(LASTING, |age| age.min(LASTING));
        if now.saturating_duration_since(since) < lasting {
            return self.after_failure(options);
        }
        self.failures = 0;
        Duration::ZERO
    }
}
