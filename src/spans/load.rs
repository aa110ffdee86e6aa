//! The span of a load: in that of the call that waits for it, and linked to others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tracing::span::Id;
use tracing::{Instrument, Span, dispatcher};

use super::site::Parent;
use super::{Spans, close, record_end};
use crate::calls::{Answered, Outcome};
use crate::contain::contained;

/// The most links of one span, which is how many OpenTelemetry keeps.
pub(crate) const MOST_LINKS: usize = 128;

/// What may cause a load: a call, by its span.
#[derive(Debug)]
pub(crate) struct Cause {
    spans: Spans,
    /// The span of the call, or without one, the span that its caller is in.
    span: Span,
}

/// How a load is tied to its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tie {
    /// The call waits for the load, which is a part of it.
    Awaited,
    /// The call goes on without: a refresh in the background.
    Refresh,
}

impl Cause {
    pub(crate) fn new(spans: &Spans, call: Option<&Span>) -> Self {
        Self {
            spans: spans.clone(),
            span: call.cloned().unwrap_or_else(Span::current),
        }
    }

    /// The id of the cause, to which others link.
    pub(crate) fn id(&self) -> Option<Id> {
        self.span.id()
    }

    /// The span of a load that begins now. It has the subscriber of its cause, wherever it is opened.
    pub(crate) fn open(&self, tie: Tie) -> LoadSpan {
        let open = || self.open_here(tie);
        let open_there = || {
            let opened = self
                .span
                .with_subscriber(|(_, dispatch)| dispatcher::with_default(dispatch, open));
            opened.unwrap_or_else(open)
        };
        LoadSpan {
            tied: contained(open_there).flatten(),
            around: self.span.clone(),
            outcome: None,
        }
    }

    fn open_here(&self, tie: Tie) -> Option<Arc<Tied>> {
        let source = self.spans.0.as_deref()?;
        let site = source.sites.load;
        if !source.wants(site) {
            return None;
        }
        let parent = match tie {
            Tie::Awaited => Parent::Span(self.span.id()),
            Tie::Refresh => Parent::None,
        };
        let span = site.open(parent, [Some(&"internal"), Some(&(tie == Tie::Refresh))]);
        if tie == Tie::Refresh {
            span.follows_from(&self.span);
        }
        Some(Arc::new(Tied {
            span,
            links: AtomicUsize::new(0),
        }))
    }
}

/// The span of a load that runs. If it is dropped before its end, the load was cancelled, or has panicked.
#[derive(Debug)]
pub(crate) struct LoadSpan {
    /// `None` if nobody wants it.
    tied: Option<Arc<Tied>>,
    /// What the loader runs in without it.
    around: Span,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
struct Tied {
    span: Span,
    links: AtomicUsize,
}

impl Drop for Tied {
    fn drop(&mut self) {
        close(&mut self.span);
    }
}

impl LoadSpan {
    /// Runs the load in its span.
    pub(crate) async fn over<A: Answered>(mut self, load: impl Future<Output = A>) -> A {
        let span = match &self.tied {
            Some(tied) => tied.span.clone(),
            None => std::mem::replace(&mut self.around, Span::none()),
        };
        let answer = load.instrument(span).await;
        self.outcome = Some(answer.outcome());
        answer
    }

    /// What links the span to other calls while it is open.
    pub(crate) fn link(&self) -> LoadLink {
        LoadLink(self.tied.as_ref().map_or_else(Weak::new, Arc::downgrade))
    }
}

impl Drop for LoadSpan {
    fn drop(&mut self) {
        if let Some(tied) = &self.tied {
            let unknown = if std::thread::panicking() {
                Outcome::LoadFailed
            } else {
                Outcome::Cancelled
            };
            record_end(&tied.span, self.outcome.unwrap_or(unknown));
        }
    }
}

/// Links the span of a load to calls that wait for it. It does not keep the span open.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadLink(Weak<Tied>);

impl LoadLink {
    /// Whether the load has no span, so that there is nothing to link.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// A call joins the load.
    pub(crate) fn joined(&self, call: Id) {
        let Some(tied) = self.0.upgrade() else { return };
        if tied.links.fetch_add(1, Ordering::Relaxed) < MOST_LINKS {
            contained(|| {
                tied.span.follows_from(call);
            });
        }
    }
}
