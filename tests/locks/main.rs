//! Locks, over both engines.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "figures, for those who ask with --nocapture")]

mod cancellation;
mod failover;
mod fairness;
mod go;
#[path = "../support/redis/mod.rs"]
mod harness;
#[path = "../support/listener.rs"]
mod listener;
#[path = "../support/log.rs"]
mod log;
mod moved;
mod notifications;
mod refused;
mod replies;
mod runtimes;
mod suite;
mod unheard;
