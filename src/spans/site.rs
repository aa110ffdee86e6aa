//! The callsites of spans. The macros of `tracing` make static ones, whose level and target are constants. Here the
//! configuration chooses both, so callsites are made when a store is opened. They live as long as the process, as
//! `tracing` requires. Stores with the same level and target share them.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Value};
use tracing::span::Id;
use tracing::{Level, Metadata, Span, dispatcher};
use tracing_core::callsite::{self, Callsite};
use tracing_core::subscriber::Interest;
use tracing_core::{Kind, metadata};

use super::{CALL_FIELDS, LOAD_FIELDS};
use crate::calls::CallName;

/// The name of the span of a load.
const LOAD: &str = "load";

const NEVER: u8 = 0;
const SOMETIMES: u8 = 1;
const ALWAYS: u8 = 2;

/// All callsites of one level and target.
#[derive(Debug)]
pub(super) struct Sites {
    level: Level,
    target: &'static str,
    calls: Vec<&'static Site>,
    pub(super) load: &'static Site,
}

/// The callsites that were made.
static MADE: Mutex<Vec<&'static Sites>> = Mutex::new(Vec::new());

impl Sites {
    pub(super) fn of(level: Level, target: &str) -> &'static Self {
        let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let made = all
            .iter()
            .find(|sites| sites.level == level && sites.target == target);
        if let Some(made) = made {
            return made;
        }
        let made: &'static Self = Box::leak(Box::new(Self::make(level, target)));
        all.push(made);
        drop(all);
        // This asks the subscribers, which are the application's code: the lock is not held.
        for site in made.calls.iter().chain([&made.load]) {
            callsite::register(*site);
        }
        made
    }

    fn make(level: Level, target: &str) -> Self {
        let target: &'static str = target.to_owned().leak();
        let call = |call: &CallName| Site::make(call.as_str(), level, target, CALL_FIELDS);
        Self {
            level,
            target,
            calls: CallName::ALL.iter().map(call).collect(),
            load: Site::make(LOAD, level, target, LOAD_FIELDS),
        }
    }

    pub(super) fn call(&self, name: CallName) -> &'static Site {
        self.calls[name as usize]
    }
}

/// One callsite.
pub(super) struct Site {
    made: OnceLock<Made>,
    /// Whether any subscriber is interested.
    interest: AtomicU8,
}

/// The metadata of a callsite refer to it, so they are made after it.
struct Made {
    metadata: Metadata<'static>,
    fields: Vec<Field>,
}

impl Site {
    fn make(
        name: &'static str,
        level: Level,
        target: &'static str,
        fields: &'static [&'static str],
    ) -> &'static Self {
        let site: &'static Self = Box::leak(Box::new(Self {
            made: OnceLock::new(),
            interest: AtomicU8::new(SOMETIMES),
        }));
        site.made.get_or_init(|| {
            let metadata = metadata! {
                name: name,
                target: target,
                level: level,
                fields: fields,
                callsite: site,
                kind: Kind::SPAN,
            };
            let fields = metadata.fields().iter().collect();
            Made { metadata, fields }
        });
        site
    }

    #[expect(clippy::expect_used, reason = "`make` sets it before it returns the site")]
    fn made(&self) -> &Made {
        self.made.get().expect("a site is made with its metadata")
    }

    /// Whether any subscriber is interested, or may be.
    pub(super) fn is_of_interest(&self) -> bool {
        self.interest.load(Ordering::Relaxed) != NEVER
    }

    /// Whether the subscriber of this thread wants a span.
    pub(super) fn is_enabled(&self) -> bool {
        match self.interest.load(Ordering::Relaxed) {
            NEVER => false,
            ALWAYS => true,
            _ => dispatcher::get_default(|dispatch| dispatch.enabled(&self.made().metadata)),
        }
    }

    /// Opens a span. The values are those of its first fields.
    pub(super) fn open<const N: usize>(
        &'static self,
        parent: Parent,
        values: [Option<&dyn Value>; N],
    ) -> Span {
        let Made { metadata, fields } = self.made();
        let values: [_; N] = std::array::from_fn(|place| (&fields[place], values[place]));
        let values = metadata.fields().value_set(&values);
        match parent {
            Parent::Around => Span::new(metadata, &values),
            Parent::None => Span::new_root(metadata, &values),
            Parent::Span(id) => Span::child_of(id, metadata, &values),
        }
    }
}

/// What a span is opened in.
pub(super) enum Parent {
    /// The span that the caller is in.
    Around,
    None,
    Span(Option<Id>),
}

impl Callsite for Site {
    fn set_interest(&self, interest: Interest) {
        let interest = match interest {
            interest if interest.is_never() => NEVER,
            interest if interest.is_always() => ALWAYS,
            _ => SOMETIMES,
        };
        self.interest.store(interest, Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        &self.made().metadata
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.made.get().map(|made| made.metadata.name());
        f.debug_tuple("Site").field(&name).finish()
    }
}
