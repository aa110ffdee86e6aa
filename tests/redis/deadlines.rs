//! A call has one deadline, however many requests it is split into.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use cachestore::{Error, LoadError, Store};
use tokio::time::Instant;

use crate::harness::lateness::late;
use crate::harness::opening::{config, ms, open};
use crate::harness::{Direction, Proxy, RedisServer, Toxic};

/// How late each reply is.
const DELAY: Duration = ms(400);
/// How long a call may take.
const REQUEST: Duration = ms(1000);

/// Enough for more round trips than a call has time for.
fn keys() -> Vec<String> {
    (0..40 * 1024).map(|n| format!("key:{n}")).collect()
}

/// A store whose replies are late.
async fn slow(request: Duration) -> (RedisServer, Proxy, Store) {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(config(&proxy.url()).request_timeout(request)).await;
    store.set("k", "v").await.unwrap();
    let jitter = Duration::ZERO;
    let delay = DELAY;
    proxy.add(Direction::Down, Toxic::Latency { delay, jitter });
    (server, proxy, store)
}

/// How a call ended, which must be by its deadline.
async fn in_time<C: IntoFuture>(name: &str, call: C) -> C::Output {
    let began = Instant::now();
    let ended = call.await;
    let took = began.elapsed();
    println!("deadlines: {name} took {took:?}");
    assert!(took <= REQUEST + late(), "{name} took {took:?}");
    ended
}

#[tokio::test]
async fn a_read_of_many_chunks_ends_by_its_deadline() {
    let (_server, _proxy, store) = slow(REQUEST).await;
    let values = in_time("get_many", store.get_many(keys())).await;
    assert!(matches!(values, Err(Error::Timeout { .. })), "{values:?}");
    let models = in_time("get_models", store.get_models::<u32>(keys())).await;
    assert!(matches!(models, Err(Error::Timeout { .. })), "{models:?}");
    let load = |_| async { Ok::<HashMap<String, u32>, Infallible>(HashMap::new()) };
    let loaded = in_time("get_or_load_many", store.get_or_load_many(keys(), load)).await;
    assert!(
        matches!(loaded, Err(LoadError::Store(Error::Timeout { .. }))),
        "{loaded:?}"
    );
}

#[tokio::test]
async fn a_change_of_many_chunks_ends_by_its_deadline() {
    let (_server, _proxy, store) = slow(REQUEST).await;
    let entries = || keys().into_iter().map(|key| (key, "v"));
    let written = in_time("set_many", store.set_many(entries())).await;
    assert!(matches!(written, Err(Error::OutcomeUnknown(_))), "{written:?}");
    let dependent = store.set_many(entries()).depends_on(["name"]);
    let dependent = in_time("set_many with dependencies", dependent).await;
    assert!(
        matches!(dependent, Err(Error::OutcomeUnknown(_))),
        "{dependent:?}"
    );
    let deleted = in_time("delete_many", store.delete_many(keys())).await;
    assert!(matches!(deleted, Err(Error::OutcomeUnknown(_))), "{deleted:?}");
}

#[tokio::test]
async fn a_read_of_one_key_in_two_requests_ends_by_its_deadline() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(config(&proxy.url()).request_timeout(REQUEST)).await;
    let load = || async { Ok::<u32, Infallible>(7) };
    let window = ms(60_000);
    let loaded = store
        .get_or_load("k", load)
        .ttl(window)
        .stale_while_revalidate(window);
    assert_eq!(loaded.await.unwrap(), 7);
    let jitter = Duration::ZERO;
    let delay = ms(600);
    proxy.add(Direction::Down, Toxic::Latency { delay, jitter });
    let read = in_time("get_model", store.get_model::<u32>("k")).await;
    assert!(matches!(read, Err(Error::Timeout { .. })), "{read:?}");
}

#[tokio::test]
async fn chunks_travel_side_by_side() {
    let (_server, _proxy, store) = slow(ms(20_000)).await;
    let keys: Vec<String> = keys().into_iter().take(8 * 512).collect();
    let began = Instant::now();
    let entries = keys.iter().map(|key| (key, key.as_str()));
    store.set_many(entries).await.unwrap();
    let values = store.get_many(&keys).await.unwrap();
    assert!(
        values
            .iter()
            .zip(&keys)
            .all(|(value, key)| value.as_deref() == Some(key.as_bytes()))
    );
    assert_eq!(store.delete_many(&keys).await.unwrap(), keys.len() as u64);
    let took = began.elapsed();
    println!("deadlines: three calls of 8 chunks took {took:?}");
    assert!(
        took < 12 * DELAY,
        "one after the other, the chunks take 24 times as long as one"
    );
}
