//! Loads that run while another server becomes the primary: their results are given out and not stored.

use std::time::Duration;

use cachestore::Origin;
use tokio::time::timeout;

use crate::harness::Service;
use crate::harness::opening::{HeldLoad, config, ms, open, told};

/// The replica knows the lease. It may have missed an invalidation that the old primary had acknowledged.
#[tokio::test]
async fn a_load_that_began_before_the_switch_is_not_stored() {
    let mut service = Service::start(1).await;
    let store = open(config(&service.url())).await;
    let load = HeldLoad::begin(&store).await;
    service.replicated().await;
    service.fail_over().await;
    let back = async { while store.set("back", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), back).await.unwrap();
    assert_eq!(load.end().await, Origin::Superseded);
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

/// The new primary takes no writes at first: the leases there cannot be ended when the store connects. Once it takes
/// writes, a load from before the switch is not stored, even if the connection has not been replaced yet.
#[tokio::test]
async fn a_load_from_before_the_switch_is_not_stored_once_writes_are_taken() {
    let mut service = Service::start(1).await;
    let late = Duration::from_secs(30);
    let store = open(config(&service.url()).reconnect_backoff(late, late)).await;
    let load = HeldLoad::begin(&store).await;
    service.replicated().await;
    let needed = |service: &Service, replicas: &str| {
        service.servers[1].command(&["CONFIG", "SET", "min-replicas-to-write", replicas]);
    };
    needed(&service, "1");
    service.fail_over().await;
    let refused = async {
        loop {
            match store.set("back", "v").await {
                Err(error) if told(&error).contains("NOREPLICAS") => break,
                _ => tokio::time::sleep(ms(5)).await,
            }
        }
    };
    timeout(Duration::from_secs(20), refused).await.unwrap();
    needed(&service, "0");
    assert_eq!(load.end().await, Origin::Superseded);
    assert_eq!(service.servers[1].keys("k").len(), 0);
}
