//! Stores that are used without a runtime, from another one, and after theirs has ended.

use std::future::{Future, IntoFuture};
use std::io::Write;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use cachestore::{Config, Error, LoadOptions, Release, Store, redis};
use futures_util::TryStreamExt;
use tokio::runtime::{Builder, Runtime};

use crate::harness::{Place, RedisServer, Topology};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future on this thread, which has no runtime.
fn drive<F: Future>(future: F) -> F::Output {
    assert!(tokio::runtime::Handle::try_current().is_err());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Where the store's actors live.
fn home() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn every_call_about_values(store: &Store) {
    store.ping().await.unwrap();
    store.stats().await.unwrap();
    store.set("k", "v").ttl(LONG).depends_on(["n"]).await.unwrap();
    store.get("k").await.unwrap();
    store.get_string("k").await.unwrap();
    store.add("k", "v").await.unwrap();
    store.replace("k", "v").await.unwrap();
    store.compare_and_set("k", "v", "w").await.unwrap();
    store.exists("k").await.unwrap();
    store.expire("k", LONG).await.unwrap();
    store.ttl("k").await.unwrap();
    store.persist("k").await.unwrap();
    store.incr("i", 1).await.unwrap();
    store.incr("window", 1).ttl(LONG).await.unwrap();
    store.counter("i").await.unwrap();
    store.take("k").await.unwrap();
    store.delete("k").await.unwrap();
    let many: Vec<_> = (0..2_000).map(|n| (format!("m{n}"), "v")).collect();
    let keys: Vec<_> = many.iter().map(|(key, _)| key.clone()).collect();
    store.set_many(many).await.unwrap();
    store.get_many(&keys).await.unwrap();
    store.scan("m").try_collect::<Vec<_>>().await.unwrap();
    let entries = store.scan_entries("m").try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(entries.len(), 2_000);
    store.delete_many(&keys).await.unwrap();
    store.set_model("model", &1).await.unwrap();
    store.get_model::<u32>("model").await.unwrap();
    store.get_models::<u32>(["model"]).await.unwrap();
    store.set_models([("model", &1)]).await.unwrap();
    store.add_model("model", &2).await.unwrap();
    let swap = store.compare_and_set_model("model", &1, &2).ttl(LONG);
    assert!(swap.await.unwrap());
    let update = |model: Option<u32>| model.map(|number| number + 1);
    assert_eq!(store.update_model("model", update).await.unwrap(), Some(3));
    store.invalidate(["n"]).await.unwrap();
    let mut removed = None;
    let invalidate = store.invalidate(["n"]).timeout(LONG);
    invalidate
        .on_progress(|total| removed = Some(total))
        .await
        .unwrap();
    assert_eq!(removed, Some(0));
    let command = redis::Cmd::new().arg("PING").to_owned();
    let _ = store.redis_command::<String>(command).await;
    store.set("k", "v").await.unwrap();
    let mut removed = None;
    let clear = store.clear().timeout(LONG);
    clear.on_progress(|total| removed = Some(total)).await.unwrap();
    assert!(removed.is_some_and(|total| total > 0));
    store.clear().await.unwrap();
}

/// So many updates at once that some pause before they try again.
fn updates_that_collide(store: &Store) {
    let threads = (0..4).map(|_| {
        let store = store.clone();
        thread::spawn(move || {
            for _ in 0..50 {
                let add = |number: Option<u32>| Some(number.unwrap_or(0) + 1);
                match drive(store.update_model("collide", add).into_future()) {
                    Ok(_) | Err(Error::Conflict) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
}

async fn every_call_about_loads(store: &Store) {
    let load = || async { Ok::<_, Error>(1) };
    let slow = || async {
        tokio::time::sleep(20 * MS).await;
        Ok::<_, Error>(1)
    };
    store.get_or_load("l", load).await.unwrap();
    store.get_or_load("l", load).outcome().await.unwrap();
    let stale = store.get_or_load("s", slow).ttl(MS).stale_if_error(LONG);
    stale.await.unwrap();
    let stale = store.get_or_load("s", slow).ttl(MS).stale_if_error(LONG);
    stale.soft_timeout(MS).timeout(LONG).await.unwrap();
    let ahead = store
        .get_or_load("a", slow)
        .ttl(LONG)
        .stale_while_revalidate(LONG);
    ahead.refresh_ahead(0.5).await.unwrap();
    let options = LoadOptions::default()
        .ttl(MS)
        .stale_while_revalidate(LONG)
        .stale_if_error(LONG)
        .refresh_ahead(1.0)
        .timeout(LONG)
        .soft_timeout(MS)
        .retry_after(MS)
        .jitter(0.5);
    for _ in 0..3 {
        let load = store.get_or_load("o", slow).options(&options);
        load.outcome().await.unwrap();
        // The value becomes stale before the next load.
        thread::sleep(2 * MS);
    }
    let failing = || async { Err::<u32, _>(Error::Conflict) };
    let stale = store.get_or_load("o", failing).options(&options);
    stale.log_errors().await.unwrap();
    let too_long = || std::future::pending::<Result<u32, Error>>();
    store
        .get_or_load("p", too_long)
        .timeout(20 * MS)
        .await
        .unwrap_err();
    let persistent = store.get_or_load("q", load).persistent().depends_on(["n"]);
    persistent.hide_errors().await.unwrap();
    let many = store.get_or_load_many(["x", "y"], |keys: Vec<String>| async move {
        Ok::<std::collections::HashMap<_, _>, Error>(keys.into_iter().map(|key| (key, 1)).collect())
    });
    many.options(&options).await.unwrap();
}

async fn every_call_about_locks(store: &Store) {
    let guard = store.lock("k").ttl(LONG).renew(LONG).wait(LONG).await.unwrap();
    guard.extend(LONG).await.unwrap();
    assert_eq!(guard.run(async { 1 }).await, Ok(1));
    store.lock_info("k").await.unwrap();
    assert!(matches!(
        store.lock("k").wait(20 * MS).await,
        Err(Error::LockHeld)
    ));
    guard.release().await.unwrap();
    // A lease that ends by its time is noticed, and so is one that is released from elsewhere.
    let guard = store.lock("k").ttl(50 * MS).await.unwrap();
    assert!(guard.run(std::future::pending::<()>()).await.is_err());
    guard.lost().await;
    assert_eq!(guard.remaining(), Duration::ZERO);
    drop(guard);
    let guard = store.lock("k").ttl(LONG).await.unwrap();
    let lost = guard.lost();
    store.release_lock("k", guard.secret()).await.unwrap();
    lost.await;
    let secret = store.write_lock("w", LONG).await.unwrap();
    store.extend_lock("w", &secret, LONG).await.unwrap();
    store.release_lock("w", &secret).await.unwrap();
    store.write_lock_with_secret("w", "s", LONG).await.unwrap();
    assert!(store.force_release("w").await.unwrap());
    let secret = store.wait_write_lock("w", LONG, LONG).await.unwrap();
    let again = store.lock("w").secret(secret.expose()).ttl(LONG).wait(LONG);
    drop(again.await.unwrap());
}

/// A queue of one, and several threads that lock at once.
fn queues_that_are_full(store: &Store) {
    let threads = (0..4).map(|_| {
        let store = store.clone();
        thread::spawn(move || {
            for _ in 0..50 {
                let guard = drive(async { store.lock("full").wait(LONG).await.unwrap() });
                drop(guard);
                let load = || async { Ok::<_, Error>(1) };
                drive(async { store.get_or_load("full", load).ttl(MS).await.unwrap() });
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
}

fn nothing_panics(runtime: &Runtime, config: Config) {
    let opened = drive(Store::open(config.clone()));
    assert!(matches!(opened, Err(Error::InvalidConfig { .. })));
    let store = runtime.block_on(Store::open(config.clone())).unwrap();
    drive(every_call_about_values(&store));
    drive(every_call_about_loads(&store));
    drive(every_call_about_locks(&store));
    updates_that_collide(&store);
    drive(store.close()).unwrap();
    drive(store.close()).unwrap();
    assert!(matches!(drive(store.lock("k").into_future()), Err(Error::Closed)));
    let store = runtime.block_on(Store::open(config.queue_length(1))).unwrap();
    queues_that_are_full(&store);
    drive(store.close()).unwrap();
}

#[test]
fn memory_without_a_runtime() {
    nothing_panics(&home(), Config::memory());
}

#[test]
fn redis_without_a_runtime() {
    for topology in [
        Topology::Server,
        Topology::Sentinel,
        Topology::Cluster,
        Topology::Nodes,
    ] {
        let runtime = home();
        let place = runtime.block_on(Place::on(topology));
        nothing_panics(&runtime, place.config().into());
    }
}

#[test]
fn a_lease_is_lost_when_the_runtime_of_its_store_ends() {
    let runtime = home();
    let store = runtime.block_on(Store::open(Config::memory())).unwrap();
    let guard = drive(store.lock("k").ttl(LONG).into_future()).unwrap();
    let waiting = thread::spawn({
        let lost = guard.lost();
        move || drive(lost)
    });
    thread::sleep(20 * MS);
    runtime.shutdown_background();
    waiting.join().unwrap();
    drive(guard.lost());
    assert!(matches!(drive(guard.release()), Err(Error::Closed)));
    let error = drive(store.get("k")).unwrap_err();
    assert!(matches!(error, Error::Closed));
    assert!(error.to_string().contains("runtime"), "{error}");
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a program logs that ends like this, on a runtime of one thread.
fn logged<F: Future>(program: impl FnOnce(Store) -> F) -> String {
    let servers = home();
    let server = servers.block_on(RedisServer::start());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = Config::redis(&server.url()).unwrap();
            program(Store::open(config).await.unwrap()).await
        });
    });
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_program_that_ends_before_its_locks_are_released_is_warned_once() {
    let warning = "before locks were released";
    let dropped = logged(|store| async move {
        for key in ["a", "b"] {
            drop(store.lock(key).await.unwrap());
        }
    });
    assert_eq!(dropped.matches(warning).count(), 1, "{dropped}");
    let closed = logged(|store| async move {
        drop(store.lock("a").await.unwrap());
        let held = store.lock("b").await.unwrap();
        store.close().await.unwrap();
        drop(held);
    });
    assert!(
        !closed.contains(warning) && !closed.contains("runtime"),
        "{closed}"
    );
    let released = logged(|store| async move {
        let released = store.lock("a").await.unwrap().release().await.unwrap();
        assert_eq!(released, Release::Released);
    });
    assert!(!released.contains(warning), "{released}");
    assert!(
        released.contains("the runtime that opened the store has ended"),
        "{released}"
    );
}
