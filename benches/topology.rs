//! Calls on a store in one slot of a cluster beside those on a server of its own: throughput, and the processor time of
//! the client and of the server. Below them, what a raw client makes the same servers spend on the same commands.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench is a program that prints and may fail"
)]

mod support;

#[path = "topology/raw.rs"]
mod raw;
#[path = "support/server.rs"]
mod server;

use std::convert::Infallible;
use std::time::Duration;

use cachestore::{RedisConfig, Store};
use futures_util::future::join_all;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use server::{PATIENCE, RedisServer, client_time, open, server_time};
use support::{Flavor, Samples, Table, VALUE, key, nanos_of, sized};

const HOUR: Duration = Duration::from_secs(3600);
const NAMES: [&str; 3] = ["one server", "one slot", "one slot, without +multi"];
/// How many slots there are.
const SLOTS: usize = 16_384;

/// A kind of call, and what the keys hold before it.
#[derive(Clone, Copy)]
struct Call {
    name: &'static str,
    wants: Wants,
}

#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Values,
    Numbers,
    Loaded,
    Nothing,
}

const CALLS: [Call; 7] = [
    Call {
        name: "get",
        wants: Wants::Values,
    },
    Call {
        name: "set",
        wants: Wants::Nothing,
    },
    Call {
        name: "set with a name",
        wants: Wants::Nothing,
    },
    Call {
        name: "incr",
        wants: Wants::Numbers,
    },
    Call {
        name: "delete",
        wants: Wants::Values,
    },
    Call {
        name: "get_or_load, hit",
        wants: Wants::Loaded,
    },
    Call {
        name: "get_or_load, miss",
        wants: Wants::Nothing,
    },
];

struct Contestant {
    server: RedisServer,
    store: Store,
}

/// What one round showed.
struct Round {
    /// Calls a second.
    speed: f64,
    /// The processor time of the client and of the server for each call, in nanoseconds.
    client: f64,
    server: f64,
}

impl Contestant {
    async fn alone() -> Self {
        let server = RedisServer::start().await;
        let store = open(&server).await;
        Self { server, store }
    }

    /// A node that owns all slots.
    async fn in_a_slot(transactions: bool) -> Self {
        let server = RedisServer::options().node().start().await;
        let mut slots = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
        slots.extend((0..SLOTS).map(|slot| slot.to_string()));
        server.command(&slots);
        while !server
            .command(&["CLUSTER", "INFO"])
            .text()
            .contains("cluster_state:ok")
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if !transactions {
            server.command(&["ACL", "SETUSER", "default", "-multi"]);
        }
        let config = RedisConfig::cluster([server.address()]).unwrap().hash_tag("app");
        let store = Store::open(config.request_timeout(PATIENCE)).await.unwrap();
        Self { server, store }
    }

    /// Makes a call for each key on so many tasks.
    async fn run(&self, call: Call, tasks: usize, calls: usize) -> Round {
        self.server.command(&["FLUSHALL"]);
        if call.wants != Wants::Nothing {
            self.fill(call.wants, calls).await;
        }
        let (served, spent) = (server_time(&self.server), client_time());
        let began = Instant::now();
        let share = calls / tasks;
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let store = self.store.clone();
                tokio::spawn(async move {
                    for number in task * share..(task + 1) * share {
                        make(&store, call.name, number).await;
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        let elapsed = began.elapsed();
        let spent = client_time() - spent;
        let served = server_time(&self.server) - served;
        let calls = (share * tasks) as f64;
        Round {
            speed: calls / elapsed.as_secs_f64(),
            client: nanos_of(spent) / calls,
            server: nanos_of(served) / calls,
        }
    }

    async fn fill(&self, wants: Wants, calls: usize) {
        let all: Vec<usize> = (0..calls).collect();
        for some in all.chunks(1000) {
            match wants {
                Wants::Numbers => {
                    let entries = some.iter().map(|number| (key(*number), "1"));
                    self.store.set_many(entries).await.unwrap();
                }
                Wants::Loaded => {
                    let loads = some.iter().map(|number| make(&self.store, "load", *number));
                    join_all(loads).await;
                }
                Wants::Values | Wants::Nothing => {
                    let entries = some.iter().map(|number| (key(*number), VALUE));
                    self.store.set_many(entries).await.unwrap();
                }
            }
        }
    }
}

async fn make(store: &Store, call: &str, number: usize) {
    let key = key(number);
    match call {
        "get" => assert!(store.get(&key).await.unwrap().is_some()),
        "set" => store.set(&key, VALUE).ttl(HOUR).await.unwrap(),
        "set with a name" => {
            let name = format!("name:{}", number % 1000);
            store.set(&key, VALUE).ttl(HOUR).depends_on(name).await.unwrap();
        }
        "incr" => assert_eq!(store.incr(&key, 1).await.unwrap(), 2),
        "delete" => assert!(store.delete(&key).await.unwrap()),
        _ => {
            let load = || async { Ok::<u64, Infallible>(7) };
            store.get_or_load(&key, load).ttl(HOUR).await.unwrap();
        }
    }
}

fn main() {
    server::require();
    let runtime = Flavor::CurrentThread.runtime().unwrap();
    let contestants = runtime.block_on(async {
        [
            Contestant::alone().await,
            Contestant::in_a_slot(true).await,
            Contestant::in_a_slot(false).await,
        ]
    });
    let head = [
        "what",
        "where",
        "calls/s",
        "beside",
        "client CPU",
        "beside",
        "server CPU",
        "beside",
    ];
    let mut table = Table::new(&head);
    for call in CALLS.into_iter().filter(|call| support::is_wanted(call.name)) {
        for tasks in [64, 256] {
            measure(&runtime, &contestants, call, tasks, &mut table);
        }
    }
    table.print();
    if support::is_wanted("raw") {
        let [alone, node, _] = &contestants;
        raw::compare(&alone.server, &node.server);
    }
}

/// Measures a call in turns, after a round to warm up.
fn measure(runtime: &Runtime, contestants: &[Contestant; 3], call: Call, tasks: usize, table: &mut Table) {
    let calls = sized(100_000, 10_240);
    let mut speeds = [(); NAMES.len()].map(|()| Samples::default());
    let (mut clients, mut servers) = (speeds.clone(), speeds.clone());
    for round in 0..=sized(9, 3) {
        for turn in 0..NAMES.len() {
            let who = (round + turn) % NAMES.len();
            let shown = runtime.block_on(contestants[who].run(call, tasks, calls));
            if round > 0 {
                speeds[who].push(shown.speed);
                clients[who].push(shown.client);
                servers[who].push(shown.server);
            }
        }
    }
    for (who, name) in NAMES.into_iter().enumerate() {
        table.row([
            format!("{}, {tasks} tasks", call.name),
            name.to_owned(),
            format!("{:.0}", speeds[who].median()),
            format!("{:.2}", speeds[who].ratio(&speeds[0])),
            format!("{:.2} µs", clients[who].median() / 1e3),
            format!("{:.2}", clients[who].ratio(&clients[0])),
            format!("{:.2} µs", servers[who].median() / 1e3),
            format!("{:.2}", servers[who].ratio(&servers[0])),
        ]);
    }
}
