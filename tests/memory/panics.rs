//! Code of the caller that panics harms its caller only.
//!
//! Faults of the engine itself cannot be caused from outside; the unit tests of `memory` cover them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use cachestore::{Codec, Config, LoadError, Store, Value};
use futures_util::FutureExt;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};
use tokio::task::JoinHandle;

/// Panics wherever user code runs.
#[derive(Debug)]
struct Hostile;

impl Serialize for Hostile {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in Serialize");
    }
}

impl<'de> Deserialize<'de> for Hostile {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("in Deserialize");
    }
}

/// A model whose halves are fine, and whose drop is not.
#[derive(Debug, Deserialize)]
struct DropsBadly(#[expect(dead_code, reason = "it only has to be there")] u8);

impl Drop for DropsBadly {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in Drop");
        }
    }
}

/// Bytes whose owner panics when they are converted, and when it is dropped.
struct BadBytes;

impl From<BadBytes> for Value {
    fn from(_: BadBytes) -> Self {
        panic!("in Into<Value>");
    }
}

struct BadKey;

impl AsRef<str> for BadKey {
    fn as_ref(&self) -> &str {
        panic!("in AsRef");
    }
}

/// Other callers, who must not notice.
struct Others {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Others {
    fn new(store: &Store) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                let mut rounds = 0;
                while !stop.load(Relaxed) || rounds < 100 {
                    assert_eq!(store.incr("others", 1).await.unwrap(), rounds as i64 + 1);
                    rounds += 1;
                    tokio::task::yield_now().await;
                }
                rounds
            }
        });
        Self { stop, task }
    }

    async fn noticed_nothing(self, store: &Store) {
        self.stop.store(true, Relaxed);
        let rounds = self.task.await.expect("no other caller panics");
        assert_eq!(
            store.get_string("others").await.unwrap(),
            Some(rounds.to_string())
        );
        assert_eq!(store.stats().await.unwrap().resets, 0, "the engine never noticed");
    }
}

/// Whether a future panics, and with which words.
async fn panics<T>(future: impl Future<Output = T>) -> String {
    let Err(panic) = AssertUnwindSafe(future).catch_unwind().await else {
        panic!("it did not panic");
    };
    panic
        .downcast_ref::<&str>()
        .copied()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_user_code_is_the_callers_own() {
    for codec in [Codec::MessagePack, Codec::Json] {
        let store = Store::open(Config::memory().codec(codec)).await.unwrap();
        let others = Others::new(&store);
        store.set_model("number", &7_u8).await.unwrap();
        for _ in 0..50 {
            let set_model = async || store.set_model("k", &Hostile).await;
            assert_eq!(panics(set_model()).await, "in Serialize");
            let set_models = async || store.set_models([("fine", &Hostile), ("k", &Hostile)]).await;
            assert_eq!(panics(set_models()).await, "in Serialize");
            assert_eq!(
                panics(store.get_model::<Hostile>("number")).await,
                "in Deserialize"
            );
            assert_eq!(
                panics(store.get_models::<Hostile>(["number"])).await,
                "in Deserialize"
            );
            let dropped = async || drop(store.get_model::<DropsBadly>("number").await);
            assert_eq!(panics(dropped()).await, "in Drop");
            let set = async || store.set("k", BadBytes).await;
            assert_eq!(panics(set()).await, "in Into<Value>");
            assert_eq!(panics(store.get(BadKey)).await, "in AsRef");
            let load = async || {
                store
                    .get_or_load("number", || async { Ok::<_, ()>(Hostile) })
                    .await
            };
            assert_eq!(panics(load()).await, "in Deserialize");
            let load = async || store.get_or_load(BadKey, || async { Ok::<_, ()>(1) }).await;
            assert_eq!(panics(load()).await, "in AsRef");
            let loaded = store.get_or_load("k", || async { Ok::<_, ()>(Hostile) }).await;
            assert!(
                matches!(loaded, Err(LoadError::Panicked)),
                "the loader's task is no caller"
            );
            let many = ["a", "b"]
                .into_iter()
                .map(|key| if key == "b" { panic!("in an iterator") } else { key });
            assert_eq!(panics(store.delete_many(many)).await, "in an iterator");
        }
        assert!(!store.exists("k").await.unwrap(), "nothing was written");
        assert_eq!(
            store.get_model::<u8>("number").await.unwrap(),
            Some(7),
            "nothing was lost"
        );
        others.noticed_nothing(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_between_its_calls_takes_nothing_with_it() {
    let store = Store::open(Config::memory()).await.unwrap();
    let others = Others::new(&store);
    for n in 0..100 {
        let store = store.clone();
        let task = tokio::spawn(async move {
            store.set(format!("k{n}"), "v").await.unwrap();
            // Futures that are under way are dropped by the unwinding.
            let mut under_way: Vec<_> = (0..20).map(|_| store.incr("n", 1).into_future()).collect();
            for future in &mut under_way {
                let _ = future.now_or_never();
            }
            panic!("in a task");
        });
        assert!(task.await.unwrap_err().is_panic());
    }
    let kept = store.get_many((0..100).map(|n| format!("k{n}"))).await.unwrap();
    assert!(kept.iter().all(Option::is_some), "what was acknowledged is there");
    assert_eq!(
        store.incr("n", 0).await.unwrap(),
        2_000,
        "what was sent is carried out, once"
    );
    others.noticed_nothing(&store).await;
}

#[tokio::test]
async fn a_waker_that_panics_harms_nobody_else() {
    use std::task::{Context, Wake, Waker};

    struct BadWaker;
    impl Wake for BadWaker {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }

    // All reads ask the engine.
    let store = Store::open(Config::memory()).await.unwrap().without_near_cache();
    store.set("k", "v").await.unwrap();
    for _ in 0..20 {
        // The engine answers into this future, and wakes whoever polled it last.
        let mut asked = Box::pin(store.get("k"));
        let waker = Waker::from(Arc::new(BadWaker));
        assert!(asked.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let behind = store.get("k").await.unwrap();
        assert_eq!(behind.as_deref(), Some(&b"v"[..]), "whoever is behind is served");
        assert_eq!(
            asked.await.unwrap().as_deref(),
            Some(&b"v"[..]),
            "and so is the one who was not woken"
        );
    }
    assert_eq!(store.stats().await.unwrap().resets, 0);
}
