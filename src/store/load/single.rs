//! Loads of one key: the builder.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::options::Lifetime;
use super::super::{One, Store};
use super::asked::CallerNames;
use super::context::{ContextLoader, Fetched, LoadContext};
use super::future::{LoadFuture, LoadedFuture};
use super::loader::{Loader, Model};
use super::options::{CallOptions, LoadOptions, UnboundOptions, displayed, hidden};
use super::order::Order;
use super::setters::{load_options, setters};
use crate::error::Result;
use crate::key::Key;
use crate::load::{LoadError, Loaded, Serving};

impl Store {
    /// Returns the value of a key. If the key is absent, runs `loader` and stores its result.
    ///
    /// All callers of the same key share one load, whatever their options: in this process, and on Redis in all
    /// processes that use the same server.
    ///
    /// The value is stored only if no change came during the load: a [`set`](Self::set), [`delete`](Self::delete),
    /// [`invalidate`](Self::invalidate) or [`clear`](Self::clear) of the key or of a dependency, by any process. A
    /// caller that comes after such a change never gets a value that was read from the source before it.
    ///
    /// The loader runs in a task of its own, on the runtime that opened the store, within the tracing span of its load. That
    /// span is in the caller's, or is a root if the load refreshes a stale value. If no subscriber wants the spans of this
    /// crate, the loader runs in the caller's span.
    /// Its value is stored as a model, as by [`set_model`](Self::set_model). `None` is a value too.
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
    /// A loader of bytes should return [`Bytes`](crate::Bytes), which are stored and read with one copy:
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
    /// For other calls, a loaded value lives for its fresh time. Its stored bytes stay until the stale windows end.
    ///
    /// | call | fresh | stale, within its windows |
    /// |---|---|---|
    /// | `get_model`, `get_models` | the model | `None` |
    /// | `ttl` | how long it is still fresh | `None` |
    /// | `expire(d)` | fresh for `d` from now, and then its stale windows; its age does not change | `false`; it stays stale |
    /// | `persist` | fresh for ever | `false`; it stays stale |
    /// | `add` | `false`, but overwrites a cached `None` | writes |
    /// | `replace` | writes; `false` for a cached `None` | `false` |
    /// | `get`, `exists`, `take`, `delete`, `scan` | its stored bytes, which begin with `0xC1` | the same |
    /// | `compare_and_set` | compares its stored bytes, which `expire` and `persist` change | the same |
    /// | `incr` | [`NotAnInteger`](crate::Error::NotAnInteger) | the same |
    ///
    /// If a load of an `Option<T>` returned `None`, then `get_model::<T>` returns `None`, and `get_model::<Option<T>>`
    /// returns `Some(None)`.
    ///
    /// # Errors
    ///
    /// * [`LoadError::Loader`], [`Panicked`](LoadError::Panicked) and [`Timeout`](LoadError::Timeout) if the load
    ///   fails. All callers that wait for it get the same error, and nothing is stored.
    /// * [`LoadError::Store`] with one of these errors:
    ///   * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///     [`KeyReserved`](crate::Error::KeyReserved) for the key or a dependency,
    ///     [`InvalidTtl`](crate::Error::InvalidTtl) for a time, and [`InvalidConfig`](crate::Error::InvalidConfig) for
    ///     a fraction. The loader does not run.
    ///   * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///     [`Closed`](crate::Error::Closed) from the engine. `Unavailable` also if `max_loads` or `max_load_waiters` is
    ///     reached.
    ///   * [`Encode`](crate::Error::Encode) if the value cannot be encoded.
    ///   * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, and
    ///     [`Unauthorized`](crate::Error::Unauthorized) if the user may not read the key or take its lease.
    ///
    /// A value that is too large, or that does not decode again, is returned and not stored. A stored value that does
    /// not decode counts as absent.
    ///
    /// # Cancel safety
    ///
    /// Safe: a load that has begun goes on, and its value is stored.
    #[inline]
    pub fn get_or_load<T, E, F, Fut>(&self, key: impl AsRef<str>, loader: F) -> Load<'_, T, F>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + Sync + 'static,
    {
        self.load(key.as_ref(), loader)
    }

    /// The value of a key, loaded if there is none by a loader that is told more, and tells more.
    ///
    /// The loader gets a [`LoadContext`], with the old value if the key holds one. It gives a [`Fetched`]: the value, and
    /// how long it is fresh, what it depends on, and whether it is stored. All options of
    /// [`get_or_load`](Self::get_or_load) hold, and all that is said there.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachestore::{Fetched, LoadContext};
    ///
    /// # async fn find_team(id: u32) -> Result<Vec<u32>, std::io::Error> { Ok(vec![7, 9]) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let load = |_: LoadContext<Vec<u32>>| async {
    ///     let members = find_team(1).await?;
    ///     let names: Vec<String> = members.iter().map(|id| format!("user:{id}")).collect();
    ///     Ok::<_, std::io::Error>(Fetched::new(members).ttl(Duration::from_secs(60)).depends_on(names))
    /// };
    /// assert_eq!(store.get_or_load_with("team:1", load).await?, [7, 9]);
    /// assert_eq!(store.invalidate("user:9").await?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Dependencies that the loader finds out
    ///
    /// They keep what [`depends_on`](Load::depends_on) promises: the value is not stored if any of them has changed since
    /// the load began, by any process, also if no call had named it before. While such a load runs, the engine remembers
    /// which names change: at least the last 32,768 in memory, and the last 8,192 on Redis. If more names change than
    /// that, a value with names that its loader found out is not stored. Then the value is
    /// [`Superseded`](crate::Origin::Superseded) for those who waited before the load began, and the others load anew.
    ///
    /// # Errors
    ///
    /// The errors of [`get_or_load`](Self::get_or_load). Also [`Store`](LoadError::Store) for a TTL or a name that the
    /// loader gives and that is refused.
    ///
    /// # Cancel safety
    ///
    /// Safe: a load that has begun goes on, and is stored.
    #[inline]
    pub fn get_or_load_with<T, E, F, Fut>(
        &self,
        key: impl AsRef<str>,
        loader: F,
    ) -> Load<'_, T, ContextLoader<T, F>>
    where
        F: Fn(LoadContext<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<Fetched<T>, E>> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + Sync + 'static,
    {
        self.load(key.as_ref(), ContextLoader::new(loader))
    }

    #[inline]
    fn load<T, F>(&self, given: &str, loader: F) -> Load<'_, T, F> {
        let key = self.key(given);
        Load {
            options: CallOptions::new(self),
            given: self.goes_by_another_name(given, &key).then(|| given.into()),
            key,
            loader,
        }
    }

    /// Whether a key was refused, or is stored under another name than it was given.
    fn goes_by_another_name(&self, given: &str, key: &Result<Key>) -> bool {
        match key {
            Ok(key) => self.config().settings().go_compatible && !key.as_str().ends_with(given),
            Err(_) => true,
        }
    }
}

/// A read of a key that loads a missing value: see [`Store::get_or_load`].
#[must_use = "a load does nothing until it is awaited"]
pub struct Load<'a, T, F> {
    options: CallOptions<'a, T>,
    key: Result<Key>,
    /// The key as it was given, if it was refused or trimmed.
    given: Option<Box<str>>,
    loader: F,
}

/// A load without its store.
pub(super) struct Unbound<T, F> {
    options: UnboundOptions<T>,
    key: Result<Key>,
    loader: F,
}

impl<T, F> Unbound<T, F> {
    pub(super) fn of(self, store: &Store) -> Load<'_, T, F> {
        Load {
            options: self.options.of(store),
            key: self.key,
            given: None,
            loader: self.loader,
        }
    }
}

load_options!(Load<F>, One);

impl<T, F> fmt::Debug for Load<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("options", &self.options)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl<'a, T, E, F> IntoFuture for Load<'a, T, F>
where
    F: Loader<One, Value = T, Error = E>,
    T: Model,
    E: Send + Sync + 'static,
{
    type Output = std::result::Result<T, LoadError<E>>;
    type IntoFuture = LoadFuture<'a, T, E, F>;

    #[inline]
    fn into_future(self) -> Self::IntoFuture {
        let (order, key) = self.order();
        LoadFuture::new(order, key)
    }
}

impl<'a, T, F> Load<'a, T, F> {
    /// Returns the value, its origin and its age.
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
    /// The errors of [`get_or_load`](Store::get_or_load).
    ///
    /// # Cancel safety
    ///
    /// Safe: a load that has begun goes on, and its value is stored.
    pub async fn outcome<E>(self) -> std::result::Result<Loaded<T>, LoadError<E>>
    where
        F: Loader<One, Value = T, Error = E>,
        T: Model,
        E: Send + Sync + 'static,
    {
        let (order, key) = self.order();
        LoadedFuture::new(order, key, true).await
    }

    /// The key as the caller gave it.
    pub(super) fn name(&self) -> String {
        match (&self.given, &self.key) {
            (Some(given), _) => given.as_ref().to_owned(),
            (None, Ok(key)) => CallerNames::as_stored(self.store()).of(key).to_owned(),
            (None, Err(_)) => String::new(),
        }
    }

    pub(super) fn key(&self) -> Result<&Key> {
        self.key.as_ref().map_err(Clone::clone)
    }

    /// The store, and how the call is served, once its options are checked.
    pub(super) fn checked_serving(&self) -> Result<(&'a Store, Serving)> {
        self.options.check()?;
        Ok((self.options.store(), self.options.serving()))
    }

    /// Loads a value anew that is fresh, if the call has found that it is due.
    pub(super) fn refresh_if(&mut self, is_due: bool) {
        self.options.shared.serving.is_due = is_due;
    }

    pub(super) fn store(&self) -> &'a Store {
        self.options.store()
    }

    /// Takes the load off its store, so that a task can own both.
    pub(super) fn unbound(self) -> Unbound<T, F> {
        Unbound {
            options: self.options.unbound(),
            key: self.key,
            loader: self.loader,
        }
    }

    /// Inlined, as all on the way to the future: what is asked for is large, and is moved once then.
    #[inline]
    fn order(self) -> (Order<'a, T, F>, Result<Key>) {
        let order = Order {
            names: CallerNames::as_stored(self.options.store()),
            options: self.options,
            loader: self.loader,
        };
        (order, self.key)
    }
}
