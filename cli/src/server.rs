//! What a server tells of itself.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use cachestore::{Error, Store, redis};

use crate::escape;

/// The figures of a server at one time. Those that it counts are of all its clients since it started. `None` if it
/// does not tell them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server {
    /// Such as `Redis 7.0.15`.
    pub(crate) version: String,
    pub(crate) role: Option<String>,
    pub(crate) uptime: Option<Duration>,
    /// The time of one round trip from here.
    pub(crate) round_trip: Duration,
    /// The keys of this database, with those that the library keeps beside values.
    pub(crate) keys: u64,
    pub(crate) clients: Option<u64>,
    pub(crate) memory: Option<u64>,
    /// Zero if the memory has no limit.
    pub(crate) max_memory: Option<u64>,
    pub(crate) policy: Option<String>,
    pub(crate) commands: Option<u64>,
    pub(crate) hits: Option<u64>,
    pub(crate) misses: Option<u64>,
    pub(crate) expired: Option<u64>,
    pub(crate) evicted: Option<u64>,
}

impl Server {
    pub(crate) async fn ask(store: &Store) -> Result<Self> {
        let round_trip = store.ping().await.context("cannot reach the server")?;
        let info: String = explained(store.redis_command(redis::cmd("INFO")).await)?;
        let keys = explained(store.redis_command(redis::cmd("DBSIZE")).await)?;
        Ok(Self {
            round_trip,
            keys,
            ..Self::read(&info)
        })
    }

    /// Reads the reply of INFO.
    fn read(info: &str) -> Self {
        let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let text = |name: &str| fields.get(name).map(|text| escape::key(text));
        let number = |name: &str| fields.get(name)?.parse().ok();
        let version = match (text("valkey_version"), text("redis_version")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => "a server of unknown version".to_owned(),
        };
        let role = text("role").map(|role| match &*role {
            "master" => "primary".to_owned(),
            "slave" => "replica".to_owned(),
            _ => role,
        });
        Self {
            version,
            role,
            uptime: number("uptime_in_seconds").map(Duration::from_secs),
            round_trip: Duration::ZERO,
            keys: 0,
            clients: number("connected_clients"),
            memory: number("used_memory"),
            max_memory: number("maxmemory"),
            policy: text("maxmemory_policy"),
            commands: number("total_commands_processed"),
            hits: number("keyspace_hits"),
            misses: number("keyspace_misses"),
            expired: number("expired_keys"),
            evicted: number("evicted_keys"),
        }
    }

    /// Look-ups that found a key, and all look-ups.
    pub(crate) fn reads(&self) -> Option<(u64, u64)> {
        let hits = self.hits?;
        Some((hits, hits + self.misses?))
    }
}

fn explained<T>(answer: cachestore::Result<T>) -> Result<T> {
    answer.map_err(|error| {
        let is_right = matches!(error, Error::Unauthorized);
        let error = anyhow::Error::new(error);
        if is_right {
            error.context("the user of the URL needs the rights +info and +dbsize")
        } else {
            error.context("cannot read the server's figures")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_tell_is_unknown() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrole:slave\r\n# Memory\r\nused_memory:12\r\nkeyspace_hits:3\r\n";
        let server = Server::read(info);
        assert_eq!(server.version, "Redis 7.0.15");
        assert_eq!(server.role.as_deref(), Some("replica"));
        assert_eq!((server.memory, server.max_memory), (Some(12), None));
        assert_eq!(server.reads(), None);
        let valkey = Server::read(
            "redis_version:7.2.4\r\nvalkey_version:9.0.0\x1b\r\nkeyspace_misses:1\r\nkeyspace_hits:3\r\n",
        );
        assert_eq!(valkey.version, r"Valkey 9.0.0\u{1b}");
        assert_eq!(valkey.reads(), Some((3, 4)));
    }
}
