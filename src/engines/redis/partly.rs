//! The answer to a call of which the server has carried out a part.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Cause, Error, Result};
use crate::request::{Gather, Reply};

/// Answers a call that is partly carried out. No error may tell its caller that nothing was done.
#[derive(Debug)]
struct Partly<T>(Mutex<Option<Reply<T>>>);

/// Where the answer to the rest of a call goes, of which a part is carried out.
pub(super) fn partly<T: std::fmt::Debug + Send + 'static>(reply: Reply<T>) -> Reply<T> {
    let of = Arc::new(Partly(Mutex::new(Some(reply))));
    Reply::Part { of, place: 0 }
}

impl<T: std::fmt::Debug + Send> Gather<T> for Partly<T> {
    fn take(&self, _: u32, answer: Result<T>) {
        // What it holds is whole at any time.
        let reply = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reply) = reply {
            reply.send(answer.map_err(|error| match error {
                error @ Error::OutcomeUnknown(_) => error,
                error => Error::OutcomeUnknown(Cause::new(error)),
            }));
        }
    }

    fn is_closed(&self) -> bool {
        let reply = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reply.as_ref().is_none_or(Reply::is_closed)
    }
}
