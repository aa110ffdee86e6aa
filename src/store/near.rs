//! Reads that the near cache answers, in the caller's task.

use std::time::Duration;

use tokio::task::coop::consume_budget;

use super::Store;
use super::chunks::CHUNK;
use super::entry::Entry;
use crate::key::Key;
use crate::near::Near;
use crate::value::Value;

impl Store {
    /// Returns a handle to the same namespace whose reads always ask the engine, not the near cache.
    ///
    /// Namespaces that are made from this handle do so too. All handles see its writes as before.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set("k", "v").await?;
    /// assert_eq!(store.without_near_cache().get_string("k").await?.as_deref(), Some("v"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn without_near_cache(&self) -> Self {
        Self {
            looks_near: false,
            ..self.clone()
        }
    }

    /// The near cache, if this handle looks into one.
    pub(super) fn near(&self) -> Option<&Near> {
        if self.looks_near {
            self.inner.near.as_deref()
        } else {
            None
        }
    }

    /// Reads a key in the near cache. `see` clones or copies, and nothing else.
    ///
    /// A hit uses up budget of the task, as a request to the engine does. Otherwise a task that polls a key would never let
    /// the engine run, nor the task that is to change the key.
    pub(super) async fn read_near<T>(
        &self,
        key: &Key,
        see: impl FnOnce(&Value, Option<Duration>) -> T,
    ) -> Option<T> {
        let seen = self.near()?.read(key, see)?;
        consume_budget().await;
        Some(seen)
    }

    /// Reads what a key holds in the near cache, with its age, and uses up no budget.
    pub(super) fn look_near(&self, key: &Key) -> Option<Entry> {
        let (value, left) = self.near()?.read(key, |value, left| (value.clone(), left))?;
        Some(Entry::opened(value, left))
    }

    /// Reads keys in the near cache, in one step: all or none.
    pub(super) async fn read_all_near<T>(
        &self,
        keys: &[Key],
        see: impl Fn(&Value, Option<Duration>) -> T,
    ) -> Option<Vec<T>> {
        let near = self.near().filter(|_| (1..=CHUNK).contains(&keys.len()))?;
        let seen = near.read_all(keys, see)?;
        consume_budget().await;
        Some(seen)
    }
}
