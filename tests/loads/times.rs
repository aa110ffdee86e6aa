//! How long loaded values are fresh, and how long loads may take. Time is paused: each
//! boundary holds to the millisecond.

use std::time::Duration;

use cachestore::{Config, Error, LoadError, Origin, Ttl};
use tokio::time::Instant;

use crate::loads::{Clock, Loaders, seen, settled};
use crate::support::{CENTURY, memory, ms, open, secs};

const ZERO: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn a_value_is_fresh_for_its_ttl_and_not_a_millisecond_longer() {
    for (given, kept) in [
        (Duration::from_nanos(1), ms(1)),
        (Duration::from_micros(1_500), ms(2)),
        (ms(1), ms(1)),
        (secs(10), secs(10)),
        (CENTURY, CENTURY),
    ] {
        let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
        let load = |value| {
            store
                .get_or_load("k", loaders.at_once(value))
                .ttl(given)
                .outcome()
        };
        assert_eq!(seen(load(1).await), (1, Origin::Loaded, ZERO));
        assert_eq!(seen(load(2).await), (1, Origin::Fresh, ZERO));
        for age in [kept / 2, kept - ms(1)] {
            let age = ms(age.as_millis() as u64);
            clock.at(age).await;
            assert_eq!(seen(load(2).await), (1, Origin::Fresh, age), "{given:?}");
            assert_eq!(store.get_model("k").await.unwrap(), Some(1), "{given:?}");
        }
        clock.at(kept).await;
        assert_eq!(store.get_model::<u32>("k").await.unwrap(), None, "{given:?}");
        assert_eq!(seen(load(2).await), (2, Origin::Loaded, ZERO), "{given:?}");
        assert_eq!(loaders.calls(), 2);
    }
}

/// The fresh time begins when the value is stored, not when its load does.
#[tokio::test(start_paused = true)]
async fn the_time_that_a_load_takes_is_not_part_of_the_ttl() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    let slow = store.get_or_load("k", loaders.after(secs(20), 1)).ttl(secs(10));
    assert_eq!(seen(slow.outcome().await), (1, Origin::Loaded, ZERO));
    clock.at(secs(30) - ms(1)).await;
    let age = secs(10) - ms(1);
    let load = |value| store.get_or_load("k", loaders.at_once(value)).outcome();
    assert_eq!(seen(load(2).await), (1, Origin::Fresh, age));
    clock.at(secs(30)).await;
    assert_eq!(seen(load(2).await), (2, Origin::Loaded, ZERO));
}

#[tokio::test(start_paused = true)]
async fn without_a_ttl_a_value_stays() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    store.get_or_load("k", loaders.at_once(1)).await.unwrap();
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Persistent));
    clock.at(CENTURY * 2).await;
    let load = store.get_or_load("k", loaders.at_once(2));
    let load = load.stale_while_revalidate(secs(1)).refresh_ahead(0.0);
    assert_eq!(
        seen(load.outcome().await),
        (1, Origin::Fresh, ZERO),
        "its age is not known"
    );
}

#[tokio::test(start_paused = true)]
async fn the_default_ttl_holds_for_loads_and_can_be_overruled() {
    let store = open(Config::memory().default_ttl(secs(5))).await;
    let loaders = Loaders::new();
    let kept = async |key| store.ttl(key).await.unwrap().unwrap();
    store.get_or_load("default", loaders.at_once(1)).await.unwrap();
    assert_eq!(kept("default").await, Ttl::Remaining(secs(5)));
    store
        .get_or_load("own", loaders.at_once(1))
        .ttl(secs(7))
        .await
        .unwrap();
    assert_eq!(kept("own").await, Ttl::Remaining(secs(7)));
    store
        .get_or_load("stays", loaders.at_once(1))
        .persistent()
        .await
        .unwrap();
    assert_eq!(kept("stays").await, Ttl::Persistent);
    let windows = store.get_or_load("stale", loaders.at_once(1));
    windows
        .stale_while_revalidate(secs(1))
        .stale_if_error(secs(3))
        .await
        .unwrap();
    assert_eq!(
        kept("stale").await,
        Ttl::Remaining(secs(5)),
        "the windows come after it"
    );
    let many =
        |missing: Vec<String>| async { Ok::<_, String>(missing.into_iter().map(|key| (key, 1)).collect()) };
    store.get_or_load_many(["many"], many).await.unwrap();
    assert_eq!(kept("many").await, Ttl::Remaining(secs(5)));
    store
        .get_or_load_many(["many stay"], many)
        .persistent()
        .await
        .unwrap();
    assert_eq!(kept("many stay").await, Ttl::Persistent);
}

#[tokio::test(start_paused = true)]
async fn each_value_can_have_a_ttl_of_its_own() {
    let store = open(Config::memory().default_ttl(secs(5))).await;
    let (loaders, clock) = (Loaders::new(), Clock::new());
    let load = |key, value: Option<u32>| {
        let load = store.get_or_load(key, loaders.at_once(value)).ttl(secs(3600));
        let load = load.ttl_for(|value: &Option<u32>| if value.is_some() { secs(60) } else { secs(1) });
        load.outcome()
    };
    assert_eq!(
        seen(load("there", Some(1)).await),
        (Some(1), Origin::Loaded, ZERO)
    );
    assert_eq!(seen(load("absent", None).await), (None, Origin::Loaded, ZERO));
    clock.at(ms(999)).await;
    assert_eq!(
        seen(load("absent", Some(2)).await),
        (None, Origin::Fresh, ms(999)),
        "None is a value"
    );
    clock.at(secs(1)).await;
    assert_eq!(
        seen(load("absent", Some(2)).await),
        (Some(2), Origin::Loaded, ZERO)
    );
    clock.at(secs(60) - ms(1)).await;
    assert_eq!(seen(load("there", None).await).1, Origin::Fresh);
    clock.at(secs(60)).await;
    assert_eq!(seen(load("there", None).await).1, Origin::Loaded);
}

#[tokio::test(start_paused = true)]
async fn a_ttl_of_its_own_that_is_none_fails_the_load_and_stores_nothing() {
    let (store, loaders) = (memory().await, Loaders::new());
    for ttl in [CENTURY + Duration::from_nanos(1), Duration::MAX] {
        let refused = store
            .get_or_load("k", loaders.at_once(1))
            .ttl_for(move |_| ttl)
            .await;
        assert!(
            matches!(refused, Err(LoadError::Store(Error::InvalidTtl { ttl: shown })) if shown == ttl),
            "{ttl:?}: {refused:?}"
        );
        assert!(!store.exists("k").await.unwrap());
    }
    assert_eq!(
        (loaders.calls(), store.stats().await.unwrap().load_failures),
        (2, 2)
    );
    let load = store.get_or_load("k", loaders.at_once(1)).ttl_for(|_| CENTURY);
    assert_eq!(load.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_the_ends_within_its_fraction() {
    let (store, loaders) = (memory().await, Loaders::new());
    let mut longest_and_shortest = Vec::new();
    for (fraction, low, high) in [(0.0, 100, 100), (0.2, 80, 120), (1.0, 0, 200)] {
        let mut lives = Vec::new();
        for n in 0..500 {
            let key = format!("{fraction}:{n}");
            let load = store.get_or_load(&key, loaders.at_once(n)).ttl(secs(100));
            load.stale_if_error(secs(1000)).jitter(fraction).await.unwrap();
            let fresh = store.ttl(&key).await.unwrap().unwrap().remaining().unwrap();
            assert!(
                (secs(low)..=secs(high)).contains(&fresh) && fresh >= ms(1),
                "{fraction}: {fresh:?}"
            );
            lives.push(fresh);
        }
        lives.sort_unstable();
        longest_and_shortest.push((lives[0], lives[499]));
        let distinct = lives.chunk_by(|a, b| a == b).count();
        assert!(fraction == 0.0 || distinct > 400, "{fraction}: {distinct} ends");
    }
    let [(_, _), (shortest, longest), (least, most)] = longest_and_shortest[..] else {
        unreachable!("one for each fraction");
    };
    assert!(
        shortest < secs(84) && longest > secs(116),
        "{shortest:?} to {longest:?}"
    );
    assert!(least < secs(10) && most > secs(190), "{least:?} to {most:?}");
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_what_one_load_of_many_makes() {
    let store = memory().await;
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    let all =
        |missing: Vec<String>| async { Ok::<_, String>(missing.into_iter().map(|key| (key, 1)).collect()) };
    let load = store.get_or_load_many(&keys, all).ttl(secs(100)).jitter(0.5);
    load.await.unwrap();
    let mut lives = Vec::new();
    for key in &keys {
        lives.push(store.ttl(key).await.unwrap().unwrap().remaining().unwrap());
    }
    lives.sort_unstable();
    assert!(lives[0] >= secs(50) && lives[199] <= secs(150));
    assert!(
        lives[0] < secs(60) && lives[199] > secs(140),
        "{:?} to {:?}",
        lives[0],
        lives[199]
    );
}

/// The loader is dropped, its lease has gone, and the next call loads at once.
#[tokio::test(start_paused = true)]
async fn a_loader_that_takes_too_long_is_dropped() {
    for timeout in [ms(1), secs(3), secs(30)] {
        let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
        let load = store.get_or_load("k", loaders.held(1));
        let load = if timeout == secs(30) {
            load
        } else {
            load.timeout(timeout)
        };
        let late = load.await;
        assert!(matches!(late, Err(LoadError::Timeout)), "{late:?}");
        assert_eq!(clock.now(), timeout);
        loaders.ended(1).await;
        assert_eq!(loaders.cut_off(), 1);
        loaders.let_go(1);
        settled().await;
        assert!(!store.exists("k").await.unwrap());
        let next = store
            .get_or_load("k", loaders.at_once(2))
            .timeout(timeout)
            .outcome();
        assert_eq!(seen(next.await), (2, Origin::Loaded, ZERO));
        assert_eq!(clock.now(), timeout, "nobody waited for the lease");
        assert_eq!(store.stats().await.unwrap().load_failures, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_ends_just_in_time_is_not() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    let load = store
        .get_or_load("k", loaders.after(secs(3) - ms(1), 1))
        .timeout(secs(3))
        .outcome();
    assert_eq!(seen(load.await), (1, Origin::Loaded, ZERO));
    assert_eq!((clock.now(), loaders.cut_off()), (secs(3) - ms(1), 0));
    let century = store
        .get_or_load("c", loaders.after(CENTURY - secs(1), 1))
        .timeout(CENTURY)
        .outcome();
    assert_eq!(seen(century.await), (1, Origin::Loaded, ZERO));
}

/// Each caller waits as long as it said itself; the load takes as long as its own caller said.
#[tokio::test(start_paused = true)]
async fn who_joins_waits_no_longer_than_its_own_timeout() {
    let (store, loaders) = (memory().await, Loaders::new());
    let join = async |leads: u32, timeout: Duration| {
        loaders.called(leads).await;
        let began = Instant::now();
        let joined = store.get_or_load("k", loaders.at_once(9)).timeout(timeout);
        let answer = joined.outcome().await;
        (
            answer.map(|loaded| (loaded.value, loaded.origin)),
            began.elapsed(),
        )
    };
    let lead = store
        .get_or_load("k", loaders.after(secs(10), 1))
        .ttl(secs(60))
        .outcome();
    let (led, (short, after), (long, _)) = tokio::join!(lead, join(1, secs(2)), join(1, secs(20)));
    assert_eq!(seen(led), (1, Origin::Loaded, ZERO));
    assert!(matches!(short, Err(LoadError::Timeout)), "{short:?}");
    assert_eq!(after, secs(2));
    assert_eq!(long.unwrap(), (1, Origin::Joined));
    assert_eq!((loaders.calls(), loaders.cut_off()), (1, 0));

    store.delete("k").await.unwrap();
    let lead = store.get_or_load("k", loaders.held(2)).timeout(secs(5)).outcome();
    let (led, (longer, after)) = tokio::join!(lead, join(2, secs(20)));
    assert!(matches!(led, Err(LoadError::Timeout)), "{led:?}");
    assert!(matches!(longer, Err(LoadError::Timeout)), "{longer:?}");
    assert_eq!(after, secs(5), "the load has ended for all who waited");
    assert_eq!(loaders.calls(), 2);
}
