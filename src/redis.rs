//! The [`redis`](https://docs.rs/redis) crate, re-exported: what
//! [`Store::redis_command`](crate::Store::redis_command) and
//! [`RedisConfig`](crate::RedisConfig) take.

mod backoff;
mod command;
mod connect;
mod connection_log;
mod engine;
mod fault;
mod generation;
mod job;
mod layout;
mod lease;
mod link;
mod lock;
mod reply;
mod script;
mod start;
mod stream;
mod subscriber;
#[cfg(test)]
mod tests;
mod walk;

#[doc(no_inline)]
pub use ::redis::*;

pub(crate) use self::start::Redis;
