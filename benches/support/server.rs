//! The server of the benches over Redis, and who has used how much processor time.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "each bench uses a part of this"
)]

#[path = "../../tests/support/redis"]
#[allow(
    dead_code,
    clippy::expect_used,
    reason = "the tests' servers, of which this uses a part"
)]
mod harness {
    pub(crate) mod resp;
    pub(crate) mod server;
}

use std::process::{Command, exit};
use std::time::Duration;

use cachestore::{RedisConfig, Store};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use rustix::time::{ClockId, clock_gettime};

pub(crate) use harness::resp::Reply;
pub(crate) use harness::server::RedisServer;

/// No call takes longer, unless something hangs: a busy machine must not end a bench.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the bench where no server is installed.
#[allow(clippy::print_stderr, reason = "a bench is a program that prints")]
pub(crate) fn require() {
    if Command::new("redis-server").arg("--version").output().is_err() {
        eprintln!(
            "redis-server is not installed, and this bench needs it: `bash tests/run.sh` installs it, or \
             `apt-get install redis-server`, or `brew install redis`"
        );
        exit(1);
    }
}

pub(crate) async fn open(server: &RedisServer) -> Store {
    let config = RedisConfig::new(&server.url()).unwrap();
    Store::open(config.request_timeout(PATIENCE)).await.unwrap()
}

pub(crate) async fn multiplexed(client: &redis::Client) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap()
}

/// The processor time that the server has used.
pub(crate) fn server_time(server: &RedisServer) -> Duration {
    let info = server.command(&["INFO", "cpu"]).text();
    let seconds = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().parse().unwrap()
    };
    Duration::from_secs_f64(seconds("used_cpu_user:") + seconds("used_cpu_sys:"))
}

/// The processor time that this process has used.
pub(crate) fn client_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
