//! The [`redis`](https://docs.rs/redis) crate, re-exported: what
//! [`Store::redis_command`](crate::Store::redis_command) and
//! [`RedisConfig`](crate::RedisConfig) take.

mod backoff;
mod batch;
mod connect;
mod connection_log;
mod doubt;
mod engine;
mod exchange;
mod fault;
mod generation;
mod gets;
mod job;
mod layout;
mod lease;
mod link;
mod lock;
mod raw;
mod reply;
mod scanner;
mod script;
mod start;
mod stream;
mod subscriber;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
mod values;
mod walk;
mod wire;
mod writes;

#[doc(no_inline)]
pub use ::redis::*;

pub(crate) use self::raw::{reply, unshareable};
pub(crate) use self::start::Redis;
