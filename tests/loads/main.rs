//! Loads: single flight, times, changes meanwhile, and whatever may go wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails by a panic too"
)]

mod actors;
mod bounds;
mod ends;
mod engines;
mod errors;
mod failing;
mod flights;
#[cfg(feature = "redis")]
#[path = "../support/redis/mod.rs"]
mod harness;
mod interleavings;
mod leases;
mod lineage;
#[path = "../support/listener.rs"]
mod listener;
#[path = "../support/loads.rs"]
mod loads;
#[path = "../support/log.rs"]
mod log;
mod logging;
mod many;
mod many_apart;
mod nested;
mod options;
mod panics;
mod refresh_ahead;
#[cfg(not(feature = "redis"))]
#[path = "../support/seeded.rs"]
mod seeded;
mod stale;
mod stored;
#[path = "../support/mod.rs"]
mod support;
mod times;

#[cfg(feature = "redis")]
use harness::seeded;
