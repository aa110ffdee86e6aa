//! A cluster, as callers see it: three primaries and three replicas on the loopback, a workload over all of them, slots of hot
//! keys that move, and a primary that is killed. Needs `redis-server` and `redis-cli` of version 7 or later on the path.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

#[path = "support/servers.rs"]
mod servers;
#[path = "support/timeline.rs"]
mod timeline;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use cachestore::{Error, RedisConfig, Store};
use clap::Parser;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use servers::{Folder, LONGEST, Server, free_port};
use timeline::{SLICE, Timeline};

/// Moves slots of hot keys and kills a primary under load. Prints the calls of each 100 ms, the errors by kind, and what the
/// store has done wrong: increments that were made twice, and calls on one key that changed places.
#[derive(Parser)]
struct Options {
    /// How many keys are incremented, and how many more are swapped.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
    keys: u32,
    /// How many slots of these keys are moved to another node.
    #[arg(long, default_value_t = 6)]
    moves: u32,
    /// After how many milliseconds of silence the other nodes take a primary for dead.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(200..=20_000))]
    node_timeout: u64,
}

/// Three primaries and their replicas.
struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    async fn start(folder: &Folder, node_timeout: u64) -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for number in 0..6 {
            let bus = free_port()?.to_string();
            let file = format!("nodes-{number}.conf");
            let timeout = node_timeout.to_string();
            let arguments = [
                &["--cluster-enabled", "yes", "--cluster-port", &bus][..],
                &["--cluster-config-file", &file, "--cluster-node-timeout", &timeout],
            ];
            nodes.push(Server::plain(&folder.0, &arguments.concat())?);
        }
        for node in &nodes {
            node.says(&["PING"], "PONG").await?;
        }
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)))
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .await?;
        let said = String::from_utf8_lossy(&created.stdout);
        ensure!(created.status.success(), "no cluster was made: {said}");
        for node in &nodes {
            node.says(&["CLUSTER", "INFO"], "cluster_state:ok").await?;
        }
        for replica in &nodes[3..] {
            replica
                .says(&["INFO", "replication"], "master_link_status:up")
                .await?;
        }
        Ok(Self { nodes })
    }

    fn addresses(&self) -> Vec<String> {
        let ports = self.nodes.iter().map(|node| node.port);
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// The slot of a key.
    async fn slot(&self, key: &str) -> anyhow::Result<String> {
        self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).await
    }

    /// The place of the primary, among the three first nodes, that owns a slot.
    async fn owner(&self, slot: &str) -> anyhow::Result<usize> {
        for (place, node) in self.nodes[..3].iter().enumerate() {
            let keys = node.command(&["CLUSTER", "COUNTKEYSINSLOT", slot]).await?;
            if keys != "0" {
                return Ok(place);
            }
        }
        anyhow::bail!("no node has keys in slot {slot}")
    }

    /// Moves a slot with its keys, as `redis-cli --cluster reshard` does.
    async fn move_slot(&self, slot: &str, from: usize, to: usize) -> anyhow::Result<()> {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let from_id = from.command(&["CLUSTER", "MYID"]).await?;
        let to_id = to.command(&["CLUSTER", "MYID"]).await?;
        to.command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id])
            .await?;
        from.command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id])
            .await?;
        loop {
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]).await?;
            if keys.is_empty() {
                break;
            }
            let port = to.port.to_string();
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            command.extend(keys.lines());
            from.command(&command).await?;
        }
        for node in [to, from] {
            node.command(&["CLUSTER", "SETSLOT", slot, "NODE", &to_id])
                .await?;
        }
        Ok(())
    }

    /// Waits until a replica has taken over the slots of a primary that is down.
    async fn promotion(&self) -> anyhow::Result<u16> {
        let began = Instant::now();
        loop {
            for node in &self.nodes[3..] {
                if node.command(&["ROLE"]).await?.starts_with("master") {
                    return Ok(node.port);
                }
            }
            ensure!(began.elapsed() < LONGEST, "no replica is promoted");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What the callers of one key have seen.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    acknowledged: u64,
    unknown: u64,
    /// More increments than there were calls for.
    made_twice: u64,
    /// Acknowledged increments that the promoted replica does not have, at least.
    lost: u64,
    /// Calls that found the value of a later one.
    order_lost: u64,
}

impl Seen {
    fn and(self, other: Self) -> Self {
        Self {
            acknowledged: self.acknowledged + other.acknowledged,
            unknown: self.unknown + other.unknown,
            made_twice: self.made_twice + other.made_twice,
            lost: self.lost + other.lost,
            order_lost: self.order_lost + other.order_lost,
        }
    }

    /// A counter has grown by `step` while so many increments were acknowledged and so many had an unknown outcome.
    fn compare(&mut self, step: i64, acknowledged: i64, unknown: u64) {
        let more = |count: i64| u64::try_from(count).unwrap_or(0);
        self.made_twice += more(step - acknowledged).saturating_sub(unknown);
        self.lost += more(acknowledged - step);
    }

    fn count<T>(&mut self, result: &cachestore::Result<T>) {
        self.acknowledged += u64::from(result.is_ok());
        self.unknown += u64::from(matches!(result, Err(Error::OutcomeUnknown(_))));
    }
}

/// A store under load, until it is told to stop.
#[derive(Clone)]
struct Load {
    store: Store,
    timeline: Timeline,
    stopped: Arc<AtomicBool>,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    /// A caller that fails at once and asks again at once helps nobody.
    async fn pause(&self, has_failed: bool) {
        sleep(Duration::from_millis(if has_failed { 10 } else { 1 })).await;
    }

    /// Increments a key.
    async fn count(self, key: String) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        // The sum after the last acknowledged increment, and the calls of unknown outcome up to it.
        let (mut last, mut unknown) = (0, 0);
        while self.goes_on() {
            let result = self.store.incr(&key, 1).await;
            self.timeline.count(&result);
            seen.count(&result);
            if let Ok(sum) = result {
                seen.compare(sum - last, 1, seen.unknown - unknown);
                (last, unknown) = (sum, seen.unknown);
            }
            self.pause(result.is_err()).await;
        }
        let sum = self.store.counter(&key).await?.unwrap_or_default();
        seen.compare(sum - last, 0, seen.unknown - unknown);
        Ok(seen)
    }

    /// Swaps growing numbers into a key, four at once. Each call must find a number below its own.
    async fn swap(self, key: String) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        let mut next = 0;
        while self.goes_on() {
            let swap = |number: u64| self.store.swap(&key, number.to_string()).into_future();
            // Calls are sent in the order in which they are first polled.
            let results = tokio::join!(biased; swap(next), swap(next + 1), swap(next + 2), swap(next + 3));
            let results = [results.0, results.1, results.2, results.3];
            let mut has_failed = false;
            for (number, result) in (next..).zip(results) {
                self.timeline.count(&result);
                seen.count(&result);
                has_failed |= result.is_err();
                if let Ok(Some(found)) = result {
                    let found: u64 = std::str::from_utf8(&found)?.parse()?;
                    seen.order_lost += u64::from(found >= number);
                }
            }
            next += 4;
            self.pause(has_failed).await;
        }
        Ok(seen)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = Folder::new("cluster")?;
    let mut cluster = Cluster::start(&folder, options.node_timeout).await?;
    let config = RedisConfig::cluster(cluster.addresses())?.request_timeout(Duration::from_secs(2));
    let store = Store::open(config).await?;
    println!("primaries and replicas: {}", cluster.addresses().join(", "));

    let timeline = Timeline::begin();
    let load = Load {
        store: store.clone(),
        timeline: timeline.clone(),
        stopped: Arc::default(),
    };
    let counter = |number: u32| format!("{{hot{number}}}:count");
    let mut running = Vec::new();
    for number in 0..options.keys {
        let swapped = format!("{{hot{number}}}:value");
        running.push(tokio::spawn(load.clone().count(counter(number))));
        running.push(tokio::spawn(load.clone().swap(swapped)));
    }
    sleep(SLICE * 5).await;
    for number in 0..options.moves {
        let slot = cluster.slot(&counter(number % options.keys)).await?;
        let from = cluster.owner(&slot).await?;
        let to = (from + 1) % 3;
        cluster.move_slot(&slot, from, to).await?;
        let port = cluster.nodes[to].port;
        timeline.note(format!("slot {slot} has moved to {port}"));
        sleep(SLICE).await;
    }
    sleep(SLICE * 5).await;
    let slot = cluster.slot(&counter(0)).await?;
    let killed = cluster.owner(&slot).await?;
    cluster.nodes[killed].process.start_kill()?;
    timeline.note(format!("{} is killed", cluster.nodes[killed].port));
    let promoted = cluster.promotion().await?;
    timeline.note(format!("{promoted} is promoted"));
    sleep(SLICE * 15).await;
    load.stopped.store(true, Ordering::Relaxed);
    let mut seen = Seen::default();
    for task in running {
        seen = seen.and(task.await??);
    }
    store.close().await?;
    timeline.print();
    println!("acknowledged: {}", seen.acknowledged);
    println!("of unknown outcome: {}", seen.unknown);
    println!("increments made twice: {}", seen.made_twice);
    println!("calls out of order: {}", seen.order_lost);
    println!(
        "acknowledged increments that were lost with the node: {}",
        seen.lost
    );
    ensure!(
        seen.made_twice == 0 && seen.order_lost == 0,
        "the store has broken a promise"
    );
    Ok(())
}
