//! The feature `testing`: an engine that fails on command.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "redis")]
#[path = "support/redis/mod.rs"]
mod harness;

use std::collections::HashMap;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::testing::Faults;
use cachestore::{Config, Error, Fetched, LoadContext, LoadError, Origin, Phase, Release, Store};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn open() -> (Store, Faults) {
    let faults = Faults::default();
    let store = Store::open(Config::memory().faults(&faults)).await.unwrap();
    (store, faults)
}

fn is_unavailable<T>(answer: Result<T, Error>) -> bool {
    matches!(answer, Err(error @ Error::Unavailable(_)) if error.is_retryable())
}

async fn load(store: &Store) -> Result<u32, LoadError<String>> {
    store.get_or_load("loaded", || async { Ok(7) }).await
}

#[tokio::test(start_paused = true)]
async fn while_the_engine_is_down_every_kind_of_call_is_unavailable() {
    let (store, faults) = open().await;
    store.set("k", "v").await.unwrap();
    faults.down();
    assert!(is_unavailable(store.get("k").await));
    assert!(is_unavailable(store.set("k", "w").await));
    assert!(is_unavailable(store.incr("n", 1).await));
    assert!(is_unavailable(store.invalidate(["k"]).await));
    assert!(is_unavailable(store.clear().await));
    assert!(is_unavailable(store.ping().await));
    assert!(is_unavailable(store.lock("l").await));
    assert!(is_unavailable(store.write_lock("l", MINUTE).await));
    assert!(matches!(
        load(&store).await,
        Err(LoadError::Store(Error::Unavailable(_)))
    ));
    let stats = store.stats().await.unwrap();
    assert_eq!(
        (stats.entries, stats.sets),
        (Some(1), 1),
        "figures are told all the same"
    );

    faults.up();
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
    assert_eq!(load(&store).await.unwrap(), 7);
    drop(store.lock("l").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_store_does_not_open_while_the_engine_is_down() {
    let faults = Faults::default();
    faults.down();
    assert!(is_unavailable(
        Store::open(Config::memory().faults(&faults)).await
    ));
}

#[tokio::test(start_paused = true)]
async fn so_many_requests_fail_and_are_not_carried_out() {
    let (store, faults) = open().await;
    faults.fail_next(2);
    assert!(is_unavailable(store.set("k", "v").await));
    assert!(is_unavailable(store.get("k").await));
    assert_eq!(store.get("k").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_reply_is_lost_is_carried_out() {
    let (store, faults) = open().await;
    faults.lose_next_replies(2);
    let lost = store.set("k", "v").await;
    assert!(matches!(lost, Err(Error::OutcomeUnknown(_))), "{lost:?}");
    assert!(is_unavailable(store.get("k").await));
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_reply_is_lost_is_a_release() {
    let (store, faults) = open().await;
    let guard = store.lock("l").await.unwrap();
    faults.lose_next_replies(1);
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    assert!(store.lock_info("l").await.unwrap().is_none());

    let guard = store.lock("l").await.unwrap();
    assert!(store.force_release("l").await.unwrap());
    assert_eq!(guard.release().await.unwrap(), Release::NotHeld);
}

#[tokio::test(start_paused = true)]
async fn what_is_delayed_past_its_deadline_is_not_carried_out() {
    let (store, faults) = open().await;
    faults.delay(Duration::from_secs(1));
    let began = Instant::now();
    store.set("k", "v").await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 1);
    faults.delay(MINUTE);
    let began = Instant::now();
    let late = store.set("k", "w").await;
    assert!(
        matches!(late, Err(Error::Timeout { phase: Phase::Reply })),
        "{late:?}"
    );
    assert_eq!(began.elapsed().as_secs(), 5, "the request timeout");
    faults.delay(Duration::ZERO);
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn a_delay_for_ever_outlasts_every_deadline() {
    let (store, faults) = open().await;
    faults.delay(Duration::MAX);
    let late = store.get("k").await;
    assert!(
        matches!(late, Err(Error::Timeout { phase: Phase::Reply })),
        "{late:?}"
    );
    faults.delay(Duration::ZERO);
    store.set("k", "v").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_faults() {
    let (store, faults) = open().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        faults.seed(42).probability(0.5);
        let mut failed = Vec::new();
        for _ in 0..100 {
            failed.push(is_unavailable(store.get("k").await));
        }
        runs.push(failed);
    }
    assert_eq!(runs[0], runs[1]);
    let failed = runs[0].iter().filter(|failed| **failed).count();
    assert!((30..70).contains(&failed), "{failed} of 100");
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_names_and_keys_and_no_values() {
    let (store, faults) = open().await;
    let tenant = store.namespace("tenant").unwrap();
    tenant.set("k", "hunter2").await.unwrap();
    tenant.get_many(["a", "b"]).await.unwrap();
    let log = faults.log();
    assert!(!format!("{log:?} {faults:?}").contains("hunter2"));
    let calls: Vec<_> = log.iter().map(|call| (&*call.name, call.key())).collect();
    assert_eq!(
        calls,
        [
            ("ping", None),
            ("set", Some("tenant:k")),
            ("get_many", Some("tenant:a"))
        ]
    );
    assert_eq!(log[2].keys, ["tenant:a", "tenant:b"]);
}

#[tokio::test(start_paused = true)]
async fn locks_pass_from_holder_to_waiter() {
    let (store, faults) = open().await;
    let guard = store.lock("l").await.unwrap();
    let waiter = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .lock("l")
                .wait(MINUTE)
                .await
                .map(|guard| guard.fencing_token())
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let token = guard.fencing_token();
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    assert!(waiter.await.unwrap().unwrap() > token);
    assert!(faults.log().iter().any(|call| call.name == "lock"));
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_served_while_the_source_and_the_engine_fail() {
    let (store, faults) = open().await;
    let call = |answer: Result<u32, String>| {
        store
            .get_or_load("k", || async { answer })
            .ttl(Duration::from_secs(1))
            .stale_if_error(MINUTE)
            .outcome()
    };
    assert_eq!(call(Ok(1)).await.unwrap().origin, Origin::Loaded);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stale = call(Err("the source is down".to_owned())).await.unwrap();
    assert_eq!((stale.value, stale.origin), (1, Origin::Stale));
    faults.down();
    let lost = call(Ok(2)).await;
    assert!(
        matches!(lost, Err(LoadError::Store(Error::Unavailable(_)))),
        "{lost:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_closes_while_the_engine_is_down() {
    let (store, faults) = open().await;
    let guard = store.lock("l").await.unwrap();
    faults.down();
    store.close().await.unwrap();
    drop(guard);
    assert!(matches!(store.get("k").await, Err(Error::Closed)));
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn over_redis_faults_are_the_same() {
    let server = harness::RedisServer::start().await;
    let faults = Faults::default();
    let config = Config::redis(&server.url()).unwrap().faults(&faults);
    let store = Store::open(config).await.unwrap();
    store.set("k", "v").await.unwrap();
    faults.down();
    assert!(is_unavailable(store.get("k").await));
    assert!(is_unavailable(store.lock("l").await));
    faults.up().lose_next_replies(1);
    let lost = store.incr("n", 1).await;
    assert!(matches!(lost, Err(Error::OutcomeUnknown(_))), "{lost:?}");
    assert_eq!(store.counter("n").await.unwrap(), Some(1));
    let guard = store.lock("l").await.unwrap();
    faults.lose_next_replies(1);
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    drop(store.lock("l").await.unwrap());
    assert_eq!(load(&store).await.unwrap(), 7);
    store.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_load_asks_for_its_key_and_lease_in_one_request() {
    let (store, faults) = open().await;
    let seen = faults.log().len();
    assert_eq!(load(&store).await.unwrap(), 7);
    let names: Vec<String> = faults.log().drain(seen..).map(|call| call.name).collect();
    assert_eq!(
        names,
        ["get_or_lease", "lease"],
        "it reads, and stores what was loaded"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_grant_was_lost_is_given_back() {
    let (store, faults) = open().await;
    faults.lose_next_replies(1);
    let began = Instant::now();
    assert_eq!(load(&store).await.unwrap(), 7);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "the load waits for no lease"
    );
    assert_eq!(store.get_model::<u32>("loaded").await.unwrap(), Some(7));
    assert_eq!(store.stats().await.unwrap().loads, 1);
}

/// A load that takes a second, and counts how many of its kind run at once.
async fn slow_load(store: &Store, key: String, running: Arc<Running>) -> Result<u32, LoadError<String>> {
    let load = store.get_or_load(key, move || async move {
        let now = running.now.fetch_add(1, SeqCst) + 1;
        running.most.fetch_max(now, SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        running.now.fetch_sub(1, SeqCst);
        Ok(7)
    });
    load.await
}

#[derive(Default)]
struct Running {
    now: AtomicUsize,
    most: AtomicUsize,
}

#[tokio::test(start_paused = true)]
async fn while_the_engine_is_down_as_many_loaders_run_as_are_allowed() {
    let faults = Faults::default();
    let config = Config::memory().faults(&faults).loads_while_unavailable(8);
    let store = Store::open(config).await.unwrap();
    faults.down();
    let running = Arc::<Running>::default();
    let loads = (0..200).map(|n| {
        let (store, running) = (store.clone(), running.clone());
        // Some want the same key, and do not share a load.
        tokio::spawn(async move { slow_load(&store, format!("k{}", n % 100), running).await })
    });
    let (mut given, mut refused) = (0, 0);
    for load in loads.collect::<Vec<_>>() {
        match load.await.unwrap() {
            Ok(7) => given += 1,
            Err(LoadError::Store(Error::Unavailable(_))) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((given, refused, running.most.load(SeqCst)), (8, 192, 8));
    // A place is free as soon as a load has been answered.
    for _ in 0..20 {
        assert_eq!(
            slow_load(&store, "k".to_owned(), running.clone()).await.unwrap(),
            7
        );
    }
    faults.up();
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.entries, stats.loads), (Some(0), 28), "nothing was stored");
}

/// The engine knows nothing of a value that was loaded past it, so an invalidation would not reach what is made from it.
#[tokio::test(start_paused = true)]
async fn what_is_made_from_a_load_past_the_engine_is_not_stored() {
    for by_coordinator in [false, true] {
        let faults = Faults::default();
        let config = Config::memory().faults(&faults).loads_while_unavailable(1);
        let store = Store::open(config).await.unwrap();
        let (inner, down) = (store.clone(), faults.clone());
        let middle = async move || {
            let (store, faults) = (inner.clone(), down.clone());
            let part = inner.get_or_load("middle", move || async move {
                faults.down();
                let part = store.get_or_load("part", || async { Ok::<_, String>(1) });
                let part = part.depends_on("row").await.unwrap();
                faults.up();
                Ok::<_, String>(part)
            });
            part.depends_on("part").await.unwrap()
        };
        let sum = if by_coordinator {
            let sums = store.get_or_load_many(["sum"], async move |keys: Vec<String>| {
                let part = middle().await;
                Ok::<_, String>(keys.into_iter().map(|key| (key, part)).collect())
            });
            sums.depends_on("middle").await.unwrap()["sum"]
        } else {
            let sum = store.get_or_load("sum", async move || Ok::<_, String>(middle().await));
            sum.depends_on("middle").await.unwrap()
        };
        assert_eq!(sum, 1);
        for key in ["part", "middle", "sum"] {
            let kept: Option<u32> = store.get_model(key).await.unwrap();
            assert_eq!(kept, None, "{key}, by the coordinator: {by_coordinator}");
        }
        store.close().await.unwrap();
    }
}

/// A loader confirms an old value after it has read a part that was loaded past the engine and has changed since. The
/// engine knows nothing of that part, so it would keep the old value.
#[tokio::test(start_paused = true)]
async fn what_is_confirmed_by_a_load_past_the_engine_is_loaded_anew() {
    for is_one_of_many in [false, true] {
        let faults = Faults::default();
        let config = Config::memory().faults(&faults).loads_while_unavailable(1);
        let store = Store::open(config).await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let (inner, log) = (store.clone(), told.clone());
        let make = move |old: Option<u32>| {
            let (store, down) = (inner.clone(), faults.clone());
            log.lock().unwrap().push(old);
            async move {
                if old.is_none() {
                    return Fetched::new(2).depends_on("part");
                }
                down.down();
                let part = store.get_or_load("part", || async { Ok::<_, String>(1) });
                assert_eq!(part.depends_on("row").await.unwrap(), 1);
                down.up();
                store.invalidate("row").await.unwrap();
                Fetched::not_modified().depends_on("part")
            }
        };
        let load = async || {
            let make = make.clone();
            if is_one_of_many {
                let load = move |contexts: Vec<LoadContext<u32>>| {
                    let made = make(contexts[0].stale().copied());
                    async move { Ok::<_, String>(HashMap::from([("sum".to_owned(), made.await)])) }
                };
                let load = store.get_or_load_many_with(["sum"], load).ttl(SECOND);
                load.stale_if_error(MINUTE).outcome().await.unwrap()["sum"].clone()
            } else {
                let load = move |context: LoadContext<u32>| {
                    let made = make(context.stale().copied());
                    async move { Ok::<_, String>(made.await) }
                };
                let load = store.get_or_load_with("sum", load).ttl(SECOND);
                load.stale_if_error(MINUTE).outcome().await.unwrap()
            }
        };
        let first = load().await;
        assert_eq!((first.value, first.origin), (2, Origin::Loaded));
        tokio::time::advance(2 * SECOND).await;
        let second = load().await;
        let told = std::mem::take(&mut *told.lock().unwrap());
        assert_eq!(told, [None, Some(2), None], "one of many: {is_one_of_many}");
        assert_eq!((second.value, second.origin), (2, Origin::Superseded));
        store.close().await.unwrap();
    }
}

/// The engine does not learn that a value was given out, and forgets what the value depends on when its lease ends.
#[tokio::test(start_paused = true)]
async fn what_is_made_from_a_value_whose_end_was_lost_is_not_stored() {
    for keys in [1, 2] {
        let (store, faults) = open().await;
        let outer = store.clone();
        let load = move |_: LoadContext<u32>| {
            let (store, faults) = (outer.clone(), faults.clone());
            async move {
                let inner = move |contexts: Vec<LoadContext<u32>>| {
                    faults.fail_next(contexts.len());
                    async move {
                        let given =
                            |cx: LoadContext<u32>| (cx.key().to_owned(), Fetched::new(1).do_not_store());
                        Ok::<HashMap<_, _>, String>(contexts.into_iter().map(given).collect())
                    }
                };
                let names = ["part", "other"];
                let inner = store.get_or_load_many_with(&names[..keys], inner);
                let parts = inner.depends_on("row").timeout(SECOND).await.unwrap();
                tokio::time::sleep(2 * SECOND).await;
                store.invalidate("row").await.unwrap();
                Ok::<_, String>(Fetched::new(parts["part"]).depends_on("part"))
            }
        };
        let made = store.get_or_load_with("sum", load).outcome().await.unwrap();
        assert_eq!((made.value, made.origin), (1, Origin::Superseded), "{keys} keys");
        assert!(!store.exists("sum").await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_past_the_engine_ends_like_any_other() {
    let faults = Faults::default();
    let config = Config::memory().faults(&faults).loads_while_unavailable(1);
    let store = Store::open(config).await.unwrap();
    faults.down();
    let loaded = store.get_or_load("k", || async { Ok::<_, String>(7) });
    let loaded = loaded.outcome().await.unwrap();
    assert_eq!((loaded.value, loaded.origin), (7, Origin::Loaded));
    assert_eq!(loaded.fresh_for, Some(Duration::ZERO), "it is not stored");

    let failed = store.get_or_load("k", || async { Err::<u32, _>("no such user") });
    assert!(matches!(failed.await, Err(LoadError::Loader(error)) if *error == "no such user"));
    let panicked = store.get_or_load("k", || async {
        let number: u32 = "no number".parse().unwrap();
        Ok::<u32, String>(number)
    });
    assert!(matches!(panicked.await, Err(LoadError::Panicked)));
    let hung = store.get_or_load("k", std::future::pending::<Result<u32, String>>);
    assert!(matches!(hung.timeout(MINUTE).await, Err(LoadError::Timeout)));

    let many = store.get_or_load_many(["a", "b", "c"], |keys: Vec<String>| async move {
        assert_eq!(keys, ["a", "b", "c"]);
        Ok::<_, String>(keys.into_iter().skip(1).map(|key| (key, 1)).collect())
    });
    let many: HashMap<String, u32> = many.await.unwrap();
    assert_eq!(many, HashMap::from([("b".to_owned(), 1), ("c".to_owned(), 1)]));

    // A refused argument is refused all the same.
    assert!(matches!(
        store.get_or_load("", || async { Ok::<_, String>(7) }).await,
        Err(LoadError::Store(Error::KeyRequired))
    ));
    assert_eq!(store.stats().await.unwrap().load_failures, 3);
}

/// The engine fails between the read and the lease.
#[tokio::test(start_paused = true)]
async fn a_load_whose_lease_the_engine_fails_to_give_runs_past_it() {
    let faults = Faults::default();
    let config = Config::memory().faults(&faults).loads_while_unavailable(1);
    let store = Store::open(config).await.unwrap();
    faults.delay(Duration::from_secs(1));
    let load = store.get_or_load_many(["a", "b"], |keys: Vec<String>| async move {
        Ok::<_, String>(keys.into_iter().map(|key| (key, 7)).collect())
    });
    let down = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        faults.down();
    };
    let (values, ()) = tokio::join!(load, down);
    let values: HashMap<String, u32> = values.unwrap();
    assert_eq!(values.len(), 2);
    faults.up().delay(Duration::ZERO);
    assert_eq!(
        store.get_model::<u32>("a").await.unwrap(),
        None,
        "nothing was stored"
    );
    assert_eq!(load_of(&store, "a").await, 7);
}

async fn load_of(store: &Store, key: &str) -> u32 {
    store
        .get_or_load(key, || async { Ok::<_, String>(7) })
        .await
        .unwrap()
}

/// The engine fails while a loader runs: it neither stores the value nor ends the lease.
#[tokio::test(start_paused = true)]
async fn a_lease_whose_end_the_engine_missed_holds_up_nobody() {
    let (store, faults) = open().await;
    for joined in [false, true] {
        let load = || {
            store.get_or_load("k", || async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok::<_, String>(7)
            })
        };
        let down = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            faults.down();
        };
        if joined {
            let (one, other, ()) = tokio::join!(load().into_future(), load().into_future(), down);
            assert_eq!((one.unwrap(), other.unwrap()), (7, 7));
        } else {
            let (one, ()) = tokio::join!(load().into_future(), down);
            assert_eq!(one.unwrap(), 7);
        }
        faults.up();
        let began = Instant::now();
        assert_eq!(load_of(&store, "k").await, 7);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(
            store.get_model::<u32>("k").await.unwrap(),
            Some(7),
            "it is stored"
        );
        store.delete("k").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_past_the_engine_ends_with_the_store() {
    let faults = Faults::default();
    let config = Config::memory().faults(&faults).loads_while_unavailable(1);
    let store = Store::open(config).await.unwrap();
    faults.down();
    let load = store.get_or_load("k", std::future::pending::<Result<u32, String>>);
    let close = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.close().await.unwrap();
    };
    let (loaded, ()) = tokio::join!(load, close);
    assert!(
        matches!(loaded, Err(LoadError::Store(Error::Closed))),
        "{loaded:?}"
    );
}
