//! Locks that are shared with go-cachestore: the bare key, its secret, and nobody who announces a release.

use std::time::Duration;

use cachestore::{Config, Error, Release, Store, redis};
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
        (40..110).contains(&polls),
        "the head alone asks, every 10 to 12 ms: {polls} times"
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

/// A connection of a Go process, whose commands are as go-cachestore sends them.
#[derive(Clone)]
struct Go(redis::aio::MultiplexedConnection);

impl Go {
    async fn connect(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        Self(client.get_multiplexed_async_connection().await.unwrap())
    }

    /// `WriteLock`, with a new secret each time. Returns `true` if it is held now.
    async fn write_lock(&mut self) -> bool {
        let mut set = redis::cmd("SET");
        set.arg("k").arg(format!("{:064x}", rand::random::<u128>()));
        set.arg("NX").arg("EX").arg(30);
        let set: Option<String> = set.query_async(&mut self.0).await.unwrap();
        set.is_some()
    }

    /// `WaitWriteLock`, which polls.
    async fn wait_write_lock(&mut self) {
        while !self.write_lock().await {
            tokio::time::sleep(10 * MS).await;
        }
    }

    /// `ReleaseLock`, which publishes nothing.
    async fn release_lock(&mut self) {
        let _: u64 = redis::cmd("DEL").arg("k").query_async(&mut self.0).await.unwrap();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// How long the lock is free until a waiter has it, in the median: ours and one of Go.
#[tokio::test]
async fn a_go_holder_is_followed_as_soon_as_by_go() {
    let (server, store) = open().await;
    let mut holder = Go::connect(&server).await;
    let (mut ours, mut gos) = (Vec::new(), Vec::new());
    for round in 0..40 {
        holder.wait_write_lock().await;
        let (store, mut go) = (store.clone(), holder.clone());
        let waiter = tokio::spawn(async move {
            if round % 2 == 0 {
                let guard = store.lock("k").wait(30 * SECOND).await.unwrap();
                let at = Instant::now();
                guard.release().await.unwrap();
                at
            } else {
                go.wait_write_lock().await;
                let at = Instant::now();
                go.release_lock().await;
                at
            }
        });
        // At any time between two questions of a waiter.
        tokio::time::sleep(40 * MS + Duration::from_micros(round * 1_013)).await;
        let freed = Instant::now();
        holder.release_lock().await;
        let times = if round % 2 == 0 { &mut ours } else { &mut gos };
        times.push(waiter.await.unwrap() - freed);
    }
    let (ours, gos) = (median(ours), median(gos));
    println!("a lock that Go released: ours has it after {ours:?}, Go's after {gos:?}, p50");
    assert!(ours < 15 * MS, "{ours:?}");
}

/// 32 of Go, and one of ours, who take turns of 2 ms each, and want the next turn 20 ms later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_go_waiters_each_has_its_share() {
    const GOS: u32 = 32;
    let (server, store) = open().await;
    let end = Instant::now() + 6 * SECOND;
    let mut gos = Vec::new();
    for _ in 0..GOS {
        let mut go = Go::connect(&server).await;
        gos.push(tokio::spawn(async move {
            let mut turns = 0;
            while Instant::now() < end {
                go.wait_write_lock().await;
                tokio::time::sleep(2 * MS).await;
                go.release_lock().await;
                turns += 1;
                tokio::time::sleep(20 * MS).await;
            }
            turns
        }));
    }
    let mut ours = 0;
    while Instant::now() < end {
        let guard = store.lock("k").wait(30 * SECOND).await.unwrap();
        tokio::time::sleep(2 * MS).await;
        guard.release().await.unwrap();
        ours += 1;
        tokio::time::sleep(20 * MS).await;
    }
    let mut all = 0;
    for go in gos {
        all += go.await.unwrap();
    }
    let share = f64::from(ours) / (f64::from(all) / f64::from(GOS));
    println!("turns beside {GOS} of Go: {ours} of ours, {all} of theirs, {share:.2} of a share each");
    assert!(share > 0.5, "{ours} of {all}");
}
