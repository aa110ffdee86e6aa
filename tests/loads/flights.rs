//! Single flight: all who want a key share one load, whatever becomes of any of them.

use std::collections::HashMap;
use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use cachestore::{Config, Error, LoadError, Origin, Store};
use futures_util::future::join_all;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;

use crate::engines::{fresh, over_all_engines, seen};
use crate::loads::{Clock, Loaders, settled};
use crate::support::{memory, ms, open, secs};

over_all_engines! {
    who_has_another_type_of_error_is_told_so
    who_wants_another_type_of_value_is_told_so
}

const ZERO: Duration = Duration::ZERO;

/// How many callers of each of how many keys there are.
const CALLERS: u32 = 1000;
const KEYS: usize = 100;

async fn a_thousand_callers_of_each_key() {
    // A debug build takes seconds for so many, who all come at once.
    let store = open(Config::memory().request_timeout(secs(120))).await;
    let calls: Arc<Vec<AtomicU32>> = Arc::new((0..KEYS).map(|_| AtomicU32::new(0)).collect());
    let (begun, all_there) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        for key in 0..KEYS {
            let (store, calls, begun, all_there) =
                (store.clone(), calls.clone(), begun.clone(), all_there.clone());
            callers.spawn(async move {
                if begun.fetch_add(1, SeqCst) + 1 == CALLERS * KEYS as u32 {
                    all_there.add_permits(KEYS);
                }
                let load = store.get_or_load(format!("k{key}"), move || async move {
                    let there = all_there.acquire().await.map(SemaphorePermit::forget);
                    there.map_err(|_| "the callers have gone")?;
                    Ok::<_, &str>((key, calls[key].fetch_add(1, SeqCst)))
                });
                let loaded = load.timeout(secs(120)).outcome().await.unwrap();
                assert_eq!(loaded.value, (key, 0));
                loaded.origin
            });
        }
    }
    let mut origins: HashMap<Origin, u32> = HashMap::new();
    while let Some(origin) = callers.join_next().await {
        *origins.entry(origin.unwrap()).or_default() += 1;
    }
    assert!(calls.iter().all(|calls| calls.load(SeqCst) == 1), "{calls:?}");
    assert_eq!(origins[&Origin::Loaded], 100, "{origins:?}");
    let others = [Origin::Joined, Origin::Fresh].map(|origin| origins.get(&origin).copied().unwrap_or(0));
    assert_eq!(others[0] + others[1], CALLERS * 100 - 100, "{origins:?}");
    assert!(others[0] > 10_000, "most came while it was loaded: {origins:?}");
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.loads, stats.load_joins), (100, u64::from(others[0])));
    assert_eq!((stats.load_failures, stats.dead_leases), (0, 0));
}

#[test]
fn a_thousand_callers_of_a_hundred_cold_keys_load_each_once_on_one_thread() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(a_thousand_callers_of_each_key());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_a_hundred_cold_keys_load_each_once_on_two_threads() {
    a_thousand_callers_of_each_key().await;
}

#[tokio::test(start_paused = true)]
async fn all_who_come_while_it_is_loaded_are_joined() {
    let (store, loaders) = (memory().await, Loaders::new());
    let call = || store.get_or_load("k", loaders.held(1)).outcome();
    let callers = join_all((0..1000).map(|_| call()));
    let (callers, ()) = tokio::join!(callers, async {
        loaders.called(1).await;
        settled().await;
        loaders.let_go(1);
    });
    let joined = callers.into_iter().filter(|caller| {
        let (value, origin, age) = seen(caller.clone());
        assert_eq!((value, age), (1, ZERO));
        origin == Origin::Joined
    });
    assert_eq!(joined.count(), 999);
    assert_eq!(
        (loaders.calls(), store.stats().await.unwrap().load_joins),
        (1, 999)
    );
}

/// Callers with options and value types of their own, each in its task.
fn joiner<T, E>(
    store: &Store,
    loaders: &Loaders,
    options: u32,
) -> tokio::task::JoinHandle<Result<cachestore::Loaded<T>, LoadError<E>>>
where
    T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    E: Send + Sync + 'static,
{
    let (store, loaders) = (store.clone(), loaders.clone());
    tokio::spawn(async move {
        loaders.called(1).await;
        let load = store.get_or_load("k", || async { panic!("another runs") });
        match options {
            0 => load.outcome().await,
            1 => load.ttl(secs(1)).depends_on(["own"]).outcome().await,
            2 => {
                load.stale_while_revalidate(secs(9))
                    .timeout(secs(3))
                    .outcome()
                    .await
            }
            3 => load.persistent().jitter(0.5).soft_timeout(ZERO).outcome().await,
            _ => {
                load.ttl_for(|_| secs(7))
                    .refresh_ahead(0.1)
                    .stale_if_error(secs(3))
                    .outcome()
                    .await
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn all_share_one_load_whatever_their_options() {
    let (store, loaders) = (memory().await, Loaders::new());
    let joiners: Vec<_> = (0..5)
        .map(|options| joiner::<u32, String>(&store, &loaders, options))
        .collect();
    let lead = store
        .get_or_load("k", loaders.after(secs(1), 1))
        .ttl(secs(60))
        .depends_on(["u"]);
    assert_eq!(seen(lead.outcome().await), (1, Origin::Loaded, ZERO));
    for joiner in joiners {
        assert_eq!(seen(joiner.await.unwrap()), (1, Origin::Joined, ZERO));
    }
    let left = store.ttl("k").await.unwrap().unwrap().remaining().unwrap();
    assert_eq!(left, secs(60), "it is stored as its own caller said");
    assert_eq!(store.invalidate(["own"]).await.unwrap(), 0);
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 1);
    assert_eq!((loaders.calls(), store.stats().await.unwrap().load_joins), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_everybodys_and_is_not_kept() {
    let (store, loaders) = (memory().await, Loaders::new());
    let joiners: Vec<_> = (0..5)
        .map(|options| joiner::<u32, String>(&store, &loaders, options))
        .collect();
    let failing = loaders.runs(async {
        tokio::time::sleep(secs(1)).await;
        Err("no such row".to_owned())
    });
    let Err(LoadError::Loader(error)) = store.get_or_load("k", failing).await.map(|_: u32| ()) else {
        panic!("it fails");
    };
    for joiner in joiners {
        let joined = joiner.await.unwrap();
        assert!(matches!(joined, Err(LoadError::Loader(other)) if Arc::ptr_eq(&other, &error)));
    }
    assert_eq!(store.stats().await.unwrap().load_failures, 1, "one load failed");
    assert!(!store.exists("k").await.unwrap());
    let clock = Clock::new();
    let next = store.get_or_load("k", loaders.at_once(2)).outcome().await;
    assert_eq!(seen(next), (2, Origin::Loaded, ZERO));
    assert_eq!(clock.now(), ZERO, "nothing is left to wait for");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_everybodys_and_is_not_kept() {
    let (store, loaders) = (memory().await, Loaders::new());
    let joiners: Vec<_> = (0..5)
        .map(|options| joiner::<u32, String>(&store, &loaders, options))
        .collect();
    let panicking = loaders.runs(async {
        tokio::time::sleep(secs(1)).await;
        panic!("in the loader")
    });
    let led: Result<u32, _> = store.get_or_load("k", panicking).await;
    assert!(matches!(led, Err(LoadError::Panicked)), "{led:?}");
    for joiner in joiners {
        let joined = joiner.await.unwrap();
        assert!(matches!(joined, Err(LoadError::Panicked)), "{joined:?}");
    }
    let clock = Clock::new();
    let next = store.get_or_load("k", loaders.at_once(2)).outcome().await;
    assert_eq!(seen(next), (2, Origin::Loaded, ZERO));
    assert_eq!(clock.now(), ZERO, "nothing is left to wait for");
}

async fn who_has_another_type_of_error_is_told_so() {
    let (store, loaders) = (fresh().await, Loaders::new());
    let other = joiner::<u32, std::num::ParseIntError>(&store, &loaders, 0);
    let same = joiner::<u32, String>(&store, &loaders, 0);
    let failing = loaders.runs(async {
        tokio::time::sleep(secs(1)).await;
        Err::<u32, _>("hunter2".to_owned())
    });
    let led = store.get_or_load("k", failing).await;
    assert!(matches!(led, Err(LoadError::Loader(_))), "{led:?}");
    assert!(matches!(same.await.unwrap(), Err(LoadError::Loader(_))));
    let Err(LoadError::Store(error @ Error::Unavailable(_))) = other.await.unwrap() else {
        panic!("an error of the store");
    };
    assert!(error.is_retryable(), "its own loader may do better");
    assert!(
        !crate::support::told(&error).contains("hunter2"),
        "{}",
        crate::support::told(&error)
    );
}

async fn who_wants_another_type_of_value_is_told_so() {
    let (store, loaders) = (fresh().await, Loaders::new());
    let other = joiner::<HashMap<String, u8>, String>(&store, &loaders, 0);
    let wider = joiner::<u64, String>(&store, &loaders, 0);
    let lead = store.get_or_load("k", loaders.after(secs(1), 300_u32)).await;
    assert_eq!(lead.unwrap(), 300);
    assert_eq!(
        seen(wider.await.unwrap()),
        (300, Origin::Joined, ZERO),
        "it decodes"
    );
    let other = other.await.unwrap();
    assert!(
        matches!(other, Err(LoadError::Store(Error::Decode(_)))),
        "{other:?}"
    );
    // Once it is stored, it counts as absent for who cannot read it.
    let text = store
        .get_or_load("k", loaders.at_once("text".to_owned()))
        .outcome()
        .await;
    assert_eq!(seen(text), ("text".to_owned(), Origin::Loaded, ZERO));
}

/// Polls a future so many times, as it is woken: its answer if it is ready before.
async fn polled<F: Future>(future: Pin<&mut F>, times: usize) -> Option<F::Output> {
    let (mut future, mut left) = (future, times);
    let poll = poll_fn(|cx| match left {
        0 => Poll::Ready(None),
        _ => {
            left -= 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        }
    });
    tokio::time::timeout(ms(1), poll).await.ok().flatten()
}

/// Whoever goes, and whenever: the others are served by one load, and nothing is left behind.
#[tokio::test(start_paused = true)]
async fn a_caller_dropped_at_any_poll_takes_nothing_with_it() {
    for polls in 0..6 {
        for turns in [0, 1, 2, 3, 5, 8, 100] {
            for others in [0_usize, 1, 3] {
                for first in [true, false] {
                    let (store, loaders) = (memory().await, Loaders::new());
                    let what = format!("{polls} polls, {turns} turns, {others} others, first: {first}");
                    let call = || {
                        store
                            .get_or_load("k", loaders.held(1))
                            .ttl(secs(60))
                            .into_future()
                    };
                    let mut dropped = Box::pin(call());
                    let mut kept: Vec<_> = (0..others).map(|_| Box::pin(call())).collect();
                    if first {
                        assert!(polled(dropped.as_mut(), polls).await.is_none(), "{what}");
                    }
                    for kept in &mut kept {
                        assert!(polled(kept.as_mut(), 2).await.is_none(), "{what}");
                    }
                    if !first {
                        assert!(polled(dropped.as_mut(), polls).await.is_none(), "{what}");
                    }
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                    drop(dropped);
                    loaders.let_go(10);
                    for kept in kept {
                        assert_eq!(kept.await.unwrap(), 1, "{what}");
                    }
                    settled().await;
                    assert_eq!(
                        store.get_or_load("k", loaders.at_once(1)).await.unwrap(),
                        1,
                        "{what}"
                    );
                    assert_eq!((loaders.calls(), loaders.cut_off()), (1, 0), "{what}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_whose_callers_have_all_gone_is_stored() {
    let (store, loaders) = (memory().await, Loaders::new());
    for (n, patience) in [ms(1), secs(29)].into_iter().enumerate() {
        let key = format!("k{n}");
        let load = || {
            store
                .get_or_load(&key, loaders.held(7))
                .ttl(secs(3600))
                .into_future()
        };
        let all = futures_util::future::join(load(), load());
        assert!(tokio::time::timeout(patience, all).await.is_err());
        assert_eq!(loaders.calls(), n as u32 + 1);
        loaders.let_go(1);
        loaders.ended(n as u32 + 1).await;
        settled().await;
        assert_eq!(store.get_model(&key).await.unwrap(), Some(7));
    }
    // It has its time, and no more.
    let load = store
        .get_or_load("late", loaders.held(7))
        .timeout(secs(20))
        .into_future();
    assert!(tokio::time::timeout(secs(1), load).await.is_err());
    tokio::time::advance(secs(19)).await;
    loaders.ended(3).await;
    assert_eq!(loaders.cut_off(), 1);
    loaders.let_go(1);
    let next = store.get_or_load("late", loaders.at_once(8)).outcome().await;
    assert_eq!(seen(next), (8, Origin::Loaded, ZERO));
}
