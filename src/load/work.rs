//! What a load is given, and what it makes: type-erased, so that the coordinator knows neither the models nor
//! the errors of those who ask.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

pub(crate) use super::flight::Fate;
use crate::actor::contained;
use crate::error::Error;
use crate::key::Key;
use crate::request::Names;
use crate::value::Value;

type Loading = Pin<Box<dyn Future<Output = Result<Vec<(Key, Made)>, Failure>> + Send>>;

/// A loader of any types. It is called once, with the keys that are to be loaded. It is the user's code: its drop
/// may panic, which ends here.
pub(crate) struct AnyLoader(Contained<Box<dyn FnOnce(Vec<Key>) -> Loading + Send>>);

impl AnyLoader {
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

impl fmt::Debug for AnyLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyLoader")
    }
}

/// What a coordinator needs to know for a load.
#[derive(Debug)]
pub(crate) struct Work {
    /// What the values depend on.
    pub(crate) names: Names,
    /// How long the loader may take, in whole milliseconds.
    pub(crate) timeout: Duration,
    /// How long the source of a key is left alone after a failure.
    pub(crate) retry_after: Duration,
    pub(crate) loader: AnyLoader,
    /// Where the loader goes if it was not needed.
    pub(crate) unused: oneshot::Sender<AnyLoader>,
}

/// A loaded value, as it is to be stored, and handed to the callers who joined the load.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// The model in its envelope.
    pub(crate) value: Value,
    pub(crate) form: Form,
    /// How long it is fresh; `None` for ever.
    pub(crate) fresh: Option<Duration>,
    /// How long it is kept; `None` for ever.
    pub(crate) ttl: Option<Duration>,
    /// Whether it is stored. It is not if it is too large, if it cannot be read again, or if it is fresh for no
    /// time.
    pub(crate) stored: bool,
}

/// What can read a loaded value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The store's codec.
    Stored,
    /// MessagePack in place of the store's codec, which cannot read what it has written.
    HandedOver,
    /// No codec. Only the caller whose own loader made it is given it.
    Unreadable,
}

/// What a caller is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Loaded {
        made: Made,
        fate: Fate,
        /// Whether the caller's own loader made it.
        own: bool,
    },
    /// The loader had nothing for the key. Whether it was the caller's own loader.
    Absent {
        own: bool,
    },
    Failed(Failure),
    /// Somebody else has stored a value, or may have.
    LookAgain,
    /// Another caller's loader made a value that no codec reads again, so that only that caller has it.
    Unreadable,
    /// The caller is to serve the stale value that it has.
    ServeStale,
}

/// Why there is no value.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    Loader(SharedError),
    Panicked,
    Timeout,
    Store(Error),
    /// The engine could not be asked for a lease, so that the loader was not called.
    Engine(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Loader(SharedError { text: Some(text), .. }) => {
                write!(f, "the loader answered an error: {text}")
            }
            Failure::Loader(_) => f.write_str("the loader answered an error"),
            Failure::Panicked => f.write_str("the loader panicked"),
            Failure::Timeout => f.write_str("the loader took too long"),
            Failure::Engine(error) => write!(f, "the engine failed: {error}"),
            Failure::Store(error) => write!(f, "the value could not be made ready to be stored: {error}"),
        }
    }
}

/// A loader's error, for all who waited. Its last drop may be anybody's.
#[derive(Clone)]
pub(crate) struct SharedError {
    error: Contained<Arc<dyn Any + Send + Sync>>,
    /// What is logged of it.
    text: Option<Arc<str>>,
}

impl SharedError {
    /// `describe` tells what is logged of it, if anything.
    pub(crate) fn new<E: Send + Sync + 'static>(
        error: E,
        describe: impl FnOnce(&dyn Any) -> Option<String>,
    ) -> Self {
        let text = contained(|| describe(&error)).flatten();
        Self {
            error: Contained(Some(Arc::new(error))),
            text: text.map(Arc::from),
        }
    }

    /// The error, if it is of this type.
    pub(crate) fn downcast<E: Send + Sync + 'static>(mut self) -> Option<Arc<E>> {
        match self.error.0.take()?.downcast() {
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
