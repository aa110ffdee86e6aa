//! What follows from a load's options for one value: how it is stored, judged, waited for and served.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::Store;
use super::super::entry::{Entry, model_of};
use super::options::{CallOptions, Describe, TtlFor};
use crate::codec::Codec;
use crate::error::{Cause, Error, Phase, Result};
use crate::footprint::Limits;
use crate::key::Key;
use crate::lane::until;
use crate::load::{
    Answer, Failure, Form, LoadError, Loaded, Loader, Made, Origin, Seen, Serving, Verdict, Waiting, Work,
    contained, head, jittered,
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

impl<T: Serialize + DeserializeOwned> Seal<T> {
    /// A model that took `cost` to load, as it is to be stored; and for the caller whose loader made it as others
    /// will read it, if they can.
    pub(super) fn seal(
        &self,
        key: &Key,
        model: T,
        cost: Duration,
    ) -> std::result::Result<(Made, T), Failure> {
        let fresh = self.fresh(&model).map_err(Failure::Store)?;
        let encoded = self.codec.encode(&model).map_err(Error::Encode);
        let encoded = encoded.map_err(Failure::Store)?;
        let (encoded, form, model) = match decode(self.codec, &encoded) {
            Some(model) => (encoded, Form::Stored, model),
            None => match self.hand_over(&model) {
                Some(encoded) => (encoded, Form::HandedOver, model),
                None => (Vec::new(), Form::Unreadable, model),
            },
        };
        let (value, ttl) = if self.plain {
            (Value::from(encoded), fresh)
        } else {
            let head = head(fresh, self.window, cost);
            (head.seal(&encoded), head.ttl())
        };
        let made = Made {
            stored: form == Form::Stored
                && fresh != Some(Duration::ZERO)
                && self.limits.check(key, value.len(), &self.names).is_ok(),
            value,
            form,
            fresh,
            ttl,
        };
        Ok((made, model))
    }

    /// How long a model is fresh, in whole milliseconds. Zero if it is not to be stored.
    fn fresh(&self, model: &T) -> Result<Option<Duration>> {
        let fresh = match &self.ttl_for {
            Some(ttl) => match ttl(model) {
                Duration::ZERO => return Ok(Some(Duration::ZERO)),
                ttl => Some(Ttl::checked(ttl)?),
            },
            None => self.ttl,
        };
        Ok(fresh.map(|fresh| jittered(fresh, self.jitter, rand::random())))
    }

    /// A model that the store's codec cannot read again, in a form for those who joined its load.
    fn hand_over(&self, model: &T) -> Option<Vec<u8>> {
        let encoded = Codec::MessagePack.encode(model).ok()?;
        decode::<T>(Codec::MessagePack, &encoded).map(|_| encoded)
    }
}

/// The model, unless its bytes do not decode, or its `Deserialize` panics.
fn decode<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Option<T> {
    contained(|| codec.decode(bytes).ok()).flatten()
}

/// A load whose options have been checked.
pub(super) struct Plan<'a, T> {
    pub(super) store: &'a Store,
    pub(super) seal: Seal<T>,
    pub(super) serving: Serving,
    pub(super) timeout: Duration,
    retry_after: Duration,
    soft: Duration,
    /// What of a loader's error is logged.
    pub(super) describe: Describe,
    began: Instant,
}

/// What a key holds, for a caller who wants to load it if need be.
pub(super) struct Found<T> {
    pub(super) seen: Seen,
    /// What can be served, what it is good for, and its times.
    pub(super) value: Option<(T, Verdict, Times)>,
}

/// How old a value is, and how long it stays fresh, as [`Loaded`] has them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    age: Duration,
    fresh_for: Option<Duration>,
}

impl Times {
    pub(super) fn of<T>(self, value: T, origin: Origin) -> Loaded<T> {
        Loaded {
            value,
            origin,
            age: self.age,
            fresh_for: self.fresh_for,
        }
    }

    /// Those of a value that was loaded just now, which stays fresh for so long.
    pub(super) fn new(fresh_for: Option<Duration>) -> Self {
        let age = Duration::ZERO;
        Self { age, fresh_for }
    }
}

impl<'a, T> CallOptions<'a, T> {
    /// The plan, once these have been checked.
    pub(super) fn plan(self) -> Result<Plan<'a, T>> {
        let (store, ttl, names) = self.write.checked()?;
        let shared = self.shared;
        // go-cachestore's form has no place for stale times.
        let plain = store.config().settings().go_compatible;
        Ok(Plan {
            store,
            seal: Seal {
                codec: store.codec(),
                plain,
                ttl,
                ttl_for: self.ttl_for,
                window: shared.serving.window(),
                jitter: shared.jitter,
                limits: store.limits(),
                names,
            },
            serving: if plain { Serving::default() } else { shared.serving },
            timeout: whole_millis(shared.timeout),
            retry_after: shared.retry_after,
            soft: shared.soft,
            describe: self.describe,
            began: Instant::now(),
        })
    }
}

/// What is to be made of an entry by a caller who is served so. One that cannot be decoded counts as absent.
pub(super) fn judge<T: DeserializeOwned>(entry: &Entry, serving: &Serving, codec: Codec) -> Found<T> {
    let (seen, verdict, times) = match entry {
        Entry::Absent => (Seen::Nothing, Verdict::Gone, Times::default()),
        Entry::Plain(_) => (Seen::Plain, Verdict::Fresh, Times::default()),
        Entry::Foreign => (Seen::Plain, Verdict::Gone, Times::default()),
        Entry::Loaded { head, life, .. } => {
            let times = life.map_or_else(Times::default, |life| Times {
                age: life.age,
                fresh_for: Some(life.fresh_for),
            });
            let seen = Seen::Loaded(life.map(|life| life.age));
            (seen, serving.judge(head, *life, rand::random), times)
        }
    };
    let model = entry.model().filter(|_| verdict != Verdict::Gone);
    let model = model.and_then(|model| codec.decode(model).ok());
    Found {
        seen,
        value: model.map(|model| (model, verdict, times)),
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

    /// A value that was loaded just now: `own` if this call's own loader made it.
    pub(super) fn open(&self, made: &Made, own: Option<T>) -> Result<T> {
        if let Some(own) = own {
            return Ok(own);
        }
        let codec = match made.form {
            Form::Stored => self.seal.codec,
            Form::HandedOver | Form::Unreadable => Codec::MessagePack,
        };
        Ok(codec.decode(model_of(&made.value).unwrap_or_default())?)
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
            retry_after: self.retry_after,
            loader,
            unused,
        };
        (work, back)
    }

    /// When this call has waited long enough.
    pub(super) fn limit(&self) -> Instant {
        self.began + self.timeout
    }

    /// The deadline when a stale value is available.
    pub(super) fn soft_limit(&self) -> Instant {
        self.began + self.soft.min(self.timeout)
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
        spare: Option<(T, Times)>,
        failure: LoadError<E>,
    ) -> std::result::Result<T, LoadError<E>> {
        let (value, times) = spare.ok_or(failure)?;
        Ok(self.served(value, Verdict::Spare, times).value)
    }

    /// A value that is not simply fresh, as it is served.
    pub(super) fn served(&self, value: T, verdict: Verdict, times: Times) -> Loaded<T> {
        let origin = if verdict == Verdict::FreshButDue {
            Origin::Fresh
        } else {
            self.store.inner.loads.counters.served_stale();
            if verdict == Verdict::Spare {
                self.store.inner.reads.miss_is_hit();
            }
            Origin::Stale
        };
        times.of(value, origin)
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
