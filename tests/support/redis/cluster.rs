//! A cluster of three primaries on the loopback, with or without a replica for each.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use cachestore::RedisConfig;

use super::opening::{eventually, ms};
use super::proxy::Proxy;
use super::resp::Reply;
use super::server::{Options, RedisServer};

/// How many slots there are.
const SLOTS: usize = 16_384;

#[derive(Debug)]
pub(crate) struct Cluster {
    /// Three primaries, which have a third of the slots each, and then their replicas in the same order.
    pub(crate) nodes: Vec<RedisServer>,
    ids: Vec<String>,
    /// How a store enters the nodes: `user:password@`, or nothing.
    entry: String,
}

impl Cluster {
    /// Three primaries without replicas.
    pub(crate) async fn start() -> Self {
        Self::with(0, |options| options, "").await
    }

    /// Three primaries, each with a replica.
    pub(crate) async fn with_replicas() -> Self {
        Self::with(1, |options| options, "").await
    }

    /// A proxy before each node, and a store that reaches the nodes by them alone.
    pub(crate) async fn proxied(&self, tag: &str) -> (Vec<Proxy>, RedisConfig) {
        let (proxies, config) = self.spread_proxied().await;
        (proxies, config.hash_tag(tag))
    }

    /// The same for a store that is spread over all nodes.
    pub(crate) async fn spread_proxied(&self) -> (Vec<Proxy>, RedisConfig) {
        let mut proxies = Vec::new();
        for node in &self.nodes {
            proxies.push(Proxy::start(node.address(), 7).await);
        }
        let nodes = self.nodes.iter().map(RedisServer::port);
        let ports: BTreeMap<u16, u16> = nodes.zip(proxies.iter().map(Proxy::port)).collect();
        let config = RedisConfig::cluster([proxies[0].address()])
            .expect("an address")
            .map_address(move |host, port| (host.to_owned(), ports[&port]));
        (proxies, config)
    }

    /// The same with so many replicas of each primary, with options of the nodes, and with what stores enter them by.
    pub(crate) async fn with(replicas: usize, options: impl Fn(Options) -> Options, entry: &str) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 * (1 + replicas) {
            let plain = RedisServer::options()
                .node()
                .argument("repl-diskless-sync-delay", "0");
            nodes.push(options(plain).start().await);
        }
        let ids = nodes
            .iter()
            .map(|node| node.command(&["CLUSTER", "MYID"]).text())
            .collect();
        let cluster = Self {
            nodes,
            ids,
            entry: entry.to_owned(),
        };
        for (at, node) in cluster.nodes.iter().enumerate() {
            let epoch = (at + 1).to_string();
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            if at < 3 {
                let (first, end) = (at * SLOTS / 3, (at + 1) * SLOTS / 3);
                let mut command = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
                command.extend((first..end).map(|slot| slot.to_string()));
                node.command(&command);
            }
            let first = cluster.nodes[0].port().to_string();
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &first]);
        }
        let all = cluster.nodes.len().to_string();
        let known = || {
            cluster
                .nodes
                .iter()
                .all(|node| cluster_info(node, "cluster_known_nodes") == all)
        };
        assert!(eventually(ms(20_000), known).await, "the nodes know each other");
        for (at, node) in cluster.nodes.iter().enumerate().skip(3) {
            let of = cluster.ids[at % 3].clone();
            let follows = || node.command(&["CLUSTER", "REPLICATE", &of]).text() == "OK";
            assert!(eventually(ms(20_000), follows).await, "a node follows another");
        }
        cluster.healthy().await;
        cluster
    }

    /// Waits until all nodes that run say that all is well.
    pub(crate) async fn healthy(&self) {
        let well = || {
            self.nodes.iter().all(|node| {
                let role = node.info("role");
                cluster_info(node, "cluster_state") == "ok"
                    && cluster_info(node, "cluster_slots_ok") == SLOTS.to_string()
                    && (role == "master" || node.info("master_link_status") == "up")
            })
        };
        assert!(eventually(ms(30_000), well).await, "the cluster is healthy");
    }

    /// The URL of a store with this hash tag.
    pub(crate) fn url(&self, tag: &str) -> String {
        let [first, rest @ ..] = &self.nodes[..] else {
            panic!("no node");
        };
        let nodes: String = rest
            .iter()
            .map(|node| format!("&node={}", node.address()))
            .collect();
        format!(
            "redis-cluster://{}{}?hash_tag={tag}{nodes}",
            self.entry,
            first.address()
        )
    }

    /// The URL of a store that is spread over all nodes.
    pub(crate) fn spread_url(&self) -> String {
        let all = self.url("");
        all.replace("hash_tag=&", "").replace("?hash_tag=", "")
    }

    /// Removes all keys from all nodes.
    pub(crate) fn flush(&self) {
        self.nodes.iter().for_each(RedisServer::flush);
    }

    /// The slot of a tag.
    pub(crate) fn slot(&self, tag: &str) -> String {
        self.nodes[0]
            .command(&["CLUSTER", "KEYSLOT", tag])
            .int()
            .to_string()
    }

    /// The place of the node that owns a slot, as the node at `asked` sees it.
    pub(crate) fn owner_seen_by(&self, asked: usize, slot: &str) -> usize {
        let slot: i64 = slot.parse().unwrap();
        let reply = self.nodes[asked].command(&["CLUSTER", "SLOTS"]);
        let range = reply
            .array()
            .iter()
            .find(|range| (range.array()[0].int()..=range.array()[1].int()).contains(&slot))
            .expect("a range with the slot");
        let port = range.array()[2].array()[1].int();
        self.nodes
            .iter()
            .position(|node| i64::from(node.port()) == port)
            .unwrap()
    }

    /// The place of the primary that owns the slot of a tag.
    pub(crate) fn owner(&self, tag: &str) -> usize {
        self.owner_seen_by(0, &self.slot(tag))
    }

    /// The slot begins to move, and no key has moved.
    pub(crate) fn begin_move(&self, slot: &str, from: usize, to: usize) {
        let done = |reply: Reply| assert_eq!(reply, Reply::Simple("OK".to_owned()));
        done(self.nodes[to].command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &self.ids[from]]));
        done(self.nodes[from].command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &self.ids[to]]));
    }

    /// Moves these keys, as far as they exist.
    pub(crate) fn move_keys<K: AsRef<str>>(&self, keys: &[K], from: usize, to: usize) {
        let port = self.nodes[to].port().to_string();
        for chunk in keys.chunks(50) {
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "20000", "KEYS"];
            if !self.entry.is_empty() {
                // The other node has users of its own, and the harness is one of them.
                command.splice(6..6, ["AUTH2", "harness", "harness"]);
            }
            command.extend(chunk.iter().map(AsRef::as_ref));
            let mut client = self.nodes[from].client();
            let end = Instant::now() + Duration::from_secs(20);
            loop {
                let moved = client.try_command(&command).unwrap();
                // The other node may not have heard of all nodes yet.
                let is_down = matches!(&moved, Reply::Error(error) if error.contains("CLUSTERDOWN"));
                if !is_down || Instant::now() > end {
                    let moved = moved.text();
                    break assert!(moved == "OK" || moved == "NOKEY", "{moved}");
                }
            }
        }
    }

    /// The keys in a slot that a node has.
    pub(crate) fn keys_at(&self, node: usize, slot: &str) -> Vec<String> {
        self.nodes[node]
            .command(&["CLUSTER", "GETKEYSINSLOT", slot, "100000"])
            .sorted()
    }

    /// The slot does not move after all: what has moved comes back.
    pub(crate) fn give_up_move(&self, slot: &str, from: usize, to: usize) {
        self.nodes[from].command(&["CLUSTER", "SETSLOT", slot, "STABLE"]);
        self.move_keys(&self.keys_at(to, slot), to, from);
        self.nodes[to].command(&["CLUSTER", "SETSLOT", slot, "STABLE"]);
    }

    /// The slot belongs to the other node from now on.
    pub(crate) fn end_move(&self, slot: &str, from: usize, to: usize) {
        let done = |node: usize| {
            let reply = self.nodes[node].command(&["CLUSTER", "SETSLOT", slot, "NODE", &self.ids[to]]);
            assert_eq!(reply, Reply::Simple("OK".to_owned()));
        };
        done(to);
        done(from);
    }

    /// Moves a slot from one node to another, with all its keys, a few at a time, as `redis-cli --cluster reshard` does.
    pub(crate) async fn move_slot(&self, slot: &str, from: usize, to: usize, pause: Duration) {
        self.begin_move(slot, from, to);
        loop {
            let keys = self.keys_at(from, slot);
            if keys.is_empty() {
                break;
            }
            // Between two parts, the slot is torn.
            for few in keys.chunks(keys.len().div_ceil(2).min(10)) {
                self.move_keys(few, from, to);
                sleep(pause).await;
            }
        }
        self.end_move(slot, from, to);
        // One that does not know the new epoch would take the slot back with an old one, and the others would refuse that.
        let epoch = |node: usize| cluster_info(&self.nodes[node], "cluster_current_epoch");
        let knows = |node: usize| self.owner_seen_by(node, slot) == to && epoch(node) == epoch(to);
        let all = || (0..3).all(knows);
        assert!(eventually(ms(20_000), all).await, "all know the owner");
    }

    /// Waits until the replica of a primary has become one. Returns when it was seen to be.
    pub(crate) async fn promotion(&self, primary: usize) -> Instant {
        let end = Instant::now() + Duration::from_secs(60);
        while self.nodes[primary + 3].info("role") != "master" {
            assert!(Instant::now() < end, "no replica is promoted");
            sleep(ms(10)).await;
        }
        Instant::now()
    }
}

fn cluster_info(node: &RedisServer, name: &str) -> String {
    let text = node.command(&["CLUSTER", "INFO"]).text();
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
    lines.get(name).copied().unwrap_or_default().to_owned()
}
