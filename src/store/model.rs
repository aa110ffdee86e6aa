//! Models: values that are encoded and decoded on the way.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::Entry;
use super::{Set, SetMany, Store};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::value::Value;

impl Store {
    /// Writes a model: any value that serializes. It is encoded at once, in the caller's task.
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
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). What is
    ///   refused changes nothing.
    /// * [`Timeout`](crate::Error::Timeout), [`Unavailable`](crate::Error::Unavailable) or
    ///   [`Closed`](crate::Error::Closed) from the engine, and, on Redis,
    ///   [`OutcomeUnknown`](crate::Error::OutcomeUnknown) if it was sent and the server's answer did not come.
    ///   It is not sent again.
    /// * On Redis, [`Unauthorized`](crate::Error::Unauthorized) if the user may not write the key.
    ///
    /// # Cancel safety
    ///
    /// On the memory engine, a future that is dropped before it is ready has written nothing. On Redis, once polled, the
    /// write may be made.
    ///
    /// # Panics
    ///
    /// If the model's own `Serialize` does. Nobody else notices.
    pub fn set_model<T: Serialize + ?Sized>(&self, key: impl AsRef<str>, model: &T) -> Set<'_> {
        Set::new(self, self.encoded(key.as_ref(), model))
    }

    /// The model of a key, `None` if there is none.
    ///
    /// A loaded value ([`get_or_load`](Self::get_or_load)) is a model too, while it is fresh. Where a load of an
    /// `Option` gave `None`, the model of type `T` is `None`, and that of type `Option<T>` is `Some(None)`.
    ///
    /// See [`set_model`](Self::set_model) for an example.
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
    /// If the model's own `Deserialize` does. Nobody else notices.
    pub async fn get_model<T: DeserializeOwned>(&self, key: impl AsRef<str>) -> Result<Option<T>> {
        let key = self.key(key.as_ref())?;
        let entry = self.entry_of(&mut self.queue().call(), &key, false).await?;
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

    /// Writes many models, like [`set_many`](Self::set_many).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_models([("a", &1), ("b", &2)]).await?;
    /// assert_eq!(store.get_models::<u32>(["a", "c", "b"]).await?, [Some(1), None, Some(2)]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`Encode`](crate::Error::Encode) if one of the models cannot be encoded. Nothing is written then.
    /// * [`KeyRequired`](crate::Error::KeyRequired), [`KeyTooLong`](crate::Error::KeyTooLong) or
    ///   [`KeyReserved`](crate::Error::KeyReserved) for one of the keys or a dependency,
    ///   [`InvalidTtl`](crate::Error::InvalidTtl), and [`ValueTooLarge`](crate::Error::ValueTooLarge). One
    ///   entry that is refused refuses the call.
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
    ///
    /// # Panics
    ///
    /// If a model's own `Serialize` does. Nobody else notices.
    pub fn set_models<'m, K: AsRef<str>, T: Serialize + ?Sized + 'm>(
        &self,
        models: impl IntoIterator<Item = (K, &'m T)>,
    ) -> SetMany<'_> {
        let models = models.into_iter();
        SetMany::new(
            self,
            models
                .map(|(key, model)| self.encoded(key.as_ref(), model))
                .collect(),
        )
    }

    /// The models of many keys, in the order asked.
    ///
    /// See [`set_models`](Self::set_models) for an example.
    ///
    /// # Errors
    ///
    /// * [`Decode`](crate::Error::Decode) if one of them cannot be decoded.
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
    ///
    /// # Panics
    ///
    /// If a model's own `Deserialize` does. Nobody else notices.
    pub async fn get_models<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Option<T>>> {
        let keys = self.keys(keys)?;
        let entries = self.entries(&mut self.queue().call(), &keys, false).await?;
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
