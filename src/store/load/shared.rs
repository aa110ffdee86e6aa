//! Loads of models that many callers share.

use std::sync::Arc;

use super::super::One;
use super::found::verdict;
use super::loader::{Loader, Model};
use super::single::Load;
use crate::load::{LoadError, Verdict};

impl<T: Model + Sync, F> Load<'_, T, F> {
    /// Returns the value in an `Arc` that its readers share.
    ///
    /// While the value is in the near cache, it is decoded once: see [`get_shared`](crate::Store::get_shared). In these
    /// cases the value is in an `Arc` of its own: it was just loaded, it is stale, it is not in the near cache, or this
    /// call begins a refresh.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let load = || async { Ok::<_, std::io::Error>(vec![2, 3, 5, 7]) };
    /// let primes: Arc<Vec<u32>> = store.get_or_load("primes", load).shared().await?;
    /// assert_eq!(*primes, [2, 3, 5, 7]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`get_or_load`](crate::Store::get_or_load).
    ///
    /// # Cancel safety
    ///
    /// Safe: a load that has begun goes on, and its value is stored.
    pub async fn shared<E>(mut self) -> Result<Arc<T>, LoadError<E>>
    where
        F: Loader<One, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let (store, serving) = self.checked_serving()?;
        let key = self.key()?;
        let mut is_due = false;
        let serves = |entry: &_| match verdict(entry, &serving) {
            Verdict::Fresh => true,
            Verdict::FreshButDue => {
                is_due = !store.inner.loads.is_refreshing(key);
                !is_due
            }
            Verdict::Stale | Verdict::Candidate | Verdict::Gone => false,
        };
        if let Some(model) = store.near_model(key, serves).await {
            return Ok(model);
        }
        self.refresh_if(is_due);
        self.await.map(Arc::new)
    }
}
