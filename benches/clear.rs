//! What it takes to clear a million entries over Redis that have one dependency each, and how long other calls wait
//! meanwhile.
//!
//! The peer knows all keys that the server holds for the entries, and sends one `UNLINK` for a thousand of them: it
//! searches for nothing, and leaves no promise to others.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program that prints and may fail"
)]

#[path = "support/server.rs"]
mod server;
mod support;

use std::cell::Cell;
use std::time::Duration;

use cachestore::Store;
use futures_util::StreamExt;
use futures_util::stream::iter;
use redis::AsyncCommands;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use server::{RedisServer, client_time, multiplexed, open, server_time};
use support::{Flavor, Samples, Table, VALUE, key, nanos_of, quantile, sized};

/// How often others ask meanwhile.
const PROBE: Duration = Duration::from_millis(2);
/// No step of a clearing may hold the server for longer.
const BAR: Duration = Duration::from_millis(6);
/// Entries that are being written at once.
const AT_ONCE: usize = 1024;
const LONG: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);

/// What is cleared.
#[derive(Clone, Copy)]
struct Shape {
    /// A namespace, or nothing for the root.
    space: &'static str,
    entries: usize,
    names: usize,
    ttl: Option<Duration>,
}

impl Shape {
    fn title(self) -> String {
        let space = if self.space.is_empty() {
            "the root"
        } else {
            "a namespace"
        };
        let ttl = if self.ttl.is_some() {
            "TTL of an hour"
        } else {
            "persistent"
        };
        format!("{} entries, {} names, {ttl}, {space}", self.entries, self.names)
    }
}

fn main() {
    server::require();
    let runtime = Flavor::CurrentThread.runtime().unwrap();
    let entries = sized(1_000_000, 10_000);
    let mut tables = Tables::new();
    for ttl in [None, Some(HOUR)] {
        for space in ["", "t"] {
            for names in [entries, entries / 1000] {
                let shape = Shape {
                    space,
                    entries,
                    names,
                    ttl,
                };
                if support::is_wanted(if names == entries { "each" } else { "shared" }) {
                    measure(&runtime, shape, &mut tables);
                }
            }
        }
    }
    println!(
        "Entries a second, and processor time an entry; values of {} bytes\n",
        VALUE.len()
    );
    tables.rates.print();
    println!("\nSteps of a clearing on the server, and a get and a set every {PROBE:?} meanwhile\n");
    tables.steps.print();
}

struct Tables {
    rates: Table,
    steps: Table,
}

impl Tables {
    fn new() -> Self {
        Self {
            rates: Table::new(&[
                "what",
                "clear",
                "UNLINK",
                "ratio",
                "client CPU",
                "server CPU",
                "server CPU, UNLINK",
            ]),
            steps: Table::new(&[
                "what",
                "steps",
                "mean",
                "longest",
                "over 6 ms",
                "get p50",
                "get p99",
                "set p50",
                "set p99",
                "get p99, UNLINK",
                "set p99, UNLINK",
            ]),
        }
    }
}

/// The medians of several rounds, each with entries that were written anew.
fn measure(runtime: &Runtime, shape: Shape, tables: &mut Tables) {
    let server = runtime.block_on(RedisServer::start());
    for (name, value) in [("slowlog-log-slower-than", "6000"), ("slowlog-max-len", "100000")] {
        server.command(&["CONFIG", "SET", name, value]);
    }
    let store = runtime.block_on(open(&server));
    let rounds = sized(3, 1);
    let mut results: [[Samples; 9]; 2] = Default::default();
    let mut over = Vec::new();
    for round in 0..=rounds {
        for turn in 0..2 {
            let contestant = (round + turn) % 2;
            let run = runtime.block_on(run(&server, &store, shape, contestant == 0));
            if round == 0 {
                continue;
            }
            for (samples, sample) in results[contestant].iter_mut().zip(run.figures) {
                samples.push(sample);
            }
            if contestant == 0 {
                over.extend(run.over);
            }
        }
    }
    runtime.block_on(store.close()).unwrap();
    let [ours, peer] = results;
    let micros = |samples: &Samples| format!("{:.1} µs", samples.median() / 1e3);
    let millis = |samples: &Samples| format!("{:.2} ms", samples.median() / 1e6);
    tables.rates.row([
        shape.title(),
        format!("{:.0}", ours[0].median()),
        format!("{:.0}", peer[0].median()),
        format!("{:.2}", ours[0].ratio(&peer[0])),
        micros(&ours[1]),
        micros(&ours[2]),
        micros(&peer[2]),
    ]);
    let longest = over
        .iter()
        .max()
        .map_or("none".to_owned(), |longest| format!("{longest:?}"));
    tables.steps.row([
        shape.title(),
        format!("{:.0}", ours[3].median()),
        millis(&ours[4]),
        longest,
        format!("{} of {rounds} rounds", over.len()),
        millis(&ours[5]),
        millis(&ours[6]),
        millis(&ours[7]),
        millis(&ours[8]),
        millis(&peer[6]),
        millis(&peer[8]),
    ]);
}

/// One round of one contestant.
struct Run {
    /// Entries a second, the client's and the server's time an entry, the number of steps and the mean of them, and
    /// what a get and a set took, at p50 and p99.
    figures: [f64; 9],
    /// The steps over the bar.
    over: Vec<Duration>,
}

async fn run(server: &RedisServer, store: &Store, shape: Shape, ours: bool) -> Run {
    server.command(&["FLUSHALL"]);
    let space = if shape.space.is_empty() {
        store.clone()
    } else {
        store.namespace(shape.space).unwrap()
    };
    fill(&space, shape).await;
    // What is written meanwhile belongs to others.
    let others = store.namespace("others").unwrap();
    others.set("key", VALUE).await.unwrap();
    let keys = if ours {
        Vec::new()
    } else {
        server.command(&["KEYS", "*"]).sorted()
    };
    for command in [&["SLOWLOG", "RESET"], &["CONFIG", "RESETSTAT"]] {
        server.command(command);
    }
    let (client, served) = (client_time(), server_time(server));
    let began = Instant::now();
    let elapsed = Cell::new(Duration::ZERO);
    let work = async {
        if ours {
            let removed = space.clear().timeout(LONG).await.unwrap();
            assert!(removed >= shape.entries as u64, "{removed}");
        } else {
            unlink(server, &keys).await;
        }
        elapsed.set(began.elapsed());
    };
    let [mut gets, mut sets] = probed(&others, work).await;
    let (client, served) = (client_time() - client, server_time(server) - served);
    let (steps, mean) = steps(server);
    let entries = shape.entries as f64;
    let figures = [
        entries / elapsed.get().as_secs_f64(),
        nanos_of(client) / entries,
        nanos_of(served) / entries,
        steps,
        mean,
        quantile(&mut gets, 0.5),
        quantile(&mut gets, 0.99),
        quantile(&mut sets, 0.5),
        quantile(&mut sets, 0.99),
    ];
    Run {
        figures,
        over: over(server),
    }
}

/// Writes entries that each depend on one of the names.
async fn fill(store: &Store, shape: Shape) {
    let writes = (0..shape.entries).map(|number| async move {
        let name = format!("name:{}", number % shape.names);
        let set = store.set(key(number), VALUE).depends_on(name);
        match shape.ttl {
            Some(ttl) => set.ttl(ttl).await.unwrap(),
            None => set.await.unwrap(),
        }
    });
    iter(writes)
        .buffer_unordered(AT_ONCE)
        .for_each(async |()| {})
        .await;
}

async fn unlink(server: &RedisServer, keys: &[String]) {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = multiplexed(&client).await;
    for chunk in keys.chunks(1000) {
        let _: usize = connection.unlink(chunk).await.unwrap();
    }
}

/// How long a get and a set take while something is done.
async fn probed(store: &Store, work: impl Future<Output = ()>) -> [Vec<f64>; 2] {
    let (mut gets, mut sets) = (Vec::new(), Vec::new());
    let get = repeated(&mut gets, async || store.get("key").await.map(drop).unwrap());
    let set = repeated(&mut sets, async || store.set("key", VALUE).await.unwrap());
    tokio::select! {
        () = work => {}
        () = get => {}
        () = set => {}
    }
    [gets, sets]
}

async fn repeated(waits: &mut Vec<f64>, call: impl AsyncFn()) {
    let mut ticks = tokio::time::interval(PROBE);
    loop {
        ticks.tick().await;
        let began = Instant::now();
        call().await;
        waits.push(nanos_of(began.elapsed()));
    }
}

/// How many scripts the server has run, and how long one took.
fn steps(server: &RedisServer) -> (f64, f64) {
    let stats = server.command(&["INFO", "commandstats"]).text();
    let (mut calls, mut nanos) = (0.0, 0.0);
    for line in stats.lines().filter(|line| line.starts_with("cmdstat_eval")) {
        let value = |name: &str| -> f64 {
            let value = line.split([',', ':']).find_map(|field| field.strip_prefix(name));
            value.unwrap().parse().unwrap()
        };
        calls += value("calls=");
        nanos += 1e3 * value("usec=");
    }
    (calls, nanos / calls)
}

/// How long the scripts took that were over the bar.
fn over(server: &RedisServer) -> Vec<Duration> {
    let slow = server.command(&["SLOWLOG", "GET", "-1"]);
    let micros = |entry: &[server::Reply]| Duration::from_micros(entry[2].int().unsigned_abs());
    let is_script = |entry: &&[server::Reply]| entry[3].array()[0].text().starts_with("EVAL");
    let entries = slow.array().iter().map(server::Reply::array);
    entries
        .filter(is_script)
        .map(micros)
        .filter(|time| *time > BAR)
        .collect()
}
