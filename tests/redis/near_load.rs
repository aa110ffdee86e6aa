//! The near cache over Redis under keys that change often, large values, and many stores.

use cachestore::Store;
use tokio::time::Instant;

use super::near::{near, started, text, warm};
use crate::harness::RedisServer;
use crate::harness::opening::{ms, open};

/// The user has the rights that the guide names, and no others.
#[tokio::test]
async fn a_user_with_the_rights_of_the_guide_has_a_near_cache() {
    let page = include_str!("../../docs/security.md");
    let rights = page
        .lines()
        .find(|line| line.starts_with("user app on "))
        .unwrap();
    let more = page
        .lines()
        .find(|line| line.contains("near cache needs"))
        .unwrap();
    let more: Vec<&str> = more.split('`').filter(|word| word.starts_with('+')).collect();
    assert_eq!(more, ["+client", "+multi", "+exec", "+hello"]);
    let line = format!("user default off\n{rights} {}", more.join(" "));
    let server = RedisServer::options().user(&line).start().await;
    let store = open(near(&format!("redis://app:password@{}", server.address()))).await;
    store.set("k", "v").await.unwrap();
    warm(&store, "k").await;
}

/// Each write of the key is read by its store before the next.
#[tokio::test]
async fn a_hot_key_that_is_always_written_is_never_old() {
    let (_server, store) = started().await;
    store.set("k", "0").await.unwrap();
    let bytes = store.stats().await.unwrap().near_bytes;
    let began = Instant::now();
    let mut writes = 0_u32;
    while writes < 2000 {
        writes += 1;
        store.set("k", writes.to_string()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(text(&store, "k").await, Some(writes.to_string()));
        }
        assert!(began.elapsed() < ms(60_000), "{writes} writes");
    }
    let stats = store.stats().await.unwrap();
    assert!(
        stats.near_entries <= 1 && stats.near_bytes < bytes + 1000,
        "{stats:?}"
    );
    assert!(stats.near_hits > 0, "{stats:?}");
}

/// They are too long to be near, and are read as without a near cache.
#[tokio::test]
async fn values_of_4_mib_are_read_from_the_server() {
    let (_server, store) = started().await;
    for fill in [b'1', b'2'] {
        let value = vec![fill; 4 << 20];
        store.set("large", value.clone()).await.unwrap();
        for _ in 0..4 {
            assert_eq!(store.get("large").await.unwrap().as_deref(), Some(&value[..]));
        }
    }
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.near_entries, stats.near_hits), (0, 0));
}

#[tokio::test]
async fn a_hundred_stores_are_opened_and_closed() {
    let server = RedisServer::start().await;
    let watched = open(near(&server.url())).await;
    watched.set("k", "v").await.unwrap();
    warm(&watched, "k").await;
    for _ in 0..100 {
        let store: Store = open(near(&server.url())).await;
        warm(&store, "k").await;
        store.close().await.unwrap();
    }
    let end = Instant::now() + ms(5000);
    let tracking = || {
        let info = server.command(&["CLIENT", "LIST"]).text();
        info.lines().filter(|line| line.contains("redir=0")).count()
    };
    while tracking() > 1 {
        assert!(Instant::now() < end, "{} connections are tracked", tracking());
        tokio::time::sleep(ms(10)).await;
    }
    assert_eq!(text(&watched, "k").await.as_deref(), Some("v"));
}
