//! A server that has become a replica: reads go on, writes say so, and connections are replaced at a pace.

use cachestore::Error;
use tokio::time::Instant;

use crate::harness::opening::{config, eventually, ms, open};
use crate::harness::{Proxy, RedisServer};

#[tokio::test]
async fn a_replica_is_not_flooded_with_connections() {
    let primary = RedisServer::start().await;
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(config(&proxy.url())).await;
    store.set("k", "v").await.unwrap();
    let port = primary.port().to_string();
    server.command(&["REPLICAOF", "127.0.0.1", &port]);
    let replicates = eventually(ms(10_000), || server.info("master_link_status") == "up").await;
    assert!(replicates);

    let before = proxy.accepted();
    let end = Instant::now() + ms(2000);
    let (mut refused, mut scripted) = (0, 0);
    while Instant::now() < end {
        match store.set("k", "w").await {
            Err(Error::Unavailable(_)) => refused += 1,
            other => panic!("{other:?}"),
        }
        match store.set("dependent", "w").depends_on(["name"]).await {
            Err(Error::Unavailable(_)) => scripted += 1,
            other => panic!("{other:?}"),
        }
        assert_eq!(store.get("k").await.unwrap(), None, "the primary has no such key");
    }
    let connections = proxy.accepted() - before;
    println!("replica: {refused} writes and {scripted} scripts refused over {connections} connections");
    assert!(refused > 5 && scripted > 5, "{refused} and {scripted}");
    // 20 ms, 40 ms, and so on to a second, at random within their upper halves.
    assert!(connections <= 12, "{connections} connections in 2 s");

    server.command(&["REPLICAOF", "NO", "ONE"]);
    let promoted = Instant::now();
    while store.set("k", "w").await.is_err() {
        assert!(promoted.elapsed() < ms(2000), "a primary takes writes at once");
        tokio::time::sleep(ms(5)).await;
    }
}
