//! What a load is given, and what it makes: type-erased, so that the coordinator knows neither the models nor
//! the errors of those who ask.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Id;

pub(crate) use super::flight::Fate;
use crate::actor::queue::QueueSender;
use crate::calls::{Answered, Outcome};
use crate::contain::{Contained, contained};
use crate::error::Error;
use crate::key::Key;
use crate::request::{Aged, Lease, LeaseAction, LeaseAnswer, Names, Renewal, Token};
use crate::spans::{Cause, LoadSpan, Tie};
use crate::value::Value;

type Loading = Pin<Box<dyn Future<Output = Result<Vec<(Key, Made)>, Failure>> + Send>>;

/// A key that is to be loaded.
#[derive(Debug)]
pub(crate) struct ToLoad {
    pub(crate) key: Key,
    /// What it held when its lease was taken, if the loader wants to know.
    pub(crate) held: Option<Aged>,
}

/// How many values were given out of which the engine may not know. Each is counted before anybody is given it.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnknownValues(Arc<AtomicU64>);

impl UnknownValues {
    pub(super) fn count_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The leases of a load that runs. By them, it keeps the old values that its loader confirms.
#[derive(Debug)]
pub(crate) struct HeldLeases {
    pub(crate) engine: QueueSender,
    pub(crate) token: Token,
    /// Until when the load may run.
    pub(crate) limit: Instant,
    pub(crate) unknown: UnknownValues,
    /// The count of `unknown` when the load began.
    pub(crate) unknown_before: u64,
}

impl HeldLeases {
    /// Keeps the value of a key, which ends the lease of the key. Returns `false` if there is nothing to keep, if that is not
    /// known, or if the loader may have read a value that the engine does not know.
    ///
    /// The loader has ended, so it has read nothing that is counted from now on.
    pub(crate) async fn keep(&self, key: &Key, renewal: Renewal) -> bool {
        if self.unknown.count() != self.unknown_before {
            return false;
        }
        let step = Box::new(LeaseAction::Renew {
            key: key.clone(),
            token: self.token,
            renewal,
        });
        let kept = self.engine.call_until(self.limit).ask(Lease { step }).await;
        matches!(kept, Ok(LeaseAnswer::Stored(true)))
    }
}

type Call = dyn FnOnce(Vec<ToLoad>, Option<HeldLeases>) -> Loading + Send;

/// A loader of any types. It is called once, with the keys that are to be loaded. It is the user's code: its drop
/// may panic, which ends here.
pub(crate) struct AnyLoader {
    load: Contained<Box<Call>>,
    /// The call that it belongs to.
    cause: Cause,
    /// Whether it is given contexts: it knows what the keys held, and may find out what their values depend on.
    pub(crate) has_contexts: bool,
}

impl AnyLoader {
    pub(crate) fn new<F>(
        has_contexts: bool,
        cause: Cause,
        load: impl FnOnce(Vec<ToLoad>, Option<HeldLeases>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Vec<(Key, Made)>, Failure>> + Send + 'static,
    {
        let load: Box<Call> = Box::new(move |keys, leases| Box::pin(load(keys, leases)));
        let load = Contained::new(load);
        Self {
            load,
            cause,
            has_contexts,
        }
    }

    /// The id of the span of its call, if it has one.
    pub(crate) fn span_of_call(&self) -> Option<Id> {
        self.cause.id()
    }

    /// The span of the load for which it is called next.
    pub(crate) fn open_span(&self, tie: Tie) -> LoadSpan {
        self.cause.open(tie)
    }

    /// Calls it. It runs when the future is polled, and not before. `leases` are those of the keys, if they have any.
    pub(crate) async fn call(
        mut self,
        keys: Vec<ToLoad>,
        leases: Option<HeldLeases>,
    ) -> Result<Vec<(Key, Made)>, Failure> {
        match self.load.take() {
            Some(load) => load(keys, leases).await,
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
    /// Whether it is stored. It is not if it is too large, if it cannot be read again, if it is fresh for no time, or if
    /// its loader says so.
    pub(crate) stored: bool,
    /// Whether it is the old value, which the engine has kept already.
    pub(crate) kept: bool,
    /// All that it depends on, if its loader has found out more than the call had named.
    pub(crate) names: Option<Names>,
}

impl Made {
    /// All that it depends on. The call had named `names`.
    pub(crate) fn depends_on(&self, names: &Names) -> Names {
        self.names.as_ref().unwrap_or(names).clone()
    }

    /// Whether it depends on names that its lease did not have.
    pub(crate) fn has_late_names(&self) -> bool {
        self.names.is_some()
    }
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

impl<T> Answered for Result<T, Failure> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Ok,
            Err(Failure::Loader(_) | Failure::Panicked) => Outcome::LoadFailed,
            Err(Failure::Timeout) => Outcome::Timeout,
            Err(Failure::Store(error) | Failure::Engine(error)) => error.outcome(),
        }
    }
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
            error: Contained::new(Arc::new(error)),
            text: text.map(Arc::from),
        }
    }

    /// The error, if it is of this type.
    pub(crate) fn downcast<E: Send + Sync + 'static>(mut self) -> Option<Arc<E>> {
        match self.error.take()?.downcast() {
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
