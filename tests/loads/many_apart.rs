//! Many keys at once, when they fail, age and change, each in its own way.

use std::collections::BTreeMap;
use std::future::IntoFuture;

use std::time::Duration;

use cachestore::{Error, LoadError, Loaded, Origin};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::loads::{Asked, Clock, Loaders, Values, seen, settled};
use crate::support::{memory, ms, secs};

type Answer = Result<Values, LoadError<String>>;

fn sorted(answer: Answer) -> BTreeMap<String, u32> {
    answer.unwrap().into_iter().collect()
}

fn expected<const N: usize>(values: [(&str, u32); N]) -> BTreeMap<String, u32> {
    values.map(|(key, value)| (key.to_owned(), value)).into()
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_that_of_all_its_keys() {
    let (store, loaders) = (memory().await, Loaders::new());
    store.set_model("there", &1).await.unwrap();
    let failing = |_| async { Err::<Values, _>("the source is down".to_owned()) };
    let panicking = |_| async { panic!("in the loader") };
    let failed: Answer = store.get_or_load_many(["there", "a", "b"], failing).await;
    assert!(matches!(failed, Err(LoadError::Loader(_))), "{failed:?}");
    let failed: Answer = store.get_or_load_many(["there", "a"], panicking).await;
    assert!(matches!(failed, Err(LoadError::Panicked)), "{failed:?}");
    let clock = Clock::new();
    let held = Asked::default().held(&loaders, 1);
    let failed = store
        .get_or_load_many(["there", "a"], held)
        .timeout(secs(3))
        .await;
    assert!(matches!(failed, Err(LoadError::Timeout)), "{failed:?}");
    assert_eq!(clock.now(), secs(3));
    loaders.ended(1).await;
    assert_eq!(loaders.cut_off(), 1);
    let wrong = store.get_or_load_many(["a", "b"], Asked::default().gives(1));
    let failed = wrong.ttl_for(|_| Duration::MAX).await;
    assert!(
        matches!(failed, Err(LoadError::Store(Error::InvalidTtl { .. }))),
        "{failed:?}"
    );
    assert!(!store.exists("a").await.unwrap());
    // A single caller of one of the keys is told the same.
    let (many, single) = tokio::join!(
        store.get_or_load_many(["x", "y"], |_| async {
            settled().await;
            Err::<Values, _>("the source is down".to_owned())
        }),
        async {
            tokio::task::yield_now().await;
            settled().await;
            store.get_or_load("y", loaders.at_once(1)).await
        },
    );
    assert!(matches!(many, Err(LoadError::Loader(_))));
    assert!(matches!(single, Err(LoadError::Loader(_)) | Ok(1)));
    assert_eq!(
        sorted(store.get_or_load_many(["a"], Asked::default().gives(5)).await),
        expected([("a", 5)])
    );
}

/// Of one call, one key may be fresh, one stale, one a stale candidate, one gone.
#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_age() {
    let (store, clock) = (memory().await, Clock::new());
    for (key, at) in [("gone", 0), ("older", 10), ("stale", 20), ("fresh", 30)] {
        clock.at(secs(at)).await;
        let load = store
            .get_or_load(key, || async { Ok::<u32, String>(1) })
            .ttl(secs(10));
        load.stale_while_revalidate(secs(10))
            .stale_if_error(secs(20))
            .await
            .unwrap();
    }
    clock.at(secs(39)).await;
    let asked = Asked::default();
    let keys = ["fresh", "stale", "older"];
    let load = store.get_or_load_many(keys, asked.fails());
    let load = load
        .stale_while_revalidate(secs(10))
        .stale_if_error(secs(20))
        .await;
    assert_eq!(sorted(load), expected([("fresh", 1), ("older", 1), ("stale", 1)]));
    settled().await;
    assert_eq!(asked.calls(), [["older", "stale"]], "one call for both");
    assert_eq!(store.stats().await.unwrap().stale_answers, 2);
    let load = store
        .get_or_load_many(["fresh", "gone"], asked.fails())
        .stale_if_error(secs(20))
        .await;
    assert!(matches!(load, Err(LoadError::Loader(_))), "{load:?}");
    let load = store.get_or_load_many(["fresh", "stale", "older", "gone"], asked.gives(2));
    let load = load
        .retry_after(Duration::ZERO)
        .stale_while_revalidate(secs(10))
        .stale_if_error(secs(20))
        .await;
    assert_eq!(
        sorted(load),
        expected([("fresh", 1), ("gone", 2), ("older", 2), ("stale", 1)])
    );
    settled().await;
    let load = store.get_or_load_many(["stale"], asked.gives(3)).await;
    assert_eq!(
        sorted(load),
        expected([("stale", 2)]),
        "it was loaded in the background"
    );
    assert_eq!(asked.calls()[2..], [["gone", "older", "stale"]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_loaded_once_in_the_background() {
    let (store, asked, loaders, clock) = (memory().await, Asked::default(), Loaders::new(), Clock::new());
    let load = |value| {
        let load = store
            .get_or_load_many(["a", "b"], asked.held(&loaders, value))
            .ttl(secs(10));
        load.stale_while_revalidate(secs(20)).into_future()
    };
    loaders.let_go(1);
    load(1).await.unwrap();
    clock.at(secs(11)).await;
    for stale in join_all((0..100).map(|_| load(2))).await {
        assert_eq!(sorted(stale), expected([("a", 1), ("b", 1)]));
    }
    let single = store
        .get_or_load("a", loaders.held(9))
        .stale_while_revalidate(secs(20))
        .outcome()
        .await;
    assert_eq!(seen(single), (1, Origin::Stale, secs(11)));
    settled().await;
    assert_eq!((asked.calls().len(), loaders.calls()), (2, 2));
    loaders.let_go(1);
    loaders.ended(2).await;
    settled().await;
    assert_eq!(sorted(load(3).await), expected([("a", 2), ("b", 2)]));
    assert_eq!(clock.now(), secs(11));
}

/// Changed while it was loaded, a key is answered and not stored, and the others are.
#[tokio::test(start_paused = true)]
async fn a_change_of_one_key_supersedes_that_one() {
    let (store, asked, loaders) = (memory().await, Asked::default(), Loaders::new());
    let load = store
        .get_or_load_many(["a", "b", "c"], asked.held(&loaders, 1))
        .depends_on(["u"]);
    let (all, ()) = tokio::join!(load, async {
        loaders.called(1).await;
        store.delete("b").await.unwrap();
        loaders.let_go(1);
    });
    assert_eq!(sorted(all), expected([("a", 1), ("b", 1), ("c", 1)]));
    assert_eq!(
        store.get_models::<u32>(["a", "b", "c"]).await.unwrap(),
        [Some(1), None, Some(1)]
    );
    let load = store
        .get_or_load_many(["b", "d"], asked.held(&loaders, 2))
        .depends_on(["u"]);
    let (both, ()) = tokio::join!(load, async {
        loaders.called(2).await;
        assert_eq!(store.invalidate(["u"]).await.unwrap(), 2);
        loaders.let_go(1);
    });
    assert_eq!(sorted(both), expected([("b", 2), ("d", 2)]));
    assert_eq!(crate::support::keys(&store, "").await, [""; 0]);
    assert_eq!(store.stats().await.unwrap().dead_leases, 3);
}

/// Changes of all kinds beside it never make it fail: it is asked for values, and there is a loader.
#[tokio::test(start_paused = true)]
async fn changes_beside_it_never_fail_it() {
    let store = memory().await;
    let mut random = 7_u64;
    let mut below = |end: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % end
    };
    for round in 0..3_000 {
        let (turns, yields): (Vec<u64>, u64) = ((0..8).map(|_| below(12)).collect(), below(4));
        let load = |value: u32| {
            let load = store.get_or_load_many(["a", "b"], move |keys: Vec<String>| async move {
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
                Ok::<Values, String>(keys.into_iter().map(|key| (key, value)).collect())
            });
            load.into_future()
        };
        let after = async |turns: u64| {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        };
        let loads = join_all([0, 1, 2].map(|n| {
            let (turns, load, after) = (turns[n], &load, &after);
            async move {
                after(turns).await;
                load(n as u32).await
            }
        }));
        let changes = async {
            after(turns[3]).await;
            store.delete("a").await.unwrap();
            after(turns[4]).await;
            store.invalidate(["b"]).await.unwrap();
            after(turns[5]).await;
            store.delete_many(["a", "b"]).await.unwrap();
        };
        let (loads, ()) = tokio::join!(loads, changes);
        for load in loads {
            assert_eq!(
                load.map(|values| values.len()).map_err(|error| error.to_string()),
                Ok(2),
                "round {round}"
            );
        }
        store.delete_many(["a", "b"]).await.unwrap();
    }
}

/// A loader of many keys has nothing for one of them; who wanted that one alone has a loader of his own.
#[tokio::test(start_paused = true)]
async fn who_joins_a_load_that_leaves_his_key_out_loads_it() {
    let store = memory().await;
    let many = store.get_or_load_many(["left out", "given"], |_| async {
        tokio::time::sleep(ms(50)).await;
        Ok::<Values, String>([("given".to_owned(), 1)].into())
    });
    let single = async {
        tokio::time::sleep(ms(10)).await;
        let own = store.get_or_load("left out", || async { Ok::<u32, String>(2) });
        own.outcome().await
    };
    let (many, single) = tokio::join!(many.into_future(), single);
    assert_eq!(sorted(many), expected([("given", 1)]));
    let (value, origin, _) = seen(single);
    assert_eq!((value, origin), (2, Origin::Loaded));
}

/// A call of many keys has a loader of its own too, which may know what another's did not.
#[tokio::test(start_paused = true)]
async fn a_key_that_anothers_loader_left_out_is_loaded_by_a_call_of_many() {
    let (store, loaders, asked) = (memory().await, Loaders::new(), Asked::default());
    let held = loaders.held(());
    let leaves_out = store.get_or_load_many(["k"], |_| async {
        held().await?;
        Ok::<Values, String>(Values::new())
    });
    let (first, second, ()) = tokio::join!(
        leaves_out.into_future(),
        async {
            loaders.called(1).await;
            store.get_or_load_many(["k"], asked.gives(5)).await
        },
        async {
            loaders.called(1).await;
            settled().await;
            loaders.let_go(1);
        }
    );
    assert_eq!(sorted(first), expected([]));
    assert_eq!(sorted(second), expected([("k", 5)]));
    assert_eq!(asked.calls(), [["k"]]);
}

/// A call whose loader has run for other keys cannot run it for a key that another's loader left out.
#[tokio::test(start_paused = true)]
async fn a_key_that_anothers_loader_left_out_is_absent_once_the_own_loader_has_run() {
    let (store, loaders, asked) = (memory().await, Loaders::new(), Asked::default());
    let held = loaders.held(());
    let leaves_out = store.get_or_load_many(["k"], |_| async {
        held().await?;
        Ok::<Values, String>(Values::new())
    });
    let (first, second, ()) = tokio::join!(
        leaves_out.into_future(),
        async {
            loaders.called(1).await;
            store.get_or_load_many(["k", "own"], asked.gives(5)).await
        },
        async {
            loaders.called(1).await;
            settled().await;
            loaders.let_go(1);
        }
    );
    assert_eq!(sorted(first), expected([]));
    assert_eq!(sorted(second), expected([("own", 5)]));
    assert_eq!(asked.calls(), [["own"]]);
}

/// A field that is skipped on the way out, and required on the way in.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    id: u32,
    #[serde(skip_serializing)]
    secret: String,
}

fn account(id: u32) -> Account {
    let secret = String::new();
    Account { id, secret }
}

/// Whose loader has run cannot load what another's loader made and nobody can read: it is told what has happened.
#[tokio::test(start_paused = true)]
async fn a_joiner_of_a_value_that_does_not_decode_is_told_so() {
    let (store, loaders) = (memory().await, Loaders::new());
    let (single, many, ()) = tokio::join!(
        store
            .get_or_load("theirs", loaders.held(account(1)))
            .into_future(),
        async {
            loaders.called(1).await;
            let load = |keys: Vec<String>| async {
                Ok::<_, String>(keys.into_iter().map(|key| (key, account(2))).collect())
            };
            store.get_or_load_many(["theirs", "own"], load).await
        },
        async {
            loaders.called(1).await;
            settled().await;
            loaders.let_go(1);
        }
    );
    assert_eq!(single.unwrap(), account(1));
    let error = many.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let LoadError::Store(Error::Unavailable(cause)) = error else {
        panic!("{error:?}")
    };
    assert!(cause.to_string().contains("does not decode"), "{cause}");
    // Asked again, its own loader makes the value.
    let load = |keys: Vec<String>| async {
        Ok::<_, String>(keys.into_iter().map(|key| (key, account(3))).collect())
    };
    let many = store.get_or_load_many(["theirs", "own"], load).await;
    assert_eq!(many.unwrap()["theirs"], account(3));
}

/// Each value of many keys tells where it came from, how old it is, and how long it stays fresh.
#[tokio::test(start_paused = true)]
async fn an_outcome_of_many_is_that_of_each_of_its_keys() {
    let (store, loaders, asked, clock) = (memory().await, Loaders::new(), Asked::default(), Clock::new());
    for (key, at) in [("older", 0), ("stale", 10), ("fresh", 20)] {
        clock.at(secs(at)).await;
        let load = store.get_or_load(key, loaders.at_once(1)).ttl(secs(10));
        load.stale_if_error(secs(30)).await.unwrap();
    }
    store.set_model("plain", &1).await.unwrap();
    clock.at(secs(25)).await;
    type Boxed = Box<dyn FnOnce(Vec<String>) -> crate::loads::Loading<Values> + Send>;
    let many = async |keys: [&'static str; 3], loader: Boxed| {
        store
            .get_or_load_many(keys, loader)
            .ttl(secs(10))
            .stale_while_revalidate(secs(10))
            .stale_if_error(secs(30))
            .retry_after(Duration::ZERO)
            .outcome()
            .await
            .unwrap()
    };
    let of = |loaded: &Loaded<u32>| (loaded.value, loaded.origin, loaded.age, loaded.fresh_for);
    let all = many(["fresh", "stale", "plain"], Box::new(asked.gives(9))).await;
    assert_eq!(of(&all["fresh"]), (1, Origin::Fresh, secs(5), Some(secs(5))));
    assert_eq!(
        of(&all["stale"]),
        (1, Origin::Stale, secs(15), Some(Duration::ZERO))
    );
    assert_eq!(of(&all["plain"]), (1, Origin::Fresh, Duration::ZERO, None));
    settled().await;
    assert_eq!(asked.calls(), [["stale"]], "it is loaded in the background");
    let all = many(["older", "stale", "plain"], Box::new(asked.fails())).await;
    assert_eq!(
        of(&all["older"]),
        (1, Origin::Stale, secs(25), Some(Duration::ZERO))
    );
    // One is loaded, one joins, and one is changed while it is loaded.
    let held = loaders.held(2);
    let (_, all, ()) = tokio::join!(
        store.get_or_load("joined", held).ttl(secs(10)).into_future(),
        async {
            loaders.called(4).await;
            let held = asked.held(&loaders, 3);
            many(["joined", "loaded", "changed"], Box::new(held)).await
        },
        async {
            loaders.called(5).await;
            store.delete("changed").await.unwrap();
            loaders.let_go(2);
        }
    );
    assert_eq!(
        of(&all["joined"]),
        (2, Origin::Joined, Duration::ZERO, Some(secs(10)))
    );
    assert_eq!(
        of(&all["loaded"]),
        (3, Origin::Loaded, Duration::ZERO, Some(secs(10)))
    );
    assert_eq!(
        of(&all["changed"]),
        (3, Origin::Superseded, Duration::ZERO, Some(Duration::ZERO))
    );
}

/// The call's own loader goes on for the key that was served stale. The other key is not loaded by it any more.
#[tokio::test(start_paused = true)]
async fn a_stale_key_is_waited_for_no_longer_than_the_soft_timeout() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    let old = store.get_or_load("a", loaders.at_once(1)).ttl(secs(1));
    old.stale_if_error(secs(3600)).await.unwrap();
    clock.at(secs(2)).await;
    let leaves_out = |_| async {
        tokio::time::sleep(ms(300)).await;
        Ok::<_, String>(Values::new())
    };
    let slow = |_| async {
        tokio::time::sleep(secs(20)).await;
        Ok::<_, String>(Values::from([("a".to_owned(), 2), ("b".to_owned(), 2)]))
    };
    let other = store.get_or_load_many(["b"], leaves_out).into_future();
    let both = async {
        settled().await;
        let both = store.get_or_load_many(["a", "b"], slow);
        let both = both.stale_if_error(secs(3600)).soft_timeout(ms(100)).await;
        assert_eq!(clock.now(), secs(2) + ms(300));
        sorted(both)
    };
    let (other, both) = tokio::join!(other, both);
    assert_eq!((sorted(other), both), (expected([]), expected([("a", 1)])));
}
