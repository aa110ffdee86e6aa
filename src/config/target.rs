//! What a store connects to.

use std::fmt;
use std::sync::Arc;

use redis::ConnectionAddr;
use redis::aio::MultiplexedConnection;

use super::address::{Access, Address, Place};
use super::cluster::Cluster;
use super::sentinel::Sentinels;
use crate::key::Namespace;

/// What to connect to.
#[derive(Clone)]
pub(crate) enum Target {
    Address(Address),
    /// The primary that Sentinels name.
    Sentinel(Sentinels),
    /// The owner of one slot of a cluster, or all nodes of it.
    Cluster(Cluster),
    Client(Arc<redis::Client>),
    Connection(Arc<MultiplexedConnection>),
}

impl Target {
    /// How the servers are entered. `None` if an application opens the connections.
    pub(super) fn access(&self) -> Option<&Access> {
        match self {
            Target::Address(address) => Some(&address.access),
            Target::Sentinel(sentinels) => Some(&sentinels.access),
            Target::Cluster(cluster) => Some(&cluster.access),
            Target::Client(_) | Target::Connection(_) => None,
        }
    }

    pub(super) fn access_mut(&mut self) -> Option<&mut Access> {
        match self {
            Target::Address(address) => Some(&mut address.access),
            Target::Sentinel(sentinels) => Some(&mut sentinels.access),
            Target::Cluster(cluster) => Some(&mut cluster.access),
            Target::Client(_) | Target::Connection(_) => None,
        }
    }

    /// Whether an application opened, or opens, the connections in its own way.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self, Target::Client(_) | Target::Connection(_))
    }

    /// Whether the keys of the store are spread over all slots of a cluster.
    pub(crate) fn is_spread(&self) -> bool {
        matches!(self, Target::Cluster(cluster) if cluster.hash_tag().is_none())
    }

    /// Where the keys of the store are.
    pub(crate) fn root(&self) -> Namespace {
        match self {
            Target::Cluster(cluster) => cluster.root(),
            _ => Namespace::default(),
        }
    }

    /// The host and the port of the one server that is named, or the path of its socket.
    pub(super) fn server_address(&self) -> Option<(String, Option<u16>)> {
        match self {
            Target::Address(address) => Some(match &address.place {
                Place::Tcp(host, port) => (host.clone(), Some(*port)),
                Place::Unix(path) => (path.display().to_string(), None),
            }),
            Target::Client(client) => match client.get_connection_info().addr() {
                ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                    Some((host.clone(), Some(*port)))
                }
                ConnectionAddr::Unix(path) => Some((path.display().to_string(), None)),
                _ => None,
            },
            Target::Sentinel(_) | Target::Cluster(_) | Target::Connection(_) => None,
        }
    }

    /// The number of the database, where it is known.
    pub(super) fn database(&self) -> Option<i64> {
        match self {
            Target::Client(client) => Some(client.get_connection_info().redis_settings().db()),
            _ => self.access().map(|access| access.db),
        }
    }
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
