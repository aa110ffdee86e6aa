//! What follows from a load's options for one value: how it is stored, judged, waited for and served.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::Store;
use super::super::entry::{Entry, model_of};
use super::options::{LoadOptions, TtlFor};
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
use crate::ttl::{Ttl, whole_millis};
use crate::value::Value;

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
            (head.seal(&model), head.ttl())
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

impl<'a, T> LoadOptions<'a, T> {
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

/// What is to be made of an entry by a caller who is served so. One that cannot be decoded counts as absent.
pub(super) fn judge<T: DeserializeOwned>(entry: &Entry, serving: &Serving, codec: Codec) -> Found<T> {
    let (seen, verdict, age) = match entry {
        Entry::Absent => (Seen::Nothing, Verdict::Gone, None),
        Entry::Plain(_) => (Seen::Plain, Verdict::Fresh, None),
        Entry::Foreign => (Seen::Plain, Verdict::Gone, None),
        Entry::Loaded { head, life, .. } => {
            let age = life.map(|life| life.age);
            (Seen::Loaded(age), serving.judge(head, *life, rand::random), age)
        }
    };
    let model = entry.model().filter(|_| verdict != Verdict::Gone);
    let model = model.and_then(|model| codec.decode(model).ok());
    Found {
        seen,
        value: model.map(|model| (model, verdict, age.unwrap_or_default())),
    }
}

impl<T> Found<T> {
    /// Whether the call is answered without a load.
    fn is_served(&self) -> bool {
        matches!(
            self.value,
            Some((_, Verdict::Fresh | Verdict::FreshButDue | Verdict::Stale, _))
        )
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
    /// Counts what was found as a miss if it does not serve. The engine has counted it as a hit.
    pub(super) fn count(&self, found: &Found<T>) {
        if found.seen != Seen::Nothing && !found.is_served() {
            self.store.inner.reads.hit_is_miss();
        }
    }

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

    /// A value that is not simply fresh, as it is served.
    pub(super) fn served(&self, value: T, verdict: Verdict, age: Duration) -> Loaded<T> {
        let origin = if verdict == Verdict::FreshButDue {
            Origin::Fresh
        } else {
            self.store.inner.loads.counters.served_stale();
            if verdict == Verdict::Spare {
                self.store.inner.reads.miss_is_hit();
            }
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
