//! What loads values: the closures that callers give.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;

use self::sealed::Values as _;
use super::super::{Many, One};
use super::asked::CallerNames;
use super::options::Describe;
use super::plan::Plan;
use crate::actor::contained;
use crate::key::Key;
use crate::load::{AnyLoader, Failure, SharedError};
use crate::prehashed::Map;

/// A loader: a closure that returns one value, or the values of many keys.
///
/// [`get_or_load`](crate::Store::get_or_load) takes a closure `FnOnce() -> Future<Output = Result<T, E>>`, and
/// [`get_or_load_many`](crate::Store::get_or_load_many) a closure
/// `FnOnce(Vec<String>) -> Future<Output = Result<HashMap<String, T>, E>>`. `T` is a [`Model`]. The closure, its
/// future and `E` are `Send + 'static`, and `E` is also `Sync`. The compiler infers the marker `M`, which is [`One`] or
/// [`Many`]. The trait is sealed: other types cannot implement it.
pub trait Loader<M>: sealed::Load<M> {}

impl<M, L: sealed::Load<M>> Loader<M> for L {}

/// A model that can be loaded: any type that serde writes and reads, and that can be sent between threads.
pub trait Model: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Model for T {}

mod sealed {
    use super::{HashMap, Many, Model, One};

    /// The marker keeps the implementations apart.
    pub trait Load<M>: Send + Sized + 'static {
        type Value: Model;
        type Error: Send + Sync + 'static;
        type Values: Values<Self::Value>;

        /// Loads the values of keys, which the caller named so.
        fn load(
            self,
            names: Vec<String>,
        ) -> impl Future<Output = Result<Self::Values, Self::Error>> + Send + 'static;
    }

    /// Values by the names of their keys.
    pub trait Values<T>: Send {
        /// The value of a key, unless the loader had none.
        fn take(&mut self, name: &str) -> Option<T>;
    }

    impl<T: Model> Values<T> for Option<T> {
        fn take(&mut self, _: &str) -> Option<T> {
            self.take()
        }
    }

    impl<T: Model> Values<T> for HashMap<String, T> {
        fn take(&mut self, name: &str) -> Option<T> {
            self.remove(name)
        }
    }

    impl<T, E, F, Fut> Load<One> for F
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Model,
        E: Send + Sync + 'static,
    {
        type Value = T;
        type Error = E;
        type Values = Option<T>;

        async fn load(self, _: Vec<String>) -> Result<Option<T>, E> {
            self().await.map(Some)
        }
    }

    impl<T, E, F, Fut> Load<Many> for F
    where
        F: FnOnce(Vec<String>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<HashMap<String, T>, E>> + Send + 'static,
        T: Model,
        E: Send + Sync + 'static,
    {
        type Value = T;
        type Error = E;
        type Values = HashMap<String, T>;

        async fn load(self, names: Vec<String>) -> Result<HashMap<String, T>, E> {
            self(names).await
        }
    }
}

/// What a loader made, on its way to the call that it belongs to.
pub(super) type Own<T> = oneshot::Receiver<Map<Key, T>>;

/// The loader as the coordinator calls it, and where its own call gets what it made.
pub(super) fn erased<M, T: Model, L: Loader<M, Value = T>>(
    loader: L,
    names: CallerNames,
    plan: &Plan<'_, T>,
) -> (AnyLoader, Own<T>) {
    let (seal, describe) = (plan.seal(), plan.describe);
    let span = tracing::Span::current();
    let (sender, own) = oneshot::channel();
    let loader = AnyLoader::new(move |keys| {
        let load = async move {
            let asked = keys.iter().map(|key| names.of(key).to_owned()).collect();
            let began = Instant::now();
            let mut values = values_by(loader, asked, describe).await?;
            let cost = began.elapsed();
            let mut all = Vec::with_capacity(keys.len());
            let mut own = Map::with_capacity_and_hasher(keys.len(), Default::default());
            for key in keys {
                let Some(value) = values.take(names.of(&key)) else {
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

/// The value that a loader of one key gives. It needs no name for it.
pub(super) async fn loaded_by<T: Model, L: Loader<One, Value = T>>(
    loader: L,
    describe: Describe,
) -> Result<T, Failure> {
    let mut values = values_by(loader, Vec::new(), describe).await?;
    // There always is one.
    values.take("").ok_or(Failure::Panicked)
}

async fn values_by<M, T: Model, L: Loader<M, Value = T>>(
    loader: L,
    names: Vec<String>,
    describe: Describe,
) -> Result<L::Values, Failure> {
    let loaded = loader.load(names).await;
    loaded.map_err(|error| Failure::Loader(SharedError::new(error, describe)))
}
