//! What loads values: the closures that callers give.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::sealed::Values as _;
use super::super::{Many, One};
use super::asked::CallerNames;
use super::context::{ContextLoader, Fetched, LoadContext, Said};
use super::options::Describe;
use super::plan::Plan;
use super::seal::{NOTHING_TO_KEEP, Old, Seal};
use crate::actor::contained;
use crate::key::Key;
use crate::load::{AnyLoader, Failure, HeldLeases, Made, SharedError, ToLoad};
use crate::prehashed::Map;
use crate::spans::Cause;

/// A loader: a closure that returns one value, or the values of many keys.
///
/// [`get_or_load`](crate::Store::get_or_load) takes a closure `FnOnce() -> Future<Output = Result<T, E>>`, and
/// [`get_or_load_many`](crate::Store::get_or_load_many) a closure
/// `FnOnce(Vec<String>) -> Future<Output = Result<HashMap<String, T>, E>>`. `T` is a [`Model`]. The closure, its
/// future and `E` are `Send + 'static`, and `E` is also `Sync`. The closures of
/// [`get_or_load_with`](crate::Store::get_or_load_with) and
/// [`get_or_load_many_with`](crate::Store::get_or_load_many_with) are wrapped in a [`ContextLoader`]. The compiler infers
/// the marker `M`, which is [`One`] or [`Many`]. The trait is sealed: other types cannot implement it.
pub trait Loader<M>: sealed::Load<M> {}

impl<M, L: sealed::Load<M>> Loader<M> for L {}

/// A model that can be loaded: any type that serde writes and reads, and that can be sent between threads.
pub trait Model: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Model for T {}

mod sealed {
    use super::{ContextLoader, Fetched, HashMap, LoadContext, Many, Model, One};

    /// The marker keeps the implementations apart.
    pub trait Load<M>: Send + Sized + 'static {
        type Value: Model;
        type Error: Send + Sync + 'static;
        type Values: Values<Self::Value>;

        /// Whether it is told more of a key than its name.
        const HAS_CONTEXTS: bool = false;

        /// Loads the values of keys. Returns itself beside the values to come, if it can be called again.
        fn load(
            self,
            contexts: Vec<LoadContext<Self::Value>>,
        ) -> (
            impl Future<Output = Result<Self::Values, Self::Error>> + Send + 'static,
            Option<Self>,
        );
    }

    /// Values by the names of their keys.
    pub trait Values<T>: Send {
        /// The value of a key, unless the loader had none.
        fn take(&mut self, name: &str) -> Option<Fetched<T>>;
    }

    impl<T: Model> Values<T> for Option<Fetched<T>> {
        fn take(&mut self, _: &str) -> Option<Fetched<T>> {
            self.take()
        }
    }

    impl<T: Model> Values<T> for HashMap<String, T> {
        fn take(&mut self, name: &str) -> Option<Fetched<T>> {
            self.remove(name).map(Fetched::new)
        }
    }

    impl<T: Model> Values<T> for HashMap<String, Fetched<T>> {
        fn take(&mut self, name: &str) -> Option<Fetched<T>> {
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
        type Values = Option<Fetched<T>>;

        fn load(
            self,
            _: Vec<LoadContext<T>>,
        ) -> (
            impl Future<Output = Result<Option<Fetched<T>>, E>> + Send + 'static,
            Option<Self>,
        ) {
            (async move { self().await.map(Fetched::new).map(Some) }, None)
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

        fn load(
            self,
            contexts: Vec<LoadContext<T>>,
        ) -> (
            impl Future<Output = Result<HashMap<String, T>, E>> + Send + 'static,
            Option<Self>,
        ) {
            let names = contexts.into_iter().map(|context| context.key).collect();
            (async move { self(names).await }, None)
        }
    }

    impl<T, E, F, Fut> Load<One> for ContextLoader<T, F>
    where
        F: Fn(LoadContext<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Fetched<T>, E>> + Send + 'static,
        T: Model,
        E: Send + Sync + 'static,
    {
        type Value = T;
        type Error = E;
        type Values = Option<Fetched<T>>;

        const HAS_CONTEXTS: bool = true;

        fn load(
            self,
            contexts: Vec<LoadContext<T>>,
        ) -> (
            impl Future<Output = Result<Option<Fetched<T>>, E>> + Send + 'static,
            Option<Self>,
        ) {
            let load = contexts.into_iter().next().map(|context| (self.load)(context));
            let values = async move {
                match load {
                    Some(load) => load.await.map(Some),
                    None => Ok(None),
                }
            };
            (values, Some(self))
        }
    }

    impl<T, E, F, Fut> Load<Many> for ContextLoader<T, F>
    where
        F: Fn(Vec<LoadContext<T>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<String, Fetched<T>>, E>> + Send + 'static,
        T: Model,
        E: Send + Sync + 'static,
    {
        type Value = T;
        type Error = E;
        type Values = HashMap<String, Fetched<T>>;

        const HAS_CONTEXTS: bool = true;

        fn load(
            self,
            contexts: Vec<LoadContext<T>>,
        ) -> (
            impl Future<Output = Result<HashMap<String, Fetched<T>>, E>> + Send + 'static,
            Option<Self>,
        ) {
            ((self.load)(contexts), Some(self))
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
    cause: Cause,
) -> (AnyLoader, Own<T>) {
    let (seal, describe) = (plan.seal(), plan.describe);
    let (sender, own) = oneshot::channel();
    let loader = AnyLoader::new(L::HAS_CONTEXTS, cause, async move |to_load, leases| {
        let run = Run {
            seal,
            names,
            describe,
            leases,
        };
        let (all, own) = run.load(loader, to_load).await?;
        contained(|| drop(sender.send(own)));
        Ok(all)
    });
    (loader, own)
}

/// One call of a loader, and what goes with it.
struct Run<T> {
    seal: Seal<T>,
    names: CallerNames,
    describe: Describe,
    leases: Option<HeldLeases>,
}

/// What a loader has made, as it is stored, and as its own call gets it.
type AllMade<T> = (Vec<(Key, Made)>, Map<Key, T>);

impl<T: Model> Run<T> {
    /// Loads values. The loader is called once more for the keys whose old values it has confirmed and that are not kept.
    async fn load<M, L: Loader<M, Value = T>>(
        &self,
        loader: L,
        to_load: Vec<ToLoad>,
    ) -> Result<AllMade<T>, Failure> {
        let mut made = (Vec::with_capacity(to_load.len()), Map::default());
        let contexts = to_load.iter().map(|to_load| self.context(to_load)).collect();
        let began = Instant::now();
        let (mut values, again) = values_by(loader, contexts, self.describe).await?;
        let cost = began.elapsed();
        // Keys whose old values the loader has confirmed, and that hold them no more.
        let mut lost = Vec::new();
        for ToLoad { key, held } in to_load {
            match values.take(self.names.of(&key)) {
                Some(Fetched { value: None, said }) => {
                    let held = held.and_then(|held| self.seal.open(&held));
                    match self.keep(&key, held, said, cost).await? {
                        Some((kept, model)) => add(&mut made, key, kept, model),
                        None => lost.push(key),
                    }
                }
                Some(fetched) => self.add(&mut made, key, fetched, cost)?,
                None => {}
            }
        }
        let Some(again) = again.filter(|_| !lost.is_empty()) else {
            return Ok(made);
        };
        let contexts = lost.iter().map(|key| self.bare(key)).collect();
        let began = Instant::now();
        let (mut values, _) = values_by(again, contexts, self.describe).await?;
        let cost = began.elapsed();
        for key in lost {
            if let Some(fetched) = values.take(self.names.of(&key)) {
                self.add(&mut made, key, fetched, cost)?;
            }
        }
        Ok(made)
    }

    /// What the loader is told of a key.
    fn context(&self, to_load: &ToLoad) -> LoadContext<T> {
        let bare = self.bare(&to_load.key);
        let Some(held) = &to_load.held else {
            return bare;
        };
        let old = self.seal.open(held);
        LoadContext {
            validator: old.as_ref().and_then(Old::validator),
            stale: old.map(|old| old.model),
            is_refresh: true,
            ..bare
        }
    }

    /// The context of a key without an old value.
    fn bare(&self, key: &Key) -> LoadContext<T> {
        LoadContext::bare(self.names.of(key).to_owned())
    }

    /// Keeps an old value that the loader has confirmed. Returns `None` if the key does not hold it any more, or if
    /// something has changed or may have changed.
    async fn keep(
        &self,
        key: &Key,
        old: Option<Old<T>>,
        said: Said,
        cost: Duration,
    ) -> Result<Option<(Made, T)>, Failure> {
        let old = old.ok_or(Failure::Store(NOTHING_TO_KEEP))?;
        let (made, renewal) = self.seal.confirm(key, &old, said, cost)?;
        if made.kept {
            let kept = match &self.leases {
                Some(leases) => leases.keep(key, renewal).await,
                None => false,
            };
            if !kept {
                return Ok(None);
            }
        }
        Ok(Some((made, old.model)))
    }

    fn add(
        &self,
        all: &mut AllMade<T>,
        key: Key,
        fetched: Fetched<T>,
        cost: Duration,
    ) -> Result<(), Failure> {
        let (made, value) = self.seal.seal(&key, fetched, cost)?;
        add(all, key, made, value);
        Ok(())
    }
}

fn add<T>((all, own): &mut AllMade<T>, key: Key, made: Made, value: T) {
    all.push((key.clone(), made));
    own.insert(key, value);
}

/// What a loader of one key gives. The key holds nothing.
pub(super) async fn loaded_by<T: Model, L: Loader<One, Value = T>>(
    loader: L,
    name: Option<String>,
    describe: Describe,
) -> Result<Fetched<T>, Failure> {
    let contexts = name.into_iter().map(LoadContext::bare).collect();
    let (mut values, _) = values_by(loader, contexts, describe).await?;
    // There always is one.
    values.take("").ok_or(Failure::Panicked)
}

async fn values_by<M, T: Model, L: Loader<M, Value = T>>(
    loader: L,
    contexts: Vec<LoadContext<T>>,
    describe: Describe,
) -> Result<(L::Values, Option<L>), Failure> {
    let (values, again) = loader.load(contexts);
    match values.await {
        Ok(values) => Ok((values, again)),
        Err(error) => Err(Failure::Loader(SharedError::new(error, describe))),
    }
}
