//! Loaded values in other calls than loads: their life is their fresh time.

use std::time::Duration;

use cachestore::{LoadError, Loaded, Origin, Store, Ttl};
use tokio::time::{Instant, sleep};

use crate::support::{ms, secs};

const HOUR: Duration = secs(3600);

/// Loads 1 under `k`, fresh for `ttl` and of use for an hour after that.
async fn load(store: &Store, ttl: Duration) {
    let load = store.get_or_load("k", || async { Ok::<u32, String>(1) });
    let loaded = load.ttl(ttl).stale_if_error(HOUR).outcome().await;
    assert_eq!(loaded.unwrap().origin, Origin::Loaded);
}

/// What a call gets whose loader fails.
async fn without_the_source(store: &Store) -> Result<Loaded<u32>, LoadError<String>> {
    let load = store.get_or_load("k", || async { Err::<u32, _>("down".to_owned()) });
    load.stale_if_error(HOUR).outcome().await
}

async fn is_stale(store: &Store) -> bool {
    let served = without_the_source(store).await.unwrap();
    assert_eq!(served.value, 1);
    served.origin == Origin::Stale
}

async fn left(store: &Store) -> Duration {
    store.ttl("k").await.unwrap().unwrap().remaining().unwrap()
}

pub(crate) async fn ttl_tells_how_long_a_value_is_fresh(store: Store) {
    load(&store, secs(60)).await;
    let left = left(&store).await;
    assert!(left > secs(50) && left <= secs(60), "{left:?}");
}

pub(crate) async fn expire_sets_the_fresh_time_and_its_windows_follow(store: Store) {
    for fresh in [secs(10), secs(600)] {
        load(&store, secs(60)).await;
        assert!(store.expire("k", fresh).await.unwrap());
        assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(1));
        let left = left(&store).await;
        assert!(left > fresh / 2 && left <= fresh, "{left:?}");
        assert!(!is_stale(&store).await);
        assert!(store.expire("k", ms(20)).await.unwrap());
        sleep(ms(40)).await;
        assert_eq!(store.get_model::<u32>("k").await.unwrap(), None);
        assert!(is_stale(&store).await, "it is kept for its window");
        store.delete("k").await.unwrap();
    }
}

pub(crate) async fn expire_leaves_the_age_as_it_is(store: Store) {
    let began = Instant::now();
    load(&store, secs(60)).await;
    sleep(ms(40)).await;
    for fresh in [secs(10), secs(600)] {
        assert!(store.expire("k", fresh).await.unwrap());
        let age = without_the_source(&store).await.unwrap().age;
        assert!(age >= ms(38) && age <= began.elapsed() + ms(2), "{age:?}");
    }
}

pub(crate) async fn a_stale_value_stays_stale(store: Store) {
    load(&store, ms(20)).await;
    sleep(ms(40)).await;
    assert_eq!(store.ttl("k").await.unwrap(), None);
    assert!(!store.expire("k", HOUR).await.unwrap());
    assert!(!store.persist("k").await.unwrap());
    assert!(!store.replace("k", "v").await.unwrap());
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), None);
    assert!(is_stale(&store).await);
    assert!(store.exists("k").await.unwrap(), "its bytes are there");
    let bytes = store.get("k").await.unwrap().unwrap();
    assert!(store.incr("k", 1).await.is_err(), "they are no integer");
    assert!(store.compare_and_set("k", bytes, "v").await.unwrap());
}

pub(crate) async fn persist_makes_a_value_fresh_for_ever(store: Store) {
    load(&store, secs(60)).await;
    assert!(store.persist("k").await.unwrap());
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Persistent));
    assert!(!store.persist("k").await.unwrap());
    assert!(!is_stale(&store).await);
    assert!(store.expire("k", ms(20)).await.unwrap());
    sleep(ms(40)).await;
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), None);
    assert!(is_stale(&store).await, "it has its window still");
}

pub(crate) async fn add_writes_over_what_is_stale(store: Store) {
    load(&store, secs(60)).await;
    assert!(!store.add("k", "v").await.unwrap(), "it is fresh");
    assert!(!store.add("k", "v").depends_on(["n"]).await.unwrap());
    assert!(store.replace("k", "v").await.unwrap());
    for names in [vec![], vec!["n"]] {
        store.delete("k").await.unwrap();
        load(&store, ms(20)).await;
        sleep(ms(40)).await;
        assert!(!store.replace("k", "w").depends_on(&names).await.unwrap());
        let add = store.add("k", "v").ttl(secs(60)).depends_on(&names);
        assert!(add.await.unwrap());
        assert!(left(&store).await <= secs(60));
        assert!(!store.add("k", "w").depends_on(&names).await.unwrap());
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
        assert_eq!(store.invalidate(["n"]).await.unwrap(), names.len() as u64);
    }
}

pub(crate) async fn expire_keeps_the_dependencies(store: Store) {
    let load = store.get_or_load("k", || async { Ok::<u32, String>(1) });
    load.ttl(ms(500)).depends_on(["n"]).await.unwrap();
    assert!(store.expire("k", HOUR).await.unwrap());
    sleep(ms(600)).await;
    assert_eq!(store.invalidate(["n"]).await.unwrap(), 1);
    assert!(!store.exists("k").await.unwrap());
}

pub(crate) async fn the_form_of_another_version_counts_as_absent(store: Store) {
    load(&store, secs(60)).await;
    let mut stored = store.get("k").await.unwrap().unwrap().to_vec();
    stored[1] += 1;
    store.set("k", stored).await.unwrap();
    assert_eq!(store.ttl("k").await.unwrap(), None);
    assert!(!store.expire("k", HOUR).await.unwrap());
    assert!(!store.replace("k", "v").await.unwrap());
    assert!(store.add("k", "v").await.unwrap());
    // What only looks like such a form is a value as any other.
    store.set("k", [0xC1, 2, 0, 0]).await.unwrap();
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Persistent));
    assert!(!store.add("k", "v").await.unwrap());
    assert!(store.expire("k", HOUR).await.unwrap());
    assert_eq!(store.get("k").await.unwrap().unwrap()[..], [0xC1, 2, 0, 0]);
}

/// Settings: each codec.
pub(crate) async fn a_cached_none_is_no_model(store: Store) {
    let load = || store.get_or_load("k", || async { Ok::<Option<u32>, String>(None) });
    assert_eq!(load().ttl(HOUR).outcome().await.unwrap().origin, Origin::Loaded);
    assert_eq!(load().outcome().await.unwrap().origin, Origin::Fresh);
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), None);
    assert_eq!(
        store.get_models::<u32>(["k", "other"]).await.unwrap(),
        [None, None]
    );
    assert_eq!(store.get_model::<Option<u32>>("k").await.unwrap(), Some(None));
    assert!(store.ttl("k").await.unwrap().is_some(), "it is fresh");
    assert!(!store.replace("k", "v").await.unwrap());
    assert!(store.add("k", "v").await.unwrap());
    assert!(!store.add("k", "w").await.unwrap());
    store.set_model("k", &None::<u32>).await.unwrap();
    assert!(store.get_model::<u32>("k").await.is_err(), "it was not loaded");
    assert!(!store.add("k", "w").await.unwrap());
}
