//! What a load is given beside its loader, and what follows from it for one value.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::Store;
use super::super::options::{Lifetime, Options, UnboundOptions as UnboundWrite};
use crate::error::{Error, Result};
use crate::load::Serving;
use crate::ttl::{LONGEST, Ttl};

/// How long a loader may take if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a call with something stale to serve waits for a load if nothing else is said.
const SOFT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a source is left alone after a failure if nothing else is said.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The most characters of a loader's error that are logged.
const LOGGED: usize = 500;

pub(super) type TtlFor<T> = Arc<dyn Fn(&T) -> Duration + Send + Sync>;
/// What of a loader's error is logged.
pub(super) type Describe = fn(&dyn Any) -> Option<String>;

/// The setters of what loads can share. `$ttl` and `$shared` are where a builder keeps it.
macro_rules! setters {
    ($this:ident, $ttl:expr, $shared:expr) => {
        /// How long a value is fresh: over zero, at most 100 years, in whole milliseconds, rounded up.
        /// The stale windows come after it. Without it, `default_ttl` holds.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().ttl(Duration::from_secs(60));
        /// ```
        pub fn ttl(mut $this, ttl: Duration) -> Self {
            $ttl = Lifetime::For(ttl);
            $this
        }

        /// Lets values be fresh until they are removed, whatever `default_ttl` says.
        ///
        /// ```
        /// let options = cachestore::LoadOptions::default().persistent();
        /// ```
        pub fn persistent(mut $this) -> Self {
            $ttl = Lifetime::Persistent;
            $this
        }

        /// For so long after its fresh time a value is served at once, while one load in the
        /// background makes a new one. Default: zero.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().stale_while_revalidate(Duration::from_secs(10));
        /// ```
        pub fn stale_while_revalidate(mut $this, window: Duration) -> Self {
            $shared.serving.revalidate = window;
            $this
        }

        /// For so long after its fresh time a value is served if no new one can be had: the loader
        /// fails, panics, or takes too long, or the engine fails. Default: zero.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().stale_if_error(Duration::from_secs(3600));
        /// ```
        pub fn stale_if_error(mut $this, window: Duration) -> Self {
            $shared.serving.on_error = window;
            $this
        }

        /// From this fraction of its fresh time on, 0 to 1, a value may be loaded anew in the
        /// background, so that nobody ever waits for a key that is in use. The nearer the end, the
        /// likelier for each call: probabilistic early expiration (XFetch; Vattani, Chierichetti,
        /// Lowenstein, VLDB 2015). Default: never.
        ///
        /// ```
        /// let options = cachestore::LoadOptions::default().refresh_ahead(0.8);
        /// ```
        pub fn refresh_ahead(mut $this, fraction: f64) -> Self {
            $shared.serving.ahead = Some(fraction);
            $this
        }

        /// How long the loader may run, and how long this call waits for it or for another's: over zero.
        /// A loader that takes longer is dropped. Default: 30 s.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().timeout(Duration::from_secs(5));
        /// ```
        pub fn timeout(mut $this, timeout: Duration) -> Self {
            $shared.timeout = timeout;
            $this
        }

        /// How long a call waits if a stale value is available: then it is served, and the load goes on.
        /// Other calls with a stale value that want the same load are then served it at once. Where nothing
        /// is stale, a call waits for [`timeout`](Self::timeout). Default: 1 s.
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = cachestore::LoadOptions::default().soft_timeout(Duration::from_millis(100));
        /// ```
        pub fn soft_timeout(mut $this, timeout: Duration) -> Self {
            $shared.soft = timeout;
            $this
        }

        /// Spreads the fresh times at random within ± this fraction, 0 to 1, so that what was
        /// loaded together does not expire together. Default: 0.
        ///
        /// ```
        /// let options = cachestore::LoadOptions::default().jitter(0.1);
        /// ```
        pub fn jitter(mut $this, fraction: f64) -> Self {
            $shared.jitter = fraction;
            $this
        }

        /// How long a failing source is left alone: for so long after a failed load, the stale value is served
        /// without asking the source again, and nothing is loaded in the background. A call with nothing stale
        /// always loads. A background load that gives nothing to store is not repeated for so long either.
        /// Zero asks each time. Default: 1 s.
        ///
        /// It holds for calls through one store. The shorter of the call's own time and that of the load that
        /// failed counts.
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

/// Options that loads share: made once, and given to any number of them.
///
/// Each has the setter of the same name on [`Load`](crate::Load) and [`LoadMany`](crate::LoadMany).
///
/// ```
/// use std::time::Duration;
/// use cachestore::LoadOptions;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
/// let patient = LoadOptions::default()
///     .ttl(Duration::from_secs(60))
///     .stale_if_error(Duration::from_secs(600));
/// let load = || async { Ok::<_, std::io::Error>(42) };
/// let answer = store.get_or_load("answer", load).options(&patient).depends_on(["question"]).await?;
/// assert_eq!(answer, 42);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until they are given to a load"]
pub struct LoadOptions {
    ttl: Lifetime,
    pub(super) serving: Serving,
    pub(super) timeout: Duration,
    pub(super) soft: Duration,
    pub(super) retry_after: Duration,
    pub(super) jitter: f64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            ttl: Lifetime::Default,
            serving: Serving::default(),
            timeout: TIMEOUT,
            soft: SOFT_TIMEOUT,
            retry_after: RETRY_AFTER,
            jitter: 0.0,
        }
    }
}

impl LoadOptions {
    setters!(self, self.ttl, self);

    /// Refuses what is out of bounds, but for the TTL, which all writes have.
    pub(super) fn check(&self) -> Result<()> {
        Ttl::checked(self.timeout)?;
        let Serving {
            revalidate,
            on_error,
            ahead,
            is_due: _,
        } = self.serving;
        for window in [revalidate, on_error, self.soft, self.retry_after] {
            if window > LONGEST {
                return Err(Error::InvalidTtl { ttl: window });
            }
        }
        for (name, fraction) in [("jitter", Some(self.jitter)), ("refresh_ahead", ahead)] {
            if fraction.is_some_and(|fraction| !(0.0..=1.0).contains(&fraction)) {
                let reason = format!("{name} is a fraction from 0 to 1");
                return Err(Error::InvalidConfig { reason });
            }
        }
        Ok(())
    }
}

/// All that one load is given beside its loader.
pub(super) struct CallOptions<'a, T> {
    pub(super) write: Options<'a>,
    pub(super) ttl_for: Option<TtlFor<T>>,
    pub(super) describe: Describe,
    /// All but the TTL, which is in `write`.
    pub(super) shared: LoadOptions,
}

/// The same without the store.
pub(super) struct UnboundOptions<T> {
    write: UnboundWrite,
    ttl_for: Option<TtlFor<T>>,
    describe: Describe,
    shared: LoadOptions,
}

impl<T> UnboundOptions<T> {
    pub(super) fn of(self, store: &Store) -> CallOptions<'_, T> {
        CallOptions {
            write: self.write.of(store),
            ttl_for: self.ttl_for,
            describe: self.describe,
            shared: self.shared,
        }
    }
}

impl<'a, T> CallOptions<'a, T> {
    pub(super) fn unbound(self) -> UnboundOptions<T> {
        UnboundOptions {
            write: self.write.unbound(),
            ttl_for: self.ttl_for,
            describe: self.describe,
            shared: self.shared,
        }
    }

    #[inline]
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            write: Options::new(store),
            ttl_for: None,
            describe: known,
            shared: LoadOptions::default(),
        }
    }

    pub(super) fn store(&self) -> &'a Store {
        self.write.store()
    }

    /// Takes options in place of all that were set before.
    pub(super) fn share(&mut self, options: &LoadOptions) {
        self.write.ttl = options.ttl;
        self.shared = options.clone();
    }
}

impl<T> fmt::Debug for CallOptions<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("write", &self.write)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

/// What is logged of errors that the library knows: texts, and those of the standard library and its own.
fn known(error: &dyn Any) -> Option<String> {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    displayed::<String>(error)
        .or_else(|| displayed::<&'static str>(error))
        .or_else(|| displayed::<Boxed>(error))
        .or_else(|| displayed::<std::io::Error>(error))
        .or_else(|| displayed::<Error>(error))
}

/// What is logged of an error that can be shown, if it is of this type.
pub(super) fn displayed<E: fmt::Display + 'static>(error: &dyn Any) -> Option<String> {
    let error = error.downcast_ref::<E>()?;
    Some(error.to_string().chars().take(LOGGED).collect())
}

/// Logs nothing of an error.
pub(super) fn hidden(_: &dyn Any) -> Option<String> {
    None
}

/// What one load is given, the same on every builder of one. `$loader` is how its loader is called.
macro_rules! load_options {
    ($builder:ident<$generic:ident>, $($loader:tt)+) => {
        impl<T, $generic> $builder<'_, T, $generic> {
            setters!(self, self.options.write.ttl, self.options.shared);

            /// Takes shared options in place of all that were set before: call it first.
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

            /// Gives each value a fresh time of its own, in place of [`ttl`](Self::ttl).
            ///
            /// Use it to keep a `None` for a shorter time. The closure runs where the loader runs. A value whose time
            /// is zero is given to the callers that wait, and is not stored. The value that was stored before stays. A
            /// time over 100 years makes the load fail with [`InvalidTtl`](crate::Error::InvalidTtl).
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

            /// Ties what is loaded to other keys, one or many, which need not exist:
            /// [`invalidate`](crate::Store::invalidate) of any of them removes it, and while it is being
            /// loaded, any change to them keeps it from being stored. Further calls add to the names.
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

            /// Logs the loader's error as its `Display` shows it, where a load fails.
            ///
            /// Without it, the log names the key, and the error if it is a text, a
            /// `Box<dyn Error + Send + Sync>`, a [`std::io::Error`] or an [`Error`](crate::Error): the library
            /// cannot show the error of a type that it does not know. See also
            /// [`hide_errors`](Self::hide_errors).
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
            /// let load = || async { Ok::<_, std::net::AddrParseError>(1) };
            /// assert_eq!(store.get_or_load("k", load).log_errors().await?, 1);
            /// # Ok(()) }
            /// ```
            pub fn log_errors<V, E, Fut>(mut self) -> Self
            where
                $generic: $($loader)+ -> Fut,
                Fut: Future<Output = std::result::Result<V, E>>,
                E: fmt::Display + 'static,
            {
                self.options.describe = displayed::<E>;
                self
            }

            /// Keeps the loader's errors out of the log, which then names the key only: for errors that tell
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
