//! Opening: the first call, so that the documentation shows it first.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use kameo::actor::Spawn;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::reads::Reads;
use super::{Inner, Store};
use crate::actor::queue::{Bounds, request_queue};
use crate::config::Config;
use crate::engines;
use crate::error::{Error, Result};
use crate::events::Listeners;
use crate::key::KeyMaker;
use crate::load as loading;
use crate::lock as locking;
use crate::meters::Meters;
use crate::near::near;
use crate::spans::Spans;
use crate::supervisor::{Plan, Supervisor};

impl Store {
    /// Opens a store.
    ///
    /// Open a store once, when the application starts, and clone it. On Redis, `open` connects and pings the server
    /// before it returns.
    ///
    /// ```
    /// use cachestore::{MemoryConfig, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// let store = Store::open(MemoryConfig::default().capacity_bytes(1024 * 1024)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`InvalidConfig`](crate::Error::InvalidConfig) outside a Tokio runtime, on a runtime without a timer, or if a
    ///   setting cannot be used. The message names the setting.
    /// * [`InvalidNamespace`](crate::Error::InvalidNamespace) and [`InvalidTtl`](crate::Error::InvalidTtl) for these
    ///   settings.
    /// * On Redis, [`InvalidConfig`](crate::Error::InvalidConfig) if the keys of the database have another version of the
    ///   layout, because another version of this library wrote them. The message names both versions.
    /// * On Redis, [`Unavailable`](crate::Error::Unavailable) if there is no server, [`Timeout`](crate::Error::Timeout)
    ///   if the server is silent, and [`Unauthorized`](crate::Error::Unauthorized) if the server refuses the user or
    ///   the password. The source of `Unavailable` names the server and the cause. For each of these errors, a
    ///   `tracing` warning names both.
    ///
    /// After an error, all connections of the store have ended, or `close_timeout` is over.
    ///
    /// # Cancel safety
    ///
    /// Safe: a store that is not returned is stopped.
    pub async fn open(config: impl Into<Config>) -> Result<Self> {
        Self::opening(config.into()).await
    }

    /// Opens a store. A trait object, so that the actors are compiled with this crate and not with each caller's.
    fn opening(config: Config) -> Pin<Box<dyn Future<Output = Result<Self>> + Send>> {
        Box::pin(Self::open_with(config))
    }

    async fn open_with(config: Config) -> Result<Self> {
        config.validate()?;
        let Ok(home) = Handle::try_current() else {
            return Err(unfit("a store must be opened within a Tokio runtime"));
        };
        let settings = config.settings();
        let root = config.root();
        let namespace = match &settings.namespace {
            Some(name) => root.nested(name)?,
            None => root.clone(),
        };
        let profile = engines::profile(&config);
        let meters = Meters::open(profile.kind.name());
        let spans = Spans::open(&config);
        let bounds = Bounds {
            length: settings.queue_length,
            bytes: settings.queue_bytes,
            patience: settings.request_timeout,
        };
        let (queue, receiver) = request_queue(&bounds, profile.stamp, &home);
        let (near, near_writer) = profile.near_bytes.map(near).unzip();
        let queue = queue.beside(near.clone());
        let keys = KeyMaker::new(settings.max_key_bytes, settings.go_compatible);
        let (running, ended) = watch::channel(());
        let listeners = Arc::new(Listeners::of(root));
        let (locks, lock_ends) = locking::channel(
            settings.queue_length,
            settings.request_timeout,
            home.clone(),
            spans.clone(),
        );
        let load_bounds = loading::Bounds {
            loads: settings.max_loads,
            callers: settings.max_load_waiters,
        };
        let (loads, load_ends) = loading::channel(loading::Setup {
            length: settings.queue_length,
            patience: settings.request_timeout,
            bounds: load_bounds,
            bypasses: settings.loads_while_unavailable,
            engine: queue.clone(),
            home: home.clone(),
            meters: meters.clone(),
        });
        let supervisor = Supervisor::spawn(Plan {
            config: config.clone(),
            queue: receiver,
            ended: running,
            max_value_bytes: settings.max_value_bytes,
            namespace: namespace.clone(),
            near: near_writer,
            listeners: listeners.clone(),
            sender: queue.clone(),
            engine_keeps_locks: profile.keeps_locks,
            locks: lock_ends,
            lock_bounds: locking::Bounds {
                each: settings.max_lock_waiters_per_key,
                all: settings.max_lock_waiters,
            },
            loads: load_ends,
            load_bounds,
            meters: meters.clone(),
        });
        let inner = Inner {
            queue,
            keys,
            config,
            profile,
            near,
            listeners,
            home,
            refused: AtomicU64::new(0),
            reads: Reads::default(),
            supervisor,
            ended,
            locks,
            loads,
            spans,
            #[cfg(feature = "metrics")]
            meters: meters.clone(),
        };
        let store = Self {
            inner: Arc::new(inner),
            namespace,
            looks_near: true,
            meters,
        };
        match store.ping().await {
            Err(Error::Closed) => Err(unfit("the Tokio runtime needs its timer: `enable_time`")),
            Err(error) => {
                let server = store.config().server();
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(server, %error, cause, "the store could not be opened");
                // Its connections must not act on the server after this. The error of a close that takes too long adds nothing.
                let _ = store.close().await;
                Err(error)
            }
            Ok(_) => {
                #[cfg(feature = "metrics")]
                store.publish_every_second();
                Ok(store)
            }
        }
    }
}

fn unfit(reason: &str) -> Error {
    let reason = reason.to_owned();
    Error::InvalidConfig { reason }
}
