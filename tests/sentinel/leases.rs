//! Loads that run while another server becomes the primary: their results are given out and not stored.

use std::sync::Arc;
use std::time::Duration;

use cachestore::Origin;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::harness::Service;
use crate::harness::opening::{config, open};

/// The replica knows the lease. It may have missed an invalidation that the old primary had acknowledged.
#[tokio::test]
async fn a_load_that_began_before_the_switch_is_not_stored() {
    let mut service = Service::start(1).await;
    let store = open(config(&service.url())).await;
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let load = tokio::spawn({
        let (store, begun, go) = (store.clone(), begun.clone(), go.clone());
        async move {
            let loader = move || async move {
                begun.notify_one();
                go.notified().await;
                Ok::<_, std::io::Error>("old".to_owned())
            };
            store
                .get_or_load("k", loader)
                .depends_on("source")
                .outcome()
                .await
        }
    });
    begun.notified().await;
    service.replicated().await;
    service.fail_over().await;
    let back = async { while store.set("back", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), back).await.unwrap();
    go.notify_one();
    let loaded = timeout(Duration::from_secs(20), load)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        (loaded.value.as_str(), loaded.origin),
        ("old", Origin::Superseded)
    );
    assert_eq!(store.get("k").await.unwrap(), None);
    // A load that begins now is stored.
    let loader = || async { Ok::<_, std::io::Error>("new".to_owned()) };
    let new = store.get_or_load("k", loader).await.unwrap();
    assert_eq!(new, "new");
    assert_eq!(
        store.get_model::<String>("k").await.unwrap().as_deref(),
        Some("new")
    );
}
