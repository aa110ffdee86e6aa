//! A store over all nodes of a cluster of three primaries, beside one on a server of its own and beside the cluster clients of
//! redis-rs and fred.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench is a program that prints and may fail"
)]

mod support;

#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::{Error, RedisConfig, Store};
use fred::clients::Client as Fred;
use fred::interfaces::{ClientLike, KeysInterface};
use futures_util::future::join_all;
use redis::AsyncCommands;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use server::{PATIENCE, RedisServer, client_time, open, server_time};
use support::{Flavor, Samples, Table, VALUE, key, millis, nanos_of, sized};

/// How many slots there are.
const SLOTS: usize = 16_384;
const HOUR: Duration = Duration::from_secs(3600);

/// One server, or the primaries of a cluster.
struct Servers(Vec<RedisServer>);

impl Servers {
    async fn alone() -> Self {
        Self(vec![RedisServer::start().await])
    }

    async fn cluster() -> Self {
        let mut nodes = Vec::new();
        for at in 0..3 {
            let node = RedisServer::options().node().start().await;
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
            let mut slots = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
            slots.extend((at * SLOTS / 3..(at + 1) * SLOTS / 3).map(|slot| slot.to_string()));
            node.command(&slots);
            nodes.push(node);
        }
        let first = nodes[0].port().to_string();
        for node in &nodes[1..] {
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &first]);
        }
        let is_well = |node: &RedisServer| {
            let info = node.command(&["CLUSTER", "INFO"]).text();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        while !nodes.iter().all(is_well) {
            sleep(Duration::from_millis(50)).await;
        }
        Self(nodes)
    }

    fn time(&self) -> Duration {
        self.0.iter().map(server_time).sum()
    }

    /// How long something takes, and the processor time that the servers use meanwhile.
    async fn timed(&self, work: impl Future<Output = ()>) -> (Duration, Duration) {
        let (served, began) = (self.time(), Instant::now());
        work.await;
        (began.elapsed(), self.time() - served)
    }

    fn memory(&self) -> f64 {
        let used = self.0.iter().map(|server| {
            let info = server.command(&["INFO", "memory"]).text();
            let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
            line.unwrap().trim().parse::<f64>().unwrap()
        });
        used.sum()
    }

    fn flush(&self) {
        for server in &self.0 {
            server.command(&["FLUSHALL"]);
        }
    }

    fn urls(&self) -> Vec<String> {
        self.0.iter().map(RedisServer::url).collect()
    }

    async fn store(&self) -> Store {
        match &self.0[..] {
            [server] => open(server).await,
            _ => {
                let config = RedisConfig::cluster(self.urls()).unwrap();
                Store::open(config.request_timeout(PATIENCE)).await.unwrap()
            }
        }
    }

    async fn redis(&self) -> ClusterConnection {
        let client = ClusterClientBuilder::new(self.urls());
        let client = client.response_timeout(PATIENCE).build().unwrap();
        client.get_async_connection().await.unwrap()
    }

    async fn fred(&self) -> Fred {
        let url = self.0[0].url().replace("redis://", "redis-cluster://");
        let config = fred::types::config::Config::from_url(&url).unwrap();
        let mut builder = fred::types::Builder::from_config(config);
        builder.with_connection_config(|connection| connection.tcp.nodelay = Some(true));
        let client = builder.build().unwrap();
        client.init().await.unwrap();
        client
    }
}

#[derive(Clone)]
enum Client {
    Store(Store),
    Redis(ClusterConnection),
    Fred(Fred),
}

impl Client {
    async fn get(&mut self, key: &str) -> bool {
        match self {
            Self::Store(store) => store.get(key).await.unwrap().is_some(),
            Self::Redis(redis) => redis.get::<_, Option<Vec<u8>>>(key).await.unwrap().is_some(),
            Self::Fred(fred) => fred.get::<Option<bytes::Bytes>, _>(key).await.unwrap().is_some(),
        }
    }
}

struct Contestant {
    name: &'static str,
    servers: Arc<Servers>,
    client: Client,
}

/// One store on one server, and three clients of one cluster.
async fn contestants() -> [Contestant; 4] {
    let (alone, cluster) = (
        Arc::new(Servers::alone().await),
        Arc::new(Servers::cluster().await),
    );
    let of = |name, servers: &Arc<Servers>, client| Contestant {
        name,
        servers: servers.clone(),
        client,
    };
    [
        of("one server", &alone, Client::Store(alone.store().await)),
        of("over all nodes", &cluster, Client::Store(cluster.store().await)),
        of("redis-rs", &cluster, Client::Redis(cluster.redis().await)),
        of("fred", &cluster, Client::Fred(cluster.fred().await)),
    ]
}

impl Contestant {
    fn store(&self) -> &Store {
        match &self.client {
            Client::Store(store) => store,
            Client::Redis(_) | Client::Fred(_) => unreachable!("it is a peer"),
        }
    }

    /// Returns the reads a second, and the processor time of the client and of the servers for each.
    async fn reads(&self, tasks: usize, calls: usize) -> [f64; 3] {
        let (served, asked, began) = (self.servers.time(), client_time(), Instant::now());
        let share = calls / tasks;
        let running = (0..tasks).map(|task| {
            let mut client = self.client.clone();
            tokio::spawn(async move {
                for number in task * share..(task + 1) * share {
                    assert!(client.get(&key(number)).await);
                }
            })
        });
        for task in running.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let elapsed = began.elapsed();
        let calls = (share * tasks) as f64;
        let (asked, served) = (client_time() - asked, self.servers.time() - served);
        [
            calls / elapsed.as_secs_f64(),
            nanos_of(asked) / calls,
            nanos_of(served) / calls,
        ]
    }

    /// Increments counters while the servers end connections. Returns how often a counter was
    /// incremented more often than it was asked to be, and how many calls were acknowledged.
    async fn repeated(&self, lasts: Duration) -> (u64, u64) {
        self.servers.flush();
        let going = Arc::new(AtomicBool::new(true));
        let running = (0..64).map(|task| {
            let (store, going) = (self.store().clone(), going.clone());
            tokio::spawn(async move {
                let (key, mut counted) = (format!("count{task}"), Counted::default());
                while going.load(Ordering::Relaxed) {
                    match store.incr(&key, 1).await {
                        Ok(sum) => counted.acknowledged(sum),
                        Err(Error::OutcomeUnknown(_)) => counted.unknown += 1,
                        Err(_) => sleep(Duration::from_millis(1)).await,
                    }
                }
                let sum = loop {
                    match store.counter(&key).await {
                        Ok(sum) => break sum,
                        Err(_) => sleep(Duration::from_millis(1)).await,
                    }
                };
                counted.ended(sum.unwrap_or(0));
                counted
            })
        });
        let running: Vec<_> = running.collect();
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            sleep(Duration::from_millis(250)).await;
            for server in &self.servers.0 {
                server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            }
        }
        going.store(false, Ordering::Relaxed);
        let (mut repeated, mut acknowledged) = (0, 0);
        for task in running {
            let counted = task.await.unwrap();
            repeated += counted.repeated;
            acknowledged += counted.acknowledged;
        }
        (repeated, acknowledged)
    }
}

/// What a caller has seen of a counter that it alone increments, by one call after the other.
#[derive(Debug, Default)]
struct Counted {
    /// The sum after the last increment that was acknowledged.
    last: i64,
    /// The calls of unknown outcome since then.
    unknown: u64,
    acknowledged: u64,
    repeated: u64,
}

impl Counted {
    /// An increment was acknowledged with this sum. Those of unknown outcome before it may have been made, and nothing else.
    fn acknowledged(&mut self, sum: i64) {
        self.ended(sum - 1);
        (self.last, self.unknown) = (sum, 0);
        self.acknowledged += 1;
    }

    /// The counter has this sum, and no call is under way.
    fn ended(&mut self, sum: i64) {
        // No acknowledged increment is lost here: the servers live.
        let made = u64::try_from(sum - self.last).unwrap();
        self.repeated += made.saturating_sub(self.unknown);
    }
}

fn main() {
    server::require();
    let runtime = Flavor::CurrentThread.runtime().unwrap();
    let all = runtime.block_on(contestants());
    if support::is_wanted("get") {
        reads(&runtime, &all);
    }
    if support::is_wanted("dependents") {
        dependents(&runtime, &all[..2]);
    }
    if support::is_wanted("kills") {
        kills(&runtime, &all[1]);
    }
}

/// Writes values.
async fn fill(store: &Store, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(1000) {
        let entries = some.iter().map(|number| (key(*number), VALUE));
        store.set_many(entries).await.unwrap();
    }
}

/// Writes values that depend on one name, 64 at once.
async fn write(store: &Store, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(64) {
        let write = |number: &usize| {
            store
                .set(key(*number), VALUE)
                .ttl(HOUR)
                .depends_on("name")
                .into_future()
        };
        for written in join_all(some.iter().map(write)).await {
            written.unwrap();
        }
    }
}

/// Measures reads in turns, after a round to warm up.
fn reads(runtime: &Runtime, all: &[Contestant; 4]) {
    let calls = sized(100_000, 10_240);
    for contestant in &all[..2] {
        runtime.block_on(fill(contestant.store(), calls));
    }
    let mut table = Table::new(&[
        "get",
        "who",
        "calls/s",
        "beside",
        "client CPU",
        "server CPU",
        "both, beside",
    ]);
    for tasks in [64, 256, 1024] {
        let mut seen = [(); 4].map(|()| [(); 4].map(|()| Samples::default()));
        for round in 0..=sized(9, 3) {
            for turn in 0..all.len() {
                let who = (round + turn) % all.len();
                let [speed, client, server] = runtime.block_on(all[who].reads(tasks, calls));
                if round > 0 {
                    for (samples, figure) in
                        seen[who].iter_mut().zip([speed, client, server, client + server])
                    {
                        samples.push(figure);
                    }
                }
            }
        }
        for (contestant, [speed, client, server, both]) in all.iter().zip(&seen) {
            table.row([
                format!("{tasks} tasks"),
                contestant.name.to_owned(),
                format!("{:.0}", speed.median()),
                format!("{:.2}", speed.ratio(&seen[0][0])),
                format!("{:.2} µs", client.median() / 1e3),
                format!("{:.2} µs", server.median() / 1e3),
                format!("{:.2}", both.ratio(&seen[0][3])),
            ]);
        }
    }
    table.print();
}

/// Measures writes with a name, the memory that they take, an invalidation and a clearing.
fn dependents(runtime: &Runtime, both: &[Contestant]) {
    let (entries, plain) = (sized(10_000, 2_000), sized(100_000, 5_000));
    let mut table = Table::new(&[
        "dependents",
        "who",
        "took",
        "beside",
        "server CPU an entry",
        "bytes an entry",
    ]);
    let mut seen = [(); 2].map(|()| [(); 3].map(|()| [(); 2].map(|()| Samples::default())));
    let mut bytes = [(); 2].map(|()| Samples::default());
    for _ in 0..sized(5, 2) {
        for (who, contestant) in both.iter().enumerate() {
            let (store, servers) = (contestant.store(), &contestant.servers);
            runtime.block_on(async {
                store.clear().timeout(PATIENCE * 30).await.unwrap();
                let before = servers.memory();
                let written = servers.timed(write(store, entries)).await;
                bytes[who].push((servers.memory() - before) / entries as f64);
                let invalidation = async {
                    let removed = store.invalidate("name").timeout(PATIENCE * 30).await;
                    assert_eq!(removed.unwrap(), entries as u64);
                };
                let invalidated = servers.timed(invalidation).await;
                fill(store, plain).await;
                let clearing = async {
                    let removed = store.clear().timeout(PATIENCE * 30).await;
                    assert_eq!(removed.unwrap(), plain as u64);
                };
                let cleared = servers.timed(clearing).await;
                for (samples, (took, served)) in seen[who].iter_mut().zip([written, invalidated, cleared]) {
                    samples[0].push(nanos_of(took));
                    samples[1].push(nanos_of(served));
                }
            });
        }
    }
    let what = [
        (format!("set of {entries}, 64 at once"), entries),
        (format!("invalidate of {entries}"), entries),
        (format!("clear of {plain}"), plain),
    ];
    for (at, (what, count)) in what.into_iter().enumerate() {
        for (who, contestant) in both.iter().enumerate() {
            let [took, served] = &seen[who][at];
            let bytes = if at == 0 {
                format!("{:.0}", bytes[who].median())
            } else {
                String::new()
            };
            table.row([
                what.clone(),
                contestant.name.to_owned(),
                millis(took.median()),
                format!("{:.2}", took.ratio(&seen[0][at][0])),
                format!("{:.2} µs", served.median() / count as f64 / 1e3),
                bytes,
            ]);
        }
    }
    table.print();
}

/// Counts the increments that were made more often than they were asked for.
fn kills(runtime: &Runtime, ours: &Contestant) {
    let lasts = Duration::from_millis(sized(10_000, 1_000) as u64);
    let (repeated, acknowledged) = runtime.block_on(ours.repeated(lasts));
    let mut table = Table::new(&["connections are killed", "acknowledged", "mutations repeated"]);
    table.row([
        ours.name.to_owned(),
        acknowledged.to_string(),
        repeated.to_string(),
    ]);
    table.print();
}
