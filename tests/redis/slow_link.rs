//! A link that is slow and not silent: large values pass within the deadlines of their calls, over one
//! connection that is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cachestore::{Error, RedisConfig, Store};
use tokio::task::JoinHandle;

use crate::harness::opening::{config, ms, open};
use crate::harness::{Direction, Proxy, RedisServer, Toxic};

const MB: usize = 1_000_000;

/// A store over a link of this many bytes a second, the server before it and the proxy between them.
struct Slow {
    server: RedisServer,
    proxy: Proxy,
    store: Store,
}

impl Slow {
    async fn link(bytes_per_second: u64) -> Self {
        let server = RedisServer::start().await;
        let proxy = Proxy::start(server.address(), 1).await;
        // A call has the time that its bytes need, and the server is patient for a tenth of that.
        let store = open(
            config(&proxy.url())
                .request_timeout(ms(20_000))
                .response_timeout(ms(300)),
        )
        .await;
        for direction in [Direction::Up, Direction::Down] {
            proxy.add(direction, Toxic::Bandwidth { bytes_per_second });
        }
        Self { server, proxy, store }
    }

    /// Writes values past the slow link.
    async fn fill(&self, count: usize, bytes: usize) {
        let beside = open(config(&self.server.url())).await;
        for n in 0..count {
            beside
                .set(format!("large-{n}"), vec![n as u8; bytes])
                .await
                .unwrap();
        }
    }

    /// Asserts that no connection was replaced. One may have been opened for small calls.
    fn assert_kept(&self, connections: u64) {
        let opened = self.proxy.accepted() - connections;
        assert!(opened <= 1, "{opened} connections were opened");
    }

    /// Small writes, one after the other, until they are stopped: how many succeeded.
    fn small_writes(&self) -> (Arc<AtomicBool>, JoinHandle<u32>) {
        let (stop, store) = (Arc::new(AtomicBool::new(false)), self.store.clone());
        let (stopped, count) = (stop.clone(), AtomicU32::new(0));
        let writes = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                let n = count.fetch_add(1, Ordering::SeqCst);
                store.set(format!("small-{n}"), "v").await.unwrap();
            }
            count.into_inner()
        });
        (stop, writes)
    }
}

#[tokio::test]
async fn a_large_value_is_read_and_small_calls_beside_it_succeed() {
    let slow = Slow::link(8 * MB as u64).await;
    slow.fill(1, 20 * MB).await;
    let connections = slow.proxy.accepted();
    let (stop, writes) = slow.small_writes();
    let value = slow.store.get("large-0").await.unwrap().unwrap();
    assert_eq!(value.len(), 20 * MB);
    stop.store(true, Ordering::SeqCst);
    assert!(writes.await.unwrap() > 0);
    slow.assert_kept(connections);
    let passed = slow.proxy.passed(Direction::Down);
    assert!(
        passed < 21 * MB as u64,
        "the value was read more than once: {passed} bytes"
    );
}

#[tokio::test]
async fn many_large_values_are_read_by_one_call_and_by_many() {
    let slow = Slow::link(8 * MB as u64).await;
    slow.fill(20, MB).await;
    let keys: Vec<String> = (0..20).map(|n| format!("large-{n}")).collect();
    let values = slow.store.get_many(&keys).await.unwrap();
    assert!(values.iter().all(|value| value.as_ref().unwrap().len() == MB));
    let reads = keys.iter().map(|key| slow.store.get(key));
    let values = futures_util::future::try_join_all(reads).await.unwrap();
    assert!(values.iter().all(|value| value.as_ref().unwrap().len() == MB));
    let passed = slow.proxy.passed(Direction::Down);
    assert!(
        passed < 41 * MB as u64,
        "a value was read more than once: {passed} bytes"
    );
}

#[tokio::test]
async fn one_connection_beside_serves_many_late_answers() {
    let slow = Slow::link(8 * MB as u64).await;
    slow.fill(5, 7 * MB).await;
    let connections = slow.proxy.accepted();
    for n in 0..5 {
        let value = slow.store.get(format!("large-{n}")).await.unwrap().unwrap();
        assert_eq!(value.len(), 7 * MB);
        slow.store.set("small", "v").await.unwrap();
    }
    slow.assert_kept(connections);
}

#[tokio::test]
async fn a_large_value_is_written() {
    let slow = Slow::link(8 * MB as u64).await;
    let connections = slow.proxy.accepted();
    let (stop, writes) = slow.small_writes();
    slow.store.set("k", vec![7; 30 * MB]).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    assert!(writes.await.unwrap() > 0);
    slow.assert_kept(connections);
}

#[tokio::test]
async fn a_link_that_stands_still_in_the_middle_of_a_reply_is_given_up() {
    let slow = Slow::link(8 * MB as u64).await;
    slow.fill(1, 20 * MB).await;
    let connections = slow.proxy.accepted();
    let reading = {
        let store = slow.store.clone();
        tokio::spawn(async move { store.get("large-0").await })
    };
    while slow.proxy.passed(Direction::Down) < MB as u64 {
        tokio::task::yield_now().await;
    }
    slow.proxy.blackhole();
    let before = slow.proxy.passed(Direction::Down);
    let value = reading.await.unwrap().unwrap().unwrap();
    assert_eq!(value.len(), 20 * MB);
    assert!(
        slow.proxy.accepted() > connections,
        "it was read over a new connection"
    );
    let passed = slow.proxy.passed(Direction::Down) - before;
    assert!(
        passed < 21 * MB as u64,
        "it was read again more than once: {passed} bytes"
    );
}

/// With the default deadlines, a value that takes longer than they allow harms few of the calls beside it: those
/// that were sent before it was noticed, once.
#[tokio::test]
async fn a_value_that_takes_longer_than_a_call_may_does_not_make_small_calls_fail() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let (beside, store) = (
        open(config(&server.url())).await,
        open(config(&proxy.url()).request_timeout(ms(1500))).await,
    );
    beside.set("large", vec![7; 4 * MB]).await.unwrap();
    let bytes_per_second = MB as u64;
    for direction in [Direction::Up, Direction::Down] {
        proxy.add(direction, Toxic::Bandwidth { bytes_per_second });
    }
    let before = proxy.passed(Direction::Down);
    let began = tokio::time::Instant::now();
    let (mut succeeded, mut failed) = (0, 0);
    for round in 0..3 {
        let reading = {
            let store = store.clone();
            tokio::spawn(async move { store.get("large").await })
        };
        while !reading.is_finished() {
            match store.set(format!("small-{round}"), "v").await {
                Ok(()) => succeeded += 1,
                Err(_) => failed += 1,
            }
        }
        assert!(reading.await.unwrap().is_err(), "it takes 4 s");
        println!("slow link: round {round}: {succeeded} small calls, {failed} failed");
    }
    assert!(failed <= 1, "{failed} of {succeeded} failed");
    assert!(succeeded > 100, "{succeeded} succeeded");
    let (passed, took) = (proxy.passed(Direction::Down) - before, began.elapsed());
    println!("slow link: {passed} bytes in {took:?}");
    let writing = {
        let store = store.clone();
        tokio::spawn(async move { store.set("written", vec![7; 4 * MB]).await })
    };
    let mut written = 0;
    while !writing.is_finished() {
        store.set("small", "v").await.unwrap();
        written += 1;
    }
    assert!(writing.await.unwrap().is_err(), "it takes 4 s");
    assert!(written > 100, "{written} small calls beside an upload");
}

/// The same for calls that read many values, other ones each time: once the link is known to be slow, they harm nobody.
#[tokio::test]
async fn calls_for_many_values_do_not_make_small_calls_fail() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let (beside, store) = (
        open(config(&server.url())).await,
        open(config(&proxy.url()).request_timeout(ms(1500))).await,
    );
    let keys = |round| (0..512).map(move |n| format!("many-{round}-{n}"));
    for round in 0..4 {
        let pairs = keys(round).map(|key| (key, vec![7; 8 * 1024]));
        beside.set_many(pairs).await.unwrap();
    }
    let bytes_per_second = MB as u64;
    for direction in [Direction::Up, Direction::Down] {
        proxy.add(direction, Toxic::Bandwidth { bytes_per_second });
    }
    let (mut succeeded, mut failed) = (0, 0);
    for round in 0..4 {
        let reading = {
            let store = store.clone();
            tokio::spawn(async move { store.get_many(keys(round)).await })
        };
        while !reading.is_finished() {
            match store.set(format!("small-{round}"), "v").await {
                Ok(()) => succeeded += 1,
                Err(_) => failed += 1,
            }
        }
        assert!(reading.await.unwrap().is_err(), "it takes 4 s");
        println!("slow link: round {round}: {succeeded} small calls, {failed} failed");
    }
    assert!(failed <= 1, "{failed} of {succeeded} failed");
    assert!(succeeded > 100, "{succeeded} succeeded");
}

/// A store with a call's time of 1.5 s over a link of 1 MB/s, and 512 keys whose values take 4 s.
async fn slow_values() -> (RedisServer, Proxy, Store, Vec<String>) {
    slow_values_with(|config| config).await
}

/// The same, for a store with other settings.
async fn slow_values_with(
    change: impl FnOnce(RedisConfig) -> RedisConfig,
) -> (RedisServer, Proxy, Store, Vec<String>) {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let beside = open(config(&server.url())).await;
    let keys: Vec<String> = (0..512).map(|n| format!("many-{n}")).collect();
    let pairs = keys.iter().map(|key| (key.clone(), vec![7; 8 * 1024]));
    beside.set_many(pairs).await.unwrap();
    let store = open(change(config(&proxy.url()).request_timeout(ms(1500)))).await;
    for direction in [Direction::Up, Direction::Down] {
        proxy.add(
            direction,
            Toxic::Bandwidth {
                bytes_per_second: MB as u64,
            },
        );
    }
    (server, proxy, store, keys)
}

/// Nothing is known of the link and of the values' sizes before the first call.
#[tokio::test]
async fn small_calls_pass_the_first_slow_read_soon_after_it_was_sent() {
    let (_server, proxy, store, keys) = slow_values().await;
    let before = proxy.passed(Direction::Down);
    let reading = {
        let store = store.clone();
        tokio::spawn(async move { store.get_many(keys).await })
    };
    while proxy.passed(Direction::Down) == before {
        tokio::time::sleep(ms(1)).await;
    }
    tokio::time::sleep(ms(200)).await;
    let writes = (0..10).map(|n| store.set(format!("small-{n}"), "v").into_future());
    futures_util::future::try_join_all(writes).await.unwrap();
    assert!(!reading.is_finished(), "they did not wait for it");
    assert!(reading.await.unwrap().is_err(), "it takes 4 s");
}

/// A call that failed behind a slow read follows it no longer once nobody waits for the read.
#[tokio::test]
async fn a_call_that_failed_behind_a_slow_read_succeeds_when_it_is_made_again() {
    let (_server, _proxy, store, keys) = slow_values().await;
    fail_behind_a_slow_read_and_call_again(store, keys).await;
}

/// The store closes the connection of a read for which nobody waits. The server is not down then.
#[tokio::test]
async fn a_call_that_never_waits_for_a_connection_succeeds_when_it_is_made_again_behind_a_slow_read() {
    let (_server, _proxy, store, keys) = slow_values_with(|config| config.wait_for_connection(ms(0))).await;
    fail_behind_a_slow_read_and_call_again(store, keys).await;
}

async fn fail_behind_a_slow_read_and_call_again(store: Store, keys: Vec<String>) {
    let mut first = Box::pin(store.set("small", "1").into_future());
    assert!(futures_util::poll!(&mut first).is_pending());
    // The read enters the queue behind the write, with a later deadline, before the engine has its turn.
    std::thread::sleep(ms(5));
    let reading = store.get_many(keys).into_future();
    let writing = async {
        let first = first.await;
        assert!(matches!(first, Err(Error::OutcomeUnknown(_))), "{first:?}");
        store.set("small", "2").await
    };
    let (written, read) = tokio::join!(writing, reading);
    written.unwrap();
    assert!(read.is_err(), "it takes 4 s");
    assert_eq!(store.get("small").await.unwrap().unwrap(), "2");
}

/// Order is kept for a key whose calls change over to another connection.
#[tokio::test]
async fn calls_for_one_key_keep_their_order_while_connections_change() {
    let slow = Slow::link(MB as u64).await;
    slow.fill(1, 4 * MB).await;
    let store = open(config(&slow.proxy.url()).request_timeout(ms(8000))).await;
    let reading = {
        let store = store.clone();
        tokio::spawn(async move { store.get("large-0").await })
    };
    let writes = (0..300).map(|n: i64| {
        let store = store.clone();
        async move {
            // All are asked at once for each key, in waves before, while and after the connections change.
            tokio::time::sleep(ms(10 * (n as u64 / 3))).await;
            (n, store.incr(format!("k{}", n % 3), 1).await)
        }
    });
    let mut last = [0; 3];
    for (n, count) in futures_util::future::join_all(writes).await {
        let (count, last) = (count.unwrap(), &mut last[n as usize % 3]);
        assert_eq!(count, *last + 1, "in the order in which they were asked");
        *last = count;
    }
    assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 4 * MB);
}

/// Begins a read of `large` whose answer is late, so that another connection is asked for. All others are refused from
/// then on: nobody listens where the proxy leads to.
async fn read_and_refuse_others(
    store: &Store,
    proxy: &Proxy,
) -> JoinHandle<cachestore::Result<Option<bytes::Bytes>>> {
    let before = proxy.passed(Direction::Down);
    let reading = {
        let store = store.clone();
        tokio::spawn(async move { store.get("large").await })
    };
    while proxy.passed(Direction::Down) == before {
        tokio::task::yield_now().await;
    }
    let connections = proxy.accepted();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    proxy.retarget(nobody.to_string());
    while proxy.accepted() == connections {
        tokio::time::sleep(ms(1)).await;
    }
    reading
}

/// The connection beside a slow one may not be there at once. What is asked meanwhile waits, as for any connection that
/// was lost.
#[tokio::test]
async fn calls_that_change_over_wait_for_their_connection() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let (beside, store) = (
        open(config(&server.url())).await,
        open(config(&proxy.url()).request_timeout(ms(3000))).await,
    );
    beside.set("large", vec![7; 8 * MB]).await.unwrap();
    let bytes_per_second = MB as u64;
    proxy.add(Direction::Down, Toxic::Bandwidth { bytes_per_second });
    let reading = read_and_refuse_others(&store, &proxy).await;
    let writing = {
        let store = store.clone();
        tokio::spawn(async move { store.set("small", "v").await })
    };
    let tried = proxy.accepted();
    while proxy.accepted() < tried + 2 && !writing.is_finished() {
        tokio::time::sleep(ms(1)).await;
    }
    proxy.retarget(server.address());
    writing.await.unwrap().unwrap();
    assert!(reading.await.unwrap().is_err(), "it takes 8 s");
}

/// A server may refuse a further connection, for instance at its `maxclients`. The connection that it has kept then
/// serves all calls as soon as its slow answer is there.
#[tokio::test]
async fn calls_go_over_the_connection_that_lives_when_no_other_can_be_opened() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let (beside, store) = (
        open(config(&server.url())).await,
        open(
            config(&proxy.url())
                .request_timeout(ms(8000))
                .wait_for_connection(ms(5000)),
        )
        .await,
    );
    beside.set("large", vec![7; 2 * MB]).await.unwrap();
    let bytes_per_second = MB as u64;
    proxy.add(Direction::Down, Toxic::Bandwidth { bytes_per_second });
    let reading = read_and_refuse_others(&store, &proxy).await;
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.set("asked meanwhile", "v").await })
    };
    assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 2 * MB);
    waiting.await.unwrap().unwrap();
    store.set("asked later", "v").await.unwrap();
    assert_eq!(store.get("asked meanwhile").await.unwrap().unwrap(), "v");
    // It is known to be large by now. So it would use the other connection.
    let again = store.get("large").await;
    assert_eq!(again.unwrap().unwrap().len(), 2 * MB);
}
