//! A held lock in its holder's hands.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use compact_str::CompactString;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::hold::View;
use super::{Handle, Keep, Notice};
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::ttl::Ttl;

/// What became of a release.
///
/// ```
/// use cachestore::Release;
///
/// fn describe(release: Release) -> &'static str {
///     match release {
///         Release::Released => "released",
///         Release::NotHeld => "the hold had ended before",
///     }
/// }
/// # assert_eq!(describe(Release::NotHeld), "the hold had ended before");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Release {
    /// The lock was held, and is free now.
    Released,
    /// The lock was not held any more.
    NotHeld,
}

/// A lock's hold is gone: its time is over, or it was released from elsewhere.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> cachestore::Result<()> {
/// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
/// use std::time::Duration;
///
/// use cachestore::LockLost;
///
/// let guard = store.lock("report").ttl(Duration::from_secs(1)).await?;
/// let endless = guard.run(std::future::pending::<()>()).await;
/// assert_eq!(endless, Err(LockLost));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the lock was lost: its hold has ended")]
pub struct LockLost;

/// What [`Store::lock_info`](crate::Store::lock_info) tells of a held lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LockInfo {
    /// The holder's fencing token.
    pub fencing_token: u64,
    /// How long it is still held, if it is neither renewed nor released.
    pub remaining: Duration,
}

/// The message that answers [`Lock::send_to`](crate::Lock::send_to).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
/// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
/// use cachestore::LockOutcome;
///
/// fn describe(outcome: &LockOutcome) -> String {
///     match &outcome.result {
///         Ok(guard) => format!("{} is held, fencing token {}", outcome.key, guard.fencing_token()),
///         Err(error) => format!("{} is not held: {error}", outcome.key),
///     }
/// }
///
/// let (key, result) = ("report".to_owned(), store.lock("report").await);
/// assert!(describe(&LockOutcome { key, result }).starts_with("report is held"));
/// # store.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct LockOutcome {
    /// The key of the lock, as the caller gave it: without the namespace, and also if it was refused.
    pub key: String,
    /// The guard, or why the lock was not granted.
    pub result: Result<LockGuard>,
}

/// A held lock. Its drop releases it, without blocking.
///
/// A drop cannot wait. It tells the store's actor, which sends the release while the runtime runs. If `main`
/// returns right after `drop(guard)`, a lock on a Redis server may stay held until its TTL ends. Await
/// [`release`](Self::release), or [`Store::close`](crate::Store::close) at the end of the program: it releases
/// guards that were dropped before it and those that are still held. A runtime that ends without it logs a warning.
///
/// One holder at a time until its TTL ends, counted on the holder's monotonic clock from before the
/// request was sent, as long as the engine loses no data; beyond that only the [fencing token](Self::fencing_token)
/// protects the resource.
///
/// A guard keeps its store open.
///
/// ```
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
/// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
/// let guard = store.lock("report").ttl(Duration::from_secs(10)).await?;
/// assert!(guard.remaining() > Duration::from_secs(9));
/// guard.release().await?;
/// store.close().await
/// # }
/// ```
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard {
    id: u64,
    key: CompactString,
    secret: Secret,
    token: u64,
    view: View,
    /// How long before the deadline `run` stops.
    margin: Duration,
    handle: Handle,
    /// What the drop does. `None` once the lock was released or lost otherwise.
    at_drop: Option<AtDrop>,
    _keep: Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtDrop {
    Release,
    /// The lock was held before the guard was made, and stays so.
    Forget,
}

/// What a guard is made of.
pub(super) struct Parts {
    pub(super) id: u64,
    pub(super) key: CompactString,
    pub(super) secret: Secret,
    pub(super) token: u64,
    pub(super) ttl: Duration,
    pub(super) view: View,
    pub(super) handle: Handle,
    pub(super) at_drop: AtDrop,
    pub(super) keep: Keep,
}

impl LockGuard {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            id: parts.id,
            key: parts.key,
            secret: parts.secret,
            token: parts.token,
            view: parts.view,
            // Timers have the grain of a millisecond.
            margin: (parts.ttl / 10).min(Duration::from_millis(10)),
            handle: parts.handle,
            at_drop: Some(parts.at_drop),
            _keep: parts.keep,
        }
    }

    /// The lock's key, as it was asked for.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The lock's secret. Any process that has it can renew and release the lock.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// A number that only grows from holder to holder of this lock. Send it along with every write to
    /// what the lock protects, and let that refuse writes with a lower one than it has seen: so a
    /// holder that was stopped past its TTL does no harm, nor one whose lock the server has lost.
    ///
    /// On Redis it grows for a store that has seen the last token, whatever the server has lost. A store that has not
    /// seen it may get a lower one from a server that lost it and whose clock is behind, such as a replica after a
    /// failover: then the resource refuses its writes until the clock has caught up.
    #[must_use]
    pub fn fencing_token(&self) -> u64 {
        self.token
    }

    /// How long the hold still lasts on this process's clock; zero if it is gone.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let deadline = self.view.deadline();
        deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Sets the hold's end to `ttl` from now, later or earlier than before.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let guard = store.lock("report").ttl(Duration::from_secs(10)).await?;
    /// guard.extend(Duration::from_secs(60)).await?;
    /// assert!(guard.remaining() > Duration::from_secs(59));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidTtl`](Error::InvalidTtl); [`LockMismatch`](Error::LockMismatch) if the lock is gone or
    /// another's. [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from
    /// the engine; [`OutcomeUnknown`](Error::OutcomeUnknown) if its answer was lost; on Redis,
    /// [`Unauthorized`](Error::Unauthorized).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the extension may be carried out even if the future is dropped. The guard knows.
    pub async fn extend(&self, ttl: Duration) -> Result<()> {
        let ttl = Ttl::checked(ttl)?;
        self.handle.extend(self.id, ttl).await
    }

    /// Releases the lock and waits for the answer. A lock that has passed to another is
    /// [`Release::NotHeld`]. A release whose reply was lost is asked for again, and is [`Release::Released`].
    ///
    /// A server that refuses for a passing reason is asked again: if it is a replica just now, is loading, cannot save
    /// its data, or cannot be reached. The call waits for that up to `request_timeout`. If it fails then, the library
    /// goes on trying in the background until the lock's time ends, as it does for a guard that is dropped. There is
    /// nothing left to do for the caller.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// use cachestore::{Config, Release, Store};
    ///
    /// let store = Store::open(Config::memory()).await?;
    /// let guard = store.lock("report").await?;
    /// assert_eq!(guard.release().await?, Release::Released);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`](Error::Unavailable), [`Timeout`](Error::Timeout) or
    /// [`OutcomeUnknown`](Error::OutcomeUnknown) if the server did not take the release in time: the lock may stay
    /// held until the server takes it, or until its time ends. [`Unauthorized`](Error::Unauthorized) if the server
    /// does not permit it, which is not tried again. [`Closed`](Error::Closed) if the store was closed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Safe: the lock is released, whether or not the future is polled to its end.
    pub async fn release(mut self) -> Result<Release> {
        let (sender, receiver) = oneshot::channel();
        if self.at_drop.take().is_none() {
            return Ok(Release::NotHeld);
        }
        self.handle.notify(Notice::Released(self.id, Some(sender)));
        receiver.await.unwrap_or(Err(Error::Closed))
    }

    /// Waits until the hold is gone.
    ///
    /// That is when a renewal was refused, when the deadline has passed on the local clock, when the store was
    /// closed or its runtime has ended, or when the guard was dropped. The deadline is kept by a timer of the
    /// caller's runtime. Outside a runtime, the runtime that opened the store keeps it.
    ///
    /// # Cancel safety
    ///
    /// Safe: it only watches.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.view.clone().gone(Duration::ZERO, self.handle.home())
    }

    /// Runs `future` while the lock is held. If the hold is about to end, the future is dropped before
    /// it does: a hundredth of a second before, or a tenth of the TTL if that is less. What blocks its
    /// thread cannot be stopped.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let guard = store.lock("report").ttl(Duration::from_millis(50)).await?;
    /// assert_eq!(guard.run(async { 7 }).await, Ok(7));
    /// assert!(guard.run(std::future::pending::<()>()).await.is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LockLost`].
    ///
    /// # Cancel safety
    ///
    /// As `future` is; the lock stays held.
    pub async fn run<F: Future>(&self, future: F) -> std::result::Result<F::Output, LockLost> {
        tokio::select! {
            biased;
            () = self.view.clone().gone(self.margin, self.handle.home()) => Err(LockLost),
            output = future => Ok(output),
        }
    }

    /// Ends the guard. Returns what its drop would have done.
    pub(super) fn disarm(mut self) -> Option<AtDrop> {
        self.at_drop.take()
    }

    /// Ends the guard and leaves the lock held: its secret is what releases it now.
    pub(crate) fn into_secret(mut self) -> Secret {
        self.at_drop = None;
        self.handle.notify(Notice::Forgotten(self.id));
        self.secret.clone()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        match self.at_drop.take() {
            Some(AtDrop::Release) => self.handle.notify(Notice::Released(self.id, None)),
            Some(AtDrop::Forget) => self.handle.notify(Notice::Forgotten(self.id)),
            None => {}
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("key", &self.key)
            .field("fencing_token", &self.token)
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}
