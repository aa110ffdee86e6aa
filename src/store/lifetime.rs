//! How long keys live: reading and changing the TTL of one key at a time.

use std::time::Duration;

use bytes::Bytes;

use super::Store;
use crate::calls::CallName;
use crate::error::Result;
use crate::request;
use crate::ttl::Ttl;

impl Store {
    /// Returns how long a key still lives, or `None` if the key is absent.
    ///
    /// For a loaded value, it returns how long the value is still fresh, and `None` once it is stale: see *Loaded
    /// values in other calls* at [`get_or_load`](Self::get_or_load).
    ///
    /// ```
    /// # use cachestore::Ttl;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("k", "v").await?;
    /// assert_eq!(store.ttl("k").await?, Some(Ttl::Persistent));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not read it.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn ttl(&self, key: impl AsRef<str>) -> Result<Option<Ttl>> {
        let key = self.key(key.as_ref())?;
        self.call(CallName::Ttl).ask(request::GetTtl { key }).await
    }

    /// Lets a key live for `ttl` from now. Returns `true` if the key holds a value.
    ///
    /// The dependencies stay. `ttl` is over zero and at most 100 years, in whole milliseconds, rounded up. For a loaded
    /// value, `ttl` is the new fresh time, and the stale windows follow it. A stale value stays stale, and the call
    /// returns `false`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// assert!(!store.expire("absent", Duration::from_secs(1)).await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key, and [`InvalidTtl`](crate::Error::InvalidTtl) for a
    ///   TTL of zero or over 100 years. A refused call changes nothing.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the engine failed during the call or its answer
    ///   did not come. It is not sent again.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the change may be made even if the future is dropped.
    pub async fn expire(&self, key: impl AsRef<str>, ttl: Duration) -> Result<bool> {
        let key = self.key(key.as_ref())?;
        let ttl = Some(self.count(Ttl::checked(ttl))?);
        self.call(CallName::Expire)
            .ask(request::Expire { key, ttl })
            .await
    }

    /// Returns the value of a key and lets the key live for `ttl` from now, in one step. Returns `None` if the key is
    /// absent.
    ///
    /// Use it for sliding expiry, as sessions need it. It returns what [`get`](Self::get) returns, and counts as one
    /// hit or one miss. It changes the TTL as [`expire`](Self::expire) does: dependencies stay, and a loaded value gets
    /// a new fresh time. A stale loaded value is returned and stays stale. The results of running loads that depend on
    /// the key may be stored, because the value does not change.
    ///
    /// For a model, call [`get_model`](Self::get_model), and then `expire`, which returns `false` if the entry has ended
    /// between the two calls.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let idle = Duration::from_secs(1800);
    /// store.set("session:1", "ada").ttl(idle).await?;
    /// // Each visit lets the session live for another half hour.
    /// let session = store.get_and_touch("session:1", idle).await?;
    /// assert_eq!(session.as_deref(), Some(&b"ada"[..]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key, and [`InvalidTtl`](crate::Error::InvalidTtl) for a
    ///   TTL of zero or over 100 years. A refused call changes nothing.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the engine failed during the call or its answer
    ///   did not come. It is not sent again.
    /// * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, which stays
    ///   as it is, and [`Unauthorized`](crate::Error::Unauthorized) if the user may not read and write it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the TTL may be changed even if the future is dropped.
    pub async fn get_and_touch(&self, key: impl AsRef<str>, ttl: Duration) -> Result<Option<Bytes>> {
        let key = self.key(key.as_ref())?;
        let ttl = self.count(Ttl::checked(ttl))?;
        let value = self
            .call(CallName::GetAndTouch)
            .ask(request::GetAndTouch { key, ttl })
            .await?;
        Ok(value.map(Bytes::from))
    }

    /// Removes the TTL of a key. Returns `true` if the key had a TTL.
    ///
    /// The dependencies stay. A loaded value becomes fresh for ever. A stale value stays stale, and the call returns
    /// `false`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// assert!(!store.persist("absent").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the engine failed during the call or its answer
    ///   did not come. It is not sent again.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the change may be made even if the future is dropped.
    pub async fn persist(&self, key: impl AsRef<str>) -> Result<bool> {
        let key = self.key(key.as_ref())?;
        self.call(CallName::Persist)
            .ask(request::Expire { key, ttl: None })
            .await
    }
}
