//! What the log and listeners are told of one connection: each loss and each recovery once, however often opening is
//! tried.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{Place, Target};
use crate::error::Error;
use crate::events::{Event, Listeners};

/// The log of one connection.
#[derive(Debug)]
pub(super) struct ConnectionLog {
    /// What the connection is for.
    purpose: &'static str,
    server: String,
    /// Who hears of it. `None` for a connection that is not told of.
    listeners: Option<Arc<Listeners>>,
    down: Option<Down>,
}

#[derive(Debug)]
struct Down {
    since: Instant,
    /// Attempts to open it that have failed.
    failures: u32,
}

impl ConnectionLog {
    pub(super) fn new(purpose: &'static str, target: &Target) -> Self {
        Self {
            purpose,
            server: target.to_string(),
            listeners: None,
            down: None,
        }
    }

    /// Tells listeners too from now on.
    pub(super) fn heard_by(&mut self, listeners: Arc<Listeners>) {
        self.listeners = Some(listeners);
    }

    /// What it is opened to, where that may change.
    pub(super) fn leads_to(&mut self, place: &Place) {
        self.server = place.to_string();
    }

    /// The address of the server, without user and password.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    fn tell(&self, event: impl FnOnce(String) -> Event) {
        if let Some(listeners) = &self.listeners
            && listeners.any()
        {
            listeners.tell_all(&event(self.server.clone()));
        }
    }

    fn tell_of_loss(&self, cause: &dyn fmt::Display) {
        let cause = cause.to_string();
        self.tell(|node| Event::Disconnected { node, cause });
    }

    /// An open connection is lost.
    pub(super) fn lost(&mut self, cause: &dyn fmt::Display, now: Instant) {
        let Self { purpose, server, .. } = self;
        tracing::warn!(%server, purpose, %cause, "the connection to Redis is lost");
        self.tell_of_loss(cause);
        self.down = Some(Down {
            since: now,
            failures: 0,
        });
    }

    /// An attempt to open it has failed. The first one after it was up is logged at the level of a loss. Listeners are
    /// told of it only if they were told of no loss.
    pub(super) fn not_opened(&mut self, cause: &dyn fmt::Display, now: Instant) {
        let Self {
            purpose,
            server,
            down,
            ..
        } = self;
        let is_news = down.is_none();
        let down = down.get_or_insert(Down {
            since: now,
            failures: 0,
        });
        down.failures = down.failures.saturating_add(1);
        if down.failures == 1 {
            tracing::warn!(%server, purpose, %cause, "the connection to Redis cannot be opened");
        } else {
            let failures = down.failures;
            tracing::debug!(%server, purpose, %cause, failures, "the connection to Redis cannot be opened");
        }
        if is_news {
            self.tell_of_loss(cause);
        }
    }

    /// It is open. After a failure that is told at the level of a loss, so that a log which shows the one
    /// shows the other. Returns `true` after a failure.
    pub(super) fn opened(&mut self, now: Instant) -> bool {
        let Self {
            purpose,
            server,
            down,
            ..
        } = self;
        match down.take() {
            Some(Down { since, failures }) => {
                let away = now.saturating_duration_since(since);
                tracing::warn!(%server, purpose, ?away, failures, "the connection to Redis has recovered");
                self.tell(|node| Event::Connected { node });
                true
            }
            None => {
                tracing::debug!(%server, purpose, "the connection to Redis is open");
                false
            }
        }
    }
}

/// Why opening has failed, in one line.
pub(super) fn why(error: &Error) -> &dyn fmt::Display {
    match error {
        Error::Unavailable(cause) => cause,
        other => other,
    }
}

#[cfg(test)]
mod tests;
