//! Connections, and what they carry.

use cachestore::{Error, Store};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::lateness::late;
use crate::harness::opening::{config, ms, open};
use crate::harness::{Direction, Proxy, RedisServer, Toxic};
use crate::support::secs;
use crate::told::{Recorded, Told};

/// Waits until a call is answered.
async fn answered(store: &Store) {
    let end = Instant::now() + secs(20) + late();
    while store.get("k").await.is_err() {
        assert!(Instant::now() < end, "the server is not reached");
        sleep(ms(10)).await;
    }
}

async fn until(recorded: &mut Recorded, name: &str, labels: &[(&str, &str)], count: u64) {
    let end = Instant::now() + secs(20) + late();
    while recorded.count(name, labels) != count {
        assert!(Instant::now() < end, "{name} is {}", recorded.count(name, labels));
        sleep(ms(10)).await;
    }
}

#[tokio::test]
async fn connections_and_reconnects_are_told_by_node() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(config(&proxy.url()).connections(2)).await;
    answered(&store).await;
    let address = proxy.address();
    let node: &[(&str, &str)] = &[("engine", "redis"), ("node", &address)];
    until(&mut recorded, "cachestore_connections", node, 2).await;
    assert_eq!(
        recorded.count("cachestore_connections", node),
        recorded.count("cachestore_connections", &[])
    );
    assert_eq!(recorded.count("cachestore_reconnects_total", node), 0);
    proxy.down().await;
    until(&mut recorded, "cachestore_connections", node, 0).await;
    proxy.up().await;
    answered(&store).await;
    until(&mut recorded, "cachestore_connections", node, 2).await;
    assert_eq!(recorded.count("cachestore_reconnects_total", node), 2);
    store.close().await.unwrap();
    assert_eq!(recorded.count("cachestore_connections", node), 0);
    assert_eq!(recorded.count("cachestore_reconnects_total", node), 2);
}

#[tokio::test]
async fn pipelines_and_bytes_are_counted() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let server = RedisServer::start().await;
    let store = open(config(&server.url())).await;
    store.stats().await.unwrap();
    let before = recorded.count("cachestore_pipelines_total", &[]);
    let (sent, received) = (
        recorded.count("cachestore_sent_bytes_total", &[]),
        recorded.count("cachestore_received_bytes_total", &[]),
    );
    for _ in 0..10 {
        assert!(store.get("key").await.unwrap().is_none());
    }
    assert_eq!(recorded.count("cachestore_pipelines_total", &[]) - before, 10);
    let get = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n".len() as u64;
    assert_eq!(
        recorded.count("cachestore_sent_bytes_total", &[]) - sent,
        10 * get
    );
    // The reply for nothing is `_\r\n`, or `$-1\r\n` to a client of the older protocol.
    let answers = recorded.count("cachestore_received_bytes_total", &[]) - received;
    assert!(answers == 10 * 3 || answers == 10 * 5, "{answers}");
}

/// The connection is lost before the server has all of a value, and before the store has all of another one.
#[tokio::test]
async fn the_bytes_of_what_is_lost_on_its_way_are_counted() {
    const LARGE: usize = 8_000_000;
    const SOME: u64 = 1_000_000;
    for direction in [Direction::Up, Direction::Down] {
        let told = Told::new();
        let (_guard, mut recorded) = told.install();
        let server = RedisServer::start().await;
        let proxy = Proxy::start(server.address(), 1).await;
        let store = open(config(&proxy.url()).request_timeout(secs(60))).await;
        server.command(&["SETRANGE", "large", &LARGE.to_string(), "x"]);
        let bytes = match direction {
            Direction::Up => "cachestore_sent_bytes_total",
            Direction::Down => "cachestore_received_bytes_total",
        };
        let passed = proxy.passed(direction) + SOME;
        proxy.add(
            direction,
            Toxic::Bandwidth {
                bytes_per_second: 4 * SOME,
            },
        );
        let own = store.clone();
        let call = tokio::spawn(async move {
            match direction {
                Direction::Up => drop(own.set("k", vec![0; LARGE]).await),
                Direction::Down => drop(own.get("large").await),
            }
        });
        while proxy.passed(direction) < passed {
            sleep(ms(1)).await;
        }
        assert!(recorded.count(bytes, &[]) < SOME);
        proxy.down().await;
        until(&mut recorded, "cachestore_connections", &[], 0).await;
        let told = recorded.count(bytes, &[]);
        assert!(told >= SOME, "{told} bytes, {direction:?}");
        call.abort();
    }
}

/// They have left the request queue, and wait inside the engine.
#[tokio::test]
async fn calls_that_wait_for_a_connection_count_as_waiting() {
    const CALLERS: u64 = 20;
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let mut server = RedisServer::start().await;
    let patient = config(&server.url()).wait_for_connection(secs(60));
    let store = open(patient.request_timeout(secs(60))).await;
    server.kill9();
    let mut callers = JoinSet::new();
    for n in 0..CALLERS {
        let store = store.clone();
        callers.spawn(async move { store.get(format!("k{n}")).await });
    }
    until(&mut recorded, "cachestore_queue_depth", &[], CALLERS).await;
    server.restart().await;
    while let Some(ended) = callers.join_next().await {
        assert_eq!(ended.unwrap().unwrap(), None);
    }
    until(&mut recorded, "cachestore_queue_depth", &[], 0).await;
}

#[tokio::test]
async fn figures_can_be_read_while_the_queue_is_full() {
    const CALLERS: u64 = 8_000;
    const LENGTH: u64 = 64;
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let server = RedisServer::start().await;
    let config = config(&server.url())
        .queue_length(LENGTH as usize)
        .request_timeout(secs(4));
    let store = open(config.response_timeout(secs(60))).await;
    server.stop();
    let mut callers = JoinSet::new();
    for n in 0..CALLERS {
        let store = store.clone();
        callers.spawn(async move { store.get(format!("k{n}")).await });
    }
    until(&mut recorded, "cachestore_queue_depth", &[], LENGTH).await;
    assert_eq!(recorded.count("cachestore_connections", &[]), 1);
    let (mut full, mut late) = (0, 0);
    while let Some(ended) = callers.join_next().await {
        match ended.unwrap() {
            Err(Error::Timeout {
                phase: cachestore::Phase::Queue,
            }) => full += 1,
            Err(_) => late += 1,
            Ok(value) => panic!("{value:?}"),
        }
    }
    server.cont();
    assert!(full > 0 && late > 0, "{full} and {late}");
    let get = |outcome| [("call", "get"), ("outcome", outcome)];
    assert_eq!(recorded.count("cachestore_calls_total", &get("queue_full")), full);
    assert_eq!(
        recorded.count("cachestore_calls_total", &[("call", "get")]),
        full + late
    );
    assert_eq!(
        recorded
            .samples("cachestore_call_duration_seconds", &[("call", "get")])
            .len() as u64,
        CALLERS
    );
}

#[tokio::test]
async fn users_and_passwords_are_no_labels() {
    let told = Told::new();
    let (_guard, mut recorded) = told.install();
    let server = RedisServer::options()
        .user("user agent on >geheim ~* &* +@all")
        .start()
        .await;
    let url = server.url().replacen("redis://", "redis://agent:geheim@", 1);
    let store = open(config(&url)).await;
    store.set("schluessel", "wert").await.unwrap();
    store.lock("schluessel").await.unwrap().release().await.unwrap();
    store.stats().await.unwrap();
    let series = format!("{:?}", recorded.series());
    assert!(series.contains(&server.address()), "{series}");
    for secret in ["agent", "geheim", "schluessel", "wert"] {
        assert!(!series.contains(secret), "{series}");
    }
}
