//! What a server tells unasked of what other processes do.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

/// A subscription that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subscription {
    Begin(Subject),
    End(Subject),
}

/// What notifications are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    /// Releases of the lock of this key.
    Lock(Arc<str>),
    /// Ends of the lease of this key.
    Lease(Arc<str>),
}

impl Subject {
    pub(crate) fn key(&self) -> &Arc<str> {
        let (Subject::Lock(key) | Subject::Lease(key)) = self;
        key
    }
}

/// A message to an actor about a subject that it subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notification {
    /// Nothing about this key is missed from that time on: who was refused before asks once more. Comes after
    /// each [`Subscription::Begin`], and again when there was a gap.
    Subscribed { key: Arc<str>, since: Instant },
    /// The lock that had this fencing token was released; with `None`, any that was held. Or the lease was ended.
    Released { key: Arc<str>, token: Option<u64> },
    /// The connection is lost. Nothing is told about any key until [`Notification::Subscribed`] comes for it.
    Lost,
    /// Notifications may have been missed, [`Notification::Subscribed`] among them: all who wait ask once more.
    /// `lost` says whether the connection is lost now, and `switched` whether [`Notification::Switched`] was missed.
    Missed { lost: bool, switched: bool },
    /// Another server is the primary now. It may not know what the one before had granted.
    Switched,
}

/// How an actor learns of what other processes hold.
#[derive(Debug)]
pub(crate) struct Notifications {
    pub(crate) subscriptions: mpsc::UnboundedSender<Subscription>,
    pub(crate) received: mpsc::Receiver<Notification>,
    /// Whether other programs poll for the same locks, as go-cachestore does every 10 ms.
    pub(crate) beside_pollers: bool,
    /// What to do where this store may not announce what it releases.
    pub(crate) may_not_announce: &'static str,
}
