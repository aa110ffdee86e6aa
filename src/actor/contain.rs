//! Where the panics of users' code end that an actor has to run.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what may be a user's code, such as a drop or a waker: a panic ends here, with `None`.
pub(crate) fn contained<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(words) => {
            // The panic hook has told of it, and what it panicked with may panic in its own drop.
            std::mem::forget(words);
            None
        }
    }
}
