//! How long calls wait for a server that is known to be down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cachestore::{Error, LoadError, Store};
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep};

use crate::harness::RedisServer;
use crate::harness::lateness::late;
use crate::harness::opening::{config, eventually, ms, open, told};

/// A store whose server has been killed, and knows it.
async fn over_a_dead_server(wait: Option<Duration>) -> (RedisServer, Store) {
    let mut server = RedisServer::start().await;
    let mut settings = config(&server.url());
    if let Some(wait) = wait {
        settings = settings.wait_for_connection(wait);
    }
    let store = open(settings).await;
    store.set("k", "v").await.unwrap();
    server.kill9();
    while store.get("k").await.is_ok() {}
    (server, store)
}

/// How long a call takes that is refused because the server is down.
async fn refused(store: &Store) -> Duration {
    let began = Instant::now();
    let error = store.get("k").await.unwrap_err();
    let took = began.elapsed();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    took
}

#[tokio::test]
async fn a_call_that_does_not_wait_for_a_dead_server_fails_at_once_with_the_cause() {
    let (server, store) = over_a_dead_server(Some(Duration::ZERO)).await;
    // By now the store has tried to connect again.
    sleep(ms(50)).await;
    let mut times = Vec::new();
    for _ in 0..1000 {
        times.push(refused(&store).await);
    }
    times.sort_unstable();
    let (median, p99) = (times[500], times[990]);
    println!("outage: a call without a wait fails after {median:?}, p99 {p99:?}");
    assert!(median < ms(1), "half of the calls took {median:?} and more");
    for error in [
        store.get("k").await.unwrap_err(),
        store.set("k", "w").await.unwrap_err(),
        store.invalidate(["k"]).await.unwrap_err(),
        store.clear().await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        let text = told(&error).to_lowercase();
        assert!(
            text.contains(&server.address()) && text.contains("refused"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_call_waits_a_second_for_a_dead_server_by_default() {
    let (_server, store) = over_a_dead_server(None).await;
    let took = refused(&store).await;
    assert!(took >= ms(990) && took <= ms(1000) + late(), "{took:?}");
}

#[tokio::test]
async fn calls_that_wait_for_a_server_are_carried_out_when_it_is_back() {
    let mut server = RedisServer::options().append_only().start().await;
    let settings = config(&server.url())
        .wait_for_connection(ms(60_000))
        .request_timeout(ms(60_000))
        .reconnect_backoff(ms(1), ms(20));
    let store = open(settings).await;
    server.kill9();
    let calls: Vec<_> = (0..100)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.get(format!("k{n}")).await })
        })
        .collect();
    sleep(ms(50)).await;
    server.restart().await;
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), None);
    }
}

#[tokio::test]
async fn calls_that_wait_do_not_wait_longer_because_others_do() {
    let (_server, store) = over_a_dead_server(Some(ms(300))).await;
    let calls = (0..20).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            sleep(ms(20) * n).await;
            refused(&store).await
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let took = call.await.unwrap();
        assert!(took >= ms(290) && took <= ms(300) + late(), "{took:?}");
    }
}

#[tokio::test]
async fn service_is_back_after_calls_that_did_not_wait() {
    let (mut server, store) = over_a_dead_server(Some(Duration::ZERO)).await;
    server.restart().await;
    let began = Instant::now();
    while store.set("k", "w").await.is_err() {
        sleep(ms(1)).await;
        assert!(began.elapsed() < ms(5000) + late(), "service does not come back");
    }
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("w"));
}

/// What loaders of a test do at once, and what callers got.
#[derive(Default)]
struct Running {
    now: AtomicUsize,
    most: AtomicUsize,
    given: AtomicUsize,
    refused: AtomicUsize,
}

/// Loads keys until it is told to stop.
async fn reader(store: Store, n: usize, down: Arc<Running>, stop: Arc<AtomicBool>) {
    for round in 0.. {
        if stop.load(SeqCst) {
            break;
        }
        let running = down.clone();
        let load = store.get_or_load(format!("k{n}:{round}"), move || async move {
            let now = running.now.fetch_add(1, SeqCst) + 1;
            running.most.fetch_max(now, SeqCst);
            sleep(ms(5)).await;
            running.now.fetch_sub(1, SeqCst);
            Ok::<_, String>(round)
        });
        match load.await {
            Ok(value) => {
                assert_eq!(value, round);
                down.given.fetch_add(1, SeqCst);
            }
            Err(LoadError::Store(Error::Unavailable(_))) => drop(down.refused.fetch_add(1, SeqCst)),
            Err(error) => panic!("{error:?}"),
        }
        sleep(ms(1)).await;
    }
}

#[tokio::test]
async fn while_the_server_is_dead_as_many_loaders_run_as_are_allowed() {
    const MOST: usize = 8;
    let mut server = RedisServer::start().await;
    let settings = config(&server.url())
        .wait_for_connection(Duration::ZERO)
        .loads_while_unavailable(MOST);
    let store = open(settings).await;
    store.set("k", "v").await.unwrap();
    server.kill9();
    while store.get("k").await.is_ok() {}
    let (running, stop) = (Arc::<Running>::default(), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..200)
        .map(|n| tokio::spawn(reader(store.clone(), n, running.clone(), stop.clone())))
        .collect();
    let some_of_each = || running.given.load(SeqCst) > 100 && running.refused.load(SeqCst) > 100;
    assert!(eventually(ms(30_000), some_of_each).await);
    stop.store(true, SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(running.most.load(SeqCst), MOST);
    server.restart().await;
    let began = Instant::now();
    while store.get("k").await.is_err() {
        sleep(ms(1)).await;
        assert!(began.elapsed() < ms(5000) + late(), "service does not come back");
    }
    let mut kept = std::pin::pin!(store.scan("k"));
    assert!(kept.next().await.is_none(), "nothing was stored");
}
