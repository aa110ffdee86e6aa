//! What a load is given beside its loader, and what follows from it for one value.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::Store;
use super::super::options::Options;
use crate::error::{Error, Result};
use crate::load::Serving;
use crate::ttl::{LONGEST, Ttl};

/// How long a loader may take if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) type TtlFor<T> = Arc<dyn Fn(&T) -> Duration + Send + Sync>;

/// What every load can be given beside its loader.
pub(super) struct LoadOptions<'a, T> {
    pub(super) write: Options<'a>,
    pub(super) ttl_for: Option<TtlFor<T>>,
    pub(super) serving: Serving,
    pub(super) timeout: Duration,
    pub(super) soft: Option<Duration>,
    pub(super) jitter: f64,
}

impl<'a, T> LoadOptions<'a, T> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            write: Options::new(store),
            ttl_for: None,
            serving: Serving::default(),
            timeout: TIMEOUT,
            soft: None,
            jitter: 0.0,
        }
    }

    pub(super) fn store(&self) -> &'a Store {
        self.write.store()
    }

    /// Whether it matters how old a value is.
    pub(super) fn needs_age(&self) -> bool {
        self.serving.needs_age()
    }

    /// All that can be refused before anything is asked.
    pub(super) fn check(&self) -> Result<()> {
        self.write.check()?;
        let store = self.store();
        store.count(Ttl::checked(self.timeout))?;
        let windows = [self.serving.revalidate, self.serving.on_error];
        for window in windows.into_iter().chain(self.soft) {
            if window > LONGEST {
                return store.count(Err(Error::InvalidTtl { ttl: window }));
            }
        }
        let fractions = [
            ("jitter", Some(self.jitter)),
            ("refresh_ahead", self.serving.ahead),
        ];
        for (name, fraction) in fractions {
            if fraction.is_some_and(|fraction| !(0.0..=1.0).contains(&fraction)) {
                let reason = format!("{name} is a fraction from 0 to 1");
                return store.count(Err(Error::InvalidConfig { reason }));
            }
        }
        Ok(())
    }
}

impl<T> fmt::Debug for LoadOptions<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("write", &self.write)
            .field("serving", &self.serving)
            .field("timeout", &self.timeout)
            .field("soft_timeout", &self.soft)
            .field("jitter", &self.jitter)
            .finish_non_exhaustive()
    }
}

/// The options of a load, the same on every builder of one.
macro_rules! load_options {
    ($builder:ident<$($generic:ident),+>) => {
        impl<T, $($generic),+> $builder<'_, T, $($generic),+> {
            /// How long a value is fresh: over zero, at most 100 years, in whole milliseconds, rounded up.
            /// The stale windows come after it. Without it, `default_ttl` holds.
            pub fn ttl(mut self, ttl: Duration) -> Self {
                self.options.write.ttl = Lifetime::For(ttl);
                self
            }

            /// Lets values be fresh until they are removed, whatever `default_ttl` says.
            pub fn persistent(mut self) -> Self {
                self.options.write.ttl = Lifetime::Persistent;
                self
            }

            /// Gives each value a fresh time of its own, in place of [`ttl`](Self::ttl): so that a `None`,
            /// say, can be kept for less long. It is called where the loader runs. A time that is no TTL
            /// makes the load fail with [`InvalidTtl`](crate::Error::InvalidTtl).
            pub fn ttl_for(mut self, ttl: impl Fn(&T) -> Duration + Send + Sync + 'static) -> Self {
                self.options.ttl_for = Some(Arc::new(ttl));
                self
            }

            /// Ties what is loaded to other keys, one or many, which need not exist:
            /// [`invalidate`](crate::Store::invalidate) of any of them removes it, and while it is being
            /// loaded, any change to them keeps it from being stored. Further calls add to the names.
            pub fn depends_on<M>(mut self, names: impl crate::IntoNames<M>) -> Self {
                self.options.write.depends_on(names);
                self
            }

            /// For so long after its fresh time a value is served at once, while one load in the
            /// background makes a new one. Default: zero.
            pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
                self.options.serving.revalidate = window;
                self
            }

            /// For so long after its fresh time a value is served if no new one can be had: the loader
            /// fails, panics, or takes too long, or the engine fails. Default: zero.
            pub fn stale_if_error(mut self, window: Duration) -> Self {
                self.options.serving.on_error = window;
                self
            }

            /// From this fraction of its fresh time on, 0 to 1, a value may be loaded anew in the
            /// background, so that nobody ever waits for a key that is in use. The nearer the end, the
            /// likelier for each call: probabilistic early expiration (XFetch; Vattani, Chierichetti,
            /// Lowenstein, VLDB 2015). Default: never.
            pub fn refresh_ahead(mut self, fraction: f64) -> Self {
                self.options.serving.ahead = Some(fraction);
                self
            }

            /// How long the loader may run, and how long this call waits for it or for another's: over zero.
            /// A loader that takes longer is dropped. Default: 30 s.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.options.timeout = timeout;
                self
            }

            /// How long this call waits if there is a value within the stale windows: then it is served, and
            /// the load goes on. Where nothing is stale, it waits. Default: as long as
            /// [`timeout`](Self::timeout).
            pub fn soft_timeout(mut self, timeout: Duration) -> Self {
                self.options.soft = Some(timeout);
                self
            }

            /// Spreads the fresh times at random within ± this fraction, 0 to 1, so that what was
            /// loaded together does not expire together. Default: 0.
            pub fn jitter(mut self, fraction: f64) -> Self {
                self.options.jitter = fraction;
                self
            }
        }
    };
}
pub(super) use load_options;
