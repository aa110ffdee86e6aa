//! What the near cache costs and saves: on the memory engine beside a store without one, and over Redis beside
//! requests to the server.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program that prints and may fail"
)]

mod support;

#[path = "support/caches.rs"]
mod caches;

#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use cachestore::{MemoryConfig, NearCache, RedisConfig, Store};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use caches::{Contestant, Share, count};
use server::{PATIENCE, RedisServer, multiplexed, server_time};
use support::{Flavor, KEYS, Samples, Table, VALUE, in_turn, key, nanos, nanos_of, sized, zipf};

/// Keys that fit into the near cache.
const HOT: usize = 1000;
/// Tasks that ask for keys over Redis.
const TASKS: usize = 64;

fn main() {
    let mut table = Table::of_ratios();
    let all: [(&str, Measure); 5] = [
        ("set", sets),
        ("threads", threads),
        ("hit", hits),
        ("tasks", many_tasks),
        ("server", server_work),
    ];
    for (_, measure) in all.into_iter().filter(|(name, _)| support::is_wanted(name)) {
        measure(&mut table);
    }
    println!(
        "{KEYS} keys, values of {} bytes, Zipf {}; time a call\n",
        VALUE.len(),
        support::SKEW
    );
    table.print();
}

type Measure = fn(&mut Table);

fn rounds() -> usize {
    sized(11, 3)
}

async fn in_memory(near: NearCache) -> Store {
    let config = MemoryConfig::default().capacity_bytes(1 << 30);
    Store::open(config.near_cache(near)).await.unwrap()
}

/// `set` with a near cache beside `set` without, of keys that are near and of keys that are not.
fn sets(table: &mut Table) {
    for flavor in Flavor::BOTH {
        for are_near in [false, true] {
            let runtime = flavor.runtime().unwrap();
            let (on, off) = runtime.block_on(async {
                let on = in_memory(NearCache::default()).await.filled().await;
                (on, in_memory(NearCache::off()).await.filled().await)
            });
            let keys: Vec<String> = (0..HOT).map(key).collect();
            let [on, off]: [Samples; 2] = in_turn(rounds(), |contestant| {
                let store = if contestant == 0 { &on } else { &off };
                runtime.block_on(set_all(store, &keys, flavor, are_near))
            });
            let which = if are_near { "are" } else { "are not" };
            let what = format!(
                "set of keys that {which} near, {}: without a near cache",
                flavor.name()
            );
            table.times(what, &on, &off);
        }
    }
}

/// Sets each key once and again. If keys are to be near, they are read before each time, which is not measured.
async fn set_all(store: &Store, keys: &[String], flavor: Flavor, are_near: bool) -> f64 {
    let (mut elapsed, mut calls) = (Duration::ZERO, 0);
    for _ in 0..sized(200, 20) {
        if are_near {
            for key in keys.iter().chain(keys) {
                assert!(Contestant::get(store, key).await);
            }
        }
        let began = flavor.now();
        for key in keys {
            Contestant::set(store, key).await;
        }
        store.settled().await;
        elapsed += flavor.now() - began;
        calls += keys.len();
    }
    nanos_of(elapsed) / calls as f64
}

/// Two threads that read one key, beside one: the time that the store takes for a read in all.
fn threads(table: &mut Table) {
    let calls = sized(1 << 21, 1 << 17);
    for len in [64, 256] {
        let runtime = Flavor::MultiThread.runtime().unwrap();
        let store = runtime.block_on(async {
            let store = in_memory(NearCache::default()).await;
            store.set("hot", vec![7; len]).await.unwrap();
            for _ in 0..3 {
                store.get("hot").await.unwrap();
            }
            store
        });
        let [two, one]: [Samples; 2] = in_turn(rounds(), |contestant| {
            let tasks = 2 - contestant;
            runtime.block_on(read_one(&store, tasks, calls / tasks))
        });
        let what = format!("get of one hot key of {len} bytes, 2 threads: 1 thread");
        table.times(what, &two, &one);
    }
}

async fn read_one(store: &Store, tasks: usize, calls: usize) -> f64 {
    let began = Flavor::MultiThread.now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..calls {
                    assert!(Contestant::get(&store, "hot").await);
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    nanos_of(Flavor::MultiThread.now() - began) / (calls * tasks) as f64
}

/// A server that holds all keys.
struct Remote {
    server: RedisServer,
    keys: Arc<[String]>,
}

impl Remote {
    async fn start() -> Self {
        server::require();
        let server = RedisServer::start().await;
        let keys: Arc<[String]> = (0..KEYS).map(key).collect();
        let sets = keys
            .iter()
            .map(|key| vec![b"SET", key.as_bytes(), VALUE.as_slice()]);
        server.client().pipeline(&sets.collect::<Vec<_>>()).unwrap();
        Self { server, keys }
    }

    async fn store(&self, near: NearCache) -> Store {
        let config = RedisConfig::new(&self.server.url()).unwrap();
        let config = config.request_timeout(PATIENCE).near_cache(near);
        Store::open(config).await.unwrap()
    }

    async fn multiplexed(&self) -> Multiplexed {
        let client = redis::Client::open(self.server.url()).unwrap();
        Multiplexed(multiplexed(&client).await)
    }

    /// Reads on as many tasks, by `order`: the time a call.
    async fn read<C: Contestant>(
        &self,
        contestant: &C,
        order: &Arc<[u32]>,
        tasks: usize,
        calls: usize,
    ) -> f64 {
        let calls = calls / tasks;
        let began = Flavor::MultiThread.now();
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let share = Share {
                    keys: self.keys.clone(),
                    order: order.clone(),
                    begin: task * order.len() / tasks,
                    calls,
                };
                tokio::spawn(get(contestant.clone(), share))
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        nanos_of(Flavor::MultiThread.now() - began) / (calls * tasks) as f64
    }
}

async fn get<C: Contestant>(contestant: C, share: Share) {
    for key in share.keys() {
        assert!(contestant.get(key).await);
    }
}

#[derive(Clone)]
struct Multiplexed(MultiplexedConnection);

impl Contestant for Multiplexed {
    async fn get(&self, key: &str) -> bool {
        let value: Option<Vec<u8>> = self.0.clone().get(key).await.unwrap();
        value.is_some()
    }

    async fn set(&self, key: &str) {
        let () = self.0.clone().set(key, VALUE.as_slice()).await.unwrap();
    }
}

/// How often the first keys are asked for.
fn hot_order() -> Arc<[u32]> {
    zipf(HOT, sized(1 << 18, 1 << 15), 1).into()
}

/// A hit, beside a `get` that asks the server.
fn hits(table: &mut Table) {
    for flavor in Flavor::BOTH {
        let runtime = flavor.runtime().unwrap();
        let (remote, order) = (runtime.block_on(Remote::start()), hot_order());
        let store = runtime.block_on(remote.store(NearCache::default()));
        let asks = store.without_near_cache();
        runtime.block_on(remote.read(&store, &order, 1, 20 * HOT));
        let [near, far]: [Samples; 2] = in_turn(rounds(), |contestant| {
            runtime.block_on(async {
                match contestant {
                    0 => remote.read(&store, &order, 1, sized(1 << 19, 1 << 15)).await,
                    _ => remote.read(&asks, &order, 1, sized(10_000, 400)).await,
                }
            })
        });
        let what = format!(
            "Redis get, near hit, 1 task, {}: asking the server",
            flavor.name()
        );
        table.row([
            what,
            nanos(near.median()),
            nanos(far.median()),
            format!("{:.4}", near.ratio(&far)),
        ]);
        runtime.block_on(store.close()).unwrap();
    }
}

/// Hits of many tasks, beside redis-rs's connection.
fn many_tasks(table: &mut Table) {
    for flavor in Flavor::BOTH {
        let runtime = flavor.runtime().unwrap();
        let (remote, order) = (runtime.block_on(Remote::start()), hot_order());
        let (store, peer) = runtime.block_on(async {
            (
                remote.store(NearCache::default()).await,
                remote.multiplexed().await,
            )
        });
        runtime.block_on(remote.read(&store, &order, TASKS, 20 * HOT));
        let [ours, peer]: [Samples; 2] = in_turn(rounds(), |contestant| {
            runtime.block_on(async {
                match contestant {
                    0 => remote.read(&store, &order, TASKS, sized(1 << 20, 1 << 16)).await,
                    _ => remote.read(&peer, &order, TASKS, sized(1 << 16, 1 << 12)).await,
                }
            })
        });
        let what = format!(
            "Redis get, near hits, {}, {}: MultiplexedConnection",
            count(TASKS),
            flavor.name()
        );
        table.row([
            what,
            nanos(ours.median()),
            nanos(peer.median()),
            format!("{:.4}", ours.ratio(&peer)),
        ]);
        runtime.block_on(store.close()).unwrap();
    }
}

/// The server's processor time for a read of a Zipf workload, with room near for a tenth of the keys and without.
fn server_work(table: &mut Table) {
    let runtime = Flavor::MultiThread.runtime().unwrap();
    let remote = runtime.block_on(Remote::start());
    let order: Arc<[u32]> = zipf(KEYS, sized(1 << 20, 1 << 18), 1).into();
    let (on, off) = runtime.block_on(async {
        let room = KEYS / 10 * bytes_of_one(&remote).await;
        (
            remote.store(NearCache::default().capacity_bytes(room)).await,
            remote.store(NearCache::off()).await,
        )
    });
    let calls = sized(1 << 19, 1 << 16);
    // The first reads decide what is near.
    runtime.block_on(remote.read(&on, &order, TASKS, 2 * calls));
    let [on, off]: [Samples; 2] = in_turn(rounds(), |contestant| {
        let store = if contestant == 0 { &on } else { &off };
        let before = server_time(&remote.server);
        runtime.block_on(remote.read(store, &order, TASKS, calls));
        nanos_of(server_time(&remote.server) - before) / calls as f64
    });
    table.times(
        "Redis get, server CPU a read, a tenth of the keys near: no near cache".to_owned(),
        &on,
        &off,
    );
}

/// What one entry takes in the near cache.
async fn bytes_of_one(remote: &Remote) -> usize {
    let store = remote.store(NearCache::default()).await;
    let order: Arc<[u32]> = (0..HOT as u32).collect();
    remote.read(&store, &order, 1, 4 * HOT).await;
    let stats = store.stats().await.unwrap();
    store.close().await.unwrap();
    usize::try_from(stats.near_bytes / stats.near_entries).unwrap()
}
