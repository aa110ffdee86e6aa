//! Dependencies on the memory engine, where they are exact: nothing too few, nothing too many, and
//! nothing left behind. What every engine keeps is in the contract.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use cachestore::{MemoryConfig, Store};
use tokio::time::sleep;

use crate::support::{keys, memory, ms, open, secs};

async fn assert_empty(store: &Store) {
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.entries, stats.bytes), (Some(0), Some(0)), "{stats:?}");
}

#[tokio::test]
async fn a_write_that_names_no_dependencies_clears_the_old_ones() {
    let store = memory().await;
    let held = ["set", "replace", "swap", "many", "model", "models"];
    store
        .set_many(held.map(|key| (key, "1")))
        .depends_on(["u"])
        .await
        .unwrap();
    store.set("set", "v").ttl(secs(60)).await.unwrap();
    assert!(store.replace("replace", "v").await.unwrap());
    assert!(store.compare_and_set("swap", "1", "v").await.unwrap());
    store.set_many([("many", "v")]).await.unwrap();
    store.set_model("model", &1).await.unwrap();
    store.set_models([("models", &1)]).await.unwrap();
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 0);
    assert_eq!(keys(&store, "").await.len(), held.len());
}

#[tokio::test]
async fn a_write_that_names_others_depends_on_them_alone() {
    let store = memory().await;
    store.set("page", "v").depends_on(["a", "b"]).await.unwrap();
    store.set("page", "v").depends_on(["b", "c"]).await.unwrap();
    assert_eq!(store.invalidate(["a"]).await.unwrap(), 0);
    assert_eq!(store.invalidate(["c"]).await.unwrap(), 1);
    assert_eq!(store.invalidate(["b"]).await.unwrap(), 0);
    assert_empty(&store).await;
}

#[tokio::test]
async fn an_intermediate_that_is_written_anew_no_longer_connects() {
    let store = memory().await;
    store.set("between", "v").depends_on(["u"]).await.unwrap();
    store.set("page", "v").depends_on(["between"]).await.unwrap();
    store.set("between", "v").await.unwrap();
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 0);
    assert_eq!(store.invalidate(["between"]).await.unwrap(), 2);
    assert_empty(&store).await;
}

#[tokio::test]
async fn what_goes_by_itself_is_found_no_more() {
    let store = memory().await;
    store
        .set_many([("deleted", "1"), ("taken", "1"), ("batch", "1"), ("n", "1")])
        .depends_on(["u"])
        .await
        .unwrap();
    store.delete("deleted").await.unwrap();
    store.take("taken").await.unwrap();
    store.delete_many(["batch"]).await.unwrap();
    store.set("deleted", "again").await.unwrap();
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 1, "n alone");
    assert_eq!(keys(&store, "").await, ["deleted"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_intermediate_connects_before_and_after_it_is_reclaimed() {
    for wait in [ms(1_000), ms(60_000)] {
        let store = memory().await;
        store
            .set("between", "v")
            .ttl(secs(1))
            .depends_on(["u"])
            .await
            .unwrap();
        store.set("page", "v").depends_on(["between"]).await.unwrap();
        store.ping().await.unwrap();
        sleep(wait).await;
        assert_eq!(keys(&store, "").await, ["page"]);
        assert_eq!(store.invalidate(["u"]).await.unwrap(), 1, "after {wait:?}");
        sleep(secs(1)).await;
        assert_empty(&store).await;
    }
}

/// Nobody reads the entries between, so they make room; the last one is read and stays.
#[tokio::test]
async fn an_evicted_intermediate_still_connects() {
    let store = open(MemoryConfig::default().capacity_bytes(256 * 1024)).await;
    store
        .set("between", vec![0; 512])
        .depends_on(["u"])
        .await
        .unwrap();
    store
        .set("page", vec![0; 512])
        .depends_on(["between"])
        .await
        .unwrap();
    for n in 0..20_000 {
        store.set(format!("filler{n}"), vec![0; 512]).await.unwrap();
        assert!(
            store.get("page").await.unwrap().is_some(),
            "a key that is read all the time was evicted"
        );
        if !store.exists("between").await.unwrap() {
            assert_eq!(store.invalidate(["u"]).await.unwrap(), 1);
            assert!(!store.exists("page").await.unwrap());
            return;
        }
    }
    panic!("an entry that nobody reads was never evicted");
}

#[tokio::test]
async fn a_cleared_intermediate_still_connects() {
    let store = memory().await;
    let inner = store.namespace("n").unwrap();
    inner.set("between", "v").depends_on(["u"]).await.unwrap();
    store.set("page", "v").depends_on(["n:between"]).await.unwrap();
    assert_eq!(inner.clear().await.unwrap(), 1);
    assert_eq!(inner.invalidate(["u"]).await.unwrap(), 1);
    assert_empty(&store).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_behind_however_entries_go() {
    let store = memory().await;
    let write = async |n: u64| {
        let names = [
            format!("u{}", n % 17),
            format!("k{}", (n * 7) % 500),
            "everyone".to_owned(),
        ];
        store
            .set(format!("k{n}"), "v")
            .depends_on(names)
            .ttl(secs(60))
            .await
            .unwrap();
    };
    for way in [
        "delete",
        "take",
        "delete_many",
        "overwrite",
        "expire",
        "clear",
        "invalidate",
    ] {
        for n in 0..500 {
            write(n).await;
        }
        assert!(store.stats().await.unwrap().bytes > Some(0));
        let names = || (0..500).map(|n| format!("k{n}"));
        match way {
            "delete" => {
                for key in names() {
                    assert!(store.delete(key).await.unwrap());
                }
            }
            "take" => {
                for key in names().rev() {
                    assert!(store.take(key).await.unwrap().is_some());
                }
            }
            "delete_many" => assert_eq!(store.delete_many(names()).await.unwrap(), 500),
            "overwrite" => {
                store.set_many(names().map(|key| (key, "v"))).await.unwrap();
                assert_eq!(store.invalidate(["everyone"]).await.unwrap(), 0);
                assert_eq!(store.delete_many(names()).await.unwrap(), 500);
            }
            "expire" => sleep(secs(61)).await,
            "clear" => assert_eq!(store.clear().await.unwrap(), 500),
            _ => assert_eq!(store.invalidate(["everyone"]).await.unwrap(), 500),
        }
        assert_empty(&store).await;
    }
}

/// A chain of which only the newest links are alive is remembered as far as an invalidation of its first
/// name has to find them, and forgotten with them.
#[tokio::test]
async fn a_sliding_chain_is_found_and_forgotten() {
    let store = memory().await;
    for round in 0..2 {
        for n in 1..=1_000 {
            store
                .set(format!("k{n}"), "v")
                .depends_on([format!("k{}", n - 1)])
                .await
                .unwrap();
            if n > 10 {
                assert!(store.delete(format!("k{}", n - 10)).await.unwrap());
            }
        }
        match round {
            0 => assert_eq!(store.invalidate(["k0"]).await.unwrap(), 10),
            _ => assert_eq!(
                store
                    .delete_many((1..=1_000).map(|n| format!("k{n}")))
                    .await
                    .unwrap(),
                10
            ),
        }
        assert_empty(&store).await;
    }
}

/// While a large invalidation goes on, others are served, and they see nothing that it has acknowledged.
#[tokio::test]
async fn others_are_served_during_a_large_invalidation() {
    const COUNT: u64 = 100_000;
    let store = open(MemoryConfig::default().capacity_bytes(1 << 30)).await;
    store.set("other", "v").await.unwrap();
    store
        .set_many((0..COUNT).map(|n| (format!("k{n}"), "v")))
        .depends_on(["u"])
        .await
        .unwrap();
    store.ping().await.unwrap();
    let mut invalidation = pin!(store.invalidate(["u"]).into_future());
    let mut unwoken = Context::from_waker(Waker::noop());
    assert!(invalidation.as_mut().poll(&mut unwoken).is_pending());
    assert!(store.exists("other").await.unwrap());
    assert!(
        invalidation.as_mut().poll(&mut unwoken).is_pending(),
        "the other call waited for all of it"
    );
    store.set("late", "v").depends_on(["u"]).await.unwrap();
    assert_eq!(invalidation.await.unwrap(), COUNT);
    assert_eq!(keys(&store, "").await, ["late", "other"]);
    assert_eq!(
        store.invalidate(["u"]).await.unwrap(),
        1,
        "what was written meanwhile depends anew"
    );
}

/// What has expired and waits to be reclaimed is absent for those who write: what they make depend on its key is not
/// derived from it.
#[tokio::test(start_paused = true)]
async fn what_depends_on_an_expired_entry_is_not_derived_from_it() {
    let store = memory().await;
    store
        .set("user", "v")
        .ttl(ms(1))
        .depends_on(["group"])
        .await
        .unwrap();
    store.set("before", "v").depends_on(["user"]).await.unwrap();
    store
        .set("other", "v")
        .ttl(ms(1))
        .depends_on(["group"])
        .await
        .unwrap();
    store.ping().await.unwrap();
    tokio::time::advance(ms(2)).await;
    assert_eq!(
        store.stats().await.unwrap().entries,
        Some(3),
        "the test comes before the engine"
    );
    store.set("after", "v").depends_on(["other"]).await.unwrap();
    let load = store.get_or_load("loaded", || async { Ok::<_, String>(1) });
    load.depends_on(["other"]).await.unwrap();
    assert_eq!(store.invalidate(["group"]).await.unwrap(), 1);
    assert_eq!(keys(&store, "").await, ["after", "loaded"]);
}

/// The end of one entry may be the end of any number of names, which the engine forgets between requests.
#[tokio::test]
async fn a_long_chain_that_nobody_needs_any_more_leaves_nothing_behind() {
    const LENGTH: usize = 30_000;
    let store = memory().await;
    store.set("other", "v").await.unwrap();
    let before = store.stats().await.unwrap().bytes.unwrap();
    for n in 0..LENGTH {
        let next = format!("link{}", n + 1);
        store
            .set(format!("link{n}"), "v")
            .depends_on([next])
            .await
            .unwrap();
    }
    store.set("leaf", "v").depends_on(["link0"]).await.unwrap();
    let links = (0..LENGTH).map(|n| format!("link{n}"));
    assert_eq!(store.delete_many(links).await.unwrap(), LENGTH as u64);
    assert!(store.stats().await.unwrap().bytes > Some(before + 50 * LENGTH as u64));
    assert!(store.delete("leaf").await.unwrap());
    while store.stats().await.unwrap().bytes > Some(before) {
        tokio::task::yield_now().await;
    }
}
