//! Models: values that are encoded and decoded on the way.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::Entry;
use super::{Set, SetMany, Store};
use crate::calls::CallName;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::value::Value;

impl Store {
    /// Writes a model: any value that serde can serialize. The model is encoded at once, in the caller's task.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize, PartialEq, Debug)]
    /// struct User { name: String }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let ada = User { name: "Ada".into() };
    /// store.set_model("user:1", &ada).await?;
    /// assert_eq!(store.get_model::<User>("user:1").await?, Some(ada));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`Encode`](crate::Error::Encode) if the model cannot be encoded.
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for the key or a dependency,
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). A refused call
    ///   changes nothing.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and, on Redis,
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the write was sent and the server's answer did not come.
    ///   It is not sent again.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not write the key.
    ///
    /// # Cancel safety
    ///
    /// On the memory engine, a future that is dropped before it is ready has written nothing, unless it waited for room
    /// in the request queue: then the write comes before all later calls, or is never made. On Redis, once polled, the
    /// write may be made.
    ///
    /// # Panics
    ///
    /// If the model's own `Serialize` panics. Other callers are not affected.
    pub fn set_model<T: Serialize + ?Sized>(&self, key: impl AsRef<str>, model: &T) -> Set<'_> {
        Set::new(self, self.encoded(key.as_ref(), model))
    }

    /// Returns the model of a key, or `None` if the key is absent.
    ///
    /// A loaded value ([`get_or_load`](Self::get_or_load)) is a model too, while it is fresh. If a load of an
    /// `Option<T>` returned `None`, then `get_model::<T>` returns `None`, and `get_model::<Option<T>>` returns
    /// `Some(None)`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_model("limits", &vec![3, 5]).await?;
    /// assert_eq!(store.get_model::<Vec<u32>>("limits").await?, Some(vec![3, 5]));
    /// assert_eq!(store.get_model::<Vec<u32>>("absent").await?, None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`Decode`](crate::Error::Decode) if the bytes are not such a model. They stay as they are.
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
    ///
    /// # Panics
    ///
    /// If the model's own `Deserialize` panics. Other callers are not affected.
    pub async fn get_model<T: DeserializeOwned>(&self, key: impl AsRef<str>) -> Result<Option<T>> {
        let key = self.key(key.as_ref())?;
        let entry = self.entry_of(&mut self.call(CallName::Get), &key, false).await?;
        self.fresh_model(&entry)
    }

    pub(super) fn fresh_model<T: DeserializeOwned>(&self, entry: &Entry) -> Result<Option<T>> {
        let model = entry.fresh_model().map(|model| self.codec().decode(model));
        let model = match model {
            Some(Err(_)) if entry.is_cached_none() => None,
            model => model.transpose()?,
        };
        if model.is_none() && !entry.is_absent() {
            self.inner.reads.hit_is_miss();
        }
        Ok(model)
    }

    /// Writes many models, like [`set_many`](Self::set_many). The models are given by reference or by value, such as a
    /// map from keys to models.
    ///
    /// ```
    /// # use std::collections::HashMap;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_models([("a", &1), ("b", &2)]).await?;
    /// store.set_models(HashMap::from([("d", 4)])).await?;
    /// assert_eq!(store.get_models::<u32>(["a", "c", "b"]).await?, [Some(1), None, Some(2)]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`Encode`](crate::Error::Encode) if one of the models cannot be encoded. Nothing is written then.
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for one of the keys or a dependency,
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). One refused
    ///   entry makes the call fail.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and, on Redis,
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if the write was sent and the server's answer did not come.
    ///   It is not sent again. This error is also returned if only some of the entries were written: more than 512
    ///   entries travel in several requests, which share one `request_timeout`.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not write one of the keys.
    ///
    /// # Cancel safety
    ///
    /// On the memory engine, a future that is dropped before it is ready has written none of the entries, the first
    /// 512, 1,024 and so on, or all. On Redis, once polled, some or all entries may be written.
    ///
    /// # Panics
    ///
    /// If a model's own `Serialize` panics. Other callers are not affected.
    pub fn set_models(
        &self,
        models: impl IntoIterator<Item = (impl AsRef<str>, impl Serialize)>,
    ) -> SetMany<'_> {
        let models = models.into_iter();
        SetMany::new(
            self,
            models
                .map(|(key, model)| self.encoded(key.as_ref(), &model))
                .collect(),
        )
    }

    /// Returns the models of many keys, in the order of the keys.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_model("b", &2).await?;
    /// assert_eq!(store.get_models::<u32>(["a", "b"]).await?, [None, Some(2)]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`Decode`](crate::Error::Decode) if one of them cannot be decoded.
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
    ///
    /// # Panics
    ///
    /// If a model's own `Deserialize` panics. Other callers are not affected.
    pub async fn get_models<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Option<T>>> {
        let keys = self.keys(keys)?;
        let entries = self
            .entries(&mut self.call(CallName::GetMany), &keys, false)
            .await?;
        entries.iter().map(|entry| self.fresh_model(entry)).collect()
    }

    pub(super) fn codec(&self) -> Codec {
        self.config().settings().model_codec()
    }

    pub(super) fn encoded<T: Serialize + ?Sized>(&self, key: &str, model: &T) -> Result<(Key, Value)> {
        Ok((self.key(key)?, self.encode(model)?))
    }

    pub(super) fn encode<T: Serialize + ?Sized>(&self, model: &T) -> Result<Value> {
        let bytes = self.codec().encode(model).map_err(Error::from);
        Ok(Value::from(self.count(bytes)?))
    }
}
