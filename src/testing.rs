//! Faults of an engine on command, for tests of what is built on a store.
//!
//! ```
//! use cachestore::{Config, Error, Store, testing::Faults};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
//! let faults = Faults::default();
//! let store = Store::open(Config::memory().faults(&faults)).await?;
//! store.set("k", "v").await?;
//!
//! faults.down();
//! assert!(matches!(store.get("k").await, Err(Error::Unavailable(_))));
//! faults.up();
//! assert_eq!(store.get_string("k").await?.as_deref(), Some("v"));
//! # Ok(()) }
//! ```
//!
//! Faults work on both engines, in paused time too. Values, locks and loads all meet them, as they would meet a server
//! that fails.

mod engine;
mod start;

pub(crate) use self::start::Faulty;
pub use crate::faults::{Call, Faults};
