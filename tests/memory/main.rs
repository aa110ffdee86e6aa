//! The embedded engine, and what holds whatever the engine is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails by a panic too"
)]

mod auto_traits;
mod cancellation;
mod dependencies;
mod events;
mod expiry;
mod keys;
#[path = "../support/listener.rs"]
mod listener;
mod near;
mod panics;
mod queue;
mod shared;
mod sizes;
#[path = "../support/mod.rs"]
mod support;
mod sweeps;
mod ttl;
