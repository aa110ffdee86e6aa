//! What a loader is told, and what it tells beside its value.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::super::names::IntoNames;

/// What a loader is told about a key: see [`get_or_load_with`](crate::Store::get_or_load_with).
pub struct LoadContext<T> {
    pub(super) key: String,
    pub(super) stale: Option<T>,
    pub(super) validator: Option<String>,
    pub(super) is_refresh: bool,
}

impl<T> LoadContext<T> {
    /// The context of a key without an old value.
    pub(super) fn bare(key: String) -> Self {
        Self {
            key,
            stale: None,
            validator: None,
            is_refresh: false,
        }
    }

    /// The key, as the caller gave it: without the namespace.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value that the key holds, and that the load is to replace.
    ///
    /// It is stale, or is loaded anew ahead of its time. `None` if the key holds no value, or one that does not decode.
    #[must_use]
    pub fn stale(&self) -> Option<&T> {
        self.stale.as_ref()
    }

    /// What was stored as the validator of the old value: see [`Fetched::validator`]. `None` if there is no old value.
    #[must_use]
    pub fn validator(&self) -> Option<&str> {
        self.validator.as_deref()
    }

    /// Whether the key held a value when the load began. `false` if the loader runs again because the old value has gone.
    #[must_use]
    pub fn is_refresh(&self) -> bool {
        self.is_refresh
    }
}

/// Shows no value.
impl<T> fmt::Debug for LoadContext<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadContext")
            .field("key", &self.key)
            .field("has_stale", &self.stale.is_some())
            .field("has_validator", &self.validator.is_some())
            .field("is_refresh", &self.is_refresh)
            .finish_non_exhaustive()
    }
}

/// What a loader gives: a value, and what the loader has found out about it.
///
/// ```
/// use std::time::Duration;
/// use cachestore::Fetched;
///
/// let page = Fetched::new("<html>".to_owned())
///     .ttl(Duration::from_secs(60))
///     .depends_on(["user:1", "user:2"]);
/// # let _: Fetched<String> = page;
/// ```
#[must_use = "a loader gives it to the store"]
pub struct Fetched<T> {
    /// `None` if it is the old one.
    pub(super) value: Option<T>,
    pub(super) said: Said,
}

/// What a loader says beside its value.
pub(super) struct Said {
    pub(super) ttl: Option<Duration>,
    pub(super) names: Vec<String>,
    pub(super) validator: Option<String>,
    pub(super) is_stored: bool,
}

impl<T> Fetched<T> {
    /// A value that was loaded.
    pub fn new(value: T) -> Self {
        Self::with(Some(value))
    }

    /// The old value, which the source has confirmed: it is kept for another TTL.
    ///
    /// The value keeps what it depends on and, without a new one, its validator. Its age begins anew. It counts only if the
    /// key still holds it, and if nothing has changed that the call or this answer names. Else the loader runs again,
    /// without the old value. It also runs again if the store has given out a value meanwhile that the engine does not know,
    /// such as one of a load past an unavailable engine. An answer without an old value, where [`stale`](LoadContext::stale) is `None`, makes the load
    /// fail with [`Unsupported`](crate::Error::Unsupported).
    ///
    /// ```
    /// use cachestore::{Fetched, LoadContext};
    ///
    /// # async fn get(etag: Option<&str>) -> Result<Option<(String, String)>, std::io::Error> { Ok(Some((String::new(), String::new()))) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let load = |cx: LoadContext<String>| async move {
    ///     Ok::<_, std::io::Error>(match get(cx.validator()).await? {
    ///         Some((body, etag)) => Fetched::new(body).validator(etag),
    ///         // 304 Not Modified
    ///         None => Fetched::not_modified(),
    ///     })
    /// };
    /// let body = store.get_or_load_with("page", load).await?;
    /// # Ok(()) }
    /// ```
    pub fn not_modified() -> Self {
        Self::with(None)
    }

    fn with(value: Option<T>) -> Self {
        let said = Said {
            ttl: None,
            names: Vec::new(),
            validator: None,
            is_stored: true,
        };
        Self { value, said }
    }

    /// Sets how long the value is fresh, in place of the options of the call: up to 100 years, in whole milliseconds,
    /// rounded up. A value with a time of zero is given to the callers that wait, and is not stored. A time over 100
    /// years makes the load fail with [`InvalidTtl`](crate::Error::InvalidTtl).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.said.ttl = Some(ttl);
        self
    }

    /// Ties the value to other keys, one or many, beside those that the call names. Further calls add to the names.
    ///
    /// The value is not stored if any of them has changed since the load began. A blank or reserved name makes the load
    /// fail, as it makes [`set`](crate::Store::set) fail.
    pub fn depends_on<M>(mut self, names: impl IntoNames<M>) -> Self {
        let Ok(names) = names.each(|name| Ok::<_, Infallible>(name.to_owned()));
        self.said.names.extend(names);
        self
    }

    /// Stores a validator with the value: what the source calls this version of it, such as an ETag. The next loader is given
    /// it with the old value. A value with a validator over 65,535 bytes is given and not stored. With `.go_compatible()`,
    /// validators are not stored.
    pub fn validator(mut self, validator: impl Into<String>) -> Self {
        self.said.validator = Some(validator.into());
        self
    }

    /// Gives the value to the callers that wait, and does not store it. A value that was stored before stays.
    pub fn do_not_store(mut self) -> Self {
        self.said.is_stored = false;
        self
    }
}

/// Shows no value.
impl<T> fmt::Debug for Fetched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("is_modified", &self.value.is_some())
            .field("ttl", &self.said.ttl)
            .field("names", &self.said.names)
            .field("is_stored", &self.said.is_stored)
            .finish_non_exhaustive()
    }
}

/// A loader that is given contexts: see [`get_or_load_with`](crate::Store::get_or_load_with).
pub struct ContextLoader<T, F> {
    pub(super) load: F,
    model: PhantomData<fn() -> T>,
}

impl<T, F> ContextLoader<T, F> {
    pub(super) fn new(load: F) -> Self {
        Self {
            load,
            model: PhantomData,
        }
    }
}

impl<T, F> fmt::Debug for ContextLoader<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContextLoader")
    }
}
