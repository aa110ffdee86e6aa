//! Opening: the first call, so that the documentation shows it first.

use super::Store;
use crate::config::Config;
use crate::error::Result;

impl Store {
    /// Opens a store.
    ///
    /// Call it once, when the application starts, and clone the store. On Redis it connects and pings the server
    /// before it returns.
    ///
    /// ```
    /// use cachestore::{MemoryConfig, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// let store = Store::open(MemoryConfig::default().capacity_bytes(1024 * 1024)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`InvalidConfig`](crate::Error::InvalidConfig) outside a Tokio runtime, or an error that names the setting which
    ///   cannot be used.
    /// * On Redis, [`Unavailable`](crate::Error::Unavailable) if there is no server,
    ///   [`Timeout`](crate::Error::Timeout) if it is silent, and [`Unauthorized`](crate::Error::Unauthorized) if it
    ///   does not let this client in. The source of `Unavailable` names the server and the cause. A `tracing` warning
    ///   names them for each of these errors.
    ///
    /// # Cancel safety
    ///
    /// Safe: a store that is not returned is stopped.
    pub async fn open(config: impl Into<Config>) -> Result<Self> {
        Self::opening(config.into()).await
    }
}
