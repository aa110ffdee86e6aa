//! A loader, a model or an error that panics harms those who wait for that very load, and nobody else.

use std::future::{IntoFuture, Ready, pending, ready};
use std::panic::{AssertUnwindSafe, panic_any};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use cachestore::{Codec, Config, Error, LoadError, Loaded, Origin, Store};
use futures_util::FutureExt;
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use tokio::task::JoinHandle;

use crate::loads::{Loaders, settled};
use crate::support::{ms, open, secs};

/// What nobody should wait for.
const LONG: Duration = secs(20);

/// Panics when it is dropped, but not while another panic unwinds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BadDrop;

impl Drop for BadDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in Drop");
        }
    }
}

#[derive(Debug, Deserialize)]
struct BadSerialize;

impl Serialize for BadSerialize {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in Serialize");
    }
}

#[derive(Debug, Serialize)]
struct BadDeserialize;

impl<'de> Deserialize<'de> for BadDeserialize {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("in Deserialize");
    }
}

/// A store with room for few loads, so that one that is left behind is noticed, and others who use it.
struct Scene {
    store: Store,
    loaders: Loaders,
    beside: JoinHandle<Result<Loaded<u32>, LoadError<String>>>,
}

impl Scene {
    async fn new(codec: Codec) -> Self {
        let store = open(Config::memory().codec(codec).max_loads(6).max_load_waiters(40)).await;
        let loaders = Loaders::new();
        let beside = tokio::spawn({
            let (store, held) = (store.clone(), loaders.held(1));
            async move { store.get_or_load("beside", held).outcome().await }
        });
        loaders.called(1).await;
        Self {
            store,
            loaders,
            beside,
        }
    }

    /// A caller's time may end just before that of the loader, whose load others join until then.
    async fn all_have_failed(&self) {
        loop {
            let stats = self.store.stats().await.unwrap();
            // All but the one beside.
            if stats.load_failures == stats.loads - 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The key can be loaded at once, another load goes on, and no actor has noticed.
    async fn end_unharmed(self) {
        for n in 0..5 {
            let load = self
                .store
                .get_or_load("k", || async { Ok::<_, String>("fine".to_owned()) });
            let loaded = soon(load.into_future()).await.expect("the key can be loaded");
            assert_eq!(loaded, "fine");
            let other = self
                .store
                .get_or_load(format!("other{n}"), move || async move { Ok::<_, String>(n) });
            assert_eq!(soon(other.into_future()).await.unwrap(), n);
        }
        self.loaders.let_go(1);
        let beside = soon(self.beside).await.unwrap().unwrap();
        assert_eq!((beside.value, beside.origin), (1, Origin::Loaded));
        assert_eq!(self.store.stats().await.unwrap().resets, 0);
        soon(self.store.close()).await.unwrap();
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(LONG / 2, future).await;
    within.expect("nobody waits for ever")
}

async fn scenes(scene: impl AsyncFn(&Scene)) {
    for codec in [Codec::MessagePack, Codec::Json] {
        let here = Scene::new(codec).await;
        // Often enough that whatever is left behind leaves no room.
        for _ in 0..10 {
            scene(&here).await;
            settled().await;
        }
        here.end_unharmed().await;
    }
}

/// The words of a panic, if a future panics.
async fn panic_of<T>(future: impl Future<Output = T>) -> Option<String> {
    let panic = AssertUnwindSafe(future).catch_unwind().await.err()?;
    panic.downcast_ref::<&str>().map(|words| (*words).to_owned())
}

/// Has a key loaded by two callers, and both told of the same error.
async fn fails_for_all<T, F, Fut>(
    scene: &Scene,
    timeout: Duration,
    load: impl Fn() -> F,
    expected: fn(&LoadError<String>) -> bool,
) where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, String>> + Send + 'static,
{
    let call = || {
        let (store, load) = (scene.store.clone(), load());
        tokio::spawn(async move {
            let ended = store.get_or_load("k", load).timeout(timeout).await;
            ended.map(std::mem::forget)
        })
    };
    for caller in [call(), call()] {
        let told = soon(caller)
            .await
            .expect("no panic reaches a caller")
            .unwrap_err();
        assert!(expected(&told), "{told:?}");
    }
}

fn panicked(error: &LoadError<String>) -> bool {
    matches!(error, LoadError::Panicked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_call_of_the_loader() {
    fn panics() -> Ready<Result<u8, String>> {
        panic!("in the call")
    }
    scenes(async |scene| fails_for_all(scene, LONG, || panics, panicked).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_loader() {
    let load = || {
        || async {
            tokio::task::yield_now().await;
            if true {
                panic!("in the loader");
            }
            Ok(1_u8)
        }
    };
    scenes(async |scene| fails_for_all(scene, LONG, load, panicked).await).await;
}

/// Even what it panicked with panics when it is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_words_that_panic_too() {
    let load = || {
        || async {
            if true {
                panic_any(BadDrop);
            }
            Ok(1_u8)
        }
    };
    scenes(async |scene| fails_for_all(scene, LONG, load, panicked).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_drop_of_a_loader_that_was_called() {
    let load = || {
        let bad = BadDrop;
        move || {
            let _bad = bad;
            ready(Ok(1_u8))
        }
    };
    scenes(async |scene| fails_for_all(scene, LONG, load, panicked).await).await;
}

/// Who only joins, stays or goes with its loader, and has its panic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_drop_of_a_loader_that_was_never_called() {
    scenes(async |scene| {
        let gone = Loaders::new();
        let lead = tokio::spawn({
            let (store, held) = (scene.store.clone(), gone.held(7_u32));
            async move { store.get_or_load("led", held).await }
        });
        gone.called(1).await;
        let joiner = || {
            let (store, bad) = (scene.store.clone(), BadDrop);
            let load = move || {
                let _bad = bad;
                ready(Ok::<u32, String>(1))
            };
            tokio::spawn(async move { store.get_or_load("led", load).await })
        };
        let (joined, goes, goes_at_once) = (joiner(), joiner(), joiner());
        goes_at_once.abort();
        settled().await;
        goes.abort();
        gone.let_go(1);
        assert_eq!(soon(lead).await.unwrap().unwrap(), 7);
        for joiner in [joined, goes, goes_at_once] {
            assert!(soon(joiner).await.map_or(true, |joined| joined.unwrap() == 7));
        }
        scene.store.delete("led").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_drop_of_a_loader_that_takes_too_long() {
    let load = || {
        || async {
            let _bad = BadDrop;
            pending::<Result<u8, String>>().await
        }
    };
    let late = |error: &LoadError<String>| matches!(error, LoadError::Timeout | LoadError::Panicked);
    scenes(async |scene| {
        fails_for_all(scene, ms(50), load, late).await;
        soon(scene.all_have_failed()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_drop_of_a_loader_that_is_stopped() {
    for _ in 0..10 {
        let scene = Scene::new(Codec::Json).await;
        let waiting = tokio::spawn({
            let (store, began) = (scene.store.clone(), scene.loaders.runs(ready(Ok(()))));
            async move {
                let load = store.get_or_load("k", move || async move {
                    let _bad = BadDrop;
                    began().await?;
                    pending::<Result<u8, String>>().await
                });
                load.await
            }
        });
        scene.loaders.called(2).await;
        soon(scene.store.close()).await.unwrap();
        let closed = soon(waiting).await.unwrap();
        assert!(
            matches!(closed, Err(LoadError::Store(Error::Closed))),
            "{closed:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_serialize() {
    let load = || || async { Ok(BadSerialize) };
    scenes(async |scene| fails_for_all(scene, LONG, load, panicked).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_drop_of_the_value() {
    let load = || || async { Ok(BadDrop) };
    scenes(async |scene| fails_for_all(scene, LONG, load, panicked).await).await;
}

/// It is each caller's own: the value is stored, and others can read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_deserialize() {
    scenes(async |scene| {
        let gone = Loaders::new();
        let lead = tokio::spawn({
            let (store, held) = (scene.store.clone(), gone.held("text".to_owned()));
            async move { store.get_or_load("led", held).await }
        });
        gone.called(1).await;
        let join = async || {
            let load = || async { Ok::<_, String>(BadDeserialize) };
            drop(scene.store.get_or_load("led", load).await);
        };
        let (joined, ()) = tokio::join!(panic_of(soon(join())), async {
            settled().await;
            gone.let_go(1);
        });
        assert_eq!(joined.unwrap(), "in Deserialize");
        assert_eq!(soon(lead).await.unwrap().unwrap(), "text");
        assert_eq!(panic_of(soon(join())).await.unwrap(), "in Deserialize");
        assert_eq!(
            scene.store.get_model::<String>("led").await.unwrap().unwrap(),
            "text"
        );
        scene.store.delete("led").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_ttl_for() {
    scenes(async |scene| {
        let load = scene.store.get_or_load("k", || async { Ok::<_, String>(1) });
        let failed = soon(load.ttl_for(|_| panic!("in ttl_for")).into_future()).await;
        assert!(matches!(failed, Err(LoadError::Panicked)), "{failed:?}");
    })
    .await;
}

/// An error is dropped by whoever had it last; who could not even be shown it is none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_drop_of_an_error() {
    scenes(async |scene| {
        let gone = Loaders::new();
        let lead = tokio::spawn({
            let (store, held) = (scene.store.clone(), gone.held(()));
            async move {
                let load = store.get_or_load("k", move || async move {
                    let _ = held().await;
                    Err::<u8, _>(BadDrop)
                });
                drop(load.await);
            }
        });
        gone.called(1).await;
        let other = tokio::spawn({
            let store = scene.store.clone();
            async move { store.get_or_load("k", || async { Ok::<u8, String>(1) }).await }
        });
        settled().await;
        lead.abort();
        let _ = lead.await;
        gone.let_go(1);
        let other = soon(other).await.expect("another's error is not its to drop");
        assert!(
            matches!(other, Err(LoadError::Store(Error::Unavailable(_))) | Ok(1)),
            "{other:?}"
        );
        scene.store.delete("k").await.unwrap();
    })
    .await;
}

/// A caller is woken by its own waker: the others in its line are answered all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_waker_of_a_caller() {
    struct BadWaker;
    impl Wake for BadWaker {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    scenes(async |scene| {
        let gone = Loaders::new();
        let call = || Box::pin(scene.store.get_or_load("led", gone.held(7_u32)).into_future());
        let mut first = call();
        // As far as to where it waits for the load.
        while gone.calls() == 0 {
            assert!((&mut first).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        let waker = Waker::from(Arc::new(BadWaker));
        assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut others = [call(), call()];
        for _ in 0..100 {
            for other in &mut others {
                assert!(other.now_or_never().is_none());
            }
            tokio::task::yield_now().await;
        }
        gone.let_go(1);
        for other in others {
            assert_eq!(soon(other).await.unwrap(), 7);
        }
        let polled = soon(first).await;
        assert_eq!(polled.unwrap(), 7, "and so is the one who was not woken");
        scene.store.delete("led").await.unwrap();
    })
    .await;
}
