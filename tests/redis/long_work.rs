//! Invalidations and clearings: few round trips, short steps, exact counts, and time enough.

use std::collections::HashSet;
use std::time::Duration;

use cachestore::{Error, Store};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::harness::lateness::late;
use crate::harness::opening::{config, ms, open, plain};
use crate::harness::{Direction, Proxy, RedisServer, Seeded, Toxic};

/// Writes entries, each with the keys that it depends on.
async fn write(store: &Store, entries: Vec<(String, Vec<String>)>) {
    for chunk in entries.chunks(1000) {
        let writes = chunk.iter().map(|(key, names)| async move {
            let set = store.set(key, "v").depends_on(names);
            set.await.unwrap();
        });
        join_all(writes).await;
    }
}

/// How many scripts the server has run since it was last asked to forget.
fn scripts(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).text();
    let calls = |line: &str| {
        line.strip_prefix("cmdstat_evalsha:calls=")?
            .split(',')
            .next()?
            .parse()
            .ok()
    };
    stats.lines().find_map(calls).unwrap_or(0)
}

#[tokio::test]
async fn five_thousand_names_take_few_round_trips() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(config(&proxy.url()).request_timeout(ms(20_000))).await;
    let name = |n: usize| format!("name:{n}");
    let mut entries = Vec::new();
    for n in 0..5000 {
        // A chain of three from each name, and a cycle through all of them.
        entries.push((name(n), vec![format!("leaf:{}", (n + 1) % 5000)]));
        entries.push((format!("page:{n}"), vec![name(n)]));
        entries.push((format!("leaf:{n}"), vec![format!("page:{n}")]));
    }
    write(&store, entries).await;
    let (delay, jitter) = (ms(2), Duration::ZERO);
    proxy.add(Direction::Down, Toxic::Latency { delay, jitter });
    server.command(&["CONFIG", "RESETSTAT"]);
    let began = Instant::now();
    let removed = store.invalidate((0..5000).map(name)).await.unwrap();
    let took = began.elapsed();
    let steps = scripts(&server);
    println!("long work: 5,000 names with 15,000 entries took {took:?} in {steps} steps");
    assert_eq!(removed, 15_000);
    assert_eq!(server.size(), 0, "no set is left either");
    assert!(steps <= 100, "{steps} steps");
    assert!(
        took < ms(5000) + late(),
        "a round trip for each name takes at least 10 s: {took:?}"
    );
}

#[tokio::test]
async fn each_entry_counts_once_whatever_leads_to_it() {
    let server = RedisServer::start().await;
    let store = open(config(&server.url()).request_timeout(ms(60_000))).await;
    let mut random = Seeded::new(11);
    for round in 0..8 {
        const KEYS: u64 = 1500;
        let key = |n: u64| format!("k{n}");
        // Edges lead from a key to those that depend on it.
        let mut dependents = vec![Vec::new(); KEYS as usize];
        let mut entries = Vec::new();
        for n in 0..KEYS {
            let names: Vec<u64> = (0..random.below(3)).map(|_| random.below(KEYS)).collect();
            names.iter().for_each(|&name| dependents[name as usize].push(n));
            entries.push((key(n), names.into_iter().map(key).collect()));
        }
        write(&store, entries).await;
        let given: Vec<u64> = (0..1 + round * 100).map(|_| random.below(KEYS)).collect();
        let mut reached = HashSet::new();
        let mut next = given.clone();
        while let Some(n) = next.pop() {
            if reached.insert(n) {
                next.extend(&dependents[n as usize]);
            }
        }
        let absent = (0..300).map(|n| format!("absent{n}"));
        let names = given.into_iter().map(key).chain(absent);
        let removed = store.invalidate(names).await.unwrap();
        assert_eq!(removed, reached.len() as u64, "round {round}");
        let left = store.get_many((0..KEYS).map(key)).await.unwrap();
        for (n, value) in (0..KEYS).zip(left) {
            assert_eq!(value.is_none(), reached.contains(&n), "round {round}, key {n}");
        }
        assert_eq!(server.keys("cachestore:tombstones:*"), [""; 0]);
        server.flush();
    }
}

#[tokio::test]
async fn a_step_is_short_however_many_dependents_there_are() {
    let server = RedisServer::start().await;
    let store = open(config(&server.url()).request_timeout(ms(60_000))).await;
    let dependent = (0..20_000).map(|n| (format!("page:{n}"), "v"));
    store.set_many(dependent).depends_on(["all"]).await.unwrap();
    let below = (0..5000).map(|n| (format!("leaf:{n}"), vec![format!("page:{n}")]));
    write(&store, below.collect()).await;
    server.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    server.command(&["CONFIG", "SET", "slowlog-max-len", "100000"]);
    server.command(&["SLOWLOG", "RESET"]);
    assert_eq!(store.invalidate(["all"]).await.unwrap(), 25_000);
    let slow = server.command(&["SLOWLOG", "GET", "-1"]);
    let scripts = slow.array().iter().filter(|entry| {
        let name = entry.array()[3].array()[0].text();
        name.to_uppercase().starts_with("EVAL")
    });
    let mut steps: Vec<i64> = scripts.map(|entry| entry.array()[2].int()).collect();
    steps.sort_unstable();
    let (middle, worst) = (steps[steps.len() / 2], steps[steps.len() - 1]);
    println!(
        "long work: {} steps of {middle} us, at most {worst} us",
        steps.len()
    );
    // A machine that does something else meanwhile makes many of them longer, but not all.
    assert!(
        steps[steps.len() / 10] < 6000,
        "a step holds the server: {steps:?}"
    );
    assert_eq!(server.size(), 0);
}

/// Writes entries of which many depend on another one.
async fn write_two_levels(server: &RedisServer) {
    let store = open(config(&server.url()).request_timeout(ms(60_000))).await;
    let first = (0..1000).map(|n| (format!("part:{n}"), "v"));
    store.set_many(first).depends_on(["all"]).await.unwrap();
    let last = (0..4000).map(|n| (format!("page:{n}"), "v"));
    store.set_many(last).depends_on(["part:0"]).await.unwrap();
}

/// The next connection may lead to another server. What was done on the former one is to be done there too.
#[tokio::test]
async fn an_invalidation_begins_anew_on_another_server() {
    let servers = [RedisServer::start().await, RedisServer::start().await];
    let proxy = Proxy::start(servers[0].address(), 1).await;
    // One command at a time: a step is rarely under way, and the others' turn comes between two steps.
    let one_by_one = config(&proxy.url()).max_in_flight(1).batch_commands(1);
    let store = open(one_by_one.request_timeout(ms(60_000))).await;
    let others: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { while store.get("k").await.is_ok() {} })
        })
        .collect();
    let mut removed = 0;
    for _ in 0..20 {
        for server in &servers {
            server.flush();
            write_two_levels(server).await;
        }
        let mut has_moved = false;
        let invalidate = store.invalidate(["all"]).on_progress(|done| {
            // All that depends on the name itself is gone, and much of the rest is not.
            if done > 2000 && !std::mem::replace(&mut has_moved, true) {
                proxy.retarget(servers[1].address());
                proxy.cut();
            }
        });
        match invalidate.timeout(ms(60_000)).await {
            Ok(entries) => removed = entries,
            // A step was under way.
            Err(Error::OutcomeUnknown(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
        if removed > 0 {
            break;
        }
        proxy.retarget(servers[0].address());
        proxy.cut();
    }
    assert!((7000..10_000).contains(&removed), "{removed}");
    assert!(servers[0].size() > 0, "it ended before the name moved");
    assert_eq!(servers[1].size(), 0, "entries are left on the other server");
    others.iter().for_each(|task| task.abort());
}

/// A store over a slow server, where a clearing takes longer than a request may.
async fn slow(close: Duration) -> (RedisServer, Proxy, Store) {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let settings = config(&proxy.url()).request_timeout(ms(500)).close_timeout(close);
    let store = open(settings).await;
    let filling = open(config(&server.url()).request_timeout(ms(30_000))).await;
    let entries = (0..20_000).map(|n| (format!("k{n}"), "v"));
    filling.set_many(entries).depends_on(["name"]).await.unwrap();
    let (delay, jitter) = (ms(100), Duration::ZERO);
    proxy.add(Direction::Down, Toxic::Latency { delay, jitter });
    (server, proxy, store)
}

#[tokio::test]
async fn long_work_may_take_longer_than_a_request() {
    let (server, _proxy, store) = slow(ms(30_000)).await;
    let late = store.clear().await;
    assert!(matches!(late, Err(Error::OutcomeUnknown(_))), "{late:?}");
    let mut reports = 0;
    let invalidate = store.invalidate(["name"]).timeout(ms(30_000));
    invalidate.on_progress(|_| reports += 1).await.unwrap();
    assert!(reports >= 1);
    assert_eq!(store.clear().timeout(ms(30_000)).await.unwrap(), 0);
    assert_eq!(server.size(), 0);
}

#[tokio::test]
async fn a_close_waits_for_the_long_work_that_was_begun() {
    let (server, _proxy, store) = slow(ms(30_000)).await;
    let (clear, closed) = tokio::join!(store.clear().timeout(ms(30_000)), async {
        // The clearing has been sent.
        tokio::task::yield_now().await;
        store.close().await
    });
    assert_eq!(clear.unwrap(), 20_000);
    closed.unwrap();
    assert_eq!(server.size(), 0);
}

#[tokio::test]
async fn a_close_ends_by_its_own_time() {
    let (_server, _proxy, store) = slow(ms(300)).await;
    let began = Instant::now();
    let (_, closed) = tokio::join!(store.clear().timeout(ms(5000)), async {
        tokio::task::yield_now().await;
        let closed = store.close().await;
        (closed, began.elapsed())
    });
    assert!(matches!(closed.0, Err(Error::Timeout { .. })), "{closed:?}");
    assert!(closed.1 <= ms(300) + late(), "{closed:?}");
}

/// The steps of clearings that the server has carried out.
fn clearing_steps(server: &RedisServer) -> i64 {
    let stats = server.command(&["INFO", "commandstats"]).text();
    let scans = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_scan:calls="));
    scans.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn clearings_at_once_share_a_walk_over_the_database() {
    let (server, store) = plain().await;
    for from in (0..60_000).step_by(5_000) {
        let entries = (from..from + 5_000).map(|n| (format!("k{n}"), "v"));
        store.set_many(entries).await.unwrap();
    }
    let spaces: Vec<Store> = (0..200)
        .map(|n| store.namespace(format!("n{n}")).unwrap())
        .collect();
    for space in &spaces {
        space
            .set_many([("a", "v"), ("b", "v")])
            .depends_on("row")
            .await
            .unwrap();
    }
    spaces[0].clear().await.unwrap();
    let alone = clearing_steps(&server);
    spaces[0].set("a", "v").await.unwrap();
    let cleared = join_all(
        spaces
            .iter()
            .map(|space| async move { space.clear().await.unwrap() }),
    )
    .await;
    assert_eq!(cleared[0], 1);
    assert!(cleared[1..].iter().all(|removed| *removed == 2), "{cleared:?}");
    let shared = clearing_steps(&server) - alone;
    println!("one walk takes {alone} steps, 200 clearings {shared}");
    assert!(
        shared <= 3 * alone,
        "one walk takes {alone} steps, 200 clearings {shared}"
    );
    assert_eq!(server.keys("cachestore:*"), [""; 0]);
    assert!(store.exists("k7").await.unwrap());
}
