//! Long work beside other tasks.

use std::future::IntoFuture;

use futures_util::poll;

use crate::support::memory;

/// On one thread, so that an engine that does not pause keeps all other tasks from running.
#[tokio::test]
async fn work_that_a_close_waits_for_leaves_others_their_turn() {
    let store = memory().await;
    let entries = (0..100_000).map(|n| (format!("k{n}"), "v"));
    store.set_many(entries).await.unwrap();
    let mut clearing = Box::pin(store.clear().into_future());
    assert!(poll!(&mut clearing).is_pending());
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    let mut turns = 0;
    while !closing.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    closing.await.unwrap().unwrap();
    assert_eq!(clearing.await.unwrap(), 100_000);
    assert!(turns > 20, "{turns} turns");
}
