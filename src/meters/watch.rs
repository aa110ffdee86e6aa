//! One call as metrics see it.

use tokio::time::Instant;

use super::CallName;
use super::calls::Calls;
use super::outcome::{Answered, Outcome};

/// Sees one call, from what it first asks to its end. A call that asks nothing, because its task has the answer, is not
/// told of.
#[derive(Debug, Default)]
pub(crate) struct Watch<'a>(
    /// `None` without a recorder. Boxed, because futures hold it, and most have none.
    Option<Box<Seen<'a>>>,
);

#[derive(Debug)]
struct Seen<'a> {
    calls: &'a Calls,
    name: CallName,
    /// When the call first asked for something.
    began: Option<Instant>,
    /// `None` while an answer is waited for.
    outcome: Option<Outcome>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(calls: &'a Calls, name: CallName) -> Self {
        Self(Some(Box::new(Seen {
            calls,
            name,
            began: None,
            outcome: None,
        })))
    }

    /// The call asks for something, and waits for it.
    pub(crate) fn begin(&mut self) {
        if let Some(seen) = &mut self.0 {
            seen.outcome = None;
            seen.began.get_or_insert_with(Instant::now);
        }
    }

    /// The call has its answer, unless it asks again.
    pub(crate) fn end<A: Answered>(&mut self, answer: &A) {
        if let Some(seen) = &mut self.0 {
            seen.outcome = Some(answer.outcome());
        }
    }

    /// Sees a call that asks something other than the engine.
    pub(crate) async fn over<A: Answered>(mut self, call: impl Future<Output = A>) -> A {
        self.begin();
        let answer = call.await;
        self.end(&answer);
        answer
    }
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        if let Some(began) = self.began {
            let outcome = self.outcome.unwrap_or(Outcome::Cancelled);
            self.calls.ended(self.name, outcome, began.elapsed());
        }
    }
}
