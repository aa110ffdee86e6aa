//! What a load is given beside its loader, and what follows from it for one value.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::Store;
use super::super::entry::{Entry, model_of};
use super::super::options::Options;
use crate::codec::Codec;
use crate::error::{Cause, Error, Phase, Result};
use crate::footprint::Limits;
use crate::key::Key;
use crate::lane::until;
use crate::load::{
    Answer, Failure, LoadError, Loaded, Loader, Made, Origin, Seen, Serving, Verdict, Waiting, Work, head,
    jittered,
};
use crate::request::Names;
use crate::ttl::{LONGEST, Ttl, whole_millis};
use crate::value::Value;

/// How long a loader may take if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);

type TtlFor<T> = Arc<dyn Fn(&T) -> Duration + Send + Sync>;

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

    /// The plan, once these have been checked.
    pub(super) fn plan(self) -> Result<Plan<'a, T>> {
        let (store, ttl, names) = self.write.checked()?;
        // go-cachestore's form has no place for stale times.
        let plain = store.config().settings().go_compatible;
        Ok(Plan {
            store,
            seal: Seal {
                codec: store.codec(),
                plain,
                ttl,
                ttl_for: self.ttl_for,
                window: self.serving.window(),
                jitter: self.jitter,
                limits: store.limits(),
                names,
            },
            serving: if plain { Serving::default() } else { self.serving },
            timeout: whole_millis(self.timeout),
            soft: self.soft,
            began: Instant::now(),
        })
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

            /// Ties what is loaded to other keys, which need not exist:
            /// [`invalidate`](crate::Store::invalidate) of any of them removes it, and while it is being
            /// loaded, any change to them keeps it from being stored. Further calls add to the names.
            pub fn depends_on<D: AsRef<str>>(mut self, names: impl IntoIterator<Item = D>) -> Self {
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

/// What makes a stored value of a loaded one. It goes with the loader.
pub(super) struct Seal<T> {
    codec: Codec,
    /// Without an envelope.
    plain: bool,
    ttl: Option<Duration>,
    ttl_for: Option<TtlFor<T>>,
    window: Duration,
    jitter: f64,
    limits: Limits,
    names: Names,
}

impl<T> Clone for Seal<T> {
    fn clone(&self) -> Self {
        Self {
            ttl_for: self.ttl_for.clone(),
            names: self.names.clone(),
            ..*self
        }
    }
}

impl<T: Serialize> Seal<T> {
    /// The value to be stored, which took `cost` to load.
    pub(super) fn seal(&self, key: &Key, model: &T, cost: Duration) -> std::result::Result<Made, Failure> {
        let failed = |error| Failure::Store(error);
        let fresh = match &self.ttl_for {
            Some(ttl) => Some(Ttl::checked(ttl(model)).map_err(failed)?),
            None => self.ttl,
        };
        let fresh = fresh.map(|fresh| jittered(fresh, self.jitter, rand::random()));
        let model = self
            .codec
            .encode(model)
            .map_err(|error| failed(Error::Encode(error)))?;
        let (value, ttl) = if self.plain {
            (Value::from(model), fresh)
        } else {
            let head = head(fresh, self.window, cost);
            (head.seal(&model), head.kept)
        };
        let stored = self.limits.check(key, value.len(), &self.names).is_ok();
        Ok(Made { value, ttl, stored })
    }
}

/// A load whose options have been checked.
pub(super) struct Plan<'a, T> {
    pub(super) store: &'a Store,
    pub(super) seal: Seal<T>,
    pub(super) serving: Serving,
    pub(super) timeout: Duration,
    soft: Option<Duration>,
    began: Instant,
}

/// What a key holds, for a caller who wants to load it if need be.
pub(super) struct Found<T> {
    pub(super) seen: Seen,
    /// What can be served, what it is good for, and its age.
    pub(super) value: Option<(T, Verdict, Duration)>,
}

/// What is to be made of an entry by a caller who is served so. One that cannot be decoded counts as absent.
pub(super) fn judge<T: DeserializeOwned>(entry: &Entry, serving: &Serving, codec: Codec) -> Found<T> {
    let (seen, verdict, age) = match entry {
        Entry::Absent => (Seen::Nothing, Verdict::Gone, None),
        Entry::Plain(_) => (Seen::Plain, Verdict::Fresh, None),
        Entry::Foreign => (Seen::Plain, Verdict::Gone, None),
        Entry::Loaded { head, age, .. } => {
            (Seen::Loaded(*age), serving.judge(head, *age, rand::random), *age)
        }
    };
    let model = entry.model().filter(|_| verdict != Verdict::Gone);
    let model = model.and_then(|model| codec.decode(model).ok());
    Found {
        seen,
        value: model.map(|model| (model, verdict, age.unwrap_or_default())),
    }
}

impl<T: DeserializeOwned> Plan<'_, T> {
    pub(super) fn judge(&self, entry: &Entry) -> Found<T> {
        judge(entry, &self.serving, self.seal.codec)
    }

    /// The model of a value that was loaded just now.
    pub(super) fn open(&self, value: &Value) -> Result<T> {
        Ok(self.seal.codec.decode(model_of(value).unwrap_or_default())?)
    }
}

impl<T> Plan<'_, T> {
    /// The work for the coordinator, and where the loader comes back if it was not needed.
    pub(super) fn work(&self, loader: Loader) -> (Work, oneshot::Receiver<Loader>) {
        let (unused, back) = oneshot::channel();
        let work = Work {
            names: self.seal.names.clone(),
            timeout: self.timeout,
            loader,
            unused,
        };
        (work, back)
    }

    /// When this call has waited long enough.
    pub(super) fn limit(&self) -> Instant {
        self.began + self.timeout
    }

    /// When it has if it has something else to serve.
    pub(super) fn soft_limit(&self) -> Instant {
        let soft = self.soft.unwrap_or(self.timeout);
        self.began + soft.min(self.timeout)
    }
}

impl<T> Plan<'_, T> {
    /// Waits for a load, less long if there is something else to serve.
    pub(super) async fn wait<E>(
        &self,
        mut waiting: Waiting<'_>,
        has_spare: bool,
    ) -> std::result::Result<Answer, LoadError<E>> {
        let limit = if has_spare {
            self.soft_limit()
        } else {
            self.limit()
        };
        let answer = until(limit, Phase::Load, async { Ok(waiting.answer().await) }).await;
        answer.map_err(|_| {
            if limit < self.limit() {
                waiting.let_go();
            }
            LoadError::Timeout
        })
    }

    /// A value that is to be served because there is no other, or why there is none.
    pub(super) fn instead<E>(
        &self,
        spare: Option<(T, Duration)>,
        failure: LoadError<E>,
    ) -> std::result::Result<T, LoadError<E>> {
        let (value, age) = spare.ok_or(failure)?;
        Ok(self.served(value, Verdict::Spare, age).value)
    }

    /// How many bytes of a key are its namespace.
    pub(super) fn prefix(&self) -> usize {
        self.store.namespace.prefix().len()
    }

    /// A value that is not simply fresh, as it is served.
    pub(super) fn served(&self, value: T, verdict: Verdict, age: Duration) -> Loaded<T> {
        let origin = if verdict == Verdict::FreshButDue {
            Origin::Fresh
        } else {
            self.store.inner.loads.counters.served_stale();
            Origin::Stale
        };
        Loaded { value, origin, age }
    }
}

/// A failure as its caller is told it.
pub(super) fn told<E: Send + Sync + 'static>(failure: Failure) -> LoadError<E> {
    match failure {
        Failure::Loader(error) => match error.downcast() {
            Some(error) => LoadError::Loader(error),
            None => LoadError::Store(Error::Unavailable(Cause::new(OtherError))),
        },
        Failure::Panicked => LoadError::Panicked,
        Failure::Timeout => LoadError::Timeout,
        Failure::Store(error) => LoadError::Store(error),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("another caller's loader of this key failed, with another type of error")]
struct OtherError;
