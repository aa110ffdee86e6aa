//! A server that is killed and comes back under load: every call ends in time, service returns, and
//! no change is counted twice or claimed wrongly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cachestore::{Error, Store};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::harness::lateness::late;
use crate::harness::opening::{config, ms, open, soak, was_not_done};
use crate::harness::{Direction, Proxy, RedisServer, Seeded, Toxic};

const DEADLINE: Duration = ms(1000);
const CALLERS: u64 = 24;

/// What one caller knows of its own counter.
#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    sure: i64,
    unknown: i64,
    refused: i64,
}

#[derive(Debug, Default)]
struct Watch {
    /// The longest that a call took, in microseconds.
    longest: AtomicU64,
    reads: AtomicU64,
    failed_reads: AtomicU64,
}

impl Watch {
    fn took(&self, began: Instant) {
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap();
        self.longest.fetch_max(micros, Ordering::Relaxed);
    }
}

/// Counts up its own counter and reads, until it is told to stop.
async fn caller(store: Store, n: u64, watch: Arc<Watch>, stop: Arc<AtomicBool>) -> Counted {
    let mut counted = Counted::default();
    let mut random = Seeded::new(n);
    let key = format!("counter:{n}");
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        if random.percent(50) {
            match store.incr(&key, 1).await {
                Ok(now) => {
                    counted.sure += 1;
                    let most = counted.sure + counted.unknown;
                    assert!(now >= counted.sure && now <= most, "{key} is {now}: {counted:?}");
                }
                Err(Error::OutcomeUnknown(_)) => counted.unknown += 1,
                Err(error) if was_not_done(&error) => counted.refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        } else {
            watch.reads.fetch_add(1, Ordering::Relaxed);
            match store.get(&key).await {
                Ok(_) => {}
                Err(Error::OutcomeUnknown(_)) => panic!("a read changes nothing"),
                Err(error) if was_not_done(&error) => {
                    watch.failed_reads.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        watch.took(began);
        sleep(Duration::from_micros(random.below(2000))).await;
    }
    counted
}

/// How long after now the store answers again, from a call that begins now.
async fn back(store: &Store) -> Duration {
    let began = Instant::now();
    while store.get("k").await.is_err() {
        sleep(ms(5)).await;
        assert!(began.elapsed() < ms(10_000), "service does not come back");
    }
    began.elapsed()
}

async fn killed_and_restarted(lasts: Duration, connections: usize) {
    let mut server = RedisServer::options().append_only().start().await;
    let settings = config(&server.url())
        .request_timeout(DEADLINE)
        .connections(connections);
    let store = open(settings).await;
    let (watch, stop) = (Arc::new(Watch::default()), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| tokio::spawn(caller(store.clone(), n, watch.clone(), stop.clone())))
        .collect();
    let mut random = Seeded::new(2);
    let (mut kills, mut slowest) = (0, Duration::ZERO);
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        sleep(ms(150 + random.below(300))).await;
        server.kill9();
        kills += 1;
        // From a blink to longer than any deadline.
        sleep(ms([0, 50, 400, 1500][kills % 4])).await;
        server.restart().await;
        slowest = slowest.max(back(&store).await);
    }
    sleep(ms(100)).await;
    stop.store(true, Ordering::Relaxed);
    let mut sum = Counted::default();
    for (n, caller) in callers.into_iter().enumerate() {
        let counted = caller.await.unwrap();
        let kept = server.command(&["GET", &format!("counter:{n}")]);
        let kept: i64 = kept
            .bytes()
            .map_or(0, |b| String::from_utf8_lossy(b).parse().unwrap());
        assert!(
            kept >= counted.sure,
            "counter {n}: {kept} is less than was acknowledged: {counted:?}"
        );
        assert!(
            kept <= counted.sure + counted.unknown,
            "counter {n}: {kept}, done though denied, or twice: {counted:?}"
        );
        sum.sure += counted.sure;
        sum.unknown += counted.unknown;
        sum.refused += counted.refused;
    }
    let longest = Duration::from_micros(watch.longest.load(Ordering::Relaxed));
    println!(
        "restart: {lasts:?}, {connections} connection(s), {kills} kills, {sum:?}, back after at most {slowest:?}, longest call {longest:?}, {watch:?}"
    );
    assert!(longest <= DEADLINE + late(), "a call took {longest:?}");
    assert!(slowest <= ms(2000) + late(), "service was back after {slowest:?}");
    assert!(sum.sure > 100 && sum.unknown + sum.refused > 0, "{sum:?}");
}

/// The last answer and the end of the connection are seen at once: what waits is sent over the next one.
#[tokio::test]
async fn what_was_not_sent_when_the_server_hung_up_is_done() {
    let server = RedisServer::start().await;
    let settings = config(&server.url()).batch_commands(1).max_in_flight(1);
    let store = open(settings).await;
    for round in 0..5 {
        server.stop();
        let calls = (0..5).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.incr("n", 1).await })
        });
        let calls: Vec<_> = calls.collect();
        for _ in 0..100 {
            yield_now().await;
        }
        // From here on the engine, which is on this thread, reads nothing until all has happened.
        server.cont();
        let first = (5 * round + 1).to_string();
        while server.command(&["GET", "n"]).bytes() != Some(first.as_bytes()) {}
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        for (n, call) in (1..).zip(calls) {
            let count = call.await.unwrap();
            assert_eq!(count.as_ref().ok(), Some(&(5 * round + n)), "{count:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_under_load() {
    killed_and_restarted(ms(5000), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_under_load_of_two_connections() {
    killed_and_restarted(ms(3000), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_restart() {
    killed_and_restarted(soak(), 1).await;
}

#[tokio::test]
async fn a_server_that_stays_away_is_unavailable_with_the_cause_and_in_time() {
    let mut server = RedisServer::start().await;
    let store = open(config(&server.url()).request_timeout(ms(500))).await;
    server.kill9();
    for _ in 0..3 {
        let began = Instant::now();
        let error = store.get("k").await.unwrap_err();
        assert!(was_not_done(&error), "{error:?}");
        assert!(error.is_retryable());
        let error = store.set("k", "v").await.unwrap_err();
        assert!(
            was_not_done(&error) || matches!(error, Error::OutcomeUnknown(_)),
            "{error:?}"
        );
        assert!(began.elapsed() <= ms(1000) + late(), "{:?}", began.elapsed());
    }
    // By now nothing can be on its way.
    let error = store.set("k", "v").await.unwrap_err();
    assert!(was_not_done(&error), "nothing was sent: {error:?}");
    server.restart().await;
    assert!(back(&store).await <= ms(2000));
}

#[tokio::test]
async fn a_change_whose_reply_is_lost_says_so_and_is_made_once() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 3).await;
    let store = open(
        config(&proxy.url())
            .request_timeout(ms(2000))
            .response_timeout(ms(1500)),
    )
    .await;
    store.incr("n", 1).await.unwrap();
    proxy.add(Direction::Down, Toxic::Timeout { close: None });
    let cut = async {
        // The change has arrived; its reply has not.
        while server.command(&["GET", "n"]).bytes() == Some(b"1") {
            sleep(ms(2)).await;
        }
        proxy.cut();
    };
    let (answer, ()) = tokio::join!(store.incr("n", 1), cut);
    // Not before: what the proxy holds back would still get through a connection that is being cut.
    proxy.heal();
    let error = answer.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error:?}");
    assert!(!error.is_retryable());
    back(&store).await;
    assert_eq!(server.command(&["GET", "n"]).bytes(), Some(&b"2"[..]), "once");
    // A read is another matter: it may be sent again, and is never of unknown outcome.
    let cut = async {
        sleep(ms(5)).await;
        proxy.cut();
    };
    let (answer, ()) = tokio::join!(store.get("n"), cut);
    assert!(!matches!(answer, Err(Error::OutcomeUnknown(_))));
}

#[tokio::test]
async fn a_change_that_times_out_after_it_was_sent_is_of_unknown_outcome() {
    let server = RedisServer::start().await;
    let store = open(config(&server.url()).request_timeout(ms(300))).await;
    store.incr("n", 1).await.unwrap();
    server.stop();
    let error = store.incr("n", 1).await.unwrap_err();
    server.cont();
    assert!(
        matches!(error, Error::OutcomeUnknown(_)),
        "the server carries it out when it goes on: {error:?}"
    );
    back(&store).await;
    let kept = server.command(&["GET", "n"]).text();
    println!("after the timeout: {kept}");
    assert!(["1", "2"].contains(&kept.as_str()), "{kept}");
}
