//! `swap` and `get_and_touch`: a read and a change in one step.

use std::time::Duration;

use cachestore::{Bytes, Error, Origin, Store, Ttl};
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::support::{ms, secs};

async fn left(store: &Store, key: &str) -> Duration {
    store.ttl(key).await.unwrap().unwrap().remaining().unwrap()
}

fn bytes(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

pub(crate) async fn swap_returns_what_was_there(store: Store) {
    assert_eq!(store.swap("k", "1").await.unwrap(), None);
    assert_eq!(store.swap("k", "2").depends_on("u").await.unwrap(), bytes("1"));
    assert_eq!(store.swap("k", "").await.unwrap(), bytes("2"));
    assert_eq!(store.swap("k", "3").depends_on("u").await.unwrap(), bytes(""));
    assert_eq!(store.get("k").await.unwrap(), bytes("3"));
    assert_eq!(store.swap("dependent", "1").depends_on("u").await.unwrap(), None);
    store.set("old", "v").ttl(ms(10)).await.unwrap();
    sleep(ms(30)).await;
    assert_eq!(store.swap("old", "w").await.unwrap(), None);
}

pub(crate) async fn of_many_swaps_each_value_is_returned_once(store: Store) {
    let swaps = (0..50).map(|n| {
        let store = store.clone();
        async move { store.swap("k", n.to_string()).await.unwrap() }
    });
    let mut seen: Vec<_> = join_all(swaps).await;
    seen.push(store.take("k").await.unwrap());
    let mut seen: Vec<i64> = seen
        .iter()
        .flatten()
        .map(|value| std::str::from_utf8(value).unwrap().parse().unwrap())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
}

pub(crate) async fn swap_writes_as_set_does(store: Store) {
    store.set("k", "1").ttl(secs(60)).depends_on("u").await.unwrap();
    store.swap("k", "2").await.unwrap();
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Persistent));
    for names in [&[][..], &["v"]] {
        store
            .swap("k", "3")
            .ttl(secs(60))
            .depends_on(names)
            .await
            .unwrap();
        let left = left(&store, "k").await;
        assert!(left > secs(50) && left <= secs(60), "{left:?}");
    }
    assert_eq!(store.invalidate("v").await.unwrap(), 1);
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(crate) async fn swap_takes_the_default_ttl(store: Store) {
    store.swap("k", "v").await.unwrap();
    assert!(left(&store, "k").await > secs(50));
    store.swap("k", "v").persistent().await.unwrap();
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Persistent));
}

pub(crate) async fn a_swap_that_is_too_large_changes_nothing(store: Store) {
    store.set("k", "v").ttl(secs(60)).await.unwrap();
    for names in [&[][..], &["u"]] {
        let refused = store.swap("k", vec![b'v'; 1001]).depends_on(names).await;
        assert!(matches!(refused, Err(Error::ValueTooLarge { .. })), "{refused:?}");
    }
    assert_eq!(store.get("k").await.unwrap(), bytes("v"));
    assert!(left(&store, "k").await > secs(50));
}

/// Whether a load from `source` that `change` came into was stored.
async fn is_stored_over(store: &Store, change: impl AsyncFnOnce(&Store)) -> bool {
    store.set("source", "1").ttl(secs(60)).await.unwrap();
    store.delete("page").await.unwrap();
    let (go, wait) = oneshot::channel::<()>();
    let (began, begun) = oneshot::channel::<()>();
    let loading = {
        let store = store.clone();
        tokio::spawn(async move {
            let load = || async move {
                began.send(()).unwrap();
                wait.await.unwrap();
                Ok::<u32, String>(1)
            };
            let load = store.get_or_load("page", load).depends_on("source");
            load.outcome().await.unwrap()
        })
    };
    begun.await.unwrap();
    change(store).await;
    go.send(()).unwrap();
    match loading.await.unwrap().origin {
        Origin::Loaded => true,
        Origin::Superseded => false,
        origin => panic!("{origin:?}"),
    }
}

pub(crate) async fn swap_ends_what_is_being_loaded(store: Store) {
    let plain = is_stored_over(&store, async |store| {
        drop(store.swap("source", "2").await.unwrap())
    });
    assert!(!plain.await);
    let dependent = is_stored_over(&store, async |store| {
        store.swap("source", "2").depends_on("u").await.unwrap();
    });
    assert!(!dependent.await);
    let touched = is_stored_over(&store, async |store| {
        store.get_and_touch("source", secs(90)).await.unwrap();
    });
    assert!(touched.await, "the value is the same");
}

pub(crate) async fn get_and_touch_returns_the_value_and_renews_its_ttl(store: Store) {
    assert_eq!(store.get_and_touch("k", secs(60)).await.unwrap(), None);
    assert!(!store.exists("k").await.unwrap(), "it creates nothing");
    for ttl in [None, Some(secs(10)), Some(secs(1000))] {
        let set = store.set("k", "v");
        match ttl {
            Some(ttl) => set.ttl(ttl).await.unwrap(),
            None => set.persistent().await.unwrap(),
        }
        assert_eq!(store.get_and_touch("k", secs(100)).await.unwrap(), bytes("v"));
        let left = left(&store, "k").await;
        assert!(left > secs(90) && left <= secs(100), "{left:?}");
    }
    store.get_and_touch("k", ms(20)).await.unwrap();
    sleep(ms(40)).await;
    assert_eq!(store.get_and_touch("k", secs(60)).await.unwrap(), None);
    store.set("empty", "").await.unwrap();
    assert_eq!(store.get_and_touch("empty", secs(60)).await.unwrap(), bytes(""));
}

pub(crate) async fn a_session_that_is_used_lives_on(store: Store) {
    // A busy machine may be late by more than a second.
    store.set("k", "v").ttl(secs(2)).await.unwrap();
    for _ in 0..6 {
        sleep(ms(500)).await;
        assert_eq!(store.get_and_touch("k", secs(2)).await.unwrap(), bytes("v"));
    }
}

pub(crate) async fn get_and_touch_keeps_dependencies(store: Store) {
    store
        .set("page", "v")
        .ttl(ms(1500))
        .depends_on("part")
        .await
        .unwrap();
    store
        .set("part", "v")
        .ttl(ms(1500))
        .depends_on("row")
        .await
        .unwrap();
    for key in ["page", "part"] {
        assert_eq!(store.get_and_touch(key, secs(60)).await.unwrap(), bytes("v"));
    }
    // What leads to them must live as long as they do now.
    sleep(ms(1600)).await;
    assert_eq!(store.invalidate("row").await.unwrap(), 2);
}

pub(crate) async fn get_and_touch_of_a_loaded_value_sets_its_fresh_time(store: Store) {
    let load = || store.get_or_load("k", || async { Ok::<u32, String>(1) });
    load().ttl(secs(10)).stale_if_error(secs(3600)).await.unwrap();
    let stored = store.get("k").await.unwrap();
    assert_eq!(store.get_and_touch("k", secs(100)).await.unwrap(), stored);
    let left = left(&store, "k").await;
    assert!(left > secs(90) && left <= secs(100), "{left:?}");
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(1));

    store.get_and_touch("k", ms(20)).await.unwrap();
    sleep(ms(40)).await;
    let stale = store.get("k").await.unwrap();
    assert!(stale.is_some());
    assert_eq!(store.get_and_touch("k", secs(100)).await.unwrap(), stale);
    assert_eq!(store.ttl("k").await.unwrap(), None, "what is stale stays stale");
    assert_eq!(store.swap("k", "v").await.unwrap(), stale);
    assert_eq!(store.get("k").await.unwrap(), bytes("v"));
}
