//! The primary fails, and the store follows the replica that is promoted.

use std::time::Duration;

use cachestore::Event;
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use crate::harness::opening::{back, config, eventually, ms, open};
use crate::harness::switch::{Writers, scan_over, switched};
use crate::harness::{Service, lateness};

/// How soon calls succeed after the promotion.
const BACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_killed_primary_is_followed() {
    for sentinels in [1, 3] {
        let mut service = Service::start(sentinels).await;
        let store = open(config(&service.url())).await;
        let mut events = store.events();
        store.set("k", "v").await.unwrap();
        let followed = eventually(ms(5000), || service.servers[1].keys("k").len() == 1).await;
        assert!(followed);
        service.servers[0].kill9();
        let (promoted, back) = tokio::join!(service.promotion(), back(&store));
        let after = back.saturating_duration_since(promoted);
        println!("sentinel: {sentinels}: back {after:?} after the promotion");
        assert!(after < BACK + lateness::late(), "{after:?}");
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
        assert_eq!(service.servers[1].keys("back").len(), 1);
        let node = service.servers[1].address();
        let told = async {
            while let Some(event) = events.next().await {
                if event == (Event::SwitchedPrimary { node: node.clone() }) {
                    return true;
                }
            }
            false
        };
        assert!(timeout(ms(5000), told).await.unwrap());
    }
}

/// The watcher cuts the connections to a primary that stands still, and nothing goes there when it goes on.
#[tokio::test]
async fn a_primary_that_stands_still_gets_no_write_after_the_switch() {
    let service = Service::start(3).await;
    let store = open(config(&service.url()).request_timeout(ms(1000))).await;
    let mut events = store.events();
    store.set("k", "v").await.unwrap();
    let writers = Writers::begin(&store);
    sleep(ms(300)).await;
    service.servers[0].stop();
    let switched = switched(&mut events).await;
    // What was sent to the old primary before is not its business here.
    service.servers[0].cont();
    let back = back(&store).await;
    println!(
        "sentinel: back {:?} after the switch",
        back.saturating_duration_since(switched)
    );
    sleep(ms(1500)).await;
    let after = writers.acknowledged_after(switched).await;
    let mut client = service.servers[1].client();
    for key in &after {
        let there = client.try_command(&["EXISTS", key.as_str()]).unwrap().int();
        assert_eq!(there, 1, "{key} was acknowledged by the old primary");
    }
}

/// Without anybody who calls, too: the near cache is emptied, and an idle store is with the new primary.
#[tokio::test]
async fn an_idle_store_follows_and_its_near_cache_is_emptied() {
    let mut service = Service::start(1).await;
    let store = open(config(&format!("{}&near=1MiB", service.url()))).await;
    let mut events = store.events();
    store.set("k", "v").await.unwrap();
    for _ in 0..20 {
        store.get("k").await.unwrap();
    }
    assert!(store.stats().await.unwrap().near_hits > 0);
    // The replica hears of nothing that comes now, and is told another value when it is promoted.
    service.servers[0].kill9();
    service.promotion().await;
    service.servers[1].command(&["SET", "k", "other"]);
    let flushed = async {
        while let Some(event) = events.next().await {
            if event == Event::NearCacheFlushed {
                return;
            }
        }
    };
    timeout(Duration::from_secs(5), flushed).await.unwrap();
    let there = || {
        !service.servers[1]
            .connections()
            .iter()
            .all(|line| line.contains("cmd=") && line.contains(" name=sentinel"))
    };
    assert!(eventually(ms(5000), there).await);
    back(&store).await;
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("other"));
}

/// Where a page of the old primary ends means nothing at the new one. No key is missed, and keys may come twice.
#[tokio::test]
async fn a_scan_begins_anew_at_the_new_primary() {
    let mut service = Service::start(1).await;
    let store = open(config(&service.url())).await;
    scan_over(&store, async {
        service.replicated().await;
        service.fail_over().await;
        back(&store).await;
    })
    .await;
}

/// What was removed while no primary was there is not read from the replica, which still has it.
#[tokio::test]
async fn removals_without_a_primary_are_replayed_at_the_next_one() {
    let mut service = Service::start(1).await;
    let settings = config(&service.url())
        .wait_for_connection(Duration::ZERO)
        .queue_invalidations(100);
    let store = open(settings).await;
    for key in ["deleted", "name", "kept"] {
        store.set(key, "old").await.unwrap();
    }
    store.set("dependent", "old").depends_on(["name"]).await.unwrap();
    service.replicated().await;
    service.servers[0].kill9();
    while store.exists("nothing").await.is_ok() {}
    assert!(store.delete("deleted").await.is_err());
    assert!(store.invalidate("name").await.is_err());
    let reader = async {
        loop {
            // All of them in one request, so that they are read at one time.
            match store.get_many(["deleted", "name", "dependent", "kept"]).await {
                Ok(values) => return values,
                Err(_) => sleep(ms(1)).await,
            }
        }
    };
    let values = timeout(Duration::from_secs(60), reader).await.unwrap();
    let found: Vec<bool> = values.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, false, false, true]);
    assert_eq!(service.servers[1].keys("d*").len(), 0);
}
