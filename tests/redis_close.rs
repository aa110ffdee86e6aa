//! The end of a store: wherever its last handle goes, no panic, no task and no socket is left.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "support/redis/mod.rs"]
mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachestore::{Error, Store};
use harness::opening::{config, eventually, ms, open, plain};
use harness::{Direction, Proxy, RedisServer, Toxic};
use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use tokio::runtime::{Builder, Handle, Runtime};

const SECOND: Duration = ms(1000);

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Within a second the runtime has as many tasks as before, and the server no connection.
async fn nothing_is_left(server: &RedisServer, before: usize, what: &str) {
    let gone = eventually(SECOND, || server.connections().is_empty()).await;
    assert!(gone, "{what}: connections are left: {:?}", server.connections());
    let gone = eventually(SECOND, || tasks() <= before).await;
    assert!(gone, "{what}: {} tasks are left, there were {before}", tasks());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_inside_the_runtime() {
    let server = RedisServer::start().await;
    let before = tasks();
    for connections in [1, 3] {
        let store = open(config(&server.url()).connections(connections)).await;
        store.set("k", "v").await.unwrap();
        assert!(server.connections().len() >= connections);
        let (clone, tenant) = (store.clone(), store.namespace("tenant").unwrap());
        drop(store);
        drop(clone);
        tenant.set("k", "v").await.unwrap();
        drop(tenant);
        nothing_is_left(&server, before, "dropped").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_the_drop_is_carried_out() {
    let server = RedisServer::start().await;
    let before = tasks();
    for round in 0..20 {
        let store = open(config(&server.url())).await;
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..50 {
            let store = store.clone();
            calls.spawn(async move { store.incr(format!("n{n}"), 1).await });
        }
        drop(store);
        while let Some(call) = calls.join_next().await {
            assert_eq!(call.unwrap().unwrap(), round + 1);
        }
    }
    nothing_is_left(&server, before, "dropped under way").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed() {
    let server = RedisServer::start().await;
    let before = tasks();
    let store = open(config(&server.url())).await;
    let tenant = store.namespace("tenant").unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(tenant.get("k").await, Err(Error::Closed)));
    assert!(matches!(store.set("k", "v").await, Err(Error::Closed)));
    nothing_is_left(&server, before, "closed, its handles still there").await;
}

/// No connection was lost, so the calls that wait for the next one are carried out.
#[tokio::test]
async fn closed_while_a_connection_is_replaced() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(config(&proxy.url()).max_connection_age(ms(200))).await;
    let (delay, jitter) = (ms(100), Duration::ZERO);
    proxy.add(Direction::Down, Toxic::Latency { delay, jitter });
    let before = proxy.accepted();
    while proxy.accepted() == before {
        // What opens it has to be asked, and nothing else wakes it up.
        tokio::time::sleep(ms(1)).await;
    }
    let (set, closed) = tokio::join!(store.set("k", "v"), async {
        tokio::task::yield_now().await;
        store.close().await
    });
    set.unwrap();
    closed.unwrap();
    assert_eq!(server.command(&["GET", "k"]).text(), "v");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_while_the_server_is_stopped_or_gone() {
    let mut server = RedisServer::start().await;
    let before = tasks();
    let settings = config(&server.url())
        .request_timeout(ms(500))
        .response_timeout(ms(200));
    let stores = [open(settings.clone()).await, open(settings).await];
    server.stop();
    let call = {
        let store = stores[0].clone();
        tokio::spawn(async move { store.incr("n", 1).await })
    };
    tokio::time::sleep(ms(20)).await;
    let _ = stores[0].close().await;
    assert!(call.await.unwrap().is_err());
    server.cont();
    let [first, second] = stores;
    drop(first);
    server.kill9();
    let _ = second.get("k").await;
    // It is trying to connect when it is dropped.
    drop(second);
    assert!(
        eventually(SECOND + ms(500), || tasks() <= before).await,
        "{} tasks are left",
        tasks()
    );
    server.restart().await;
    tokio::time::sleep(ms(300)).await;
    assert!(
        server.connections().is_empty(),
        "nobody connects any more: {:?}",
        server.connections()
    );
}

#[test]
fn dropped_outside_of_any_runtime_and_after_it() {
    let outside = runtime();
    let server = outside.block_on(RedisServer::start());

    let inner = runtime();
    let store = inner.block_on(open(config(&server.url())));
    inner.block_on(async { store.set("k", "v").await.unwrap() });
    std::thread::spawn(move || drop(store)).join().unwrap();
    inner.block_on(nothing_is_left(&server, 0, "dropped on a plain thread"));

    let store = inner.block_on(open(config(&server.url())));
    drop(inner);
    assert!(outside.block_on(eventually(SECOND, || server.connections().is_empty())));
    let answer = outside.block_on(store.get("k"));
    assert!(
        matches!(answer, Err(Error::Closed)),
        "its runtime has ended: {answer:?}"
    );
    drop(store);
}

#[test]
fn a_runtime_that_ends_under_way() {
    let outside = runtime();
    let server = outside.block_on(RedisServer::start());
    for _ in 0..10 {
        let inner = Builder::new_current_thread().enable_all().build().unwrap();
        let store = inner.block_on(open(config(&server.url())));
        let call = store.clone();
        inner.spawn(async move {
            loop {
                if call.set("k", "v").await.is_err() {
                    break;
                }
            }
        });
        inner.block_on(async { tokio::time::sleep(ms(5)).await });
        drop(inner);
        drop(store);
    }
    assert!(outside.block_on(eventually(SECOND, || server.connections().is_empty())));
}

struct Holder(#[allow(dead_code, reason = "it is held")] Store);

impl Actor for Holder {
    type Args = Store;
    type Error = std::convert::Infallible;

    async fn on_start(store: Store, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        Ok(Self(store))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_with_an_actor_and_by_a_panic() {
    let server = RedisServer::start().await;
    let before = tasks();
    let actor = Holder::spawn(open(config(&server.url())).await);
    actor.wait_for_startup().await;
    actor.stop_gracefully().await.unwrap();
    actor.wait_for_shutdown().await;
    drop(actor);
    nothing_is_left(&server, before, "in an actor").await;

    let store = open(config(&server.url())).await;
    let panics = tokio::spawn(async move {
        store.set("k", "v").await.unwrap();
        panic!("as planned");
    });
    assert!(panics.await.is_err());
    nothing_is_left(&server, before, "while panicking").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_that_is_given_up_or_fails_leaves_nothing() {
    let server = RedisServer::options().password("hunter2").start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let before = tasks();
    for micros in [0, 100, 300, 700, 1500, 3000, 6000] {
        let right = config(&format!("redis://:hunter2@{}", proxy.address()));
        let _ = tokio::time::timeout(Duration::from_micros(micros), Store::open(right)).await;
        let wrong = config(&format!("redis://:wrong@{}", proxy.address()));
        assert!(Store::open(wrong).await.is_err());
    }
    assert!(
        eventually(SECOND, || proxy.living() == 0).await,
        "{} connections",
        proxy.living()
    );
    // The proxy itself may have tasks of its own, for a moment.
    nothing_is_left(&server, before, "given up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opened_and_dropped_a_hundred_times() {
    let server = RedisServer::start().await;
    let before = tasks();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let open_files = descriptors();
    let answered = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let store = open(config(&server.url())).await;
        if store.get("k").await.is_ok() {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    assert_eq!(answered.load(Ordering::Relaxed), 100);
    nothing_is_left(&server, before, "a hundred times").await;
    // Other tests of this file run beside this one and have files of their own.
    assert!(
        descriptors() < open_files + 100,
        "{} files, there were {open_files}",
        descriptors()
    );
}

#[tokio::test]
async fn a_call_of_a_closed_store_never_hangs() {
    let (server, store) = plain().await;
    let callers: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.set(format!("k{n}"), "v").await })
        })
        .collect();
    store.close().await.unwrap();
    let mut made = 0;
    for caller in callers {
        match caller.await.unwrap() {
            Ok(()) => made += 1,
            Err(Error::Closed | Error::OutcomeUnknown(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(server.size() >= made);
}
