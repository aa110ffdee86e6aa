//! The near cache over Redis: what it answers, and what it must not answer.

use std::time::Duration;

use cachestore::{Config, Error, NearCache, RedisConfig, Store, redis};
use tokio::time::{Instant, sleep};

use crate::harness::near::{AGE, LATE, near_cases};
pub(crate) use crate::harness::near::{text, warm};
use crate::harness::opening::{config, ms, open};
use crate::harness::{Proxy, RedisServer};

near_cases!(RedisServer);

pub(crate) fn near(url: &str) -> RedisConfig {
    crate::harness::near::near(config(url))
}

pub(crate) async fn started() -> (RedisServer, Store) {
    crate::harness::near::started().await
}

#[tokio::test]
async fn behind_a_hung_link_nothing_is_older_than_the_greatest_age() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(
        near(&proxy.url())
            .request_timeout(ms(100))
            .response_timeout(ms(2000)),
    )
    .await;
    store.set("k", "old").await.unwrap();
    warm(&store, "k").await;
    proxy.blackhole();
    server.command(&["SET", "k", "new"]);
    let changed = Instant::now();
    let mut hits = 0;
    while changed.elapsed() < AGE * 3 {
        let asked = Instant::now();
        match store.get_string("k").await {
            Ok(read) if read.as_deref() == Some("old") => {
                assert!(asked < changed + AGE, "{:?} after the change", asked - changed);
                hits += 1;
            }
            // A connection that was opened since sees the change.
            Ok(read) => assert_eq!(read.as_deref(), Some("new")),
            Err(Error::Timeout { .. } | Error::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(hits > 0, "it was near until then");
    proxy.heal();
    becomes_once_it_answers(&store).await;
}

async fn becomes_once_it_answers(store: &Store) {
    let end = Instant::now() + ms(10_000);
    loop {
        match store.get_string("k").await {
            Ok(read) => return assert_eq!(read.as_deref(), Some("new")),
            Err(_) => assert!(Instant::now() < end),
        }
        sleep(ms(10)).await;
    }
}

#[tokio::test]
async fn a_lost_connection_drops_what_came_over_it() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(near(&proxy.url())).await;
    store.set("k", "old").await.unwrap();
    warm(&store, "k").await;
    proxy.cut();
    server.command(&["SET", "k", "new"]);
    becomes_within(&store, AGE + LATE).await;
    assert!(store.stats().await.unwrap().near_flushes >= 1);
    warm(&store, "k").await;
}

async fn becomes_within(store: &Store, patience: Duration) {
    let end = Instant::now() + patience;
    loop {
        if store
            .get_string("k")
            .await
            .is_ok_and(|read| read.as_deref() == Some("new"))
        {
            return;
        }
        assert!(Instant::now() < end, "the old value is served");
        sleep(ms(1)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_tracked_is_not_near() {
    let server = RedisServer::options()
        .user("user app on >pass ~* &* +@all -client")
        .start()
        .await;
    let as_user = format!("redis://app:pass@{}", server.address());
    let plain = RedisServer::start().await;
    let resp2 = format!("{}?protocol=resp2", plain.url());
    for url in [as_user, resp2] {
        let store = open(near(&url)).await;
        store.set("k", "v").await.unwrap();
        for _ in 0..5 {
            assert_eq!(text(&store, "k").await.as_deref(), Some("v"));
        }
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.near_hits, stats.near_entries, stats.hits), (0, 0, 5));
    }
}

#[tokio::test]
async fn it_is_opt_in_and_for_urls() {
    let server = RedisServer::start().await;
    let off = open(config(&server.url())).await;
    off.set("k", "v").await.unwrap();
    for _ in 0..5 {
        off.get("k").await.unwrap();
    }
    assert_eq!(off.stats().await.unwrap().near_hits, 0);
    let by_url = Store::open(Config::from_url(&format!("{}?near=1MiB", server.url())).unwrap())
        .await
        .unwrap();
    warm(&by_url, "k").await;
    let by_url = Store::open(Config::from_url(&format!("{}?near=off", server.url())).unwrap())
        .await
        .unwrap();
    for _ in 0..5 {
        by_url.get("k").await.unwrap();
    }
    assert_eq!(by_url.stats().await.unwrap().near_hits, 0);
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    for config in [
        RedisConfig::from_client(client),
        RedisConfig::from_connection(connection),
    ] {
        let opened = Store::open(config.clone().near_cache(NearCache::default())).await;
        let Err(Error::InvalidConfig { reason }) = opened else {
            panic!("{opened:?}")
        };
        assert!(reason.contains("near_cache"), "{reason}");
        Store::open(config.near_cache(NearCache::off())).await.unwrap();
    }
}
