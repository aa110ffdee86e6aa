//! Models that many readers share: decoded once while their entries are near.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::task::coop::consume_budget;

use super::Store;
use super::entry::Entry;
use crate::calls::CallName;
use crate::error::Result;
use crate::key::Key;

impl Store {
    /// Returns the model of a key in an `Arc` that its readers share, or `None` if the key is absent.
    ///
    /// While the entry is in the near cache, the model is decoded once, and every read gets the same `Arc`. Otherwise
    /// each read decodes, as [`get_model`](Self::get_model) does. Use `get_shared` for large models that are read often
    /// and not changed.
    ///
    /// The near cache keeps one decoded model for each entry, of one type. The model counts in the near cache's bytes
    /// as twice its encoded length, which is an estimate. If the near cache has no room for the model, each read
    /// decodes. On the memory engine, new models may take the store over its capacity, by at most the near cache's
    /// bound, until the next write evicts entries for them.
    ///
    /// When the entry changes or leaves the near cache, the near cache drops its `Arc` in a task of its own. A panic of
    /// the model's `Drop` ends that task only.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_model("primes", &vec![2, 3, 5, 7]).await?;
    /// let primes: Option<Arc<Vec<u32>>> = store.get_shared("primes").await?;
    /// assert_eq!(*primes.unwrap(), [2, 3, 5, 7]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`get_model`](Self::get_model).
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    ///
    /// # Panics
    ///
    /// If the model's own `Deserialize` panics. Other callers are not affected.
    pub async fn get_shared<T>(&self, key: impl AsRef<str>) -> Result<Option<Arc<T>>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let key = self.key(key.as_ref())?;
        if let Some(model) = self.near_model(&key, |entry| entry.fresh_model().is_some()).await {
            return Ok(Some(model));
        }
        let entry = self.entry_of(&mut self.call(CallName::Get), &key, false).await?;
        Ok(self.fresh_model(&entry)?.map(Arc::new))
    }

    /// The model of a near entry that `serves`. `None` if the key is to be read in another way, also if the entry does
    /// not decode.
    pub(super) async fn near_model<T>(&self, key: &Key, serves: impl FnOnce(&Entry) -> bool) -> Option<Arc<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let model = self.look_near_model(key, serves)?;
        consume_budget().await;
        Some(model)
    }

    fn look_near_model<T>(&self, key: &Key, serves: impl FnOnce(&Entry) -> bool) -> Option<Arc<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let near = self.near()?;
        let (found, left) = near.sight(key)?;
        let entry = Entry::opened(found.value().clone(), left);
        if !serves(&entry) {
            return None;
        }
        let kept = found.model().and_then(|model| model.downcast::<T>().ok());
        let model = match kept {
            Some(model) => model,
            None => {
                let model: Arc<T> = Arc::new(self.codec().decode(entry.model()?).ok()?);
                near.keep_model(&found, model.clone(), &self.inner.home);
                model
            }
        };
        near.count_hit(&found);
        Some(model)
    }
}
