//! Locks: the builder. `by_secret` has the calls that hold no guard.

mod by_secret;
#[cfg(test)]
mod tests;

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kameo::actor::Recipient;
use tokio::time::Instant;

use super::Store;
use crate::calls::CallName;
use crate::error::{Cause, Error, Result};
use crate::key::Key;
use crate::lock::{LockGuard, LockOutcome, Wish, own_part};
use crate::secret::Secret;
use crate::ttl::{LONGEST, Ttl};

/// The TTL of a lock that names none.
const TTL: Duration = Duration::from_secs(30);

/// A request for a lock: see [`Store::lock`].
#[derive(Debug)]
#[must_use = "a lock is not taken until this is awaited or sent"]
pub struct Lock<'a> {
    store: &'a Store,
    key: Result<Key>,
    /// The key as the caller gave it, if it was refused; else empty.
    refused_key: String,
    ttl: Duration,
    wait: Duration,
    secret: Option<Result<Secret>>,
    renew: Option<Duration>,
    by_secret: bool,
}

impl Lock<'_> {
    /// Sets how long the lock is held, unless it is renewed or extended: over zero, at most 100 years, in whole
    /// milliseconds, rounded up. Default: 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how long to wait if the lock is held: at most 100 years. Zero, the default, tries once.
    ///
    /// Callers of one store get a lock in the order of their calls.
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// Sets the secret of the hold. Default: a random secret.
    ///
    /// If this secret holds the lock already, the call renews the hold and returns a second guard for it. Each of the
    /// two guards releases the lock.
    pub fn secret(mut self, secret: impl AsRef<str>) -> Self {
        self.secret = Some(Secret::given(secret.as_ref()).ok_or(Error::SecretRequired));
        self
    }

    /// Renews the lock automatically at each third of its TTL, for at most `longest`: over zero, at most 100 years.
    ///
    /// The hold ends after `longest`, counted from the grant. If `longest` is shorter than the TTL, it also is the TTL.
    /// Choose a short TTL: if the holder dies, others wait that long. Choose a `longest` that normal work never
    /// exceeds.
    pub fn renew(mut self, longest: Duration) -> Self {
        self.renew = Some(longest);
        self
    }

    /// Requests the lock for an actor and returns at once.
    ///
    /// The guard or the error is sent to `recipient` as a [`LockOutcome`], which names the key. So an actor need not
    /// block its mailbox while it waits for a lock, and can wait for several locks. The message waits for room in the
    /// mailbox. If the actor has ended when the lock is granted, the lock goes to the next caller.
    ///
    /// ```
    /// use cachestore::kameo::prelude::*;
    /// use cachestore::{Config, LockOutcome, Store};
    ///
    /// struct Worker;
    /// impl Actor for Worker {
    ///     type Args = Self;
    ///     type Error = std::convert::Infallible;
    ///     async fn on_start(worker: Self, _: ActorRef<Self>) -> Result<Self, Self::Error> {
    ///         Ok(worker)
    ///     }
    /// }
    /// impl Message<LockOutcome> for Worker {
    ///     type Reply = ();
    ///     async fn handle(&mut self, outcome: LockOutcome, ctx: &mut Context<Self, ()>) {
    ///         assert_eq!(outcome.key, "report");
    ///         assert!(outcome.result.is_ok());
    ///         ctx.stop();
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// let store = Store::open(Config::memory()).await?;
    /// let worker = Worker::spawn(Worker);
    /// store.lock("report").send_to(worker.clone().recipient());
    /// worker.wait_for_shutdown().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The outcome holds the errors of [`Store::lock`]. If the store's queue is full, the outcome is
    /// [`Timeout`](Error::Timeout) at once.
    pub fn send_to(self, recipient: Recipient<LockOutcome>) {
        let store = self.store;
        let key = match &self.key {
            Ok(key) => own_part(key, store.namespace.prefix().len()).to_owned(),
            Err(_) => self.refused_key.clone(),
        };
        match self.checked() {
            Ok(wish) => store.inner.locks.lock_for(wish, key, recipient),
            Err(error) => store.inner.locks.refuse(error, key, recipient),
        }
    }

    fn checked(self) -> Result<Wish> {
        let store = self.store;
        let key = self.key?;
        let ttl = store.count(Ttl::checked(self.ttl))?;
        if self.wait > LONGEST {
            return store.count(Err(Error::InvalidTtl { ttl: self.wait }));
        }
        let renew = store.count(self.renew.map(Ttl::checked).transpose())?;
        // A lease that lasts longer than the longest hold would outlive it.
        let ttl = renew.map_or(ttl, |longest| ttl.min(longest));
        let own_secret = self.secret.is_some();
        let secret = match self.secret {
            Some(given) => store.count(given)?,
            None => Secret::random().ok_or_else(|| Error::Unavailable(Cause::new(NoRandomness)))?,
        };
        Ok(Wish {
            key,
            prefix: store.namespace.prefix().len(),
            ttl,
            until: (!self.wait.is_zero()).then(|| Instant::now() + self.wait),
            secret,
            own_secret,
            by_secret: self.by_secret,
            renew,
            keep: Arc::clone(&store.inner) as _,
        })
    }
}

impl<'a> IntoFuture for Lock<'a> {
    type Output = Result<LockGuard>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<LockGuard>> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let store = self.store;
            let wish = self.checked()?;
            let lock = store.inner.locks.lock(wish);
            store.watch(CallName::Lock).over(lock).await
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the operating system has no randomness to give")]
struct NoRandomness;

impl Store {
    /// Takes a lock and returns its guard. Dropping the guard releases the lock.
    ///
    /// A lock has one holder until its TTL ends, as long as the engine loses no data. The TTL counts on the holder's
    /// monotonic clock, from before the request was sent. After the TTL or a loss of data, only the [fencing
    /// token](LockGuard::fencing_token) protects the resource.
    ///
    /// Locks are separate from values: a key can have both. [`clear`](Self::clear) and [`invalidate`](Self::invalidate)
    /// do not remove locks, and locks do not count towards `capacity_bytes`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let guard = store.lock("report").ttl(Duration::from_secs(10)).wait(Duration::from_secs(5)).await?;
    /// assert!(matches!(store.lock("report").await, Err(cachestore::Error::LockHeld)));
    /// drop(guard);
    /// assert!(store.lock("report").await.is_ok(), "a call finds what was dropped before it");
    /// // Before the program ends: the release is sent, and not lost with the runtime.
    /// store.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`LockHeld`](Error::LockHeld) if the lock is held, or others wait for it, and it does not come free within the
    ///   wait.
    /// * [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong), [`InvalidTtl`](Error::InvalidTtl) and
    ///   [`SecretRequired`](Error::SecretRequired) for the arguments.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from the engine,
    ///   and [`OutcomeUnknown`](Error::OutcomeUnknown) if its answer was lost. `Unavailable` also if more callers wait
    ///   than `max_lock_waiters` or `max_lock_waiters_per_key` allows.
    /// * On Redis, [`Unauthorized`](Error::Unauthorized) if the user may not take locks.
    ///
    /// During the wait, a request that fails for a temporary reason is repeated.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call leaves the line. A lock that was granted to it meanwhile is released.
    pub fn lock(&self, key: impl AsRef<str>) -> Lock<'_> {
        let given = key.as_ref();
        let key = self.lock_key(given);
        let refused_key = if key.is_err() {
            given.to_owned()
        } else {
            String::new()
        };
        Lock {
            store: self,
            key,
            refused_key,
            ttl: TTL,
            wait: Duration::ZERO,
            secret: None,
            renew: None,
            by_secret: false,
        }
    }

    fn lock_key(&self, raw: &str) -> Result<Key> {
        self.count(self.inner.keys.lock(&self.namespace, raw))
    }
}
