//! Compile-fail tests: what the types forbid.
//!
//! A write that nobody awaits is never made, and the compiler says so:
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! async fn forgetful(store: cachestore::Store) {
//!     store.set("k", "v");
//! }
//! ```
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! async fn forgetful(store: cachestore::Store) {
//!     store.add("k", "v").depends_on(["u"]);
//! }
//! ```
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! async fn forgetful(store: cachestore::Store) {
//!     store.scan("k");
//! }
//! ```
//!
//! Setters return the configuration that they have changed:
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! fn forgetful(config: cachestore::Config) {
//!     config.namespace("tenant");
//! }
//! ```
//!
//! A write borrows its store: it cannot be sent to one that is gone.
//!
//! ```compile_fail,E0515
//! fn dangling(store: cachestore::Store) -> cachestore::Set<'static> {
//!     store.set("k", "v")
//! }
//! ```
//!
//! A number alone is no time: it could be seconds or milliseconds.
//!
//! ```compile_fail,E0308
//! async fn unclear(store: cachestore::Store) -> cachestore::Result<bool> {
//!     store.expire("k", 60).await
//! }
//! ```
//!
//! Counters are the store's to make; new ones may be added.
//!
//! ```compile_fail,E0639
//! fn invented() -> cachestore::Stats {
//!     cachestore::Stats { hits: 1, ..Default::default() }
//! }
//! ```
//!
//! The result of a load may get fields, and where a value came from and why a load failed may get variants.
//!
//! ```compile_fail,E0638
//! fn unpacked(cachestore::Loaded { value, origin, age, fresh_for }: cachestore::Loaded<u32>) {}
//! ```
//!
//! ```compile_fail,E0004
//! use cachestore::Origin;
//!
//! fn is_new(origin: Origin) -> bool {
//!     match origin {
//!         Origin::Fresh | Origin::Stale => false,
//!         Origin::Loaded | Origin::Joined | Origin::Superseded => true,
//!     }
//! }
//! ```
//!
//! ```compile_fail,E0004
//! use cachestore::LoadError;
//!
//! fn is_late(error: LoadError<String>) -> bool {
//!     match error {
//!         LoadError::Timeout => true,
//!         LoadError::Loader(_) | LoadError::Panicked | LoadError::Store(_) => false,
//!     }
//! }
//! ```
//!
//! The correct forms compile:
//!
//! ```
//! #![deny(unused_must_use)]
//! async fn careful(store: cachestore::Store) -> cachestore::Result<bool> {
//!     store.set("k", "v").await?;
//!     store.add("k", "v").depends_on(["u"]).await?;
//!     let _keys = store.scan("k");
//!     store.expire("k", std::time::Duration::from_secs(60)).await
//! }
//! ```
