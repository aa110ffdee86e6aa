//! Many keys at once, and the whole namespace.

use bytes::Bytes;

use super::{Clear, IntoNames, Invalidate, Scan, ScanEntries, SetMany, Store, chunks};
use crate::actor::queue::Call;
use crate::error::Result;
use crate::key::Key;
use crate::request;
use crate::value::{Value, pack};

impl Store {
    /// The values of many keys, in the order asked.
    ///
    /// Up to 512 keys are read at one point in time. More are read in several requests, which share one
    /// `request_timeout`. Values of up
    /// to 256 bytes share allocations of at most 4 KiB: one that is kept keeps that much alive.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_many([("a", "1"), ("b", "2")]).await?;
    /// let values = store.get_many(["b", "absent", "a"]).await?;
    /// assert_eq!(values[0].as_deref(), Some(&b"2"[..]));
    /// assert_eq!(values[1], None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for one of the keys. One key that is refused refuses the
    ///   call.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine.
    /// * On Redis, [`WrongType`](crate::Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](crate::Error::Unauthorized) if the user may not read it.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn get_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>> {
        let keys = self.keys(keys)?;
        let cloned = |value: &Value, _| Some(value.clone());
        if let Some(values) = self.read_all_near(&keys, cloned).await {
            return Ok(pack(values));
        }
        Ok(pack(self.get_values(&mut self.queue().call(), keys).await?))
    }

    pub(super) async fn get_values(&self, call: &mut Call<'_>, keys: Vec<Key>) -> Result<Vec<Option<Value>>> {
        chunks::read(call, keys, |keys| request::GetMany { keys, peek: false }).await
    }

    /// Writes many entries, with the same TTL and dependencies. It is refused whole or taken whole;
    /// of a key that is given twice, the last value stays.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_many([("a", "1"), ("b", "2")]).depends_on(["batch"]).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for one of the keys or a dependency,
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). One
    ///   entry that is refused refuses the call, and nothing is written.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and, on Redis,
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if it was sent and the server's answer did not come.
    ///   It is not sent again. It is also the answer if some of the entries were written and others not: more than
    ///   512 travel in several requests, which share one `request_timeout`.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not write one of the keys.
    ///
    /// # Cancel safety
    ///
    /// On the memory engine, a future that is dropped before it is ready has written the first 512 entries, or
    /// twice as many, and so on, or none. On Redis, once polled, some or all of them may be written.
    pub fn set_many<K: AsRef<str>, V: Into<Value>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> SetMany<'_> {
        let entries = entries.into_iter();
        SetMany::new(
            self,
            entries
                .map(|(key, value)| Ok((self.key(key.as_ref())?, value.into())))
                .collect(),
        )
    }

    /// Removes many keys: how many held a value. A key that is given twice counts once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("a", "1").await?;
    /// assert_eq!(store.delete_many(["a", "a", "absent"]).await?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for one of the keys. One key that is refused refuses the
    ///   call, and nothing is removed.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and [`OutcomeUnknown`](crate::Error::OutcomeUnknown)
    ///   if the engine failed during the call or the server's answer did not come. It is not sent again. It is
    ///   also the answer if some of the keys were removed and others not: more than 512 travel in several requests,
    ///   which share one `request_timeout`.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, some or all of the keys may be removed even if the future is dropped.
    pub async fn delete_many<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> Result<u64> {
        let keys = self.keys(keys)?;
        chunks::delete(&mut self.queue().call(), keys).await
    }

    /// Removes the entries of these keys, and all entries that depend on them, directly or through
    /// others: how many there were. The keys need not hold values.
    ///
    /// An entry that was derived from another is found even if that other has been deleted, has
    /// expired, or was evicted since. A key whose entry has gone so keeps the dependencies of that entry while
    /// others depend on the key (on Redis, until they expire): an entry that is made to depend on the key meanwhile has
    /// them too. Other requests are served between the steps of a large
    /// invalidation; all is removed when this is ready.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("user:1", "Ada").await?;
    /// store.set("page:1", "<html>").depends_on(["user:1"]).await?;
    /// store.set("index", "<html>").depends_on(["page:1"]).await?;
    /// assert_eq!(store.invalidate("user:1").await?, 3);
    /// assert_eq!(store.invalidate(["user:1", "user:2"]).await?, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for one of the names, and
    ///   [`InvalidTtl`](crate::Error::InvalidTtl) for a `timeout` of zero or over 100 years.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and [`OutcomeUnknown`](crate::Error::OutcomeUnknown)
    ///   if the engine failed during the call or the server's answer did not come.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// The call ends by its [`timeout`](Invalidate::timeout), or by `request_timeout`. After
    /// [`Timeout`](crate::Error::Timeout), and on Redis [`OutcomeUnknown`](crate::Error::OutcomeUnknown), the engine
    /// goes on, unless the connection to the server was lost: call again then, and nothing is missed.
    ///
    /// # Cancel safety
    ///
    /// Once polled, all is removed even if the future is dropped, if the connection lasts.
    pub fn invalidate<M>(&self, names: impl IntoNames<M>) -> Invalidate<'_> {
        Invalidate::new(self, names.each(|name| self.name(name)))
    }

    /// Streams the keys that begin with `prefix`, in no order, without this handle's namespace.
    ///
    /// A key that is there all the while comes at least once, and on Redis it may come twice. One that is
    /// written or removed meanwhile may come or not. A page of keys at a time is held in memory. A namespace
    /// sees its own keys, not those of namespaces nested in it. The root sees all, with their namespaces.
    ///
    /// Every key that comes can be given back to this handle. So keys of other programs on the same server do
    /// not come if no call can name them: those that are blank, longer than
    /// [`max_key_bytes`](crate::Settings::max_key_bytes), reserved, no text, or no values. Nor do keys that
    /// `go_compatible` would trim.
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_many([("user:1", "a"), ("user:2", "b"), ("page:1", "c")]).await?;
    /// let users: Vec<String> = store.scan("user:").try_collect().await?;
    /// assert_eq!(store.delete_many(users).await?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// An item is [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    /// [`Closed`](crate::Error::Closed) if the engine answers so, and on Redis
    /// [`Unauthorized`](crate::Error::Unauthorized) if the user may not scan. It is the last item.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing. The stream can be dropped at any time.
    pub fn scan(&self, prefix: impl AsRef<str>) -> Scan {
        Scan::new(self, prefix.as_ref())
    }

    /// Streams the keys that begin with `prefix` and their values, in no order.
    ///
    /// Which keys come, and how they are named, is as for [`scan`](Self::scan). A key that is gone when its
    /// value is read does not come. A loaded value comes in its stored form, as [`get`](Self::get) shows it.
    /// These reads are no use of the entries: they count neither as hits nor as misses, and they do not keep
    /// an entry from being evicted.
    ///
    /// A page of keys and at most 64 values at a time are held in memory; of large values fewer, down to one.
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_many([("user:1", "a"), ("user:2", "b"), ("page:1", "c")]).await?;
    /// let mut users = store.scan_entries("user:");
    /// while let Some((key, value)) = users.try_next().await? {
    ///     println!("{key}: {} bytes", value.len());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// An item is [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    /// [`Closed`](crate::Error::Closed) if the engine answers so, and on Redis
    /// [`Unauthorized`](crate::Error::Unauthorized) if the user may not scan or read. It is the last item.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing. The stream can be dropped at any time.
    pub fn scan_entries(&self, prefix: impl AsRef<str>) -> ScanEntries {
        ScanEntries::new(self, prefix.as_ref())
    }

    /// Removes every entry of this namespace, not those of namespaces nested in it; at the root,
    /// every entry of the store. How many there were.
    ///
    /// Other requests are served between the steps of a large clearing. On the memory engine, what is
    /// written after this is called stays; on Redis, what is written meanwhile may go too. What is loaded
    /// meanwhile is given to those who wait for it, and not stored. What another program keeps in the same
    /// database as another type than values stays, as do locks.
    ///
    /// On Redis this walks over the whole database, however small the namespace is: about 0.3 s of the server's time for
    /// each million of keys, in steps of a millisecond. Clearings that a store is asked for while one is under way wait
    /// for it and then share one walk. To remove a few entries of many, let them depend on a name and invalidate that.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("k", "v").await?;
    /// assert_eq!(store.clear().await?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`InvalidTtl`](crate::Error::InvalidTtl) for a `timeout` of zero or over 100 years.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and [`OutcomeUnknown`](crate::Error::OutcomeUnknown)
    ///   if the engine failed during the call or the server's answer did not come.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// The call ends by its [`timeout`](Clear::timeout), or by `request_timeout`. After
    /// [`Timeout`](crate::Error::Timeout), and on Redis [`OutcomeUnknown`](crate::Error::OutcomeUnknown), the engine
    /// goes on, unless the connection to the server was lost: call again then, and nothing is missed.
    ///
    /// # Cancel safety
    ///
    /// Once polled, all is removed even if the future is dropped, if the connection lasts.
    pub fn clear(&self) -> Clear<'_> {
        Clear::new(self)
    }
}
