//! The callers of one key, in the order in which they came.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{CallerId, LoadId};
use crate::load::policy::Seen;
use crate::load::refreshes::Mark;

/// Those who want one key.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) asking: Option<Asking>,
    /// Those who have come since the engine was asked.
    pub(super) late: Members,
    /// Those who wait for another process.
    pub(super) abroad: Members,
    /// The load of ours that has the lease, as far as is known.
    pub(super) flying: Option<LoadId>,
    pub(super) retry: Option<(Duration, u64)>,
    pub(super) pause: Duration,
    pub(super) subscribed: bool,
    /// A caller has been given something stale because the load takes long. Callers who come now and have
    /// something stale too do not wait for it.
    pub(super) overdue: bool,
    /// Who is served what is stale need not tell of the key while this is held.
    pub(super) mark: Option<Mark>,
}

/// The engine has been asked and has not answered.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) load: LoadId,
    pub(super) seen: Seen,
    pub(super) members: Members,
    /// A notification came since.
    pub(super) again: bool,
}

/// By their callers, whose numbers grow. A wish for which nobody waits comes only into an empty line, so that a line has at
/// most one.
pub(super) type Members = BTreeMap<Option<CallerId>, Member>;

#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) load: LoadId,
    /// `None` where nobody waits: a value is loaded anew before its time.
    pub(super) caller: Option<CallerId>,
    pub(super) seen: Seen,
}
