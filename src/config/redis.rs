//! The Redis engine's configuration. What it holds may be secret: `Debug` shows none of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::Settings;
use super::settings::{at_least_one, refuse};
use super::url::{self, Address, Named};
use crate::error::Result;

const MIB: usize = 1024 * 1024;
/// More connections than this to one server are a mistake.
const MOST_CONNECTIONS: usize = 64;

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
    pub(crate) settings: Settings,
    pub(crate) options: RedisOptions,
}

/// What the engine itself needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RedisOptions {
    pub(crate) target: Target,
    pub(crate) tls: Tls,
    pub(crate) client_name: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) reconnect_min: Duration,
    pub(crate) reconnect_max: Duration,
    pub(crate) batch_commands: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) max_in_flight_bytes: usize,
    pub(crate) connections: usize,
    pub(crate) max_connection_age: Option<Duration>,
}

/// What to connect to.
#[derive(Clone)]
pub(crate) enum Target {
    Address(Address),
    Client(Arc<redis::Client>),
    Connection(Arc<MultiplexedConnection>),
}

/// Certificates in PEM form.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) ca: Option<Arc<[u8]>>,
    pub(crate) client: Option<ClientCertificate>,
}

/// What this client shows of itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub(crate) chain: Arc<[u8]>,
    pub(crate) key: Arc<[u8]>,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Target::Address(a), Target::Address(b)) => a == b,
            (Target::Client(a), Target::Client(b)) => Arc::ptr_eq(a, b),
            (Target::Connection(a), Target::Connection(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address) => {
                write!(
                    f,
                    "{:?}, tls {}, database {}",
                    address.place, address.tls, address.db
                )
            }
            Target::Client(_) => f.write_str("an existing client"),
            Target::Connection(_) => f.write_str("an existing connection"),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("private_ca", &self.ca.is_some())
            .field("client_certificate", &self.client.is_some())
            .finish()
    }
}

impl RedisOptions {
    fn new(target: Target) -> Self {
        Self {
            target,
            tls: Tls::default(),
            client_name: None,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(1),
            keep_alive: Duration::from_secs(15),
            reconnect_min: Duration::from_millis(20),
            reconnect_max: Duration::from_secs(1),
            batch_commands: 512,
            batch_bytes: MIB / 4,
            max_in_flight: 4,
            max_in_flight_bytes: 64 * MIB,
            connections: 1,
            max_connection_age: None,
        }
    }

    /// How many pipelines may be under way on one connection. Where others send too, there may be no room
    /// for one, and the next would overtake it.
    pub(crate) fn pipelines(&self) -> usize {
        match self.target {
            Target::Connection(_) => 1,
            _ => self.max_in_flight,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        at_least_one("connect_timeout", self.connect_timeout.as_nanos())?;
        at_least_one("response_timeout", self.response_timeout.as_nanos())?;
        at_least_one("keep_alive", self.keep_alive.as_secs().into())?;
        at_least_one("reconnect_backoff", self.reconnect_min.as_nanos())?;
        at_least_one("batch_commands", self.batch_commands as u128)?;
        at_least_one("batch_bytes", self.batch_bytes as u128)?;
        at_least_one("max_in_flight", self.max_in_flight as u128)?;
        at_least_one("max_in_flight_bytes", self.max_in_flight_bytes as u128)?;
        if self.max_in_flight > tokio::sync::Semaphore::MAX_PERMITS {
            return refuse("max_in_flight is too large".to_owned());
        }
        if let Some(age) = self.max_connection_age {
            at_least_one("max_connection_age", age.as_nanos())?;
        }
        if self.connections == 0 || self.connections > MOST_CONNECTIONS {
            return refuse(format!("connections must be from 1 to {MOST_CONNECTIONS}"));
        }
        if self.reconnect_max < self.reconnect_min {
            return refuse("reconnect_backoff ends below where it begins".to_owned());
        }
        let Target::Address(address) = &self.target else {
            if matches!(self.target, Target::Connection(_)) && self.connections > 1 {
                return refuse("one existing connection cannot be several connections".to_owned());
            }
            if self.tls != Tls::default() {
                return refuse("an existing client or connection brings its own TLS settings".to_owned());
            }
            return Ok(());
        };
        if self.tls != Tls::default() && !address.tls {
            return refuse("certificates are for rediss:// URLs".to_owned());
        }
        Ok(())
    }
}

impl RedisConfig {
    /// A server by its URL:
    ///
    /// * `redis://[user[:password]@]host[:port][/database]`, without TLS. Without a user, the
    ///   password is the default user's: `redis://:password@host`.
    /// * `rediss://…`, with TLS. The server's certificate and name are always verified.
    /// * `unix:///path/to/socket?db=1&user=…&pass=…`.
    ///
    /// Parameters of each: `protocol=resp3` or `resp2` (the default), `namespace`, `codec`
    /// (`messagepack` or `json`). What is not a letter or digit in a user or password is
    /// percent-encoded, as URLs have it.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if it is no such URL. The message never
    /// contains any part of it.
    pub fn new(url: &str) -> Result<Self> {
        url::redis(url).map(Self::named)
    }

    /// The server that a [`redis::Client`] knows, with all its own settings, TLS included. The engine
    /// opens connections of its own by it. Set `TCP_NODELAY` on it: the `redis` crate does not.
    #[must_use]
    pub fn from_client(client: redis::Client) -> Self {
        Self::of(Target::Client(Arc::new(client)))
    }

    /// An existing connection, shared with whoever else has it.
    ///
    /// The engine does not open it again: once it is lost, every call is
    /// [`Unavailable`](crate::Error::Unavailable). Of its own settings the response timeout does not
    /// hold here: this configuration's does. Prefer [`from_client`](Self::from_client).
    #[must_use]
    pub fn from_connection(connection: MultiplexedConnection) -> Self {
        Self::of(Target::Connection(Arc::new(connection)))
    }

    /// What a URL names.
    pub(super) fn named(named: Named<Address>) -> Self {
        let mut config = Self::of(Target::Address(named.what));
        config.settings.name(named.namespace, named.codec);
        config
    }

    fn of(target: Target) -> Self {
        Self {
            settings: Settings::default(),
            options: RedisOptions::new(target),
        }
    }

    /// How long opening a connection may take, from name resolution to the answer to a first `PING`.
    /// Over zero. Default: 2 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long the server may be silent while it owes an answer. The engine then looks twice more,
    /// each after half of this time; if there is still nothing, the connection is dropped and opened
    /// anew. So a hung connection is replaced within twice this time. It ends no call by itself:
    /// `request_timeout` does. Over zero. Default: 1 s.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.options.response_timeout = timeout;
        self
    }

    /// After how long of silence the operating system asks the other side for a sign of life, in
    /// whole seconds, at least one. Default: 15 s.
    #[must_use]
    pub fn keep_alive(mut self, idle: Duration) -> Self {
        self.options.keep_alive = idle;
        self
    }

    /// How long to wait before a connection that failed is tried again: from `min`, over zero,
    /// doubled with each failure, up to `max`; each time between half of it and all of it, at
    /// random. Default: 20 ms to 1 s. It is tried whether or not a request waits.
    #[must_use]
    pub fn reconnect_backoff(mut self, min: Duration, max: Duration) -> Self {
        self.options.reconnect_min = min;
        self.options.reconnect_max = max;
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
    /// which others may fill, it is one. Default: 4.
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

    /// After how long a connection is replaced, between two answers, over zero. Of use where a load
    /// balancer or a name's change should be followed. Default: never.
    #[must_use]
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.options.max_connection_age = Some(age);
        self
    }

    /// The name that `CLIENT LIST` shows for the connections. Default: none.
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.options.client_name = Some(name.into());
        self
    }

    /// Trusts the certificate authorities in this PEM text, and no others. Default: those of the
    /// platform.
    #[must_use]
    pub fn tls_ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.options.tls.ca = Some(Arc::from(pem.as_ref()));
        self
    }

    /// Shows the server this certificate chain, with its private key, both PEM text. Default: none.
    #[must_use]
    pub fn tls_client_pem(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let (chain, key) = (Arc::from(certificate.as_ref()), Arc::from(key.as_ref()));
        self.options.tls.client = Some(ClientCertificate { chain, key });
        self
    }
}
