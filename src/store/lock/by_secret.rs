//! Locks by their secrets, without a guard.

use std::time::Duration;

use super::Lock;
use crate::calls::CallName;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::lock::{LockInfo, Release};
use crate::request::{LockAction, LockAnswer};
use crate::secret::Secret;
use crate::store::Store;
use crate::ttl::Ttl;

impl Store {
    /// Takes a lock for `ttl` and returns the secret that releases it. Prefer [`lock`](Self::lock), whose guard
    /// releases the lock when it is dropped.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let secret = store.write_lock("report", Duration::from_secs(10)).await?;
    /// store.release_lock("report", &secret).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`LockHeld`](Error::LockHeld) if the lock is held, or others wait for it.
    /// * [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong) and
    ///   [`InvalidTtl`](Error::InvalidTtl) for its arguments.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from the
    ///   engine, and [`OutcomeUnknown`](Error::OutcomeUnknown) if the engine's answer was lost.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not take locks.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call leaves the line. A lock that was granted to it meanwhile is released.
    pub async fn write_lock(&self, key: impl AsRef<str>, ttl: Duration) -> Result<Secret> {
        self.by_secret(self.lock(key).ttl(ttl)).await
    }

    /// Takes a lock with a secret of the caller's, and returns the secret. If the secret holds the lock already, the
    /// TTL is renewed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let ttl = Duration::from_secs(10);
    /// store.write_lock_with_secret("report", "mine", ttl).await?;
    /// store.write_lock_with_secret("report", "mine", ttl).await?;
    /// let other = store.write_lock_with_secret("report", "yours", ttl).await;
    /// assert!(matches!(other, Err(cachestore::Error::LockHeld)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`LockHeld`](Error::LockHeld) if another secret holds it, or others wait for it.
    /// * [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong) and
    ///   [`InvalidTtl`](Error::InvalidTtl) for its arguments, and [`SecretRequired`](Error::SecretRequired) if the
    ///   secret is empty or blank.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from the
    ///   engine, and [`OutcomeUnknown`](Error::OutcomeUnknown) if the engine's answer was lost.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not take locks.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call leaves the line. A lock that was granted to it meanwhile is released. A lock that the
    /// secret held before stays held, and its TTL may have been renewed.
    pub async fn write_lock_with_secret(
        &self,
        key: impl AsRef<str>,
        secret: impl AsRef<str>,
        ttl: Duration,
    ) -> Result<Secret> {
        self.by_secret(self.lock(key).ttl(ttl).secret(secret)).await
    }

    /// Takes a lock and returns its secret, waiting for the lock for up to `wait`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let (ttl, wait) = (Duration::from_secs(10), Duration::from_secs(1));
    /// store.wait_write_lock("report", ttl, wait).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`WaitRequired`](Error::WaitRequired) if `wait` is zero.
    /// * [`LockHeld`](Error::LockHeld) if the lock does not come free within `wait`.
    /// * [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong) and
    ///   [`InvalidTtl`](Error::InvalidTtl) for its arguments.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from the
    ///   engine, and [`OutcomeUnknown`](Error::OutcomeUnknown) if the engine's answer was lost.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not take locks.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call leaves the line. A lock that was granted to it meanwhile is released.
    pub async fn wait_write_lock(
        &self,
        key: impl AsRef<str>,
        ttl: Duration,
        wait: Duration,
    ) -> Result<Secret> {
        let lock = self.lock(key).ttl(ttl).wait(wait);
        if wait.is_zero() && lock.key.is_ok() {
            return self.count(Err(Error::WaitRequired));
        }
        self.by_secret(lock).await
    }

    async fn by_secret(&self, mut lock: Lock<'_>) -> Result<Secret> {
        lock.by_secret = true;
        Ok(lock.await?.into_secret())
    }

    /// Releases a lock by its secret. A lock that is not held is [`Release::NotHeld`].
    ///
    /// If the server refuses for a temporary reason, the release is sent again: if the server is a replica, is loading,
    /// cannot save its data, or cannot be reached. The call waits for up to `request_timeout`. If it then fails, the
    /// library goes on trying in the background for a minute after the call, for at most 4,096 such calls. Taking or
    /// extending the lock with the same secret stops the attempts.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cachestore::Release;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let secret = store.write_lock("report", Duration::from_secs(10)).await?;
    /// assert_eq!(store.release_lock("report", &secret).await?, Release::Released);
    /// assert_eq!(store.release_lock("report", &secret).await?, Release::NotHeld);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`LockMismatch`](Error::LockMismatch) if the lock is held with another secret.
    /// * [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong) and
    ///   [`SecretRequired`](Error::SecretRequired) for the arguments.
    /// * [`Unavailable`](Error::Unavailable) or [`Timeout`](Error::Timeout) if the server did not accept the release in
    ///   time, and [`OutcomeUnknown`](Error::OutcomeUnknown) if its answer was lost. The lock may stay held until the
    ///   server accepts the release.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not change locks.
    /// * [`Closed`](Error::Closed) if the store was closed.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the lock may be released even if the future is dropped.
    pub async fn release_lock(&self, key: impl AsRef<str>, secret: impl AsRef<str>) -> Result<Release> {
        let (key, secret) = self.key_and_secret(key.as_ref(), secret.as_ref())?;
        let release = LockAction::Release { secret, token: None };
        match self.lock_step(CallName::ReleaseLock, key, release).await? {
            LockAnswer::Done => Ok(Release::Released),
            _ => Ok(Release::NotHeld),
        }
    }

    /// Sets the end of a lock to `ttl` from now. Returns `true` if the lock was held.
    ///
    /// A guard of this store that holds the lock counts on the earlier end from the time of the call. It does not count
    /// on a later one: use [`LockGuard::extend`](crate::LockGuard::extend) for that.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let secret = store.write_lock("report", Duration::from_secs(10)).await?;
    /// assert!(store.extend_lock("report", &secret, Duration::from_secs(60)).await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`LockMismatch`](Error::LockMismatch) if the lock is held with another secret.
    /// * [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong),
    ///   [`SecretRequired`](Error::SecretRequired) and [`InvalidTtl`](Error::InvalidTtl) for its arguments.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from the
    ///   engine, and [`OutcomeUnknown`](Error::OutcomeUnknown) if the engine's answer was lost.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not change locks.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the lock may be extended even if the future is dropped.
    pub async fn extend_lock(
        &self,
        key: impl AsRef<str>,
        secret: impl AsRef<str>,
        ttl: Duration,
    ) -> Result<bool> {
        let (key, secret) = self.key_and_secret(key.as_ref(), secret.as_ref())?;
        let ttl = self.count(Ttl::checked(ttl))?;
        let token = None;
        let extend = LockAction::Extend { secret, ttl, token };
        match self.lock_step(CallName::ExtendLock, key, extend).await? {
            LockAnswer::Done => Ok(true),
            _ => Ok(false),
        }
    }

    /// One step on a lock, which is an error if it is by another secret than the holder's.
    async fn lock_step(&self, name: CallName, key: Key, action: LockAction) -> Result<LockAnswer> {
        let step = async {
            match self.inner.locks.step(key, action).await? {
                LockAnswer::Mismatch => Err(Error::LockMismatch),
                answer => Ok(answer),
            }
        };
        self.watch(name).over(step).await
    }

    fn key_and_secret(&self, key: &str, secret: &str) -> Result<(Key, Secret)> {
        let key = self.lock_key(key)?;
        let secret = self.count(Secret::given(secret).ok_or(Error::SecretRequired))?;
        Ok((key, secret))
    }

    /// Returns the fencing token of a lock's holder and the remaining time, or `None` if the lock is free.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let guard = store.lock("report").await?;
    /// assert_eq!(store.lock_info("report").await?.unwrap().fencing_token, guard.fencing_token());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](Error::KeyRequired) and [`KeyTooLong`](Error::KeyTooLong) for the key.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from the engine.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not read locks.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn lock_info(&self, key: impl AsRef<str>) -> Result<Option<LockInfo>> {
        let key = self.lock_key(key.as_ref())?;
        Ok(
            match self.lock_step(CallName::LockInfo, key, LockAction::Info).await? {
                LockAnswer::Held { remaining, token } => Some(LockInfo {
                    fencing_token: token,
                    remaining,
                }),
                _ => None,
            },
        )
    }

    /// Releases a lock, whichever secret holds it. Returns `true` if the lock was held.
    ///
    /// The holder notices when it renews the lock, or when its TTL ends. Until then, only the [fencing
    /// token](crate::LockGuard::fencing_token) protects the resource.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let guard = store.lock("report").await?;
    /// assert!(store.force_release("report").await?);
    /// assert!(!store.force_release("report").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](Error::KeyRequired) and [`KeyTooLong`](Error::KeyTooLong) for the key.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from the engine,
    ///   and [`OutcomeUnknown`](Error::OutcomeUnknown) if the engine's answer was lost.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not change locks.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the lock may be released even if the future is dropped.
    pub async fn force_release(&self, key: impl AsRef<str>) -> Result<bool> {
        let key = self.lock_key(key.as_ref())?;
        let answer = self
            .lock_step(CallName::ForceRelease, key, LockAction::Force)
            .await?;
        Ok(answer == LockAnswer::Done)
    }
}
