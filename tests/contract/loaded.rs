//! Loaded values in other calls than loads: their life is their fresh time.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use cachestore::{Error, LoadError, Loaded, Origin, Store, Ttl};
use futures_util::future::join_all;
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

/// One in two thousand random values begins with `0xC1` and a version.
pub(crate) async fn bytes_that_begin_as_a_loaded_value_are_a_value(store: Store) {
    for version in 0..32 {
        for length in [2, 16, 34, 100] {
            let mut bytes = vec![0x5A; length];
            bytes[..2].copy_from_slice(&[0xC1, version]);
            let (key, what) = (format!("{version}:{length}"), (version, length));
            assert!(store.add(&key, bytes.clone()).await.unwrap(), "{what:?}");
            assert!(!store.add(&key, "v").await.unwrap(), "{what:?}");
            assert_eq!(store.ttl(&key).await.unwrap(), Some(Ttl::Persistent), "{what:?}");
            assert!(store.expire(&key, HOUR).await.unwrap(), "{what:?}");
            assert!(store.persist(&key).await.unwrap(), "{what:?}");
            assert_eq!(store.get(&key).await.unwrap().unwrap(), bytes, "{what:?}");
            let model = store.get_model::<u32>(&key).await;
            assert!(matches!(model, Err(Error::Decode(_))), "{what:?}: {model:?}");
            assert!(store.replace(&key, "v").await.unwrap(), "{what:?}");
        }
    }
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

/// Settings: JSON. A NaN is written as `null`, which is no number.
pub(crate) async fn a_value_that_json_does_not_read_again_is_given_to_all_who_wait(store: Store) {
    let loads = Arc::new(AtomicU32::new(0));
    let slow = || {
        let loads = loads.clone();
        let load = store.get_or_load("new", move || async move {
            loads.fetch_add(1, SeqCst);
            sleep(ms(100)).await;
            Ok::<f64, String>(f64::NAN)
        });
        load.ttl(HOUR)
    };
    for value in join_all((0..10).map(|_| slow().into_future())).await {
        assert!(value.unwrap().is_nan());
    }
    assert_eq!(loads.load(SeqCst), 1, "they share one load");
    assert!(!store.exists("new").await.unwrap());
    assert_eq!(store.stats().await.unwrap().unreadable_values, 1);

    let good = store.get_or_load("k", || async { Ok::<f64, String>(1.0) });
    good.ttl(ms(20)).stale_while_revalidate(HOUR).await.unwrap();
    sleep(ms(40)).await;
    let bad = || {
        let load = store.get_or_load("k", || async { Ok::<f64, String>(f64::NAN) });
        load.stale_while_revalidate(HOUR)
    };
    assert_eq!(bad().await.unwrap().to_bits(), 1.0_f64.to_bits());
    let counted = async {
        while store.stats().await.unwrap().unreadable_values < 2 {
            sleep(ms(1)).await;
        }
    };
    assert!(tokio::time::timeout(secs(5), counted).await.is_ok());
    assert_eq!(
        bad().await.unwrap().to_bits(),
        1.0_f64.to_bits(),
        "the stale value stays"
    );
}

/// A field that is skipped on the way out, and required on the way in.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Account {
    id: u32,
    #[serde(skip_serializing)]
    secret: String,
}

/// Settings: each codec.
pub(crate) async fn a_value_that_does_not_decode_again_is_given_to_its_own_caller(store: Store) {
    let load = |id| {
        let load = store.get_or_load("k", move || async move {
            sleep(ms(20)).await;
            let secret = "s".to_owned();
            Ok::<Account, String>(Account { id, secret })
        });
        load.into_future()
    };
    for (id, account) in (0..).zip(join_all((0..4).map(load)).await) {
        let account = account.unwrap();
        assert_eq!(
            (account.id, account.secret.as_str()),
            (id, "s"),
            "each has its own"
        );
    }
    let many = store.get_or_load_many(["a", "b"], |keys| async {
        let account = |key| {
            (
                key,
                Account {
                    id: 7,
                    secret: "s".to_owned(),
                },
            )
        };
        Ok::<_, String>(keys.into_iter().map(account).collect())
    });
    let all = many.await.unwrap();
    assert_eq!((all["a"].id, all["b"].secret.as_str()), (7, "s"));
    assert!(!store.exists("k").await.unwrap() && !store.exists("a").await.unwrap());
    assert_eq!(store.stats().await.unwrap().unreadable_values, 6);
}
