//! One direct load, from the read that may become it to its end.

use std::time::Duration;

use tokio::task::AbortHandle;

use crate::key::Key;
use crate::load::flight::{LoadId, Marks};
use crate::request::Names;
use crate::spans::LoadLink;

/// A direct load, or a read that may become one.
#[derive(Debug, Clone)]
pub(in crate::load) struct DirectLoad {
    pub(in crate::load) load: LoadId,
    pub(in crate::load) key: Key,
    /// What its value will depend on.
    pub(in crate::load) names: Names,
    pub(in crate::load) retry_after: Duration,
    /// Whether its loader is given a context, so that it may find further names.
    pub(in crate::load) has_contexts: bool,
    /// Links its span to the calls that join it.
    pub(in crate::load) link: LoadLink,
    pub(super) state: State,
}

/// How far a direct load is.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// The engine has been asked, and may have given the lease.
    Asked,
    /// The coordinator has ended the lease before the read's caller took note of it.
    Revoked,
    Running {
        task: Option<AbortHandle>,
        /// Other callers wait for it, so the coordinator is to be told of its end.
        joined: bool,
        /// If it is dead, its lease has been ended.
        marks: Marks,
    },
}

/// Why a read that was given a lease does not become a direct load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::load) enum Denied {
    /// There are too many loads or callers. The lease is to be ended.
    Full,
    /// The lease has been ended.
    Revoked,
}

/// What the coordinator finds where the engine names a token of this store.
#[derive(Debug)]
pub(in crate::load) enum Met {
    /// The load runs, and its end will be told.
    Running { load: DirectLoad, marks: Marks },
    /// The caller has not taken note of the lease yet, and never will.
    Revoked(DirectLoad),
    /// The load has ended.
    Ended,
}

impl DirectLoad {
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }
}
