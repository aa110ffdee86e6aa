//! A held lock in its holder's hands.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use compact_str::CompactString;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::hold::View;
use super::{Handle, Keep, Notice};
use crate::calls::CallName;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::ttl::Ttl;

/// The result of a release.
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
    /// The lock was held, and was released.
    Released,
    /// The lock was not held any more, or another caller held it.
    NotHeld,
}

/// The lock is lost: its TTL ended, or it was released by another call.
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

/// A held lock, as [`Store::lock_info`](crate::Store::lock_info) returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LockInfo {
    /// The holder's fencing token.
    pub fencing_token: u64,
    /// How long the lock is still held, if it is neither renewed nor released.
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
    /// The key of the lock, as the caller gave it, without the namespace. It is set even if the key was refused.
    pub key: String,
    /// The guard, or why the lock was not granted.
    pub result: Result<LockGuard>,
}

/// A held lock. Dropping the guard releases the lock, without blocking.
///
/// A drop cannot wait. It notifies the store's actor, which sends the release while the runtime runs. If `main` returns
/// right after `drop(guard)`, a lock on a Redis server may stay held until its TTL ends. So await
/// [`release`](Self::release), or [`Store::close`](crate::Store::close) at the end of the program: `close` releases the
/// guards that were dropped before, and those that are still held. If the runtime ends without a `close`, the library
/// logs a warning.
///
/// A lock has one holder until its TTL ends, as long as the engine loses no data. The TTL counts on the holder's
/// monotonic clock, from before the request was sent. After the TTL or a loss of data, only the [fencing
/// token](Self::fencing_token) protects the resource.
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

/// The parts of a guard.
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

    /// Returns the key of the lock, as the caller gave it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the secret of the lock. Any process that has the secret can renew and release the lock.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the fencing token: a number that grows with each holder of this lock.
    ///
    /// Send the token with every write to the resource that the lock protects. Let the resource refuse a write whose
    /// token is lower than one it has seen. Then a holder that was stopped for longer than its TTL does no harm, nor a
    /// holder whose lock the server has lost.
    ///
    /// On Redis, a store that has seen the last token always gets a higher one, even if the server has lost the last
    /// token. Another store may get a lower token if the server has lost the last one and its clock is behind, for
    /// example a replica after a failover. The resource then refuses the writes of that store until the clock has
    /// caught up.
    #[must_use]
    pub fn fencing_token(&self) -> u64 {
        self.token
    }

    /// Returns how long the lock is still held, on this process's clock. Zero if it is lost.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let deadline = self.view.deadline();
        deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Sets the end of the lock to `ttl` from now, later or earlier than before.
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
    /// * [`InvalidTtl`](Error::InvalidTtl) for a TTL of zero or over 100 years.
    /// * [`LockMismatch`](Error::LockMismatch) if the lock is lost.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from the engine,
    ///   and [`OutcomeUnknown`](Error::OutcomeUnknown) if the engine's answer was lost.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not change locks.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the extension may be carried out even if the future is dropped. The guard then has the new end.
    pub async fn extend(&self, ttl: Duration) -> Result<()> {
        let ttl = Ttl::checked(ttl)?;
        let extend = self.handle.extend(self.id, ttl);
        self.handle.watch(CallName::ExtendLock).over(extend).await
    }

    /// Releases the lock and waits for the answer.
    ///
    /// If another caller holds the lock by now, it returns [`Release::NotHeld`]. If the reply to a release is lost, the
    /// release is sent again, and the call returns [`Release::Released`].
    ///
    /// If the server refuses for a temporary reason, the release is sent again: if the server is a replica, is loading,
    /// cannot save its data, or cannot be reached. The call waits for up to `request_timeout`. If it then fails, the
    /// library goes on trying in the background until the lock's TTL ends, as for a dropped guard. The caller has
    /// nothing more to do.
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
    /// * [`Unavailable`](Error::Unavailable), [`Timeout`](Error::Timeout) or [`OutcomeUnknown`](Error::OutcomeUnknown)
    ///   if the server did not accept the release in time. The lock may stay held until the server accepts the release,
    ///   or until the TTL ends.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not change locks. The release is not sent
    ///   again.
    /// * [`Closed`](Error::Closed) if the store was closed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Safe: the lock is released, whether or not the future is polled to its end.
    pub async fn release(mut self) -> Result<Release> {
        let (sender, receiver) = oneshot::channel();
        if self.at_drop.take().is_none() {
            return Ok(Release::NotHeld);
        }
        let release = async {
            self.handle.notify(Notice::Released(self.id, Some(sender)));
            receiver.await.unwrap_or(Err(Error::Closed))
        };
        self.handle.watch(CallName::ReleaseLock).over(release).await
    }

    /// Waits until the lock is lost.
    ///
    /// It is lost when a renewal is refused, when its TTL has ended on the local clock, when the store is closed or its
    /// runtime has ended, or when the guard is dropped. A timer of the caller's runtime watches the TTL. Outside a
    /// runtime, a timer of the runtime that opened the store does.
    ///
    /// # Cancel safety
    ///
    /// Safe: it only watches.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.view.clone().gone(Duration::ZERO, self.handle.home())
    }

    /// Runs `future` while the lock is held, and returns its output.
    ///
    /// If the lock is about to end, `future` is dropped 10 ms before, or a tenth of the TTL before if that is less.
    /// Code that blocks its thread cannot be stopped.
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
    /// [`LockLost`] if the lock is lost before `future` has ended.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as `future`. The lock stays held.
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
