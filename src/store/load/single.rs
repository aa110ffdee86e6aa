//! One key: read it, or load it.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;

use super::super::Store;
use super::super::entry::Entry;
use super::super::options::Lifetime;
use super::future::LoadFuture;
use super::options::{CallOptions, LoadOptions, displayed, hidden, load_options, setters};
use super::plan::{Found, Plan, Times, judge, told};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::lane::Call;
use crate::load::{
    Answer, Failure, Fate, LoadError, Loaded, Loader, Origin, SharedError, Verdict, Wish, contained,
};

impl Store {
    /// The value of a key, loaded if there is none.
    ///
    /// All callers who want the same key share one load, in this process and, on Redis, in all that
    /// use the same server, whatever their options. What is loaded is stored only if nothing that it was made
    /// from has changed meanwhile: a [`set`](Self::set), [`delete`](Self::delete),
    /// [`invalidate`](Self::invalidate) or [`clear`](Self::clear) of the key or of any of its
    /// dependencies, by any process, keeps a value from being stored that was read from the source
    /// before. Who calls after such a change never gets it either.
    ///
    /// The loader runs in a task of its own, on the runtime that the store was opened on, within the caller's
    /// tracing span. What it gives is a model, as [`set_model`](Self::set_model) stores it; a `None` is
    /// a value too.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # async fn find_user(id: u32) -> Result<Option<String>, std::io::Error> { Ok(Some("Ada".into())) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let name: Option<String> = store
    ///     .get_or_load("user:1:name", || async { find_user(1).await })
    ///     .ttl(Duration::from_secs(60))
    ///     .depends_on(["user:1"])
    ///     .stale_if_error(Duration::from_secs(600))
    ///     .await?;
    /// assert_eq!(name.as_deref(), Some("Ada"));
    /// # Ok(()) }
    /// ```
    ///
    /// A loader of bytes gives [`Bytes`](crate::Bytes), which are stored and read by one copy:
    ///
    /// ```
    /// use cachestore::Bytes;
    ///
    /// # async fn render(id: u8) -> Result<Vec<u8>, std::io::Error> { Ok(vec![id]) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let image: Bytes = store
    ///     .get_or_load("image:1", || async { render(1).await.map(Bytes::from) })
    ///     .await?;
    /// # assert_eq!(*image, [1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Loaded values in other calls
    ///
    /// The life of a loaded value is its fresh time. Its bytes are there until the stale windows end too.
    ///
    /// | call | fresh | stale, within its windows |
    /// |---|---|---|
    /// | `get_model`, `get_models` | the model | `None` |
    /// | `ttl` | how long it is still fresh | `None` |
    /// | `expire(d)` | fresh for `d` from now on, and then its windows; its age stays | `false`; it stays stale |
    /// | `persist` | fresh for ever | `false`; it stays stale |
    /// | `add` | `false`; a cached `None` is written over | writes |
    /// | `replace` | writes; `false` for a cached `None` | `false` |
    /// | `get`, `exists`, `take`, `delete`, `scan` | its stored bytes, which begin with `0xC1` | the same |
    /// | `compare_and_set` | compares its stored bytes, which `expire` and `persist` change | the same |
    /// | `incr` | [`NotAnInteger`](Error::NotAnInteger) | the same |
    ///
    /// Where a load of an `Option<T>` gave `None`, `get_model::<T>` is `None` and `get_model::<Option<T>>` is
    /// `Some(None)`.
    ///
    /// # Errors
    ///
    /// [`LoadError::Loader`], [`Panicked`](LoadError::Panicked) and [`Timeout`](LoadError::Timeout) from
    /// the load, to all who waited for it; nothing of it is stored.
    /// [`Store`](LoadError::Store) for what is refused before the loader runs (as [`set`](Self::set)
    /// for the key, the TTL and the dependencies; [`InvalidConfig`](Error::InvalidConfig) for a fraction),
    /// for what the engine answers (as [`get`](Self::get)), and if the value cannot be encoded. A value that
    /// is too large, or that does not decode again from its encoded form, is returned and not stored. A stored
    /// value that does not decode counts as absent.
    ///
    /// # Cancel safety
    ///
    /// Safe: a load that has begun goes on, and is stored.
    pub fn get_or_load<T, E, F, Fut>(&self, key: impl AsRef<str>, loader: F) -> Load<'_, T, F>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + Sync + 'static,
    {
        Load {
            options: CallOptions::new(self),
            key: self.key(key.as_ref()),
            loader,
        }
    }
}

/// A value that is loaded if need be: see [`Store::get_or_load`].
#[must_use = "a load does nothing until it is awaited"]
pub struct Load<'a, T, F> {
    pub(super) options: CallOptions<'a, T>,
    pub(super) key: Result<Key>,
    loader: F,
}

load_options!(Load<F>, FnOnce());

impl<T, F> fmt::Debug for Load<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("options", &self.options)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl<'a, T, E, F, Fut> IntoFuture for Load<'a, T, F>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Send + Sync + 'static,
{
    type Output = std::result::Result<T, LoadError<E>>;
    type IntoFuture = LoadFuture<'a, T, E, F>;

    fn into_future(self) -> LoadFuture<'a, T, E, F> {
        LoadFuture::new(self)
    }
}

impl<T, F> Load<'_, T, F> {
    /// As awaiting the load itself, with where the value came from and how old it is.
    ///
    /// ```
    /// use cachestore::Origin;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let load = || async { Ok::<_, std::io::Error>(42) };
    /// assert_eq!(store.get_or_load("answer", load).outcome().await?.origin, Origin::Loaded);
    /// assert_eq!(store.get_or_load("answer", load).outcome().await?.origin, Origin::Fresh);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Store::get_or_load).
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_load`](Store::get_or_load).
    pub async fn outcome<E, Fut>(self) -> std::result::Result<Loaded<T>, LoadError<E>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + Sync + 'static,
    {
        let call = self.options.store().lane().call();
        self.run(call, true).await
    }

    /// Reads the key as a part of `call`, and goes on with what is there.
    pub(super) async fn run<E, Fut>(
        self,
        mut call: Call<'_>,
        aged: bool,
    ) -> std::result::Result<Loaded<T>, LoadError<E>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + Sync + 'static,
    {
        self.options.check()?;
        let key = self.key.clone()?;
        let aged = aged || self.options.needs_age();
        let store = self.options.store();
        let entry = store.entry_of(&mut call, &key, aged).await?;
        let found = self.judge(&entry);
        match found.value {
            Some((value, Verdict::Fresh, times)) => Ok(times.of(value, Origin::Fresh)),
            _ => Box::pin(self.go_on(found)).await,
        }
    }

    /// What is to be made of an entry.
    pub(super) fn judge(&self, entry: &Entry) -> Found<T>
    where
        T: DeserializeOwned,
    {
        judge(entry, &self.options.shared.serving, self.options.store().codec())
    }

    /// Goes on with what is not simply there.
    pub(super) async fn go_on<E, Fut>(self, found: Found<T>) -> std::result::Result<Loaded<T>, LoadError<E>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + Sync + 'static,
    {
        let plan = self.options.plan()?;
        let (loader, own) = loader(self.loader, &plan);
        load(plan, self.key?, found, loader, own).await
    }
}

/// The loader that the coordinator calls, and where what it makes comes to its own caller.
fn loader<T, E, F, Fut>(load: F, plan: &Plan<'_, T>) -> (Loader, oneshot::Receiver<T>)
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Send + Sync + 'static,
{
    let (seal, describe) = (plan.seal.clone(), plan.describe);
    let span = tracing::Span::current();
    let (sender, own) = oneshot::channel();
    let loader = Loader::new(move |keys| {
        let load = async move {
            let began = Instant::now();
            let loaded = load().await;
            let value = loaded.map_err(|error| Failure::Loader(SharedError::new(error, describe)))?;
            let cost = began.elapsed();
            // It is called with its one key.
            let Some(key) = keys.into_iter().next() else {
                return Ok(Vec::new());
            };
            let (made, value) = seal.seal(&key, value, cost)?;
            contained(|| drop(sender.send(value)));
            Ok(vec![(key, made)])
        };
        load.instrument(span)
    });
    (loader, own)
}

async fn load<T, E>(
    plan: Plan<'_, T>,
    key: Key,
    mut found: Found<T>,
    mut loader: Loader,
    mut made_here: oneshot::Receiver<T>,
) -> std::result::Result<Loaded<T>, LoadError<E>>
where
    T: DeserializeOwned,
    E: Send + Sync + 'static,
{
    let loads = &plan.store.inner.loads;
    plan.count(&found);
    // Whether another process has loaded it while this call waited.
    let mut waited = false;
    loop {
        let spare = match found.value {
            Some((value, verdict @ (Verdict::FreshButDue | Verdict::Stale), times)) => {
                let (work, _) = plan.work(loader);
                loads.refresh([(key, found.seen)], work);
                return Ok(plan.served(value, verdict, times));
            }
            Some((value, Verdict::Fresh, times)) => {
                let origin = if waited { Origin::Joined } else { Origin::Fresh };
                if waited {
                    loads.counters.joined();
                }
                return Ok(times.of(value, origin));
            }
            Some((value, Verdict::Spare, times)) => Some((value, times)),
            Some((_, Verdict::Gone, _)) | None => None,
        };
        let (work, unused) = plan.work(loader);
        let wish = Wish {
            key: key.clone(),
            seen: found.seen,
            has_spare: spare.is_some(),
        };
        let answer = match loads.load([wish], [], work).await {
            Ok(mut waiting) => match waiting.pop() {
                Some(waiting) => plan.wait(waiting, spare.is_some()).await,
                None => Err(LoadError::Store(Error::Closed)),
            },
            Err(error) => Err(LoadError::Store(error)),
        };
        let failure = match answer {
            Ok(Answer::Loaded { made, fate, own }) => {
                let origin = match fate {
                    Fate::Superseded => Origin::Superseded,
                    Fate::Stored | Fate::NotStored if own => Origin::Loaded,
                    Fate::Stored | Fate::NotStored => Origin::Joined,
                };
                let fresh_for = match fate {
                    Fate::Stored => made.fresh,
                    Fate::Superseded | Fate::NotStored => Some(Duration::ZERO),
                };
                let own = if own { made_here.try_recv().ok() } else { None };
                match plan.open(&made, own) {
                    Ok(value) => return Ok(Times::new(fresh_for).of(value, origin)),
                    Err(error) => LoadError::Store(error),
                }
            }
            // Absent is what a loader of many keys says of one: this call's own may know better.
            Ok(Answer::LookAgain | Answer::Absent) => match unused.await {
                Ok(back) => match plan
                    .store
                    .uncounted_entry(&mut plan.store.lane().call(), key.clone())
                    .await
                {
                    Ok(entry) => {
                        loader = back;
                        waited = true;
                        found = plan.judge(&entry);
                        continue;
                    }
                    Err(error) => LoadError::Store(error),
                },
                Err(_) => LoadError::Store(Error::Closed),
            },
            // Who has nothing stale is never answered so.
            Ok(Answer::ServeStale) => LoadError::Timeout,
            Ok(Answer::Failed(failure)) => told(failure),
            Err(failure) => failure,
        };
        return match spare {
            Some((value, times)) => Ok(plan.served(value, Verdict::Spare, times)),
            None => Err(failure),
        };
    }
}
