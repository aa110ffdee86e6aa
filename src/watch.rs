//! One call as metrics and spans see it.

use tokio::time::Instant;
use tracing::Span;

use crate::calls::{Answered, CallName, Outcome};
use crate::meters::Calls;
use crate::spans::{OpenSpan, Spans};

/// Sees one call, from what it first asks to its end. A call that asks nothing, because its task has the answer, is not
/// told of.
#[derive(Debug, Default)]
pub(crate) struct Watch<'a>(
    /// `None` if nobody is told. Boxed, because futures hold it, and mostly nobody is.
    Option<Box<Seen<'a>>>,
);

#[derive(Debug)]
struct Seen<'a> {
    name: CallName,
    calls: Option<&'a Calls>,
    spans: Option<&'a Spans>,
    /// When the call first asked for something.
    began: Option<Instant>,
    /// Open since then.
    span: Option<OpenSpan>,
    /// `None` while an answer is waited for.
    outcome: Option<Outcome>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(calls: Option<&'a Calls>, spans: &'a Spans, name: CallName) -> Self {
        let spans = spans.may_want(name).then_some(spans);
        if calls.is_none() && spans.is_none() {
            return Self(None);
        }
        Self(Some(Box::new(Seen {
            name,
            calls,
            spans,
            began: None,
            span: None,
            outcome: None,
        })))
    }

    /// The call asks for something, and waits for it.
    pub(crate) fn begin(&mut self) {
        if let Some(seen) = &mut self.0 {
            seen.outcome = None;
            if seen.began.is_none() {
                seen.began = Some(Instant::now());
                seen.span = seen.spans.and_then(|spans| spans.begin(seen.name));
            }
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

    /// The span of the call, if it has begun and has one.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.0.as_ref()?.span.as_ref().map(OpenSpan::span)
    }
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        let Some(began) = self.began else { return };
        let outcome = self.outcome.unwrap_or(Outcome::Cancelled);
        if let Some(calls) = self.calls {
            calls.ended(self.name, outcome, began.elapsed());
        }
        if let Some(span) = self.span.take() {
            span.end(outcome);
        }
    }
}
