//! TTLs at the edges: zero, next to nothing, next to a century, and beyond.

use std::time::Duration;

use cachestore::{Config, Error, Result, Store, Ttl};
use tokio::time::advance;

use crate::support::{CENTURY, memory, ms, open, secs};

const NANO: Duration = Duration::from_nanos(1);

/// What is given, and the whole milliseconds that it counts as.
fn accepted() -> [(Duration, Duration); 10] {
    [
        (NANO, ms(1)),
        (Duration::from_micros(999), ms(1)),
        (ms(1) - NANO, ms(1)),
        (ms(1), ms(1)),
        (ms(1) + NANO, ms(2)),
        (Duration::from_micros(1_999), ms(2)),
        (secs(1) - NANO, secs(1)),
        (secs(1) + NANO, ms(1_001)),
        (CENTURY - NANO, CENTURY),
        (CENTURY, CENTURY),
    ]
}

fn refused() -> [Duration; 5] {
    [
        Duration::ZERO,
        CENTURY + NANO,
        CENTURY + ms(1),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ]
}

/// Gives the key `k` this TTL in every way there is, and each time shows what became of it.
async fn each_way(store: &Store, ttl: Duration, check: impl AsyncFn(&'static str, Result<()>)) {
    macro_rules! ways {
        ($($name:literal: $call:expr),+ $(,)?) => {$(
            store.set("k", "held").await.unwrap();
            check($name, $call.await.map(drop)).await;
        )+};
    }
    ways! {
        "set": store.set("k", "v").ttl(ttl),
        "replace": store.replace("k", "v").ttl(ttl),
        "compare_and_set": store.compare_and_set("k", "held", "v").ttl(ttl),
        "set_many": store.set_many([("k", "v")]).ttl(ttl),
        "set_model": store.set_model("k", "v").ttl(ttl),
        "set_models": store.set_models([("k", "v")]).ttl(ttl),
        "expire": store.expire("k", ttl),
    }
    store.delete("k").await.unwrap();
    check("add", store.add("k", "v").ttl(ttl).await.map(drop)).await;
}

#[tokio::test(start_paused = true)]
async fn a_ttl_counts_in_whole_milliseconds_rounded_up() {
    let store = memory().await;
    for (given, kept) in accepted() {
        each_way(&store, given, async |way, outcome| {
            outcome.unwrap();
            let seen = store.ttl("k").await.unwrap();
            assert_eq!(seen, Some(Ttl::Remaining(kept)), "{given:?} by {way}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_lives_exactly_as_long_as_its_ttl_says() {
    let store = memory().await;
    for (given, kept) in accepted() {
        store.set("k", "v").ttl(given).await.unwrap();
        assert!(store.exists("k").await.unwrap());
        advance(kept - NANO).await;
        assert!(store.exists("k").await.unwrap(), "{given:?}");
        advance(NANO).await;
        assert!(!store.exists("k").await.unwrap(), "{given:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_ttl_is_refused_and_changes_nothing() {
    let store = memory().await;
    for given in refused() {
        each_way(&store, given, async |way, outcome| {
            let refused = matches!(outcome, Err(Error::InvalidTtl { ttl }) if ttl == given);
            assert!(refused, "{given:?} by {way}: {outcome:?}");
            let untouched = match way {
                "add" => None,
                _ => Some((Ttl::Persistent, "held".to_owned())),
            };
            let seen = store
                .ttl("k")
                .await
                .unwrap()
                .zip(store.get_string("k").await.unwrap());
            assert_eq!(seen, untouched, "{given:?} by {way}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_default_ttl_keeps_the_same_bounds() {
    for (given, kept) in accepted() {
        let store = open(Config::memory().default_ttl(given)).await;
        store.set("k", "v").await.unwrap();
        assert_eq!(
            store.ttl("k").await.unwrap(),
            Some(Ttl::Remaining(kept)),
            "{given:?}"
        );
    }
    for given in refused() {
        let outcome = Store::open(Config::memory().default_ttl(given)).await;
        assert!(
            matches!(outcome, Err(Error::InvalidTtl { ttl }) if ttl == given),
            "{given:?}: {outcome:?}"
        );
    }
}

/// A refused TTL is told before anything else is done, also where nothing would have been written.
#[tokio::test(start_paused = true)]
async fn a_refused_ttl_is_told_even_where_it_would_not_matter() {
    let store = memory().await;
    assert!(matches!(
        store.expire("absent", Duration::ZERO).await,
        Err(Error::InvalidTtl { .. })
    ));
    assert!(matches!(
        store.replace("absent", "v").ttl(Duration::MAX).await,
        Err(Error::InvalidTtl { .. })
    ));
    let none: [(&str, &str); 0] = [];
    assert!(matches!(
        store.set_many(none).ttl(Duration::ZERO).await,
        Err(Error::InvalidTtl { .. })
    ));
}

/// The longest TTLs late in an engine's life: the sum of both times must not wrap.
#[tokio::test(start_paused = true)]
async fn a_century_can_follow_a_century() {
    let store = memory().await;
    for _ in 0..4 {
        store.set("k", "v").ttl(CENTURY).await.unwrap();
        assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Remaining(CENTURY)));
        advance(CENTURY - ms(1)).await;
        assert!(store.exists("k").await.unwrap());
        advance(ms(1)).await;
        assert!(!store.exists("k").await.unwrap());
    }
}
