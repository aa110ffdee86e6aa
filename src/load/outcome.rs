//! What a load answers its caller.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::calls::{Answered, Outcome};
use crate::error::Error;

/// A value with its origin and its age: see [`Load::outcome`](crate::Load::outcome).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
    /// How long ago the value was loaded. Zero if the age is not known: for a persistent value, and for one that was
    /// written and not loaded.
    pub age: Duration,
    /// How long the value stays fresh, so that other calls get it. Zero for a value that is stale or was not stored.
    /// `None` for a persistent value, and for one that was written and not loaded.
    pub fresh_for: Option<Duration>,
}

/// The message that answers [`Load::send_to`](crate::Load::send_to).
///
/// ```
/// use cachestore::Loading;
///
/// fn describe(loading: &Loading<u32, String>) -> String {
///     match &loading.result {
///         Ok(price) => format!("{} is {price}", loading.key),
///         Err(error) => format!("{} is not known: {error}", loading.key),
///     }
/// }
///
/// let (key, result) = ("price:tea".to_owned(), Ok(3));
/// assert_eq!(describe(&Loading { key, result }), "price:tea is 3");
/// ```
#[derive(Debug)]
pub struct Loading<T, E> {
    /// The key, as the caller gave it, without the namespace. It is set even if the key was refused.
    pub key: String,
    /// The value, or why there is none.
    pub result: Result<T, LoadError<E>>,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A stored value that is fresh.
    Fresh,
    /// A stored value whose fresh time is over.
    Stale,
    /// This call's loader made it.
    Loaded,
    /// Another call's loader made it, in this process or another, while this one waited.
    Joined,
    /// It was loaded, and the key or a dependency was changed during the load. It was not stored.
    Superseded,
}

impl Origin {
    /// Returns `true` for [`Fresh`](Self::Fresh) and [`Stale`](Self::Stale): the value was stored already, and the call
    /// waited for no loader.
    ///
    /// ```
    /// use cachestore::Origin;
    ///
    /// assert!(Origin::Fresh.is_hit() && Origin::Stale.is_hit());
    /// assert!(!Origin::Loaded.is_hit() && !Origin::Joined.is_hit());
    /// ```
    #[must_use]
    pub const fn is_hit(self) -> bool {
        matches!(self, Origin::Fresh | Origin::Stale)
    }
}

/// Why a load returned no value.
///
/// All callers that waited for one load get the same error. It is a [`std::error::Error`] if the loader's error can be
/// shown (`Debug` and `Display`), so that `?` works:
///
/// ```
/// # use cachestore::Store;
/// async fn name(store: &Store) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(store.get_or_load("user:1:name", || async { find_name().await }).await?)
/// }
///
/// async fn find_name() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
///     Ok("Ada".to_owned())
/// }
/// ```
///
/// ```
/// use cachestore::{Config, LoadError, Store};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
/// let store = Store::open(Config::memory()).await?;
/// let failed = store.get_or_load("k", || async { Err::<u32, _>("no such user") }).await;
/// assert!(matches!(failed, Err(LoadError::Loader(error)) if *error == "no such user"));
/// # Ok(()) }
/// ```
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader's own error.
    Loader(Arc<E>),
    /// The loader panicked.
    Panicked,
    /// There was no value within the load's `timeout`. The loader was dropped, or this call stopped waiting for another
    /// call's loader.
    Timeout,
    /// The store refused an argument before the loader ran, could not serve the request, or could not
    /// encode or decode the value.
    Store(Error),
}

impl<T, E> Answered for Result<T, LoadError<E>> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Ok,
            Err(LoadError::Loader(_) | LoadError::Panicked) => Outcome::LoadFailed,
            Err(LoadError::Timeout) => Outcome::Timeout,
            Err(LoadError::Store(error)) => error.outcome(),
        }
    }
}

impl<E> LoadError<E> {
    /// Returns whether the same call may succeed if it is made again. For a loader's own error it returns `false`: only
    /// you know whether that error is temporary.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            LoadError::Loader(_) | LoadError::Panicked => false,
            LoadError::Timeout => true,
            LoadError::Store(error) => error.is_retryable(),
        }
    }

    /// Returns the loader's own error, or `None` if the load failed for another reason.
    ///
    /// All callers that waited for the load share it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use cachestore::LoadError;
    ///
    /// let failed = LoadError::Loader(Arc::new("no such user"));
    /// assert_eq!(failed.into_loader().as_deref(), Some(&"no such user"));
    /// assert_eq!(LoadError::<String>::Timeout.into_loader(), None);
    /// ```
    #[must_use]
    pub fn into_loader(self) -> Option<Arc<E>> {
        match self {
            LoadError::Loader(error) => Some(error),
            LoadError::Panicked | LoadError::Timeout | LoadError::Store(_) => None,
        }
    }
}

impl<E> From<Error> for LoadError<E> {
    fn from(error: Error) -> Self {
        LoadError::Store(error)
    }
}

/// Cloning shares the loader's error.
impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            LoadError::Loader(error) => LoadError::Loader(Arc::clone(error)),
            LoadError::Panicked => LoadError::Panicked,
            LoadError::Timeout => LoadError::Timeout,
            LoadError::Store(error) => LoadError::Store(error.clone()),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Loader(error) => f.debug_tuple("Loader").field(error).finish(),
            LoadError::Panicked => f.write_str("Panicked"),
            LoadError::Timeout => f.write_str("Timeout"),
            LoadError::Store(error) => f.debug_tuple("Store").field(error).finish(),
        }
    }
}

/// The message includes the message of the loader's or the store's error. The alternate form (`{:#}`) is passed on to
/// that error. [`Error`] and some other error types then show their causes too.
impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Loader(error) if f.alternate() => write!(f, "the loader failed: {error:#}"),
            LoadError::Loader(error) => write!(f, "the loader failed: {error}"),
            LoadError::Panicked => f.write_str("the loader panicked"),
            LoadError::Timeout => f.write_str("the value was not loaded in time"),
            LoadError::Store(error) if f.alternate() => {
                write!(f, "the store could not serve the load: {error:#}")
            }
            LoadError::Store(error) => write!(f, "the store could not serve the load: {error}"),
        }
    }
}

/// For every error type with `Debug` and `Display`, even one that does not implement [`Error`](std::error::Error), such
/// as `anyhow::Error` or `Box<dyn Error + Send + Sync>`. So `?` works on a load in a function that returns such an
/// error.
impl<E: fmt::Debug + fmt::Display> std::error::Error for LoadError<E> {
    /// The store's error for [`Store`](LoadError::Store). `None` for [`Loader`](LoadError::Loader): the message
    /// includes that error, and [`into_loader`](LoadError::into_loader) returns it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Loader(_) | LoadError::Panicked | LoadError::Timeout => None,
            LoadError::Store(error) => Some(error),
        }
    }
}
