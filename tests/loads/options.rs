//! What loads refuse, and the longest and shortest times that they take.

use std::collections::HashMap;
use std::time::Duration;

use cachestore::{Config, Error, LoadError, Origin, Store, Ttl};

use crate::loads::{Clock, Loaders, seen, settled};
use crate::support::{CENTURY, memory, ms, open};

const ZERO: Duration = Duration::ZERO;

/// How each way of asking wrongly is answered by both calls, and that no loader ran.
async fn refused(
    store: &Store,
    single: impl Future<Output = Result<u32, LoadError<String>>>,
    many: impl Future<Output = Result<HashMap<String, u32>, LoadError<String>>>,
    what: &str,
) -> Error {
    let before = store.stats().await.unwrap();
    let (Err(LoadError::Store(one)), Err(LoadError::Store(other))) = (single.await, many.await) else {
        panic!("{what} is not refused");
    };
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    let after = store.stats().await.unwrap();
    assert_eq!(
        (after.loads, after.refused - before.refused),
        (before.loads, 2),
        "{what}"
    );
    one
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_before_any_loader_runs() {
    let (store, loaders) = (open(Config::memory().max_key_bytes(20)).await, Loaders::new());
    let many = |_: Vec<String>| async { panic!("the loader ran") };
    macro_rules! refused {
        ($key:expr, $expected:pat $(, $option:ident($given:expr))*) => {{
            let what = stringify!($key $(.$option($given))*);
            let one = async { store.get_or_load($key, loaders.at_once(1)) $(.$option($given))* .await };
            let all = async { store.get_or_load_many(["fine", $key], many) $(.$option($given))* .await };
            let error = refused(&store, one, all, what).await;
            assert!(matches!(error, $expected), "{what}: {error:?}");
        }};
    }
    let over = CENTURY + Duration::from_nanos(1);
    for long in [over, Duration::MAX] {
        refused!("k", Error::InvalidTtl { .. }, ttl(long));
        refused!("k", Error::InvalidTtl { .. }, timeout(long));
        refused!("k", Error::InvalidTtl { .. }, soft_timeout(long));
        refused!("k", Error::InvalidTtl { .. }, stale_while_revalidate(long));
        refused!("k", Error::InvalidTtl { .. }, stale_if_error(long));
    }
    refused!("k", Error::InvalidTtl { ttl: ZERO }, ttl(ZERO));
    refused!("k", Error::InvalidTtl { ttl: ZERO }, timeout(ZERO));
    for fraction in [-0.1, 1.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
        refused!("k", Error::InvalidConfig { .. }, jitter(fraction));
        refused!("k", Error::InvalidConfig { .. }, refresh_ahead(fraction));
    }
    refused!("", Error::KeyRequired);
    refused!(" \t", Error::KeyRequired);
    refused!("cachestore:lease:k", Error::KeyReserved);
    refused!("a key of 21 bytes or so", Error::KeyTooLong { .. });
    refused!("k", Error::KeyRequired, depends_on(["fine", " "]));
    refused!("k", Error::KeyReserved, depends_on(["cachestore:depend:x"]));
    refused!(
        "k",
        Error::KeyTooLong { .. },
        depends_on(["a name of 22 bytes, yes"])
    );
    assert_eq!(loaders.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_longest_and_the_shortest_of_all_are_taken() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    let load = |value| {
        let load = store
            .get_or_load("k", loaders.at_once(value))
            .ttl(CENTURY)
            .timeout(CENTURY);
        let load = load.stale_while_revalidate(CENTURY).stale_if_error(CENTURY);
        load.soft_timeout(CENTURY)
            .jitter(1.0)
            .refresh_ahead(1.0)
            .outcome()
    };
    assert_eq!(seen(load(1).await), (1, Origin::Loaded, ZERO));
    let kept = store.ttl("k").await.unwrap().unwrap().remaining().unwrap();
    assert!(
        kept <= CENTURY,
        "a TTL and its windows together are no longer than a TTL: {kept:?}"
    );
    clock.at(kept - ms(1)).await;
    assert_eq!(seen(load(2).await).0, 1);
    settled().await;
    clock.at(kept + CENTURY).await;
    assert_ne!(seen(load(3).await).0, 1);
    let none = store
        .get_or_load("none", loaders.at_once(1))
        .ttl(ms(1))
        .timeout(ms(1));
    let none = none
        .stale_while_revalidate(ZERO)
        .stale_if_error(ZERO)
        .soft_timeout(ZERO);
    assert_eq!(
        seen(none.jitter(0.0).refresh_ahead(0.0).outcome().await),
        (1, Origin::Loaded, ZERO)
    );
    assert_eq!(store.ttl("none").await.unwrap(), Some(Ttl::Remaining(ms(1))));
}
