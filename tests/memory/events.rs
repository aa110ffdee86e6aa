//! The events that only the memory engine knows, and listeners that are slow.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use cachestore::kameo::prelude::*;
use cachestore::{Config, Event, Events, MemoryConfig, Store};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::listener::Listener;
use crate::support::{ms, secs};

async fn open() -> Store {
    Store::open(Config::memory()).await.unwrap()
}

fn written(n: u64) -> Event {
    Event::Written { key: n.to_string() }
}

async fn write(store: &Store, keys: std::ops::Range<u64>) {
    for n in keys {
        store.set(n.to_string(), "v").await.unwrap();
    }
    // Sets are complete when they are queued. An answer comes after all of them.
    store.ping().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_expires_is_told_after_its_time() {
    let store = open().await;
    store.set("k", "v").ttl(secs(1)).await.unwrap();
    store.ping().await.unwrap();
    let mut events = store.events();
    sleep(ms(990)).await;
    assert!(futures_util::poll!(events.next()).is_pending());
    sleep(ms(100)).await;
    assert_eq!(events.next().await, Some(Event::Expired { key: "k".into() }));
}

#[tokio::test(start_paused = true)]
async fn what_makes_room_is_told_as_evicted() {
    let config = MemoryConfig::default().capacity_bytes(64 * 1024);
    let store = Store::open(config).await.unwrap();
    let mut events = store.events().capacity(100_000);
    for n in 0..1000 {
        store.set(n.to_string(), vec![0; 1000]).await.unwrap();
    }
    store.close().await.unwrap();
    let (mut held, mut evicted) = (0_i64, 0);
    while let Some(event) = events.recv().await {
        match event {
            Event::Written { .. } => held += 1,
            Event::Evicted { .. } => (held, evicted) = (held - 1, evicted + 1),
            other => panic!("{other:?}"),
        }
    }
    assert!(evicted > 900);
    assert!((1..65).contains(&held), "{held} are held");
}

/// Each event is either read or counted as missed, in its place.
#[tokio::test(start_paused = true)]
async fn what_a_slow_listener_misses_is_counted() {
    let store = open().await;
    let mut events = store.events().capacity(4);
    write(&store, 0..10).await;
    for n in 0..4 {
        assert_eq!(events.recv().await, Some(written(n)));
    }
    assert_eq!(
        events.recv().await,
        Some(Event::Missed(6)),
        "with nothing behind it"
    );
    write(&store, 10..15).await;
    assert_eq!(events.recv().await, Some(written(10)));
    // There is room for one, and `Missed` needs some too.
    write(&store, 15..16).await;
    assert_eq!(events.recv().await, Some(written(11)));
    write(&store, 16..18).await;
    store.close().await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = events.recv().await {
        told.push(event);
    }
    let expected = [
        written(12),
        written(13),
        Event::Missed(2),
        written(16),
        Event::Missed(1),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_never_reads_harms_nobody() {
    let store = open().await;
    let mut idle = store.events();
    let mut busy = store.events().capacity(1);
    write(&store, 0..100_000).await;
    assert_eq!(store.stats().await.unwrap().sets, 100_000);
    assert_eq!(busy.recv().await, Some(written(0)));
    assert_eq!(busy.recv().await, Some(Event::Missed(99_999)));
    let mut heard = 0;
    let missed = loop {
        match idle.recv().await {
            Some(Event::Missed(n)) => break n,
            Some(_) => heard += 1,
            None => panic!("the store is open"),
        }
    };
    assert_eq!((heard, missed), (1024, 100_000 - 1024));
}

/// A capacity of zero is one.
#[tokio::test(start_paused = true)]
async fn there_is_always_room_for_one() {
    let store = open().await;
    let mut events = store.events().capacity(0);
    write(&store, 0..1).await;
    assert_eq!(events.recv().await, Some(written(0)));
}

/// A listener's waker is its user's code.
#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_harms_nobody() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker of a test");
        }
    }
    let store = open().await;
    let mut events = store.events();
    let waker = Waker::from(Arc::new(Panics));
    assert!(
        events
            .poll_next_unpin(&mut Context::from_waker(&waker))
            .is_pending()
    );
    write(&store, 0..1).await;
    assert_eq!(events.recv().await, Some(written(0)));
    assert_eq!(store.stats().await.unwrap().resets, 0);
}

/// A listener may be dropped while it is being woken.
#[tokio::test(start_paused = true)]
async fn a_waker_that_drops_its_listener_is_no_deadlock() {
    struct Drops(std::sync::Mutex<Option<Events>>);
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let store = open().await;
    let mut events = store.events();
    let drops = Arc::new(Drops(std::sync::Mutex::default()));
    let waker = Waker::from(drops.clone());
    assert!(
        events
            .poll_next_unpin(&mut Context::from_waker(&waker))
            .is_pending()
    );
    *drops.0.lock().unwrap() = Some(events);
    write(&store, 0..2).await;
    assert!(drops.0.lock().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_actor_hears_of_events_until_the_store_is_closed() {
    let store = open().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    store
        .events()
        .send_to(Listener::spawn(Listener(sender)).recipient());
    write(&store, 0..2).await;
    store.close().await.unwrap();
    assert_eq!(heard.recv().await, Some(written(0)));
    assert_eq!(heard.recv().await, Some(written(1)));
    // With the store the last reference to the actor goes, and the actor with it.
    assert_eq!(heard.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_has_ended_is_no_listener_any_more() {
    let store = open().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let audit = Listener::spawn(Listener(sender));
    store.events().send_to(audit.clone().recipient());
    audit.stop_gracefully().await.unwrap();
    audit.wait_for_shutdown().await;
    write(&store, 0..1).await;
    assert_eq!(heard.recv().await, None);
}
