//! What takes the place of metrics without the feature `metrics`: the same functions, which do nothing.

use std::time::Duration;

use crate::calls::{CallName, Outcome};

#[derive(Debug, Clone, Default)]
pub(crate) struct Meters(());

impl Meters {
    pub(crate) fn open(_engine: &'static str) -> Self {
        Self(())
    }

    pub(crate) fn calls(&self) -> Option<&Calls> {
        None
    }

    pub(crate) fn load_begins(&self) -> RunningLoad {
        RunningLoad(())
    }

    pub(crate) fn end(&self) {}

    pub(crate) fn locks(&self, _waiting: usize, _held: usize) {}

    pub(crate) fn lock_granted(&self, _waited: Duration) {}

    pub(crate) fn lock_ended(&self, _held: Duration, _lost: bool) {}

    #[cfg(feature = "redis")]
    pub(crate) fn connected(&self, _node: &str, _again: bool) -> OpenConnection {
        OpenConnection(())
    }
}

/// There are none.
#[derive(Debug)]
pub(crate) enum Calls {}

impl Calls {
    pub(crate) fn ended(&self, _call: CallName, _outcome: Outcome, _took: Duration) {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) struct RunningLoad(());

impl RunningLoad {
    pub(crate) fn end(self) {}
}

#[cfg(feature = "redis")]
#[derive(Debug, Default)]
pub(crate) struct OpenConnection(());

#[cfg(feature = "redis")]
impl OpenConnection {
    pub(crate) fn launched(&self) {}

    pub(crate) fn carried(&self, _sent: u64, _received: u64) {}
}
