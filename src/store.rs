//! The handle: checks, encodes, sends, decodes.

// The documentation shows the groups of calls in this order.
mod open;

mod cache;

mod model;

mod load;

mod lock;

mod lifetime;

mod counter;

mod batch;

mod update;

mod scan;
mod shared;

mod near;

#[cfg(feature = "metrics")]
mod metrics;

#[cfg(feature = "redis")]
mod raw;

mod chunks;
mod entry;
mod inner;
mod namer;
mod names;
mod options;
mod reads;
mod sweep;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

pub use self::counter::Incr;
use self::inner::Inner;
pub use self::load::{
    ContextLoader, Fetched, Load, LoadContext, LoadFuture, LoadMany, LoadOptions, Loader, Model,
};
pub use self::lock::Lock;
use self::namer::Namer;
pub use self::names::{IntoNames, Many, One};
pub use self::scan::{Scan, ScanEntries};
pub use self::sweep::{Clear, Invalidate};
pub use self::update::{CompareAndSetModel, UpdateModel};
pub use self::write::{Set, SetFuture, SetIf, SetMany, Swap};
use crate::actor::queue::{Call, until};
use crate::calls::CallName;
use crate::config::{Config, EngineKind};
use crate::engine::Profile;
use crate::error::{Phase, Result};
use crate::events::Events;
use crate::key::{Key, Namespace};
use crate::meters::Meters;
use crate::request;
use crate::spans::Cause;
use crate::stats::Stats;
use crate::watch::Watch;
use crate::weigher::Limits;

/// A cache store: a cheap handle to an engine.
///
/// Clones share the engine, across tasks and threads. When the last clone is dropped, the engine carries out all
/// requests in its queue and stops.
///
/// ```
/// use std::time::Duration;
/// use cachestore::{Config, Store};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
/// let store = Store::open(Config::memory()).await?;
/// store.set("greeting", "hello").ttl(Duration::from_secs(60)).await?;
/// assert_eq!(store.get_string("greeting").await?.as_deref(), Some("hello"));
/// # Ok(()) }
/// ```
///
/// # Where to call it from
///
/// Run hot loops in a spawned task. On a multi-thread runtime, the body of `#[tokio::main]` has a thread of its own,
/// like every future that `block_on` runs. Each call that waits parks that thread, and the engine has to wake it. So a
/// `get` that the memory engine answers takes about 7 µs there, and 0.5 to 0.9 µs in a task of `tokio::spawn`.
///
/// Other runtimes than the one that opened the store, and threads without a runtime, may call it too. The timer of each
/// such runtime must be enabled (`enable_time` or `enable_all`): Tokio panics when a call sets a deadline without it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    namespace: Namespace,
    /// Whether reads look into the near cache first.
    looks_near: bool,
    /// The metrics of this handle's calls.
    meters: Meters,
}

impl Store {
    /// Returns a handle to the namespace `name`, nested in the namespace of this handle.
    ///
    /// A name has 1 to 64 characters of `A-Z a-z 0-9 . _ -`, and is not `cachestore`. Nested names have at most 1,023
    /// characters together. The handle sees its own keys only, and other namespaces cannot reach them. The root sees
    /// all keys, as `name:key`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let tenant = store.namespace("tenant-1")?;
    /// tenant.set("k", "v").await?;
    /// assert_eq!(store.get("k").await?, None);
    /// assert!(store.exists("tenant-1:k").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidNamespace`](crate::Error::InvalidNamespace) if `name` breaks these rules.
    pub fn namespace(&self, name: impl AsRef<str>) -> Result<Self> {
        let namespace = self.count(self.namespace.nested(name.as_ref()))?;
        Ok(Self {
            namespace,
            ..self.clone()
        })
    }

    /// Returns which engine serves this store.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        self.inner.profile.kind
    }

    /// Returns the configuration that the store was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Measures one round trip to the engine, and on Redis to the server: over all nodes of a cluster, to one of them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// assert!(store.ping().await? < std::time::Duration::from_secs(1));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    /// [`Closed`](crate::Error::Closed) from the engine. On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the
    /// server refuses the user or the password.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn ping(&self) -> Result<Duration> {
        let began = Instant::now();
        self.call(CallName::Ping).ask_for_long(request::Ping {}).await?;
        Ok(began.elapsed())
    }

    /// Returns the counters and sizes of the store.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("k", "v").await?;
    /// store.get("k").await?;
    /// let stats = store.stats().await?;
    /// assert_eq!((stats.entries, stats.sets, stats.hits), (Some(1), 1, 1));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    /// [`Closed`](crate::Error::Closed) from the engine.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn stats(&self) -> Result<Stats> {
        self.inner.stats(self.call(CallName::Stats)).await
    }

    /// Returns a stream of the changes in this handle's namespace, from now on.
    ///
    /// The root gets the events of all keys. A namespace gets those of its own keys, not of nested namespaces. Every
    /// listener gets events about the whole store, such as [`Event::Reset`](crate::Event::Reset).
    ///
    /// Events of one key come in the order of the changes. The engine sends the event of a change before it answers the
    /// call. (On the memory engine, `set` and `set_many` do not wait for that answer.) The engine never waits for a
    /// listener: at most [`capacity`](Events::capacity) events wait to be read. Further events are lost, and
    /// [`Event::Missed`](crate::Event::Missed) counts them. Without a listener, a change costs one check of a flag.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// use cachestore::Event;
    ///
    /// let tenant = store.namespace("tenant-1")?;
    /// let mut events = tenant.events();
    /// tenant.set("page", "text").depends_on("user:1").await?;
    /// tenant.invalidate("user:1").await?;
    /// assert_eq!(events.recv().await, Some(Event::Written { key: "page".into() }));
    /// assert_eq!(events.recv().await, Some(Event::Invalidated { key: "page".into() }));
    /// # Ok(()) }
    /// ```
    pub fn events(&self) -> Events {
        Events::new(&self.inner.listeners, &self.namespace, self.inner.home.clone())
    }

    /// Closes the store for all its handles. Every later call returns [`Error::Closed`](crate::Error::Closed). A second
    /// `close` returns `Ok`.
    ///
    /// Waits for up to `close_timeout` until all earlier calls are carried out, including [`clear`](Self::clear) and
    /// [`invalidate`](Self::invalidate).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.close().await?;
    /// assert!(matches!(store.get("k").await, Err(cachestore::Error::Closed)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Timeout`](crate::Error::Timeout) if the engine takes longer than `close_timeout`. The engine goes on closing
    /// while the runtime runs.
    ///
    /// # Cancel safety
    ///
    /// Safe: once polled, the store closes.
    pub async fn close(&self) -> Result<()> {
        let limit = Instant::now() + self.config().settings().time_to_close();
        let supervisor = &self.inner.supervisor;
        let stop = async {
            // One that has stopped already needs no telling.
            let _ = supervisor.stop_gracefully().await;
            let _ = self.inner.ended.clone().changed().await;
            Ok(())
        };
        until(limit, Phase::Reply, stop).await
    }

    /// Begins a call, which ends by `request_timeout`.
    fn call(&self, name: CallName) -> Call<'_> {
        self.inner.queue.watched_call(self.watch(name))
    }

    /// Sees a call, which tells metrics and spans.
    fn watch(&self, name: CallName) -> Watch<'_> {
        Watch::new(self.meters.calls(), &self.inner.spans, name)
    }

    /// A call as the cause of a load.
    fn cause(&self, call: &Call<'_>) -> Cause {
        self.cause_of(Some(call))
    }

    fn cause_of(&self, call: Option<&Call<'_>>) -> Cause {
        Cause::new(&self.inner.spans, call.and_then(Call::span))
    }

    /// The profile of the engine.
    fn profile(&self) -> Profile {
        self.inner.profile
    }

    /// A value's key, in this handle's namespace.
    fn key(&self, raw: &str) -> Result<Key> {
        self.count(self.inner.keys.key(&self.namespace, raw))
    }

    fn keys<K: AsRef<str>>(&self, raw: impl IntoIterator<Item = K>) -> Result<Vec<Key>> {
        raw.into_iter().map(|raw| self.key(raw.as_ref())).collect()
    }

    fn namer(&self) -> Namer {
        Namer {
            keys: self.inner.keys.clone(),
            namespace: self.namespace.clone(),
        }
    }

    /// The name of a dependency, in this handle's namespace.
    fn name(&self, raw: &str) -> Result<Key> {
        self.count(self.inner.keys.name(&self.namespace, raw))
    }

    /// Whether a value of this size may be written.
    fn check_size(&self, key: &Key, len: usize, names: &[Key]) -> Result<()> {
        self.count(self.limits().check(key, len, names))
    }

    /// Refuses what the engine has no room for, whatever `max_value_bytes` says.
    fn check_room(&self, key: &Key, len: usize) -> Result<()> {
        let limits = Limits {
            max_value_bytes: usize::MAX,
            ..self.limits()
        };
        self.count(limits.check(key, len, &[]))
    }

    fn limits(&self) -> Limits {
        Limits {
            max_value_bytes: self.inner.config.settings().max_value_bytes,
            capacity_bytes: self.inner.profile.capacity_bytes,
        }
    }

    /// Counts a refusal.
    fn count<T>(&self, checked: Result<T>) -> Result<T> {
        if checked.is_err() {
            self.inner.refused.fetch_add(1, Ordering::Relaxed);
        }
        checked
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("engine", &self.engine())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
