//! How waiters of other processes hear of a release: one connection, and no wake-up that is lost.

use std::time::Duration;

use cachestore::{Config, LockGuard, Result, Store};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::opening;
use crate::harness::place::over_each_topology;
use crate::harness::{Direction, Place, Proxy, RedisServer, Toxic};

const MS: Duration = Duration::from_millis(1);
const TTL: Duration = Duration::from_secs(60);

over_each_topology! {
    a_release_during_an_outage_is_not_missed
    no_wake_up_is_lost_between_asking_and_subscribing
}

fn wait(store: &Store, key: &'static str) -> JoinHandle<Result<LockGuard>> {
    let store = store.clone();
    tokio::spawn(async move { store.lock(key).ttl(TTL).wait(TTL).await })
}

async fn open(url: &str) -> Store {
    Store::open(Config::redis(url).unwrap()).await.unwrap()
}

fn channels(server: &RedisServer) -> Vec<String> {
    let clients = server.connections();
    let subscribed = clients.iter().filter(|line| !line.contains(" sub=0 "));
    subscribed
        .map(|line| {
            line.split(" sub=")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn one_connection_subscribed_to_what_is_waited_for() {
    let server = RedisServer::start().await;
    let (holder, store) = (open(&server.url()).await, open(&server.url()).await);
    assert_eq!(
        server.connections().len(),
        2,
        "no connection for notifications until somebody waits"
    );
    let guards = [
        holder.lock("a").ttl(TTL).await.unwrap(),
        holder.lock("b").ttl(TTL).await.unwrap(),
    ];
    let waiters = [wait(&store, "a"), wait(&store, "a"), wait(&store, "b")];
    sleep(100 * MS).await;
    assert_eq!(server.connections().len(), 3);
    assert_eq!(channels(&server), ["2"]);
    drop(guards);
    for waiter in waiters {
        let guard = timeout(1000 * MS, waiter).await.unwrap().unwrap().unwrap();
        guard.release().await.unwrap();
    }
    sleep(100 * MS).await;
    assert_eq!(channels(&server), ["2"], "they linger");
    let began = Instant::now();
    while !channels(&server).is_empty() {
        assert!(began.elapsed() < 6000 * MS, "nobody waits any more");
        sleep(50 * MS).await;
    }
    store.close().await.unwrap();
    sleep(100 * MS).await;
    assert_eq!(server.connections().len(), 1);
}

/// How often these commands were called.
fn calls(server: &RedisServer, names: &[&str]) -> u64 {
    let info = server.command(&["INFO", "commandstats"]).text();
    let of = |name: &&str| -> u64 {
        let begin = format!("cmdstat_{name}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(&begin));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    names.iter().map(of).sum()
}

/// Two processes take turns, so that each time one waits alone for what the other holds.
#[tokio::test]
async fn a_lock_with_one_waiter_at_a_time_costs_three_commands() {
    const ROUNDS: u64 = 20;
    const COMMANDS: [&str; 4] = ["evalsha", "eval", "subscribe", "unsubscribe"];
    let server = RedisServer::start().await;
    let stores = [open(&server.url()).await, open(&server.url()).await];
    let mut guard = stores[0].lock("k").ttl(TTL).await.unwrap();
    for round in 0..ROUNDS as usize {
        let before = calls(&server, &COMMANDS);
        let waiter = wait(&stores[(round + 1) % 2], "k");
        sleep(20 * MS).await;
        guard.release().await.unwrap();
        guard = timeout(1000 * MS, waiter).await.unwrap().unwrap().unwrap();
        let spent = calls(&server, &COMMANDS) - before;
        // The first time each of them has to subscribe, and to ask again after that.
        let most = if round < 2 { 5 } else { 3 };
        assert!(spent <= most, "round {round}: {spent} commands");
    }
    assert_eq!(calls(&server, &["subscribe"]), 2, "once for each");
}

/// While a channel lingers, its notification can be faster than the refusal of the next question.
#[tokio::test]
async fn a_lingering_channel_misses_nothing() {
    let server = RedisServer::start().await;
    let (holder, proxy) = (open(&server.url()).await, Proxy::start(server.address(), 3).await);
    let store = open(&proxy.url()).await;
    let guard = holder.lock("k").ttl(TTL).await.unwrap();
    let waiter = wait(&store, "k");
    sleep(50 * MS).await;
    guard.release().await.unwrap();
    waiter.await.unwrap().unwrap().release().await.unwrap();
    for direction in [Direction::Up, Direction::Down] {
        let (delay, jitter) = (5 * MS, 5 * MS);
        proxy.add(direction, Toxic::Latency { delay, jitter });
    }
    for round in 0..100 {
        let guard = holder.lock("k").ttl(TTL).await.unwrap();
        let waiter = wait(&store, "k");
        // Released before, while and after the waiter is refused.
        sleep(round % 20 * MS).await;
        guard.release().await.unwrap();
        let guard = timeout(1000 * MS, waiter).await;
        let guard = guard
            .unwrap_or_else(|_| panic!("lost, round {round}"))
            .unwrap()
            .unwrap();
        guard.release().await.unwrap();
    }
    assert!(calls(&server, &["subscribe"]) < 10, "it lingers");
}

async fn a_release_during_an_outage_is_not_missed() {
    let place = Place::start().await;
    let (proxy, config) = place.proxied().await;
    let (holder, store) = (opening::open(place.config()).await, opening::open(config).await);
    for round in 0..3 {
        let guard = holder.lock("k").ttl(TTL).await.unwrap();
        let waiter = wait(&store, "k");
        sleep(100 * MS).await;
        proxy.down().await;
        guard.release().await.unwrap();
        proxy.up().await;
        let began = Instant::now();
        let guard = timeout(5000 * MS, waiter)
            .await
            .expect("not after the TTL")
            .unwrap()
            .unwrap();
        assert!(
            began.elapsed() < 2000 * MS,
            "round {round}: {:?}",
            began.elapsed()
        );
        guard.release().await.unwrap();
    }
}

/// Everything between the waiter and the server is late by so much that releases fall between its steps.
async fn no_wake_up_is_lost_between_asking_and_subscribing() {
    let place = Place::start().await;
    let (proxy, config) = place.proxied().await;
    let (holder, store) = (opening::open(place.config()).await, opening::open(config).await);
    for direction in [Direction::Up, Direction::Down] {
        let (delay, jitter) = (5 * MS, 4 * MS);
        proxy.add(direction, Toxic::Latency { delay, jitter });
    }
    for after in 0..40 {
        let guard = holder.lock("k").ttl(TTL).await.unwrap();
        let waiter = wait(&store, "k");
        sleep(after * MS).await;
        guard.release().await.unwrap();
        let guard = timeout(5000 * MS, waiter).await;
        let guard = guard
            .unwrap_or_else(|_| panic!("lost, {after} ms after"))
            .unwrap()
            .unwrap();
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_waiter_outlives_the_server() {
    let mut server = RedisServer::options().append_only().start().await;
    let (holder, store) = (open(&server.url()).await, open(&server.url()).await);
    let guard = holder.lock("k").ttl(3000 * MS).await.unwrap();
    let waiter = wait(&store, "k");
    sleep(100 * MS).await;
    server.restart().await;
    sleep(300 * MS).await;
    assert!(!waiter.is_finished(), "the server has not forgotten the lock");
    assert!(guard.remaining() > 1000 * MS);
    guard.release().await.unwrap();
    drop(timeout(2000 * MS, waiter).await.unwrap().unwrap().unwrap());
}
