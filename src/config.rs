//! What a store is opened with: data, defaults, validation.

mod redis;
mod url;

use std::fmt;
use std::time::Duration;

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::{MAX_KEY_BYTES, Namespace};
use crate::ttl::Ttl;

pub use self::redis::RedisConfig;
pub(crate) use self::redis::{RedisOptions, Target, Tls};
use self::url::StoreUrl;
pub(crate) use self::url::{Address, Place};

/// The environment variable that [`Config::from_env`] reads.
pub(crate) const URL_VARIABLE: &str = "CACHESTORE_URL";

const MIB: usize = 1024 * 1024;

/// Which engine serves a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineKind {
    /// The embedded engine: this process only.
    Memory,
    /// A Redis or Valkey server: all processes that use it.
    Redis,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineKind::Memory => f.write_str("memory"),
            EngineKind::Redis => f.write_str("redis"),
        }
    }
}

/// The settings that every engine shares. Read them with [`Config::settings`]; set them with the
/// methods of [`Config`] or of an engine's own configuration.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How models are encoded. Default: [`Codec::MessagePack`].
    pub codec: Codec,
    /// How long a call may wait for the engine. Default: 5 s.
    pub request_timeout: Duration,
    /// The TTL of a write that names none. Default: none, entries are persistent.
    pub default_ttl: Option<Duration>,
    /// The namespace that the opened store is in. Default: none, the root.
    pub namespace: Option<String>,
    /// The longest key in bytes, trimmed, without its namespace. Default and most: 65,535.
    pub max_key_bytes: usize,
    /// The largest value in bytes. Default: 64 MiB.
    pub max_value_bytes: usize,
    /// How many requests may wait in the engine's lane. Default: 4,096.
    pub lane_length: usize,
    /// How many bytes of requests may wait in the engine's lane, small requests (up to 256 bytes)
    /// not counted. Default: 64 MiB.
    pub lane_bytes: usize,
    /// How many callers may wait for locks. Default: 250,000.
    pub lock_waiters: usize,
    /// How many callers may wait for one lock. Default: 100,000.
    pub lock_waiters_per_key: usize,
    /// How many loads may be under way. Default: 10,000.
    pub loads: usize,
    /// How many callers may wait for loads. Default: 250,000.
    pub load_waiters: usize,
    /// Whether stored data is shared with go-cachestore. Default: no.
    pub go_compatible: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            codec: Codec::default(),
            request_timeout: Duration::from_secs(5),
            default_ttl: None,
            namespace: None,
            max_key_bytes: MAX_KEY_BYTES,
            max_value_bytes: 64 * MIB,
            lane_length: 4096,
            lane_bytes: 64 * MIB,
            lock_waiters: 250_000,
            lock_waiters_per_key: 100_000,
            loads: 10_000,
            load_waiters: 250_000,
            go_compatible: false,
        }
    }
}

impl Settings {
    /// The codec that models are really encoded with.
    pub(crate) fn model_codec(&self) -> Codec {
        if self.go_compatible {
            Codec::Json
        } else {
            self.codec
        }
    }

    /// What a URL says of any store.
    fn name(&mut self, namespace: Option<String>, codec: Option<Codec>) {
        self.namespace = namespace;
        self.codec = codec.unwrap_or_default();
    }

    fn validate(&self) -> Result<()> {
        if let Some(name) = &self.namespace {
            Namespace::default().nested(name)?;
        }
        if let Some(ttl) = self.default_ttl {
            Ttl::checked(ttl)?;
        }
        at_least_one("request_timeout", self.request_timeout.as_nanos())?;
        at_least_one("max_value_bytes", self.max_value_bytes as u128)?;
        at_least_one("lane_length", self.lane_length as u128)?;
        at_least_one("lane_bytes", self.lane_bytes as u128)?;
        at_least_one(
            "lock_waiters",
            self.lock_waiters.min(self.lock_waiters_per_key) as u128,
        )?;
        at_least_one("loads", self.loads.min(self.load_waiters) as u128)?;
        if self.max_key_bytes == 0 || self.max_key_bytes > MAX_KEY_BYTES {
            return refuse(format!("max_key_bytes must be from 1 to {MAX_KEY_BYTES}"));
        }
        if self.lane_length > tokio::sync::Semaphore::MAX_PERMITS {
            return refuse("lane_length is too large".to_owned());
        }
        Ok(())
    }
}

fn refuse<T>(reason: String) -> Result<T> {
    Err(Error::InvalidConfig { reason })
}

fn at_least_one(name: &str, value: u128) -> Result<()> {
    if value == 0 {
        refuse(format!("{name} must be over zero"))
    } else {
        Ok(())
    }
}

/// Setters of the shared settings, the same on every configuration type.
macro_rules! shared_settings {
    ($config:ty) => {
        impl $config {
            /// How models are encoded. Default: [`Codec::MessagePack`].
            #[must_use]
            pub fn codec(mut self, codec: Codec) -> Self {
                self.settings.codec = codec;
                self
            }

            /// How long a call may wait for the engine, over zero. Default: 5 s.
            #[must_use]
            pub fn request_timeout(mut self, timeout: Duration) -> Self {
                self.settings.request_timeout = timeout;
                self
            }

            /// The TTL of a write that names none: over zero, at most 100 years. Default: none.
            #[must_use]
            pub fn default_ttl(mut self, ttl: Duration) -> Self {
                self.settings.default_ttl = Some(ttl);
                self
            }

            /// The namespace that the opened store is in: 1 to 64 of `A-Z a-z 0-9 . _ -`.
            /// Default: none, the root.
            #[must_use]
            pub fn namespace(mut self, name: impl Into<String>) -> Self {
                self.settings.namespace = Some(name.into());
                self
            }

            /// The longest key in bytes, trimmed, without its namespace: 1 to 65,535, the default.
            #[must_use]
            pub fn max_key_bytes(mut self, bytes: usize) -> Self {
                self.settings.max_key_bytes = bytes;
                self
            }

            /// The largest value in bytes, over zero. Default: 64 MiB.
            #[must_use]
            pub fn max_value_bytes(mut self, bytes: usize) -> Self {
                self.settings.max_value_bytes = bytes;
                self
            }

            /// How many requests may wait in the engine's lane, over zero. A full lane makes callers
            /// wait, up to `request_timeout`. Default: 4,096.
            #[must_use]
            pub fn lane_length(mut self, requests: usize) -> Self {
                self.settings.lane_length = requests;
                self
            }

            /// How many bytes of requests may wait in the engine's lane, over zero. Requests of up to
            /// 256 bytes are not counted: `lane_length` bounds them. Default: 64 MiB.
            #[must_use]
            pub fn lane_bytes(mut self, bytes: usize) -> Self {
                self.settings.lane_bytes = bytes;
                self
            }

            /// How many callers may wait for locks: in all, and for one lock. Further ones are told
            /// [`Unavailable`](crate::Error::Unavailable). Both over zero. Default: 250,000 and 100,000.
            #[must_use]
            pub fn lock_waiters(mut self, all: usize, per_key: usize) -> Self {
                self.settings.lock_waiters = all;
                self.settings.lock_waiters_per_key = per_key;
                self
            }

            /// How many loads may be under way, and how many callers may wait for them. Further ones are
            /// told [`Unavailable`](crate::Error::Unavailable). Both over zero. Default: 10,000 and
            /// 250,000.
            #[must_use]
            pub fn loads(mut self, under_way: usize, waiters: usize) -> Self {
                self.settings.loads = under_way;
                self.settings.load_waiters = waiters;
                self
            }

            /// Shares stored data with go-cachestore: models are JSON whatever the codec, and the
            /// names of dependencies are not trimmed. Default: off.
            #[must_use]
            pub fn go_compatible(mut self) -> Self {
                self.settings.go_compatible = true;
                self
            }
        }
    };
}

/// The memory engine's configuration: [`MemoryConfig::default`], then the setters.
///
/// ```
/// use cachestore::MemoryConfig;
///
/// let config = MemoryConfig::default().capacity_bytes(8 * 1024 * 1024).namespace("sessions");
/// # let _ = config;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryConfig {
    pub(crate) settings: Settings,
    pub(crate) capacity_bytes: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            capacity_bytes: 100 * MIB,
        }
    }
}

impl MemoryConfig {
    /// How much memory entries may hold, in bytes, over zero: keys, values, and all that is kept
    /// beside them. Default: 100 MiB.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.capacity_bytes = bytes;
        self
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum EngineConfig {
    Memory { capacity_bytes: usize },
    Redis(Box<RedisOptions>),
}

/// What [`Store::open`](crate::Store::open) opens: an engine and its settings.
///
/// Setters never fail; [`Store::open`](crate::Store::open) validates.
///
/// ```
/// use std::time::Duration;
/// use cachestore::{Codec, Config};
///
/// let config = Config::memory().codec(Codec::Json).default_ttl(Duration::from_secs(60));
/// # let _ = config;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub(crate) settings: Settings,
    pub(crate) engine: EngineConfig,
}

shared_settings!(Config);
shared_settings!(MemoryConfig);
shared_settings!(RedisConfig);

impl Config {
    /// The memory engine with its defaults: 100 MiB, in this process only.
    #[must_use]
    pub fn memory() -> Self {
        MemoryConfig::default().into()
    }

    /// A Redis or Valkey server by its URL, with the defaults of [`RedisConfig`]; see
    /// [`RedisConfig::new`] for the URLs.
    ///
    /// ```no_run
    /// use cachestore::{Config, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// let store = Store::open(Config::redis("redis://localhost:6379/0")?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if it is no such URL. The message never contains the URL.
    pub fn redis(url: &str) -> Result<Self> {
        RedisConfig::new(url).map(Self::from)
    }

    /// The configuration that a URL names: `memory://`, `memory://?capacity=64MiB`,
    /// `redis://localhost:6379/0` and the others of [`RedisConfig::new`].
    ///
    /// Parameters of `memory://`: `capacity`, in bytes, or with `KiB`, `MiB` or `GiB` behind the
    /// number; `namespace`; `codec`, `messagepack` or `json`.
    ///
    /// ```
    /// use cachestore::Config;
    ///
    /// assert!(Config::from_url("memory://?capacity=64MiB").is_ok());
    /// assert!(Config::from_url("memory://?capacity=lots").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if it is no such URL. The message never contains the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        let named = match url::parse(url)? {
            StoreUrl::Redis(named) => return Ok(RedisConfig::named(named).into()),
            StoreUrl::Memory(named) => named,
        };
        let mut config = MemoryConfig::default();
        if let Some(bytes) = named.what {
            config = config.capacity_bytes(bytes);
        }
        config.settings.name(named.namespace, named.codec);
        Ok(config.into())
    }

    /// The configuration that the environment names: the URL in `CACHESTORE_URL`. If it is unset or
    /// empty, the memory engine, with one warning.
    ///
    /// ```
    /// use cachestore::Config;
    ///
    /// let config = Config::from_env()?;
    /// # let _ = config;
    /// # Ok::<(), cachestore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the variable holds no URL of ours.
    pub fn from_env() -> Result<Self> {
        match std::env::var(URL_VARIABLE) {
            Ok(url) if !url.trim().is_empty() => Self::from_url(&url),
            Err(std::env::VarError::NotUnicode(_)) => refuse(format!("{URL_VARIABLE} is not Unicode")),
            _ => {
                tracing::warn!("{URL_VARIABLE} is not set: the memory engine serves this process only");
                Ok(Self::memory())
            }
        }
    }

    /// Which engine this opens.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        match self.engine {
            EngineConfig::Memory { .. } => EngineKind::Memory,
            EngineConfig::Redis(_) => EngineKind::Redis,
        }
    }

    /// The settings that every engine shares.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.settings.validate()?;
        match &self.engine {
            EngineConfig::Memory { capacity_bytes } => {
                at_least_one("capacity_bytes", *capacity_bytes as u128)
            }
            EngineConfig::Redis(options) => options.validate(),
        }
    }
}

impl From<MemoryConfig> for Config {
    fn from(config: MemoryConfig) -> Self {
        let engine = EngineConfig::Memory {
            capacity_bytes: config.capacity_bytes,
        };
        Self {
            settings: config.settings,
            engine,
        }
    }
}

impl From<RedisConfig> for Config {
    fn from(config: RedisConfig) -> Self {
        Self {
            settings: config.settings,
            engine: EngineConfig::Redis(Box::new(config.options)),
        }
    }
}
