//! Where the stores of a test have their keys: on a server, on the primary that a Sentinel names, in a slot of a cluster, or on
//! all its nodes.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use cachestore::RedisConfig;
use tokio::sync::OnceCell;

use super::borrowed::Borrowed;
use super::cluster::Cluster;
use super::opening::config;
use super::proxy::Proxy;
use super::sentinel::{SERVICE, Sentinel};
use super::server::RedisServer;

/// How a store reaches the server that has its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topology {
    Server,
    Sentinel,
    /// In one slot of a cluster.
    Cluster,
    /// In all slots of a cluster, whose primaries have replicas.
    Nodes,
}

/// Runs tests without arguments over each topology in which one server has all keys, or over the one that is named.
macro_rules! over_each_topology {
    ($($test:ident)*) => {
        crate::harness::place::over_each_topology! { over_a_server: Server; $($test)* }
        crate::harness::place::over_each_topology! { over_sentinel: Sentinel; $($test)* }
        crate::harness::place::over_each_topology! { over_a_cluster: Cluster; $($test)* }
    };
    ($topology_module:ident: $topology:ident; $($test:ident)*) => {
        mod $topology_module {
            $(#[tokio::test]
            async fn $test() {
                let _on = crate::harness::WithTopology::on(crate::harness::Topology::$topology);
                super::$test().await;
            })*
        }
    };
}
pub(crate) use over_each_topology;

/// Runs tests without arguments over a server and over a cluster.
macro_rules! over_a_server_and_a_cluster {
    ($($test:ident)*) => {
        crate::harness::place::over_each_topology! { over_a_server: Server; $($test)* }
        crate::harness::place::over_each_topology! { over_a_cluster: Cluster; $($test)* }
    };
}
#[allow(unused_imports, reason = "not every test binary has such tests")]
pub(crate) use over_a_server_and_a_cluster;

thread_local! {
    static TOPOLOGY: Cell<Option<Topology>> = const { Cell::new(None) };
}

impl Topology {
    /// The one that [`WithTopology`] has chosen.
    pub(crate) fn of_this_thread() -> Option<Self> {
        TOPOLOGY.get()
    }
}

/// Decides where [`Place::start`] has the keys of this thread's tests, until this is dropped.
pub(crate) struct WithTopology(());

impl WithTopology {
    pub(crate) fn on(topology: Topology) -> Self {
        TOPOLOGY.set(Some(topology));
        Self(())
    }
}

impl Drop for WithTopology {
    fn drop(&mut self) {
        TOPOLOGY.set(None);
    }
}

/// The servers of one test.
#[derive(Debug)]
pub(crate) struct Place(Servers);

#[derive(Debug)]
enum Servers {
    One(RedisServer),
    Watched(RedisServer, Sentinel),
    /// A cluster that all tests of this process share, and the hash tag of this one.
    Slot(&'static Cluster, String),
    All(Borrowed),
}

impl Place {
    /// Servers of the topology that [`WithTopology`] has chosen, or a server.
    pub(crate) async fn start() -> Self {
        Self::on(Topology::of_this_thread().unwrap_or(Topology::Server)).await
    }

    pub(crate) async fn on(topology: Topology) -> Self {
        Self(match topology {
            Topology::Server => Servers::One(RedisServer::start().await),
            Topology::Sentinel => {
                let server = RedisServer::start().await;
                let sentinel = Sentinel::start(None).await;
                // It names the primary from now on, also without a replica.
                sentinel.watch(&server, 1, None);
                Servers::Watched(server, sentinel)
            }
            Topology::Cluster => {
                static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
                let start = || Cluster::with(0, |options| options.for_the_whole_process(), "");
                Servers::Slot(CLUSTER.get_or_init(start).await, next_tag())
            }
            Topology::Nodes => Servers::All(Borrowed::with(|options| options, "").await),
        })
    }

    /// The URL of a store.
    pub(crate) fn url(&self) -> String {
        match &self.0 {
            Servers::One(server) => server.url(),
            Servers::Watched(_, sentinel) => format!(
                "redis-sentinel://{}/0?sentinelServiceName={SERVICE}",
                sentinel.address()
            ),
            Servers::Slot(cluster, tag) => cluster.url(tag),
            Servers::All(cluster) => cluster.spread_url(),
        }
    }

    pub(crate) fn config(&self) -> RedisConfig {
        config(&self.url())
    }

    /// The server that has the keys. In a cluster, other tests have keys there too.
    pub(crate) fn server(&self) -> &RedisServer {
        match &self.0 {
            Servers::One(server) | Servers::Watched(server, _) => server,
            Servers::Slot(cluster, tag) => &cluster.nodes[cluster.owner(tag)],
            Servers::All(_) => panic!("each primary has some of the keys"),
        }
    }

    /// The servers that have the keys.
    pub(crate) fn servers(&self) -> &[RedisServer] {
        match &self.0 {
            Servers::All(cluster) => &cluster.nodes[..3],
            _ => std::slice::from_ref(self.server()),
        }
    }

    /// A proxy before the server that has the keys, and a store that reaches that server by it alone.
    pub(crate) async fn proxied(&self) -> (Proxy, RedisConfig) {
        let server = self.server();
        let proxy = Proxy::start(server.address(), 3).await;
        let config = match &self.0 {
            Servers::One(_) => config(&proxy.url()),
            Servers::Watched(..) | Servers::Slot(..) | Servers::All(_) => {
                let (of, to) = (server.port(), proxy.port());
                let map = move |host: &str, port| (host.to_owned(), if port == of { to } else { port });
                self.config().map_address(map)
            }
        };
        (proxy, config)
    }

    /// Whether no other test uses the server.
    pub(crate) fn is_alone(&self) -> bool {
        !matches!(self.0, Servers::Slot(..))
    }

    /// A name as it is on the server.
    pub(crate) fn name(&self, name: &str) -> String {
        match &self.0 {
            Servers::One(_) | Servers::Watched(..) | Servers::All(_) => name.to_owned(),
            Servers::Slot(_, tag) => format!("{{{tag}}}:{name}"),
        }
    }

    /// The keys of this test that match a pattern, by their names of the library; see [`RedisServer::keys`].
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        let pattern = self.name(pattern);
        let servers = self.servers().iter();
        servers.flat_map(|server| server.keys(&pattern)).collect()
    }

    /// The channels that stores of this test listen to.
    pub(crate) fn channels(&self) -> Vec<String> {
        let pattern = self.name("*");
        let asked = |server: &RedisServer| server.command(&["PUBSUB", "CHANNELS", &pattern]).sorted();
        self.servers().iter().flat_map(asked).collect()
    }

    /// Removes all keys of this test. Its stores do not notice.
    pub(crate) fn flush(&self) {
        match &self.0 {
            Servers::One(server) | Servers::Watched(server, _) => server.flush(),
            Servers::Slot(cluster, tag) => {
                let keys = cluster.keys_at(cluster.owner(tag), &cluster.slot(tag));
                for key in keys {
                    self.server().command(&["UNLINK", &key]);
                }
            }
            Servers::All(cluster) => cluster.flush(),
        }
    }

    /// Connections of stores that have this `client_name`.
    pub(crate) fn connections(&self, client_name: &str) -> Vec<String> {
        let servers = self.servers().iter();
        let mut all: Vec<String> = servers.flat_map(RedisServer::connections).collect();
        let name = format!(" name={client_name} ");
        all.retain(|line| line.contains(&name));
        all
    }
}

/// A hash tag that no other test of this process has.
fn next_tag() -> String {
    static TAGS: AtomicU64 = AtomicU64::new(0);
    format!("t{}", TAGS.fetch_add(1, Ordering::Relaxed))
}
