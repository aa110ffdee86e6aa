//! What the flights ask of their owner, and what they are answered.

use std::time::Duration;

use super::{CallerId, LoadId};
use crate::error::Error;
use crate::key::Key;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Ask the engine for the lease of a key, and tell [`Flights::answered`].
    Take(LoadId, Key),
    /// Run the loader for these keys, and tell [`Flights::loaded`] or [`Flights::failed`].
    Start(LoadId, Vec<Key>),
    /// Store what was loaded for a key if its lease lives, and tell [`Flights::stored`].
    Store(LoadId, Key),
    /// End the lease of a key without storing anything.
    End(LoadId, Key, Given),
    /// Nothing more is to be done for this load.
    Forget(LoadId),
    Tell(CallerId, Told),
    /// A caller waits for this load, which is not the caller's own.
    Joined(LoadId, CallerId),
    /// Report that a load of the key failed, and whether the one before it had not.
    Failing(LoadId, Key, bool),
    /// End the leases of the direct loads that are made from the key: a value of it was given out, and may not be
    /// stored.
    Disown(Key),
    /// Mark the direct loads that may be made from the key: a value of it was given out that may be older than a change.
    Outdate(Key),
    /// Let the loads that run keep no old values: a value is given out of which the engine may not know.
    KeepNothing,
    /// Report that a load of the key succeeded, and that the one before it had failed.
    Recovered(Key),
    /// Be told when the lease of a key ends that another process holds.
    Subscribe(Key),
    Unsubscribe(Key),
}

/// Whether somebody is told what a load made, though it is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    Yes,
    No,
}

/// What becomes of a caller's wish.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// The value is what this load made of the key.
    Loaded {
        load: LoadId,
        key: Key,
        fate: Fate,
        /// Whether the caller's own loader made it.
        own: bool,
    },
    /// The loader had nothing for the key. Whether it was the caller's own loader.
    Absent { own: bool },
    /// The load failed.
    Failed(LoadId),
    /// There was no load, because of the engine.
    Refused(EngineFailure),
    /// Somebody else has stored a value, or may have.
    LookAgain,
    /// The caller has something stale, and is not to wait for a load.
    ServeStale,
}

/// An error of the engine's. Two of them are never compared but in tests.
#[derive(Debug, Clone)]
pub(crate) struct EngineFailure(pub(crate) Error);

impl PartialEq for EngineFailure {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What became of a loaded value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    /// Its lease was dead.
    Superseded,
    /// It was not to be stored, or the engine failed.
    NotStored,
}

/// What the engine answered to [`Effect::Take`].
#[derive(Debug)]
pub(crate) enum Answer {
    /// The lease is the load's. Whether what the key holds by now still calls for a load.
    Taken {
        needed: bool,
    },
    /// This load of ours has it.
    HeldHere(LoadId),
    /// Another process has it, for so long.
    HeldAbroad(Duration),
    Failed(Error),
}
