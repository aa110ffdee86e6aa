//! A cluster, or one slot of it. The URLs may hold passwords: no error here repeats any part of them.

use std::fmt;

use super::address::{self, Access, Address, Place};
use super::query::CLUSTER_SCHEMES;
use super::target::Target;
use super::{Parameters, RedisConfig, refuse};
use crate::error::{Error, Result};
use crate::key::{Namespace, is_plain};

/// The port of a node whose URL names none.
const NODE_PORT: u16 = address::SERVER_PORT;
/// More nodes than this need not be named: the others are learnt from these.
const MOST_NODES: usize = 64;
/// The longest hash tag, in bytes. Each key on the server has it.
const LONGEST_TAG: usize = 64;

/// The nodes of a cluster, and the slot that a store is in, if it is in one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// The nodes that are asked first.
    pub(crate) seeds: Vec<Place>,
    /// How all nodes are entered.
    pub(crate) access: Access,
    /// The text that chooses the slot. `None` if the store is spread over all slots.
    hash_tag: Option<String>,
}

/// The nodes that are named, for errors and the log.
impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cluster")?;
        for (n, seed) in self.seeds.iter().enumerate() {
            write!(f, "{}{seed}", if n == 0 { " at " } else { ", " })?;
        }
        Ok(())
    }
}

impl Cluster {
    fn new(nodes: Vec<Address>) -> Result<Self> {
        if !(1..=MOST_NODES).contains(&nodes.len()) {
            return refuse(format!("a cluster is named by 1 to {MOST_NODES} of its nodes"));
        }
        let mut access: Option<Access> = None;
        for node in &nodes {
            let access = access.get_or_insert_with(|| node.access.clone());
            if *access != node.access {
                return refuse(
                    "all nodes of a cluster are entered alike: with or without TLS, and as one user"
                        .to_owned(),
                );
            }
        }
        Ok(Self {
            access: access.unwrap_or_default(),
            seeds: nodes.into_iter().map(|node| node.place).collect(),
            hash_tag: None,
        })
    }

    /// Where the keys of the store are.
    pub(crate) fn root(&self) -> Namespace {
        self.hash_tag
            .as_deref()
            .map(Namespace::tagged)
            .unwrap_or_default()
    }

    /// The text that chooses the slot, if the store is in one.
    pub(crate) fn hash_tag(&self) -> Option<&str> {
        self.hash_tag.as_deref()
    }

    pub(super) fn validate(&self) -> Result<()> {
        if let Some(tag) = &self.hash_tag
            && (!(1..=LONGEST_TAG).contains(&tag.len()) || !is_plain(tag))
        {
            return refuse(format!(
                "hash_tag must be 1 to {LONGEST_TAG} of A-Z a-z 0-9 . _ -"
            ));
        }
        if self.access.db != 0 {
            return refuse("a cluster has only the database 0".to_owned());
        }
        Ok(())
    }
}

/// One node: `redis://[user:password@]host[:port]`, `rediss://…`, or `host[:port]`.
fn node(url: &str) -> Result<Address> {
    let whole = if url.contains("://") {
        url.to_owned()
    } else {
        format!("redis://{url}")
    };
    let (address, given) = address::read(&whole, NODE_PORT)?;
    if !given.is_empty() || matches!(address.place, Place::Unix(_)) {
        return Err(Error::InvalidConfig {
            reason: "a node of a cluster is named as redis://user:password@host:6379, or rediss:// with TLS"
                .to_owned(),
        });
    }
    Ok(address)
}

/// Reads a URL of a cluster, and its parameters that are settings. `None` if it is another URL.
pub(super) fn read(url: &str) -> Result<Option<(Cluster, Parameters)>> {
    let Some((scheme, rest)) = url.trim().split_once("://") else {
        return Ok(None);
    };
    let Some((_, scheme)) = CLUSTER_SCHEMES
        .iter()
        .find(|(known, _)| scheme.eq_ignore_ascii_case(known))
    else {
        return Ok(None);
    };
    let (first, mut settings) = address::read(&format!("{scheme}://{rest}"), NODE_PORT)?;
    let mut nodes = vec![first];
    let (mut named, mut tags) = (Vec::new(), Vec::new());
    settings.retain(|(name, value)| {
        match name.as_str() {
            "node" => named.push(value.clone()),
            "hash_tag" => tags.push(value.clone()),
            _ => return true,
        }
        false
    });
    for name in &named {
        if name.contains(['/', '@', '?']) {
            return refuse("a node of a URL is host:port".to_owned());
        }
        nodes.push(Address {
            place: node(name)?.place,
            access: nodes[0].access.clone(),
        });
    }
    if tags.len() > 1 {
        return refuse("hash_tag is given twice".to_owned());
    }
    let mut cluster = Cluster::new(nodes)?;
    cluster.hash_tag = tags.pop();
    Ok(Some((cluster, settings)))
}

impl RedisConfig {
    /// A Redis or Valkey Cluster: some of its nodes, as `redis://[user:password@]host[:port]`, `rediss://…` with TLS, or
    /// `host:port`. The port is 6379 if none is named. The store learns the other nodes from these. User, password and TLS are
    /// the same for all nodes.
    ///
    /// The store is spread over all nodes: each key is in the slot that it hashes to. Calls on one key do what they do on one
    /// server. But a write with dependencies takes several steps, and calls on many keys are split: these are not atomic.
    /// A value whose loader finds dependencies out is stored from the second load of its key on. `queue_invalidations` is refused
    /// for now. With [`hash_tag`](Self::hash_tag), the whole store is in one slot, on one node, and has it.
    ///
    /// When a slot gets another owner, by a failover or because it is moved, the store follows. If a node refuses a request
    /// because the slot is elsewhere, is being moved, or has no owner, the store sends the request again until the call's
    /// deadline. Calls on one key keep their order. A change whose outcome is unknown is never sent again. Replication is
    /// asynchronous: a failover may lose writes that the old owner acknowledged. The page *Choosing a topology* of the guide
    /// tells more.
    ///
    /// As one URL: `redis-cluster://user:password@n1:7000?node=n2:7001`, and `rediss-cluster://` with TLS.
    ///
    /// ```
    /// use cachestore::RedisConfig;
    ///
    /// let config = RedisConfig::cluster(["redis://n1:7000", "redis://n2:7001"])?;
    /// # let _ = config;
    /// # Ok::<(), cachestore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if there are no nodes or more than 64, if one has another form, or if
    /// users, passwords or TLS differ. [`Store::open`](crate::Store::open) returns it if the cluster's keys have the layout of
    /// stores on one node, or a setting is not supported over a cluster.
    pub fn cluster<S: AsRef<str>>(nodes: impl IntoIterator<Item = S>) -> Result<Self> {
        let nodes = nodes.into_iter().map(|url| node(url.as_ref().trim()));
        let cluster = Cluster::new(nodes.collect::<Result<_>>()?)?;
        Ok(Self::of(Target::Cluster(cluster)))
    }

    /// Keeps the whole store in one slot of a [`cluster`](Self::cluster): the slot that this tag hashes to. 1 to 64 of
    /// `A-Z a-z 0-9 . _ -`.
    ///
    /// On the servers each key begins with the tag in braces: the key `user:1` is `{app}:user:1` there. The names that calls
    /// take and return are without it. Stores with different tags see different keys.
    ///
    /// All keys of the store are on the node that owns the slot. So every call does what it does on one server, and the store
    /// cannot be larger than one node. When the slot gets another owner, the near cache is emptied, each lock that is held
    /// through a guard is checked, and the results of running loads are not stored.
    ///
    /// [`Store::open`](crate::Store::open) refuses a tag with other characters, and a tag without a cluster.
    ///
    /// ```
    /// use cachestore::RedisConfig;
    ///
    /// let config = RedisConfig::cluster(["n1:7000"])?.hash_tag("app");
    /// # let _ = config;
    /// # Ok::<(), cachestore::Error>(())
    /// ```
    #[must_use]
    pub fn hash_tag(mut self, tag: impl Into<String>) -> Self {
        match &mut self.options.target {
            Target::Cluster(cluster) => cluster.hash_tag = Some(tag.into()),
            _ => self.options.foreign_tag = true,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, EngineConfig};

    fn cluster(url: &str) -> Cluster {
        let EngineConfig::Redis(options) = Config::from_url(url).unwrap().engine else {
            panic!("{url} is not of Redis");
        };
        let Target::Cluster(cluster) = options.target else {
            panic!("{url} is not of a cluster");
        };
        cluster
    }

    fn places(places: &[(&str, u16)]) -> Vec<Place> {
        let place = |(host, port): &(&str, u16)| Place::Tcp((*host).to_owned(), *port);
        places.iter().map(place).collect()
    }

    #[test]
    fn a_url_names_nodes_access_and_tag() {
        let read =
            cluster("redis-cluster://us%40er:p%3Aw@n1:7000?node=n2:7001&node=[::1]&hash_tag=app&ttl=5m");
        assert_eq!(read.seeds, places(&[("n1", 7000), ("n2", 7001), ("::1", 6379)]));
        assert_eq!(read.access.username.as_deref(), Some("us@er"));
        assert_eq!(read.access.password.as_deref(), Some("p:w"));
        assert_eq!(read.hash_tag(), Some("app"));
        assert_eq!(read.root(), Namespace::tagged("app"));
        let bare = cluster("REDIS-CLUSTER://n1");
        assert_eq!((bare.seeds, bare.hash_tag), (places(&[("n1", 6379)]), None));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn rediss_is_with_tls() {
        assert!(cluster("rediss-cluster://n1?node=n2&hash_tag=a").access.tls);
        let config = RedisConfig::cluster(["rediss://n1", "rediss://n2"])
            .unwrap()
            .hash_tag("a");
        assert!(config.tls_ca_pem("pem").options.validate().is_ok());
    }

    #[test]
    fn nodes_are_entered_alike() {
        let config = RedisConfig::cluster(["redis://u:p@n1", "redis://u:p@n2:7"])
            .unwrap()
            .hash_tag("a");
        assert!(config.options.validate().is_ok());
        for nodes in [
            &["redis://u:hunter2@n1", "redis://n2"][..],
            &["redis://n1", "redis://:hunter2@n2"],
            &["redis://n1", "redis://n2/1"],
            &[],
            &["unix:///hunter2"],
            &["redis://n1?hunter2=1"],
        ] {
            let error = RedisConfig::cluster(nodes).unwrap_err();
            assert!(matches!(error, Error::InvalidConfig { .. }), "{nodes:?}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        let given = |tag: &str| RedisConfig::cluster(["n1"]).unwrap().hash_tag(tag);
        let longest = "t".repeat(LONGEST_TAG);
        for tag in ["a", "a.b_c-D9", &longest] {
            assert!(given(tag).options.validate().is_ok(), "{tag}");
        }
        for tag in ["", "{a}", "a}", "{", "a b", "a:b", "ä", &format!("{longest}t")] {
            assert!(given(tag).options.validate().is_err(), "{tag}");
        }
    }

    #[test]
    fn what_a_cluster_has_not_is_refused_with_the_reason() {
        let cluster = || RedisConfig::cluster(["n1"]).unwrap();
        for (config, named) in [
            (cluster().go_compatible(), "go_compatible"),
            (cluster().hash_tag("a").database(1), "database 0"),
            (cluster().hash_tag("a").go_compatible(), "go_compatible"),
            (
                RedisConfig::new("redis://n1").unwrap().hash_tag("a"),
                "hash_tag is for a cluster",
            ),
        ] {
            let Err(Error::InvalidConfig { reason }) = Config::from(config).validate() else {
                panic!("{named} is taken");
            };
            assert!(reason.contains(named), "{reason}");
        }
    }
}
