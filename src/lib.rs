//! A cache for async applications: values and models by key, with a time to live, a bound on memory, and
//! *dependency keys*, by which one call removes everything that was made from what has changed.
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
//!     store.set("page:1", "<h1>Ada</h1>").depends_on(["user:1"]).await?;
//!
//!     assert_eq!(store.get_model("user:1").await?, Some(ada));
//!     assert_eq!(store.get_string("page:1").await?.as_deref(), Some("<h1>Ada</h1>"));
//!
//!     // The user has changed: the model goes, and all that was made from it.
//!     assert_eq!(store.invalidate(["user:1"]).await?, 2);
//!     assert_eq!(store.get("page:1").await?, None);
//!
//!     store.close().await
//! }
//! ```
//!
//! # Two engines
//!
//! *Memory* is embedded in the process. *Redis* is a server that many processes share. The same calls give
//! the same answers on both, so that a URL chooses: [`Config::from_url`] takes `memory://` and `redis://`.
//! What differs is said where it matters: a server can be away, slow, or lose its data.
//!
//! * A call that only reads may be sent to the server again; a change never is. If it was sent and not
//!   answered, it is [`Error::OutcomeUnknown`].
//! * A write on the memory engine is made when it is in the engine's queue; on Redis, when the server has
//!   answered.
//! * On Redis, a key that is written anew without a dependency is still removed by an invalidation of its
//!   former one, once: too much, never too little.
//!
//! # Loads
//!
//! ```
//! use std::io;
//! use std::time::Duration;
//!
//! use cachestore::{Config, Store};
//!
//! /// The source: a database, an API, a renderer.
//! async fn find_name(id: u32) -> io::Result<Option<String>> {
//!     Ok((id == 1).then(|| "Ada".to_owned()))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = Store::open(Config::memory()).await?;
//!
//!     // Asks the source only if the cache has no answer; a hundred callers at once ask it once.
//!     let name = store
//!         .get_or_load("name:1", || find_name(1))
//!         .ttl(Duration::from_secs(60))
//!         .stale_while_revalidate(Duration::from_secs(10))
//!         .stale_if_error(Duration::from_secs(3600))
//!         .depends_on(["user:1"])
//!         .await?;
//!     assert_eq!(name.as_deref(), Some("Ada"));
//!
//!     // Change the source first, then invalidate: whoever asks from now on gets what it holds now.
//!     store.invalidate(["user:1"]).await?;
//!     Ok(store.close().await?)
//! }
//! ```
//!
//! [`Store::get_or_load`] runs one loader for all who want a key, and stores what it answers only if nothing that it was
//! made from has been changed meanwhile, by anyone: before the loader runs, the engine gives out a *lease* that
//! names the key and its dependencies, and any [`set`](Store::set), [`delete`](Store::delete),
//! [`invalidate`](Store::invalidate) or [`clear`](Store::clear) of these ends it. So change the source first,
//! then invalidate: whoever asks after that is never given what was read before.
//!
//! A value is *fresh* for its [`ttl`](Load::ttl). After that it is served while one load in the background makes a
//! new one ([`stale_while_revalidate`](Load::stale_while_revalidate)), and then only if a load fails or takes too
//! long ([`stale_if_error`](Load::stale_if_error)). A loader must not load its own key: it would wait for itself.
//!
//! # How it is built
//!
//! A [`Store`] is a cheap handle: it checks and encodes in the caller's task, and sends the engine a
//! request. The engine is an actor that alone owns its entries, or its connections, and keeps the order of
//! requests for each key, so every key is linearizable: once a [`set`](Store::set) is ready, every later
//! read, by anyone, sees it. User code, such as a model's `Serialize`, never runs inside the engine.
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
//! | `testing` | no | `cachestore::testing`: an engine that fails on command, for your tests |
//!
//! With `default-features = false` the crate is the memory engine alone. A URL that needs a feature which is off is
//! [`Error::InvalidConfig`], whose message names the feature.
//!
//! # Where to begin
//!
//! * [`Store::open`] with [`Config::memory`], [`Config::redis`], a URL ([`Config::from_url`]) or the environment
//!   ([`Config::from_env`]); [`Settings`], [`MemoryConfig`] and [`RedisConfig`] list what can be set.
//! * [`Store::get`] and [`Store::set`] for bytes and text, [`Store::get_model`] and [`Store::set_model`] for
//!   anything that serde can write.
//! * [`Store::get_or_load`] and [`Store::get_or_load_many`] for what can be asked of its source again.
//! * [`Set::ttl`] and [`Set::depends_on`] on a write, [`Store::invalidate`] when something has changed.
//! * [`Store::namespace`] for keys that must not meet, [`Store::stats`] to see how the cache does.
//! * [`Error`] for what can go wrong, and [`Error::is_retryable`].
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
mod codec;
#[cfg(doctest)]
mod compile_fail;
mod config;
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
mod near;
mod prehashed;
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
mod request;
mod secret;
mod stats;
mod store;
mod supervisor;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod ttl;
mod value;
mod weigher;

pub use bytes::Bytes;
/// The [`kameo`](https://docs.rs/kameo) crate, re-exported: its actors take locks by
/// [`Lock::send_to`].
#[doc(no_inline)]
pub use kameo;
/// The [`redis`](https://docs.rs/redis) crate, re-exported: [`Store::redis_command`] and [`RedisConfig`] take its types.
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[doc(no_inline)]
pub use redis;

pub use codec::{Codec, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, MAX_DEPTH};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use config::RedisConfig;
pub use config::{Config, EngineKind, MemoryConfig, NearCache, Settings};
pub use error::{Cause, Error, Phase, Result};
pub use events::{Event, Events};
pub use load::{LoadError, Loaded, Origin};
pub use lock::{LockGuard, LockInfo, LockLost, LockOutcome, Release};
pub use secret::Secret;
pub use stats::Stats;
pub use store::{
    Clear, CompareAndSetModel, Incr, IntoNames, Invalidate, Load, LoadFuture, LoadMany, LoadOptions, Loader,
    Lock, Many, Model, One, Scan, ScanEntries, Set, SetFuture, SetIf, SetMany, Store, Swap, UpdateModel,
};
pub use ttl::Ttl;
pub use value::Value;
