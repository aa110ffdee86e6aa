//! Sentinels that are down, know no such service, lie, or disagree.

use std::time::Duration;

use cachestore::{Error, RedisConfig, Store};
use tokio::time::{Instant, timeout};

use crate::harness::opening::{config, eventually, ms, open, told};
use crate::harness::{RedisServer, SERVICE, Sentinel, Service};

fn url(sentinels: &[&Sentinel]) -> RedisConfig {
    let all = sentinels.iter().map(|sentinel| sentinel.address());
    RedisConfig::sentinel(SERVICE, all).unwrap()
}

#[tokio::test]
async fn sentinels_that_are_down_are_named() {
    let sentinels = [Sentinel::start(None).await, Sentinel::start(None).await];
    let [mut one, other] = sentinels;
    one.kill9();
    other.signal("STOP");
    let began = Instant::now();
    let error = Store::open(url(&[&one, &other]).sentinel_timeout(ms(200)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(4));
    let said = told(&error);
    for named in [
        &one.address(),
        &other.address(),
        "refused",
        "did not answer in time",
        SERVICE,
    ] {
        assert!(said.contains(named), "{named}: {said}");
    }
}

#[tokio::test]
async fn an_unknown_service_is_a_configuration_that_names_the_sentinels() {
    let sentinel = Sentinel::start(None).await;
    let error = Store::open(url(&[&sentinel])).await.unwrap_err();
    let Error::InvalidConfig { reason } = &error else {
        panic!("{error:?}");
    };
    assert!(
        reason.contains(SERVICE) && reason.contains(&sentinel.address()),
        "{reason}"
    );
}

#[tokio::test]
async fn a_sentinel_that_is_down_is_passed_over() {
    let service = Service::start(1).await;
    let mut down = Sentinel::start(None).await;
    down.kill9();
    let store = open(url(&[&down, &service.sentinels[0]])).await;
    store.set("k", "v").await.unwrap();
    assert_eq!(service.servers[0].keys("k").len(), 1);
}

#[tokio::test]
async fn a_server_that_is_no_sentinel_is_told() {
    let server = RedisServer::start().await;
    let config = RedisConfig::sentinel(SERVICE, [server.url()]).unwrap();
    let error = Store::open(config).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(told(&error).contains(&server.address()), "{error:?}");
}

/// A Sentinel names a replica. It is refused, whatever the Sentinel says.
#[tokio::test]
async fn a_server_that_is_no_primary_is_refused() {
    let service = Service::start(1).await;
    let liar = Sentinel::start(None).await;
    // It would find out by itself within some seconds, but for its name: nobody talks to it.
    liar.watch(&service.servers[1], 1, None);
    liar.command(&["SENTINEL", "SET", SERVICE, "down-after-milliseconds", "600000"]);
    let error = Store::open(url(&[&liar])).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let said = told(&error);
    assert!(
        said.contains(&service.servers[1].address()) && said.contains("primary"),
        "{said}"
    );
}

/// One names a replica, the other the primary: the store finds the primary.
#[tokio::test]
async fn of_sentinels_that_disagree_the_one_that_names_a_primary_counts() {
    let service = Service::start(1).await;
    let liar = Sentinel::start(None).await;
    liar.watch(&service.servers[1], 1, None);
    liar.command(&["SENTINEL", "SET", SERVICE, "down-after-milliseconds", "600000"]);
    let mut store = None;
    for _ in 0..10 {
        store = Store::open(url(&[&liar, &service.sentinels[0]])).await.ok();
        if store.is_some() {
            break;
        }
    }
    let store = store.expect("the store opens");
    store.set("k", "v").await.unwrap();
    assert_eq!(service.servers[0].keys("k").len(), 1);
}

/// One Sentinel is away during a failover, and is the only one that answers afterwards. It still names the old
/// primary, which goes on as one. Neither is believed.
#[tokio::test]
async fn a_sentinel_that_missed_the_switch_is_not_believed() {
    let mut service = Service::start(3).await;
    let config = config(&service.url())
        .request_timeout(ms(1000))
        .sentinel_timeout(ms(200));
    let store = open(config).await;
    store.set("k", "v").await.unwrap();
    service.sentinels[0].kill9();
    service.servers[0].stop();
    service.promotion().await;
    let port = Some(service.servers[1].port());
    let others = 1..service.sentinels.len();
    let followed = || {
        service.sentinels[others.clone()]
            .iter()
            .all(|sentinel| sentinel.primary() == port)
    };
    assert!(eventually(ms(30_000), followed).await);
    let moved = async { while store.set("moved", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), moved).await.unwrap();
    assert_eq!(service.servers[1].keys("moved").len(), 1);

    for sentinel in &service.sentinels[others.clone()] {
        sentinel.signal("STOP");
    }
    service.servers[0].cont();
    service.sentinels[0].restart().await;
    assert_eq!(service.sentinels[0].primary(), Some(service.servers[0].port()));
    service.servers[1].command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let mut said = String::new();
    for n in 0..4 {
        match store.set("after", n.to_string()).await {
            Ok(()) => assert_eq!(
                service.servers[1].command(&["GET", "after"]).text(),
                n.to_string()
            ),
            Err(error) => said.push_str(&told(&error)),
        }
    }
    println!("sentinel: {said}");
    assert!(said.contains("contradicts"), "{said}");
    assert_eq!(service.servers[0].command(&["EXISTS", "after"]).int(), 0);
    for sentinel in &service.sentinels[others] {
        sentinel.signal("CONT");
    }
    let back = async { while store.set("back", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), back).await.unwrap();
    assert_eq!(service.servers[1].keys("back").len(), 1);
}
