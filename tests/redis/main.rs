//! The Redis engine, over servers of the tests' own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "figures, for those who ask with --nocapture")]

mod bandwidth;
mod callers;
mod cross_talk;
mod deadlines;
mod dependencies;
mod events;
mod growth;
#[path = "../support/redis/mod.rs"]
mod harness;
mod harness_itself;
mod hung;
mod keys;
mod late_names;
mod lineage;
mod linearizability;
mod loads;
#[path = "../support/log.rs"]
mod log;
mod logging;
mod long_work;
mod moved_names;
mod near;
mod near_events;
mod near_load;
mod near_scripted;
mod newer;
mod opening;
mod order;
mod outage;
mod queued;
mod replay;
mod replica;
mod restart;
mod scan;
mod settings;
mod slow_link;
mod smoke;
mod storm;
#[cfg(feature = "tls")]
mod tls;
mod ttl;
mod wire;
