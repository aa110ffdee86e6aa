//! Releases that a waiter cannot hear of: it polls, and one warning says why.

use std::time::Duration;

use cachestore::{LockGuard, RedisConfig, Result, Store, redis};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::opening::{config, open};
use crate::harness::{Direction, Proxy, RedisServer, Toxic};
use crate::log::Log;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60);
/// How late a waiter that polls may be on a busy machine.
const LATE: Duration = Duration::from_millis(500);

/// All rights that the security page gives to a user, without these.
fn rights(without: &[&str]) -> String {
    let page = include_str!("../../docs/security.md");
    let line = page.lines().find(|line| line.starts_with("user app on "));
    let rights = line.unwrap().split(' ').filter(|right| !without.contains(right));
    rights.collect::<Vec<_>>().join(" ")
}

/// A server with a user `app` of limited rights and a user `all`, and the URL of each.
async fn server(without: &[&str]) -> (RedisServer, String, String) {
    let server = RedisServer::options()
        .user(&rights(without))
        .user("user all on >password ~* &* +@all")
        .start()
        .await;
    let url = |user: &str| format!("redis://{user}:password@{}", server.address());
    let (app, all) = (url("app"), url("all"));
    (server, app, all)
}

fn wait(store: &Store) -> JoinHandle<Result<LockGuard>> {
    let store = store.clone();
    tokio::spawn(async move { store.lock("k").ttl(TTL).wait(TTL).await })
}

/// The waiter takes over soon after each release, and does not ask more often than it has to.
async fn is_handed_over(server: &RedisServer, holder: &Store, store: &Store) {
    for _ in 0..3 {
        let guard = holder.lock("k").ttl(TTL).await.unwrap();
        let waiter = wait(store);
        let mut monitor = server.monitor();
        sleep(SECOND).await;
        let sent = monitor.sent();
        let asked = sent.iter().filter(|line| line.starts_with("EVAL")).count();
        assert!((5..60).contains(&asked), "{asked} questions in a second");
        let released = Instant::now();
        guard.release().await.unwrap();
        let guard = timeout(LATE, waiter).await;
        let guard = guard.unwrap_or_else(|_| panic!("not after {:?}", released.elapsed()));
        guard.unwrap().unwrap().release().await.unwrap();
    }
}

#[tokio::test]
async fn a_user_who_may_not_subscribe_polls() {
    for missing in ["+subscribe", "&cachestore:*"] {
        let log = Log::begin();
        let (server, app, all) = server(&[missing]).await;
        let (holder, store) = (open(config(&all)).await, open(config(&app)).await);
        is_handed_over(&server, &holder, &store).await;
        let told = log.warnings(&["poll", missing]);
        // The guard of the waiter was one of a user who may not publish in that channel either.
        let most = if missing == "+subscribe" { 1 } else { 2 };
        assert!((1..=most).contains(&told.len()), "{missing}: {log:?}");
        let opened = server.info("total_connections_received");
        sleep(2 * SECOND).await;
        let again = server.info("total_connections_received");
        let opened = again.parse::<u64>().unwrap() - opened.parse::<u64>().unwrap();
        assert!(opened < 5, "{opened} connections in two seconds");
    }
}

#[tokio::test]
async fn a_holder_who_may_not_publish_is_polled_for() {
    for missing in ["+publish", "&cachestore:*"] {
        let log = Log::begin();
        let (server, app, all) = server(&[missing]).await;
        let (holder, store) = (open(config(&app)).await, open(config(&all)).await);
        is_handed_over(&server, &holder, &store).await;
        assert_eq!(log.warnings(&["poll", missing]).len(), 1, "{missing}: {log:?}");
        // One who may is not polled for, although another was before.
        let other = open(config(&all)).await;
        let guard = other.lock("k").ttl(TTL).await.unwrap();
        let waiter = wait(&store);
        sleep(200 * MS).await;
        let mut monitor = server.monitor();
        sleep(SECOND).await;
        assert_eq!(monitor.sent(), Vec::<String>::new());
        drop(guard);
        drop(timeout(LATE, waiter).await.unwrap().unwrap().unwrap());
    }
}

#[tokio::test]
async fn a_store_over_one_connection_polls() {
    let log = Log::begin();
    let server = RedisServer::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let holder = open(config(&server.url())).await;
    let store = open(RedisConfig::from_connection(connection)).await;
    is_handed_over(&server, &holder, &store).await;
    assert_eq!(log.warnings(&["poll", "from_connection"]).len(), 1, "{log:?}");
}

/// The server answers commands, and is silent on the connection that would tell.
#[tokio::test]
async fn a_silent_subscription_is_polled_for() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 3).await;
    let holder = open(config(&server.url())).await;
    let store = open(config(&proxy.url())).await;
    let silent = Proxy::start(server.address(), 3).await;
    silent.add(Direction::Down, Toxic::Timeout { close: None });
    // Its first connection is there already; that for notifications is opened now.
    proxy.retarget(silent.address());
    is_handed_over(&server, &holder, &store).await;
}
