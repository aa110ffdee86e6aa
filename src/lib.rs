//! A cache and lock store for async applications, in your process or on a Redis server.
//!
//! A [`Store`] keeps bytes, serde models and locks by key. When something changes, one call of [`Store::invalidate`]
//! removes every entry that was made from it. Use it when a service asks a database, an API or a renderer for the same
//! things again and again.
//!
//! ```
//! use std::time::Duration;
//! use cachestore::{Config, Store};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = Store::open(Config::memory()).await?; // or Config::redis("redis://localhost:6379")?
//!     let load = store.get_or_load("page:1", || async { Ok::<_, std::io::Error>("<h1>Ada</h1>".to_owned()) });
//!     let page: String = load.ttl(Duration::from_secs(60)).depends_on("user:1").await?;
//!     assert_eq!(page, "<h1>Ada</h1>");
//!     store.invalidate("user:1").await?; // user 1 has changed: page:1 is gone
//!     Ok(store.close().await?)
//! }
//! ```
//!
//! # Where to begin
//!
//! The [`guide`] has a page for each subject. Begin with [getting started](guide::getting_started).
//!
//! | you want to | use |
//! |---|---|
//! | open a store | [`Store::open`] with [`Config::memory`], [`Config::redis`], [`Config::from_url`] or [`Config::from_env`] |
//! | keep bytes and text | [`Store::get`], [`Store::set`] |
//! | keep models | [`Store::get_model`], [`Store::set_model`] |
//! | ask a source once for all callers | [`Store::get_or_load`], [`Store::get_or_load_many`] |
//! | load with the old value, its ETag, and dependencies that the result tells | [`Store::get_or_load_with`] |
//! | remove entries whose source has changed | [`Set::depends_on`], [`Store::invalidate`] |
//! | let one task at a time do something | [`Store::lock`] |
//! | separate tenants | [`Store::namespace`] |
//! | observe the cache | [`Store::stats`], [`Store::events`] |
//! | handle errors | [`Error`], [`Error::is_retryable`], [`LoadError`] |
//!
//! # Values and models
//!
//! ```
//! use std::time::Duration;
//!
//! use cachestore::{Config, Store};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct User {
//!     name: String,
//! }
//!
//! #[tokio::main]
//! async fn main() -> cachestore::Result<()> {
//!     let store = Store::open(Config::memory()).await?;
//!
//!     // A model, and a page that was made from it.
//!     let ada = User { name: "Ada".to_owned() };
//!     store.set_model("user:1", &ada).ttl(Duration::from_secs(60)).await?;
//!     store.set("page:1", "<h1>Ada</h1>").depends_on("user:1").await?;
//!
//!     assert_eq!(store.get_model("user:1").await?, Some(ada));
//!     assert_eq!(store.get_string("page:1").await?.as_deref(), Some("<h1>Ada</h1>"));
//!
//!     // The user has changed. This removes the model and the page.
//!     assert_eq!(store.invalidate("user:1").await?, 2);
//!     assert_eq!(store.get("page:1").await?, None);
//!
//!     store.close().await
//! }
//! ```
//!
//! # Loads
//!
//! [`Store::get_or_load`] runs one loader for all callers of a key. Before the loader runs, the engine grants a *lease*
//! for the key and its dependencies. Any [`set`](Store::set), [`delete`](Store::delete),
//! [`invalidate`](Store::invalidate) or [`clear`](Store::clear) of these ends the lease. The result is stored only if
//! the lease is still alive. Change the source first, then invalidate: later callers never get a value that was read
//! before the change.
//!
//! A value is *fresh* for its [`ttl`](Load::ttl). After that it is *stale*. A stale value is served while one load in
//! the background replaces it ([`stale_while_revalidate`](Load::stale_while_revalidate)), and later only if a load
//! fails or takes too long ([`stale_if_error`](Load::stale_if_error)). A loader must not load its own key: it would
//! wait for itself.
//!
//! # Locks
//!
//! [`Store::lock`] returns a [`LockGuard`]. Dropping the guard releases the lock. Waiters get the lock in FIFO order.
//!
//! ```
//! use std::time::Duration;
//!
//! use cachestore::{Config, Store};
//!
//! #[tokio::main]
//! async fn main() -> cachestore::Result<()> {
//!     let store = Store::open(Config::memory()).await?;
//!     let guard = store.lock("report").wait(Duration::from_secs(5)).await?;
//!     println!("send the fencing token {} with each write", guard.fencing_token());
//!     guard.release().await?;
//!     store.close().await
//! }
//! ```
//!
//! A lock has one holder until its TTL ends, as long as the engine loses no data. After that, only the fencing token
//! protects the resource that you write to.
//!
//! # Two engines
//!
//! *Memory* is embedded in the process. *Redis* is a server or a cluster that many processes share. The same calls give the
//! same answers on both. The differences are:
//!
//! * On Redis, a read may be sent to the server again. A change is never sent again. A change that was sent and not
//!   answered returns [`Error::OutcomeUnknown`].
//! * In memory, [`set`](Store::set) returns when the write is in the engine's queue. On Redis, it returns when the
//!   server has answered.
//! * On Redis, a key that is written again without a dependency is still removed, once, by an invalidation of its
//!   former dependency: too much, never too little.
//!
//! # How it is built
//!
//! A [`Store`] is a cheap handle. It checks and encodes its arguments in the caller's task, and sends a request to the
//! engine. The engine is an actor that alone owns its entries, or its connections, and keeps the order of requests for
//! each key. So every key is linearizable: once a [`set`](Store::set) has returned, every later read sees it. User
//! code, such as a model's `Serialize`, never runs inside the engine.
//!
//! The queue to the engine is bounded. When it is full, callers wait, up to
//! [`request_timeout`](Settings::request_timeout).
//!
//! # Cargo features
//!
//! | feature | on by default | what it adds |
//! |---|---|---|
//! | `redis` | yes | the Redis engine: [`Config::redis`], [`RedisConfig`], [`Store::redis_command`], [`redis`] |
//! | `tls` | yes | `rediss://` URLs, by rustls with ring. Turns `redis` on |
//! | `metrics` | no | metrics by the [`metrics`](https://docs.rs/metrics) facade: see [the guide](guide::observability) |
//! | `testing` | no | `cachestore::testing`: an engine that fails on command, for your tests |
//!
//! With `default-features = false`, the crate has the memory engine alone. A URL that needs a disabled feature returns
//! [`Error::InvalidConfig`]. The message names the feature.
//!
//! # Versions of other crates
//!
//! These crates have types in the public interface. So an incompatible version of one of them comes only with an
//! incompatible version of this crate, as Cargo sees versions.
//!
//! | crate | where |
//! |---|---|
//! | `bytes` 1 | [`Bytes`] |
//! | `futures-core` 0.3 | its `Stream`, which [`Events`], [`Scan`] and [`ScanEntries`] implement |
//! | `kameo` 0.22 | [`kameo`], re-exported: `Recipient` in the `send_to` of [`Lock`], [`Load`] and [`Events`] |
//! | `redis` 1 | [`redis`], re-exported: [`Store::redis_command`], `RedisConfig::from_client` and `from_connection` |
//! | `serde` 1 | its traits, which models implement |
//! | `tracing` 0.1 | its `LevelFilter`, in [`Config::span_level`] |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "redis"),
    allow(
        dead_code,
        unused_imports,
        reason = "some of the protocol is for engines over a server"
    )
)]

mod actor;
mod calls;
mod codec;
#[cfg(doctest)]
mod compile_fail;
mod config;
mod contain;
mod engine;
mod engines;
mod envelope;
mod error;
mod events;
#[cfg(feature = "testing")]
mod faults;
#[cfg(any(doc, doctest))]
pub mod guide;
mod key;
mod load;
mod lock;
mod meters;
mod near;
mod prehashed;
mod request;
mod secret;
mod spans;
mod stats;
mod store;
mod supervisor;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod ttl;
mod value;
mod watch;
mod weigher;

pub use bytes::Bytes;
/// The [`kameo`](https://docs.rs/kameo) crate, re-exported: its actors take locks by
/// [`Lock::send_to`] and loaded values by [`Load::send_to`].
#[doc(no_inline)]
pub use kameo;
/// The [`redis`](https://docs.rs/redis) crate, re-exported: [`Store::redis_command`] and [`RedisConfig`] take its types.
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[doc(no_inline)]
pub use redis;

pub use codec::{Codec, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, MAX_DEPTH};
pub use config::{Config, EngineKind, MemoryConfig, NearCache, Settings};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use config::{Credentials, IntoCredentials, RedisConfig};
pub use error::{Cause, Error, Phase, Result};
pub use events::{Event, Events};
pub use load::{LoadError, Loaded, Loading, Origin};
pub use lock::{LockGuard, LockInfo, LockLost, LockOutcome, Release};
pub use secret::Secret;
pub use stats::Stats;
pub use store::{
    Clear, CompareAndSetModel, ContextLoader, Fetched, Incr, IntoNames, Invalidate, Load, LoadContext,
    LoadFuture, LoadMany, LoadOptions, Loader, Lock, Many, Model, One, Scan, ScanEntries, Set, SetFuture,
    SetIf, SetMany, Store, Swap, UpdateModel,
};
pub use ttl::Ttl;
pub use value::Value;
