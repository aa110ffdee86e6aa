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
use crate::error::{Cause, Error, Result};
use crate::key::Key;
use crate::lock::{LockGuard, LockOutcome, Wish, own_part};
use crate::secret::Secret;
use crate::ttl::{LONGEST, Ttl};

/// The TTL of a lock that names none.
const TTL: Duration = Duration::from_secs(30);

/// A lock to be taken: see [`Store::lock`].
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
    /// How long the lock is held at most, unless it is renewed or extended: over zero, at most 100
    /// years, in whole milliseconds, rounded up. Default: 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long to wait for the lock if it is held: at most 100 years. Zero, the default, tries once.
    /// Callers of one store get a lock in the order in which they asked.
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// The secret to hold the lock with. If it holds the lock already, that is renewed, and this is a
    /// second guard of it: either releases it. Default: a random one.
    pub fn secret(mut self, secret: impl AsRef<str>) -> Self {
        self.secret = Some(Secret::given(secret.as_ref()).ok_or(Error::SecretRequired));
        self
    }

    /// Renews the lock by itself, at each third of its TTL, for `longest` at most: over zero, at most
    /// 100 years.
    ///
    /// The hold ends after `longest`, counted from the grant. If that is shorter than the TTL, it is the TTL.
    /// Choose a TTL as short as the work of others can wait, and a `longest` that no honest work exceeds.
    pub fn renew(mut self, longest: Duration) -> Self {
        self.renew = Some(longest);
        self
    }

    /// Asks for the lock on behalf of an actor and returns at once.
    ///
    /// The guard or the error comes to `recipient` as a [`LockOutcome`], which names the key. So an actor need
    /// not block its mailbox to wait for a lock, and can wait for several. If the actor has ended by then, the
    /// lock goes to the next caller.
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
    /// The outcome holds those of [`Store::lock`]. If the store's queue is full, it is
    /// [`Timeout`](Error::Timeout) at once.
    pub fn send_to(self, recipient: Recipient<LockOutcome>) {
        let store = self.store;
        let key = match &self.key {
            Ok(key) => own_part(key, store.namespace.prefix().len()).to_owned(),
            Err(_) => self.refused_key.clone(),
        };
        match self.checked() {
            Ok(wish) => store.inner.locks.lock_for(wish, key, recipient),
            Err(error) => {
                let result = Err(error);
                // An actor that has ended, or whose mailbox is full, is not told.
                drop(recipient.tell(LockOutcome { key, result }).try_send());
            }
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
            store.inner.locks.lock(self.checked()?).await
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the operating system has no randomness to give")]
struct NoRandomness;

impl Store {
    /// A lock by its key: awaited, it is a guard, whose drop releases the lock.
    ///
    /// One holder at a time until its TTL ends, counted on the holder's monotonic clock from before the
    /// request was sent, as long as the engine loses no data; beyond that only the
    /// [fencing token](LockGuard::fencing_token) protects the resource.
    ///
    /// Locks live apart from values: a key can have both, [`clear`](Self::clear) and
    /// [`invalidate`](Self::invalidate) leave them alone, and they count towards no bound.
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
    /// [`LockHeld`](Error::LockHeld) if it is held, or others wait for it, and does not become free in
    /// time; [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong),
    /// [`InvalidTtl`](Error::InvalidTtl) and [`SecretRequired`](Error::SecretRequired) for its arguments;
    /// [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) (also if too many wait) or
    /// [`Closed`](Error::Closed) from the engine; [`OutcomeUnknown`](Error::OutcomeUnknown) if its answer was lost; on
    /// Redis, [`Unauthorized`](Error::Unauthorized). While there is time to wait, a failing engine is asked again.
    ///
    /// # Cancel safety
    ///
    /// Safe: a call that is dropped leaves its place in the line, and a lock that was granted meanwhile is released.
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
