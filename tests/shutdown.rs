//! However a store ends, what it has acknowledged is done, nobody waits for ever, nothing panics, and
//! no task is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails by a panic too"
)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use cachestore::{Config, Error, Store};
use futures_util::future::maybe_done;
use futures_util::poll;
use kameo::Actor;
use kameo::actor::{ActorRef, Spawn, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible};
use kameo::message::{Context, Message};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::error::Elapsed;

/// What the tests themselves panic with.
const ON_PURPOSE: &str = "on purpose";

/// Panics of anybody but the tests, in this process.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics from here on, one test at a time.
fn watch_panics() -> MutexGuard<'static, ()> {
    static WATCH: Once = Once::new();
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    WATCH.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref() != Some(&ON_PURPOSE) {
                PANICS.fetch_add(1, SeqCst);
                report(panic);
            }
        }));
    });
    PANICS.store(0, SeqCst);
    alone
}

fn assert_no_panic() {
    assert_eq!(PANICS.load(SeqCst), 0, "nothing has panicked in the background");
}

/// One of either kind.
fn runtimes() -> [Runtime; 2] {
    [
        Builder::new_current_thread().enable_all().build().unwrap(),
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap(),
    ]
}

async fn within_a_second<T>(future: impl Future<Output = T>) -> Result<T, Elapsed> {
    tokio::time::timeout(Duration::from_secs(1), future).await
}

/// Waits until this runtime has no task left.
async fn no_task_left() {
    let metrics = Handle::current().metrics();
    let ended = async {
        while metrics.num_alive_tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let left = within_a_second(ended).await;
    assert!(
        left.is_ok(),
        "{} tasks are left after a second",
        metrics.num_alive_tasks()
    );
    assert_no_panic();
}

async fn open() -> Store {
    let store = Store::open(Config::memory()).await.unwrap();
    store.set("k", "v").await.unwrap();
    store
}

#[test]
fn the_last_handle_dropped_within_the_runtime() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        runtime.block_on(async {
            let stores: Vec<_> = [open().await, open().await.namespace("n").unwrap()].into();
            let clones = stores.clone();
            drop(stores);
            assert!(clones[0].exists("k").await.unwrap(), "another handle keeps it");
            drop(clones);
            no_task_left().await;
        });
    }
}

#[test]
fn the_last_handle_dropped_before_the_engine_ever_ran() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        runtime.block_on(async {
            drop(Store::open(Config::memory()).await.unwrap());
            no_task_left().await;
        });
    }
}

#[test]
fn the_last_handle_dropped_on_a_thread_without_a_runtime() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        let store = runtime.block_on(open());
        std::thread::spawn(move || drop(store)).join().unwrap();
        runtime.block_on(no_task_left());
    }
}

#[test]
fn the_last_handle_dropped_while_unwinding() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        let store = runtime.block_on(open());
        let thread = std::thread::spawn(move || {
            let _store = store;
            std::panic::panic_any(ON_PURPOSE);
        });
        assert!(thread.join().is_err());
        runtime.block_on(no_task_left());
        runtime.block_on(async {
            let store = open().await;
            let task = tokio::spawn(async move {
                let _asked = store.get("k").await;
                std::panic::panic_any(ON_PURPOSE);
            });
            assert!(task.await.unwrap_err().is_panic());
            no_task_left().await;
        });
    }
}

#[test]
fn the_last_handle_dropped_after_its_runtime() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        let store = runtime.block_on(open());
        drop(runtime);
        drop(store);
        assert_no_panic();
    }
}

/// An actor of the application, whose state is a store.
struct Application(Store);

struct Ask;

impl Actor for Application {
    type Args = Store;
    type Error = Infallible;

    async fn on_start(store: Store, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self(store))
    }

    async fn on_stop(&mut self, _: WeakActorRef<Self>, _: ActorStopReason) -> Result<(), Infallible> {
        assert!(
            self.0
                .exists("k")
                .await
                .expect("it is open while it has a handle")
        );
        Ok(())
    }
}

impl Message<Ask> for Application {
    type Reply = Option<String>;

    async fn handle(&mut self, _: Ask, _: &mut Context<Self, Self::Reply>) -> Option<String> {
        self.0.get_string("k").await.expect("the store is open")
    }
}

#[test]
fn the_last_handle_dropped_in_an_actor() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        runtime.block_on(async {
            for kill in [false, true] {
                let actor = Application::spawn(open().await);
                assert_eq!(actor.ask(Ask).await.unwrap().as_deref(), Some("v"));
                if kill {
                    actor.kill();
                } else {
                    actor.stop_gracefully().await.unwrap();
                }
                actor.wait_for_shutdown_with_result(|_| ()).await;
                drop(actor);
                no_task_left().await;
            }
        });
    }
}

#[test]
fn every_call_on_a_store_whose_runtime_has_ended_is_closed() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        let store = runtime.block_on(open());
        drop(runtime);
        let later = Builder::new_current_thread().enable_all().build().unwrap();
        let ended = later.block_on(within_a_second(async {
            assert!(matches!(store.get("k").await, Err(Error::Closed)));
            assert!(matches!(store.set("k", "v").await, Err(Error::Closed)));
            assert!(matches!(
                store.set("large", vec![0; 1 << 20]).await,
                Err(Error::Closed)
            ));
            assert!(matches!(store.incr("n", 1).await, Err(Error::Closed)));
            assert!(matches!(store.clear().await, Err(Error::Closed)));
            assert!(matches!(store.invalidate(["k"]).await, Err(Error::Closed)));
            assert!(matches!(store.stats().await, Err(Error::Closed)));
            assert!(matches!(store.ping().await, Err(Error::Closed)));
        }));
        assert!(ended.is_ok(), "no call hangs");
        assert_no_panic();
    }
}

#[test]
fn a_store_whose_runtime_has_ended_can_be_closed() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        let store = runtime.block_on(open());
        drop(runtime);
        let later = Builder::new_current_thread().enable_all().build().unwrap();
        let closed = later.block_on(within_a_second(store.close()));
        assert!(matches!(closed, Ok(Ok(()))), "{closed:?}");
        assert_no_panic();
    }
}

#[test]
fn calls_in_flight_when_the_runtime_ends_are_closed() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        let store = runtime.block_on(open());
        let later = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let answered = Arc::new(AtomicU64::new(0));
        let callers: Vec<_> = (0..16)
            .map(|n| {
                let (store, answered) = (store.clone(), answered.clone());
                later.spawn(async move {
                    loop {
                        let outcome = match n % 4 {
                            0 => store.get("k").await.map(drop),
                            1 => store.set("k", "v").await,
                            2 => store.set("large", vec![0; 1 << 20]).await,
                            _ => store.incr("n", 1).await.map(drop),
                        };
                        match outcome {
                            Ok(()) => answered.fetch_add(1, SeqCst),
                            Err(error) => return error,
                        };
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        runtime.block_on(async {
            while answered.load(SeqCst) < 200 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        drop(runtime);
        later.block_on(async {
            for caller in callers {
                let error = within_a_second(caller).await.expect("no call hangs").unwrap();
                assert!(matches!(error, Error::Closed), "{error}");
            }
        });
        assert_no_panic();
    }
}

#[test]
fn what_was_acknowledged_before_a_close_is_done() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        runtime.block_on(async {
            for _ in 0..20 {
                let store = open().await;
                let writers: Vec<_> = (0..4)
                    .map(|writer| {
                        let store = store.clone();
                        tokio::spawn(async move {
                            let mut written = 0_i64;
                            loop {
                                match store.incr(format!("n{writer}"), 1).await {
                                    // Each answer shows that all before it were carried out, in order.
                                    Ok(sum) => assert_eq!(sum, written + 1),
                                    Err(Error::Closed) => return written,
                                    Err(error) => panic!("{error}"),
                                }
                                written += 1;
                                tokio::task::yield_now().await;
                            }
                        })
                    })
                    .collect();
                // These are in the queue before the close, so they are served before it.
                let mut sent = Vec::new();
                for _ in 0..100 {
                    let mut call = Box::pin(maybe_done(store.incr("sent", 1).into_future()));
                    let _ = poll!(&mut call);
                    sent.push(call);
                }
                store.close().await.unwrap();
                store.close().await.expect("a second close is fine");
                for (n, mut call) in sent.into_iter().enumerate() {
                    call.as_mut().await;
                    let sum = call.as_mut().take_output().unwrap();
                    assert_eq!(sum.expect("it was sent before the close"), n as i64 + 1);
                }
                for writer in writers {
                    writer.await.unwrap();
                }
                assert!(matches!(
                    store.namespace("n").unwrap().get("k").await,
                    Err(Error::Closed)
                ));
                drop(store);
                no_task_left().await;
            }
        });
    }
}

#[test]
fn a_close_that_nobody_waits_for_closes_all_the_same() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        runtime.block_on(async {
            let store = open().await;
            let _ = poll!(Box::pin(store.close()));
            let closed = async {
                while !matches!(store.get("k").await, Err(Error::Closed)) {
                    tokio::task::yield_now().await;
                }
            };
            within_a_second(closed).await.expect("it closes");
            no_task_left().await;
        });
    }
}

#[test]
fn many_close_at_once() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        runtime.block_on(async {
            let store = open().await;
            let closers: Vec<_> = (0..50)
                .map(|_| {
                    let store = store.clone();
                    tokio::spawn(async move { store.close().await })
                })
                .collect();
            for closer in closers {
                closer.await.unwrap().unwrap();
            }
            no_task_left().await;
        });
    }
}

#[test]
fn long_work_is_finished_before_the_end() {
    let _alone = watch_panics();
    for runtime in runtimes() {
        runtime.block_on(async {
            let store = open().await;
            for n in 0..5_000 {
                store
                    .set(format!("k{n}"), "v")
                    .depends_on(["name"])
                    .await
                    .unwrap();
            }
            let mut invalidated = Box::pin(maybe_done(store.invalidate(["name"]).into_future()));
            let mut cleared = Box::pin(maybe_done(store.clear().into_future()));
            let _ = (poll!(&mut invalidated), poll!(&mut cleared));
            store.close().await.unwrap();
            invalidated.as_mut().await;
            cleared.as_mut().await;
            let invalidated = invalidated.as_mut().take_output().unwrap().unwrap();
            let cleared = cleared.as_mut().take_output().unwrap().unwrap();
            assert_eq!(invalidated + cleared, 5_001, "both were sent before the close");
            no_task_left().await;
        });
    }
}
