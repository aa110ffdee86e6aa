//! The one algorithm of loads, for one key and for many: serve what is there, load what is missing, and look again
//! at what another call has loaded.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::super::entry::Entry;
use super::asked::CallerNames;
use super::bypass::load_past_engine;
use super::found::{Found, Times};
use super::loader::{Loader, Model, Own, erased};
use super::options::CallOptions;
use super::plan::{Checked, Limits, Plan};
use crate::actor::queue::Call;
use crate::error::{Cause, Error};
use crate::key::Key;
use crate::load::{
    Answer, AnyLoader, Failure, Fate, LoadError, Loaded, Made, Origin, Seen, Verdict, Waiting, Wish,
};
use crate::prehashed::Map;

/// The values of a call. A key is left out if the loader had nothing for it.
pub(super) type Values<T> = Vec<(Key, Loaded<T>)>;

/// What one call asks for: how, and with which loader.
pub(super) struct Order<'a, T, L> {
    pub(super) options: CallOptions<'a, T>,
    pub(super) names: CallerNames,
    pub(super) loader: L,
}

impl<T: Model, L> Order<'_, T, L> {
    /// Reads the keys as a part of `call`, and loads those that are missing. `aged` says that the caller is told
    /// how old its values are.
    pub(super) async fn read<M, E>(
        self,
        checked: Checked,
        mut call: Call<'_>,
        keys: Vec<Key>,
        aged: bool,
    ) -> Result<Values<T>, LoadError<E>>
    where
        L: Loader<M, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let plan = self.options.plan(checked);
        let aged = aged || plan.serving.needs_age();
        let entries = match plan.store.entries(&mut call, &keys, aged).await {
            Ok(entries) => entries,
            Err(error) => {
                let (loader, own) = erased(self.loader, self.names, &plan);
                let mut own = OwnValues::new(own);
                return Box::pin(load_past_engine(&plan, keys, loader, &mut own, error)).await;
            }
        };
        let mut findings = Findings::with_capacity(keys.len());
        for (key, entry) in keys.into_iter().zip(entries) {
            findings.add_first(&plan, key, plan.judge(&entry));
        }
        if findings.are_complete() {
            return Ok(findings.values);
        }
        let (loader, own) = erased(self.loader, self.names, &plan);
        Box::pin(load(plan, findings, loader, own)).await
    }

    /// Answers a call for one key with what the key holds, or returns what was found.
    pub(super) fn serve(&self, key: &Key, entry: &Entry) -> Result<Loaded<T>, Found<T>> {
        let store = self.options.store();
        let found = Found::judge(entry, &self.options.serving(), store.codec());
        found.served(&store.inner.loads, key)
    }

    /// Goes on with what one key holds.
    pub(super) async fn go_on<M, E>(
        self,
        checked: Checked,
        key: Key,
        found: Found<T>,
    ) -> Result<Values<T>, LoadError<E>>
    where
        L: Loader<M, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let plan = self.options.plan(checked);
        let mut findings = Findings::with_capacity(1);
        findings.add_first(&plan, key, found);
        let (loader, own) = erased(self.loader, self.names, &plan);
        load(plan, findings, loader, own).await
    }
}

/// Loads what is missing, and refreshes what is due.
async fn load<T: Model, E: Send + Sync + 'static>(
    plan: Plan<'_, T>,
    mut findings: Findings<T>,
    loader: AnyLoader,
    own: Own<T>,
) -> Result<Values<T>, LoadError<E>> {
    let mut own = OwnValues::new(own);
    let mut loader = Some(loader);
    let limits = plan.limits();
    let loads = &plan.store.inner.loads;
    while !findings.missing.is_empty() {
        let missing = std::mem::take(&mut findings.missing);
        let Some(unused) = loader.take() else {
            findings.go_without(&plan, missing)?;
            break;
        };
        let wishes: Vec<Wish> = missing.iter().map(Missing::wish).collect();
        let due = std::mem::take(&mut findings.due);
        let (work, back) = plan.work(unused);
        let again = match loads.load(wishes, due, work).await {
            Ok(waiting) => {
                let answers = missing.into_iter().zip(waiting);
                findings.wait(&plan, limits, answers, &mut own).await?
            }
            Err(error) => {
                for missing in missing {
                    findings.instead(&plan, missing, error.clone().into())?;
                }
                break;
            }
        };
        if again.is_empty() && findings.refused.is_none() {
            break;
        }
        // The loader comes back if none of its keys was loaded by it. Else it has been called.
        loader = back.await.ok();
        findings.look_again(&plan, again).await?;
        if let Some((keys, error)) = findings.refused.take() {
            let Some(unused) = loader.take() else {
                return Err(error.into());
            };
            let values = load_past_engine(&plan, keys, unused, &mut own, error).await?;
            findings.values.extend(values);
        }
    }
    if let Some(loader) = loader.filter(|_| !findings.due.is_empty()) {
        loads.refresh(findings.due, plan.work(loader).0);
    }
    Ok(findings.values)
}

/// What a call has found so far.
struct Findings<T> {
    values: Values<T>,
    /// Keys that are served and loaded anew in the background.
    due: Vec<(Key, Seen)>,
    missing: Vec<Missing<T>>,
    /// Keys for which the engine failed, without a stale value, and why.
    refused: Option<(Vec<Key>, Error)>,
}

/// A key that is to be loaded.
struct Missing<T> {
    key: Key,
    seen: Seen,
    /// A stale value, served if no new one can be had.
    candidate: Option<(T, Times)>,
    lost: Lost,
}

/// Why another call's load of a key left nothing for this call.
#[derive(Debug, Clone, Copy, Default)]
enum Lost {
    /// It failed in another process, or what it stored is gone.
    #[default]
    GivenUp,
    /// Its loader had nothing for the key.
    LeftOut,
    /// Its value does not decode.
    Unreadable,
}

impl<T> Missing<T> {
    fn wish(&self) -> Wish {
        Wish {
            key: self.key.clone(),
            seen: self.seen,
            has_candidate: self.candidate.is_some(),
        }
    }
}

impl<T> Findings<T> {
    fn with_capacity(keys: usize) -> Self {
        Self {
            values: Vec::with_capacity(keys),
            due: Vec::new(),
            missing: Vec::new(),
            refused: None,
        }
    }

    fn are_complete(&self) -> bool {
        self.due.is_empty() && self.missing.is_empty()
    }

    /// Adds what the call's first read found.
    fn add_first(&mut self, plan: &Plan<'_, T>, key: Key, found: Found<T>) {
        plan.count(&found);
        self.add(plan, key, found, Origin::Fresh, Lost::default());
    }

    /// `origin` is that of a fresh value.
    fn add(&mut self, plan: &Plan<'_, T>, key: Key, found: Found<T>, origin: Origin, lost: Lost) {
        let seen = found.seen;
        let candidate = match found.value {
            Some((value, verdict @ (Verdict::Fresh | Verdict::FreshButDue), times)) => {
                if origin == Origin::Joined {
                    plan.store.inner.loads.counters().joined();
                }
                if verdict == Verdict::FreshButDue {
                    self.add_due(plan, &key, seen);
                }
                return self.values.push((key, times.of(value, origin)));
            }
            Some((value, Verdict::Stale, times)) => {
                self.add_due(plan, &key, seen);
                return self.values.push((key, plan.stale(value, times)));
            }
            Some((value, Verdict::Candidate, times)) => Some((value, times)),
            Some((_, Verdict::Gone, _)) | None => None,
        };
        self.missing.push(Missing {
            key,
            seen,
            candidate,
            lost,
        });
    }

    /// Adds a key that is to be loaded anew, unless the coordinator has been told of it.
    fn add_due(&mut self, plan: &Plan<'_, T>, key: &Key, seen: Seen) {
        if !plan.store.inner.loads.is_refreshing(key) {
            self.due.push((key.clone(), seen));
        }
    }

    /// Waits for loads. Returns the keys that are to be looked at again.
    async fn wait<E: Send + Sync + 'static>(
        &mut self,
        plan: &Plan<'_, T>,
        limits: Limits,
        waiting: impl Iterator<Item = (Missing<T>, Waiting<'_>)>,
        own_values: &mut OwnValues<T>,
    ) -> Result<Vec<Missing<T>>, LoadError<E>>
    where
        T: DeserializeOwned,
    {
        let mut again = Vec::new();
        for (mut missing, waiting) in waiting {
            let lost = match limits.wait(waiting, missing.candidate.is_some()).await {
                Ok(Answer::Loaded { made, fate, own }) => {
                    let times = times_of(&made, fate);
                    let value = own.then(|| own_values.take(&missing.key)).flatten();
                    match value.map_or_else(|| plan.open(made), Ok) {
                        Ok(value) => {
                            let loaded = times.of(value, origin_of(fate, own));
                            self.values.push((missing.key, loaded));
                        }
                        Err(error) => self.instead(plan, missing, error.into())?,
                    }
                    continue;
                }
                Ok(Answer::Absent { own: true }) => continue,
                Ok(Answer::Absent { own: false }) => Lost::LeftOut,
                Ok(Answer::LookAgain) => Lost::GivenUp,
                Ok(Answer::Unreadable) => Lost::Unreadable,
                // Only a call with a stale value is answered so.
                Ok(Answer::ServeStale) => {
                    self.instead(plan, missing, LoadError::Timeout)?;
                    continue;
                }
                Ok(Answer::Failed(Failure::Engine(error))) if missing.candidate.is_none() => {
                    self.refuse(missing.key, &error);
                    continue;
                }
                Ok(Answer::Failed(failure)) => {
                    self.instead(plan, missing, told(failure))?;
                    continue;
                }
                Err(failure) => {
                    self.instead(plan, missing, failure)?;
                    continue;
                }
            };
            missing.lost = lost;
            again.push(missing);
        }
        Ok(again)
    }

    /// Reads keys again that another call has loaded, or not.
    async fn look_again<E>(&mut self, plan: &Plan<'_, T>, again: Vec<Missing<T>>) -> Result<(), LoadError<E>>
    where
        T: DeserializeOwned,
    {
        let keys = again.iter().map(|missing| missing.key.clone()).collect();
        let mut call = plan.store.queue().call();
        match plan.store.entries_again(&mut call, keys).await {
            Ok(entries) => {
                for (missing, entry) in again.into_iter().zip(entries) {
                    let found = plan.judge(&entry);
                    self.add(plan, missing.key, found, Origin::Joined, missing.lost);
                }
            }
            Err(error) => {
                for missing in again {
                    if missing.candidate.is_none() {
                        self.refuse(missing.key, &error);
                    } else {
                        self.instead(plan, missing, error.clone().into())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes note of a key for which the engine failed.
    fn refuse(&mut self, key: Key, error: &Error) {
        let (keys, _) = self.refused.get_or_insert_with(|| (Vec::new(), error.clone()));
        keys.push(key);
    }

    /// Answers keys that are missing although the loader has been called, for other keys: it is called once.
    fn go_without<E>(&mut self, plan: &Plan<'_, T>, missing: Vec<Missing<T>>) -> Result<(), LoadError<E>> {
        for missing in missing {
            let cause = match missing.lost {
                Lost::LeftOut => continue,
                Lost::GivenUp => Cause::new(GivenUp),
                Lost::Unreadable => Cause::new(Unreadable),
            };
            self.instead(plan, missing, Error::Unavailable(cause).into())?;
        }
        Ok(())
    }

    /// Serves a stale value in place of a new one. Fails if there is none.
    fn instead<E>(
        &mut self,
        plan: &Plan<'_, T>,
        missing: Missing<T>,
        failure: LoadError<E>,
    ) -> Result<(), LoadError<E>> {
        let stale = plan.instead(missing.candidate, failure)?;
        self.values.push((missing.key, stale));
        Ok(())
    }
}

/// The values that this call's own loader has made. They need not be decoded.
pub(super) struct OwnValues<T> {
    on_their_way: Own<T>,
    here: Map<Key, T>,
}

impl<T> OwnValues<T> {
    pub(super) fn new(on_their_way: Own<T>) -> Self {
        let here = Map::default();
        Self { on_their_way, here }
    }

    pub(super) fn take(&mut self, key: &Key) -> Option<T> {
        if let Ok(values) = self.on_their_way.try_recv() {
            self.here = values;
        }
        self.here.remove(key)
    }
}

/// A value that is not stored is fresh for no other call.
pub(super) fn times_of(made: &Made, fate: Fate) -> Times {
    Times::new(match fate {
        Fate::Stored => made.fresh,
        Fate::Superseded | Fate::NotStored => Some(Duration::ZERO),
    })
}

pub(super) fn origin_of(fate: Fate, own: bool) -> Origin {
    match fate {
        Fate::Superseded => Origin::Superseded,
        Fate::Stored | Fate::NotStored if own => Origin::Loaded,
        Fate::Stored | Fate::NotStored => Origin::Joined,
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
        Failure::Store(error) | Failure::Engine(error) => LoadError::Store(error),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("another caller's loader of this key failed, with another type of error")]
struct OtherError;

#[derive(Debug, thiserror::Error)]
#[error(
    "another call was loading one of the keys and left no value, and this call's loader had already run for other \
     keys: try again"
)]
struct GivenUp;

#[derive(Debug, thiserror::Error)]
#[error(
    "another call loaded one of the keys, but its value does not decode, and this call's loader had already run for \
     other keys: try again"
)]
struct Unreadable;
