//! What a store is opened with: settings, their defaults and bounds, and how text says them.

#[cfg(feature = "redis")]
mod access;
#[cfg(feature = "redis")]
mod address;
#[cfg(feature = "redis")]
mod address_map;
#[cfg(feature = "redis")]
mod cluster;
#[cfg(feature = "redis")]
mod credentials;
mod memory;
mod near;
#[cfg(feature = "redis")]
mod options;
mod query;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod sentinel;
mod setters;
mod setting;
mod settings;
#[cfg(feature = "redis")]
mod target;
#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
mod text;
#[cfg(feature = "tls")]
mod tls;
mod units;
mod url;

use std::fmt;
use std::time::Duration;

use crate::codec::Codec;
use crate::error::Result;
use crate::key::Namespace;

#[cfg(feature = "redis")]
pub(crate) use self::address::{Access, Address, Place};
#[cfg(feature = "redis")]
pub(crate) use self::cluster::Cluster;
#[cfg(feature = "redis")]
pub use self::credentials::{Credentials, IntoCredentials};
use self::memory::MEMORY;
pub use self::memory::MemoryConfig;
pub(crate) use self::memory::MemoryOptions;
pub use self::near::NearCache;
#[cfg(feature = "redis")]
pub(crate) use self::options::RedisOptions;
#[cfg(feature = "redis")]
pub use self::redis::RedisConfig;
#[cfg(feature = "redis")]
pub(crate) use self::sentinel::Sentinels;
use self::setters::shared_settings;
pub use self::settings::Settings;
use self::settings::{SHARED, refuse};
#[cfg(feature = "redis")]
pub(crate) use self::target::Target;
#[cfg(feature = "tls")]
pub(crate) use self::tls::Tls;

/// The environment variable that [`Config::from_env`] reads.
pub(crate) const URL_VARIABLE: &str = "CACHESTORE_URL";

const MIB: usize = 1024 * 1024;

/// Settings by their names, as a URL or a map gives them.
type Parameters = Vec<(String, String)>;

/// Which engine serves a store.
///
/// ```
/// use cachestore::{EngineKind, Store};
///
/// fn is_shared(store: &Store) -> bool {
///     match store.engine() {
///         EngineKind::Memory => false,
///         EngineKind::Redis => true,
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
/// # assert!(!is_shared(&Store::open(cachestore::Config::memory()).await?));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// The embedded engine: this process only.
    Memory,
    /// Redis or Valkey: all processes that use the same servers.
    Redis,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl EngineKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            EngineKind::Memory => "memory",
            EngineKind::Redis => "redis",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum EngineConfig {
    Memory(MemoryOptions),
    #[cfg(feature = "redis")]
    Redis(Box<RedisOptions>),
}

/// The configuration of a store: its engine and the settings.
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
#[cfg(feature = "redis")]
shared_settings!(RedisConfig);

impl Config {
    /// Returns a configuration of the memory engine with its defaults: 100 MiB, in this process only.
    #[must_use]
    pub fn memory() -> Self {
        MemoryConfig::default().into()
    }

    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    /// Returns a configuration of a Redis or Valkey server from its URL, or from the URL of its Sentinels or of its cluster.
    ///
    /// [`RedisConfig::new`] lists the URLs. All other settings have the defaults of [`RedisConfig`].
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
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if the text is not the URL of a Redis server, or if a parameter
    /// is unknown, given twice, or out of its bounds.
    pub fn redis(url: &str) -> Result<Self> {
        RedisConfig::new(url).map(Self::from)
    }

    /// Returns the configuration of a URL: `memory://`, `memory://?capacity=64MiB`, `redis://localhost:6379/0`, or
    /// another URL of [`RedisConfig::new`].
    ///
    /// Settings are parameters with the names of their setters: `redis://host?connections=4&ttl=5m`. Give each at most
    /// once. Percent-encode bytes that have a meaning in a URL: `%26` for `&`.
    ///
    #[doc = include_str!("config/settings.md")]
    ///
    /// ```
    /// use cachestore::Config;
    ///
    /// assert!(Config::from_url("memory://?capacity=64MiB&ttl=5s").is_ok());
    /// assert!(Config::from_url("memory://?capacity=lots").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if the text is not such a URL, if a parameter is unknown, given
    /// twice, or out of its bounds, or if the URL needs a disabled Cargo feature. The message names the setting or the
    /// feature, and repeats no other part of the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        Self::read(url, Parameters::new())
    }

    /// Returns the configuration of the URL in the environment variable `CACHESTORE_URL`.
    ///
    /// If the variable is unset or empty, it returns the memory engine and logs a warning.
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
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if the variable holds another text than a URL of
    /// [`from_url`](Self::from_url).
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

    /// Sets how many bytes of memory entries may take, over zero: keys, values and bookkeeping. Default: 100 MiB.
    ///
    /// [`Store::open`](crate::Store::open) refuses a capacity for Redis, because the server has its own `maxmemory`.
    ///
    /// ```
    /// use cachestore::Config;
    ///
    /// let config = Config::memory().capacity_bytes(8 * 1024 * 1024);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        match &mut self.engine {
            EngineConfig::Memory(options) => options.capacity_bytes = bytes,
            #[cfg(feature = "redis")]
            EngineConfig::Redis(options) => options.capacity_bytes = true,
        }
        self
    }

    /// Sets the near cache. The memory engine has one by default, Redis has none: see
    /// [`RedisConfig::near_cache`](crate::RedisConfig::near_cache).
    ///
    /// ```
    /// use cachestore::{Config, NearCache};
    ///
    /// let config = Config::memory().near_cache(NearCache::off());
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn near_cache(mut self, near_cache: NearCache) -> Self {
        match &mut self.engine {
            EngineConfig::Memory(options) => options.near_cache = near_cache,
            #[cfg(feature = "redis")]
            EngineConfig::Redis(options) => options.near_cache = near_cache,
        }
        self
    }

    /// Returns which engine this configuration opens.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        match self.engine {
            EngineConfig::Memory(_) => EngineKind::Memory,
            #[cfg(feature = "redis")]
            EngineConfig::Redis(_) => EngineKind::Redis,
        }
    }

    /// Returns the settings that all engines share.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the keys of the store are.
    pub(crate) fn root(&self) -> Namespace {
        match &self.engine {
            EngineConfig::Memory(_) => Namespace::default(),
            #[cfg(feature = "redis")]
            EngineConfig::Redis(options) => options.target.root(),
        }
    }

    /// Where the server is, if there is one.
    pub(crate) fn server(&self) -> Option<String> {
        match &self.engine {
            EngineConfig::Memory(_) => None,
            #[cfg(feature = "redis")]
            EngineConfig::Redis(options) => Some(options.target.to_string()),
        }
    }

    /// The host and the port of the one server that the configuration names, or the path of its socket. `None` if there
    /// is none, or if others name the server.
    pub(crate) fn server_address(&self) -> Option<(String, Option<u16>)> {
        match &self.engine {
            EngineConfig::Memory(_) => None,
            #[cfg(feature = "redis")]
            EngineConfig::Redis(options) => options.target.server_address(),
        }
    }

    /// The number of the database on the servers.
    pub(crate) fn database(&self) -> Option<i64> {
        match &self.engine {
            EngineConfig::Memory(_) => None,
            #[cfg(feature = "redis")]
            EngineConfig::Redis(options) => options.target.database(),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.settings.validate()?;
        match &self.engine {
            EngineConfig::Memory(options) => options.validate(),
            #[cfg(feature = "redis")]
            EngineConfig::Redis(options) => {
                options.validate()?;
                self.validate_target(&options.target)
            }
        }
    }
}

#[cfg(feature = "redis")]
impl Config {
    /// Refuses settings that stores over a cluster do not have.
    fn validate_target(&self, target: &Target) -> Result<()> {
        if !matches!(target, Target::Cluster(_)) {
            return Ok(());
        }
        if self.settings.go_compatible {
            return refuse(
                "go_compatible is not for a cluster: go-cachestore knows neither hash tags nor several nodes"
                    .to_owned(),
            );
        }
        if target.is_spread() && self.settings.queue_invalidations > 0 {
            return refuse(
                "queue_invalidations is not supported yet over a cluster without a hash_tag".to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(feature = "redis")]
impl From<RedisConfig> for Config {
    fn from(config: RedisConfig) -> Self {
        Self {
            settings: config.settings,
            engine: EngineConfig::Redis(Box::new(config.options)),
        }
    }
}
