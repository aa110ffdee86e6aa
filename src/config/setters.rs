//! The setters of the settings that every engine has.

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

            /// Sets how many loaders may run at once while the engine cannot be read: at most 2^61 - 1. Default: 0, no
            /// loader runs then. The bound is for one opened store with its clones and namespaces, not for the process:
            /// each store that the process opens has its own.
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

            /// Sets how many keys of failed invalidations and deletes are kept while Redis cannot be reached, to be replayed later.
            /// Default: 0, none. The memory engine does not use it. [`Store::open`](crate::Store::open) refuses it over a cluster
            /// without a `hash_tag`.
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
            /// [`Stats::queued_invalidations`](crate::Stats::queued_invalidations) counts the kept keys. They are in
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

            /// Sets the target of the spans of calls and loads, for filters of subscribers: 1 to 128 of
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
