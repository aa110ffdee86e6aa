//! Loads: how many, how they ended, and how long they took.

use std::collections::HashMap;
use std::future::IntoFuture;

use cachestore::LoadError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::support::ms;
use crate::told::{Recorded, World, on_both_engines};

on_both_engines!(
    loads_are_counted_by_what_became_of_them,
    loads_that_panic_have_a_duration_too,
    callers_that_join_are_counted,
    a_load_that_a_change_overtakes_is_superseded,
    values_that_do_not_decode_are_counted,
);

async fn loads_are_counted_by_what_became_of_them(world: World, mut recorded: Recorded) {
    let store = &world.store;
    let load = || async {
        tokio::time::sleep(ms(20)).await;
        Ok::<_, String>(1)
    };
    store.get_or_load("a", load).await.unwrap();
    store.get_or_load("a", load).await.unwrap();
    let failed = store.get_or_load("b", || async { Err::<i32, _>("no") }).await;
    assert!(matches!(failed, Err(LoadError::Loader(_))));
    let many = |keys: Vec<String>| async { Ok::<_, String>(keys.into_iter().map(|key| (key, 1)).collect()) };
    store.get_or_load_many(["a", "c", "d"], many).await.unwrap();
    store.stats().await.unwrap();
    assert_eq!(
        recorded.count("cachestore_loads_total", &[("engine", world.engine)]),
        3
    );
    assert_eq!(recorded.count("cachestore_loads_failed_total", &[]), 1);
    assert_eq!(recorded.count("cachestore_loads_joined_total", &[]), 0);
    assert_eq!(recorded.count("cachestore_loads_superseded_total", &[]), 0);
    let took = recorded.samples("cachestore_load_duration_seconds", &[("engine", world.engine)]);
    assert_eq!(took.len(), 3);
    assert!((0.02..5.0).contains(&took[0]), "{took:?}");
    assert!(took[1] < took[0], "{took:?}");
}

async fn loads_that_panic_have_a_duration_too(world: World, mut recorded: Recorded) {
    let store = &world.store;
    // The second one is a direct load.
    for key in ["a", "b"] {
        let load = store.get_or_load(key, || async { panic!("a loader panics") as Result<i32, String> });
        assert!(matches!(load.await, Err(LoadError::Panicked)));
    }
    let many = |_| async { panic!("a loader panics") as Result<HashMap<String, i32>, String> };
    let load = store.get_or_load_many(["c", "d"], many);
    assert!(matches!(load.await, Err(LoadError::Panicked)));
    store.stats().await.unwrap();
    assert_eq!(recorded.count("cachestore_loads_total", &[]), 3);
    assert_eq!(recorded.count("cachestore_loads_failed_total", &[]), 3);
    assert_eq!(recorded.samples("cachestore_load_duration_seconds", &[]).len(), 3);
}

async fn callers_that_join_are_counted(world: World, mut recorded: Recorded) {
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let store = world.store.clone();
    let first = tokio::spawn(async move {
        let load = || async {
            let _ = begun.send(());
            let _ = may_go_on.await;
            Ok::<_, String>(1)
        };
        store.get_or_load("k", load).await
    });
    has_begun.await.unwrap();
    let mut joining = Box::pin(
        world
            .store
            .get_or_load("k", || async { Ok::<_, String>(2) })
            .into_future(),
    );
    // It is in the line before the first load goes on.
    assert!(timeout(ms(50), &mut joining).await.is_err());
    go_on.send(()).unwrap();
    assert_eq!((first.await.unwrap().unwrap(), joining.await.unwrap()), (1, 1));
    world.store.stats().await.unwrap();
    assert_eq!(recorded.count("cachestore_loads_joined_total", &[]), 1);
    assert_eq!(recorded.count("cachestore_loads_total", &[]), 1);
    assert_eq!(recorded.samples("cachestore_load_duration_seconds", &[]).len(), 1);
    assert_eq!(
        recorded.count(
            "cachestore_calls_total",
            &[("call", "get_or_load"), ("outcome", "ok")]
        ),
        2
    );
}

async fn a_load_that_a_change_overtakes_is_superseded(world: World, mut recorded: Recorded) {
    let store = world.store.clone();
    let changing = store.clone();
    let load = move || async move {
        changing.set("k", "changed").await.unwrap();
        Ok::<_, String>(1)
    };
    assert_eq!(store.get_or_load("k", load).await.unwrap(), 1);
    store.stats().await.unwrap();
    assert_eq!(recorded.count("cachestore_loads_superseded_total", &[]), 1);
    assert_eq!(recorded.count("cachestore_loads_failed_total", &[]), 0);
}

async fn values_that_do_not_decode_are_counted(world: World, mut recorded: Recorded) {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Skips {
        #[serde(skip_serializing)]
        kept: i32,
    }
    let loaded = world
        .store
        .get_or_load("k", || async { Ok::<_, String>(Skips { kept: 1 }) })
        .await;
    assert_eq!(loaded.unwrap().kept, 1);
    world.store.stats().await.unwrap();
    assert_eq!(recorded.count("cachestore_loads_unreadable_total", &[]), 1);
}
