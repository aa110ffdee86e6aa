//! Settings over a real server, at their bounds and beyond: each is refused by its name, or works.

use std::time::Duration;

use cachestore::{Config, Error, RedisConfig, Store};
use tokio::time::timeout;

use crate::harness::opening::{config, ms, told};
use crate::harness::{Proxy, RedisServer};

const HOUR: Duration = Duration::from_secs(60 * 60);
const NANO: Duration = Duration::from_nanos(1);

/// What opening with a value must answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    Refused,
    Works,
    /// A timeout so short that a busy machine may miss it.
    MayBeLate,
}

use Expected::{MayBeLate, Refused, Works};

async fn settled(name: &str, shown: &str, config: impl Into<Config>, expected: Expected) {
    let config = config.into();
    let used = async {
        let store = Store::open(config).await?;
        store.set("k", "v").await?;
        assert_eq!(store.get_string("k").await?.as_deref(), Some("v"));
        store.ping().await?;
        store.close().await
    };
    let answer = timeout(ms(20_000), used).await;
    let answer = answer.unwrap_or_else(|_| panic!("{name} = {shown} hangs"));
    match (&answer, expected) {
        (Ok(()), Works | MayBeLate) => {}
        (Err(Error::InvalidConfig { reason }), Refused) => {
            assert!(reason.contains(name), "{name} = {shown}: {reason}");
        }
        (Err(Error::Timeout { .. } | Error::OutcomeUnknown(_)), MayBeLate) => {}
        _ => panic!("{name} = {shown} is expected to be {expected:?}: {answer:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_at_its_bounds_and_beyond() {
    let server = RedisServer::start().await;
    type Setter<C> = (&'static str, fn(C, usize) -> C, usize);
    let shared: [Setter<Config>; 8] = [
        ("max_key_bytes", Config::max_key_bytes, 65_535),
        ("max_value_bytes", Config::max_value_bytes, usize::MAX),
        ("queue_length", Config::queue_length, usize::MAX >> 3),
        ("queue_bytes", Config::queue_bytes, usize::MAX),
        ("max_lock_waiters", Config::max_lock_waiters, usize::MAX),
        (
            "max_lock_waiters_per_key",
            Config::max_lock_waiters_per_key,
            usize::MAX,
        ),
        ("max_loads", Config::max_loads, usize::MAX),
        ("max_load_waiters", Config::max_load_waiters, usize::MAX),
    ];
    let own: [Setter<RedisConfig>; 5] = [
        ("connections", RedisConfig::connections, 64),
        ("batch_commands", RedisConfig::batch_commands, usize::MAX),
        ("batch_bytes", RedisConfig::batch_bytes, usize::MAX),
        ("max_in_flight", RedisConfig::max_in_flight, 65_536),
        (
            "max_in_flight_bytes",
            RedisConfig::max_in_flight_bytes,
            usize::MAX,
        ),
    ];
    let values = |most: usize| {
        let beyond = most.checked_add(1).map(|value| (value, Refused));
        let largest = (usize::MAX, if most == usize::MAX { Works } else { Refused });
        [(0, Refused), (1, Works), (most, Works), largest]
            .into_iter()
            .chain(beyond)
    };
    for (name, set, most) in shared {
        for (value, expected) in values(most) {
            let shown = value.to_string();
            settled(name, &shown, set(Config::memory(), value), expected).await;
            settled(
                name,
                &shown,
                set(Config::redis(&server.url()).unwrap(), value),
                expected,
            )
            .await;
        }
    }
    for (name, set, most) in own {
        for (value, expected) in values(most) {
            settled(
                name,
                &value.to_string(),
                set(config(&server.url()), value),
                expected,
            )
            .await;
        }
    }
    settled("capacity_bytes", "0", Config::memory().capacity_bytes(0), Refused).await;
    settled(
        "capacity_bytes",
        "MAX",
        Config::memory().capacity_bytes(usize::MAX),
        Works,
    )
    .await;
    let misplaced = Config::redis(&server.url()).unwrap().capacity_bytes(1 << 20);
    settled("capacity_bytes", "1 MiB over Redis", misplaced, Refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_time_at_its_bounds_and_beyond() {
    let server = RedisServer::start().await;
    for (time, expected) in [
        (Duration::ZERO, Refused),
        (NANO, Refused),
        (ms(1), MayBeLate),
        (100 * 365 * 24 * HOUR, Works),
        (Duration::MAX, Works),
    ] {
        let (name, shown) = ("request_timeout", format!("{time:?}"));
        settled(name, &shown, Config::memory().request_timeout(time), expected).await;
        settled(
            name,
            &shown,
            config(&server.url()).request_timeout(time),
            expected,
        )
        .await;
    }
    type Setter = (
        &'static str,
        fn(RedisConfig, Duration) -> RedisConfig,
        Duration,
        Duration,
    );
    let own: [Setter; 5] = [
        ("connect_timeout", RedisConfig::connect_timeout, ms(1), 24 * HOUR),
        (
            "response_timeout",
            RedisConfig::response_timeout,
            ms(1),
            24 * HOUR,
        ),
        ("keep_alive", RedisConfig::keep_alive, ms(1000), 9 * HOUR),
        (
            "reconnect_backoff",
            |config, time| config.reconnect_backoff(time, time),
            ms(1),
            24 * HOUR,
        ),
        (
            "max_connection_age",
            RedisConfig::max_connection_age,
            ms(10),
            Duration::MAX,
        ),
    ];
    for (name, set, least, most) in own {
        let shortest = if name.ends_with("timeout") {
            MayBeLate
        } else {
            Works
        };
        let largest = if most == Duration::MAX { Works } else { Refused };
        for (time, expected) in [
            (Duration::ZERO, Refused),
            (NANO, Refused),
            (least - NANO, Refused),
            (least, shortest),
            (most, Works),
            (most.saturating_add(NANO), largest),
            (Duration::MAX, largest),
        ] {
            settled(
                name,
                &format!("{time:?}"),
                set(config(&server.url()), time),
                expected,
            )
            .await;
        }
    }
    let backwards = config(&server.url()).reconnect_backoff(ms(2), ms(1));
    settled("reconnect_backoff", "2 ms to 1 ms", backwards, Refused).await;
}

/// A connection's age and the waits between attempts are also used after a loss.
#[tokio::test]
async fn the_longest_times_outlive_a_loss() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = Store::open(
        config(&proxy.url())
            .max_connection_age(Duration::MAX)
            .request_timeout(Duration::MAX)
            .keep_alive(9 * HOUR)
            .response_timeout(24 * HOUR)
            .reconnect_backoff(ms(1), 24 * HOUR),
    )
    .await
    .unwrap();
    for _ in 0..3 {
        store.set("k", "v").await.unwrap();
        proxy.cut();
        let read = timeout(ms(10_000), store.get("k"))
            .await
            .expect("it is opened again");
        assert_eq!(read.unwrap().unwrap(), "v");
    }
}

#[tokio::test]
async fn a_name_that_the_server_would_refuse_is_refused_by_its_name() {
    let server = RedisServer::start().await;
    for name in [
        "",
        " ",
        "a b",
        "a b\r\nc",
        "a\nb",
        "\0",
        "caf\u{e9}",
        &"x".repeat(129),
    ] {
        let error = Store::open(config(&server.url()).client_name(name))
            .await
            .unwrap_err();
        assert!(
            told(&error).contains("client_name must be"),
            "{name:?}: {error:?}"
        );
        assert!(!error.is_retryable());
    }
    let longest = "~".repeat(127) + "!";
    let _store = Store::open(config(&server.url()).client_name(longest.as_str()))
        .await
        .unwrap();
    assert!(
        server
            .connections()
            .iter()
            .any(|line| line.contains(&format!(" name={longest} ")))
    );
}

#[tokio::test]
async fn what_no_other_attempt_will_mend_is_not_retryable() {
    let server = RedisServer::start().await;
    for url in [
        format!("unix:///{}", "x".repeat(200)),
        "unix:///a%00b".to_owned(),
        format!("{}/99", server.url()),
    ] {
        let error = match RedisConfig::new(&url) {
            Ok(config) => Store::open(config).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(
            matches!(error, Error::InvalidConfig { .. }),
            "{url}: {}",
            told(&error)
        );
    }
    let error = RedisConfig::new("redis://localhost:0").unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
}

#[tokio::test]
async fn parameters_of_a_url_and_settings_of_a_map_reach_the_engine() {
    let server = RedisServer::start().await;
    let parameters = "connections=3&client_name=billing&namespace=tenant&ttl=1h&request_timeout=2s";
    let by_url: Config = format!("{}?{parameters}", server.url()).parse().unwrap();
    let by_map: Config = serde_json::from_value(serde_json::json!({
        "url": server.url(),
        "connections": 3,
        "client_name": "billing",
        "namespace": "tenant",
        "ttl": "1h",
        "request_timeout": "2s",
    }))
    .unwrap();
    assert_eq!(by_url, by_map);
    let store = Store::open(by_url).await.unwrap();
    store.set("k", "v").await.unwrap();
    let named = server.connections();
    assert_eq!(
        named
            .iter()
            .filter(|line| line.contains(" name=billing "))
            .count(),
        3
    );
    let left = store.ttl("k").await.unwrap().unwrap().remaining().unwrap();
    assert!(left > ms(3_590_000) && left <= HOUR, "{left:?}");
    let root = Store::open(config(&server.url())).await.unwrap();
    assert!(root.exists("tenant:k").await.unwrap());
}
