//! Loads: single flight, times, changes meanwhile, and whatever may go wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails by a panic too"
)]

mod actors;
mod bounds;
mod ends;
mod errors;
mod failing;
mod flights;
mod interleavings;
mod leases;
mod lineage;
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
#[path = "../support/seeded.rs"]
mod seeded;
mod stale;
mod stored;
#[path = "../support/mod.rs"]
mod support;
mod times;
