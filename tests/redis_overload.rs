//! Many callers while the server is stopped: nobody waits past the deadline, and memory grows by what
//! is configured.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "figures, for those who ask with --nocapture")]

#[path = "support/redis/mod.rs"]
mod harness;

use std::time::Duration;

use cachestore::Store;
use harness::RedisServer;
use harness::lateness::late;
use harness::opening::{config, ms, open, resident, soak};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const MIB: u64 = 1024 * 1024;

/// So many callers at once: the longest that one waited, and how many were answered.
async fn wave(store: &Store, callers: usize, size: usize) -> (Duration, usize) {
    let mut tasks = JoinSet::new();
    for n in 0..callers {
        let store = store.clone();
        tasks.spawn(async move {
            let began = Instant::now();
            let answer = if n % 2 == 0 {
                store.get(format!("k{n}")).await.map(drop)
            } else {
                // The value is made here, so that a caller that waits holds it.
                store.set(format!("k{n}"), vec![7; size]).await
            };
            (began.elapsed(), answer.is_ok())
        });
    }
    let (mut longest, mut answered) = (Duration::ZERO, 0);
    while let Some(ended) = tasks.join_next().await {
        let (took, ok) = ended.unwrap();
        longest = longest.max(took);
        answered += usize::from(ok);
    }
    (longest, answered)
}

/// The longest that one of so many callers waits for a deadline and nothing else: what the machine and
/// the runtime take for a crowd.
async fn floor(callers: usize, deadline: Duration) -> Duration {
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(async move {
            let began = Instant::now();
            let _ = timeout(deadline, std::future::pending::<()>()).await;
            began.elapsed()
        });
    }
    let mut longest = Duration::ZERO;
    while let Some(ended) = tasks.join_next().await {
        longest = longest.max(ended.unwrap());
    }
    longest
}

async fn stopped(callers: usize, lasts: Duration, size: usize) {
    let deadline = ms(1000);
    let server = RedisServer::start().await;
    let settings = config(&server.url())
        .request_timeout(deadline)
        .queue_bytes(8 * MIB as usize);
    let store = open(settings).await;
    let (_, answered) = wave(&store, callers, size).await;
    assert!(answered > 0);
    server.stop();
    // The first wave shows what so many callers hold themselves.
    let (mut longest, _) = wave(&store, callers, size).await;
    let first = resident();
    let (mut waves, mut most) = (1, first);
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        let (took, answered) = wave(&store, callers, size).await;
        longest = longest.max(took);
        assert_eq!(answered, 0, "the server is stopped");
        most = most.max(resident());
        waves += 1;
    }
    let grown = most.saturating_sub(first) / MIB;
    let floor = floor(callers, deadline).await;
    println!(
        "overload: {callers} callers, {waves} waves, longest wait {longest:?} (of bare timers {floor:?}), {} MiB after the first wave, grown by {grown} MiB",
        first / MIB
    );
    server.cont();
    // A caller also makes its request and gives up its place, both on the processor.
    let crowd = floor.saturating_sub(deadline) * 8 + Duration::from_micros(5 * callers as u64);
    assert!(
        longest <= deadline + late() + crowd,
        "somebody waited {longest:?}"
    );
    assert!(grown <= 64, "memory grew by {grown} MiB, wave by wave");
    let began = Instant::now();
    while store.get("k").await.is_err() {
        sleep(ms(10)).await;
    }
    assert!(began.elapsed() <= ms(2000), "back after {:?}", began.elapsed());
    // What was abandoned is not carried out for long after.
    let (_, answered) = wave(&store, 100, 10).await;
    assert_eq!(answered, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_callers_while_the_server_is_stopped() {
    // More than the queue and what waits behind it have room for.
    stopped(20_000, ms(4000), 4 * 1024).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_overload() {
    stopped(100_000, soak(), 1024).await;
}

#[tokio::test]
async fn requests_whose_callers_have_gone_are_not_sent() {
    let server = RedisServer::start().await;
    let store = open(config(&server.url()).request_timeout(ms(300))).await;
    store.ping().await.unwrap();
    let mut monitor = server.monitor();
    server.stop();
    for _ in 0..3 {
        wave(&store, 2000, 10).await;
    }
    server.cont();
    while store.get("k").await.is_err() {}
    let seen = monitor.commands().len();
    println!("overload: {seen} of 6,000 abandoned requests reached the server");
    assert!(seen < 4000, "{seen} abandoned requests reached the server");
}
