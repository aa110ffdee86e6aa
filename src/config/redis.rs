//! The Redis engine's configuration. What it holds may be secret: `Debug` shows none of it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::options::{REDIS, RedisOptions};
use super::setting::apply;
use super::target::Target;
#[cfg(feature = "tls")]
use super::tls::ClientCertificate;
use super::{NearCache, Parameters, Settings, url};
use crate::error::Result;

/// The configuration of the Redis engine. Begin with [`RedisConfig::new`], then use the setters.
///
/// One multiplexed connection serves all callers: requests that are made at the same time travel in one pipeline. So
/// there is no pool. These settings replace those of a pool:
///
/// | go-cachestore | here |
/// |---|---|
/// | `MaxIdleConnections`, `MaxActiveConnections` | [`connections`](Self::connections), which stay open. [`max_in_flight`](Self::max_in_flight) bounds the pipelines under way; `queue_length` and `queue_bytes` bound the requests that wait |
/// | `MaxIdleTimeout` | none: an idle connection costs nothing, and [`keep_alive`](Self::keep_alive) detects a dead one |
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
    /// Returns the configuration of a server from its URL:
    ///
    /// * `redis://[user:password@]host[:port][/database]`, without TLS. Without a user, the
    ///   password is the default user's: `redis://:password@host`. A user without a password in the URL needs
    ///   [`password`](Self::password) or [`credentials`](Self::credentials).
    /// * `rediss://…`, with TLS. It needs the Cargo feature `tls` (on by default). The server's certificate and name
    ///   are always verified.
    /// * `unix:///path/to/socket?db=1&user=…&pass=…`.
    /// * `redis-sentinel://[user:password@]s1[:port][/database]?node=s2:26379&sentinelServiceName=main`: the primary of
    ///   the service `main`, from the Sentinels `s1` and `s2`. [`sentinel`](Self::sentinel) explains the parameters.
    ///   With `rediss-sentinel://…`, both the Sentinels and the servers speak TLS.
    /// * `redis-cluster://[user:password@]n1[:port]?node=n2:7001`: the cluster that the nodes `n1` and `n2` belong to, or one
    ///   slot of it with `&hash_tag=app`; [`cluster`](Self::cluster) explains it. With `rediss-cluster://…`, the nodes speak TLS.
    ///
    /// Each URL takes `protocol=resp3` or `resp2` (the default without a near cache). Each takes the settings as
    /// parameters: `redis://host?connections=4&response_timeout=500ms`. [`Config::from_url`](crate::Config::from_url)
    /// lists them. Percent-encode everything but letters and digits in a user, a password or a parameter.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if the text is not such a URL, or if a parameter is unknown,
    /// given twice, or out of its bounds. The message names the setting, and repeats no other part of the URL.
    pub fn new(url: &str) -> Result<Self> {
        let (target, given) = url::target(url)?;
        Self::named(target, &given)
    }

    /// Returns the configuration of the server of a [`redis::Client`], with all settings of the client, TLS included.
    ///
    /// The engine opens connections of its own with the client. Set `TCP_NODELAY` on the client: the `redis` crate does
    /// not. This library's bounds for replies do not apply, because the `redis` crate reads the sockets of these
    /// connections. Prefer a URL for a server that you do not trust.
    #[must_use]
    pub fn from_client(client: redis::Client) -> Self {
        Self::of(Target::Client(Arc::new(client)))
    }

    /// Returns the configuration of an existing connection. Other clones of the connection may be in use.
    ///
    /// The engine does not open the connection again: once it is lost, every call returns
    /// [`Unavailable`](crate::Error::Unavailable). The response timeout of this configuration replaces that of the
    /// connection. Waiters for locks poll every 25 to 50 ms, because a connection for notifications cannot be opened.
    /// This library's bounds for replies do not apply, because the `redis` crate reads the socket: a reply that never
    /// ends fills the memory. Prefer a URL, or [`from_client`](Self::from_client).
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

    /// Sets how long opening a connection may take, from name resolution to the answer to a first `PING`. From 1 ms to
    /// 24 hours. Default: 2 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Sets how long the server may be silent while it owes an answer. From 1 ms to 24 hours. Default: 1 s.
    ///
    /// After this time the engine checks twice more, each time after half of it. If the server is still silent, the
    /// engine drops the connection and opens a new one. So a hung connection is replaced within twice this time. This
    /// setting does not end calls: `request_timeout` does.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.options.response_timeout = timeout;
        self
    }

    /// Sets how long a call may wait for a connection that is known to be down. At most 24 hours. Default: 1 s.
    ///
    /// The time counts from the loss of the connection, or from the call if that is later. After it, the call returns
    /// [`Unavailable`](crate::Error::Unavailable) with the cause, and was not carried out. With zero, such calls fail
    /// at once, even during the short time in which a lost connection to a living server is replaced. `request_timeout`
    /// ends calls as well.
    ///
    /// A silent server is not known to be down: see [`response_timeout`](Self::response_timeout).
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

    /// Sets after how long a silence the operating system sends a TCP keep-alive probe, in whole seconds: 1 second to 9
    /// hours. Default: 15 s.
    #[must_use]
    pub fn keep_alive(mut self, idle: Duration) -> Self {
        self.options.keep_alive = idle;
        self
    }

    /// Sets the pause before the next attempt to connect: `min` at first, doubled with each failure, up to `max`.
    /// Default: 20 ms to 1 s.
    ///
    /// Each pause is shortened at random, to not less than half. The engine tries again even if no request waits. Both
    /// are from 1 ms to 24 hours, and `max` is not below `min`. In a URL they are `reconnect_backoff_min` and
    /// `reconnect_backoff_max`.
    #[must_use]
    pub fn reconnect_backoff(mut self, min: Duration, max: Duration) -> Self {
        self.options.reconnect_backoff_min = min;
        self.options.reconnect_backoff_max = max;
        self
    }

    /// Sets the most requests in one pipeline, over zero. A request that writes many entries counts as many, and the
    /// last request may exceed the limit. Default: 512.
    #[must_use]
    pub fn batch_commands(mut self, commands: usize) -> Self {
        self.options.batch_commands = commands;
        self
    }

    /// Sets after how many bytes a pipeline ends, over zero. The request that reaches this number is the last of its
    /// pipeline. So small requests wait for at most one large value. Default: 256 KiB.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.options.batch_bytes = bytes;
        self
    }

    /// Sets the most pipelines that wait for their answers on one connection, over zero and at most 65,536. Default: 4.
    ///
    /// Requests that come meanwhile gather in the next pipeline. So a low number makes large pipelines and gives a high
    /// throughput. A high number helps if the server is far away. On an existing connection
    /// ([`from_connection`](Self::from_connection)) it is always 1, because others may use the connection.
    #[must_use]
    pub fn max_in_flight(mut self, pipelines: usize) -> Self {
        self.options.max_in_flight = pipelines;
        self
    }

    /// Sets the most bytes that are sent on one connection and not yet answered, over zero. One pipeline is always
    /// allowed. Default: 64 MiB.
    #[must_use]
    pub fn max_in_flight_bytes(mut self, bytes: usize) -> Self {
        self.options.max_in_flight_bytes = bytes;
        self
    }

    /// Sets how many connections are kept open, over all nodes of a cluster to each node: 1 to 64. Default: 1.
    ///
    /// With more than one connection, each key belongs to one of them, so that calls for one key keep their order.
    /// Several connections help if small requests would wait behind large values. For small values, one connection is
    /// faster.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.options.connections = connections;
        self
    }

    /// Sets after how long the connections are replaced, at least 10 ms. A time over 100 years counts as 100 years.
    /// Default: never.
    ///
    /// Use it to follow a load balancer or a change of a DNS name. All connections to one server are replaced together, each
    /// between two answers, including the connection for notifications.
    #[must_use]
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.options.set_max_connection_age(age);
        self
    }

    /// Sets the near cache, which answers reads of hot entries in the caller's task, without a request to the server.
    /// Default: off.
    ///
    /// The clones of one store see every acknowledged write of each other, and never an older value after a newer one.
    /// A change by another client is seen when the server's message about it is read, and after
    /// [`max_age`](NearCache::max_age) at the latest, even if the connection hangs. No value is served after its TTL.
    /// If a connection is lost, the near cache drops the entries that were read over it. Over a cluster, it also drops the
    /// entries of a node that has lost a slot or has lost the other nodes.
    ///
    /// With a near cache, the connections speak RESP3, unless the URL says `protocol=resp2`. Each connection asks the
    /// server to track the keys that it reads (`CLIENT TRACKING`). If the server refuses, every read asks the server,
    /// and one `tracing` warning reports it. The ACL user needs the rights to `CLIENT`, `MULTI`, `EXEC` and `HELLO`.
    ///
    /// It needs a URL: [`Store::open`](crate::Store::open) refuses a near cache over an existing client or connection.
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

    /// Sets the name that `CLIENT LIST` shows for the connections: 1 to 128 printable ASCII characters without spaces.
    /// Default: none.
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
    /// Sets the client certificate chain and its private key, both as PEM text. Default: none.
    #[must_use]
    pub fn tls_client_pem(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let (chain, key) = (Arc::from(certificate.as_ref()), Arc::from(key.as_ref()));
        self.options.tls.client = Some(ClientCertificate { chain, key });
        self
    }
}
