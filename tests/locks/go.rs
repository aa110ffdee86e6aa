//! Locks that are shared with go-cachestore: the bare key, its secret, and nobody who announces a release.

use std::time::Duration;

use cachestore::{Config, Error, Release, Store};
use tokio::time::Instant;

use crate::harness::{RedisServer, Reply};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

async fn open() -> (RedisServer, Store) {
    let server = RedisServer::start().await;
    let config = Config::redis(&server.url()).unwrap().go_compatible();
    let store = Store::open(config).await.unwrap();
    (server, store)
}

#[tokio::test]
async fn each_side_sees_the_others_locks() {
    let (server, store) = open().await;
    let secret = store.write_lock(" k ", 30 * SECOND).await.unwrap();
    assert_eq!(
        server.command(&["GET", " k "]).text(),
        secret.expose(),
        "untrimmed, as Go sends it"
    );
    assert!(server.command(&["PTTL", " k "]).int() > 29_000);
    assert_eq!(
        store.release_lock(" k ", &secret).await.unwrap(),
        Release::Released
    );
    assert_eq!(server.command(&["GET", " k "]), Reply::Bulk(None));
    server.command(&["SET", "k", "gos-secret", "NX", "EX", "30"]);
    assert!(matches!(store.lock("k").await, Err(Error::LockHeld)));
    assert!(matches!(
        store.release_lock("k", "x").await,
        Err(Error::LockMismatch)
    ));
    assert!(store.lock_info("k").await.unwrap().unwrap().remaining > 29 * SECOND);
    store
        .write_lock_with_secret("k", "gos-secret", 60 * SECOND)
        .await
        .unwrap();
    assert!(server.command(&["PTTL", "k"]).int() > 59_000);
    assert_eq!(
        store.release_lock("k", "gos-secret").await.unwrap(),
        Release::Released
    );
}

#[tokio::test]
async fn a_release_that_nobody_announces_is_noticed_soon() {
    let (server, store) = open().await;
    server.command(&["SET", "k", "gos-secret", "NX", "EX", "60"]);
    let mut monitor = server.monitor();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let guard = store.lock("k").wait(30 * SECOND).await.unwrap();
                (Instant::now(), guard.release().await.unwrap()).0
            })
        })
        .collect();
    tokio::time::sleep(SECOND).await;
    let polls = monitor
        .sent()
        .iter()
        .filter(|line| line.starts_with("EVAL"))
        .count();
    assert!(
        (8..40).contains(&polls),
        "the head alone asks, and backs off: {polls} times"
    );
    server.command(&["DEL", "k"]);
    let freed = Instant::now();
    let mut first = None;
    for waiter in waiting {
        let at = waiter.await.unwrap();
        first = Some(first.map_or(at, |first: Instant| first.min(at)));
    }
    assert!(first.unwrap() - freed < 250 * MS);
}
