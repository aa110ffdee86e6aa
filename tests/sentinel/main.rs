//! Stores over a primary that Sentinels name: real servers and real Sentinels, that are killed and stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "figures, for those who ask with --nocapture")]

mod entering;
#[path = "../support/redis/mod.rs"]
mod harness;
mod held_locks;
mod leases;
mod refusals;
mod switches;
