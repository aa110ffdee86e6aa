//! A name that leads to another server, while long work is under way: nothing that was to be removed is left there.

use std::time::Duration;

use cachestore::Store;

use crate::harness::opening::{config, eventually, ms, open};
use crate::harness::{Direction, Proxy, RedisServer, Toxic};

/// A store whose connection is replaced every few steps of long work, without a loss. `proxy` is the name.
async fn ageing(proxy: &Proxy) -> Store {
    let delay = ms(5);
    let jitter = Duration::ZERO;
    proxy.add(Direction::Down, Toxic::Latency { delay, jitter });
    let ages = config(&proxy.url()).max_connection_age(ms(20));
    open(ages.request_timeout(ms(60_000))).await
}

/// What was removed on the former server is to be removed on this one too.
#[tokio::test]
async fn an_invalidation_begins_anew() {
    let servers = [RedisServer::start().await, RedisServer::start().await];
    for server in &servers {
        let filling = open(config(&server.url()).request_timeout(ms(60_000))).await;
        let first = (0..1000).map(|n| (format!("part:{n}"), "v"));
        filling.set_many(first).depends_on(["all"]).await.unwrap();
        let last = (0..8000).map(|n| (format!("page:{n}"), "v"));
        filling.set_many(last).depends_on(["part:0"]).await.unwrap();
    }
    let proxy = Proxy::start(servers[0].address(), 1).await;
    let store = ageing(&proxy).await;
    let mut moves = Some(&proxy);
    let invalidate = store.invalidate(["all"]).on_progress(|done| {
        // All that depends on the name itself is gone, and much of the rest is not.
        if done > 2000
            && let Some(proxy) = moves.take()
        {
            proxy.retarget(servers[1].address());
        }
    });
    let removed = invalidate.await.unwrap();
    assert_eq!(servers[1].size(), 0, "entries are left on the other server");
    assert!(servers[0].size() > 0, "it ended before the name moved");
    assert!((10_000..18_000).contains(&removed), "{removed}");
}

/// The clearing's mark is on the promoted server already, and only the order of its keys is another.
#[tokio::test]
async fn a_clearing_begins_anew_on_a_replica_that_was_promoted() {
    let servers = [RedisServer::start().await, RedisServer::start().await];
    let filling = open(config(&servers[0].url()).request_timeout(ms(60_000))).await;
    let entries = (0..30_000).map(|n| (format!("k{n}"), "v"));
    filling.set_many(entries).await.unwrap();
    filling.close().await.unwrap();
    let port = servers[0].port().to_string();
    servers[1].command(&["REPLICAOF", "127.0.0.1", &port]);
    let replicates = || servers[1].info("master_link_status") == "up";
    assert!(eventually(ms(10_000), replicates).await);

    let proxy = Proxy::start(servers[0].address(), 1).await;
    let store = ageing(&proxy).await;
    let mut moves = Some(&proxy);
    let clear = store.clear().on_progress(|done| {
        if done > 8000
            && let Some(proxy) = moves.take()
        {
            assert_eq!(servers[0].command(&["WAIT", "1", "10000"]).int(), 1);
            servers[1].command(&["REPLICAOF", "NO", "ONE"]);
            proxy.retarget(servers[1].address());
        }
    });
    clear.await.unwrap();
    assert_eq!(
        servers[1].keys("k*").len(),
        0,
        "entries are left on the other server"
    );
    assert!(servers[0].size() > 0, "it ended before the name moved");
}
