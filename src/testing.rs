//! An engine that fails on command, for tests of an application that uses a store.
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
//! Faults work on both engines, and in paused time. They affect values, locks and loads, as a failing server would.

mod engine;
mod start;

pub(crate) use self::start::Faulty;
pub use crate::faults::{Call, Faults};
