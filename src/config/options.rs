//! What the Redis engine is opened with. What it holds may be secret: `Debug` shows none of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::address::{Access, Address, NEEDS_PASSWORD};
use super::address_map::AddressMap;
use super::cluster::Cluster;
use super::credentials::CredentialsSource;
use super::sentinel::Sentinels;
use super::setting::{self, Field, GRAIN, Kind, Setting, Text, field};
use super::{MIB, NearCache, refuse};
use crate::error::Result;
use crate::key::Namespace;
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

/// What to connect to.
#[derive(Clone)]
pub(crate) enum Target {
    Address(Address),
    /// The primary that Sentinels name.
    Sentinel(Sentinels),
    /// The owner of one slot of a cluster.
    Cluster(Cluster),
    Client(Arc<redis::Client>),
    Connection(Arc<MultiplexedConnection>),
}

/// Certificates in PEM form.
#[cfg(feature = "tls")]
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) ca: Option<Arc<[u8]>>,
    pub(crate) client: Option<ClientCertificate>,
}

/// What this client shows of itself.
#[cfg(feature = "tls")]
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub(crate) chain: Arc<[u8]>,
    pub(crate) key: Arc<[u8]>,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Target::Address(a), Target::Address(b)) => a == b,
            (Target::Sentinel(a), Target::Sentinel(b)) => a == b,
            (Target::Cluster(a), Target::Cluster(b)) => a == b,
            (Target::Client(a), Target::Client(b)) => Arc::ptr_eq(a, b),
            (Target::Connection(a), Target::Connection(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Where the server is.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address) => fmt::Display::fmt(&address.place, f),
            Target::Sentinel(sentinels) => fmt::Display::fmt(sentinels, f),
            Target::Cluster(cluster) => fmt::Display::fmt(cluster, f),
            Target::Client(client) => fmt::Display::fmt(client.get_connection_info().addr(), f),
            Target::Connection(_) => f.write_str("the connection that was handed in"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address) => {
                let Access { tls, db, .. } = address.access;
                write!(f, "{:?}, tls {tls}, database {db}", address.place)
            }
            Target::Sentinel(sentinels) => {
                let Access { tls, db, .. } = sentinels.access;
                write!(f, "{sentinels}, tls {tls}, database {db}")
            }
            Target::Cluster(cluster) => write!(f, "{cluster}, tls {}", cluster.access.tls),
            Target::Client(_) => f.write_str("an existing client"),
            Target::Connection(_) => f.write_str("the connection that was handed in"),
        }
    }
}

#[cfg(feature = "tls")]
impl Tls {
    /// Takes from `default` each part that is missing here.
    fn or(self, default: &Self) -> Self {
        Self {
            ca: self.ca.or_else(|| default.ca.clone()),
            client: self.client.or_else(|| default.client.clone()),
        }
    }
}

#[cfg(feature = "tls")]
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("private_ca", &self.ca.is_some())
            .field("client_certificate", &self.client.is_some())
            .finish()
    }
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

    /// How the servers are entered. `None` if an application opens the connections.
    fn access(&self) -> Option<&Access> {
        match &self.target {
            Target::Address(address) => Some(&address.access),
            Target::Sentinel(sentinels) => Some(&sentinels.access),
            Target::Cluster(cluster) => Some(&cluster.access),
            Target::Client(_) | Target::Connection(_) => None,
        }
    }

    /// Changes how the servers are entered.
    pub(super) fn change_access(&mut self, change: impl FnOnce(&mut Access)) {
        match &mut self.target {
            Target::Address(address) => change(&mut address.access),
            Target::Sentinel(sentinels) => change(&mut sentinels.access),
            Target::Cluster(cluster) => change(&mut cluster.access),
            Target::Client(_) | Target::Connection(_) => self.foreign_access = true,
        }
    }

    /// Whether an application opened, or opens, the connections in its own way.
    fn is_foreign(&self) -> bool {
        matches!(self.target, Target::Client(_) | Target::Connection(_))
    }

    /// The most bytes of the near cache. `None` if there is none.
    pub(crate) fn near_bytes(&self) -> Option<usize> {
        self.near_cache.bytes_of(NEAR_BYTES)
    }

    /// A longer time than [`LONGEST`] counts as that: the clock cannot reckon with any.
    pub(super) fn set_max_connection_age(&mut self, age: Duration) {
        self.max_connection_age = Some(age.min(LONGEST));
    }

    /// Where the keys of the store are.
    pub(crate) fn root(&self) -> Namespace {
        match &self.target {
            Target::Cluster(cluster) => cluster.root(),
            _ => Namespace::default(),
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.near_cache.validate()?;
        if self.near_bytes().is_some() && self.is_foreign() {
            return refuse(
                "near_cache is for URLs: over an existing client or connection, the engine does not see in time what \
                 the server invalidates"
                    .to_owned(),
            );
        }
        if self.is_foreign() && (self.foreign_access || self.credentials.is_some()) {
            return refuse(
                "username, password, credentials, database and tls are for URLs: an existing client or connection \
                 brings its own"
                    .to_owned(),
            );
        }
        if self.credentials.is_none() && self.access().is_some_and(Access::lacks_password) {
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

    #[cfg(feature = "tls")]
    fn validate_tls(&self) -> Result<()> {
        if let Target::Sentinel(sentinels) = &self.target {
            let (to_servers, to_sentinels) = (sentinels.access.tls, sentinels.speak_tls());
            let is_of_use = self.sentinel_tls == Tls::default() || to_sentinels;
            if !is_of_use || (self.tls != Tls::default() && !to_servers && !to_sentinels) {
                return refuse("a certificate is given for TLS, and TLS is not spoken there".to_owned());
            }
            return Ok(());
        }
        if self.sentinel_tls != Tls::default() {
            return refuse("sentinel_tls_ca_pem and sentinel_tls_client_pem are for Sentinels".to_owned());
        }
        match &self.target {
            Target::Address(address) if address.access.tls && matches!(address.place, super::Place::Unix(_)) => {
                refuse("tls is for servers that are reached over TCP: unix:// speaks no TLS".to_owned())
            }
            _ if self.tls == Tls::default() => Ok(()),
            Target::Address(address) if address.access.tls => Ok(()),
            Target::Cluster(cluster) if cluster.access.tls => Ok(()),
            Target::Address(_) | Target::Sentinel(_) | Target::Cluster(_) => refuse("tls_ca_pem and tls_client_pem are for rediss:// URLs".to_owned()),
            Target::Client(_) | Target::Connection(_) => refuse(
                "tls_ca_pem and tls_client_pem are for URLs: an existing client or connection brings its own TLS \
                 settings"
                    .to_owned(),
            ),
        }
    }
}
