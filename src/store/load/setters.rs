//! The setters of the options of loads. They are the same on `LoadOptions` and on every builder of a load.

/// The setters of what loads can share. `$ttl` and `$shared` are where a builder keeps it.
macro_rules! setters {
    ($this:ident, $ttl:expr, $shared:expr) => {
        /// Sets how long a value is fresh: over zero, at most 100 years, in whole milliseconds, rounded up. Default:
        /// `default_ttl`.
        ///
        /// The stale windows begin when the fresh time ends.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().ttl(Duration::from_secs(60));
        /// ```
        pub fn ttl(mut $this, ttl: Duration) -> Self {
            $ttl = Lifetime::For(ttl);
            $this
        }

        /// Makes values fresh until they are removed: `default_ttl` does not apply.
        ///
        /// ```
        /// let options = cachestore::LoadOptions::default().persistent();
        /// ```
        pub fn persistent(mut $this) -> Self {
            $ttl = Lifetime::Persistent;
            $this
        }

        /// Sets for how long after its fresh time a value is served at once, while one load in the background replaces
        /// it. At most 100 years. Default: zero.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().stale_while_revalidate(Duration::from_secs(10));
        /// ```
        pub fn stale_while_revalidate(mut $this, window: Duration) -> Self {
            $shared.serving.revalidate = window;
            $this
        }

        /// Sets for how long after its fresh time a value is served if a load fails. At most 100 years. Default: zero.
        ///
        /// A load fails if the loader returns an error, panics or takes too long, or if the engine fails after the call
        /// has read the key. If the key cannot be read, there is no stale value to serve.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().stale_if_error(Duration::from_secs(3600));
        /// ```
        pub fn stale_if_error(mut $this, window: Duration) -> Self {
            $shared.serving.on_error = window;
            $this
        }

        /// Sets the fraction of the fresh time, 0 to 1, after which a call may start a load in the background. Default:
        /// never.
        ///
        /// So no caller waits for a key that is read often. The nearer the end of the fresh time, the likelier is a
        /// load: probabilistic early expiration (XFetch; Vattani, Chierichetti, Lowenstein, VLDB 2015).
        ///
        /// ```
        /// let options = cachestore::LoadOptions::default().refresh_ahead(0.8);
        /// ```
        pub fn refresh_ahead(mut $this, fraction: f64) -> Self {
            $shared.serving.ahead = Some(fraction);
            $this
        }

        /// Sets how long the loader may run, and how long this call waits for a load, its own or another caller's: over
        /// zero, at most 100 years. Default: 30 s.
        ///
        /// A loader that takes longer is dropped.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().timeout(Duration::from_secs(5));
        /// ```
        pub fn timeout(mut $this, timeout: Duration) -> Self {
            $shared.timeout = timeout;
            $this
        }

        /// Sets how long a call waits for a load if a stale value is available. At most 100 years. Default: 1 s.
        ///
        /// After that time the call returns the stale value, and the load goes on. From then on, other calls that have
        /// a stale value and wait for the same load return the stale value at once. Without a stale value, a call waits
        /// for [`timeout`](Self::timeout).
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().soft_timeout(Duration::from_millis(100));
        /// ```
        pub fn soft_timeout(mut $this, timeout: Duration) -> Self {
            $shared.soft = timeout;
            $this
        }

        /// Changes the fresh time at random by up to ± this fraction, 0 to 1. Default: 0.
        ///
        /// So values that are loaded together do not expire together.
        ///
        /// ```
        /// let options = cachestore::LoadOptions::default().jitter(0.1);
        /// ```
        pub fn jitter(mut $this, fraction: f64) -> Self {
            $shared.jitter = fraction;
            $this
        }

        /// Sets the pause after a failed load, at most 100 years. Default: 1 s. Zero sets no pause.
        ///
        /// During the pause, a stale value is served without a load, and nothing is loaded in the background. A call
        /// without a stale value always loads. A background load whose value is not stored is not repeated during the
        /// pause either.
        ///
        /// The pause holds for all handles of one store. If the call and the failed load have different pauses, the
        /// shorter one counts.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().retry_after(Duration::from_secs(30));
        /// ```
        pub fn retry_after(mut $this, pause: Duration) -> Self {
            $shared.retry_after = pause;
            $this
        }
    };
}
pub(super) use setters;

/// What one load is given, the same on every builder of one. `$marker` says how many keys its loader has.
macro_rules! load_options {
    ($builder:ident<$generic:ident>, $marker:ty) => {
        impl<T, $generic> $builder<'_, T, $generic> {
            setters!(self, self.options.write.ttl, self.options.shared);

            /// Sets shared options, and replaces all options that were set before. So call it first.
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
            /// use std::time::Duration;
            /// use cachestore::LoadOptions;
            ///
            /// let short = LoadOptions::default().ttl(Duration::from_secs(5));
            /// let load = || async { Ok::<_, std::io::Error>(1) };
            /// assert_eq!(store.get_or_load("k", load).options(&short).await?, 1);
            /// # Ok(()) }
            /// ```
            pub fn options(mut self, options: &LoadOptions) -> Self {
                self.options.share(options);
                self
            }

            /// Sets the fresh time of each value by a closure, in place of [`ttl`](Self::ttl).
            ///
            /// Use it to keep a `None` for a shorter time. The closure runs where the loader runs. A value with a time
            /// of zero is returned to the waiting callers and not stored. A value that was stored before stays. A time
            /// over 100 years makes the load fail with [`InvalidTtl`](crate::Error::InvalidTtl).
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
            /// use std::time::Duration;
            ///
            /// let load = || async { Ok::<Option<u32>, std::io::Error>(None) };
            /// let seconds = |found: &Option<u32>| Duration::from_secs(if found.is_some() { 600 } else { 10 });
            /// assert_eq!(store.get_or_load("k", load).ttl_for(seconds).await?, None);
            /// # Ok(()) }
            /// ```
            pub fn ttl_for(mut self, ttl: impl Fn(&T) -> Duration + Send + Sync + 'static) -> Self {
                self.options.ttl_for = Some(Arc::new(ttl));
                self
            }

            /// Makes the value depend on other keys, one or many: [`invalidate`](crate::Store::invalidate) of any of
            /// them removes the value.
            ///
            /// The other keys need not exist. If one of them is changed during the load, the value is not stored.
            /// Further calls add names.
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
            /// let load = || async { Ok::<_, std::io::Error>(1) };
            /// assert_eq!(store.get_or_load("k", load).depends_on(["user:1", "user:2"]).await?, 1);
            /// assert_eq!(store.invalidate("user:2").await?, 1);
            /// # Ok(()) }
            /// ```
            pub fn depends_on<M>(mut self, names: impl crate::IntoNames<M>) -> Self {
                self.options.write.depends_on(names);
                self
            }

            /// Logs the loader's error by its `Display` if a load fails.
            ///
            /// Without this option, the log names the key. It shows the error only if that is a text, a
            /// `Box<dyn Error + Send + Sync>`, a [`std::io::Error`] or an [`Error`](crate::Error), because the library
            /// cannot show unknown types. See also [`hide_errors`](Self::hide_errors).
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
            /// let load = || async { Ok::<_, std::net::AddrParseError>(1) };
            /// assert_eq!(store.get_or_load("k", load).log_errors().await?, 1);
            /// # Ok(()) }
            /// ```
            pub fn log_errors<E>(mut self) -> Self
            where
                $generic: Loader<$marker, Value = T, Error = E>,
                T: Model,
                E: fmt::Display + Send + Sync + 'static,
            {
                self.options.describe = displayed::<E>;
                self
            }

            /// Keeps the loader's errors out of the log, which then names only the key. Use it for errors that may show
            /// secrets.
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
            /// let load = || async { Ok::<_, std::io::Error>(1) };
            /// assert_eq!(store.get_or_load("k", load).hide_errors().await?, 1);
            /// # Ok(()) }
            /// ```
            pub fn hide_errors(mut self) -> Self {
                self.options.describe = hidden;
                self
            }
        }
    };
}
pub(super) use load_options;
