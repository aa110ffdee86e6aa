//! The near cache of a store.

use std::time::Duration;

use super::refuse;
use crate::error::Result;
#[cfg(feature = "redis")]
use crate::ttl::LONGEST;

#[cfg(feature = "redis")]
const MAX_AGE: Duration = Duration::from_secs(1);

/// The near cache of a store: entries that are read often are answered in the caller's task, without a request to the
/// engine.
///
/// Redis has none unless it is asked for one: see [`RedisConfig::near_cache`](crate::RedisConfig::near_cache) for what
/// it promises there. The memory engine has one unless it is switched off, and it answers as the engine would: a read that begins after
/// a write was acknowledged sees it, and no entry is served past its TTL. It serves
/// [`get`](crate::Store::get), [`get_string`](crate::Store::get_string), [`get_model`](crate::Store::get_model),
/// [`get_many`](crate::Store::get_many), [`get_models`](crate::Store::get_models), [`exists`](crate::Store::exists),
/// and the hit of a load. Entries become near when they are read again. Values of more than 64 KiB stay where they are.
///
/// A call for many keys is answered here if all of its keys are near, and at most 512; else the engine is asked for
/// all of them.
///
/// ```
/// use cachestore::{Config, NearCache, Store};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
/// let near = NearCache::default().capacity_bytes(4 * 1024 * 1024);
/// let store = Store::open(Config::memory().near_cache(near)).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a near cache is part of a configuration"]
pub struct NearCache {
    on: bool,
    capacity_bytes: Option<usize>,
    max_age: Option<Duration>,
}

/// On, with the engine's own bounds.
impl Default for NearCache {
    fn default() -> Self {
        Self {
            on: true,
            capacity_bytes: None,
            max_age: None,
        }
    }
}

impl NearCache {
    /// No near cache: every read asks the engine.
    pub fn off() -> Self {
        Self {
            on: false,
            ..Self::default()
        }
    }

    /// How many bytes it may take, over zero. Default: a part in 64 of what the memory engine's capacity
    /// has over 4 MiB, and at least a part in 256 of that capacity; 64 MiB over
    /// Redis.
    ///
    /// On the memory engine its entries share their values with the engine's. So it takes some 120 bytes for each,
    /// and a copy of a key that is longer than 24 bytes. They count in
    /// [`MemoryConfig::capacity_bytes`](crate::MemoryConfig::capacity_bytes). Over Redis it takes the values too. There it
    /// also counts how often keys are read: in a thirty-second part of this, and 4 KiB to 1 MiB, beside it.
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.capacity_bytes = Some(bytes);
        self
    }

    /// Over Redis, how long a value may be served after the last request that the server answered was sent, over
    /// zero. So this is the greatest age of what another client has replaced. An idle connection asks for a sign of
    /// life twice in this time, but at most every 5 ms. Default: 1 s. The memory engine never serves an old value, and
    /// takes no notice of this. A time over 100 years counts as 100 years.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The most bytes, `share` unless they are set. `None` if it is off.
    pub(crate) fn bytes_of(self, share: usize) -> Option<usize> {
        self.on.then(|| self.capacity_bytes.unwrap_or(share))
    }

    /// The greatest age of a value that the server may have replaced.
    #[cfg(feature = "redis")]
    pub(crate) fn greatest_age(self) -> Duration {
        // The engine adds it to times of the clock, which ends somewhere.
        self.max_age.unwrap_or(MAX_AGE).min(LONGEST)
    }

    /// The bytes that are set: `Some(None)` if it is off.
    pub(super) fn given(&self) -> Option<Option<usize>> {
        if self.on {
            self.capacity_bytes.map(Some)
        } else {
            Some(None)
        }
    }

    /// Sets the bytes, or switches it off.
    pub(super) fn set(&mut self, bytes: Option<usize>) {
        self.on = bytes.is_some();
        self.capacity_bytes = bytes;
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.max_age.is_some_and(|age| age.is_zero()) {
            return refuse("max_age of the near cache must be a time over zero".to_owned());
        }
        Ok(())
    }
}
