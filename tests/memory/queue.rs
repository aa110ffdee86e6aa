//! A queue that is full: calls that wait for room and are not polled hold up nobody else.

use cachestore::{Config, Store};
use futures_util::{StreamExt, poll, stream};

use crate::support::open;

const LENGTH: usize = 8;

async fn small() -> Store {
    open(Config::memory().queue_length(LENGTH)).await
}

/// While the consumer of a stream waits for one call, the stream's calls are not polled.
#[tokio::test(start_paused = true)]
async fn a_call_in_the_loop_of_a_consumer_is_served() {
    let store = small().await;
    let reads = (0..10 * LENGTH).map(|n| {
        let store = &store;
        async move { store.get(format!("k{n}")).await }
    });
    let mut reads = stream::iter(reads).buffer_unordered(10 * LENGTH);
    let mut read = 0;
    while let Some(answer) = reads.next().await {
        answer.unwrap();
        store.set("k", "v").await.unwrap();
        let other = store.clone();
        let of_another_task = tokio::spawn(async move { other.get("k").await });
        of_another_task.await.unwrap().unwrap();
        read += 1;
    }
    assert_eq!(read, 10 * LENGTH);
}

#[tokio::test(start_paused = true)]
async fn a_store_closes_while_calls_wait_that_are_not_polled() {
    let store = small().await;
    let mut reads: Vec<_> = (0..4 * LENGTH).map(|_| Box::pin(store.get("k"))).collect();
    for read in &mut reads {
        assert!(poll!(read).is_pending());
    }
    store.close().await.unwrap();
    drop(reads);
}

/// What its caller has dropped while it waited for room is not carried out.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_dropped_while_it_waits_is_not_carried_out() {
    let store = small().await;
    let mut reads: Vec<_> = (0..LENGTH).map(|_| Box::pin(store.get("k"))).collect();
    for read in &mut reads {
        assert!(poll!(read).is_pending());
    }
    let mut write = Box::pin(store.set("k", "v").into_future());
    assert!(poll!(&mut write).is_pending());
    drop(write);
    assert_eq!(store.get("k").await.unwrap(), None);
}

/// A write that waits enters the queue without its caller. It comes before every call that is made after its drop.
#[tokio::test(start_paused = true)]
async fn a_write_that_has_entered_comes_before_later_calls() {
    let store = open(Config::memory().queue_length(1)).await;
    store.set("fills", "v").await.unwrap();
    let mut write = Box::pin(store.set("k", "old").into_future());
    assert!(poll!(&mut write).is_pending());
    store.ping().await.unwrap();
    drop(write);
    assert_eq!(store.get("k").await.unwrap().unwrap(), "old");
    store.set("k", "new").await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap(), "new");
}
