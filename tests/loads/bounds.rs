//! How many loads there may be, and how many callers of them.

use std::collections::HashMap;
use std::future::IntoFuture;

use cachestore::{Config, Error, LoadError, Loaded, Origin, Store};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::loads::{Asked, Loaders, seen, settled};
use crate::support::{memory, open, secs};

type Outcome = Result<Loaded<u32>, LoadError<String>>;

fn spawn(store: &Store, loaders: &Loaders, key: &str) -> JoinHandle<Outcome> {
    let (store, loaders, key) = (store.clone(), loaders.clone(), key.to_owned());
    tokio::spawn(async move { store.get_or_load(key, loaders.held(1)).outcome().await })
}

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Err(LoadError::Store(error @ Error::Unavailable(_))) if error.is_retryable())
}

#[tokio::test(start_paused = true)]
async fn a_load_too_many_is_refused_until_one_ends() {
    let (store, loaders) = (
        open(Config::memory().max_loads(3).max_load_waiters(100)).await,
        Loaders::new(),
    );
    for round in 0..3 {
        let keys = [0, 1, 2].map(|n| format!("{round}:{n}"));
        let under_way: Vec<_> = keys.iter().map(|key| spawn(&store, &loaders, key)).collect();
        loaders.called(round * 4 + 3).await;
        let more = spawn(&store, &loaders, "more").await.unwrap();
        assert!(is_refused(&more), "{more:?}");
        let many = store.get_or_load_many(["a", "b"], |_| async {
            Ok::<HashMap<String, u32>, String>(HashMap::new())
        });
        let many = many.await;
        assert!(
            matches!(many, Err(LoadError::Store(Error::Unavailable(_)))),
            "{many:?}"
        );
        assert_eq!(loaders.calls(), round * 4 + 3, "a refused loader is not called");
        store.set("other", "v").await.unwrap();
        loaders.let_go(3);
        for load in under_way {
            assert_eq!(seen(load.await.unwrap()).0, 1);
        }
        loaders.let_go(1);
        assert_eq!(
            seen(spawn(&store, &loaders, "more").await.unwrap()).1,
            Origin::Loaded
        );
        store.delete("more").await.unwrap();
    }
}

/// Who waits for a load that is under way starts none.
#[tokio::test(start_paused = true)]
async fn a_joiner_is_no_load() {
    let (store, loaders) = (
        open(Config::memory().max_loads(1).max_load_waiters(100)).await,
        Loaders::new(),
    );
    let lead = spawn(&store, &loaders, "k");
    loaders.called(1).await;
    let joiners: Vec<_> = (0..50).map(|_| spawn(&store, &loaders, "k")).collect();
    settled().await;
    loaders.let_go(1);
    assert_eq!(seen(lead.await.unwrap()).1, Origin::Loaded);
    for joiner in joiners {
        assert_eq!(seen(joiner.await.unwrap()).1, Origin::Joined);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_too_many_is_refused_until_one_has_gone() {
    let (store, loaders) = (
        open(Config::memory().max_loads(100).max_load_waiters(3)).await,
        Loaders::new(),
    );
    let lead = spawn(&store, &loaders, "k");
    let joiners = [spawn(&store, &loaders, "k"), spawn(&store, &loaders, "other")];
    loaders.called(2).await;
    settled().await;
    for key in ["k", "third"] {
        let more = spawn(&store, &loaders, key).await.unwrap();
        assert!(is_refused(&more), "{key}: {more:?}");
    }
    joiners[0].abort();
    settled().await;
    let next = spawn(&store, &loaders, "k");
    settled().await;
    assert!(!next.is_finished(), "there was room for it");
    loaders.let_go(2);
    assert_eq!(seen(lead.await.unwrap()).1, Origin::Loaded);
    assert_eq!(seen(next.await.unwrap()).1, Origin::Joined);
    assert_eq!((loaders.calls(), loaders.cut_off()), (2, 0));
}

/// Who asks for many keys waits for each.
#[tokio::test(start_paused = true)]
async fn a_caller_of_many_keys_is_as_many() {
    let (store, asked) = (
        open(Config::memory().max_loads(100).max_load_waiters(3)).await,
        Asked::default(),
    );
    for keys in [&["a", "b", "c", "d"][..], &["a", "b", "c"]] {
        let answer = store.get_or_load_many(keys, asked.gives(1)).await;
        let refused = matches!(answer, Err(LoadError::Store(Error::Unavailable(_))));
        assert_eq!(refused, keys.len() > 3, "{answer:?}");
    }
    assert_eq!(asked.calls(), [["a", "b", "c"]]);
}

/// All kinds of ends, again and again: were anything left behind, there would be no room in the end.
#[tokio::test(start_paused = true)]
async fn nothing_under_way_is_forgotten() {
    let (store, loaders) = (
        open(Config::memory().max_loads(4).max_load_waiters(8)).await,
        Loaders::new(),
    );
    let dropped = |polls: usize| {
        let mut load = store.get_or_load("dropped", loaders.at_once(1)).into_future();
        async move {
            for _ in 0..polls {
                if (&mut load).now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    for round in 0..200 {
        assert!(
            store.get_or_load("fails", loaders.fails()).await.is_err(),
            "{round}"
        );
        assert!(store.get_or_load("panics", loaders.panics()).await.is_err());
        let late = store
            .get_or_load("late", loaders.after(secs(9), 1))
            .timeout(secs(1));
        assert!(matches!(late.await, Err(LoadError::Timeout)));
        dropped(round % 7).await;
        settled().await;
        store.delete("dropped").await.unwrap();
        let superseded = store.get_or_load(
            "k",
            loaders.runs({
                let store = store.clone();
                async move {
                    store.delete("k").await.unwrap();
                    Ok(1)
                }
            }),
        );
        assert_eq!(seen(superseded.outcome().await).1, Origin::Superseded);
        let stored = join_all((0..4).map(|n| {
            let load = store.get_or_load(format!("stored{n}"), loaders.at_once(1));
            async { load.ttl(secs(1)).await }
        }));
        for stored in stored.await {
            assert_eq!(stored.unwrap(), 1, "{round}");
        }
        let none = store.get_or_load_many(["x", "y", "z"], |_| async {
            Ok::<HashMap<String, u32>, String>(HashMap::new())
        });
        assert_eq!(none.await.unwrap().len(), 0, "{round}");
        settled().await;
    }
    let all = (0..4)
        .map(|n| spawn(&store, &loaders, &format!("last{n}")))
        .collect::<Vec<_>>();
    loaders.let_go(4);
    for last in all {
        assert_eq!(seen(last.await.unwrap()).1, Origin::Loaded);
    }
}

#[tokio::test]
async fn the_bounds_are_over_zero() {
    for (loads, callers) in [(0, 1), (1, 0), (0, 0)] {
        let refused = Store::open(Config::memory().max_loads(loads).max_load_waiters(callers)).await;
        assert!(
            matches!(refused, Err(Error::InvalidConfig { .. })),
            "{loads}, {callers}"
        );
    }
    let store = open(
        Config::memory()
            .max_loads(usize::MAX)
            .max_load_waiters(usize::MAX),
    )
    .await;
    assert_eq!(
        store
            .get_or_load("k", || async { Ok::<_, String>(1) })
            .await
            .unwrap(),
        1
    );
    drop(memory().await);
}
