//! What a subscriber has seen on one thread. A test has one thread, and the actors of its stores run on it.
//!
//! The subscriber is the process's one and only, because what is enabled is remembered for all subscribers together.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, Once};

use cachestore::{Config, Store};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// All spans and events of the thread since it was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    spans: Vec<SpanSeen>,
    events: Vec<EventSeen>,
    /// Places in `spans` of those that are open.
    open: HashMap<Id, usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct SpanSeen {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) level: Level,
    /// The name and the place of its parent.
    pub(crate) parent: Option<(&'static str, usize)>,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// The places of the spans that it follows from.
    pub(crate) follows: Vec<usize>,
    pub(crate) is_closed: bool,
    pub(crate) place: usize,
}

impl SpanSeen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(crate) fn outcome(&self) -> Option<&str> {
        self.field("cachestore.outcome")
    }
}

#[derive(Debug, Clone)]
pub(crate) struct EventSeen {
    pub(crate) text: String,
    /// The span that it is in.
    pub(crate) span: Option<&'static str>,
}

impl Seen {
    pub(crate) fn begin() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| tracing_subscriber::registry().with(Watcher).init());
        let seen = Self::default();
        SEEN.set(Some(seen.clone()));
        seen
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn all(&self) -> Vec<SpanSeen> {
        self.state().spans.clone()
    }

    pub(crate) fn events(&self) -> Vec<EventSeen> {
        self.state().events.clone()
    }

    /// How many spans there are so far.
    pub(crate) fn mark(&self) -> usize {
        self.state().spans.len()
    }

    /// The spans of the library since a mark.
    pub(crate) fn since(&self, mark: usize) -> Vec<SpanSeen> {
        let mut spans = self.all().split_off(mark);
        spans.retain(|span| span.target == "cachestore::calls");
        spans
    }

    /// The only span of the library with this name.
    pub(crate) fn only(&self, name: &str) -> SpanSeen {
        let mut named = self.since(0);
        named.retain(|span| span.name == name);
        assert_eq!(named.len(), 1, "{name}: {named:?}");
        named.remove(0)
    }
}

struct Watcher;

fn with_state(tell: impl FnOnce(&mut State)) {
    // A thread that ends has no record any more.
    let seen = SEEN.try_with(|seen| seen.borrow().clone()).ok().flatten();
    if let Some(seen) = seen {
        tell(&mut seen.state());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Watcher {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = ctx
            .span(id)
            .and_then(|span| span.parent())
            .map(|parent| parent.id());
        with_state(|state| {
            let parent = parent.and_then(|parent| state.open.get(&parent).copied());
            let place = state.spans.len();
            state.open.insert(id.clone(), place);
            state.spans.push(SpanSeen {
                name: attributes.metadata().name(),
                target: attributes.metadata().target(),
                level: *attributes.metadata().level(),
                parent: parent.map(|place| (state.spans[place].name, place)),
                fields: fields.0,
                follows: Vec::new(),
                is_closed: false,
                place,
            });
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        with_state(|state| {
            if let Some(place) = state.open.get(id) {
                let span = &mut state.spans[*place];
                for (name, value) in fields.0 {
                    assert!(
                        span.fields.insert(name, value).is_none(),
                        "{name} is recorded once"
                    );
                }
            }
        });
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        with_state(|state| {
            let follows = state.open.get(follows).copied();
            if let (Some(place), Some(follows)) = (state.open.get(id), follows) {
                state.spans[*place].follows.push(follows);
            }
        });
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = ctx.event_span(event).map(|span| span.name());
        with_state(|state| {
            state.events.push(EventSeen {
                text: format!("{:?}", fields.0),
                span,
            });
        });
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        with_state(|state| {
            if let Some(place) = state.open.remove(&id) {
                state.spans[place].is_closed = true;
            }
        });
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// A store of one engine, and what it stands on.
pub(crate) struct World {
    pub(crate) store: Store,
    /// The fields of each call's span that are known from its begin, without the name of the call.
    pub(crate) fields: BTreeMap<&'static str, String>,
    #[cfg(feature = "redis")]
    _server: Option<crate::harness::RedisServer>,
}

fn fields<const N: usize>(fields: [(&'static str, &str); N]) -> BTreeMap<&'static str, String> {
    fields
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

impl World {
    /// Without a near cache: every read asks the engine.
    pub(crate) async fn memory() -> Self {
        let config = Config::memory().near_cache(cachestore::NearCache::off());
        Self {
            store: crate::support::open(config).await,
            fields: fields([("otel.kind", "internal"), ("db.system.name", "cachestore")]),
            #[cfg(feature = "redis")]
            _server: None,
        }
    }

    #[cfg(feature = "redis")]
    pub(crate) async fn redis() -> Self {
        let (server, store) = crate::harness::opening::plain().await;
        Self {
            store,
            fields: fields([
                ("otel.kind", "client"),
                ("db.system.name", "redis"),
                ("db.namespace", "0"),
                ("server.address", "127.0.0.1"),
                ("server.port", &server.port().to_string()),
            ]),
            _server: Some(server),
        }
    }
}

/// Makes a test of a script for each engine.
macro_rules! on_both_engines {
    ($($script:ident),* $(,)?) => {
        mod memory {
            $(
                #[tokio::test(start_paused = true)]
                async fn $script() {
                    let seen = crate::seen::Seen::begin();
                    super::$script(crate::seen::World::memory().await, seen).await;
                }
            )*
        }

        #[cfg(feature = "redis")]
        mod over_redis {
            $(
                #[tokio::test]
                async fn $script() {
                    let seen = crate::seen::Seen::begin();
                    super::$script(crate::seen::World::redis().await, seen).await;
                }
            )*
        }
    };
}

pub(crate) use on_both_engines;
