//! TTLs at their edges: a typed error or whole milliseconds, and nothing immortal by accident.

use std::time::Duration;

use cachestore::{Error, Store, Ttl};

use crate::harness::RedisServer;
use crate::harness::opening::{config, ms, open, plain};

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Every call that takes a TTL: whether it was made.
async fn write(store: &Store, call: &str, key: &str, ttl: Duration) -> Result<bool, Error> {
    match call {
        "set" => store.set(key, "v").ttl(ttl).await.map(|()| true),
        "set, dependent" => store
            .set(key, "v")
            .ttl(ttl)
            .depends_on(["d"])
            .await
            .map(|()| true),
        "add" => store.add(key, "v").ttl(ttl).await,
        "add, dependent" => store.add(key, "v").ttl(ttl).depends_on(["d"]).await,
        "replace" => {
            store.set(key, "u").await?;
            store.replace(key, "v").ttl(ttl).await
        }
        "compare_and_set" => {
            store.set(key, "u").await?;
            store.compare_and_set(key, "u", "v").ttl(ttl).await
        }
        "set_many" => store.set_many([(key, "v")]).ttl(ttl).await.map(|()| true),
        "set_model" => store.set_model(key, &1).ttl(ttl).await.map(|()| true),
        "set_models" => store.set_models([(key, &1)]).ttl(ttl).await.map(|()| true),
        "expire" => {
            store.set(key, "u").await?;
            store.expire(key, ttl).await
        }
        other => panic!("no such call: {other}"),
    }
}

const CALLS: [&str; 10] = [
    "set",
    "set, dependent",
    "add",
    "add, dependent",
    "replace",
    "compare_and_set",
    "set_many",
    "set_model",
    "set_models",
    "expire",
];

fn left(server: &RedisServer, key: &str) -> i64 {
    server.command(&["PTTL", key]).int()
}

#[tokio::test]
async fn what_is_no_ttl_is_refused_and_writes_nothing() {
    let (server, store) = plain().await;
    for call in CALLS {
        for ttl in [Duration::ZERO, CENTURY + Duration::from_nanos(1), Duration::MAX] {
            server.flush();
            let answer = write(&store, call, "k", ttl).await;
            assert!(
                matches!(answer, Err(Error::InvalidTtl { ttl: told }) if told == ttl),
                "{call} {ttl:?}"
            );
            let value = server.command(&["GET", "k"]);
            assert!(
                value.bytes().is_none_or(|bytes| bytes == b"u"),
                "{call} {ttl:?}: {value:?}"
            );
        }
    }
}

#[tokio::test]
async fn short_ttls_are_whole_milliseconds_rounded_up() {
    let (server, store) = plain().await;
    for call in CALLS {
        for (ttl, millis) in [
            (Duration::from_nanos(1), 1),
            (Duration::from_micros(999), 1),
            (Duration::from_micros(1001), 2),
            (ms(50), 50),
        ] {
            server.flush();
            assert!(write(&store, call, "k", ttl).await.unwrap(), "{call} {ttl:?}");
            let left = left(&server, "k");
            assert!(left != -1 && left <= millis, "{call} {ttl:?}: {left}");
        }
        // After all of them nothing has become immortal.
        tokio::time::sleep(ms(60)).await;
        assert_eq!(store.get("k").await.unwrap(), None, "{call}");
        assert_eq!(server.keys("*"), Vec::<String>::new(), "{call}: sets go too");
    }
}

#[tokio::test]
async fn long_ttls_are_exact() {
    let (server, store) = plain().await;
    for call in CALLS {
        for ttl in [
            Duration::new(1, 1),
            ms(1500),
            Duration::from_secs(86_400 * 365),
            CENTURY,
        ] {
            server.flush();
            assert!(write(&store, call, "k", ttl).await.unwrap(), "{call} {ttl:?}");
            let wanted = i64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap();
            let left = left(&server, "k");
            assert!(
                left <= wanted && left > wanted - 1000,
                "{call} {ttl:?}: {left} of {wanted}"
            );
        }
    }
}

#[tokio::test]
async fn ttls_are_told_in_whole_milliseconds_and_persistence_by_name() {
    let (server, store) = plain().await;
    store.set("p", "v").await.unwrap();
    assert_eq!(store.ttl("p").await.unwrap(), Some(Ttl::Persistent));
    assert_eq!(store.ttl("absent").await.unwrap(), None);
    store.set("k", "v").ttl(CENTURY).await.unwrap();
    let Some(Ttl::Remaining(told)) = store.ttl("k").await.unwrap() else {
        panic!("a TTL")
    };
    assert!(told <= CENTURY && told > CENTURY - ms(1000), "{told:?}");
    assert_eq!(told.subsec_nanos() % 1_000_000, 0);
    // A foreign key with less than a millisecond left is still not persistent.
    server.command(&["PEXPIRE", "p", "1"]);
    assert_ne!(store.ttl("p").await.unwrap(), Some(Ttl::Persistent));
}

#[tokio::test]
async fn counters_keep_their_ttl() {
    let (server, store) = plain().await;
    store.set("n", "1").ttl(ms(60_000)).await.unwrap();
    assert_eq!(store.incr("n", 5).await.unwrap(), 6);
    assert!(left(&server, "n") > 50_000);
    assert_eq!(store.incr("fresh", 1).await.unwrap(), 1);
    assert_eq!(left(&server, "fresh"), -1);
}

#[tokio::test]
async fn the_default_ttl_is_for_every_write_but_counters() {
    let server = RedisServer::start().await;
    let store = open(config(&server.url()).default_ttl(ms(60_000))).await;
    store.set("set", "v").await.unwrap();
    store.set("dependent", "v").depends_on(["d"]).await.unwrap();
    assert!(store.add("add", "v").await.unwrap());
    assert!(store.replace("add", "v").await.unwrap());
    assert!(store.compare_and_set("add", "v", "w").await.unwrap());
    store.set_many([("many", "v")]).await.unwrap();
    store.set_model("model", &1).await.unwrap();
    for key in [
        "set",
        "dependent",
        "add",
        "many",
        "model",
        "cachestore:depend:{d}",
    ] {
        let left = left(&server, key);
        assert!(left > 50_000 && left <= 61_000, "{key}: {left}");
    }
    store.incr("n", 1).await.unwrap();
    store.set("p", "v").persistent().await.unwrap();
    assert_eq!((left(&server, "n"), left(&server, "p")), (-1, -1));
}
