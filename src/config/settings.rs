//! What every engine's configuration has in common.

use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::level_filters::LevelFilter;

use super::MIB;
use super::setting::{self, Field, GRAIN, Kind, OFF, OVER_ZERO, Setting, Text, field};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::{MAX_KEY_BYTES, Namespace};
use crate::ttl::{LONGEST, Ttl};

/// How long a close waits at least, if nothing else is set.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings that all engines share. Read them with [`Config::settings`](crate::Config::settings); set them with the
/// methods of [`Config`](crate::Config) or of an engine's own configuration.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How models are encoded. Default: [`Codec::MessagePack`].
    pub codec: Codec,
    /// How long a call may wait for the engine, at most 100 years. Default: 5 s.
    pub request_timeout: Duration,
    /// How long [`Store::close`](crate::Store::close) waits for work that has begun. Default: `None`, which is 10 s, or
    /// `request_timeout` if that is longer.
    pub close_timeout: Option<Duration>,
    /// The TTL of a write without a TTL of its own. Default: none, entries are persistent.
    pub default_ttl: Option<Duration>,
    /// The namespace that the opened store is in. Default: none, the root.
    pub namespace: Option<String>,
    /// The longest key in bytes, without its namespace. Default and maximum: 65,535.
    pub max_key_bytes: usize,
    /// The largest value in bytes. Default: 64 MiB.
    pub max_value_bytes: usize,
    /// How many requests may wait in the engine's request queue. Default: 4,096.
    pub queue_length: usize,
    /// How many bytes of requests may wait in the engine's request queue. Requests of up to 256 bytes are not counted.
    /// Default: 64 MiB.
    pub queue_bytes: usize,
    /// How many callers may wait for locks. Default: 250,000.
    pub max_lock_waiters: usize,
    /// How many callers may wait for one lock. Default: 100,000.
    pub max_lock_waiters_per_key: usize,
    /// How many loads may run at once. Default: 10,000.
    pub max_loads: usize,
    /// How many callers may wait for loads. Default: 250,000.
    pub max_load_waiters: usize,
    /// How many loaders may run at once although the engine cannot be read. Default: 0.
    pub loads_while_unavailable: usize,
    /// How many invalidations and deletes are kept while there is no connection. Default: 0.
    pub queue_invalidations: usize,
    /// Whether stored data is shared with go-cachestore. Default: no.
    pub go_compatible: bool,
    /// The level of the spans of calls and loads. Default: `DEBUG`.
    pub span_level: LevelFilter,
    /// The target of the spans of calls and loads. Default: `cachestore::calls`.
    pub span_target: String,
    /// The faults that the engine has on command.
    #[cfg(feature = "testing")]
    pub(crate) faults: Option<crate::faults::Faults>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            codec: Codec::default(),
            request_timeout: Duration::from_secs(5),
            close_timeout: None,
            default_ttl: None,
            namespace: None,
            max_key_bytes: MAX_KEY_BYTES,
            max_value_bytes: 64 * MIB,
            queue_length: 4096,
            queue_bytes: 64 * MIB,
            max_lock_waiters: 250_000,
            max_lock_waiters_per_key: 100_000,
            max_loads: 10_000,
            max_load_waiters: 250_000,
            loads_while_unavailable: 0,
            queue_invalidations: 0,
            go_compatible: false,
            span_level: LevelFilter::DEBUG,
            span_target: "cachestore::calls".to_owned(),
            #[cfg(feature = "testing")]
            faults: None,
        }
    }
}

impl Settings {
    /// How long a close waits.
    pub(crate) fn time_to_close(&self) -> Duration {
        let default = || CLOSE_TIMEOUT.max(self.request_timeout);
        self.close_timeout.unwrap_or_else(default)
    }

    /// The codec that models are really encoded with.
    pub(crate) fn model_codec(&self) -> Codec {
        if self.go_compatible {
            Codec::Json
        } else {
            self.codec
        }
    }

    /// A longer time than [`LONGEST`] counts as that: the clock cannot reckon with any.
    pub(super) fn set_request_timeout(&mut self, timeout: Duration) {
        self.request_timeout = timeout.min(LONGEST);
    }

    /// Refuses the first setting that cannot be used.
    pub(super) fn validate(&self) -> Result<()> {
        if let Some(name) = &self.namespace {
            Namespace::default().nested(name)?;
        }
        if let Some(ttl) = self.default_ttl {
            Ttl::checked(ttl)?;
        }
        setting::check(self, SHARED)
    }
}

/// The levels of spans, by the words for them.
const SPAN_LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

type Row = Setting<Settings>;

/// The settings of every engine, by their setters' names.
pub(super) static SHARED: &[Row] = &[
    Row::new(
        "codec",
        Kind::Word(
            &["messagepack", "json"],
            Field {
                get: |settings| Some((settings.codec == Codec::Json).into()),
                set: |settings, place| {
                    settings.codec = if place == 1 {
                        Codec::Json
                    } else {
                        Codec::MessagePack
                    };
                },
            },
        ),
    ),
    Row::new(
        "request_timeout",
        Kind::Time(
            GRAIN..=Duration::MAX,
            Field {
                get: |settings| Some(settings.request_timeout),
                set: Settings::set_request_timeout,
            },
        ),
    ),
    Row::new(
        "default_ttl",
        Kind::Time(OVER_ZERO..=LONGEST, field!(default_ttl?)),
    )
    .or("ttl"),
    Row::new(
        "namespace",
        Kind::Text(
            Text {
                rule: "1 to 64 of A-Z a-z 0-9 . _ - and not `cachestore`",
                holds: |name| Namespace::default().nested(name).is_ok(),
            },
            field!(namespace?),
        ),
    ),
    Row::new(
        "close_timeout",
        Kind::Time(GRAIN..=LONGEST, field!(close_timeout?)),
    ),
    Row::new(
        "max_key_bytes",
        Kind::Size(1..=MAX_KEY_BYTES, field!(max_key_bytes)),
    ),
    Row::new(
        "max_value_bytes",
        Kind::Size(1..=usize::MAX, field!(max_value_bytes)),
    ),
    Row::new(
        "queue_length",
        Kind::Number(1..=Semaphore::MAX_PERMITS, field!(queue_length)),
    ),
    Row::new("queue_bytes", Kind::Size(1..=usize::MAX, field!(queue_bytes))),
    Row::new(
        "max_lock_waiters",
        Kind::Number(1..=usize::MAX, field!(max_lock_waiters)),
    ),
    Row::new(
        "max_lock_waiters_per_key",
        Kind::Number(1..=usize::MAX, field!(max_lock_waiters_per_key)),
    ),
    Row::new("max_loads", Kind::Number(1..=usize::MAX, field!(max_loads))),
    Row::new(
        "max_load_waiters",
        Kind::Number(1..=usize::MAX, field!(max_load_waiters)),
    ),
    Row::new(
        "loads_while_unavailable",
        Kind::Number(0..=Semaphore::MAX_PERMITS, field!(loads_while_unavailable)),
    ),
    Row::new(
        "queue_invalidations",
        Kind::Number(0..=usize::MAX, field!(queue_invalidations)),
    ),
    Row::new(
        "go_compatible",
        Kind::Word(
            &["false", "true"],
            Field {
                get: |settings| Some(settings.go_compatible.into()),
                set: |settings, place| settings.go_compatible = place == 1,
            },
        ),
    ),
    Row::new(
        "span_level",
        Kind::Word(
            &[OFF, "error", "warn", "info", "debug", "trace"],
            Field {
                get: |settings| SPAN_LEVELS.iter().position(|level| *level == settings.span_level),
                set: |settings, place| settings.span_level = SPAN_LEVELS[place],
            },
        ),
    ),
    Row::new(
        "span_target",
        Kind::Text(
            Text {
                rule: "1 to 128 of A-Z a-z 0-9 _ . : -",
                holds: is_span_target,
            },
            Field {
                get: |settings| Some(settings.span_target.clone()),
                set: |settings, target| settings.span_target = target,
            },
        ),
    ),
];

/// Whether filters of subscribers can name a target.
fn is_span_target(target: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=128).contains(&target.len()) && target.bytes().all(fits)
}

pub(super) fn refuse<T>(reason: String) -> Result<T> {
    Err(Error::InvalidConfig { reason })
}

/// Setters of the shared settings, the same on every configuration type.
macro_rules! shared_settings {
    ($config:ty) => {
        impl $config {
            /// Sets how models are encoded. Default: [`Codec::MessagePack`].
            #[must_use]
            pub fn codec(mut self, codec: Codec) -> Self {
                self.settings.codec = codec;
                self
            }

            /// Sets how long a call may wait for the engine, at least 1 ms. A time over 100 years counts as 100 years.
            /// Default: 5 s.
            #[must_use]
            pub fn request_timeout(mut self, timeout: Duration) -> Self {
                self.settings.set_request_timeout(timeout);
                self
            }

            /// Sets how long [`Store::close`](crate::Store::close) waits for work that has begun: 1 ms to 100 years.
            /// Default: 10 s, or `request_timeout` if that is longer.
            #[must_use]
            pub fn close_timeout(mut self, timeout: Duration) -> Self {
                self.settings.close_timeout = Some(timeout);
                self
            }

            /// Sets the TTL of writes without a TTL of their own: over zero, at most 100 years. Default: none.
            #[must_use]
            pub fn default_ttl(mut self, ttl: Duration) -> Self {
                self.settings.default_ttl = Some(ttl);
                self
            }

            /// Sets the namespace of the opened store: 1 to 64 of `A-Z a-z 0-9 . _ -`.
            /// Default: none, the root.
            #[must_use]
            pub fn namespace(mut self, name: impl Into<String>) -> Self {
                self.settings.namespace = Some(name.into());
                self
            }

            /// Sets the longest key in bytes, without its namespace: 1 to 65,535. Default: 65,535.
            #[must_use]
            pub fn max_key_bytes(mut self, bytes: usize) -> Self {
                self.settings.max_key_bytes = bytes;
                self
            }

            /// Sets the largest value in bytes, over zero. Default: 64 MiB.
            ///
            /// A Redis server has a limit of its own, by default 512 MiB for one value. If another program wrote a
            /// value that is larger than both this setting and 64 MiB, a read of it returns
            /// [`ValueTooLarge`](crate::Error::ValueTooLarge), and the connection is replaced.
            #[must_use]
            pub fn max_value_bytes(mut self, bytes: usize) -> Self {
                self.settings.max_value_bytes = bytes;
                self
            }

            /// Sets how many requests may wait in the engine's request queue, over zero and at most 2^61 - 1. A full
            /// queue makes callers wait, up to `request_timeout`. Default: 4,096.
            #[must_use]
            pub fn queue_length(mut self, requests: usize) -> Self {
                self.settings.queue_length = requests;
                self
            }

            /// Sets how many bytes of requests may wait in the engine's request queue, over zero. Requests of up to 256
            /// bytes are not counted: `queue_length` bounds them. More than 4 GiB counts as 4 GiB. Default: 64 MiB.
            #[must_use]
            pub fn queue_bytes(mut self, bytes: usize) -> Self {
                self.settings.queue_bytes = bytes;
                self
            }

            /// Sets how many callers may wait for locks, over zero. Further callers get
            /// [`Unavailable`](crate::Error::Unavailable). Default: 250,000.
            #[must_use]
            pub fn max_lock_waiters(mut self, callers: usize) -> Self {
                self.settings.max_lock_waiters = callers;
                self
            }

            /// Sets how many callers may wait for one lock, over zero. Further callers get
            /// [`Unavailable`](crate::Error::Unavailable). Default: 100,000.
            #[must_use]
            pub fn max_lock_waiters_per_key(mut self, callers: usize) -> Self {
                self.settings.max_lock_waiters_per_key = callers;
                self
            }

            /// Sets how many loads may run at once, over zero. A caller that waits for the load of another caller or
            /// process counts in `max_load_waiters` instead. Further loads get
            /// [`Unavailable`](crate::Error::Unavailable). Default: 10,000.
            #[must_use]
            pub fn max_loads(mut self, loads: usize) -> Self {
                self.settings.max_loads = loads;
                self
            }

            /// Sets how many callers may wait for loads, over zero. Further callers get
            /// [`Unavailable`](crate::Error::Unavailable). Default: 250,000.
            #[must_use]
            pub fn max_load_waiters(mut self, callers: usize) -> Self {
                self.settings.max_load_waiters = callers;
                self
            }

            /// Sets how many loaders may run at once while the engine cannot be read, for all handles of this store
            /// together: at most 2^61 - 1. Default: 0, no loader runs then.
            ///
            /// If the read of a load ends with [`Unavailable`](crate::Error::Unavailable) or
            /// [`Timeout`](crate::Error::Timeout), the load calls its loader, and the value is returned and not stored.
            /// Callers do not share such loads. Further loads return the engine's error. Choose a number that the
            /// source can serve to all processes together.
            ///
            /// ```
            /// use cachestore::Config;
            ///
            /// let config = Config::memory().loads_while_unavailable(8);
            /// # let _ = config;
            /// ```
            #[must_use]
            pub fn loads_while_unavailable(mut self, loads: usize) -> Self {
                self.settings.loads_while_unavailable = loads;
                self
            }

            /// How many keys of failed invalidations and deletes are kept while Redis cannot be reached, to be replayed later.
            /// Default: 0, none. The memory engine does not use it.
            ///
            /// `invalidate`, `delete`, `delete_many` and `clear` are kept if they could not be sent because the connection
            /// was down, or if the connection was lost before the server answered. The call itself still ends with
            /// [`Unavailable`](crate::Error::Unavailable), [`Timeout`](crate::Error::Timeout) or
            /// [`OutcomeUnknown`](crate::Error::OutcomeUnknown). When a connection is open again, the store replays all that
            /// was kept before it reads or writes anything else, also at another primary that Sentinels name. So no
            /// later read of this store returns an entry that a kept call was to remove. The replay also removes what other
            /// processes have written to the same keys since then, which costs one miss.
            ///
            /// Each key counts once, however many calls name it. The keys take at most
            /// [`queue_bytes`](Self::queue_bytes). On overflow, the replay clears the namespace that has the most keys in
            /// the queue. **For calls of the root store, the namespace is the whole database**: open the store in a
            /// namespace if others use the database. If more than 256 namespaces are to be cleared, the replay clears all
            /// that the opened store sees.
            ///
            /// Writes, and calls that read what they remove (`take`, `update_model`), are not kept.
            /// [`Stats::queued_invalidations`](crate::Stats::queued_invalidations) tells how many keys are kept. They are in
            /// memory only: [`close`](crate::Store::close) during an outage loses them, and logs a warning with their
            /// number.
            ///
            /// ```
            /// # #[cfg(feature = "redis")] {
            /// use cachestore::RedisConfig;
            ///
            /// let config = RedisConfig::new("redis://localhost")?
            ///     .namespace("shop")
            ///     .queue_invalidations(100_000);
            /// # }
            /// # Ok::<(), cachestore::Error>(())
            /// ```
            #[must_use]
            pub fn queue_invalidations(mut self, keys: usize) -> Self {
                self.settings.queue_invalidations = keys;
                self
            }

            /// Shares stored data with go-cachestore: models are JSON whatever the codec is, and keys of values are
            /// trimmed. Names of dependencies and keys of locks are not trimmed. Default: off.
            #[must_use]
            pub fn go_compatible(mut self) -> Self {
                self.settings.go_compatible = true;
                self
            }

            /// Sets the level of the spans of calls and loads. `LevelFilter::OFF` switches them off. Default: `DEBUG`.
            ///
            /// Each call that asks the engine has a span, if a `tracing` subscriber wants spans of this level and
            /// target. See [the guide](crate::guide::observability).
            ///
            /// ```
            /// use cachestore::Config;
            ///
            /// let config = Config::memory().span_level(tracing::Level::INFO);
            /// # let _ = config;
            /// ```
            #[must_use]
            pub fn span_level(mut self, level: impl Into<tracing::level_filters::LevelFilter>) -> Self {
                self.settings.span_level = level.into();
                self
            }

            /// Sets the target of the spans of calls and loads, by which filters of subscribers choose: 1 to 128 of
            /// `A-Z a-z 0-9 _ . : -`. Default: `cachestore::calls`.
            ///
            /// `tracing` keeps each target and level for the life of the process, a few kilobytes. So choose targets
            /// from a small set.
            #[must_use]
            pub fn span_target(mut self, target: impl Into<String>) -> Self {
                self.settings.span_target = target.into();
                self
            }

            /// Lets the engine fail on command, for tests: see [`testing`](crate::testing). Default: none.
            #[cfg(feature = "testing")]
            #[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
            #[must_use]
            pub fn faults(mut self, faults: &crate::faults::Faults) -> Self {
                self.settings.faults = Some(faults.clone());
                self
            }
        }
    };
}

pub(super) use shared_settings;
