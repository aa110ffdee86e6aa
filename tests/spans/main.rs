//! Spans: what a `tracing` subscriber is told of calls and of loads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

#[cfg(feature = "redis")]
#[path = "../support/redis/mod.rs"]
mod harness;
#[path = "../support/listener.rs"]
mod listener;
#[path = "../support/mod.rs"]
mod support;

mod calls;
mod loads;
mod locks;
mod outcomes;
mod panics;
mod secrecy;
mod seen;
mod settings;
