//! What is served when a value is no longer fresh, and when it is loaded anew. Time is paused.

use std::collections::HashMap;
use std::time::Duration;

use cachestore::{Config, Error, LoadError, Origin};
use futures_util::future::join_all;

use crate::loads::{Clock, Loaders, seen, settled};
use crate::support::{memory, ms, open, secs};

const ZERO: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_served_at_once_while_one_load_makes_a_new_one() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    let load = |value| {
        let load = store.get_or_load("k", loaders.held(value)).ttl(secs(10));
        load.stale_while_revalidate(secs(5)).outcome()
    };
    loaders.let_go(1);
    load(1).await.unwrap();
    clock.at(secs(10) - ms(1)).await;
    assert_eq!(seen(load(2).await), (1, Origin::Fresh, secs(10) - ms(1)));
    assert_eq!(loaders.calls(), 1, "what is fresh is not loaded");
    clock.at(secs(10)).await;
    // Side by side, and one after the other.
    for stale in join_all((0..500).map(|_| load(2))).await {
        assert_eq!(seen(stale), (1, Origin::Stale, secs(10)));
    }
    clock.at(secs(14)).await;
    for _ in 0..100 {
        assert_eq!(seen(load(2).await), (1, Origin::Stale, secs(14)));
    }
    assert_eq!(clock.now(), secs(14), "nobody has waited");
    assert_eq!(loaders.calls(), 2, "however many were served");
    assert_eq!(store.stats().await.unwrap().stale_answers, 600);
    loaders.let_go(1);
    loaders.ended(2).await;
    settled().await;
    assert_eq!(seen(load(3).await), (2, Origin::Fresh, ZERO));
    assert_eq!((loaders.calls(), loaders.cut_off()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn past_its_window_a_stale_value_has_gone() {
    for window in [ms(1), secs(5)] {
        let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
        let load = |value| {
            let load = store
                .get_or_load("k", loaders.after(ms(500), value))
                .ttl(secs(10));
            load.stale_while_revalidate(window).timeout(ms(400)).outcome()
        };
        store
            .get_or_load("k", loaders.at_once(1))
            .ttl(secs(10))
            .stale_while_revalidate(window)
            .await
            .unwrap();
        clock.at(secs(10) + window - ms(1)).await;
        assert_eq!(seen(load(2).await), (1, Origin::Stale, secs(10) + window - ms(1)));
        clock.at(secs(10) + window).await;
        assert!(!store.exists("k").await.unwrap());
        let gone = load(3).await;
        assert!(matches!(gone, Err(LoadError::Timeout)), "{window:?}: {gone:?}");
    }
}

/// Nobody is told, and the next caller has it tried again.
#[tokio::test(start_paused = true)]
async fn a_load_in_the_background_may_fail() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    store
        .get_or_load("k", loaders.at_once(1))
        .ttl(secs(10))
        .stale_while_revalidate(secs(90))
        .await
        .unwrap();
    clock.at(secs(11)).await;
    for round in 0..3 {
        let window = secs(90);
        let failing = store
            .get_or_load("k", loaders.fails())
            .stale_while_revalidate(window)
            .retry_after(ZERO)
            .outcome();
        assert_eq!(seen(failing.await), (1, Origin::Stale, secs(11)), "{round}");
        settled().await;
        let panicking = store
            .get_or_load("k", loaders.panics())
            .stale_while_revalidate(window)
            .retry_after(ZERO)
            .outcome();
        assert_eq!(seen(panicking.await), (1, Origin::Stale, secs(11)), "{round}");
        settled().await;
    }
    assert_eq!(
        (loaders.calls(), store.stats().await.unwrap().load_failures),
        (7, 6)
    );
    // One that hangs is dropped in its time.
    let hanging = || {
        let load = store.get_or_load("k", loaders.held(2)).timeout(secs(4));
        let load = load.retry_after(ZERO);
        load.stale_while_revalidate(secs(90)).outcome()
    };
    assert_eq!(seen(hanging().await), (1, Origin::Stale, secs(11)));
    settled().await;
    clock.at(secs(15) - ms(1)).await;
    assert_eq!(seen(hanging().await).1, Origin::Stale);
    assert_eq!(
        (loaders.calls(), loaders.cut_off()),
        (8, 3),
        "the panicking ones alone"
    );
    clock.at(secs(15)).await;
    loaders.ended(8).await;
    settled().await;
    assert_eq!(seen(hanging().await).1, Origin::Stale);
    settled().await;
    assert_eq!((loaders.calls(), loaders.cut_off()), (9, 4));
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_stands_in_for_a_load_that_fails() {
    let (store, loaders, clock) = (open(Config::memory()).await, Loaders::new(), Clock::new());
    macro_rules! load {
        ($loader:expr) => {
            store
                .get_or_load("k", $loader)
                .ttl(secs(10))
                .stale_if_error(secs(20))
                .timeout(secs(2))
                .soft_timeout(secs(2))
                .retry_after(ZERO)
                .outcome()
        };
    }
    load!(loaders.at_once(1)).await.unwrap();
    clock.at(secs(10) - ms(1)).await;
    assert_eq!(seen(load!(loaders.fails()).await).1, Origin::Fresh);
    clock.at(secs(10)).await;
    assert_eq!(seen(load!(loaders.fails()).await), (1, Origin::Stale, secs(10)));
    assert_eq!(seen(load!(loaders.panics()).await), (1, Origin::Stale, secs(10)));
    assert_eq!(clock.now(), secs(10));
    let late = load!(loaders.held(2)).await;
    assert_eq!(clock.now(), secs(12), "it was waited for");
    assert_eq!(
        seen(late),
        (1, Origin::Stale, secs(10)),
        "as old as when it was read"
    );
    assert_eq!(store.stats().await.unwrap().stale_answers, 3);
    // A value that cannot be stored is no failure.
    clock.at(secs(30) - ms(1)).await;
    assert_eq!(
        seen(load!(loaders.fails()).await),
        (1, Origin::Stale, secs(30) - ms(1))
    );
    clock.at(secs(30)).await;
    let gone = load!(loaders.fails()).await;
    assert!(
        matches!(&gone, Err(LoadError::Loader(error)) if **error == "the source is down"),
        "{gone:?}"
    );
    let gone = load!(loaders.panics()).await;
    assert!(matches!(gone, Err(LoadError::Panicked)), "{gone:?}");
    assert_eq!(seen(load!(loaders.at_once(3)).await), (3, Origin::Loaded, ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_works_is_waited_for_and_not_replaced_by_what_is_stale() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    store
        .get_or_load("k", loaders.at_once(1))
        .ttl(secs(10))
        .stale_if_error(secs(20))
        .await
        .unwrap();
    clock.at(secs(11)).await;
    let load = store
        .get_or_load("k", loaders.after(secs(3), 2))
        .stale_if_error(secs(20))
        .soft_timeout(secs(4))
        .outcome();
    assert_eq!(seen(load.await), (2, Origin::Loaded, ZERO));
    assert_eq!(clock.now(), secs(14));
}

/// Too many loads under way are as an engine that cannot.
#[tokio::test(start_paused = true)]
async fn a_stale_value_stands_in_where_no_load_can_begin() {
    let (store, loaders, clock) = (
        open(Config::memory().max_loads(1).max_load_waiters(10)).await,
        Loaders::new(),
        Clock::new(),
    );
    let load = |key| {
        let load = store.get_or_load(key, loaders.at_once(1)).ttl(secs(10));
        load.stale_if_error(secs(20)).outcome()
    };
    load("k").await.unwrap();
    clock.at(secs(11)).await;
    let busy = tokio::spawn({
        let (store, loaders) = (store.clone(), loaders.clone());
        async move { store.get_or_load("busy", loaders.held(1)).await }
    });
    loaders.called(2).await;
    assert_eq!(seen(load("k").await), (1, Origin::Stale, secs(11)));
    let many = store.get_or_load_many(["k"], |_| async {
        Err::<HashMap<String, u32>, _>("never called")
    });
    assert_eq!(many.stale_if_error(secs(20)).await.unwrap()["k"], 1);
    let refused = load("absent").await;
    assert!(
        matches!(refused, Err(LoadError::Store(Error::Unavailable(_)))),
        "{refused:?}"
    );
    loaders.let_go(1);
    busy.await.unwrap().unwrap();
    assert_eq!(seen(load("k").await).1, Origin::Loaded);
}

/// First served while it is loaded anew, then only if that fails, then not at all.
#[tokio::test(start_paused = true)]
async fn the_windows_follow_one_another() {
    for (revalidate, on_error) in [(secs(5), secs(20)), (secs(20), secs(5)), (secs(5), secs(5))] {
        let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
        macro_rules! load {
            ($loader:expr) => {
                store
                    .get_or_load("k", $loader)
                    .ttl(secs(10))
                    .stale_while_revalidate(revalidate)
                    .stale_if_error(on_error)
                    .retry_after(ZERO)
                    .outcome()
            };
        }
        load!(loaders.at_once(1)).await.unwrap();
        let last = revalidate.max(on_error);
        assert_eq!(
            store.ttl("k").await.unwrap().unwrap().remaining(),
            Some(secs(10)),
            "the windows come after it"
        );
        clock.at(secs(10) + revalidate - ms(1)).await;
        assert_eq!(seen(load!(loaders.fails()).await).1, Origin::Stale);
        settled().await;
        assert_eq!(loaders.calls(), 2, "in the background");
        clock.at(secs(10) + last - ms(1)).await;
        assert_eq!(seen(load!(loaders.fails()).await).1, Origin::Stale);
        settled().await;
        assert_eq!(loaders.calls(), 3);
        clock.at(secs(10) + last).await;
        assert!(load!(loaders.fails()).await.is_err());
    }
}

/// A value is kept as long as who stored it said, and each reader has its own idea of how stale it may be.
#[tokio::test(start_paused = true)]
async fn each_caller_has_windows_of_its_own() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    for key in ["k", "other"] {
        let load = store.get_or_load(key, loaders.at_once(1)).ttl(secs(10));
        load.stale_while_revalidate(secs(20)).await.unwrap();
    }
    clock.at(secs(15)).await;
    let lenient = store
        .get_or_load("k", loaders.fails())
        .stale_if_error(secs(6))
        .outcome();
    assert_eq!(seen(lenient.await), (1, Origin::Stale, secs(15)));
    let strict = store
        .get_or_load("k", loaders.fails())
        .stale_if_error(secs(5))
        .outcome()
        .await;
    assert!(matches!(strict, Err(LoadError::Loader(_))), "{strict:?}");
    let impatient = store.get_or_load("other", loaders.after(secs(1), 2));
    let impatient = impatient.stale_while_revalidate(secs(5)).outcome();
    assert_eq!(
        seen(impatient.await),
        (2, Origin::Loaded, ZERO),
        "at the end of its window it waits"
    );
    let none = store.get_or_load("k", loaders.at_once(2)).outcome();
    assert_eq!(seen(none.await), (2, Origin::Loaded, ZERO));
    // What was stored without a window has none, whatever its readers wish.
    store
        .get_or_load("short", loaders.at_once(1))
        .ttl(secs(10))
        .await
        .unwrap();
    clock.at(secs(26)).await;
    let late = store
        .get_or_load("short", loaders.fails())
        .stale_if_error(secs(60))
        .await;
    assert!(late.is_err());
}

#[tokio::test(start_paused = true)]
async fn past_the_soft_timeout_a_stale_value_is_served_and_the_load_goes_on() {
    for soft in [ZERO, ms(1), ms(200)] {
        let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
        let load = |value| {
            let load = store
                .get_or_load("k", loaders.after(secs(3), value))
                .ttl(secs(10));
            load.stale_if_error(secs(20)).soft_timeout(soft).outcome()
        };
        assert_eq!(seen(load(1).await), (1, Origin::Loaded, ZERO));
        assert_eq!(clock.now(), secs(3), "where nothing is stale it waits");
        clock.at(secs(14)).await;
        assert_eq!(seen(load(2).await), (1, Origin::Stale, secs(11)));
        assert_eq!(clock.now(), secs(14) + soft);
        assert_eq!(
            seen(load(2).await),
            (1, Origin::Stale, secs(11) + soft),
            "a joiner likewise"
        );
        settled().await;
        assert_eq!(
            loaders.calls(),
            2,
            "{soft:?}: the load goes on, and is the only one"
        );
        clock.at(secs(17) + soft).await;
        loaders.ended(2).await;
        settled().await;
        assert_eq!(seen(load(3).await).0, 2, "{soft:?}: and is stored");
        assert_eq!((loaders.calls(), loaders.cut_off()), (2, 0));
    }
}

/// A load that is quick enough is served, stale or not; a timeout below the soft one goes first.
#[tokio::test(start_paused = true)]
async fn the_soft_timeout_ends_no_load_that_is_quicker() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    store
        .get_or_load("k", loaders.at_once(1))
        .ttl(secs(10))
        .stale_if_error(secs(90))
        .await
        .unwrap();
    clock.at(secs(11)).await;
    let load = store
        .get_or_load("k", loaders.after(ms(199), 2))
        .ttl(secs(10))
        .stale_if_error(secs(90));
    assert_eq!(
        seen(load.soft_timeout(ms(200)).outcome().await),
        (2, Origin::Loaded, ZERO)
    );
    clock.at(secs(30)).await;
    let load = store.get_or_load("k", loaders.held(3)).stale_if_error(secs(90));
    let served = load.soft_timeout(secs(60)).timeout(secs(2)).outcome().await;
    assert_eq!(seen(served).1, Origin::Stale);
    assert_eq!(clock.now(), secs(32));
    let failing = store
        .get_or_load("k", loaders.fails())
        .stale_if_error(secs(90))
        .soft_timeout(secs(60));
    assert_eq!(seen(failing.outcome().await).1, Origin::Stale);
    assert_eq!(clock.now(), secs(32), "a load that has failed is not waited for");
}
