//! Loaders that use the store themselves.

use std::time::Duration;

use cachestore::{LoadError, Origin, Store};

use crate::engines::{fresh, over_all_engines, seen};
use crate::loads::{Clock, Loaders};
use crate::support::{memory, secs};

over_all_engines! {
    a_loader_may_load_other_keys
    what_is_made_from_what_was_loaded_for_it_is_stored
    a_loader_that_changes_its_own_key_supersedes_itself
}

const ZERO: Duration = Duration::ZERO;

async fn a_loader_may_load_other_keys() {
    let (store, loaders) = (fresh().await, Loaders::new());
    /// Each key is made from the next, ten deep.
    fn chain(store: Store, depth: u32) -> crate::loads::Loading<u32> {
        Box::pin(async move {
            if depth == 0 {
                return Ok(1);
            }
            let inner = store.clone();
            let load = store.get_or_load(format!("k{}", depth - 1), move || chain(inner, depth - 1));
            let value = load.ttl(secs(60)).await.map_err(|error| error.to_string())?;
            Ok(value + 1)
        })
    }
    let outer = store
        .get_or_load("outer", loaders.runs(chain(store.clone(), 10)))
        .outcome();
    assert_eq!(seen(outer.await), (11, Origin::Loaded, ZERO));
    assert_eq!(store.get_model("k3").await.unwrap(), Some(4));
    assert_eq!(store.stats().await.unwrap().loads, 11);
}

/// What was made from keys that were loaded on the way is stored: their storing is no change of them.
async fn what_is_made_from_what_was_loaded_for_it_is_stored() {
    let store = fresh().await;
    let inner = store.clone();
    let load = store.get_or_load("page", move || async move {
        let user: u32 = inner
            .get_or_load("user", || async { Ok::<_, String>(7) })
            .depends_on(["row"])
            .await?;
        Ok::<_, LoadError<String>>(user * 2)
    });
    assert_eq!(
        seen(load.depends_on(["user"]).outcome().await),
        (14, Origin::Loaded, ZERO)
    );
    assert_eq!(store.invalidate(["row"]).await.unwrap(), 2);
}

/// A loader that waits for itself ends by its own times, as any that hangs.
#[tokio::test(start_paused = true)]
async fn a_loader_that_loads_its_own_key_waits_in_vain() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    let again = {
        let (store, loaders) = (store.clone(), loaders.clone());
        async move {
            let again = store.get_or_load("k", loaders.at_once(2)).timeout(secs(1)).await;
            assert!(matches!(again, Err(LoadError::Timeout)), "{again:?}");
            Ok(1)
        }
    };
    let load = store.get_or_load("k", loaders.runs(again)).outcome();
    assert_eq!(seen(load.await), (1, Origin::Loaded, ZERO));
    assert_eq!((clock.now(), loaders.calls()), (secs(1), 1));
}

/// Two that wait for one another likewise.
#[tokio::test(start_paused = true)]
async fn loaders_that_wait_for_one_another_end() {
    let (store, clock) = (memory().await, Clock::new());
    let load = async |mine: &'static str, other: &'static str| {
        let inner = store.clone();
        let load = store.get_or_load(mine, move || async move {
            tokio::task::yield_now().await;
            let other = inner.get_or_load(other, || async { Ok::<_, String>(0) });
            Ok::<u32, String>(other.timeout(secs(2)).await.unwrap_or(9))
        });
        load.await
    };
    let (a, b) = tokio::join!(load("a", "b"), load("b", "a"));
    assert_eq!((a.unwrap(), b.unwrap()), (9, 9));
    assert_eq!(clock.now(), secs(2));
}

async fn a_loader_that_changes_its_own_key_supersedes_itself() {
    let (store, loaders) = (fresh().await, Loaders::new());
    let load = |change: &'static str| {
        let inner = store.clone();
        let runs = async move {
            match change {
                "set" => inner.set_model("k", &5).await.map(drop),
                "delete" => inner.delete("k").await.map(drop),
                "invalidate" => inner.invalidate(["name"]).await.map(drop),
                _ => inner.clear().await.map(drop),
            }
            .unwrap();
            Ok(1)
        };
        store
            .get_or_load("k", loaders.runs(runs))
            .depends_on(["name"])
            .outcome()
    };
    for (change, kept) in [
        ("delete", None),
        ("invalidate", None),
        ("clear", None),
        ("set", Some(5)),
    ] {
        assert_eq!(
            seen(load(change).await),
            (1, Origin::Superseded, ZERO),
            "{change}"
        );
        assert_eq!(
            store.get_model("k").await.unwrap(),
            kept,
            "{change}: what it wrote itself stays"
        );
    }
    assert_eq!(store.stats().await.unwrap().dead_leases, 4);
}
