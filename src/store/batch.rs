//! Many keys at once, and the whole namespace.

use bytes::Bytes;

use super::{Clear, IntoNames, Invalidate, Scan, ScanEntries, SetMany, Store, chunks};
use crate::actor::queue::Call;
use crate::calls::CallName;
use crate::error::Result;
use crate::key::Key;
use crate::request;
use crate::value::{Value, pack};

impl Store {
    /// Returns the values of many keys, in the order of the keys.
    ///
    /// Up to 512 keys are read at one point in time, but not over all nodes of a cluster. More keys are read in several
    /// requests, which share one `request_timeout`. Values of up to 256 bytes share allocations of at most 4 KiB: a small
    /// value that you keep may keep 4 KiB alive.
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
    ///   [`KeyReserved`](crate::Error::KeyReserved) for one of the keys. One refused key makes the call fail.
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
        Ok(pack(
            self.get_values(&mut self.call(CallName::GetMany), keys).await?,
        ))
    }

    pub(super) async fn get_values(&self, call: &mut Call<'_>, keys: Vec<Key>) -> Result<Vec<Option<Value>>> {
        chunks::read(call, keys, |keys| request::GetMany { keys, peek: false }).await
    }

    /// Writes many entries, with the same TTL and dependencies.
    ///
    /// If the arguments of one entry are refused, nothing is written. If a key is given twice, the last value stays.
    /// On Redis, and for more than 512 entries, the call is not atomic: other callers may see some of the entries.
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
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). One refused
    ///   entry makes the call fail, and nothing is written.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and, on Redis,
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the write was sent and the server's answer did not come.
    ///   It is not sent again. This error is also returned if only some of the entries were written: more than 512
    ///   entries travel in several requests, which share one `request_timeout`, and over all nodes of a cluster each entry
    ///   is a request.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not write one of the keys.
    ///
    /// # Cancel safety
    ///
    /// On the memory engine, a future that is dropped before it is ready has written none of the entries, the first
    /// 512, 1,024 and so on, or all. On Redis, once polled, some or all entries may be written.
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

    /// Removes many keys and returns how many of them held a value. A key that is given twice counts once.
    ///
    /// Up to 512 keys are removed at once, but not over all nodes of a cluster.
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
    ///   [`KeyReserved`](crate::Error::KeyReserved) for one of the keys. One refused key makes the call fail, and
    ///   nothing is removed.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and [`OutcomeUnknown`](crate::Error::OutcomeUnknown)
    ///   if the engine failed during the call or its answer did not come. The call is not sent again,
    ///   unless [`queue_invalidations`](crate::Config::queue_invalidations) is set. This error is also returned if only
    ///   some of the keys were removed: more than 512 keys travel in several requests, which share one
    ///   `request_timeout`, and over all nodes of a cluster each key is a request.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, some or all of the keys may be removed even if the future is dropped.
    pub async fn delete_many<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> Result<u64> {
        let keys = self.keys(keys)?;
        chunks::delete(self, keys).await
    }

    /// Removes the entries of these keys, and all entries that depend on them, directly or through others. Returns how
    /// many entries were removed.
    ///
    /// The keys need not hold values. A dependent is found even if the entry that it depends on has been deleted, has
    /// expired, or was evicted. For that, such a missing entry keeps its own dependencies while others depend on its
    /// key (on Redis, until these dependents expire). An entry that becomes a dependent of the key meanwhile inherits
    /// them.
    ///
    /// Other requests are served between the steps of a large invalidation. All is removed when the call returns.
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
    ///   if the engine failed during the call or its answer did not come.
    /// * On the memory engine, [`Unavailable`](crate::Error::Unavailable) if calls of `invalidate` and `clear` with 65,536
    ///   names in all wait behind one that takes long. A `clear` counts as one name.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// The call ends by its [`timeout`](Invalidate::timeout), or by `request_timeout`. After
    /// [`OutcomeUnknown`](crate::Error::OutcomeUnknown), the engine continues the work. If the connection to the server
    /// was lost, the work stops: call again, and it is completed. With [`queue_invalidations`](crate::Config::queue_invalidations), the store does that.
    ///
    /// # Cancel safety
    ///
    /// Once polled, all is removed even if the future is dropped. On Redis, this needs a connection that is not lost.
    pub fn invalidate<M>(&self, names: impl IntoNames<M>) -> Invalidate<'_> {
        Invalidate::new(self, names.each(|name| self.name(name)))
    }

    /// Streams the keys that begin with `prefix`, in no order, without this handle's namespace.
    ///
    /// A key that exists during the whole scan comes at least once, and on Redis it may come twice. A key that is
    /// written or removed meanwhile may come or not. One page of keys at a time is held in memory. A namespace sees its
    /// own keys, not those of nested namespaces. The root sees all keys, with their namespaces.
    ///
    /// If the server is restarted meanwhile, or if another one becomes the primary or the owner of the slot, the scan begins
    /// anew there, and its keys come again. If the user has no right to `INFO`, a restart is not noticed, and keys may be
    /// missed. Over all nodes of a cluster, keys may also be missed while their slot is being moved.
    ///
    /// Every key can be passed to other calls of this handle. So some keys of other programs on the same server do not
    /// come: blank keys, keys longer than [`max_key_bytes`](crate::Settings::max_key_bytes), reserved keys, keys that
    /// are not UTF-8, keys of other types than strings, and keys that `go_compatible` would trim.
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
    /// The stream has the same keys as [`scan`](Self::scan). A key that is gone when its value is read does not come. A
    /// loaded value comes in its stored form, as [`get`](Self::get) returns it. These reads do not count as uses of the
    /// entries: they are neither hits nor misses, and they do not protect an entry from eviction.
    ///
    /// One page of keys and at most 64 values at a time are held in memory. For large values it is fewer, down to one.
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

    /// Removes every entry of this namespace, or at the root every entry of the store. Returns how many entries were
    /// removed.
    ///
    /// In a namespace, the entries of nested namespaces stay. At the root on Redis, `clear` also removes the strings of
    /// other programs in the same database or, over all nodes, in the same cluster. Keys of other types stay, and so do
    /// locks.
    ///
    /// Other requests are served between the steps of a large clearing. On the memory engine, entries that are written
    /// after the call stay, if the write does not depend on what was there. An entry that `replace`, `compare_and_set`,
    /// `swap`, `incr` or `update_model` changes meanwhile is removed. On Redis, entries that are written meanwhile may be
    /// removed too. Values that are loaded meanwhile are returned to their callers and not stored.
    ///
    /// On Redis, the call walks over the whole database, however small the namespace is: about 0.3 s of the server's
    /// time for each million keys, in small steps. Calls of `clear` that come while another one runs wait for it, and
    /// then share one walk. Over all nodes of a cluster, each call walks over all nodes by itself. To remove a few of many
    /// entries, give them a common dependency and invalidate that.
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
    ///   if the engine failed during the call or its answer did not come.
    /// * On the memory engine, [`Unavailable`](crate::Error::Unavailable) if calls of `invalidate` and `clear` with 65,536
    ///   names in all wait behind one that takes long. A `clear` counts as one name.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not do it.
    ///
    /// The call ends by its [`timeout`](Clear::timeout), or by `request_timeout`. After
    /// [`OutcomeUnknown`](crate::Error::OutcomeUnknown), the engine continues the work. If the connection to the server
    /// was lost, the work stops: call again, and it is completed. With [`queue_invalidations`](crate::Config::queue_invalidations), the store does that.
    ///
    /// # Cancel safety
    ///
    /// Once polled, all is removed even if the future is dropped. On Redis, this needs a connection that is not lost.
    pub fn clear(&self) -> Clear<'_> {
        Clear::new(self)
    }
}
