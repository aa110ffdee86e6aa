//! Sources that fail, hang, or give what cannot be stored, while something stale is at hand.

use std::time::Duration;

use cachestore::{Config, Error, LoadError, LoadOptions, Origin, Store};
use futures_util::future::join_all;

use crate::loads::{Asked, Clock, Loaders, seen, settled};
use crate::support::{memory, ms, open, secs};

const HOUR: Duration = secs(3600);

/// A store with a value of 1 under `k` that is stale.
async fn with_a_stale_value() -> (Store, Loaders, Clock) {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    let load = store.get_or_load("k", Loaders::new().at_once(1)).ttl(secs(10));
    load.stale_if_error(HOUR).await.unwrap();
    clock.at(secs(10)).await;
    (store, loaders, clock)
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_asked_once_in_each_pause() {
    for pause in [None, Some(ms(200)), Some(secs(20))] {
        let (store, loaders, clock) = with_a_stale_value().await;
        let mut options = LoadOptions::default().stale_if_error(HOUR);
        if let Some(pause) = pause {
            options = options.retry_after(pause);
        }
        let pause = pause.unwrap_or(secs(1));
        for asked in 1..4 {
            for _ in 0..1000 {
                let load = store.get_or_load("k", loaders.fails()).options(&options);
                assert_eq!(seen(load.outcome().await).1, Origin::Stale);
            }
            let many = store.get_or_load_many(["k"], Asked::default().gives(9));
            assert_eq!(many.options(&options).await.unwrap()["k"], 1);
            assert_eq!(loaders.calls(), asked);
            clock.at(secs(10) + pause * asked).await;
        }
        // Who can do without the pause, or has nothing stale, asks all the same.
        let at_once = store
            .get_or_load("k", loaders.fails())
            .options(&options)
            .retry_after(Duration::ZERO);
        at_once.await.unwrap();
        assert!(store.get_or_load("k", loaders.fails()).await.is_err());
        let recovered = store.get_or_load("k", loaders.at_once(2)).retry_after(HOUR);
        assert_eq!(seen(recovered.outcome().await).0, 2);
        assert_eq!(loaders.calls(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn loads_in_the_background_pause_after_a_failure() {
    let (store, loaders, clock) = with_a_stale_value().await;
    let (fresh, fresh_loaders) = (memory().await, Loaders::new());
    let load = fresh.get_or_load("k", Loaders::new().at_once(1)).ttl(HOUR);
    load.await.unwrap();
    for second in 1..4 {
        for _ in 0..1000 {
            let load = store.get_or_load("k", loaders.fails());
            assert_eq!(load.stale_while_revalidate(HOUR).await.unwrap(), 1);
            let load = fresh.get_or_load("k", fresh_loaders.fails()).refresh_ahead(0.0);
            assert_eq!(load.await.unwrap(), 1);
            settled().await;
        }
        assert_eq!(loaders.calls(), second);
        assert!(fresh_loaders.calls() <= second);
        clock.at(secs(10 + u64::from(second))).await;
    }
}

/// What is loaded and not stored would be loaded again by each call within the stale window.
#[tokio::test(start_paused = true)]
async fn loads_in_the_background_pause_after_what_is_not_stored() {
    let (store, loaders, _clock) = with_a_stale_value().await;
    for _ in 0..100 {
        let load = store
            .get_or_load("k", loaders.at_once(2))
            .ttl_for(|_| Duration::ZERO);
        assert_eq!(load.stale_while_revalidate(HOUR).await.unwrap(), 1);
        settled().await;
    }
    assert_eq!(loaders.calls(), 1);
    let load = store
        .get_or_load("k", loaders.at_once(3))
        .ttl_for(|_| Duration::ZERO);
    assert_eq!(
        load.stale_if_error(HOUR).await.unwrap(),
        3,
        "who waits is given what is newer"
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_waited_for_a_second_and_by_one() {
    let (store, loaders, clock) = with_a_stale_value().await;
    let load = || {
        let load = store.get_or_load("k", loaders.held(2)).stale_if_error(HOUR);
        load.outcome()
    };
    let began = clock.now();
    assert_eq!(seen(load().await).1, Origin::Stale);
    assert_eq!(clock.now() - began, secs(1));
    for _ in 0..1000 {
        assert_eq!(seen(load().await).1, Origin::Stale);
    }
    let many = store
        .get_or_load_many(["k"], Asked::default().gives(9))
        .stale_if_error(HOUR);
    assert_eq!(many.await.unwrap()["k"], 1);
    assert_eq!((clock.now() - began, loaders.calls()), (secs(1), 1));
    // Who has nothing stale waits, and the load goes on for all.
    let (waits, ()) = tokio::join!(store.get_or_load("k", loaders.held(3)).outcome(), async {
        settled().await;
        loaders.let_go(1);
    });
    assert_eq!(seen(waits).0, 2);
    assert_eq!(seen(load().await), (2, Origin::Fresh, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_time_of_zero_is_given_and_not_stored() {
    let (store, loaders, _clock) = with_a_stale_value().await;
    for key in ["k", "absent"] {
        let load = store
            .get_or_load(key, loaders.at_once(2))
            .stale_if_error(HOUR)
            .jitter(1.0)
            .ttl_for(|_| Duration::ZERO);
        let loaded = load.outcome().await.unwrap();
        assert_eq!((loaded.value, loaded.origin), (2, Origin::Loaded));
        assert_eq!(loaded.fresh_for, Some(Duration::ZERO));
    }
    assert!(!store.exists("absent").await.unwrap());
    let fails = store.get_or_load("k", loaders.fails()).stale_if_error(HOUR);
    assert_eq!(fails.await.unwrap(), 1, "what was stored before stays");
    let many = store.get_or_load_many(["a", "b"], Asked::default().gives(5));
    let all = many.ttl_for(|_| Duration::ZERO).await.unwrap();
    assert_eq!((all.len(), store.exists("a").await.unwrap()), (2, false));
    assert_eq!(store.stats().await.unwrap().load_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn options_are_shared_and_overruled() {
    let (store, loaders) = (open(Config::memory().default_ttl(HOUR)).await, Loaders::new());
    let options = LoadOptions::default().ttl(secs(10)).stale_if_error(secs(10));
    let load = store.get_or_load("k", loaders.at_once(1)).options(&options);
    assert_eq!(load.outcome().await.unwrap().fresh_for, Some(secs(10)));
    let load = store.get_or_load("l", loaders.at_once(1)).options(&options);
    let load = load.persistent().depends_on(["n"]);
    assert_eq!(load.outcome().await.unwrap().fresh_for, None);
    assert_eq!(store.invalidate(["n"]).await.unwrap(), 1);
    let load = store.get_or_load("m", loaders.at_once(1));
    let load = load.persistent().options(&LoadOptions::default());
    assert_eq!(load.outcome().await.unwrap().fresh_for, Some(HOUR));
    let refused = LoadOptions::default().retry_after(Duration::MAX);
    let refused = store.get_or_load("k", loaders.at_once(1)).options(&refused).await;
    assert!(matches!(refused, Err(LoadError::Store(Error::InvalidTtl { .. }))));
}

#[tokio::test(start_paused = true)]
async fn callers_who_wait_for_the_same_failing_load_are_served_once_it_has_failed() {
    let (store, loaders, _clock) = with_a_stale_value().await;
    let calls = (0..100).map(|_| {
        let load = store.get_or_load("k", loaders.fails());
        load.stale_if_error(HOUR).outcome()
    });
    for served in join_all(calls).await {
        assert_eq!(seen(served).1, Origin::Stale);
    }
    assert_eq!(loaders.calls(), 1);
}
