//! Locks that several wait for.

use cachestore::{Error, Release, Store};
use tokio::task::JoinSet;

use crate::support::{ms, secs};

/// The wait outlasts the holder by less than what waiters of many processes add to their sleep at random.
pub(crate) async fn a_wait_that_outlasts_the_holder_is_never_in_vain(store: Store) {
    let mut waiters = JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        waiters.spawn(async move {
            let key = format!("k{n}");
            store.write_lock(&key, ms(200)).await.unwrap();
            let guard = store.lock(&key).wait(ms(215)).await;
            guard
                .unwrap_or_else(|error| panic!("{n}: {error:?}"))
                .release()
                .await
        });
    }
    while let Some(released) = waiters.join_next().await {
        assert_eq!(released.unwrap().unwrap(), Release::Released);
    }
}

/// The one that is first in line has no time left, and the others have.
pub(crate) async fn a_wait_in_vain_holds_up_nobody(store: Store) {
    let guard = store.lock("k").await.unwrap();
    let mut waiters = JoinSet::new();
    for n in 0..10 {
        let store = store.clone();
        waiters.spawn(async move { store.lock("k").wait(ms(20 + 5 * n)).await.map(drop) });
    }
    while let Some(refused) = waiters.join_next().await {
        assert!(matches!(refused.unwrap(), Err(Error::LockHeld)));
    }
    guard.release().await.unwrap();
    drop(store.lock("k").wait(secs(5)).await.unwrap());
}
