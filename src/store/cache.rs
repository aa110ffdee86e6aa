//! Values: one key at a time.

use bytes::Bytes;
use tokio::task::coop::consume_budget;

use super::{Set, SetIf, Store, Swap};
use crate::calls::CallName;
use crate::codec::{DecodeError, DecodeErrorKind};
use crate::error::Result;
use crate::key::Key;
use crate::request::{self, Condition};
use crate::value::Value;

impl Store {
    /// Returns the value of a key, or `None` if the key is absent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("k", b"v").await?;
    /// assert_eq!(store.get("k").await?.as_deref(), Some(&b"v"[..]));
    /// assert_eq!(store.get("absent").await?, None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine.
    /// * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](crate::Error::Unauthorized) if the user may not read it.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn get(&self, key: impl AsRef<str>) -> Result<Option<Bytes>> {
        let key = self.key(key.as_ref())?;
        if let Some(bytes) = self.read_near(&key, |value, _| value.to_bytes()).await {
            return Ok(Some(bytes));
        }
        Ok(self.ask_value(key).await?.map(Bytes::from))
    }

    pub(super) async fn get_value(&self, key: Key) -> Result<Option<Value>> {
        match self.read_near(&key, |value, _| value.clone()).await {
            Some(value) => Ok(Some(value)),
            None => self.ask_value(key).await,
        }
    }

    async fn ask_value(&self, key: Key) -> Result<Option<Value>> {
        self.call(CallName::Get).ask(request::Get { key }).await
    }

    /// Returns the value of a key as text, or `None` if the key is absent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("k", "v").await?;
    /// assert_eq!(store.get_string("k").await?.as_deref(), Some("v"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`Decode`](crate::Error::Decode) if the value is not UTF-8.
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine.
    /// * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](crate::Error::Unauthorized) if the user may not read it.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn get_string(&self, key: impl AsRef<str>) -> Result<Option<String>> {
        let key = self.key(key.as_ref())?;
        let Some(value) = self.get_value(key).await? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|error| DecodeError::new(DecodeErrorKind::InvalidUtf8, Some(error.valid_up_to())))?;
        Ok(Some(text.to_owned()))
    }

    /// Writes a value, and replaces the value, the TTL and the dependencies that the key had.
    ///
    /// On Redis, an invalidation of a former dependency may still remove the entry, once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("page:1", "<html>").ttl(Duration::from_secs(60)).depends_on(["user:1"]).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key or a dependency,
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). A refused call
    ///   changes nothing.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine.
    /// * On Redis, [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the write was sent and no answer came: it is not
    ///   sent again. [`Unauthorized`](crate::Error::Unauthorized) if the user may not write the key.
    ///
    /// # Cancel safety
    ///
    /// On the memory engine, a future that is dropped before it is ready has written nothing, unless it waited for room
    /// in the request queue: then the write comes before all later calls, or is never made. On Redis, once polled, the
    /// write may be made. Once the future is ready, every later read of any caller sees the write.
    pub fn set(&self, key: impl AsRef<str>, value: impl Into<Value>) -> Set<'_> {
        Set::new(self, self.entry(key, value))
    }

    /// Writes a value if the key is absent. Returns `true` if it was written.
    ///
    /// A stale loaded value and a cached `None` count as absent: see *Loaded values in other calls* at
    /// [`get_or_load`](Self::get_or_load).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// assert!(store.add("k", "first").await?);
    /// assert!(!store.add("k", "second").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key or a dependency,
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). A refused call
    ///   changes nothing.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the engine failed during the call or its answer
    ///   did not come. It is not sent again.
    /// * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the write may be made even if the future is dropped.
    pub fn add(&self, key: impl AsRef<str>, value: impl Into<Value>) -> SetIf<'_> {
        SetIf::new(self, self.entry(key, value), Condition::Absent)
    }

    /// Writes a value if the key holds one. Returns `true` if it was written. Stale loaded values and a cached `None`
    /// count as absent, as for [`add`](Self::add).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// assert!(!store.replace("k", "v").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key or a dependency,
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). A refused call
    ///   changes nothing.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the engine failed during the call or its answer
    ///   did not come. It is not sent again.
    /// * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the write may be made even if the future is dropped.
    pub fn replace(&self, key: impl AsRef<str>, value: impl Into<Value>) -> SetIf<'_> {
        SetIf::new(self, self.entry(key, value), Condition::Present)
    }

    /// Writes a value if the key holds exactly `expected`. Returns `true` if it was written.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("k", "1").await?;
    /// assert!(store.compare_and_set("k", "1", "2").await?);
    /// assert!(!store.compare_and_set("k", "1", "3").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key or a dependency,
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). A refused call
    ///   changes nothing.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the engine failed during the call or its answer
    ///   did not come. It is not sent again.
    /// * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the write may be made even if the future is dropped.
    pub fn compare_and_set(
        &self,
        key: impl AsRef<str>,
        expected: impl Into<Value>,
        value: impl Into<Value>,
    ) -> SetIf<'_> {
        SetIf::new(self, self.entry(key, value), Condition::Holds(expected.into()))
    }

    /// Writes a value and returns the value that the key held before, in one step.
    ///
    /// It writes as [`set`](Self::set) does: it replaces the TTL and the dependencies, and the results of running loads
    /// that depend on the key are not stored. It returns what [`get`](Self::get) would return, and counts as one hit or
    /// one miss.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// assert_eq!(store.swap("leader", "ada").await?, None);
    /// assert_eq!(store.swap("leader", "bob").await?.as_deref(), Some(&b"ada"[..]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key or a dependency,
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). A refused call
    ///   changes nothing.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the engine failed during the call or its answer
    ///   did not come. It is not sent again.
    /// * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, which stays,
    ///   and [`Unauthorized`](crate::Error::Unauthorized) if the user may not read and write it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the write may be made even if the future is dropped; the former value is then lost.
    pub fn swap(&self, key: impl AsRef<str>, value: impl Into<Value>) -> Swap<'_> {
        Swap::new(self, self.entry(key, value))
    }

    /// Removes a key and returns the value that it held, or `None` if it was absent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("k", "v").await?;
    /// assert_eq!(store.take("k").await?.as_deref(), Some(&b"v"[..]));
    /// assert_eq!(store.take("k").await?, None);
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
    /// * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the key may be removed even if the future is dropped; the value is then lost.
    pub async fn take(&self, key: impl AsRef<str>) -> Result<Option<Bytes>> {
        let key = self.key(key.as_ref())?;
        let value = self.call(CallName::Take).ask(request::Take { key }).await?;
        Ok(value.map(Bytes::from))
    }

    /// Removes a key. Returns `true` if the key held a value.
    ///
    /// Entries that depend on the key stay: see [`invalidate`](Self::invalidate).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// assert!(!store.delete("k").await?);
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
    ///   did not come. It is not sent again, unless
    ///   [`queue_invalidations`](crate::Config::queue_invalidations) is set.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the key may be removed even if the future is dropped.
    pub async fn delete(&self, key: impl AsRef<str>) -> Result<bool> {
        let key = self.key(key.as_ref())?;
        let within = self.namespace.within();
        self.call(CallName::Delete)
            .ask(request::Delete { key, within })
            .await
    }

    /// Returns whether a key holds a value. The call does not count as a use of the entry.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// assert!(!store.exists("k").await?);
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
    pub async fn exists(&self, key: impl AsRef<str>) -> Result<bool> {
        let key = self.key(key.as_ref())?;
        if self.near().is_some_and(|near| near.contains(&key)) {
            consume_budget().await;
            return Ok(true);
        }
        self.call(CallName::Exists).ask(request::Exists { key }).await
    }

    fn entry(&self, key: impl AsRef<str>, value: impl Into<Value>) -> Result<(Key, Value)> {
        Ok((self.key(key.as_ref())?, value.into()))
    }
}
