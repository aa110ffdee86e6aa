//! The Redis engine's speed beside redis-rs's connections', fred's and a pool's, over one server on
//! this machine.

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
use std::time::Duration;

use bytes::Bytes;
use cachestore::Store;
use fred::clients::Client as Fred;
use fred::interfaces::{ClientLike, KeysInterface};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{AsyncCommands, IntoConnectionInfo};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use server::{PATIENCE, RedisServer, client_time, multiplexed, open, server_time};
use support::{Flavor, KEYS, Samples, Table, VALUE, key, millis, nanos_of, quantile, sized, zipf};

/// Connections of the pool.
const POOL: u32 = 16;
/// Keys in one call of the many.
const MANY: usize = 100;
/// Bytes of the value that small ones wait behind.
const LARGE: usize = 16 << 20;
fn main() {
    server::require();
    let bench = Bench::new();
    let mut tables = Tables::new();
    let all: [(&str, Measure); 4] = [
        ("get", gets),
        ("many", many),
        ("large", behind_large),
        ("dependent", dependent),
    ];
    for (_, measure) in all.into_iter().filter(|(name, _)| support::is_wanted(name)) {
        for flavor in Flavor::BOTH {
            measure(&bench, flavor, &mut tables);
        }
    }
    println!(
        "{KEYS} keys, values of {} bytes, Zipf {}; CPU a call; multi thread is 2 workers\n",
        VALUE.len(),
        support::SKEW
    );
    tables.contestants.print();
    println!("\nBeside the peer with the highest throughput\n");
    tables.ratios.print();
}

type Measure = fn(&Bench, Flavor, &mut Tables);

struct Tables {
    /// All measures of each contestant.
    contestants: Table,
    ratios: Table,
}

impl Tables {
    fn new() -> Self {
        Self {
            contestants: Table::new(&["what", "who", "calls/s", "p50", "p99", "client CPU", "server CPU"]),
            ratios: Table::of_ratios(),
        }
    }
}

/// The server, the keys in it, and the order in which they are asked for.
struct Bench {
    server: RedisServer,
    keys: Arc<[String]>,
    order: Arc<[u32]>,
    rounds: usize,
}

impl Bench {
    fn new() -> Self {
        let runtime = Flavor::CurrentThread.runtime().unwrap();
        let server = runtime.block_on(RedisServer::start());
        let keys: Arc<[String]> = (0..KEYS).map(key).collect();
        let sets: Vec<[&[u8]; 3]> = keys.iter().map(|key| [b"SET", key.as_bytes(), &VALUE]).collect();
        let sets: Vec<Vec<&[u8]>> = sets.iter().map(|set| set.to_vec()).collect();
        server.client().pipeline(&sets).unwrap();
        Self {
            server,
            keys,
            order: zipf(KEYS, sized(1 << 20, 1 << 17), 1).into(),
            rounds: sized(9, 3),
        }
    }

    /// Makes `calls` calls on as many tasks as are told, each task with its share of the keys.
    async fn measure<C, F>(&self, work: Work, contestant: &C, run: fn(C, Share) -> F) -> Outcome
    where
        C: Clone,
        F: Future<Output = Vec<f64>> + Send + 'static,
    {
        let calls = work.calls / work.tasks;
        let shares: Vec<Share> = (0..work.tasks)
            .map(|task| Share {
                keys: self.keys.clone(),
                order: self.order.clone(),
                at: task * self.order.len() / work.tasks,
                calls,
            })
            .collect();
        let (server, client) = (self.server_time(), client_time());
        let began = Instant::now();
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| tokio::spawn(run(contestant.clone(), share)))
            .collect();
        let mut waits = Vec::with_capacity(calls * work.tasks);
        for task in running {
            waits.extend(task.await.unwrap());
        }
        let elapsed = began.elapsed();
        let (client, server) = (client_time() - client, self.server_time() - server);
        let calls = waits.len() as f64;
        Outcome([
            calls / elapsed.as_secs_f64(),
            quantile(&mut waits, 0.5),
            quantile(&mut waits, 0.99),
            nanos_of(client) / calls,
            nanos_of(server) / calls,
        ])
    }

    fn server_time(&self) -> Duration {
        server_time(&self.server)
    }

    async fn store(&self) -> Store {
        open(&self.server).await
    }

    /// redis-rs's client. Without `TCP_NODELAY`, which it does not set, it would be a weak peer.
    fn client(&self) -> redis::Client {
        let info = self.server.url().into_connection_info().unwrap();
        let settings = TcpSettings::default().set_nodelay(true);
        redis::Client::open(info.set_tcp_settings(settings)).unwrap()
    }

    async fn multiplexed(&self) -> MultiplexedConnection {
        multiplexed(&self.client()).await
    }

    async fn manager(&self) -> ConnectionManager {
        let config = ConnectionManagerConfig::new().set_response_timeout(Some(PATIENCE));
        self.client()
            .get_connection_manager_with_config(config)
            .await
            .unwrap()
    }

    async fn fred(&self) -> Fred {
        let config = fred::types::config::Config::from_url(&self.server.url()).unwrap();
        let mut builder = fred::types::Builder::from_config(config);
        builder.with_connection_config(|connection| connection.tcp.nodelay = Some(true));
        let client = builder.build().unwrap();
        client.init().await.unwrap();
        client
    }

    /// A pool that is full from the beginning. It sends no PING before each use, which would double
    /// its round trips.
    async fn pool(&self) -> Pool {
        Pool::builder()
            .max_size(POOL)
            .min_idle(POOL)
            .test_on_check_out(false)
            .build(self.client())
            .await
            .unwrap()
    }
}

#[derive(Clone, Copy)]
struct Work {
    tasks: usize,
    calls: usize,
}

/// One task's part of the keys.
struct Share {
    keys: Arc<[String]>,
    order: Arc<[u32]>,
    at: usize,
    calls: usize,
}

impl Share {
    fn keys(&self) -> impl Iterator<Item = &str> {
        let order = self.order[self.at..].iter().chain(self.order.iter().cycle());
        order.map(|number| self.keys[*number as usize].as_str())
    }
}

/// What one contestant did in one round, by [`MEASURES`].
struct Outcome([f64; MEASURES.len()]);

/// The measures of a contestant: throughput, of which more is better, and times, of which less is.
const MEASURES: [&str; 5] = ["calls/s", "p50", "p99", "client CPU", "server CPU"];
const THROUGHPUT: usize = 0;

fn show(measure: usize, value: f64) -> String {
    match measure {
        THROUGHPUT => format!("{value:.0}"),
        _ => format!("{:.1} µs", value / 1e3),
    }
}

/// One contestant's measures in all rounds.
#[derive(Default)]
struct Results([Samples; MEASURES.len()]);

impl Results {
    fn push(&mut self, outcome: &Outcome) {
        for (samples, sample) in self.0.iter_mut().zip(outcome.0) {
            samples.push(sample);
        }
    }
}

/// Runs the rounds, after one to warm up, and adds their rows. The first contestant is ours; the
/// first to run is another one each round.
fn contest(
    what: &str,
    names: &[&str],
    rounds: usize,
    tables: &mut Tables,
    mut run: impl FnMut(usize) -> Outcome,
) {
    let mut results: Vec<Results> = names.iter().map(|_| Results::default()).collect();
    for round in 0..=rounds {
        for turn in 0..names.len() {
            let contestant = (round + turn) % names.len();
            let outcome = run(contestant);
            if round > 0 {
                results[contestant].push(&outcome);
            }
        }
    }
    for (name, results) in names.iter().zip(&results) {
        let mut row = vec![what.to_owned(), (*name).to_owned()];
        let medians = results.0.iter().enumerate();
        row.extend(medians.map(|(measure, samples)| show(measure, samples.median())));
        tables.contestants.row(row);
    }
    // One peer for all measures: a pool hands its connections to the same few tasks at a low p50, while
    // the others starve.
    let throughput = |peer: usize| results[peer].0[THROUGHPUT].median();
    let best = (1..names.len()).max_by(|a, b| throughput(*a).total_cmp(&throughput(*b)));
    let best = best.unwrap();
    for (measure, label) in MEASURES.into_iter().enumerate() {
        let (ours, peer) = (&results[0].0[measure], &results[best].0[measure]);
        tables.ratios.row([
            format!("{what}: {label}"),
            show(measure, ours.median()),
            format!("{} {}", names[best], show(measure, peer.median())),
            format!("{:.2}", ours.ratio(peer)),
        ]);
    }
}

/// A client of the server; each task has its own clone.
trait Contestant: Clone + Send + 'static {
    /// Whether the key was found: always.
    fn find(&mut self, key: &str) -> impl Future<Output = bool> + Send;
}

impl Contestant for Store {
    async fn find(&mut self, key: &str) -> bool {
        self.get(key).await.unwrap().is_some()
    }
}

impl Contestant for MultiplexedConnection {
    async fn find(&mut self, key: &str) -> bool {
        let value: Option<Vec<u8>> = self.get(key).await.unwrap();
        value.is_some()
    }
}

impl Contestant for ConnectionManager {
    async fn find(&mut self, key: &str) -> bool {
        let value: Option<Vec<u8>> = self.get(key).await.unwrap();
        value.is_some()
    }
}

impl Contestant for Fred {
    async fn find(&mut self, key: &str) -> bool {
        let value: Option<Bytes> = KeysInterface::get(self, key).await.unwrap();
        value.is_some()
    }
}

type Pool = bb8::Pool<redis::Client>;

impl Contestant for Pool {
    async fn find(&mut self, key: &str) -> bool {
        let mut connection = self.get().await.unwrap();
        let value: Option<Vec<u8>> = AsyncCommands::get(&mut *connection, key).await.unwrap();
        value.is_some()
    }
}

/// How long each call took.
async fn find<C: Contestant>(mut contestant: C, share: Share) -> Vec<f64> {
    let mut waits = Vec::with_capacity(share.calls);
    for key in share.keys().take(share.calls) {
        let began = Instant::now();
        assert!(contestant.find(key).await);
        waits.push(nanos_of(began.elapsed()));
    }
    waits
}

async fn set_many(store: Store, share: Share) -> Vec<f64> {
    let mut waits = Vec::with_capacity(share.calls);
    let mut keys = share.keys();
    for _ in 0..share.calls {
        let began = Instant::now();
        let pairs = keys.by_ref().take(MANY).map(|key| (key, VALUE));
        store.set_many(pairs).await.unwrap();
        waits.push(nanos_of(began.elapsed()));
    }
    waits
}

async fn pipeline(mut connection: MultiplexedConnection, share: Share) -> Vec<f64> {
    let mut waits = Vec::with_capacity(share.calls);
    let mut keys = share.keys();
    for _ in 0..share.calls {
        let began = Instant::now();
        let mut pipeline = redis::Pipeline::with_capacity(MANY);
        for key in keys.by_ref().take(MANY) {
            pipeline.set(key, VALUE.as_slice()).ignore();
        }
        pipeline.exec_async(&mut connection).await.unwrap();
        waits.push(nanos_of(began.elapsed()));
    }
    waits
}

fn count(tasks: usize) -> String {
    if tasks == 1 {
        "1 task".to_owned()
    } else {
        format!("{tasks} tasks")
    }
}

fn gets(bench: &Bench, flavor: Flavor, tables: &mut Tables) {
    let runtime = flavor.runtime().unwrap();
    let (store, multiplexed, manager, fred, pool) = runtime.block_on(async {
        (
            bench.store().await,
            bench.multiplexed().await,
            bench.manager().await,
            bench.fred().await,
            bench.pool().await,
        )
    });
    let names = [
        "ours",
        "MultiplexedConnection",
        "ConnectionManager",
        "fred",
        "bb8",
    ];
    for tasks in [1, 64, 256, 1024] {
        let calls = if tasks == 1 {
            sized(20_000, 400)
        } else {
            sized(1 << 16, 1 << 12)
        };
        let work = Work { tasks, calls };
        let what = format!("get, {}, {}", count(tasks), flavor.name());
        contest(&what, &names, bench.rounds, tables, |contestant| {
            runtime.block_on(async {
                match contestant {
                    0 => bench.measure(work, &store, find).await,
                    1 => bench.measure(work, &multiplexed, find).await,
                    2 => bench.measure(work, &manager, find).await,
                    3 => bench.measure(work, &fred, find).await,
                    _ => bench.measure(work, &pool, find).await,
                }
            })
        });
    }
    runtime.block_on(async {
        store.close().await.unwrap();
        fred.quit().await.unwrap();
    });
}

fn many(bench: &Bench, flavor: Flavor, tables: &mut Tables) {
    let runtime = flavor.runtime().unwrap();
    let (store, multiplexed) = ours_and_redis_rs(bench, &runtime);
    for (tasks, calls) in [(1, sized(2000, 80)), (16, sized(4000, 160))] {
        let work = Work { tasks, calls };
        let what = format!("set_many of {MANY}, {}, {}", count(tasks), flavor.name());
        contest(&what, &["ours", "pipeline"], bench.rounds, tables, |contestant| {
            runtime.block_on(async {
                match contestant {
                    0 => bench.measure(work, &store, set_many).await,
                    _ => bench.measure(work, &multiplexed, pipeline).await,
                }
            })
        });
    }
}

fn ours_and_redis_rs(bench: &Bench, runtime: &Runtime) -> (Store, MultiplexedConnection) {
    runtime.block_on(async { (bench.store().await, bench.multiplexed().await) })
}

/// How long a small get takes that is made right after a large set has been.
fn behind_large(bench: &Bench, flavor: Flavor, tables: &mut Tables) {
    let runtime = flavor.runtime().unwrap();
    let (store, multiplexed) = ours_and_redis_rs(bench, &runtime);
    let value = Bytes::from(vec![7; LARGE]);
    let small = bench.keys[0].as_str();
    let [ours, peer] = support::in_turn(3 * bench.rounds, |contestant| {
        runtime.block_on(async {
            match contestant {
                0 => {
                    let set = store.set("large", value.clone());
                    let set = async { set.await.unwrap() };
                    wait_behind(set, store.clone(), small).await
                }
                _ => {
                    let mut writer = multiplexed.clone();
                    let set = async { writer.set::<_, _, ()>("large", &value[..]).await.unwrap() };
                    wait_behind(set, multiplexed.clone(), small).await
                }
            }
        })
    });
    let what = format!("get behind a set of 16 MiB, {}", flavor.name());
    let rows = [
        ("p50", ours.median(), peer.median(), ours.ratio(&peer)),
        ("worst", ours.max(), peer.max(), ours.max() / peer.max()),
    ];
    for (label, ours, peer, ratio) in rows {
        tables.ratios.row([
            format!("{what}: {label}"),
            millis(ours),
            format!("MultiplexedConnection {}", millis(peer)),
            format!("{ratio:.2}"),
        ]);
    }
}

async fn wait_behind(set: impl Future<Output = ()>, mut contestant: impl Contestant, small: &str) -> f64 {
    let get = async {
        let began = Instant::now();
        assert!(contestant.find(small).await);
        nanos_of(began.elapsed())
    };
    // The set is polled first, so that it is on its way when the get is made.
    tokio::join!(biased; set, get).1
}

/// What a dependency costs each write of 256 tasks, and each entry in the server's memory: entries that live for an hour,
/// with one of a thousand names each, beside the same without.
fn dependent(_: &Bench, flavor: Flavor, tables: &mut Tables) {
    let runtime = flavor.runtime().unwrap();
    let entries = sized(1_000_000, 10_240);
    let server = runtime.block_on(RedisServer::start());
    let store = runtime.block_on(open(&server));
    let mut memory = [Samples::default(), Samples::default()];
    let what = format!("{entries} sets by {TASKS} tasks, {}", flavor.name());
    let names = ["one of 1,000 names", "no name"];
    contest(&what, &names, sized(3, 1), tables, |contestant| {
        server.command(&["FLUSHALL"]);
        let (client, served) = (client_time(), server_time(&server));
        let began = Instant::now();
        let mut waits = runtime.block_on(write(&store, entries, contestant == 0));
        let elapsed = began.elapsed();
        let (client, served) = (client_time() - client, server_time(&server) - served);
        memory[contestant].push(used_memory(&server));
        let calls = waits.len() as f64;
        Outcome([
            calls / elapsed.as_secs_f64(),
            quantile(&mut waits, 0.5),
            quantile(&mut waits, 0.99),
            nanos_of(client) / calls,
            nanos_of(served) / calls,
        ])
    });
    let [dependent, plain] = &memory;
    tables.ratios.row([
        format!("{what}: memory of the server"),
        format!("{:.0} MB", dependent.median() / 1e6),
        format!("no name {:.0} MB", plain.median() / 1e6),
        format!("{:.2}", dependent.ratio(plain)),
    ]);
    runtime.block_on(store.close()).unwrap();
}

/// Tasks that write at once.
const TASKS: usize = 256;

async fn write(store: &Store, entries: usize, dependent: bool) -> Vec<f64> {
    let share = entries / TASKS;
    let tasks = (0..TASKS).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut waits = Vec::with_capacity(share);
            for number in task * share..(task + 1) * share {
                let began = Instant::now();
                let set = store.set(key(number), VALUE).ttl(Duration::from_secs(3600));
                if dependent {
                    let name = format!("name:{}", number % 1000);
                    set.depends_on(name).await.unwrap();
                } else {
                    set.await.unwrap();
                }
                waits.push(nanos_of(began.elapsed()));
            }
            waits
        })
    });
    let mut waits = Vec::with_capacity(entries);
    for task in tasks.collect::<Vec<_>>() {
        waits.extend(task.await.unwrap());
    }
    waits
}

fn used_memory(server: &RedisServer) -> f64 {
    let info = server.command(&["INFO", "memory"]).text();
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}
