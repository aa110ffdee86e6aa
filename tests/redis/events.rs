//! Events of a store over Redis: what only a connection to a server brings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cachestore::Event;
use tokio::time::timeout;

use crate::harness::opening::{config, ms, open};
use crate::harness::{Proxy, RedisServer};

#[tokio::test]
async fn a_loss_and_its_recovery_are_told_once_each() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(config(&proxy.url()).reconnect_backoff(ms(1), ms(20))).await;
    let mut events = store.events();
    proxy.cut();
    // The loss is noticed without a call.
    let lost = timeout(ms(5000), events.recv()).await.unwrap();
    let Some(Event::Disconnected { node, cause }) = lost else {
        panic!("{lost:?}");
    };
    assert_eq!(node, proxy.url().trim_start_matches("redis://"));
    assert!(!cause.is_empty());
    let opened = timeout(ms(5000), events.recv()).await.unwrap();
    assert_eq!(opened, Some(Event::Connected { node }));
    store.set("k", "v").await.unwrap();
    let written = timeout(ms(5000), events.recv()).await.unwrap();
    assert_eq!(written, Some(Event::Written { key: "k".into() }));
}

/// The script that invalidates is asked for keys only while somebody listens.
#[tokio::test]
async fn an_invalidation_of_many_tells_each_key() {
    let server = RedisServer::start().await;
    let store = open(config(&server.url())).await;
    let names: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    let write = || {
        store
            .set_many(names.iter().map(|name| (name, "v")))
            .depends_on("all")
    };
    write().await.unwrap();
    assert_eq!(store.invalidate("all").await.unwrap(), 2000);
    write().await.unwrap();
    let mut events = store.events().capacity(5000);
    assert_eq!(store.invalidate("all").await.unwrap(), 2000);
    let mut told = Vec::new();
    for _ in 0..2000 {
        match timeout(ms(5000), events.recv()).await.unwrap() {
            Some(Event::Invalidated { key }) => told.push(key),
            other => panic!("{other:?}"),
        }
    }
    told.sort_unstable_by_key(|key| key.parse::<u32>().unwrap());
    assert_eq!(told, names);
}

/// While somebody listens too, others see all of the entries or none.
#[tokio::test]
async fn many_are_deleted_at_once_and_each_key_is_told() {
    let server = RedisServer::start().await;
    let (store, other) = (
        open(config(&server.url())).await,
        open(config(&server.url())).await,
    );
    // Long keys: a command for each does not fit into what the server reads at once.
    let keys: Vec<String> = (0..500).map(|n| format!("{n:0>200}")).collect();
    let mut events = store.events().capacity(2000);
    let (stop, read) = (Arc::new(AtomicBool::new(false)), keys.clone());
    let reading = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let mut partly = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let found = other.get_many(&read).await.unwrap();
                let count = found.iter().flatten().count();
                if count != 0 && count != found.len() {
                    partly.push(count);
                }
            }
            partly
        })
    };
    for _ in 0..100 {
        store.set_many(keys.iter().map(|key| (key, "v"))).await.unwrap();
        assert_eq!(store.delete_many(&keys).await.unwrap(), 500);
        for event in 0..1000 {
            let key = keys[event % 500].clone();
            let expected = if event < 500 {
                Event::Written { key }
            } else {
                Event::Deleted { key }
            };
            assert_eq!(timeout(ms(5000), events.recv()).await.unwrap(), Some(expected));
        }
    }
    stop.store(true, Ordering::SeqCst);
    assert_eq!(reading.await.unwrap(), [0; 0], "so many of 500 were seen");
}
