//! One line, and one waiter's place in it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Waiter;
use crate::lock::name::Name;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Line {
    /// By their places.
    pub(super) waiters: BTreeMap<u64, Waiter>,
    pub(super) head: Head,
    /// When the line is looked at, at the latest, to see whether its head is to ask.
    pub(super) armed: Option<Duration>,
    pub(super) subscribed: bool,
}

#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum Head {
    /// The backend is asked for this waiter, who may have left meanwhile. `again`: something happened
    /// since, so that an answer of `Busy` may be old.
    Asking { waiter: Waiter, again: bool },
    /// Another holds the lock. The head asks at this time, or when it is woken.
    Sleeping { until: Duration },
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Place {
    pub(super) name: Name,
    /// Its place in the line, by which lines are ordered.
    pub(super) place: u64,
    /// `None` for a waiter that asks once and does not wait.
    pub(super) deadline: Option<Duration>,
    /// Its last question was asked at its deadline or after: the answer decides.
    pub(super) asked_last: bool,
}
