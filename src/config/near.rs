//! The near cache of a store.

use std::time::Duration;

use super::refuse;
use crate::error::Result;
#[cfg(feature = "redis")]
use crate::ttl::LONGEST;

#[cfg(feature = "redis")]
const MAX_AGE: Duration = Duration::from_secs(1);

/// The near cache of a store: it answers reads of hot entries in the caller's task, without a request to the engine.
///
/// For Redis it is off by default: see [`RedisConfig::near_cache`](crate::RedisConfig::near_cache) for its promises
/// there. For the memory engine it is on by default, and all promises of the engine hold: a read that begins after a
/// write was acknowledged sees the write, and no entry is served after its TTL. It serves [`get`](crate::Store::get),
/// [`get_string`](crate::Store::get_string), [`get_model`](crate::Store::get_model),
/// [`get_shared`](crate::Store::get_shared), [`get_many`](crate::Store::get_many),
/// [`get_models`](crate::Store::get_models), [`exists`](crate::Store::exists), and the hit of a load. An entry enters
/// the near cache when it is read again. Values of more than 64 KiB do not enter it.
///
/// The near cache answers a call for up to 512 keys if it has all of them. Otherwise the engine is asked for all keys.
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
    pub(super) max_age: Option<Duration>,
}

/// The near cache is on, with the default bounds of the engine.
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
    /// Turns the near cache off: every read asks the engine.
    pub fn off() -> Self {
        Self {
            on: false,
            ..Self::default()
        }
    }

    /// Sets how many bytes the near cache may take, over zero.
    ///
    /// The default on the memory engine is 1/64 of the part of the capacity that exceeds 4 MiB, and at least 1/256 of
    /// the capacity. The default over Redis is 64 MiB.
    ///
    /// On the memory engine, the near cache shares the values with the engine. So it takes about 120 bytes for each
    /// entry, and a copy of a key that is longer than 24 bytes. These bytes count in
    /// [`MemoryConfig::capacity_bytes`](crate::MemoryConfig::capacity_bytes). Over Redis, the values take memory too.
    /// To count how often keys are read, it takes further memory there: 1/32 of this setting, from 4 KiB to 1 MiB.
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.capacity_bytes = Some(bytes);
        self
    }

    /// Sets how long the near cache over Redis may serve a value that another client has replaced, over zero. Default:
    /// 1 s.
    ///
    /// The time counts from when the last request that the server answered was sent. On an idle connection, the store
    /// sends a request twice in this time, but at most every 5 ms. The memory engine never serves an old value, and
    /// ignores this setting. A time over 100 years counts as 100 years.
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
