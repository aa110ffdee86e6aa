//! What a value is made from may go, or never be stored, before the value itself is: a change of what that was
//! made from still reaches it.
//!
//! Here a page is made from a part, and the part from a row. The row changes after the page was made, and
//! before it is stored.

use std::collections::HashMap;

use cachestore::{LoadError, MemoryConfig, Origin, Store};

use crate::engines::{fresh, fresh_with, over_all_engines, seen, settled};
use crate::loads::{Loaders, Loading};
use crate::support::{memory, ms, open, secs};

over_all_engines! {
    a_part_that_stays
    a_part_that_is_loaded_for_the_page
    a_part_that_is_too_large_to_be_stored
    a_part_made_from_what_is_too_large_to_be_stored
    a_part_that_does_not_exist
    a_part_that_was_changed_while_it_was_loaded
}

/// What is made from the row before its change, and what after.
const OLD: u32 = 1;
const NEW: u32 = 2;

/// Loads the page from a part, and lets `meanwhile` happen before it is stored.
async fn page(store: &Store, part: Loading<u32>, meanwhile: impl Future<Output = ()>) {
    let loaders = Loaders::new();
    let made = loaders.runs(part);
    let wait = loaders.held(());
    let load = store.get_or_load("page", move || async move {
        let part = made().await?;
        wait().await?;
        Ok::<_, String>(part)
    });
    let change = async {
        loaders.called(2).await;
        meanwhile.await;
        loaders.let_go(1);
    };
    let (made, ()) = tokio::join!(load.depends_on(["part"]).outcome(), change);
    assert_eq!(seen(made).0, OLD);
    settled(store).await;
}

/// The row has changed, and its change is acknowledged: nobody reads a page that was made before.
async fn is_new(store: &Store) {
    let load = store.get_or_load("page", || async { Ok::<_, String>(NEW) });
    let (page, origin, _) = seen(load.outcome().await);
    assert_eq!(page, NEW, "{origin:?}");
}

async fn invalidate(store: &Store) {
    store.invalidate(["row"]).await.unwrap();
}

/// Reads the part, which is there.
fn read(store: &Store) -> Loading<u32> {
    let store = store.clone();
    Box::pin(async move {
        let part = store.get_model("part").await.map_err(|error| error.to_string())?;
        part.ok_or_else(|| "the part is there".to_owned())
    })
}

async fn a_part_that_stays() {
    let store = fresh().await;
    store.set_model("part", &OLD).depends_on(["row"]).await.unwrap();
    page(&store, read(&store), invalidate(&store)).await;
    is_new(&store).await;
}

async fn a_part_that_is_loaded_for_the_page() {
    let store = fresh().await;
    let inner = store.clone();
    let part = Box::pin(async move {
        let load = inner.get_or_load("part", || async { Ok::<_, String>(OLD) });
        load.depends_on(["row"]).await.map_err(|error| error.to_string())
    });
    page(&store, part, invalidate(&store)).await;
    is_new(&store).await;
}

/// Its time is over, and it is reclaimed.
#[tokio::test(start_paused = true)]
async fn a_part_that_expires_meanwhile() {
    for row_changes_first in [true, false] {
        let store = memory().await;
        let set = store.set_model("part", &OLD).depends_on(["row"]);
        set.ttl(ms(10)).await.unwrap();
        page(&store, read(&store), async {
            tokio::time::sleep(secs(1)).await;
            assert_eq!(store.stats().await.unwrap().expired, Some(1));
            if row_changes_first {
                invalidate(&store).await;
            }
        })
        .await;
        invalidate(&store).await;
        is_new(&store).await;
    }
}

/// Others need its room.
#[tokio::test(start_paused = true)]
async fn a_part_that_is_evicted_meanwhile() {
    for row_changes_first in [true, false] {
        let store = open(MemoryConfig::default().capacity_bytes(64 * 1024)).await;
        store.set_model("part", &OLD).depends_on(["row"]).await.unwrap();
        page(&store, read(&store), async {
            let mut others = 0;
            while store.exists("part").await.unwrap() {
                others += 1;
                store.set(format!("other{others}"), vec![0; 1024]).await.unwrap();
                store.get(format!("other{others}")).await.unwrap();
                assert!(others < 100_000, "it is never evicted");
            }
            if row_changes_first {
                invalidate(&store).await;
            }
        })
        .await;
        invalidate(&store).await;
        is_new(&store).await;
    }
}

/// What is too large is handed out and not stored.
async fn a_part_that_is_too_large_to_be_stored() {
    let store = fresh_with(|config| config.max_value_bytes(1000)).await;
    let inner = store.clone();
    let part = Box::pin(async move {
        let load = inner.get_or_load("part", || async { Ok::<_, String>(vec![OLD; 2000]) });
        let part = load
            .depends_on(["row"])
            .await
            .map_err(|error| error.to_string())?;
        Ok(part[0])
    });
    page(&store, part, invalidate(&store)).await;
    assert!(!store.exists("part").await.unwrap());
    is_new(&store).await;
}

/// The same, with one more between them.
async fn a_part_made_from_what_is_too_large_to_be_stored() {
    let store = fresh_with(|config| config.max_value_bytes(1000)).await;
    let (inner, innermost) = (store.clone(), store.clone());
    let part = Box::pin(async move {
        let load = inner.get_or_load("part", || async move {
            let load = innermost.get_or_load("table", || async { Ok::<_, String>(vec![OLD; 2000]) });
            let table = load.depends_on(["row"]).await;
            Ok::<_, LoadError<String>>(table?[0])
        });
        load.depends_on(["table"])
            .await
            .map_err(|error| error.to_string())
    });
    page(&store, part, invalidate(&store)).await;
    is_new(&store).await;
}

/// That there is none is a result too.
async fn a_part_that_does_not_exist() {
    let store = fresh().await;
    let inner = store.clone();
    let part = Box::pin(async move {
        let load = inner.get_or_load_many(["part"], |_| async {
            Ok::<HashMap<String, u32>, String>(HashMap::new())
        });
        let parts = load
            .depends_on(["row"])
            .await
            .map_err(|error| error.to_string())?;
        Ok(parts.get("part").copied().unwrap_or(OLD))
    });
    page(&store, part, invalidate(&store)).await;
    is_new(&store).await;
}

/// A clearing of many takes its time, and others are served meanwhile: what they read that is still to be
/// cleared is gone in the end, and so is what they make from it.
#[tokio::test]
async fn a_part_that_is_cleared_late() {
    let store = memory().await;
    let others = (0..100_000).map(|n| (format!("other{n}"), "v"));
    store.set_many(others).await.unwrap();
    store.set_model("part", &OLD).await.unwrap();
    let loaders = Loaders::new();
    let (part, wait) = (loaders.runs(read(&store)), loaders.held(()));
    let clear = tokio::spawn({
        let store = store.clone();
        async move { store.clear().await }
    });
    tokio::task::yield_now().await;
    let load = store.get_or_load("page", move || async move {
        let part = part().await?;
        wait().await?;
        Ok::<_, String>(part)
    });
    let cleared = async {
        loaders.called(2).await;
        assert!(clear.await.unwrap().unwrap() > 100_000);
        loaders.let_go(1);
    };
    let (made, ()) = tokio::join!(load.depends_on(["part"]).outcome(), cleared);
    let (made, origin, _) = seen(made);
    assert_eq!((made, origin), (OLD, Origin::Superseded));
    is_new(&store).await;
}

/// The same, and the page is stored before the clearing comes to the part.
#[tokio::test]
async fn a_page_that_is_stored_during_a_clearing() {
    let store = memory().await;
    let others = (0..100_000).map(|n| (format!("other{n}"), "v"));
    store.set_many(others).await.unwrap();
    store.set_model("part", &OLD).await.unwrap();
    let clear = tokio::spawn({
        let store = store.clone();
        async move { store.clear().await }
    });
    tokio::task::yield_now().await;
    let part = read(&store);
    let load = store.get_or_load("page", move || part).depends_on(["part"]);
    let (made, origin, _) = seen(load.outcome().await);
    assert!(!clear.is_finished(), "it takes its time");
    assert_eq!((made, origin), (OLD, Origin::Superseded));
    assert!(clear.await.unwrap().unwrap() > 100_000);
    is_new(&store).await;
}

/// The row changes while the part is loaded, and before the page is begun: what the part's loader gives was read
/// before, and so was the page.
async fn a_part_that_was_changed_while_it_was_loaded() {
    for too_large in [false, true] {
        let store = fresh_with(|config| config.max_value_bytes(1000)).await;
        let loaders = Loaders::new();
        let size = if too_large { 2000 } else { 1 };
        let part = tokio::spawn({
            let (store, load) = (store.clone(), loaders.held(vec![OLD; size]));
            async move { store.get_or_load("part", load).depends_on(["row"]).await }
        });
        loaders.called(1).await;
        invalidate(&store).await;
        let (store_of_page, loaders_of_page) = (store.clone(), Loaders::new());
        let (give, given) = tokio::sync::oneshot::channel();
        let page = tokio::spawn({
            let load = loaders_of_page.runs(async move { Ok(given.await.unwrap()) });
            async move {
                let load = store_of_page.get_or_load("page", load).depends_on(["part"]);
                load.outcome().await
            }
        });
        loaders_of_page.called(1).await;
        loaders.let_go(1);
        give.send(part.await.unwrap().unwrap()[0]).unwrap();
        let (made, origin, _) = seen(page.await.unwrap());
        assert_eq!(
            (made, origin),
            (OLD, Origin::Superseded),
            "too large: {too_large}"
        );
        is_new(&store).await;
    }
}
