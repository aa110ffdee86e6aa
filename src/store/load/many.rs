//! Many keys: read them in one request, and load those that are missing with one call of the loader.

use std::collections::HashMap;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;

use super::super::Store;
use super::super::options::Lifetime;
use super::asked::{Asked, Names};
use super::options::{CallOptions, LoadOptions, displayed, hidden, load_options, setters};
use super::plan::{Plan, told};
use crate::error::{Cause, Error, Result};
use crate::key::Key;
use crate::load::{Answer, Failure, LoadError, Loader, Seen, SharedError, Verdict, Wish, contained};

impl Store {
    /// The values of many keys, those that are missing loaded with one call of the loader.
    ///
    /// All keys are read in one request (512 to a request). Keys that somebody loads already are waited
    /// for; the loader is called once, with the rest, as they were given and in no order. A key
    /// that it leaves out is absent from the answer, and is not stored. Else as
    /// [`get_or_load`](Self::get_or_load). Without keys, nothing is called.
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let lengths: HashMap<String, usize> = store
    ///     .get_or_load_many(["one", "three"], |missing: Vec<String>| async move {
    ///         Ok::<_, std::io::Error>(missing.into_iter().map(|key| (key.clone(), key.len())).collect())
    ///     })
    ///     .await?;
    /// assert_eq!(lengths["three"], 5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load); one key that fails fails the call.
    /// [`Unavailable`](Error::Unavailable) also if another process gave up one of the keys that this call
    /// waited for, after this call's loader had run.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_load`](Self::get_or_load).
    pub fn get_or_load_many<T, E, K, F, Fut>(
        &self,
        keys: impl IntoIterator<Item = K>,
        loader: F,
    ) -> LoadMany<'_, T, F>
    where
        K: AsRef<str>,
        F: FnOnce(Vec<String>) -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<HashMap<String, T>, E>> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + Sync + 'static,
    {
        LoadMany {
            options: CallOptions::new(self),
            asked: Asked::new(self, keys),
            loader,
        }
    }
}

/// Values that are loaded if need be: see [`Store::get_or_load_many`].
#[must_use = "a load does nothing until it is awaited"]
pub struct LoadMany<'a, T, F> {
    options: CallOptions<'a, T>,
    asked: Result<Asked>,
    loader: F,
}

load_options!(LoadMany<F>, FnOnce(Vec<String>));

impl<T, F> fmt::Debug for LoadMany<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadMany")
            .field("options", &self.options)
            .field("keys", &self.asked.as_ref().map(|asked| &asked.keys))
            .finish_non_exhaustive()
    }
}

impl<'a, T, E, F, Fut> IntoFuture for LoadMany<'a, T, F>
where
    F: FnOnce(Vec<String>) -> Fut + Send + 'static,
    Fut: Future<Output = std::result::Result<HashMap<String, T>, E>> + Send + 'static,
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Send + Sync + 'static,
{
    type Output = std::result::Result<HashMap<String, T>, LoadError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.options.check()?;
            let plan = self.options.plan()?;
            let asked = self.asked?;
            let (loader, own) = loader(self.loader, &plan, asked.names.clone());
            load(plan, asked, loader, own).await
        })
    }
}

/// What a loader makes, on its way to its own caller.
type Own<T> = oneshot::Receiver<HashMap<Key, T>>;

/// The loader that the coordinator calls, and where what it makes comes to its own caller.
fn loader<T, E, F, Fut>(load: F, plan: &Plan<'_, T>, names: Names) -> (Loader, Own<T>)
where
    F: FnOnce(Vec<String>) -> Fut + Send + 'static,
    Fut: Future<Output = std::result::Result<HashMap<String, T>, E>> + Send + 'static,
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Send + Sync + 'static,
{
    let (seal, describe) = (plan.seal.clone(), plan.describe);
    let span = tracing::Span::current();
    let (sender, own) = oneshot::channel();
    let loader = Loader::new(move |keys| {
        let load = async move {
            let missing = keys.iter().map(|key| names.of(key).to_owned()).collect();
            let began = Instant::now();
            let loaded = load(missing).await;
            let mut values = loaded.map_err(|error| Failure::Loader(SharedError::new(error, describe)))?;
            let cost = began.elapsed();
            let mut all = Vec::with_capacity(keys.len());
            let mut own = HashMap::with_capacity(keys.len());
            for key in keys {
                let Some(value) = values.remove(names.of(&key)) else {
                    continue;
                };
                let (made, value) = seal.seal(&key, value, cost)?;
                all.push((key.clone(), made));
                own.insert(key, value);
            }
            contained(|| drop(sender.send(own)));
            Ok(all)
        };
        load.instrument(span)
    });
    (loader, own)
}

async fn load<T, E>(
    plan: Plan<'_, T>,
    asked: Asked,
    loader: Loader,
    mut made_here: Own<T>,
) -> std::result::Result<HashMap<String, T>, LoadError<E>>
where
    T: DeserializeOwned,
    E: Send + Sync + 'static,
{
    let store = plan.store;
    let Asked { mut keys, names } = asked;
    let mut loader = Some(loader);
    let mut values = HashMap::with_capacity(keys.len());
    let mut own_values = HashMap::new();
    let mut counted = false;
    loop {
        let mut missing: Vec<(Key, Seen)> = Vec::new();
        let mut spares = Vec::new();
        let mut refreshed = Vec::new();
        let entries = store
            .entries(&mut store.lane().call(), &keys, plan.serving.needs_age())
            .await?;
        for (key, entry) in keys.drain(..).zip(entries) {
            let found = plan.judge(&entry);
            if counted {
                store.inner.reads.uncount(!entry.is_absent());
            } else {
                plan.count(&found);
            }
            match found.value {
                Some((value, Verdict::Fresh, _)) => {
                    values.insert(names.of(&key).to_owned(), value);
                }
                Some((value, verdict @ (Verdict::FreshButDue | Verdict::Stale), times)) => {
                    let value = plan.served(value, verdict, times).value;
                    values.insert(names.of(&key).to_owned(), value);
                    refreshed.push((key, found.seen));
                }
                spare => {
                    spares.push(spare.map(|(value, _, times)| (value, times)));
                    missing.push((key, found.seen));
                }
            }
        }
        counted = true;
        if missing.is_empty() {
            if let Some(loader) = loader.filter(|_| !refreshed.is_empty()) {
                store.inner.loads.refresh(refreshed, plan.work(loader).0);
            }
            return Ok(values);
        }
        let Some(own) = loader.take() else {
            for ((key, _), spare) in missing.iter().zip(spares) {
                let given_up = Error::Unavailable(Cause::new(GivenUp));
                values.insert(names.of(key).to_owned(), plan.instead(spare, given_up.into())?);
            }
            return Ok(values);
        };
        let (work, unused) = plan.work(own);
        let wishes = missing.iter().zip(&spares).map(|((key, seen), spare)| Wish {
            key: key.clone(),
            seen: *seen,
            has_spare: spare.is_some(),
        });
        let wishes: Vec<Wish> = wishes.collect();
        let waiting = match store.inner.loads.load(wishes, refreshed, work).await {
            Ok(waiting) => waiting,
            Err(error) => {
                for ((key, _), spare) in missing.iter().zip(spares) {
                    values.insert(
                        names.of(key).to_owned(),
                        plan.instead(spare, error.clone().into())?,
                    );
                }
                return Ok(values);
            }
        };
        for (((key, _), spare), waiting) in missing.into_iter().zip(spares).zip(waiting) {
            let value = match plan.wait(waiting, spare.is_some()).await {
                Ok(Answer::Loaded {
                    made, own: is_own, ..
                }) => {
                    if is_own && let Ok(made) = made_here.try_recv() {
                        own_values = made;
                    }
                    match plan.open(&made, own_values.remove(&key).filter(|_| is_own)) {
                        Ok(value) => value,
                        Err(error) => plan.instead(spare, error.into())?,
                    }
                }
                Ok(Answer::Absent) => continue,
                Ok(Answer::LookAgain) => {
                    keys.push(key);
                    continue;
                }
                // Who has nothing stale is never answered so.
                Ok(Answer::ServeStale) => plan.instead(spare, LoadError::Timeout)?,
                Ok(Answer::Failed(failure)) => plan.instead(spare, told(failure))?,
                Err(failure) => plan.instead(spare, failure)?,
            };
            values.insert(names.of(&key).to_owned(), value);
        }
        if keys.is_empty() {
            return Ok(values);
        }
        // Not needed by any key, it comes back. Else it has been called, for others.
        loader = unused.await.ok();
    }
}

#[derive(Debug, thiserror::Error)]
#[error("another process was loading one of the keys, and gave up: try again")]
struct GivenUp;
