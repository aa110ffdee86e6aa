//! Loads of many keys: the builder.

use std::collections::HashMap;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::options::Lifetime;
use super::super::{Many, Store};
use super::asked::Asked;
use super::context::{ContextLoader, Fetched, LoadContext};
use super::loader::{Loader, Model};
use super::options::{CallOptions, LoadOptions, displayed, hidden};
use super::order::Order;
use super::setters::{load_options, setters};
use crate::calls::CallName;
use crate::error::Result;
use crate::load::{LoadError, Loaded};

impl Store {
    /// Returns the values of many keys. One call of the loader loads all missing keys.
    ///
    /// The keys are read in requests of up to 512. If another call already loads a key, this call waits for it. The
    /// loader is called once, with the other missing keys, as they were given and in no order. A key that the loader
    /// leaves out is absent from the answer, and is not stored. Without missing keys, the loader is not called. In all
    /// else, each key behaves as in [`get_or_load`](Self::get_or_load).
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
    /// The errors of [`get_or_load`](Self::get_or_load). If one key fails, the call fails, unless a stale value is
    /// served for the key. Also [`Unavailable`](crate::Error::Unavailable) if this call waited for another call's load
    /// of a key, that load gave no value, and this call's loader has run already, or is kept for a key of which this call
    /// served a stale value.
    ///
    /// # Cancel safety
    ///
    /// Safe: a load that has begun goes on, and its values are stored.
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

    /// The values of many keys. One call of a loader that is told more, and tells more, loads all that are missing.
    ///
    /// The loader gets a [`LoadContext`] for each missing key, and gives a [`Fetched`] under the key of each. See
    /// [`get_or_load_with`](Self::get_or_load_with) for both, and [`get_or_load_many`](Self::get_or_load_many) for the
    /// rest.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use cachestore::{Fetched, LoadContext};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let load = |contexts: Vec<LoadContext<usize>>| async move {
    ///     let length = |context: &LoadContext<usize>| {
    ///         let key = context.key();
    ///         (key.to_owned(), Fetched::new(key.len()).depends_on(format!("word:{key}")))
    ///     };
    ///     Ok::<HashMap<_, _>, std::io::Error>(contexts.iter().map(length).collect())
    /// };
    /// let lengths = store.get_or_load_many_with(["one", "three"], load).await?;
    /// assert_eq!(lengths["three"], 5);
    /// assert_eq!(store.invalidate("word:three").await?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`get_or_load_with`](Self::get_or_load_with) and of [`get_or_load_many`](Self::get_or_load_many).
    ///
    /// # Cancel safety
    ///
    /// Safe: a load that has begun goes on, and is stored.
    pub fn get_or_load_many_with<T, E, K, F, Fut>(
        &self,
        keys: impl IntoIterator<Item = K>,
        loader: F,
    ) -> LoadMany<'_, T, ContextLoader<T, F>>
    where
        K: AsRef<str>,
        F: Fn(Vec<LoadContext<T>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<HashMap<String, Fetched<T>>, E>> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + Sync + 'static,
    {
        LoadMany {
            options: CallOptions::new(self),
            asked: Asked::new(self, keys),
            loader: ContextLoader::new(loader),
        }
    }
}

/// A read of many keys that loads missing values: see [`Store::get_or_load_many`].
#[must_use = "a load does nothing until it is awaited"]
pub struct LoadMany<'a, T, F> {
    options: CallOptions<'a, T>,
    asked: Result<Asked>,
    loader: F,
}

load_options!(LoadMany<F>, Many);

impl<T, F> fmt::Debug for LoadMany<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadMany")
            .field("options", &self.options)
            .field("keys", &self.asked.as_ref().map(|asked| &asked.keys))
            .finish_non_exhaustive()
    }
}

impl<'a, T, E, F> IntoFuture for LoadMany<'a, T, F>
where
    F: Loader<Many, Value = T, Error = E>,
    T: Model,
    E: Send + Sync + 'static,
{
    type Output = std::result::Result<HashMap<String, T>, LoadError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run(false, |loaded| loaded.value))
    }
}

impl<T, F> LoadMany<'_, T, F> {
    /// Returns the values, each with its origin and its age.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use cachestore::Origin;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_model("one", &3).await?;
    /// let lengths = store
    ///     .get_or_load_many(["one", "three"], |missing: Vec<String>| async move {
    ///         Ok::<HashMap<_, _>, std::io::Error>(missing.into_iter().map(|key| (key.clone(), key.len())).collect())
    ///     })
    ///     .outcome()
    ///     .await?;
    /// assert_eq!((lengths["one"].origin, lengths["three"].origin), (Origin::Fresh, Origin::Loaded));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`get_or_load_many`](Store::get_or_load_many).
    ///
    /// # Cancel safety
    ///
    /// Safe: a load that has begun goes on, and its values are stored.
    pub async fn outcome<E>(self) -> std::result::Result<HashMap<String, Loaded<T>>, LoadError<E>>
    where
        F: Loader<Many, Value = T, Error = E>,
        T: Model,
        E: Send + Sync + 'static,
    {
        self.run(true, |loaded| loaded).await
    }

    /// Gives the caller what `answer` makes of each value. `aged` says that the caller is told how old it is.
    async fn run<A, E>(
        self,
        aged: bool,
        answer: impl Fn(Loaded<T>) -> A,
    ) -> std::result::Result<HashMap<String, A>, LoadError<E>>
    where
        F: Loader<Many, Value = T, Error = E>,
        T: Model,
        E: Send + Sync + 'static,
    {
        let checked = self.options.check()?;
        let Asked { keys, names } = self.asked?;
        let call = self.options.store().call(CallName::GetOrLoadMany);
        let order = Order {
            options: self.options,
            names: names.clone(),
            loader: self.loader,
        };
        let values = order.read(checked, call, keys, aged).await?;
        let named = |(key, loaded)| (names.of(&key).to_owned(), answer(loaded));
        Ok(values.into_iter().map(named).collect())
    }
}
