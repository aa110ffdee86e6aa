//! What follows from a load's options: how long its caller waits, and what it is served.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::Store;
use super::super::entry::Entry;
use super::found::{Found, Times};
use super::options::{CallOptions, Describe, TtlFor};
use super::seal::Seal;
use crate::actor::queue::until;
use crate::codec::Codec;
use crate::error::{Error, Phase, Result};
use crate::load::{
    Answer, AnyLoader, Form, LoadError, Loaded, Made, Origin, Serving, Verdict, Waiting, Work,
};
use crate::request::Names;
use crate::ttl::whole_millis;

/// The options of one call, which have been checked.
pub(super) struct Plan<'a, T> {
    pub(super) store: &'a Store,
    pub(super) serving: Serving,
    /// What is logged of a loader's error.
    pub(super) describe: Describe,
    /// Loaded values are stored without an envelope: go-cachestore's form has no place for stale times.
    plain: bool,
    codec: Codec,
    ttl: Option<Duration>,
    ttl_for: Option<TtlFor<T>>,
    jitter: f64,
    names: Names,
    timeout: Duration,
    soft: Duration,
    retry_after: Duration,
}

/// How long a call waits for loads, from when it first needs one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The deadline of the call.
    hard: Instant,
    /// The deadline when a stale value is available.
    soft: Instant,
}

impl<'a, T> CallOptions<'a, T> {
    /// The plan, if nothing of the options is to be refused. This is the only check of a call.
    pub(super) fn plan(self) -> Result<Plan<'a, T>> {
        let (store, ttl, names) = self.write.checked()?;
        let shared = self.shared;
        store.count(shared.check())?;
        let plain = store.config().settings().go_compatible;
        Ok(Plan {
            store,
            serving: if plain { Serving::default() } else { shared.serving },
            describe: self.describe,
            plain,
            codec: store.codec(),
            ttl,
            ttl_for: self.ttl_for,
            jitter: shared.jitter,
            names,
            timeout: whole_millis(shared.timeout),
            soft: shared.soft,
            retry_after: shared.retry_after,
        })
    }
}

impl<T> Plan<'_, T> {
    /// What makes stored values of what the loader gives.
    pub(super) fn seal(&self) -> Seal<T> {
        Seal {
            codec: self.codec,
            plain: self.plain,
            ttl: self.ttl,
            ttl_for: self.ttl_for.as_ref().map(Arc::clone),
            window: self.serving.window(),
            jitter: self.jitter,
            limits: self.store.limits(),
            names: self.names.clone(),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        let now = Instant::now();
        Limits {
            hard: now + self.timeout,
            soft: now + self.soft.min(self.timeout),
        }
    }

    /// The work for the coordinator, and where the loader comes back if it was not needed.
    pub(super) fn work(&self, loader: AnyLoader) -> (Work, oneshot::Receiver<AnyLoader>) {
        let (unused, back) = oneshot::channel();
        let work = Work {
            names: self.names.clone(),
            timeout: self.timeout,
            retry_after: self.retry_after,
            loader,
            unused,
        };
        (work, back)
    }

    /// Counts what a call read first as a miss if it does not serve. The engine has counted it as a hit.
    pub(super) fn count(&self, found: &Found<T>) {
        if found.is_useless() {
            self.store.inner.reads.hit_is_miss();
        }
    }

    /// A stale value that is served in place of a new one, or the reason why there is no new one.
    pub(super) fn instead<E>(
        &self,
        candidate: Option<(T, Times)>,
        failure: LoadError<E>,
    ) -> std::result::Result<Loaded<T>, LoadError<E>> {
        let (value, times) = candidate.ok_or(failure)?;
        self.store.inner.reads.miss_is_hit();
        Ok(self.stale(value, times))
    }

    pub(super) fn stale(&self, value: T, times: Times) -> Loaded<T> {
        self.store.inner.loads.counters.served_stale();
        times.of(value, Origin::Stale)
    }
}

impl<T: DeserializeOwned> Plan<'_, T> {
    /// What an entry is good for. One that does not decode counts as absent.
    pub(super) fn judge(&self, entry: &Entry) -> Found<T> {
        let (seen, verdict, times) = Times::judge(entry, &self.serving);
        let model = entry.model().filter(|_| verdict != Verdict::Gone);
        let model = model.and_then(|model| self.codec.decode(model).ok());
        Found {
            seen,
            value: model.map(|model| (model, verdict, times)),
        }
    }

    /// A value that another call's loader made.
    pub(super) fn open(&self, made: Made) -> Result<T> {
        let codec = match made.form {
            Form::Stored => self.codec,
            Form::HandedOver | Form::Unreadable => Codec::MessagePack,
        };
        let entry = Entry::opened(made.value, None);
        Ok(codec.decode(entry.model().unwrap_or_default())?)
    }
}

impl Limits {
    /// Waits for a load, less long if a stale value is available.
    pub(super) async fn wait<E>(
        &self,
        mut waiting: Waiting<'_>,
        has_candidate: bool,
    ) -> std::result::Result<Answer, LoadError<E>> {
        let limit = if has_candidate { self.soft } else { self.hard };
        let answer = until(limit, Phase::Load, async { Ok(waiting.answer().await) }).await;
        answer.map_err(|_: Error| {
            if limit < self.hard {
                waiting.let_go();
            }
            LoadError::Timeout
        })
    }
}
