//! Many keys at once: one read, one call of the loader with what is missing, and each key as if it were alone.

use std::collections::BTreeMap;
use std::future::IntoFuture;

use cachestore::{Error, LoadError, Origin};
use futures_util::future::join_all;

use crate::engines::{fresh, over_all_engines};
use crate::loads::{Asked, Clock, Loaders, Values, seen, settled};
use crate::support::{memory, ms, secs};

over_all_engines! {
    two_that_overlap_do_not_wait_for_one_another
}

type Answer = Result<Values, LoadError<String>>;

fn sorted(answer: Answer) -> BTreeMap<String, u32> {
    answer.unwrap().into_iter().collect()
}

fn expected<const N: usize>(values: [(&str, u32); N]) -> BTreeMap<String, u32> {
    values.map(|(key, value)| (key.to_owned(), value)).into()
}

#[tokio::test(start_paused = true)]
async fn the_loader_is_called_once_with_what_is_missing() {
    let root = memory().await;
    for store in [
        root.clone(),
        root.namespace("tenant").unwrap(),
        root.namespace("a").unwrap().namespace("b").unwrap(),
    ] {
        let asked = Asked::default();
        store.set_models([("a", &1), ("b", &2)]).await.unwrap();
        store
            .get_or_load("loaded", || async { Ok::<u32, String>(3) })
            .await
            .unwrap();
        store.set("undecodable", "a text").await.unwrap();
        let keys = ["a", "x", "b", "y", "x", "loaded", "y", "undecodable", "a"];
        let all = store
            .get_or_load_many(keys, asked.gives(9))
            .ttl(secs(60))
            .depends_on(["u"])
            .await;
        let nines = [
            ("a", 1),
            ("b", 2),
            ("loaded", 3),
            ("undecodable", 9),
            ("x", 9),
            ("y", 9),
        ];
        assert_eq!(sorted(all), expected(nines));
        assert_eq!(
            asked.calls(),
            [["undecodable", "x", "y"]],
            "in no namespace, each once"
        );
        assert_eq!(
            store.get_models::<u32>(["x", "y", "undecodable"]).await.unwrap(),
            [Some(9); 3]
        );
        assert_eq!(store.ttl("x").await.unwrap().unwrap().remaining(), Some(secs(60)));
        let again = store.get_or_load_many(keys, asked.gives(8)).await;
        assert_eq!(sorted(again), expected(nines));
        assert_eq!(asked.calls().len(), 1, "nothing is missing any more");
        assert_eq!(store.invalidate(["u"]).await.unwrap(), 3);
    }
    assert!(
        root.get_model::<u32>("x").await.unwrap().is_none(),
        "namespaces are apart"
    );
}

#[tokio::test(start_paused = true)]
async fn no_keys_are_no_call() {
    let (store, asked) = (memory().await, Asked::default());
    let none: [&str; 0] = [];
    assert_eq!(
        sorted(store.get_or_load_many(none, asked.gives(1)).await),
        BTreeMap::new()
    );
    assert!(asked.calls().is_empty());
    let refused = store.get_or_load_many(["a", " "], asked.gives(1)).await;
    assert!(
        matches!(refused, Err(LoadError::Store(Error::KeyRequired))),
        "{refused:?}"
    );
    assert!(asked.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_left_out_is_absent_and_is_asked_for_again() {
    let (store, asked) = (memory().await, Asked::default());
    let gives = asked.gives(1);
    let some = |keys: Vec<String>| {
        let given = gives(keys);
        async {
            given
                .await
                .map(|all| all.into_iter().filter(|(key, _)| key != "b").collect())
        }
    };
    let both = async { store.get_or_load_many(["a", "b"], some).await };
    let joined = async {
        tokio::task::yield_now().await;
        store.get_or_load_many(["b"], asked.gives(2)).await
    };
    assert_eq!(sorted(both.await), expected([("a", 1)]));
    assert!(!store.exists("b").await.unwrap());
    let clock = Clock::new();
    assert_eq!(sorted(joined.await), expected([("b", 2)]));
    assert_eq!(clock.now(), ms(0), "nothing is left to wait for");
    assert_eq!(asked.calls(), [vec!["a", "b"], vec!["b"]]);
    // What it gives beside is nobody's.
    let more = |_| async { Ok::<_, String>(Values::from([("c".into(), 3), ("else".into(), 4)])) };
    assert_eq!(
        sorted(store.get_or_load_many(["c", "d"], more).await),
        expected([("c", 3)])
    );
    assert!(!store.exists("else").await.unwrap());
}

/// Singles and manys share their loads, whichever comes first.
#[tokio::test(start_paused = true)]
async fn keys_that_are_being_loaded_are_waited_for() {
    let (store, asked, loaders) = (memory().await, Asked::default(), Loaders::new());
    let many = |keys: &'static [&'static str], value| {
        store
            .get_or_load_many(keys, asked.held(&loaders, value))
            .into_future()
    };
    let (first, second, third, last) = tokio::join!(
        store.get_or_load("a", loaders.held(1)).outcome(),
        async {
            loaders.called(1).await;
            many(&["a", "b", "c"], 2).await
        },
        async {
            loaders.called(2).await;
            many(&["a", "b", "c"], 3).await
        },
        async {
            loaders.called(2).await;
            let last = store.get_or_load("c", loaders.held(4)).outcome();
            let (last, ()) = tokio::join!(last, async {
                settled().await;
                loaders.let_go(9);
            });
            last
        },
    );
    assert_eq!(seen(first).0, 1);
    assert_eq!(sorted(second), expected([("a", 1), ("b", 2), ("c", 2)]));
    assert_eq!(sorted(third), expected([("a", 1), ("b", 2), ("c", 2)]));
    let (value, origin, _) = seen(last);
    assert_eq!((value, origin), (2, Origin::Joined));
    assert_eq!(
        asked.calls(),
        [["b", "c"]],
        "each is called with what nobody else loads"
    );
    assert_eq!((store.stats().await.unwrap().loads, loaders.calls()), (2, 2));
}

async fn two_that_overlap_do_not_wait_for_one_another() {
    for turns in 0..12 {
        let (store, asked) = (fresh().await, Asked::default());
        let call = async |keys: [&'static str; 4], value, turns| {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            store.get_or_load_many(keys, asked.gives(value)).await
        };
        let calls = join_all([
            call(["a", "b", "c", "d"], 1, 0),
            call(["d", "c", "b", "a"], 1, turns),
            call(["x", "d", "a", "y"], 1, turns / 2),
        ]);
        let all = tokio::time::timeout(secs(1), calls).await;
        let all = all.unwrap_or_else(|_| panic!("they wait for one another after {turns} turns"));
        let [first, second, third] = all.try_into().unwrap();
        assert_eq!(sorted(first), sorted(second));
        assert_eq!(sorted(third), expected([("a", 1), ("d", 1), ("x", 1), ("y", 1)]));
        let mut loaded = asked.calls().concat();
        loaded.sort_unstable();
        assert_eq!(
            loaded,
            ["a", "b", "c", "d", "x", "y"],
            "each once, after {turns} turns"
        );
    }
}

#[tokio::test]
async fn thousands_are_one_load() {
    let (store, asked) = (memory().await, Asked::default());
    let keys: Vec<String> = (0..10_000).map(|n| format!("k{n}")).collect();
    let half = store
        .get_or_load_many(&keys[..5_000], asked.gives(1))
        .await
        .unwrap();
    assert_eq!(half.len(), 5_000);
    let all = store
        .get_or_load_many(keys.iter().chain(&keys), asked.gives(2))
        .await
        .unwrap();
    assert_eq!(all.len(), 10_000);
    assert!(
        keys.iter()
            .enumerate()
            .all(|(n, key)| all[key] == if n < 5_000 { 1 } else { 2 })
    );
    let calls: Vec<usize> = asked.calls().iter().map(Vec::len).collect();
    assert_eq!(calls, [5_000, 5_000]);
    let stats = store.stats().await.unwrap();
    assert_eq!(
        (stats.loads, stats.load_joins, stats.entries),
        (2, 0, Some(10_000))
    );
    let none = store.get_or_load_many(&keys, asked.gives(3)).await.unwrap();
    assert!(none == all && asked.calls().len() == 2);
}
