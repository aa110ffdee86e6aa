//! Invalidations that wait for a server that cannot be reached, and are replayed before anything is read again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use cachestore::{Error, RedisConfig, Store};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::lateness::late;
use crate::harness::opening::{WithNear, config, ms, open};
use crate::harness::{Direction, Proxy, RedisServer, Toxic};
use crate::log::Log;

/// A server that keeps what it has when it is killed.
pub(crate) async fn lasting() -> RedisServer {
    RedisServer::options().append_only().start().await
}

/// Stores that notice soon that the server is back.
pub(crate) fn soon(url: &str) -> RedisConfig {
    config(url)
        .wait_for_connection(Duration::ZERO)
        .reconnect_backoff(ms(1), ms(20))
        .queue_invalidations(1000)
}

/// Kills the server, and waits until the store knows.
pub(crate) async fn kill(server: &mut RedisServer, store: &Store) {
    server.kill9();
    while store.exists("nothing").await.is_ok() {}
}

pub(crate) fn unavailable<T: std::fmt::Debug>(answer: Result<T, Error>) {
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
}

/// The value of a key, as soon as there is an answer.
pub(crate) async fn read(store: &Store, key: &str) -> Option<String> {
    let began = Instant::now();
    loop {
        match store.get_string(key).await {
            Ok(value) => return value,
            Err(Error::Unavailable(_) | Error::Timeout { .. }) => sleep(ms(1)).await,
            Err(error) => panic!("{error:?}"),
        }
        assert!(
            began.elapsed() < ms(10_000) + late(),
            "service does not come back"
        );
    }
}

pub(crate) async fn queued(store: &Store) -> u64 {
    store.stats().await.unwrap().queued_invalidations
}

/// Reads keys all the time. Returns those that had a value at least once.
async fn reader(store: Store, keys: Vec<String>, stop: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while !stop.load(SeqCst) {
        for key in &keys {
            if let Ok(Some(_)) = store.get(key).await {
                seen.insert(key.clone());
            }
        }
        if let Ok(values) = store.get_many(&keys).await {
            let found = keys.iter().zip(values).filter(|(_, value)| value.is_some());
            seen.extend(found.map(|(key, _)| key.clone()));
        }
        tokio::task::yield_now().await;
    }
    seen
}

/// All kinds of removals while the server is dead. Nobody reads what they cover when it is back with its old data.
async fn nothing_of_it_is_read(settings: impl Fn(RedisConfig) -> RedisConfig) {
    let mut server = lasting().await;
    let store = open(settings(soon(&server.url()))).await;
    let tenant = store.namespace("tenant").unwrap();
    for key in ["deleted", "many:1", "many:2", "name", "kept"] {
        store.set(key, "old").await.unwrap();
    }
    store.set("dependent", "old").depends_on(["name"]).await.unwrap();
    store.set("below", "old").depends_on(["dependent"]).await.unwrap();
    tenant.set("cleared", "old").await.unwrap();
    let gone = [
        "deleted",
        "many:1",
        "many:2",
        "name",
        "dependent",
        "below",
        "tenant:cleared",
    ];
    // What is read often is near, if anything is.
    for _ in 0..4 {
        for key in gone {
            assert!(store.get(key).await.unwrap().is_some());
        }
    }
    kill(&mut server, &store).await;
    unavailable(store.delete("deleted").await);
    unavailable(store.delete_many(["many:1", "many:2"]).await);
    unavailable(store.invalidate("name").await);
    unavailable(tenant.clear().await);
    unavailable(store.set("never", "queued").await);
    unavailable(store.take("kept").await);
    assert_eq!(queued(&store).await, 5);

    let stop = Arc::<AtomicBool>::default();
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let keys = gone.map(str::to_owned).to_vec();
            tokio::spawn(reader(store.clone(), keys, stop.clone()))
        })
        .collect();
    sleep(ms(20)).await;
    server.restart().await;
    assert_eq!(read(&store, "kept").await.as_deref(), Some("old"));
    assert_eq!(queued(&store).await, 0);
    sleep(ms(50)).await;
    stop.store(true, SeqCst);
    for reader in readers {
        assert_eq!(
            reader.await.unwrap(),
            BTreeSet::new(),
            "were read after the outage"
        );
    }
    assert_eq!(server.keys("*:cleared"), Vec::<String>::new());
    assert_eq!(read(&store, "never").await, None);
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.deletes, stats.invalidated), (4, 3));
}

#[tokio::test]
async fn what_was_removed_during_an_outage_is_not_read_after_it() {
    nothing_of_it_is_read(|config| config).await;
}

#[tokio::test]
async fn the_same_over_several_connections() {
    nothing_of_it_is_read(|config| config.connections(8)).await;
}

#[tokio::test]
async fn the_same_with_a_near_cache() {
    let _near = WithNear::on();
    nothing_of_it_is_read(|config| config.connections(2)).await;
}

#[tokio::test]
async fn the_same_for_calls_that_wait_for_the_connection() {
    nothing_of_it_is_read(|config| config.wait_for_connection(ms(100))).await;
}

/// The deadline of a call may come before its wait for the connection ends.
#[tokio::test]
async fn the_same_for_calls_whose_time_is_over_first() {
    nothing_of_it_is_read(|config| config.wait_for_connection(ms(60_000)).request_timeout(ms(200))).await;
}

#[tokio::test]
async fn a_set_after_the_outage_comes_after_what_was_queued() {
    let mut server = lasting().await;
    for wait in [Duration::ZERO, ms(60_000)] {
        let store = open(soon(&server.url())).await;
        let patient = open(soon(&server.url()).wait_for_connection(wait)).await;
        store.set("k", "old").await.unwrap();
        kill(&mut server, &store).await;
        unavailable(store.delete("k").await);
        unavailable(store.invalidate(["k"]).await);
        // One that waits from before the server is back, if calls wait.
        let waiting = tokio::spawn(async move { patient.set("waiting", "new").await });
        let setting = tokio::spawn({
            let store = store.clone();
            async move { while store.set("k", "new").await.is_err() {} }
        });
        server.restart().await;
        setting.await.unwrap();
        drop(waiting);
        assert_eq!(read(&store, "k").await.as_deref(), Some("new"));
        sleep(ms(30)).await;
        assert_eq!(
            read(&store, "k").await.as_deref(),
            Some("new"),
            "nothing is replayed twice"
        );
    }
}

#[tokio::test]
async fn a_key_is_queued_once_and_sent_once() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(soon(&proxy.url()).queue_invalidations(10)).await;
    store.set("k", "old").await.unwrap();
    proxy.down().await;
    while store.exists("nothing").await.is_ok() {}
    for _ in 0..100 {
        unavailable(store.delete("k").await);
        unavailable(store.invalidate(["k", "l"]).await);
        unavailable(store.namespace("t").unwrap().clear().await);
    }
    assert_eq!(queued(&store).await, 3);
    let mut monitor = server.monitor();
    proxy.up().await;
    assert_eq!(read(&store, "k").await, None);
    let sent = monitor.sent();
    let names_it = |line: &&String| !line.starts_with("SCRIPT") && line.contains(" k");
    let naming: Vec<_> = sent.iter().filter(names_it).collect();
    assert_eq!(
        naming.len(),
        3,
        "an invalidation in two steps, and the read: {naming:#?}"
    );
}

#[tokio::test]
async fn an_overflow_clears_the_namespace_and_nothing_else() {
    let mut server = lasting().await;
    let store = open(soon(&server.url()).queue_invalidations(3)).await;
    let (large, other) = (
        store.namespace("large").unwrap(),
        store.namespace("other").unwrap(),
    );
    for (store, key) in [
        (&large, "unnamed"),
        (&large, "k1"),
        (&other, "k1"),
        (&store, "k1"),
    ] {
        store.set(key, "old").await.unwrap();
    }
    other.set("kept", "old").await.unwrap();
    let log = Log::begin();
    kill(&mut server, &store).await;
    unavailable(other.delete("k1").await);
    for n in 0..10 {
        unavailable(large.delete(format!("k{n}")).await);
        assert!(queued(&store).await <= 4);
    }
    server.restart().await;
    assert_eq!(read(&large, "unnamed").await, None);
    assert_eq!(read(&large, "k1").await, None);
    assert_eq!(read(&other, "k1").await, None);
    assert_eq!(read(&other, "kept").await.as_deref(), Some("old"));
    assert_eq!(read(&store, "k1").await.as_deref(), Some("old"));
    let warnings = log.warnings(&["too many invalidations", "large"]);
    assert_eq!(warnings.len(), 1, "{log:?}");
}

#[tokio::test]
async fn an_overflow_of_the_root_store_clears_the_database_but_no_lock() {
    let mut server = lasting().await;
    let store = open(soon(&server.url()).queue_invalidations(1)).await;
    store.namespace("t").unwrap().set("k", "old").await.unwrap();
    store.set("name", "old").await.unwrap();
    store.set("dependent", "old").depends_on(["name"]).await.unwrap();
    let guard = store.lock("lock").ttl(Duration::from_secs(60)).await.unwrap();
    kill(&mut server, &store).await;
    unavailable(store.invalidate(["name", "b"]).await);
    server.restart().await;
    assert_eq!(read(&store, "dependent").await, None);
    assert_eq!(read(&store, "t:k").await, None);
    guard.extend(Duration::from_secs(60)).await.unwrap();
}

/// More keys than travel in the requests that are under way at once.
#[tokio::test]
async fn all_keys_of_a_large_call_are_queued() {
    const KEYS: usize = 20_000;
    let mut server = lasting().await;
    for wait in [Duration::ZERO, ms(300)] {
        let settings = soon(&server.url())
            .wait_for_connection(wait)
            .queue_invalidations(KEYS);
        let store = open(settings).await;
        let keys: Vec<String> = (0..KEYS).map(|n| format!("k{n}")).collect();
        store.set_many(keys.iter().map(|key| (key, "old"))).await.unwrap();
        kill(&mut server, &store).await;
        unavailable(store.delete_many(&keys).await);
        assert_eq!(queued(&store).await, KEYS as u64);
        server.restart().await;
        assert_eq!(read(&store, "k19999").await, None);
        assert_eq!(server.keys("k*").len(), 0);
    }
}

/// The server has the request, or the network has, when the connection is lost.
#[tokio::test]
async fn removals_whose_outcome_is_unknown_are_replayed() {
    let server = lasting().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let settings = soon(&proxy.url()).request_timeout(ms(200)).max_in_flight(2);
    let store = open(settings).await;
    let keys: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
    store.set_many(keys.iter().map(|key| (key, "old"))).await.unwrap();
    store.set("dependent", "old").depends_on(["name"]).await.unwrap();
    // Nothing gets through any more. The first calls are sent, the others wait behind them.
    proxy.add(Direction::Up, Toxic::Timeout { close: None });
    let (mut unknown, mut unsent) = (0, 0);
    let invalidated = store.invalidate(["name"]);
    let deleted = futures_util::future::join_all(keys.iter().map(|key| store.delete(key)));
    let (invalidated, deleted) = tokio::join!(invalidated, deleted);
    for error in deleted
        .into_iter()
        .map(Result::unwrap_err)
        .chain(invalidated.err())
    {
        match error {
            Error::OutcomeUnknown(_) => unknown += 1,
            Error::Timeout { .. } => unsent += 1,
            error => panic!("{error:?}"),
        }
    }
    assert!(unknown > 0 && unknown + unsent == 31, "{unknown} {unsent}");
    proxy.down().await;
    proxy.heal();
    let known = async {
        while queued(&store).await < 31 {
            sleep(ms(1)).await
        }
    };
    timeout(ms(10_000), known).await.expect("all 31 are queued");
    proxy.up().await;
    for key in &keys {
        assert_eq!(read(&store, key).await, None, "{key}");
    }
    assert_eq!(read(&store, "dependent").await, None);
}

/// The server answers after the caller has left, and takes no writes. No later call removes the key.
#[tokio::test]
async fn a_late_removal_that_a_replica_refuses_is_replayed() {
    let server = lasting().await;
    let patient = soon(&server.url()).response_timeout(ms(60_000));
    let store = open(patient.request_timeout(ms(500))).await;
    store.set("k", "old").await.unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    server.stop();
    let late = store.delete("k").await;
    assert!(matches!(late, Err(Error::OutcomeUnknown(_))), "{late:?}");
    assert_eq!(queued(&store).await, 0, "the server may carry it out yet");
    server.cont();
    let is_queued = async { while queued(&store).await != 1 {} };
    timeout(ms(10_000), is_queued).await.expect("it is queued");
    server.command(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(read(&store, "k").await, None);
}
