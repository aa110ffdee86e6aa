//! Metrics: what a recorder is told, each by exact counts after a known script of calls.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

#[cfg(feature = "redis")]
#[path = "../support/redis/mod.rs"]
mod harness;
#[path = "../support/mod.rs"]
mod support;

mod calls;
mod figures;
mod loads;
mod locks;
mod panics;
#[cfg(feature = "redis")]
mod redis;
mod series;
mod sums;
mod told;
