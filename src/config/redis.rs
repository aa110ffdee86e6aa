//! The Redis engine's configuration. What it holds may be secret: `Debug` shows none of it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;

#[cfg(feature = "tls")]
use super::options::ClientCertificate;
use super::options::{REDIS, RedisOptions, Target};
use super::setting::apply;
use super::{NearCache, Parameters, Settings, url};
use crate::error::Result;

/// The Redis engine's configuration: [`RedisConfig::new`], then the setters.
///
/// One multiplexed connection serves all callers: requests that are made at the same time travel in
/// one pipeline. So there is no pool, and a pool's settings have these in their place:
///
/// | go-cachestore | here |
/// |---|---|
/// | `MaxIdleConnections`, `MaxActiveConnections` | [`connections`](Self::connections): all of them are always open. How much is under way is bounded by [`max_in_flight`](Self::max_in_flight), and how much waits by `queue_length` and `queue_bytes` |
/// | `MaxIdleTimeout` | none: an idle connection costs nothing, and [`keep_alive`](Self::keep_alive) finds out if it is dead |
/// | `MaxConnectionLifetime` | [`max_connection_age`](Self::max_connection_age) |
///
/// `Debug` shows neither the password nor the user, nor a certificate or key.
///
/// ```
/// use std::time::Duration;
/// use cachestore::RedisConfig;
///
/// let config = RedisConfig::new("redis://:secret@localhost:6379/1")?
///     .response_timeout(Duration::from_millis(500))
///     .namespace("sessions");
/// assert!(!format!("{config:?}").contains("secret"));
/// # Ok::<(), cachestore::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RedisConfig {
    pub(super) settings: Settings,
    pub(super) options: RedisOptions,
}

impl RedisConfig {
    /// A server by its URL:
    ///
    /// * `redis://[user[:password]@]host[:port][/database]`, without TLS. Without a user, the
    ///   password is the default user's: `redis://:password@host`.
    /// * `rediss://…`, with TLS, which needs the Cargo feature `tls` (on by default). The server's certificate and name are always verified.
    /// * `unix:///path/to/socket?db=1&user=…&pass=…`.
    /// * `redis-sentinel://[user:password@]s1[:port][/database]?node=s2:26379&sentinelServiceName=main`: the primary of
    ///   the service `main`, which the Sentinels `s1` and `s2` know. [`sentinel`](Self::sentinel) explains the parameters.
    ///   With `rediss-sentinel://…`, both the Sentinels and the servers speak TLS.
    ///
    /// Each takes `protocol=resp3` or `resp2` (the default without a near cache), and the settings as parameters, which
    /// [`Config::from_url`](crate::Config::from_url) lists:
    /// `redis://host?connections=4&response_timeout=500ms`. Percent-encode everything but letters and
    /// digits in a user, a password or a parameter.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if it is no such URL, or if a parameter is unknown,
    /// given twice, or out of its bounds. The message names the setting, and repeats no other part of the
    /// URL.
    pub fn new(url: &str) -> Result<Self> {
        let (target, given) = url::target(url)?;
        Self::named(target, &given)
    }

    /// The server that a [`redis::Client`] knows, with all its own settings, TLS included. The engine
    /// opens connections of its own by it. Set `TCP_NODELAY` on it: the `redis` crate does not. The bounds that
    /// this library has for replies do not hold on connections of a client, because the `redis` crate reads their
    /// sockets: prefer a URL for a server that you do not trust.
    #[must_use]
    pub fn from_client(client: redis::Client) -> Self {
        Self::of(Target::Client(Arc::new(client)))
    }

    /// An existing connection, which other clones of it may share.
    ///
    /// The engine does not open it again: once it is lost, every call is
    /// [`Unavailable`](crate::Error::Unavailable). Of its own settings the response timeout does not
    /// hold here: this configuration's does. Waiters for locks poll every 25 to 50 ms, because a connection for
    /// notifications cannot be opened. The bounds that this library has for replies do not hold, because the `redis`
    /// crate reads the socket: a server that never ends a reply fills the memory. Prefer a URL, or [`from_client`](Self::from_client).
    #[must_use]
    pub fn from_connection(connection: MultiplexedConnection) -> Self {
        Self::of(Target::Connection(Arc::new(connection)))
    }

    /// What to connect to, and the settings that a URL or a map gives.
    pub(super) fn named(target: Target, given: &Parameters) -> Result<Self> {
        let mut config = Self::of(target);
        apply(given, &mut config.settings, &mut config.options, REDIS)?;
        Ok(config)
    }

    pub(super) fn of(target: Target) -> Self {
        Self {
            settings: Settings::default(),
            options: RedisOptions::new(target),
        }
    }

    /// How long opening a connection may take, from name resolution to the answer to a first `PING`.
    /// From 1 ms to 24 hours. Default: 2 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long the server may be silent while it owes an answer. The engine then looks twice more,
    /// each after half of this time; if there is still nothing, the connection is dropped and opened
    /// anew. So a hung connection is replaced within twice this time. It ends no call by itself:
    /// `request_timeout` does. From 1 ms to 24 hours. Default: 1 s.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.options.response_timeout = timeout;
        self
    }

    /// How long a call may wait for a connection that is known to be down: from the loss of the connection, or from the
    /// call if that is later. After that the call is [`Unavailable`](crate::Error::Unavailable) with the cause, and was
    /// not carried out. Zero fails such calls at once, and so also in the moment in which a lost connection to a living
    /// server is replaced. `request_timeout` ends calls as well. At most 24 hours. Default: 1 s.
    ///
    /// A server that is silent is not known to be down: [`response_timeout`](Self::response_timeout) finds out.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachestore::RedisConfig;
    ///
    /// let config = RedisConfig::new("redis://localhost")?.wait_for_connection(Duration::ZERO);
    /// # Ok::<(), cachestore::Error>(())
    /// ```
    #[must_use]
    pub fn wait_for_connection(mut self, wait: Duration) -> Self {
        self.options.wait_for_connection = wait;
        self
    }

    /// After how long of silence the operating system asks the other side for a sign of life, in
    /// whole seconds: 1 second to 9 hours, which every operating system takes. Default: 15 s.
    #[must_use]
    pub fn keep_alive(mut self, idle: Duration) -> Self {
        self.options.keep_alive = idle;
        self
    }

    /// How long to wait before a connection that failed is tried again: from `min`, doubled with each
    /// failure, up to `max`; each time between half of it and all of it, at random. It is tried whether
    /// or not a request waits. Both are from 1 ms to 24 hours, and `max` is not below `min`. In a URL they
    /// are `reconnect_backoff_min` and `reconnect_backoff_max`. Default: 20 ms to 1 s.
    #[must_use]
    pub fn reconnect_backoff(mut self, min: Duration, max: Duration) -> Self {
        self.options.reconnect_backoff_min = min;
        self.options.reconnect_backoff_max = max;
        self
    }

    /// The most requests that travel in one pipeline, over zero; one that writes many entries counts as
    /// many, and the last one may exceed this. Default: 512.
    #[must_use]
    pub fn batch_commands(mut self, commands: usize) -> Self {
        self.options.batch_commands = commands;
        self
    }

    /// After how many bytes a pipeline ends, over zero: with the request that reaches them. So small
    /// requests wait for one large value at most, not for several. Default: 256 KiB.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.options.batch_bytes = bytes;
        self
    }

    /// The most pipelines that wait for their answers on one connection, over zero. What is asked
    /// meanwhile gathers into the next pipeline, so few make large batches: high throughput; many
    /// help where the server is far away. On a connection of your own ([`from_connection`](Self::from_connection)),
    /// which others may fill, it is one. At most 65,536. Default: 4.
    #[must_use]
    pub fn max_in_flight(mut self, pipelines: usize) -> Self {
        self.options.max_in_flight = pipelines;
        self
    }

    /// The most bytes that are sent on one connection and not yet answered, over zero; one pipeline
    /// may always be. Default: 64 MiB.
    #[must_use]
    pub fn max_in_flight_bytes(mut self, bytes: usize) -> Self {
        self.options.max_in_flight_bytes = bytes;
        self
    }

    /// How many connections are kept open: 1 to 64. With more than one, each key has its connection,
    /// so that the order of calls for one key stays. It helps where large values would make small ones
    /// wait; for small ones, one connection is faster. Default: 1.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.options.connections = connections;
        self
    }

    /// After how long a connection is replaced, between two answers, at least 10 ms. All connections of a store
    /// are replaced together, the one that hears of released locks included. Of use where a load balancer or a
    /// name's change should be followed. A time over 100 years counts as 100 years. Default: never.
    #[must_use]
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.options.set_max_connection_age(age);
        self
    }

    /// The near cache: entries that are read often are answered in the caller's task, without a request to the
    /// server. Off by default.
    ///
    /// The clones of one store see every write of theirs that was acknowledged, and never an older value after a
    /// newer one. A change by another client is seen as soon as the server's message about it is read, and in any
    /// case within [`max_age`](NearCache::max_age), also if the connection hangs. No value is served past its TTL.
    /// A lost connection drops what was read over it.
    ///
    /// The engine's connections speak RESP3 then, unless the URL says `protocol=resp2`, and each asks the server to
    /// track what it reads (`CLIENT TRACKING`). If the server refuses, every read asks it as without a near cache,
    /// and a `tracing` warning says so once. The user needs the rights to `CLIENT`, `MULTI` and `EXEC`.
    ///
    /// It is for URLs alone: [`Store::open`](crate::Store::open) refuses it over an existing client or connection.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachestore::{NearCache, RedisConfig};
    ///
    /// let near = NearCache::default().capacity_bytes(64 << 20).max_age(Duration::from_secs(1));
    /// let config = RedisConfig::new("redis://localhost")?.near_cache(near);
    /// # Ok::<(), cachestore::Error>(())
    /// ```
    #[must_use]
    pub fn near_cache(mut self, near_cache: NearCache) -> Self {
        self.options.near_cache = near_cache;
        self
    }

    /// The name that `CLIENT LIST` shows for the connections: 1 to 128 printable ASCII characters without
    /// spaces, as the server takes them. Default: none.
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.options.client_name = Some(name.into());
        self
    }

    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    /// Trusts the certificate authorities in this PEM text, and no others. Default: those of the
    /// platform.
    #[must_use]
    pub fn tls_ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.options.tls.ca = Some(Arc::from(pem.as_ref()));
        self
    }

    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    /// Shows the server this certificate chain, with its private key, both PEM text. Default: none.
    #[must_use]
    pub fn tls_client_pem(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let (chain, key) = (Arc::from(certificate.as_ref()), Arc::from(key.as_ref()));
        self.options.tls.client = Some(ClientCertificate { chain, key });
        self
    }
}
