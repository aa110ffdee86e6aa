//! Spans: what a store tells a `tracing` subscriber of its calls and of its loads.
//!
//! [`Spans`] is what a store holds. An [`OpenSpan`] is the span of one call, and a [`LoadSpan`] that of one load, which
//! is linked to the calls that wait for it. Fields follow OpenTelemetry's conventions for database clients. They never
//! hold a key, a value or a credential.

mod load;
mod site;

use std::sync::Arc;

use tracing::field::Value;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, Span};

pub(crate) use self::load::{Cause, LoadLink, LoadSpan, MOST_LINKS, Tie};
use self::site::{Parent, Site, Sites};
use crate::calls::{CallName, Outcome};
use crate::config::{Config, EngineKind};
use crate::contain::contained;

const OUTCOME: &str = "cachestore.outcome";
const ERROR: &str = "error.type";
const STATUS: &str = "otel.status_code";

/// The fields of a call's span. The first six have their values when the span opens.
const CALL_FIELDS: &[&str] = &[
    "otel.kind",
    "db.system.name",
    "db.operation.name",
    "db.namespace",
    "server.address",
    "server.port",
    OUTCOME,
    ERROR,
    STATUS,
];

/// The fields of a load's span. The first two have their values when the span opens.
const LOAD_FIELDS: &[&str] = &["otel.kind", "cachestore.refresh", OUTCOME, ERROR, STATUS];

/// What a store tells in spans. Empty if the configuration switches spans off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spans(Option<Arc<Source>>);

/// What the spans of a store have in common.
#[derive(Debug)]
struct Source {
    level: Level,
    sites: &'static Sites,
    /// A call to a server is a client's, and one to the memory engine is internal.
    kind: &'static str,
    system: &'static str,
    /// The number of the database on a server.
    database: Option<String>,
    address: Option<String>,
    port: Option<i64>,
}

impl Spans {
    pub(crate) fn open(config: &Config) -> Self {
        let settings = config.settings();
        let level = settings.span_level.into_level();
        let Some(level) = level.filter(|level| *level <= STATIC_MAX_LEVEL) else {
            return Self(None);
        };
        let (kind, system) = match config.engine() {
            EngineKind::Memory => ("internal", "cachestore"),
            EngineKind::Redis => ("client", "redis"),
        };
        let (address, port) = config.server_address().unzip();
        Self(Some(Arc::new(Source {
            level,
            sites: Sites::of(level, &settings.span_target),
            kind,
            system,
            database: config.database().map(|number| number.to_string()),
            address,
            port: port.flatten().map(i64::from),
        })))
    }

    /// Whether anybody may want a span of this call.
    ///
    /// This asks no subscriber. The filters of its layers remember their answer until the next span or event, so a question
    /// without a span would spoil the next event of the application.
    pub(crate) fn may_want(&self, call: CallName) -> bool {
        self.0
            .as_deref()
            .is_some_and(|source| source.may_want(source.sites.call(call)))
    }

    /// The span of a call that begins now, if anybody wants it.
    pub(crate) fn begin(&self, call: CallName) -> Option<OpenSpan> {
        let source = self.0.as_deref()?;
        let site = source.sites.call(call);
        if !source.wants(site) {
            return None;
        }
        let span = site.open(
            Parent::Around,
            [
                Some(&source.kind),
                Some(&source.system),
                Some(&call.as_str()),
                given(&source.database),
                given(&source.address),
                given(&source.port),
            ],
        );
        let outcome = Outcome::Cancelled;
        Some(OpenSpan { span, outcome })
    }
}

impl Source {
    fn may_want(&self, site: &'static Site) -> bool {
        self.level <= LevelFilter::current() && site.is_of_interest()
    }

    /// Whether the subscriber of this thread wants a span. It has to be opened at once then.
    fn wants(&self, site: &'static Site) -> bool {
        self.may_want(site) && site.is_enabled()
    }
}

fn given<T: Value>(value: &Option<T>) -> Option<&dyn Value> {
    value.as_ref().map(|value| value as &dyn Value)
}

/// The span of a call. If it is dropped before its end, the call was cancelled.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    span: Span,
    outcome: Outcome,
}

impl OpenSpan {
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        record_end(&self.span, self.outcome);
        close(&mut self.span);
    }
}

/// Records how a span ends. It is entered for that, because exporters take the last exit for the end: the close may come
/// later, when the last child has closed. The subscriber is the application's code, and may run in an actor here.
fn record_end(span: &Span, outcome: Outcome) {
    contained(|| {
        span.in_scope(|| {
            span.record(OUTCOME, outcome.as_str());
            if outcome.is_error() {
                span.record(ERROR, outcome.as_str());
                span.record(STATUS, "ERROR");
            }
        });
    });
}

/// Drops a handle of a span, which tells the subscriber.
fn close(span: &mut Span) {
    let span = std::mem::replace(span, Span::none());
    contained(|| drop(span));
}
