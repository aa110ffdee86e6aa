//! Loads on the memory engine.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cachestore::{LoadError, Origin};
use support::{memory, ms, secs};

#[tokio::test(start_paused = true)]
async fn smoke() {
    let store = memory().await;
    let calls = Arc::new(AtomicU32::new(0));
    let load = |v: u32| {
        let calls = calls.clone();
        move || async move {
            calls.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(ms(50)).await;
            Ok::<_, String>(v)
        }
    };
    let loaded = store
        .get_or_load("k", load(1))
        .ttl(secs(10))
        .stale_while_revalidate(secs(5))
        .outcome()
        .await
        .unwrap();
    assert_eq!((loaded.value, loaded.origin), (1, Origin::Loaded));
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(1));
    tokio::time::advance(secs(3)).await;
    let loaded = store.get_or_load("k", load(2)).outcome().await.unwrap();
    assert_eq!(
        (loaded.value, loaded.origin, loaded.age),
        (1, Origin::Fresh, secs(3))
    );
    tokio::time::advance(secs(8)).await;
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), None);
    let loaded = store
        .get_or_load("k", load(3))
        .stale_while_revalidate(secs(5))
        .outcome()
        .await
        .unwrap();
    assert_eq!((loaded.value, loaded.origin), (1, Origin::Stale));
    tokio::time::sleep(ms(100)).await;
    let loaded = store.get_or_load("k", load(4)).outcome().await.unwrap();
    assert_eq!((loaded.value, loaded.origin), (3, Origin::Fresh));
    let failed = store.get_or_load("f", || async { Err::<u32, _>("no") }).await;
    assert!(matches!(failed, Err(LoadError::Loader(e)) if *e == "no"));
    let failed = store
        .get_or_load("f", || async {
            panic!("x");
            #[allow(unreachable_code)]
            Ok::<u32, String>(1)
        })
        .await;
    assert!(matches!(failed, Err(LoadError::Panicked)));
    let slow = store.get_or_load("f", load(1)).timeout(ms(10)).await;
    assert!(matches!(slow, Err(LoadError::Timeout)));
    let many = store
        .get_or_load_many(["k", "a", "b"], |m: Vec<String>| async move {
            assert_eq!(m.len(), 2);
            Ok::<_, String>(m.into_iter().filter(|k| k == "a").map(|k| (k, 7u32)).collect())
        })
        .await
        .unwrap();
    assert_eq!(many.len(), 2);
    println!("{:?}", store.stats().await.unwrap());
}
