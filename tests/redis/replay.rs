//! What the replay of queued invalidations does to loads, to servers that refuse it, and to a store that is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use cachestore::{Error, Event, Store};
use futures_util::StreamExt as _;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::harness::opening::{eventually, ms, open};
use crate::harness::{Proxy, RedisServer};
use crate::log::Log;
use crate::queued::{kill, lasting, queued, read, soon, unavailable};

/// A loader of `k` that says when it runs, and ends when it is told to.
fn held(store: &Store) -> (oneshot::Receiver<()>, oneshot::Sender<()>, JoinHandle<u64>) {
    let (runs, running) = oneshot::channel();
    let (go, gone) = oneshot::channel::<()>();
    let store = store.clone();
    let loading = tokio::spawn(async move {
        let load = move || async move {
            runs.send(()).unwrap();
            gone.await.unwrap();
            Ok::<_, String>(1u64)
        };
        store.get_or_load("k", load).depends_on(["name"]).await.unwrap()
    });
    (running, go, loading)
}

/// A load that began before the outage must not store what it has read.
#[tokio::test]
async fn a_load_of_what_was_removed_meanwhile_stores_nothing() {
    for removes in ["delete", "invalidate", "invalidate a name", "clear"] {
        let mut server = lasting().await;
        let store = open(soon(&server.url())).await;
        let (running, go, loading) = held(&store);
        running.await.unwrap();
        kill(&mut server, &store).await;
        match removes {
            "delete" => unavailable(store.delete("k").await),
            "invalidate" => unavailable(store.invalidate(["k"]).await),
            "clear" => unavailable(store.clear().await),
            _ => unavailable(store.invalidate(["name"]).await),
        }
        server.restart().await;
        assert_eq!(read(&store, "k").await, None);
        go.send(()).unwrap();
        assert_eq!(loading.await.unwrap(), 1);
        assert_eq!(store.get("k").await.unwrap(), None, "{removes}");
    }
}

/// Waiters of the same key do not join a load that began before the removal.
#[tokio::test]
async fn a_load_after_the_outage_is_not_that_from_before() {
    let mut server = lasting().await;
    let store = open(soon(&server.url())).await;
    let (running, go, older) = held(&store);
    running.await.unwrap();
    kill(&mut server, &store).await;
    unavailable(store.delete("k").await);
    server.restart().await;
    let newer = loop {
        match store.get_or_load("k", || async { Ok::<_, String>(2u64) }).await {
            Ok(value) => break value,
            Err(_) => sleep(ms(1)).await,
        }
    };
    assert_eq!(newer, 2);
    go.send(()).unwrap();
    assert_eq!(older.await.unwrap(), 1);
    assert_eq!(store.get_model::<u64>("k").await.unwrap(), Some(2));
}

/// A server that takes no writes cannot remove what it serves.
#[tokio::test]
async fn nothing_is_read_from_a_replica_that_refuses_what_is_queued() {
    let server = lasting().await;
    let store = open(soon(&server.url())).await;
    store.set("k", "old").await.unwrap();
    store.set("other", "old").await.unwrap();
    let guard = store.lock("lock").ttl(Duration::from_secs(60)).await.unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    unavailable(store.delete("k").await);
    let error = store.get("other").await.unwrap_err();
    assert!(
        matches!(error, Error::Unavailable(_) | Error::Timeout { .. }),
        "{error:?}"
    );
    let refused = async { while !matches!(store.get("other").await, Err(Error::Unavailable(_))) {} };
    timeout(ms(10_000), refused)
        .await
        .expect("calls fail as in an outage");
    assert_eq!(queued(&store).await, 1);
    server.command(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(read(&store, "k").await, None);
    assert_eq!(read(&store, "other").await.as_deref(), Some("old"));
    drop(guard);
}

/// What the server refuses for good does not keep the store down.
#[tokio::test]
async fn what_the_user_may_not_remove_is_dropped_with_a_warning() {
    let may = "user app on >secret ~* &* +@all";
    let mut server = RedisServer::options().append_only().user(may).start().await;
    let url = server.url().replace("redis://", "redis://app:secret@");
    let store = open(soon(&url)).await;
    store.set("secret-key", "old").await.unwrap();
    kill(&mut server, &store).await;
    unavailable(store.delete("secret-key").await);
    let log = Log::begin();
    server.admit(&["user app on >secret ~* &* +@all -del"]);
    server.restart().await;
    assert_eq!(read(&store, "secret-key").await.as_deref(), Some("old"));
    assert_eq!(log.warnings(&["dropped=1"]).len(), 1, "{log:?}");
    assert!(!log.warnings(&["dropped"])[0].contains("secret-key"));
}

/// One key of many that are removed by one command.
#[tokio::test]
async fn what_the_user_may_not_remove_keeps_nothing_else_there() {
    let may = "user app on >secret ~* &* +@all";
    let mut server = RedisServer::options().append_only().user(may).start().await;
    let url = server.url().replace("redis://", "redis://app:secret@");
    let store = open(soon(&url)).await;
    let keys: Vec<String> = (0..100).map(|n| format!("app:{n}")).collect();
    store.set_many(keys.iter().map(|key| (key, "old"))).await.unwrap();
    kill(&mut server, &store).await;
    unavailable(store.delete_many(&keys).await);
    unavailable(store.delete("other").await);
    unavailable(store.invalidate("other name").await);
    let log = Log::begin();
    server.admit(&["user app on >secret ~app:* ~cachestore:* &* +@all"]);
    server.restart().await;
    assert_eq!(read(&store, "app:0").await, None);
    assert!(store.get_many(&keys).await.unwrap().iter().all(Option::is_none));
    assert_eq!(log.warnings(&["dropped=2"]).len(), 1, "{log:?}");
}

#[tokio::test]
async fn a_close_during_an_outage_tells_how_many_are_lost() {
    let mut server = lasting().await;
    let log = Log::begin();
    let store = open(soon(&server.url())).await;
    kill(&mut server, &store).await;
    unavailable(store.delete_many(["secret-1", "secret-2"]).await);
    unavailable(store.invalidate(["secret-3"]).await);
    store.close().await.unwrap();
    assert_eq!(
        log.warnings(&["the store is closed", "dropped=3"]).len(),
        1,
        "{log:?}"
    );
    let shown: Vec<_> = log
        .text()
        .lines()
        .filter(|line| !line.contains("DEBUG"))
        .map(str::to_owned)
        .collect();
    assert!(!shown.concat().contains("secret-"), "{shown:#?}");
}

/// A store that is closed while it replays has replayed before it has ended.
#[tokio::test]
async fn a_close_after_the_outage_waits_for_the_replay() {
    const KEYS: usize = 10_000;
    let mut server = lasting().await;
    let store = open(soon(&server.url()).queue_invalidations(KEYS)).await;
    let keys: Vec<String> = (0..KEYS).map(|n| format!("k{n}")).collect();
    store.set_many(keys.iter().map(|key| (key, "old"))).await.unwrap();
    let mut events = store.events();
    kill(&mut server, &store).await;
    unavailable(store.invalidate(&keys).await);
    server.restart().await;
    let connected = async { while !matches!(events.next().await, Some(Event::Connected { .. })) {} };
    timeout(ms(10_000), connected).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(server.keys("k*").len(), 0);
}

/// Calls that remove go on failing while the replay is under way, and it ends all the same.
#[tokio::test]
async fn removals_that_go_on_do_not_keep_the_replay_from_ending() {
    let mut server = lasting().await;
    let store = open(soon(&server.url()).queue_invalidations(100_000)).await;
    kill(&mut server, &store).await;
    let stop = Arc::<AtomicBool>::default();
    let removers: Vec<_> = (0..50)
        .map(|task| {
            let (store, stop) = (store.clone(), stop.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if stop.load(SeqCst) {
                        break;
                    }
                    let _ = store.delete(format!("{task}:{n}")).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    sleep(ms(200)).await;
    server.restart().await;
    assert_eq!(read(&store, "k").await, None);
    assert!(eventually(ms(5000), || server.info("cmdstat_del").len() > 1).await);
    let mut none_left = false;
    for _ in 0..500 {
        none_left |= queued(&store).await == 0;
        sleep(ms(1)).await;
    }
    assert!(none_left);
    stop.store(true, SeqCst);
    for remover in removers {
        remover.await.unwrap();
    }
}

/// Some wait for the walk of another one to end, which waits for the replay.
#[tokio::test]
async fn clearings_whose_time_is_over_during_the_replay_are_replayed_too() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let patient = soon(&proxy.url()).wait_for_connection(ms(60_000));
    let store = open(patient.request_timeout(ms(300))).await;
    let tenants = ["a", "b", "c"].map(|name| store.namespace(name).unwrap());
    for tenant in &tenants {
        tenant.set("k", "old").await.unwrap();
    }
    proxy.down().await;
    while store.exists("nothing").await.is_ok() {}
    unavailable(store.delete("nothing").await);
    // The server refuses the replay, and goes on answering.
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    proxy.up().await;
    let refuses = || {
        server
            .command(&["INFO", "errorstats"])
            .text()
            .contains("NOREPLICAS")
    };
    assert!(eventually(ms(10_000), refuses).await);
    let mut clears = JoinSet::new();
    for tenant in tenants.clone() {
        clears.spawn(async move { tenant.clear().await });
        // The engine has the clearing: the next one waits for it.
        tokio::task::yield_now().await;
        store.stats().await.unwrap();
    }
    while let Some(cleared) = clears.join_next().await {
        let cleared = cleared.unwrap();
        assert!(cleared.is_err(), "{cleared:?}");
    }
    assert_eq!(queued(&store).await, 4);
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    for tenant in &tenants {
        assert_eq!(read(tenant, "k").await, None);
    }
}

/// A connection that is lost during the replay costs no removal, and the replay goes on over another one.
#[tokio::test]
async fn a_replay_that_is_cut_again_and_again_ends() {
    const KEYS: usize = 10_000;
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let settings = soon(&proxy.url()).queue_invalidations(KEYS).connections(3);
    let store = open(settings).await;
    let keys: Vec<String> = (0..KEYS).map(|n| format!("k{n}")).collect();
    store.set_many(keys.iter().map(|key| (key, "old"))).await.unwrap();
    proxy.down().await;
    while store.exists("nothing").await.is_ok() {}
    unavailable(store.invalidate(&keys[..KEYS / 2]).await);
    unavailable(store.delete_many(&keys[KEYS / 2..]).await);
    proxy.up().await;
    let mut cuts = 0;
    while queued(&store).await > 0 && cuts < 100 {
        let begun = queued(&store).await;
        let goes_on = async {
            while queued(&store).await == begun {
                sleep(ms(1)).await
            }
        };
        timeout(ms(10_000), goes_on).await.expect("the replay goes on");
        proxy.cut();
        cuts += 1;
    }
    println!("replay: cut {cuts} times");
    assert_eq!(read(&store, "k0").await, None);
    assert_eq!(server.keys("k*").len(), 0);
}
