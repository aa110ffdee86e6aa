//! Futures that are dropped, and requests that wait: nobody else notices, and every wait has an end.
//!
//! On a runtime of one thread the engine serves nothing between two polls of a test that does not
//! yield, so each test knows what is in the queue.

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use cachestore::{Config, Error, Phase, Store};
use futures_util::{FutureExt, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout};

use crate::support::{keys, memory, ms, open, secs};

/// Polls once, and drops what is not ready.
fn poll_and_drop<T>(future: impl IntoFuture<Output = T>) -> Option<T> {
    future.into_future().now_or_never()
}

/// Polls once, and keeps the future.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A store whose engine is not served: its runtime stands still until it is dropped.
fn stalled(config: Config) -> (Runtime, Store) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let store = runtime.block_on(async {
        let store = open(config).await;
        store.ping().await.unwrap();
        store
    });
    (runtime, store)
}

#[tokio::test]
async fn what_is_never_polled_does_nothing() {
    let store = memory().await;
    store.set_many([("a", "1"), ("b", "2")]).await.unwrap();
    drop(store.set("a", "new"));
    drop(store.set("a", "new").into_future());
    drop(store.add("c", "new").into_future());
    drop(store.replace("a", "new").into_future());
    drop(store.compare_and_set("a", "1", "new").into_future());
    drop(store.set_many([("a", "new"), ("c", "new")]).into_future());
    drop(store.set_model("a", &1).into_future());
    drop(store.take("a"));
    drop(store.delete("a"));
    drop(store.delete_many(["a"]));
    drop(store.expire("a", secs(1)));
    drop(store.incr("a", 1).into_future());
    drop(store.add_model("c", &1).into_future());
    drop(store.compare_and_set_model("a", &1, &2).into_future());
    drop(store.update_model("a", |_: Option<u8>| None).into_future());
    drop(store.scan_entries(""));
    drop(store.invalidate(["a"]));
    drop(store.clear());
    drop(store.close());
    drop(store.scan(""));
    assert_eq!(keys(&store, "").await, ["a", "b"]);
    assert_eq!(store.get_string("a").await.unwrap().unwrap(), "1");
    assert_eq!(store.ttl("a").await.unwrap(), Some(cachestore::Ttl::Persistent));
}

/// With room in the queue a `set` is made by its first poll.
#[tokio::test]
async fn a_set_is_ready_at_once() {
    let store = memory().await;
    assert!(matches!(poll_and_drop(store.set("k", "v")), Some(Ok(()))));
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "v");
}

/// A dropped read takes its answer with it: nobody else is given it.
#[tokio::test]
async fn dropped_reads_disturb_no_other_read() {
    // All reads ask the engine.
    let store = memory().await.without_near_cache();
    let names: Vec<String> = (0..2_000).map(|n| format!("k{n}")).collect();
    store
        .set_many(names.iter().map(|name| (name, name.as_str())))
        .await
        .unwrap();
    for round in 0..10 {
        let mut kept = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let mut get = Box::pin(store.get(name));
            let polled = poll(get.as_mut());
            assert!(polled.is_pending(), "the engine cannot have answered yet");
            if (n + round) % 3 == 0 {
                kept.push((name, get));
            }
        }
        for (name, get) in kept {
            assert_eq!(get.await.unwrap().unwrap(), *name);
        }
    }
    assert_eq!(store.stats().await.unwrap().misses, 0);
}

/// Tasks that are aborted wherever they stand, among others that count.
#[tokio::test]
async fn aborted_tasks_disturb_no_other_task() {
    let store = open(Config::memory().queue_length(4)).await;
    let mut counting = Vec::new();
    for n in 0..200 {
        let store = store.clone();
        let task = tokio::spawn(async move {
            for step in 1..=20 {
                assert_eq!(store.incr(format!("n{n}"), 1).await.unwrap(), step);
                store.set(format!("k{n}"), format!("{n}-{step}")).await.unwrap();
                let seen = store.get_string(format!("k{n}")).await.unwrap().unwrap();
                assert_eq!(seen, format!("{n}-{step}"));
            }
        });
        counting.push((n, task));
    }
    for round in 0..50 {
        tokio::task::yield_now().await;
        counting[round * 4 + 1].1.abort();
    }
    for (n, task) in counting {
        match task.await {
            Ok(()) => assert_eq!(store.incr(format!("n{n}"), 0).await.unwrap(), 20),
            Err(error) => assert!(error.is_cancelled() && n % 4 == 1, "{n}: {error:?}"),
        }
    }
}

/// A change that was polled and dropped is carried out whole or not at all.
#[tokio::test]
async fn a_dropped_change_is_whole_or_nothing() {
    let store = memory().await;
    for n in 0..500 {
        let key = format!("n{n}");
        store
            .set(&key, "1")
            .ttl(secs(60))
            .depends_on(["u"])
            .await
            .unwrap();
        poll_and_drop(store.incr(&key, 1));
        poll_and_drop(
            store
                .compare_and_set(&key, "2", "3")
                .ttl(secs(60))
                .depends_on(["u"]),
        );
        let seen = store.get_string(&key).await.unwrap().unwrap();
        assert!(["1", "2", "3"].contains(&&*seen), "{seen}");
    }
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 500);
}

#[tokio::test]
async fn a_write_dropped_while_the_queue_is_full_is_not_made() {
    let store = open(Config::memory().queue_length(1)).await;
    for _ in 0..100 {
        store.set("first", "v").await.unwrap();
        assert!(
            poll_and_drop(store.set("dropped", "v")).is_none(),
            "the queue has no room"
        );
        assert!(poll_and_drop(store.add("dropped", "v")).is_none());
        assert!(poll_and_drop(store.incr("dropped", 1)).is_none());
        assert!(poll_and_drop(store.delete("first")).is_none());
        assert!(poll_and_drop(store.get("first")).is_none());
        assert_eq!(keys(&store, "").await, ["first"]);
    }
}

/// Whoever came first goes first, and those who left are not waited for.
#[tokio::test]
async fn waiting_writes_enter_in_order() {
    let store = open(Config::memory().queue_length(1)).await;
    store.set("fills", "v").await.unwrap();
    let mut waiting = Vec::new();
    for n in 0..50 {
        let mut set = Box::pin(store.set("k", n.to_string()).into_future());
        assert!(poll(set.as_mut()).is_pending());
        waiting.push((n, set));
    }
    waiting.retain(|(n, _)| n % 5 != 4);
    let writes = futures_util::future::join_all(waiting.into_iter().map(|(_, set)| set));
    for outcome in writes.await {
        outcome.unwrap();
    }
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "48");
    assert_eq!(store.stats().await.unwrap().sets, 41);
}

/// A write of many, dropped on its way, has written the first of its entries or none.
#[tokio::test]
async fn a_dropped_write_of_many_has_written_the_first_of_them() {
    let entries = || (0..9_000).map(|n| (format!("k{n:04}"), "v"));
    let mut partial = false;
    for polls in 0..5 {
        let store = open(Config::memory().queue_length(1)).await;
        {
            let mut many = pin!(store.set_many(entries()).into_future());
            for _ in 0..polls {
                let polled = poll(many.as_mut());
                assert!(polled.is_pending(), "the queue cannot hold it all");
                tokio::task::yield_now().await;
            }
        }
        let written = keys(&store, "").await;
        let first: Vec<String> = entries().map(|(key, _)| key).take(written.len()).collect();
        assert_eq!(written, first);
        partial |= !written.is_empty();
    }
    assert!(partial, "none of them got that far");
}

#[tokio::test]
async fn a_scan_dropped_while_it_waits_disturbs_nobody() {
    let store = open(Config::memory().queue_length(1)).await;
    store
        .set_many((0..2_000).map(|n| (format!("k{n}"), "v")))
        .await
        .unwrap();
    for taken in 0..5 {
        let mut scan = store.scan("");
        for _ in 0..taken * 300 {
            scan.next().await.unwrap().unwrap();
        }
        drop(scan.next().now_or_never());
    }
    assert_eq!(keys(&store, "").await.len(), 2_000);
}

#[tokio::test]
async fn bytes_that_wait_are_bounded() {
    let store = open(Config::memory().queue_bytes(1_000)).await;
    store.set("a", vec![0; 900]).await.unwrap();
    assert!(
        poll_and_drop(store.set("b", vec![0; 900])).is_none(),
        "900 bytes wait already"
    );
    assert!(
        matches!(poll_and_drop(store.set("small", "v")), Some(Ok(()))),
        "small ones are not counted"
    );
    store.set("c", vec![0; 900]).await.unwrap();
    assert_eq!(keys(&store, "").await, ["a", "c", "small"]);
}

/// Room in the queue comes back, whether its request was served or given up.
#[tokio::test]
async fn no_room_in_the_queue_is_lost() {
    let store = open(
        Config::memory()
            .queue_bytes(1_000)
            .queue_length(3)
            .request_timeout(secs(60)),
    )
    .await;
    for n in 0..500 {
        for size in [900, 500, 0, 5_000, 400] {
            poll_and_drop(store.set(format!("dropped{size}"), vec![0; size]));
            poll_and_drop(store.get("k".repeat(900)));
        }
        if n % 50 == 0 {
            // More than the queue has room for goes alone.
            store.set("huge", vec![0; 20_000]).await.unwrap();
            assert_eq!(store.get("huge").await.unwrap().unwrap().len(), 20_000);
        }
    }
    for _ in 0..3 {
        store.set("k", vec![0; 1_000]).await.unwrap();
    }
    assert_eq!(store.stats().await.unwrap().queue_depth, 0);
}

/// A runtime of callers, apart from that of the store.
fn in_paused_time() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// An engine that does not serve makes its callers wait, but not longer than they said.
#[test]
fn a_full_queue_is_waited_for_until_the_request_timeout() {
    let (runtime, store) = stalled(Config::memory().queue_length(1).request_timeout(ms(500)));
    let callers = in_paused_time();
    callers.block_on(async {
        store.set("fills", "v").await.unwrap();
        macro_rules! times_out {
            ($($call:expr),+ $(,)?) => {$(
                let began = Instant::now();
                let outcome = $call.await.map(drop);
                assert!(matches!(outcome, Err(Error::Timeout { phase: Phase::Queue })), "{outcome:?}");
                assert!(began.elapsed() >= ms(500) && began.elapsed() < ms(510), "{:?}", began.elapsed());
                assert!(outcome.unwrap_err().is_retryable());
            )+};
        }
        times_out! {
            store.set("k", "v"),
            store.add("k", "v"),
            store.set_many([("k", "v")]),
            store.get("k"),
            store.delete("k"),
            store.incr("k", 1),
            store.counter("k"),
            store.update_model("k", |old: Option<u8>| old),
            store.compare_and_set_model("k", &1, &2),
            store.add_model("k", &1),
            store.invalidate(["k"]),
            store.clear(),
            store.ping(),
            store.stats(),
        }
        let mut scan = store.scan("");
        assert!(matches!(
            scan.next().await,
            Some(Err(Error::Timeout { phase: Phase::Queue }))
        ));
    });
    runtime.block_on(async { assert_eq!(keys(&store, "").await, ["fills"], "what timed out was not made") });
}

#[test]
fn bytes_in_the_queue_are_waited_for_until_the_request_timeout() {
    let (_runtime, store) = stalled(Config::memory().queue_bytes(1_000).request_timeout(ms(500)));
    let callers = in_paused_time();
    callers.block_on(async {
        store.set("fills", vec![0; 900]).await.unwrap();
        let outcome = store.set("k", vec![0; 900]).await;
        assert!(
            matches!(outcome, Err(Error::Timeout { phase: Phase::Queue })),
            "{outcome:?}"
        );
        store.set("small", "v").await.unwrap();
    });
}

/// Every call ends by its `request_timeout`, also when its request is in the queue.
#[test]
fn an_answer_is_waited_for_until_the_request_timeout() {
    let (_runtime, store) = stalled(Config::memory().request_timeout(ms(500)));
    let callers = in_paused_time();
    callers.block_on(async {
        macro_rules! times_out {
            ($($call:expr),+ $(,)?) => {$(
                let outcome = match timeout(secs(60), $call.into_future()).await {
                    Ok(outcome) => outcome.map(drop),
                    Err(_) => panic!("{} does not end", stringify!($call)),
                };
                assert!(matches!(outcome, Err(Error::Timeout { phase: Phase::Reply })), "{outcome:?}");
            )+};
        }
        times_out! {
            store.ping(),
            store.stats(),
            store.get("k"),
            store.get_many(["k"]),
            store.close(),
        }
    });
}

/// A change in the queue is made, although its caller stops waiting: making it again would make it twice.
#[test]
fn a_change_that_is_not_answered_in_time_is_of_unknown_outcome() {
    let (runtime, store) = stalled(Config::memory().request_timeout(ms(500)));
    let callers = in_paused_time();
    callers.block_on(async {
        macro_rules! is_unknown {
            ($($call:expr),+ $(,)?) => {$(
                let began = Instant::now();
                let outcome = $call.await.map(drop);
                assert!(matches!(outcome, Err(Error::OutcomeUnknown(_))), "{}: {outcome:?}", stringify!($call));
                assert!(began.elapsed() >= ms(500) && began.elapsed() < ms(510), "{:?}", began.elapsed());
                assert!(!outcome.unwrap_err().is_retryable());
            )+};
        }
        is_unknown! {
            store.clear(),
            store.invalidate(["n"]),
            store.clear().timeout(ms(500)),
            store.invalidate(["n"]).on_progress(drop),
            store.add("k", "v"),
            store.add_model("model", &1),
            store.take("k"),
            store.delete("k"),
            store.delete_many(["k"]),
            store.swap("k", "v"),
            store.expire("k", secs(1)),
            store.incr("n", 1),
        }
    });
    runtime.block_on(async { assert_eq!(store.counter("n").await.unwrap(), Some(1)) });
}

/// Whoever waits when the engine's runtime ends waits no longer, nor does anybody who comes later.
#[test]
fn every_call_ends_with_the_runtime_of_its_engine() {
    let (runtime, store) = stalled(Config::memory().queue_length(2).request_timeout(secs(3600)));
    let callers = Builder::new_current_thread().enable_time().build().unwrap();
    callers.block_on(async {
        let mut answer = pin!(store.get("k"));
        assert!(poll(answer.as_mut()).is_pending());
        store.set("fills", "v").await.unwrap();
        let mut room = pin!(store.set("k", "v").into_future());
        assert!(poll(room.as_mut()).is_pending());
        runtime.shutdown_background();
        macro_rules! closed {
            ($($name:literal: $call:expr),+ $(,)?) => {$(
                match timeout(secs(10), $call).await {
                    Ok(outcome) => {
                        let outcome = outcome.map(drop);
                        assert!(matches!(outcome, Err(Error::Closed)), "{}: {outcome:?}", $name);
                    }
                    Err(_) => panic!("{} does not end", $name),
                }
            )+};
        }
        closed! {
            "a get that waits": answer,
            "a set that waits": room,
            "a get": store.get("k"),
            "a set": store.set("k", "v").into_future(),
            "a ping": store.ping(),
            "a clear": store.clear(),
        }
    });
}

/// There is nothing left to close, so there is nothing to wait for.
#[test]
fn a_close_after_the_runtime_of_the_engine_has_ended_does_not_wait() {
    let (runtime, store) = stalled(Config::memory().request_timeout(secs(3600)));
    drop(runtime);
    let callers = Builder::new_current_thread().enable_time().build().unwrap();
    callers.block_on(async {
        match timeout(secs(10), store.close()).await {
            Ok(outcome) => outcome.unwrap(),
            Err(_) => panic!("it waits for an engine that has gone"),
        }
    });
}

/// No time at all is the only one that cannot be waited for.
#[tokio::test]
async fn the_longest_request_timeout_is_no_overflow() {
    let store = open(
        Config::memory()
            .request_timeout(std::time::Duration::MAX)
            .queue_length(1),
    )
    .await;
    let writes = (0..50).map(|n| store.set(format!("k{n}"), vec![0; 300]).into_future());
    for outcome in futures_util::future::join_all(writes).await {
        outcome.unwrap();
    }
    store.ping().await.unwrap();
    assert_eq!(store.clear().await.unwrap(), 50);
    store.close().await.unwrap();
}
