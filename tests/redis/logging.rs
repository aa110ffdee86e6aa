//! What the log says: an opening that fails, and each loss and recovery of a connection once.

use cachestore::{Error, Phase, Store};
use tokio::net::TcpListener;

use crate::harness::opening::{config, eventually, ms, open, told};
use crate::harness::{Proxy, RedisServer};
use crate::log::Log;

const LOST: &str = "the connection to Redis is lost";
const UNOPENED: &str = "the connection to Redis cannot be opened";
const RECOVERED: &str = "the connection to Redis has recovered";

#[tokio::test]
async fn an_opening_that_fails_names_host_and_cause() {
    let log = Log::begin();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let url = format!("redis://:hunter2@{address}");

    let error = Store::open(config(&url).request_timeout(ms(200)))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Timeout {
                phase: Phase::Connect | Phase::Reply
            }
        ),
        "{error:?}"
    );
    let opening = "the store could not be opened";
    let server = format!("server=\"{address}\"");
    assert_eq!(log.warnings(&[opening, &server, "timed out"]).len(), 1, "{log:?}");

    drop(listener);
    let error = Store::open(config(&url)).await.unwrap_err();
    let cause = format!("cannot connect to {address}: Connection refused");
    assert!(told(&error).contains(&cause), "{}", told(&error));
    assert_eq!(log.warnings(&[opening, &server, &cause]).len(), 1, "{log:?}");

    let client = cachestore::redis::Client::open(url.as_str()).unwrap();
    let error = Store::open(cachestore::RedisConfig::from_client(client))
        .await
        .unwrap_err();
    assert!(told(&error).contains(&cause), "{}", told(&error));

    let error = Store::open(config("unix:///no/such/socket")).await.unwrap_err();
    assert!(
        told(&error).contains("cannot connect to /no/such/socket: No such file"),
        "{}",
        told(&error)
    );

    let server = RedisServer::options().password("right").start().await;
    let error = Store::open(config(&format!("redis://:hunter2@{}", server.address())))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unauthorized), "{error:?}");
    let server = format!("server=\"{}\"", server.address());
    assert_eq!(log.warnings(&[opening, &server, "password"]).len(), 1, "{log:?}");
    assert!(log.warnings(&["hunter2"]).is_empty());
}

#[tokio::test]
async fn a_loss_and_its_recovery_are_told_once_each() {
    let log = Log::begin();
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(config(&proxy.url()).reconnect_backoff(ms(1), ms(20))).await;
    // A waiter, so that there is a connection for notifications.
    let held = store.lock("l").await.unwrap();
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.lock("l").wait(ms(30_000)).await.map(drop) }
    });
    assert!(eventually(ms(5000), || proxy.accepted() >= 2).await);
    store.ping().await.unwrap();
    assert!(log.warnings(&[]).is_empty(), "opening is not logged: {log:?}");

    proxy.down().await;
    let connections = ["purpose=\"requests\"", "purpose=\"notifications\""];
    for purpose in connections {
        assert!(
            eventually(ms(5000), || log.warnings(&[purpose, UNOPENED]).len() == 1).await,
            "{log:?}"
        );
    }
    tokio::time::sleep(ms(500)).await;
    proxy.up().await;
    let address = proxy.url().replace("redis://", "");
    let server = format!("server={address}");
    for purpose in connections {
        let recovered = || {
            log.warnings(&[purpose, RECOVERED, &server, "away=", "failures="])
                .len()
        };
        assert!(eventually(ms(5000), || recovered() == 1).await, "{log:?}");
        assert_eq!(
            log.warnings(&[purpose, LOST, &server, "cause="]).len(),
            1,
            "{log:?}"
        );
        assert_eq!(
            log.warnings(&[purpose, UNOPENED, &server, "refused"]).len(),
            1,
            "{log:?}"
        );
        let failures = log.warnings(&[purpose, RECOVERED])[0].clone();
        let failures: u32 = failures
            .split("failures=")
            .nth(1)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(failures > 5, "the attempts are counted and not told: {failures}");
    }
    held.release().await.unwrap();
    waiter.await.unwrap().unwrap();
    assert_eq!(log.warnings(&[]).len(), 6, "{log:?}");
}

/// A server that takes connections and ends each at once.
#[tokio::test]
async fn connections_that_do_not_live_are_tried_less_and_less_often() {
    let log = Log::begin();
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 2).await;
    let _store = open(config(&proxy.url())).await;
    let end = tokio::time::Instant::now() + ms(2000);
    while tokio::time::Instant::now() < end {
        proxy.cut();
        tokio::time::sleep(ms(5)).await;
    }
    let losses = log.warnings(&[LOST]).len() + log.warnings(&[UNOPENED]).len();
    assert!((2..=16).contains(&losses), "{losses} in two seconds: {log:?}");
}
