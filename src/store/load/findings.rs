//! What one call for loads has found: values, keys to refresh, and keys that are missing.

use serde::de::DeserializeOwned;

use super::answers::{OwnValues, Values, origin_of, times_of, told};
use super::found::{Found, Times};
use super::plan::{Limits, Plan};
use crate::error::{Cause, Error};
use crate::key::Key;
use crate::load::{Answer, Failure, LoadError, Origin, Seen, Verdict, Waiting, Wish};

/// What a call has found so far.
pub(super) struct Findings<T> {
    pub(super) values: Values<T>,
    /// Keys that are served and loaded anew in the background.
    pub(super) due: Vec<(Key, Seen)>,
    pub(super) missing: Vec<Missing<T>>,
    /// Keys for which the engine failed, without a stale value, and why.
    pub(super) refused: Option<(Vec<Key>, Error)>,
    /// A load of this round was not waited for to its end, because a stale value was served in its place. It may have the
    /// loader.
    pub(super) let_go: bool,
}

/// A key that is to be loaded.
pub(super) struct Missing<T> {
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
    pub(super) fn wish(&self) -> Wish {
        Wish {
            key: self.key.clone(),
            seen: self.seen,
            has_candidate: self.candidate.is_some(),
        }
    }
}

impl<T> Findings<T> {
    pub(super) fn with_capacity(keys: usize) -> Self {
        Self {
            values: Vec::with_capacity(keys),
            due: Vec::new(),
            missing: Vec::new(),
            refused: None,
            let_go: false,
        }
    }

    pub(super) fn are_complete(&self) -> bool {
        self.due.is_empty() && self.missing.is_empty()
    }

    /// Adds what the call's first read found.
    pub(super) fn add_first(&mut self, plan: &Plan<'_, T>, key: Key, found: Found<T>) {
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
    pub(super) async fn wait<E: Send + Sync + 'static>(
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
                    self.let_go = true;
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
    pub(super) async fn look_again<E>(
        &mut self,
        plan: &Plan<'_, T>,
        again: Vec<Missing<T>>,
    ) -> Result<(), LoadError<E>>
    where
        T: DeserializeOwned,
    {
        let keys = again.iter().map(|missing| missing.key.clone()).collect();
        let mut call = plan.store.inner.queue.call();
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

    /// Answers keys that are missing although the loader is used for other keys: it is called once.
    pub(super) fn go_without<E>(
        &mut self,
        plan: &Plan<'_, T>,
        missing: Vec<Missing<T>>,
    ) -> Result<(), LoadError<E>> {
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
    pub(super) fn instead<E>(
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

#[derive(Debug, thiserror::Error)]
#[error(
    "another call was loading one of the keys and left no value, and this call's loader is already used for other \
     keys: try again"
)]
struct GivenUp;

#[derive(Debug, thiserror::Error)]
#[error(
    "another call loaded one of the keys, but its value does not decode, and this call's loader is already used for \
     other keys: try again"
)]
struct Unreadable;
