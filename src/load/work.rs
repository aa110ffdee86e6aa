//! What a load is given, and what it makes: type-erased, so that the coordinator knows neither the models nor
//! the errors of those who ask.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

pub(crate) use super::flight::Fate;
use crate::error::Error;
use crate::key::Key;
use crate::request::Names;
use crate::value::Value;

type Loading = Pin<Box<dyn Future<Output = Result<Vec<(Key, Made)>, Failure>> + Send>>;

/// A loader: it is called once, with the keys that are to be loaded. It is the user's code, whose drop may
/// panic too; nobody but its user notices.
pub(crate) struct Loader(Contained<Box<dyn FnOnce(Vec<Key>) -> Loading + Send>>);

impl Loader {
    pub(crate) fn new<F>(load: impl FnOnce(Vec<Key>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Vec<(Key, Made)>, Failure>> + Send + 'static,
    {
        Self(Contained(Some(Box::new(move |keys| Box::pin(load(keys))))))
    }

    /// Calls it. It runs when the future is polled, and not before.
    pub(crate) async fn call(mut self, keys: Vec<Key>) -> Result<Vec<(Key, Made)>, Failure> {
        match self.0.0.take() {
            Some(load) => load(keys).await,
            None => Err(Failure::Panicked),
        }
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loader")
    }
}

/// What a coordinator needs to know for a load.
#[derive(Debug)]
pub(crate) struct Work {
    /// What the values depend on.
    pub(crate) names: Names,
    /// How long the loader may take, in whole milliseconds.
    pub(crate) timeout: Duration,
    pub(crate) loader: Loader,
    /// Where the loader goes if it was not needed.
    pub(crate) unused: oneshot::Sender<Loader>,
}

/// A loaded value, as it is to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) value: Value,
    pub(crate) ttl: Option<Duration>,
    /// Whether it is stored: one that is too large is not.
    pub(crate) stored: bool,
}

/// What a caller is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Loaded {
        value: Value,
        fate: Fate,
        /// Whether the caller's own loader made it.
        own: bool,
    },
    /// The loader had nothing for the key.
    Absent,
    Failed(Failure),
    /// Somebody else has stored a value, or may have.
    LookAgain,
}

/// Why there is no value.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    Loader(SharedError),
    Panicked,
    Timeout,
    Store(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Loader(_) => "the loader answered an error",
            Failure::Panicked => "the loader panicked",
            Failure::Timeout => "the loader took too long",
            Failure::Store(_) => "the value could not be encoded",
        })
    }
}

/// A loader's error, for all who waited. Its last drop may be anybody's.
#[derive(Clone)]
pub(crate) struct SharedError(Contained<Arc<dyn Any + Send + Sync>>);

impl SharedError {
    pub(crate) fn new<E: Send + Sync + 'static>(error: E) -> Self {
        Self(Contained(Some(Arc::new(error))))
    }

    /// The error, if it is of this type.
    pub(crate) fn downcast<E: Send + Sync + 'static>(mut self) -> Option<Arc<E>> {
        match self.0.0.take()?.downcast() {
            Ok(error) => Some(error),
            Err(another) => {
                contained(|| drop(another));
                None
            }
        }
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedError")
    }
}

/// Something of a user's whose drop may panic, which ends here.
#[derive(Clone)]
struct Contained<T>(Option<T>);

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            contained(|| drop(inner));
        }
    }
}

/// Runs what may be a user's code, such as a drop or a waker: a panic ends here.
pub(super) fn contained(run: impl FnOnce()) {
    if let Err(words) = catch_unwind(AssertUnwindSafe(run)) {
        // The panic hook has told of it, and what it panicked with may panic in its own drop.
        std::mem::forget(words);
    }
}
