//! A socket on which nothing comes any more: it is given up, and service is back.

use std::time::Duration;

use cachestore::Store;
use tokio::time::{Instant, sleep};

use crate::harness::lateness::late;
use crate::harness::opening::{config, ms, open};
use crate::harness::{Proxy, RedisServer};

const RESPONSE: Duration = ms(200);

/// Reads until one call succeeds: how long that took, and the longest of the calls.
async fn recovery(store: &Store) -> (Duration, Duration) {
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    loop {
        let call = Instant::now();
        let answer = store.get("k").await;
        longest = longest.max(call.elapsed());
        if answer.is_ok() {
            return (began.elapsed(), longest);
        }
        assert!(began.elapsed() < ms(20_000), "it hangs for ever");
    }
}

#[tokio::test]
async fn a_blackholed_connection_is_given_up() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    for request in [ms(200), ms(1000)] {
        let store = open(
            config(&proxy.url())
                .response_timeout(RESPONSE)
                .request_timeout(request),
        )
        .await;
        for round in 0..3 {
            store.set("k", "v").await.unwrap();
            proxy.blackhole();
            let (took, longest) = recovery(&store).await;
            println!("hung: blackhole, request timeout {request:?}, round {round}: back after {took:?}");
            assert!(took <= 3 * RESPONSE + late(), "back after {took:?} only");
            assert!(longest <= request + late(), "a call took {longest:?}");
        }
    }
}

#[tokio::test]
async fn a_blackholed_connection_is_given_up_under_load() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 2).await;
    let store = open(
        config(&proxy.url())
            .response_timeout(RESPONSE)
            .request_timeout(ms(500)),
    )
    .await;
    let load: Vec<_> = (0..32)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                let end = Instant::now() + ms(3000);
                while Instant::now() < end {
                    let began = Instant::now();
                    let _ = store.set(format!("k{n}"), "v").await;
                    longest = longest.max(began.elapsed());
                    sleep(ms(1)).await;
                }
                longest
            })
        })
        .collect();
    for _ in 0..3 {
        sleep(ms(100)).await;
        proxy.blackhole();
        let (took, _) = recovery(&store).await;
        assert!(took <= 3 * RESPONSE + late(), "back after {took:?} only");
    }
    for task in load {
        let longest = task.await.unwrap();
        assert!(longest <= ms(500) + late(), "a call took {longest:?}");
    }
}

#[tokio::test]
async fn a_server_that_was_stopped_for_a_while_is_served_from_again() {
    let server = RedisServer::start().await;
    let store = open(
        config(&server.url())
            .response_timeout(RESPONSE)
            .request_timeout(ms(400)),
    )
    .await;
    store.set("k", "v").await.unwrap();
    for pause in [300, 1500] {
        server.stop();
        let end = Instant::now() + ms(pause);
        while Instant::now() < end {
            let began = Instant::now();
            assert!(store.get("k").await.is_err());
            assert!(began.elapsed() <= ms(400) + late(), "{:?}", began.elapsed());
        }
        server.cont();
        let (took, _) = recovery(&store).await;
        println!("hung: SIGSTOP for {pause} ms: back after {took:?}");
        assert!(took <= 3 * RESPONSE + late(), "back after {took:?} only");
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
    }
}

#[tokio::test]
async fn a_slow_reply_does_not_hang_and_a_slow_one_alone_does_not_cut_the_connection() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 3).await;
    let store = open(
        config(&proxy.url())
            .response_timeout(ms(500))
            .request_timeout(ms(2000)),
    )
    .await;
    store.set("k", "v").await.unwrap();
    let before = proxy.accepted();
    let delay = crate::harness::Toxic::Latency {
        delay: ms(100),
        jitter: ms(50),
    };
    proxy.add(crate::harness::Direction::Down, delay);
    for _ in 0..10 {
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
    }
    assert_eq!(proxy.accepted(), before, "a slow connection is kept");
}

#[tokio::test]
async fn what_a_handed_in_client_opened_is_given_up_and_closed() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 4).await;
    let client = cachestore::redis::Client::open(proxy.url()).unwrap();
    let settings = cachestore::RedisConfig::from_client(client);
    let store = open(settings.response_timeout(RESPONSE).request_timeout(ms(500))).await;
    for _ in 0..3 {
        store.set("k", "v").await.unwrap();
        proxy.blackhole();
        let (took, _) = recovery(&store).await;
        assert!(took <= 3 * RESPONSE + late(), "back after {took:?} only");
    }
    // A blackhole does not pass on that a connection was closed; the process knows what it has open.
    let inodes = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        files
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .collect::<Vec<_>>()
    };
    let to_proxy = || {
        let port = format!(
            "0100007F:{:04X}",
            proxy
                .address()
                .rsplit(':')
                .next()
                .unwrap()
                .parse::<u16>()
                .unwrap()
        );
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let open = inodes();
        table
            .lines()
            .filter(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let socket = format!("socket:[{}]", fields.get(9).copied().unwrap_or_default());
                fields.get(2) == Some(&port.as_str())
                    && open.iter().any(|file| file.as_os_str() == socket.as_str())
            })
            .count()
    };
    let closed = crate::harness::opening::eventually(ms(2000), || to_proxy() <= 1).await;
    assert!(closed, "{} connections are open, one is needed", to_proxy());
}
