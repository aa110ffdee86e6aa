//! Values that are loaded anew before their time. Time is paused.

use std::collections::BTreeSet;
use std::time::Duration;

use cachestore::Origin;
use futures_util::future::join_all;

use crate::loads::{Clock, Loaders, seen, settled};
use crate::support::{memory, ms, secs};

const ZERO: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn nothing_is_refreshed_before_its_fraction() {
    for (fraction, begin) in [(0.8, 80), (0.5, 50), (1.0, 100)] {
        let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
        let load = |value| {
            store
                .get_or_load("k", loaders.after(secs(25), value))
                .ttl(secs(100))
                .refresh_ahead(fraction)
                .outcome()
        };
        load(1).await.unwrap();
        for age in [secs(0), secs(begin / 2), secs(begin) - ms(1)] {
            clock.at(secs(25) + age).await;
            for fresh in join_all((0..1000).map(|_| load(2))).await {
                assert_eq!(seen(fresh), (1, Origin::Fresh, age), "{fraction}");
            }
        }
        settled().await;
        assert_eq!(loaders.calls(), 1, "{fraction}: however much a load costs");
    }
}

/// Under traffic, a refresh comes before the end, alone, and nobody ever waits.
#[tokio::test(start_paused = true)]
async fn a_key_in_use_is_refreshed_before_its_end() {
    let mut begun = BTreeSet::new();
    for _ in 0..30 {
        let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
        let load = |value| {
            store
                .get_or_load("k", loaders.held(value))
                .ttl(secs(100))
                .refresh_ahead(0.8)
                .outcome()
        };
        loaders.let_go(1);
        load(1).await.unwrap();
        let mut first = None;
        for tick in 0..1000 {
            clock.at(ms(100) * tick).await;
            assert_eq!(seen(load(2).await), (1, Origin::Fresh, ms(100) * tick));
            if first.is_none() && loaders.calls() == 2 {
                first = Some(tick);
            }
        }
        let first = first.expect("a refresh");
        assert!((800..1000).contains(&first));
        begun.insert(first);
        assert_eq!(loaders.calls(), 2, "one at a time, however long it takes");
        loaders.let_go(1);
        loaders.ended(2).await;
        settled().await;
        let (value, origin, age) = seen(load(3).await);
        assert_eq!((value, origin), (2, Origin::Fresh));
        assert_eq!(age, ZERO);
    }
    assert!(begun.len() > 10, "they begin at different times: {begun:?}");
}
