//! Counters: decimal integers that the engine adds to.

use std::future::IntoFuture;
use std::time::Duration;

use super::Store;
use super::write::BoxFuture;
use crate::calls::CallName;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::request;
use crate::ttl::Ttl;

/// The bytes of `i64::MIN`, the longest integer there is.
const LONGEST_INTEGER: usize = 20;

impl Store {
    /// Adds to a counter and returns the sum. A counter is a value that holds a 64-bit integer as decimal text.
    ///
    /// An absent key counts as 0. A counter that this call creates lives for [`ttl`](Incr::ttl), or for ever without
    /// one: `default_ttl` does not apply. An existing counter keeps its TTL and its dependencies. The call is atomic on
    /// both engines.
    ///
    /// This is enough for a rate limiter. Each window begins with the first request after the last window:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let window = Duration::from_secs(60);
    /// let requests = store.incr("requests:ada", 1).ttl(window).await?;
    /// assert!(requests <= 100, "too many requests");
    ///
    /// assert_eq!(store.incr("n", 5).await?, 5);
    /// assert_eq!(store.incr("n", -2).await?, 3);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong) or
    ///   [`KeyReserved`](Error::KeyReserved) for the key, and [`InvalidTtl`](Error::InvalidTtl) for the TTL.
    /// * [`NotAnInteger`](Error::NotAnInteger) if the key holds something else, and
    ///   [`Overflow`](Error::Overflow) if the sum does not fit into an `i64`. The value stays as it is.
    /// * [`ValueTooLarge`](Error::ValueTooLarge) if the memory engine's capacity has no room for the counter. A counter
    ///   has at most 20 bytes, and `max_value_bytes` does not apply to it.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from
    ///   the engine, and [`OutcomeUnknown`](Error::OutcomeUnknown) if the engine failed during the call or its
    ///   answer did not come.
    /// * On Redis, [`WrongType`](Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](Error::Unauthorized) if the user may not write it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the addition may be made even if the future is dropped.
    pub fn incr(&self, key: impl AsRef<str>, by: i64) -> Incr<'_> {
        Incr {
            store: self,
            key: self.key(key.as_ref()),
            by,
            ttl: None,
        }
    }

    /// Returns the value of a counter, or `None` if the key is absent. The call counts as a read of the key.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.incr("n", 5).await?;
    /// assert_eq!(store.counter("n").await?, Some(5));
    /// assert_eq!(store.counter("absent").await?, None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`NotAnInteger`](Error::NotAnInteger) if [`incr`](Self::incr) could not add to the value.
    /// * [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong) or
    ///   [`KeyReserved`](Error::KeyReserved) for the key.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from
    ///   the engine.
    /// * On Redis, [`WrongType`](Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](Error::Unauthorized) if the user may not read it.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn counter(&self, key: impl AsRef<str>) -> Result<Option<i64>> {
        let value = self.get_value(self.key(key.as_ref())?).await?;
        let integer = |value: crate::value::Value| value.to_integer().ok_or(Error::NotAnInteger);
        value.map(integer).transpose()
    }
}

/// An addition to a counter: see [`Store::incr`].
#[derive(Debug)]
#[must_use = "an addition does nothing until it is awaited"]
pub struct Incr<'a> {
    store: &'a Store,
    key: Result<Key>,
    by: i64,
    ttl: Option<Duration>,
}

impl Incr<'_> {
    /// Sets how long the counter lives if this call creates it: over zero, at most 100 years, in whole milliseconds,
    /// rounded up. An existing counter keeps its TTL. Default: for ever.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl<'a> IntoFuture for Incr<'a> {
    type Output = Result<i64>;
    type IntoFuture = BoxFuture<'a, i64>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { store, key, by, ttl } = self;
        Box::pin(async move {
            let key = key?;
            let ttl = store.count(ttl.map(Ttl::checked).transpose())?;
            store.check_room(&key, LONGEST_INTEGER)?;
            store
                .call(CallName::Incr)
                .ask(request::Incr { key, by, ttl })
                .await
        })
    }
}
