//! Stores in one slot of a cluster, and over all of its slots: three real primaries, whose slots move, and which are killed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "figures, for those who ask with --nocapture")]

mod entering;
mod failover;
#[path = "../support/redis/mod.rs"]
mod harness;
mod histories;
mod moves;
mod moving;
mod names;
mod near;
mod refusals;
mod spread;
mod spread_faults;
mod spread_outages;
mod standstill;
mod transactions;
