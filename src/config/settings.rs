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
    /// How many loaders of this store, its clones and its namespaces may run at once although the engine cannot be read.
    /// Default: 0.
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
