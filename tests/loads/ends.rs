//! Stores that end while loaders run, and stores that are used from elsewhere.

use std::future::IntoFuture;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use cachestore::{Config, Error, LoadError, Loaded, Origin, Store};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::loads::{Loaders, seen, settled};
use crate::support::{memory, ms, open, secs};

const ZERO: Duration = Duration::ZERO;

async fn no_task_left() {
    let metrics = Handle::current().metrics();
    let began = tokio::time::Instant::now();
    while metrics.num_alive_tasks() > 0 {
        assert!(
            began.elapsed() < secs(5),
            "{} tasks are left",
            metrics.num_alive_tasks()
        );
        tokio::time::sleep(ms(1)).await;
    }
}

#[tokio::test]
async fn a_store_that_is_closed_ends_its_loads() {
    let (store, loaders) = (memory().await, Loaders::new());
    let call = |key: &'static str| {
        let (store, loaders) = (store.clone(), loaders.clone());
        tokio::spawn(async move {
            store
                .get_or_load(key, loaders.held(1))
                .stale_if_error(secs(9))
                .outcome()
                .await
        })
    };
    let callers = [call("a"), call("a"), call("b")];
    let many = tokio::spawn({
        let (store, loaders) = (store.clone(), loaders.clone());
        async move {
            let held = loaders.held(1);
            let load = |_| async { held().await.map(|one| [("c".to_owned(), one)].into()) };
            store.get_or_load_many(["a", "c"], load).await
        }
    });
    loaders.called(3).await;
    settled().await;
    store.close().await.unwrap();
    for caller in callers {
        let closed = caller.await.unwrap();
        assert!(
            matches!(closed, Err(LoadError::Store(Error::Closed))),
            "{closed:?}"
        );
    }
    let closed = many.await.unwrap();
    assert!(
        matches!(closed, Err(LoadError::Store(Error::Closed))),
        "{closed:?}"
    );
    assert_eq!((loaders.calls(), loaders.cut_off()), (3, 3));
    let closed = store.get_or_load("a", loaders.at_once(1)).outcome().await;
    assert!(
        matches!(closed, Err(LoadError::Store(Error::Closed))),
        "{closed:?}"
    );
    assert_eq!(loaders.calls(), 3);
    drop(store);
    no_task_left().await;
}

#[tokio::test]
async fn a_store_that_is_dropped_ends_its_loads() {
    let loaders = Loaders::new();
    let store = memory().await;
    let load = store.get_or_load("k", loaders.held(1)).into_future();
    assert!(tokio::time::timeout(ms(50), load).await.is_err());
    assert_eq!(loaders.calls(), 1);
    drop(store);
    loaders.ended(1).await;
    assert_eq!(loaders.cut_off(), 1);
    no_task_left().await;
}

/// The last handle of all is the loader's own.
#[tokio::test]
async fn a_loader_that_holds_the_store_keeps_it_until_its_end() {
    for timeout in [ms(100), secs(60)] {
        let (store, loaders) = (memory().await, Loaders::new());
        let inner = store.clone();
        let (began, end) = (loaders.held(()), loaders.clone());
        let holds = loaders.runs(async move {
            began().await?;
            let set = inner
                .set("by the loader", "v")
                .await
                .map_err(|error| error.to_string());
            set.map(|()| 1)
        });
        let load = store.get_or_load("k", holds).timeout(timeout).into_future();
        assert!(tokio::time::timeout(ms(20), load).await.is_err());
        assert_eq!(loaders.calls(), 2);
        drop(store);
        settled().await;
        assert_eq!(loaders.cut_off(), 0, "a store that is held is open");
        if timeout > secs(1) {
            end.let_go(1);
        }
        loaders.ended(2).await;
        assert_eq!(loaders.cut_off(), if timeout > secs(1) { 0 } else { 2 });
        no_task_left().await;
    }
}

#[tokio::test]
async fn a_loader_that_closes_the_store_ends_with_it() {
    let (store, loaders) = (memory().await, Loaders::new());
    let inner = store.clone();
    let closes = loaders.runs(async move {
        let _ = inner.close().await;
        Ok(1)
    });
    let closed = tokio::time::timeout(secs(4), store.get_or_load("k", closes)).await;
    let closed = closed.expect("in time");
    assert!(
        matches!(closed, Err(LoadError::Store(Error::Closed))),
        "{closed:?}"
    );
    drop(store);
    no_task_left().await;
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Awaits on a thread of its own, without any runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

type Outcome = Result<Loaded<u32>, LoadError<String>>;

#[test]
fn a_store_is_used_from_other_runtimes_and_from_none() {
    let home = two_threads();
    let store = home.block_on(memory());
    let loaders = Loaders::new();
    let id = home.handle().id();
    let at_home = || loaders.runs(async move { Ok(u32::from(Handle::current().id() == id)) });
    let abroad = Builder::new_current_thread().enable_all().build().unwrap();
    let there = abroad.block_on(store.get_or_load("there", at_home()).outcome());
    assert_eq!(
        seen(there),
        (1, Origin::Loaded, ZERO),
        "a loader runs where the store was opened"
    );
    let late = abroad.block_on(
        store
            .get_or_load("late", loaders.held(1))
            .timeout(ms(50))
            .outcome(),
    );
    assert!(matches!(late, Err(LoadError::Timeout)), "{late:?}");
    let nowhere = block_on(store.get_or_load("nowhere", at_home()).outcome());
    assert_eq!(seen(nowhere), (1, Origin::Loaded, ZERO));
    let late: Outcome = block_on(
        store
            .get_or_load("late", loaders.held(1))
            .timeout(ms(50))
            .outcome(),
    );
    assert!(matches!(late, Err(LoadError::Timeout)), "{late:?}");
    // One load for callers on three of them.
    let load = |store: Store, loaders: Loaders| async move {
        store.get_or_load("shared", loaders.held(5)).outcome().await
    };
    let before = loaders.calls();
    let (first, second) = (
        load(store.clone(), loaders.clone()),
        load(store.clone(), loaders.clone()),
    );
    let at_home = home.spawn(load(store.clone(), loaders.clone()));
    let without = thread::spawn(move || block_on(first));
    let with = thread::spawn(move || abroad.block_on(second));
    home.block_on(async {
        loaders.called(before + 1).await;
        tokio::time::sleep(ms(50)).await;
        loaders.let_go(1);
    });
    let all = [
        home.block_on(at_home).unwrap(),
        without.join().unwrap(),
        with.join().unwrap(),
    ];
    assert!(all.into_iter().all(|outcome| seen(outcome).0 == 5));
    assert_eq!(loaders.calls(), before + 1);
}

/// Callers without a runtime, more than the queues hold.
#[test]
fn without_a_runtime_callers_wait_for_room_too() {
    let home = Builder::new_current_thread().enable_all().build().unwrap();
    let store = home.block_on(open(Config::memory().queue_length(1)));
    let (sender, answers) = mpsc::channel();
    let callers: Vec<_> = (0..16)
        .map(|n| {
            let (store, sender) = (store.clone(), sender.clone());
            thread::spawn(move || {
                let load = store.get_or_load(format!("k{n}"), move || async move { Ok::<_, String>(n) });
                let _ = sender.send(block_on(load.into_future()).map(|value| value == n));
            })
        })
        .collect();
    drop(sender);
    // The engine and the coordinator have their turns now and then only.
    while callers.iter().any(|caller| !caller.is_finished()) {
        home.block_on(tokio::task::yield_now());
        thread::sleep(ms(1));
    }
    assert_eq!(
        answers.iter().filter(|answer| matches!(answer, Ok(true))).count(),
        16
    );
}

#[test]
fn who_waits_elsewhere_is_told_when_the_runtime_has_gone() {
    let home = two_threads();
    let store = home.block_on(memory());
    let loaders = Loaders::new();
    let load = store.get_or_load("k", loaders.held(1)).into_future();
    let waiting = thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(load));
        home.block_on(loaders.called(1));
        drop(home);
        waiting.join().unwrap()
    });
    assert!(
        matches!(waiting, Err(LoadError::Store(Error::Closed))),
        "{waiting:?}"
    );
    let after = block_on(store.get_or_load("k", loaders.held(1)).into_future());
    assert!(matches!(after, Err(LoadError::Store(Error::Closed))), "{after:?}");
    assert_eq!(loaders.cut_off(), 1);
}
