//! What a load is given beside its loader, and what follows from it for one value.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::Store;
use super::super::options::{Lifetime, Options, UnboundOptions as UnboundWrite};
use super::setters::setters;
use crate::error::{Error, Result};
use crate::load::Serving;
use crate::ttl::{LONGEST, Ttl};

/// How long a loader may take if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a call with something stale to serve waits for a load if nothing else is said.
const SOFT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a source is left alone after a failure if nothing else is said.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The most characters of a loader's error that are logged.
const LOGGED: usize = 500;

pub(super) type TtlFor<T> = Arc<dyn Fn(&T) -> Duration + Send + Sync>;
/// What of a loader's error is logged.
pub(super) type Describe = fn(&dyn Any) -> Option<String>;

/// Options that several loads share.
///
/// Each setter has the same name and meaning as on [`Load`](crate::Load) and [`LoadMany`](crate::LoadMany).
///
/// ```
/// use std::time::Duration;
/// use cachestore::LoadOptions;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
/// let patient = LoadOptions::default()
///     .ttl(Duration::from_secs(60))
///     .stale_if_error(Duration::from_secs(600));
/// let load = || async { Ok::<_, std::io::Error>(42) };
/// let answer = store.get_or_load("answer", load).options(&patient).depends_on(["question"]).await?;
/// assert_eq!(answer, 42);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until they are given to a load"]
pub struct LoadOptions {
    ttl: Lifetime,
    pub(super) serving: Serving,
    pub(super) timeout: Duration,
    pub(super) soft: Duration,
    pub(super) retry_after: Duration,
    pub(super) jitter: f64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            ttl: Lifetime::Default,
            serving: Serving::default(),
            timeout: TIMEOUT,
            soft: SOFT_TIMEOUT,
            retry_after: RETRY_AFTER,
            jitter: 0.0,
        }
    }
}

impl LoadOptions {
    setters!(self, self.ttl, self);

    /// Refuses what is out of bounds, but for the TTL, which all writes have.
    pub(super) fn check(&self) -> Result<()> {
        Ttl::checked(self.timeout)?;
        let Serving {
            revalidate,
            on_error,
            ahead,
            is_due: _,
        } = self.serving;
        for window in [revalidate, on_error, self.soft, self.retry_after] {
            if window > LONGEST {
                return Err(Error::InvalidTtl { ttl: window });
            }
        }
        for (name, fraction) in [("jitter", Some(self.jitter)), ("refresh_ahead", ahead)] {
            if fraction.is_some_and(|fraction| !(0.0..=1.0).contains(&fraction)) {
                let reason = format!("{name} is a fraction from 0 to 1");
                return Err(Error::InvalidConfig { reason });
            }
        }
        Ok(())
    }
}

/// All that one load is given beside its loader.
pub(super) struct CallOptions<'a, T> {
    pub(super) write: Options<'a>,
    pub(super) ttl_for: Option<TtlFor<T>>,
    pub(super) describe: Describe,
    /// All but the TTL, which is in `write`.
    pub(super) shared: LoadOptions,
}

/// The same without the store.
pub(super) struct UnboundOptions<T> {
    write: UnboundWrite,
    ttl_for: Option<TtlFor<T>>,
    describe: Describe,
    shared: LoadOptions,
}

impl<T> UnboundOptions<T> {
    pub(super) fn of(self, store: &Store) -> CallOptions<'_, T> {
        CallOptions {
            write: self.write.of(store),
            ttl_for: self.ttl_for,
            describe: self.describe,
            shared: self.shared,
        }
    }
}

impl<'a, T> CallOptions<'a, T> {
    pub(super) fn unbound(self) -> UnboundOptions<T> {
        UnboundOptions {
            write: self.write.unbound(),
            ttl_for: self.ttl_for,
            describe: self.describe,
            shared: self.shared,
        }
    }

    #[inline]
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            write: Options::new(store),
            ttl_for: None,
            describe: known,
            shared: LoadOptions::default(),
        }
    }

    pub(super) fn store(&self) -> &'a Store {
        self.write.store()
    }

    /// Takes options in place of all that were set before.
    pub(super) fn share(&mut self, options: &LoadOptions) {
        self.write.ttl = options.ttl;
        self.shared = options.clone();
    }
}

impl<T> fmt::Debug for CallOptions<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("write", &self.write)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

/// What is logged of errors that the library knows: texts, and those of the standard library and its own.
fn known(error: &dyn Any) -> Option<String> {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    displayed::<String>(error)
        .or_else(|| displayed::<&'static str>(error))
        .or_else(|| displayed::<Boxed>(error))
        .or_else(|| displayed::<std::io::Error>(error))
        .or_else(|| displayed::<Error>(error))
}

/// What is logged of an error that can be shown, if it is of this type.
pub(super) fn displayed<E: fmt::Display + 'static>(error: &dyn Any) -> Option<String> {
    let error = error.downcast_ref::<E>()?;
    Some(error.to_string().chars().take(LOGGED).collect())
}

/// Logs nothing of an error.
pub(super) fn hidden(_: &dyn Any) -> Option<String> {
    None
}
