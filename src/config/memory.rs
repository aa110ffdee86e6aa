//! The configuration of the memory engine, and the table of its settings.

use super::setting::{self, Field, Kind, Setting};
use super::{Config, EngineConfig, MIB, NearCache, Settings};
use crate::error::Result;

/// The configuration of the memory engine. Begin with [`MemoryConfig::default`], then use the setters.
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
    pub(crate) options: MemoryOptions,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            options: MemoryOptions {
                capacity_bytes: 100 * MIB,
                near_cache: NearCache::default(),
            },
        }
    }
}

impl MemoryConfig {
    /// Sets how many bytes of memory entries may take, over zero: keys, values and bookkeeping. Default: 100 MiB.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.options.capacity_bytes = bytes;
        self
    }

    /// Sets the near cache, which is on by default.
    #[must_use]
    pub fn near_cache(mut self, near_cache: NearCache) -> Self {
        self.options.near_cache = near_cache;
        self
    }
}

impl From<MemoryConfig> for Config {
    fn from(config: MemoryConfig) -> Self {
        Self {
            settings: config.settings,
            engine: EngineConfig::Memory(config.options),
        }
    }
}

/// What the memory engine is opened with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MemoryOptions {
    pub(crate) capacity_bytes: usize,
    pub(crate) near_cache: NearCache,
}

impl MemoryOptions {
    pub(super) fn validate(&self) -> Result<()> {
        setting::check(self, MEMORY)?;
        self.near_cache.validate()
    }
}

/// The settings of the memory engine, by their setters' names.
pub(super) static MEMORY: &[Setting<MemoryOptions>] = &[
    Setting::<MemoryOptions>::new(
        "capacity_bytes",
        Kind::Size(
            1..=usize::MAX,
            Field {
                get: |options| Some(options.capacity_bytes),
                set: |options, bytes| options.capacity_bytes = bytes,
            },
        ),
    )
    .or("capacity"),
    Setting::<MemoryOptions>::new(
        "near_cache",
        Kind::SizeOrOff(
            1..=usize::MAX,
            Field {
                get: |options| options.near_cache.given(),
                set: |options, bytes| options.near_cache.set(bytes),
            },
        ),
    )
    .or("near"),
];
