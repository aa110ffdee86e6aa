//! What the Redis engine is opened with. What it holds may be secret: `Debug` shows none of it.

use std::time::Duration;

use super::address::{Access, NEEDS_PASSWORD};
use super::address_map::AddressMap;
use super::credentials::CredentialsSource;
use super::setting::{self, Field, GRAIN, Kind, OVER_ZERO, Setting, Text, field};
use super::target::Target;
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::{MIB, NearCache, refuse};
use crate::error::Result;
use crate::ttl::LONGEST;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Linux takes up to 32,767 s between two probes.
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(9 * 60 * 60);
/// A shorter age would do nothing but connect.
const SHORTEST_AGE: Duration = Duration::from_millis(10);
/// More connections than this to one server are a mistake.
const MOST_CONNECTIONS: usize = 64;
/// More pipelines than this on one connection are a mistake.
const MOST_IN_FLIGHT: usize = 65_536;

/// The most bytes of a near cache, unless they are set.
const NEAR_BYTES: usize = 64 * MIB;

type Row = Setting<RedisOptions>;

/// The settings of the Redis engine, by their setters' names.
pub(super) static REDIS: &[Row] = &[
    Row::new(
        "connections",
        Kind::Number(1..=MOST_CONNECTIONS, field!(connections)),
    ),
    Row::new(
        "connect_timeout",
        Kind::Time(GRAIN..=DAY, field!(connect_timeout)),
    ),
    Row::new(
        "response_timeout",
        Kind::Time(GRAIN..=DAY, field!(response_timeout)),
    ),
    Row::new(
        "sentinel_timeout",
        Kind::Time(GRAIN..=DAY, field!(sentinel_timeout)),
    ),
    Row::new(
        "wait_for_connection",
        Kind::Time(Duration::ZERO..=DAY, field!(wait_for_connection)),
    ),
    Row::new(
        "keep_alive",
        Kind::Time(Duration::from_secs(1)..=LONGEST_KEEP_ALIVE, field!(keep_alive)),
    ),
    Row::new(
        "reconnect_backoff_min",
        Kind::Time(GRAIN..=DAY, field!(reconnect_backoff_min)),
    ),
    Row::new(
        "reconnect_backoff_max",
        Kind::Time(GRAIN..=DAY, field!(reconnect_backoff_max)),
    ),
    Row::new(
        "max_connection_age",
        Kind::Time(
            SHORTEST_AGE..=Duration::MAX,
            Field {
                get: |options| options.max_connection_age,
                set: RedisOptions::set_max_connection_age,
            },
        ),
    ),
    Row::new(
        "batch_commands",
        Kind::Number(1..=usize::MAX, field!(batch_commands)),
    ),
    Row::new("batch_bytes", Kind::Size(1..=usize::MAX, field!(batch_bytes))),
    Row::new(
        "max_in_flight",
        Kind::Number(1..=MOST_IN_FLIGHT, field!(max_in_flight)),
    ),
    Row::new(
        "max_in_flight_bytes",
        Kind::Size(1..=usize::MAX, field!(max_in_flight_bytes)),
    ),
    Row::new(
        "client_name",
        Kind::Text(
            Text {
                rule: "1 to 128 printable ASCII characters without spaces",
                holds: |name| (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()),
            },
            field!(client_name?),
        ),
    ),
    Row::new(
        "near_cache",
        Kind::SizeOrOff(
            1..=usize::MAX,
            Field {
                get: |options| options.near_cache.given(),
                set: |options, bytes| options.near_cache.set(bytes),
            },
        ),
    )
    .or("near"),
    Row::new(
        "near_max_age",
        Kind::Time(
            OVER_ZERO..=Duration::MAX,
            Field {
                get: |options| Some(options.near_cache.greatest_age()),
                set: |options, age| options.near_cache.max_age = Some(age),
            },
        ),
    ),
];

/// What the engine itself needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RedisOptions {
    pub(crate) target: Target,
    #[cfg(feature = "tls")]
    pub(crate) tls: Tls,
    /// TLS with Sentinels. What it lacks is as for servers.
    #[cfg(feature = "tls")]
    pub(super) sentinel_tls: Tls,
    /// Asked for the user and the password at each connect.
    pub(crate) credentials: Option<CredentialsSource>,
    /// Where the addresses that Sentinels or the nodes of a cluster name are reached from here.
    pub(crate) address_map: AddressMap,
    pub(crate) sentinel_timeout: Duration,
    /// Whether a hash tag was set for what is no cluster. `validate` refuses it.
    pub(super) foreign_tag: bool,
    /// Whether the access to a server was set that brings its own. `validate` refuses it.
    pub(super) foreign_access: bool,
    pub(crate) client_name: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) wait_for_connection: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) reconnect_backoff_min: Duration,
    pub(crate) reconnect_backoff_max: Duration,
    pub(crate) batch_commands: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) max_in_flight_bytes: usize,
    pub(crate) connections: usize,
    pub(crate) max_connection_age: Option<Duration>,
    /// Whether a capacity was set, which is for the memory engine. `validate` refuses it.
    pub(super) capacity_bytes: bool,
    pub(crate) near_cache: NearCache,
}

impl RedisOptions {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            #[cfg(feature = "tls")]
            sentinel_tls: Tls::default(),
            credentials: None,
            address_map: AddressMap::default(),
            sentinel_timeout: Duration::from_millis(500),
            foreign_tag: false,
            foreign_access: false,
            client_name: None,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(1),
            wait_for_connection: Duration::from_secs(1),
            keep_alive: Duration::from_secs(15),
            reconnect_backoff_min: Duration::from_millis(20),
            reconnect_backoff_max: Duration::from_secs(1),
            batch_commands: 512,
            batch_bytes: MIB / 4,
            max_in_flight: 4,
            max_in_flight_bytes: 64 * MIB,
            connections: 1,
            max_connection_age: None,
            capacity_bytes: false,
            near_cache: NearCache::off(),
        }
    }

    /// How many pipelines may be under way on one connection. Where others send too, there may be no room
    /// for one, and the next would overtake it.
    pub(crate) fn pipelines(&self) -> usize {
        match self.target {
            Target::Connection(_) => 1,
            _ => self.max_in_flight,
        }
    }

    /// How Sentinels are connected to.
    pub(crate) fn for_sentinels(&self) -> Self {
        Self {
            #[cfg(feature = "tls")]
            tls: self.sentinel_tls.clone().or(&self.tls),
            ..self.clone()
        }
    }

    /// Changes how the servers are entered.
    pub(super) fn change_access(&mut self, change: impl FnOnce(&mut Access)) {
        match self.target.access_mut() {
            Some(access) => change(access),
            None => self.foreign_access = true,
        }
    }

    /// The most bytes of the near cache. `None` if there is none.
    pub(crate) fn near_bytes(&self) -> Option<usize> {
        self.near_cache.bytes_of(NEAR_BYTES)
    }

    /// A longer time than [`LONGEST`] counts as that: the clock cannot reckon with any.
    pub(super) fn set_max_connection_age(&mut self, age: Duration) {
        self.max_connection_age = Some(age.min(LONGEST));
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.near_cache.validate()?;
        if self.near_bytes().is_some() && self.target.is_foreign() {
            return refuse(
                "near_cache is for URLs: over an existing client or connection, the engine does not see in time what \
                 the server invalidates"
                    .to_owned(),
            );
        }
        if self.target.is_foreign() && (self.foreign_access || self.credentials.is_some()) {
            return refuse(
                "username, password, credentials, database and tls are for URLs: an existing client or connection \
                 brings its own"
                    .to_owned(),
            );
        }
        if self.credentials.is_none() && self.target.access().is_some_and(Access::lacks_password) {
            return refuse(format!("username {NEEDS_PASSWORD}"));
        }
        match &self.target {
            Target::Sentinel(sentinels) => sentinels.validate()?,
            Target::Cluster(cluster) => cluster.validate()?,
            _ if self.address_map.is_set() => {
                return refuse(
                    "map_address is for the addresses that Sentinels or the nodes of a cluster name"
                        .to_owned(),
                );
            }
            _ => {}
        }
        if self.foreign_tag {
            return refuse("hash_tag is for a cluster".to_owned());
        }
        if self.capacity_bytes {
            return refuse(
                "capacity_bytes is a setting of the memory engine: Redis has its maxmemory".to_owned(),
            );
        }
        setting::check(self, REDIS)?;
        if self.reconnect_backoff_max < self.reconnect_backoff_min {
            return refuse("reconnect_backoff must not end below where it begins".to_owned());
        }
        if matches!(self.target, Target::Connection(_)) && self.connections > 1 {
            return refuse("connections must be 1 over an existing connection".to_owned());
        }
        #[cfg(feature = "tls")]
        self.validate_tls()?;
        Ok(())
    }
}
