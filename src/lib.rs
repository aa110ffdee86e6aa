//! crate docs
#![forbid(unsafe_code)]

mod codec;
mod config;
mod error;
mod footprint;
mod key;
mod lane;
mod memory;
pub mod redis;
mod request;
mod stats;
mod store;
mod supervisor;
mod ttl;
mod value;

pub use bytes::Bytes;

pub use codec::{Codec, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, MAX_DEPTH};
pub use config::{Config, EngineKind, MemoryConfig, RedisConfig, Settings};
pub use error::{Cause, Error, Phase, Result};
pub use stats::Stats;
pub use store::{Scan, Set, SetFuture, SetIf, SetMany, Store};
pub use ttl::Ttl;
pub use value::Value;
