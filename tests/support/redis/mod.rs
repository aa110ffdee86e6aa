//! What the tests of the Redis engine stand on: servers of their own, a proxy that does harm, and
//! certificates made on the spot.
//!
//! Each test binary takes it with `#[path = "support/redis/mod.rs"] mod harness;` and uses a part.
#![allow(dead_code, reason = "every test file uses a part")]
#![allow(unused_imports, reason = "every test file uses a part")]
#![allow(unused_macros, reason = "every test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness may panic")]

pub(crate) mod borrowed;
pub(crate) mod cluster;
pub(crate) mod histories;
pub(crate) mod hostile;
pub(crate) mod lateness;
pub(crate) mod moving;
pub(crate) mod near;
pub(crate) mod near_events;
pub(crate) mod opening;
pub(crate) mod place;
pub(crate) mod proxy;
pub(crate) mod register;
pub(crate) mod resp;
#[path = "../seeded.rs"]
pub(crate) mod seeded;
pub(crate) mod sentinel;
pub(crate) mod server;
pub(crate) mod switch;
pub(crate) mod tls;

pub(crate) use borrowed::Borrowed;
pub(crate) use cluster::Cluster;
pub(crate) use hostile::{Answer, Hostile};
pub(crate) use moving::Moving;
pub(crate) use place::{Place, Topology, WithTopology};
pub(crate) use proxy::{Direction, Proxy, Toxic};
pub(crate) use resp::{Client, Reply};
pub(crate) use seeded::Seeded;
pub(crate) use sentinel::{SERVICE, Sentinel, Service};
pub(crate) use server::{Monitor, RedisServer};
