//! Which process of a server a connection leads to.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, Ordering};

/// A process of a server, as far as a connection to it knows. The cursor of a `SCAN` means something to one process only:
/// each one has its keys in an order of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    /// What only this process calls itself, if it tells.
    run: Option<NonZeroU64>,
    /// The number of the connection, from 1. No other connection of this program has it.
    connection: u32,
}

impl Process {
    /// The process at the end of a new connection.
    pub(super) fn of_new_connection(run: Option<u64>) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let connection = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let run = run.and_then(NonZeroU64::new);
        Self { run, connection }
    }

    pub(super) fn connection(self) -> u32 {
        self.connection
    }

    /// Whether it is known.
    pub(super) fn is_known(self) -> bool {
        self.connection > 0
    }

    /// Whether both are surely the same process.
    pub(super) fn is(self, other: Self) -> bool {
        self.connection == other.connection || (self.run.is_some() && self.run == other.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_what_it_calls_itself_or_by_its_connection() {
        let [one, again, other] = [Some(1), Some(1), Some(2)].map(Process::of_new_connection);
        assert!(one.is(one) && one.is(again) && !one.is(other));
        let [hidden, later] = [None, None].map(Process::of_new_connection);
        assert!(hidden.is(hidden) && !hidden.is(later) && !hidden.is(one));
    }
}
