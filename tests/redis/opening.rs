//! Opening: by every kind of URL, over what exists already, and what is refused, how, and in time.

use std::time::Duration;

use cachestore::{Config, EngineKind, Error, Phase, RedisConfig, Store};
use futures_util::TryStreamExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::harness::lateness::late;
use crate::harness::opening::{config, ms, open, plain, told};
use crate::harness::{Direction, Proxy, RedisServer, Toxic};

async fn works(store: &Store) {
    store
        .set("k", "v")
        .ttl(ms(60_000))
        .depends_on(["d"])
        .await
        .unwrap();
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
    assert!(store.ping().await.unwrap() < ms(1000));
    assert_eq!(store.engine(), EngineKind::Redis);
    assert_eq!(store.invalidate(["d"]).await.unwrap(), 1);
}

#[tokio::test]
async fn by_every_kind_of_url() {
    let server = RedisServer::start().await;
    for url in [
        server.url(),
        format!("{}/3", server.url()),
        format!("{}?protocol=resp3", server.url()),
        server.unix_url(),
    ] {
        works(&open(config(&url)).await).await;
        works(&open_any(Config::redis(&url).unwrap()).await).await;
        works(&open_any(Config::from_url(&url).unwrap()).await).await;
    }
}

async fn open_any(config: Config) -> Store {
    Store::open(config).await.unwrap()
}

#[tokio::test]
async fn the_database_is_the_one_that_was_named() {
    let server = RedisServer::start().await;
    for url in [
        format!("{}/7", server.url()),
        format!("{}?db=7", server.unix_url()),
    ] {
        server.flush();
        open(config(&url)).await.set("k", "v").await.unwrap();
        // The key, and the layout's version.
        assert_eq!(server.info("db7").split(',').next(), Some("keys=2"), "{url}");
    }
    let error = Store::open(config(&format!("{}/99", server.url())))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
}

#[tokio::test]
async fn by_a_password_and_by_a_user() {
    // Every character that a URL or a quoting could trip over.
    let password = "p@ss:w/o?r#d% é&+=";
    let encoded: String = password.bytes().map(|b| format!("%{b:02X}")).collect();
    let server = RedisServer::options().password(password).start().await;
    works(&open(config(&format!("redis://:{encoded}@{}", server.address()))).await).await;
    let socket = server.socket();
    works(&open(config(&format!("unix://{}?pass={encoded}", socket.display()))).await).await;
    for url in [
        server.url(),
        format!("redis://:wrong@{}", server.address()),
        server.unix_url(),
    ] {
        let began = Instant::now();
        let error = Store::open(config(&url)).await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized), "{error:?}");
        assert!(
            began.elapsed() < ms(2000),
            "a refusal is not tried again and again"
        );
    }

    let server = RedisServer::options()
        .user("user default off\nuser app on >secret ~* &* +@all")
        .start()
        .await;
    works(&open(config(&format!("redis://app:secret@{}", server.address()))).await).await;
    for user in ["app:wrong", "nobody:secret", ":secret"] {
        let error = Store::open(config(&format!("redis://{user}@{}", server.address())))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unauthorized), "{user}: {error:?}");
    }
}

#[tokio::test]
async fn what_a_user_may_not_do_is_unauthorized_and_no_more() {
    let line = "user default off\nuser app on >secret ~mine:* &* +@all -@dangerous +info";
    let server = RedisServer::options().user(line).start().await;
    let store = open(config(&format!("redis://app:secret@{}", server.address()))).await;
    store.set("mine:k", "v").await.unwrap();
    assert!(matches!(store.set("other", "v").await, Err(Error::Unauthorized)));
    assert!(matches!(store.get("other").await, Err(Error::Unauthorized)));
    // A neighbour in the same batch has its own answer.
    let (mine, other) = tokio::join!(store.get("mine:k"), store.get("other"));
    assert_eq!(mine.unwrap().unwrap(), "v");
    assert!(matches!(other, Err(Error::Unauthorized)));
}

/// Neighbouring dependent writes travel as one script, which the server refuses as a whole.
#[tokio::test]
async fn a_forbidden_write_fails_no_other() {
    let line = "user default off\nuser app on >secret ~mine:* ~cachestore:* &* +@all";
    let server = RedisServer::options().user(line).start().await;
    let pairs = config(&format!("redis://app:secret@{}", server.address())).batch_commands(2);
    let store = open(pairs).await;
    let write = |key: &'static str, value: &'static str| {
        let set = store.set(key, value).depends_on(["mine:name"]);
        async move { set.await }
    };
    for _ in 0..20 {
        let (mine, other) = tokio::join!(biased; write("mine:k", "v"), write("other", "v"));
        mine.unwrap();
        assert!(matches!(other, Err(Error::Unauthorized)), "{other:?}");
        assert_eq!(store.get("mine:k").await.unwrap().unwrap(), "v");
        // The last write of a key stays the last, though the first is held up by its neighbour.
        let (first, other, last, next) = tokio::join!(biased;
            write("mine:k", "1"), write("other", "v"), write("mine:k", "2"), write("mine:l", "v"));
        assert!(matches!(first, Ok(()) | Err(Error::Unavailable(_))), "{first:?}");
        assert!(matches!(other, Err(Error::Unauthorized)), "{other:?}");
        last.unwrap();
        next.unwrap();
        assert_eq!(store.get("mine:k").await.unwrap().unwrap(), "2");
    }
}

#[tokio::test]
async fn a_database_that_a_user_may_not_select_is_unauthorized() {
    let line = "user default off\nuser app on >secret ~* &* +@all -select";
    let server = RedisServer::options().user(line).start().await;
    let url = format!("redis://app:secret@{}", server.address());
    works(&open(config(&url)).await).await;
    let error = Store::open(config(&format!("{url}/5"))).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized), "{error:?}");
    let client = redis::Client::open(format!("{url}/5")).unwrap();
    let error = Store::open(RedisConfig::from_client(client)).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized), "{error:?}");
}

#[tokio::test]
async fn a_closed_port_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    let began = Instant::now();
    let error = Store::open(config(&url).request_timeout(ms(1000)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(error.is_retryable());
    assert!(began.elapsed() <= ms(1000) + late(), "{:?}", began.elapsed());
    let error = Store::open(config("unix:///no/such/socket").request_timeout(ms(1000)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    for (connect, request) in [(ms(10_000), ms(300)), (ms(200), ms(1000))] {
        let began = Instant::now();
        let settings = config(&url).connect_timeout(connect).request_timeout(request);
        let error = Store::open(settings).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Timeout {
                    phase: Phase::Connect | Phase::Reply
                }
            ),
            "{error:?}"
        );
        assert!(began.elapsed() <= request + late(), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_peer_that_is_no_redis_is_refused_in_time() {
    for answer in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\0\0\0\0",
        "$99999999999\r\n",
        "*-7\r\n",
        "+PONG",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let peer = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
                held.push(stream);
            }
        });
        let began = Instant::now();
        let error = Store::open(config(&url).request_timeout(ms(800)))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Unavailable(_) | Error::Timeout { .. }),
            "{answer:?}: {error:?}"
        );
        assert!(
            began.elapsed() <= ms(800) + late(),
            "{answer:?}: {:?}",
            began.elapsed()
        );
        peer.abort();
    }
}

#[tokio::test]
async fn a_bad_url_is_an_invalid_configuration_that_repeats_nothing() {
    for url in [
        "",
        "redis",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunter2@host:notaport",
        "redis://:hunter2@host:70000",
        "redis://:hunter2@host/notanumber",
        "redis://:hunter2@host/-1",
        "redis://:hunter2@host?hunter2=1",
        "http://:hunter2@host",
        "unix://",
        "unix://?pass=hunter2",
        "redis://host?protocol=hunter2",
    ] {
        for error in [
            RedisConfig::new(url).map(drop),
            Config::redis(url).map(drop),
            Config::from_url(url).map(drop),
        ] {
            let Err(error) = error else {
                panic!("{url} is taken")
            };
            assert!(matches!(error, Error::InvalidConfig { .. }), "{url}: {error:?}");
            assert!(!told(&error).contains("hunter2"), "{url}: {error}");
        }
    }
    for settings in [
        config("redis://localhost").connections(0),
        config("redis://localhost").connect_timeout(Duration::ZERO),
        config("redis://localhost").response_timeout(Duration::ZERO),
        config("redis://localhost").max_in_flight(0),
        config("redis://localhost").request_timeout(Duration::ZERO),
    ] {
        let error = Store::open(settings).await.unwrap_err();
        assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
    }
    assert!(Config::redis("memory://").is_err(), "another engine's URL");
}

#[tokio::test]
async fn over_a_client_and_over_a_connection_that_exist() {
    use cachestore::redis;
    let server = RedisServer::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    works(&open(RedisConfig::from_client(client.clone())).await).await;
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let store = open(RedisConfig::from_connection(connection.clone())).await;
    works(&store).await;
    store.set("k", "v").await.unwrap();
    // The caller's own handle to it goes on, also after the store has closed.
    store.close().await.unwrap();
    let mut connection = connection;
    let value: String = redis::cmd("GET")
        .arg("k")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(value, "v");
}

#[tokio::test]
async fn a_client_reconnects_and_a_lost_connection_is_unavailable() {
    use cachestore::redis;
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let client = redis::Client::open(proxy.url()).unwrap();
    let store = open(RedisConfig::from_client(client.clone())).await;
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let lost = open(RedisConfig::from_connection(connection).request_timeout(ms(500))).await;
    lost.set("k", "v").await.unwrap();
    proxy.cut();
    let began = Instant::now();
    while store.get("k").await.is_err() {
        assert!(began.elapsed() < ms(3000));
    }
    let _ = lost.get("k").await;
    let began = Instant::now();
    let error = lost.get("k").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(began.elapsed() <= ms(500) + late());
}

#[tokio::test]
async fn a_callers_own_command() {
    use cachestore::redis;
    let (server, store) = plain().await;
    let mut command = redis::cmd("RPUSH");
    command.arg("list").arg("a").arg("b");
    assert_eq!(store.redis_command::<i64>(command).await.unwrap(), 2);
    let mut command = redis::cmd("LRANGE");
    command.arg("list").arg(0).arg(-1);
    assert_eq!(
        store.redis_command::<Vec<String>>(command).await.unwrap(),
        ["a", "b"]
    );
    assert!(
        store
            .redis_command::<i64>(redis::cmd("NOSUCHCOMMAND"))
            .await
            .is_err()
    );
    let mut command = redis::cmd("GET");
    command.arg("list");
    assert!(store.redis_command::<String>(command).await.is_err());
    assert!(store.ping().await.is_ok(), "a refused command harms nobody");
    assert_eq!(server.connections().len(), 1);

    let memory = Store::open(Config::memory()).await.unwrap();
    let answer = memory.redis_command::<String>(redis::cmd("PING")).await;
    assert!(matches!(answer, Err(Error::Unsupported { .. })));
}

const LAYOUT: &str = "cachestore:layout";

/// Whether an error names the version of the layout that a database has, and the version that is built.
fn names_both(error: &Error, found: &str) -> bool {
    let found = format!("version {found},");
    matches!(error, Error::InvalidConfig { reason } if reason.contains(&found) && reason.contains("has 1"))
}

#[tokio::test]
async fn another_version_of_the_layout_is_refused_when_a_store_opens() {
    // 2 is the version of a store over all nodes of a cluster.
    for (mode, version) in [(false, "2"), (false, "3"), (true, "3")] {
        let server = RedisServer::start().await;
        server.command(&["SET", LAYOUT, version]);
        let mut config = config(&server.url());
        if mode {
            config = config.go_compatible();
        }
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let error = Store::open(config.clone()).await.unwrap_err();
        assert!(names_both(&error, version), "{error:?}");
        assert_eq!(tasks(), before, "all of it has ended");
        assert_eq!(server.command(&["GET", LAYOUT]).text(), version);
        let client = cachestore::redis::Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        for options in [
            RedisConfig::from_client(client),
            RedisConfig::from_connection(connection),
        ] {
            let error = Store::open(options).await.unwrap_err();
            assert!(names_both(&error, version), "{error:?}");
        }
        server.flush();
        works(&Store::open(config).await.unwrap()).await;
        assert_eq!(server.command(&["EXISTS", LAYOUT]).int(), i64::from(!mode));
    }
}

#[tokio::test]
async fn another_version_of_the_layout_is_refused_by_a_store_that_connects_again() {
    let (server, store) = plain().await;
    works(&store).await;
    server.command(&["SET", LAYOUT, "2"]);
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let began = Instant::now();
    loop {
        match store.set("k", "v").await {
            Err(error) if names_both(&error, "2") => break,
            other => assert!(began.elapsed() < ms(5000), "{other:?}"),
        }
    }
    server.command(&["SET", LAYOUT, "1"]);
    let began = Instant::now();
    while store.set("k", "v").await.is_err() {
        assert!(began.elapsed() < ms(5000));
    }
}

#[tokio::test]
async fn the_version_of_the_layout_stays_and_is_not_shown() {
    let (server, store) = plain().await;
    works(&store).await;
    store.clear().await.unwrap();
    assert_eq!(server.command(&["GET", LAYOUT]).text(), "1");
    let scanned = store.scan("").try_collect::<Vec<_>>().await.unwrap();
    assert!(scanned.is_empty(), "{scanned:?}");
    // A server that was emptied gets it again from the next connection.
    server.flush();
    let _other = open(config(&server.url())).await;
    assert_eq!(server.command(&["GET", LAYOUT]).text(), "1");
}

/// They may not learn of the version, or not note it.
#[tokio::test]
async fn users_with_few_rights_open_without_the_version_of_the_layout() {
    for rights in ["+ping +get", "+ping +set", "+ping +get ~other", "+ping"] {
        let line = format!("user few on >secret ~cache* {rights}");
        let server = RedisServer::options().user(&line).start().await;
        let url = format!("redis://few:secret@{}", server.address());
        let store = open(config(&url)).await;
        assert!(store.ping().await.is_ok(), "{rights}");
    }
}

#[tokio::test]
async fn a_name_shows_in_the_servers_list() {
    let server = RedisServer::start().await;
    let _store = open(config(&server.url()).client_name("billing").connections(3)).await;
    let named = server
        .connections()
        .iter()
        .filter(|line| line.contains(" name=billing "))
        .count();
    assert_eq!(named, 3);
}

#[tokio::test]
async fn opening_over_a_slow_way_is_waited_for() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 2).await;
    proxy.add(
        Direction::Down,
        Toxic::Latency {
            delay: ms(100),
            jitter: ms(0),
        },
    );
    works(&open(config(&proxy.url())).await).await;
}

#[tokio::test]
async fn a_connection_is_replaced_at_its_age_and_nobody_notices() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 3).await;
    let store = open(config(&proxy.url()).max_connection_age(ms(100))).await;
    let end = Instant::now() + ms(1000);
    let mut count = 0;
    while Instant::now() < end {
        count += 1;
        assert_eq!(
            store.incr("n", 1).await.unwrap(),
            count,
            "no call fails or is made twice"
        );
    }
    assert!(
        proxy.accepted() >= 4,
        "{} connections in ten ages",
        proxy.accepted()
    );
    assert!(proxy.living() <= 2);
}
