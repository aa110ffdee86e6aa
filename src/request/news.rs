//! What a server tells unasked, of what other processes do.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

/// A name to be watched, or no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Watch {
    Begin(Topic),
    End(Topic),
}

/// What is told about a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Topic {
    /// Releases of the lock of this key.
    Lock(Arc<str>),
    /// Ends of the lease of this key.
    Lease(Arc<str>),
}

impl Topic {
    /// The key that it is about.
    pub(crate) fn key(&self) -> &Arc<str> {
        let (Topic::Lock(key) | Topic::Lease(key)) = self;
        key
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing of this name is missed from that time on: who was refused before asks once more. Comes after
    /// each [`Watch::Begin`], and again when there was a gap.
    Watching { key: Arc<str>, since: Instant },
    /// The lock that had this token was released; with `None`, whoever held it. Or the lease was ended.
    Released { key: Arc<str>, token: Option<u64> },
    /// From now on nothing is heard of any name, until [`News::Watching`] comes for it.
    Lost,
    /// News may have been missed, [`News::Watching`] among them: whoever waits asks once more. `lost` says whether
    /// nothing is heard of any name now.
    Missed { lost: bool },
}

/// How an actor learns of what other processes hold.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) watch: mpsc::UnboundedSender<Watch>,
    pub(crate) news: mpsc::Receiver<News>,
    /// Whether other programs poll for the same locks, as go-cachestore does every 10 ms.
    pub(crate) beside_pollers: bool,
    /// What to do where this store may not announce what it releases.
    pub(crate) may_not_announce: &'static str,
}
