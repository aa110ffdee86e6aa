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
use crate::load::{Answer, AnyLoader, Form, LoadError, Loaded, Made, Origin, Serving, Waiting, Work};
use crate::request::Names;
use crate::ttl::whole_millis;

/// The options of one call were checked, and this is the TTL that follows from them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    ttl: Option<Duration>,
}

/// What follows from the options of one call, once it needs more than to read.
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
    /// Refuses what is out of bounds. This is the only check of a call: a hit needs no more of its options, and stays
    /// cheap.
    pub(super) fn check(&self) -> Result<Checked> {
        let ttl = self.write.check()?;
        self.store().count(self.shared.check())?;
        Ok(Checked { ttl })
    }

    pub(super) fn plan(self, checked: Checked) -> Plan<'a, T> {
        let (store, serving) = (self.store(), self.serving());
        let Self {
            write,
            ttl_for,
            describe,
            shared,
        } = self;
        Plan {
            store,
            serving,
            describe,
            plain: store.config().settings().go_compatible,
            codec: store.codec(),
            ttl: checked.ttl,
            ttl_for,
            jitter: shared.jitter,
            names: write.names(),
            timeout: whole_millis(shared.timeout),
            soft: shared.soft,
            retry_after: shared.retry_after,
        }
    }

    /// How the call is served. In go-cachestore's form, values have no stale times.
    pub(super) fn serving(&self) -> Serving {
        if self.store().config().settings().go_compatible {
            Serving::default()
        } else {
            self.shared.serving
        }
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
            namer: self.store.namer(),
        }
    }

    /// How long a loader may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
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
        self.store.inner.loads.counters().served_stale();
        times.of(value, Origin::Stale)
    }
}

impl<T: DeserializeOwned> Plan<'_, T> {
    pub(super) fn judge(&self, entry: &Entry) -> Found<T> {
        Found::judge(entry, &self.serving, self.codec)
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
