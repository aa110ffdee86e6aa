//! A thousand callers of loads and invalidations while the server is killed: what they are given, and what they find
//! when it is back with its old data.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::{Error, LoadError, RedisConfig, Store};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::opening::{WithNear, config, ms, open};
use crate::harness::{RedisServer, Seeded};

const CALLERS: usize = 1000;
const KEYS: usize = 2000;
/// The most loaders that may run at once while the server is dead.
const LOADERS: usize = 8;
/// Each caller waits so long between two calls, on average.
const PAUSE: Duration = ms(1000);
/// How long a loader takes.
const LOAD: Duration = ms(5);

/// What the store caches. A row has its number of changes for a value.
struct Database {
    rows: Vec<AtomicU64>,
    /// The changes of a row whose invalidation has been answered or queued: nobody may be given less from then on.
    told: Vec<AtomicU64>,
    /// The server is known to be dead.
    is_alone: AtomicBool,
    /// The loaders that run at once, of calls that began since then.
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Database {
    async fn load(&self, row: usize, is_alone: bool) -> u64 {
        let counts = usize::from(is_alone);
        let running = self.running.fetch_add(counts, SeqCst) + counts;
        self.most.fetch_max(running, SeqCst);
        let value = self.rows[row].load(SeqCst);
        sleep(LOAD).await;
        self.running.fetch_sub(counts, SeqCst);
        value
    }
}

/// What the calls of one slice of time have come to.
#[derive(Default)]
struct Slice {
    given: u64,
    refused: u64,
    removed: u64,
    queued: u64,
    times: Vec<Duration>,
}

#[derive(Default)]
struct Timeline(Mutex<Slice>);

impl Timeline {
    fn add(&self, began: Instant, change: impl FnOnce(&mut Slice)) {
        let mut slice = self.0.lock().unwrap();
        slice.times.push(began.elapsed());
        change(&mut slice);
    }

    /// Prints what there was since this was last called. Returns the 99th percentile of the times.
    async fn print(&self, at: Duration, store: &Store, database: &Database) -> Duration {
        let mut slice = std::mem::take(&mut *self.0.lock().unwrap());
        slice.times.sort_unstable();
        let of = |share: usize| {
            let last = slice.times.len().saturating_sub(1);
            slice.times.get(last * share / 100).copied().unwrap_or_default()
        };
        let (p50, p99) = (of(50), of(99));
        let waiting = store.stats().await.unwrap().queued_invalidations;
        println!(
            "callers: {:5.1} s  {:6} given {:6} refused {:5} removed {:5} queued  {waiting:5} wait  {:4} loaders  p50 {p50:9.1?}  p99 {p99:9.1?}",
            at.as_secs_f64(),
            slice.given,
            slice.refused,
            slice.removed,
            slice.queued,
            database.most.swap(0, SeqCst),
        );
        p99
    }
}

/// One caller: nineteen loads, then a change with its invalidation, and so on.
async fn call(
    store: Store,
    database: Arc<Database>,
    timeline: Arc<Timeline>,
    stop: Arc<AtomicBool>,
    n: usize,
) {
    let mut random = Seeded::new(n as u64);
    while !stop.load(SeqCst) {
        sleep(PAUSE.mul_f64(random.below(2000) as f64 / 1000.0)).await;
        let row = random.below(KEYS as u64) as usize;
        let key = format!("row:{row}");
        let began = Instant::now();
        if random.below(20) > 0 {
            let told = database.told[row].load(SeqCst);
            let (source, is_alone) = (database.clone(), database.is_alone.load(SeqCst));
            let load = store.get_or_load(&key, move || async move {
                Ok::<_, String>(source.load(row, is_alone).await)
            });
            match load.await {
                Ok(value) => {
                    assert!(value >= told, "{key} is stale: {value} after {told}");
                    timeline.add(began, |slice| slice.given += 1);
                }
                Err(LoadError::Store(
                    Error::Unavailable(_) | Error::Timeout { .. } | Error::OutcomeUnknown(_),
                )) => {
                    timeline.add(began, |slice| slice.refused += 1);
                }
                Err(error) => panic!("{error:?}"),
            }
            continue;
        }
        let changes = database.rows[row].fetch_add(1, SeqCst) + 1;
        let answer = if random.below(2) == 0 {
            store.delete(&key).await.map(drop)
        } else {
            store.invalidate([&key]).await.map(drop)
        };
        match answer {
            Ok(()) => timeline.add(began, |slice| slice.removed += 1),
            Err(Error::Unavailable(_) | Error::OutcomeUnknown(_) | Error::Timeout { .. }) => {
                timeline.add(began, |slice| slice.queued += 1);
            }
            Err(error) => panic!("{error:?}"),
        }
        database.told[row].fetch_max(changes, SeqCst);
    }
}

/// What happens to the server. When it is back, it has its old data.
#[derive(Clone, Copy, PartialEq)]
enum Outage {
    /// It is killed, and started again.
    Killed,
    /// It stands still, and goes on.
    Stopped,
}

/// Takes the server away from its callers for so long.
async fn without_a_server(
    what: Outage,
    length: Duration,
    slice: Duration,
    settings: impl FnOnce(RedisConfig) -> RedisConfig,
) {
    let mut server = RedisServer::options().append_only().start().await;
    let settings = settings(config(&server.url()))
        .wait_for_connection(Duration::ZERO)
        .loads_while_unavailable(LOADERS)
        .queue_invalidations(100_000);
    let store = open(settings).await;
    let zeros = || (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let database = Arc::new(Database {
        rows: zeros(),
        told: zeros(),
        is_alone: AtomicBool::default(),
        running: AtomicUsize::default(),
        most: AtomicUsize::default(),
    });
    let (timeline, stop) = (Arc::<Timeline>::default(), Arc::<AtomicBool>::default());
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let (database, timeline) = (database.clone(), timeline.clone());
            tokio::spawn(call(store.clone(), database, timeline, stop.clone(), n))
        })
        .collect();
    let began = Instant::now();
    for _ in 0..2 {
        sleep(slice).await;
        timeline.print(began.elapsed(), &store, &database).await;
    }
    match what {
        Outage::Killed => server.kill9(),
        Outage::Stopped => server.stop(),
    }
    println!(
        "callers: {:5.1} s  -> the server is gone",
        began.elapsed().as_secs_f64()
    );
    while store.exists("nothing").await.is_ok() {}
    database.is_alone.store(true, SeqCst);
    timeline.print(began.elapsed(), &store, &database).await;
    let (dead, mut worst) = (Instant::now(), Duration::ZERO);
    while dead.elapsed() < length {
        sleep(slice).await;
        let most = database.most.load(SeqCst);
        assert!(most <= LOADERS, "{most} loaders at once");
        worst = worst.max(timeline.print(began.elapsed(), &store, &database).await);
    }
    database.is_alone.store(false, SeqCst);
    let waited = store.stats().await.unwrap().queued_invalidations;
    assert!(waited > 0);
    match what {
        Outage::Killed => server.restart().await,
        Outage::Stopped => server.cont(),
    }
    println!(
        "callers: {:5.1} s  -> the server is back",
        began.elapsed().as_secs_f64()
    );
    let back = Instant::now();
    while store.exists("nothing").await.is_err() {
        sleep(ms(1)).await;
    }
    println!(
        "callers: service is back after {:?}; {waited} invalidations waited; p99 in the outage {worst:?}",
        back.elapsed()
    );
    for _ in 0..2 {
        sleep(slice).await;
        timeline.print(began.elapsed(), &store, &database).await;
    }
    stop.store(true, SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let replayed = async {
        while store.stats().await.unwrap().queued_invalidations > 0 {
            sleep(ms(1)).await
        }
    };
    timeout(ms(10_000), replayed).await.expect("all are replayed");
    for row in 0..KEYS {
        let current = database.rows[row].load(SeqCst);
        let value = loop {
            match store.get_model::<u64>(format!("row:{row}")).await {
                Ok(value) => break value,
                Err(Error::Timeout { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        };
        assert!(
            value.is_none_or(|value| value == current),
            "{row}: {value:?}, not {current}"
        );
    }
}

#[tokio::test]
async fn callers_outlive_a_dead_server_and_find_nothing_stale_after_it() {
    without_a_server(Outage::Killed, ms(2000), ms(500), |config| config).await;
}

#[tokio::test]
async fn the_same_with_a_near_cache_over_several_connections() {
    let _near = WithNear::on();
    without_a_server(Outage::Killed, ms(1000), ms(500), |config| config.connections(3)).await;
}

/// It is not known to be down at first, and it has requests of before when it goes on.
#[tokio::test]
async fn the_same_with_a_server_that_stands_still() {
    let patience = |config: RedisConfig| config.request_timeout(ms(300)).response_timeout(ms(200));
    without_a_server(Outage::Stopped, ms(2000), ms(500), patience).await;
}

#[tokio::test]
#[ignore = "it takes more than a minute: tests/soak.sh runs it"]
async fn soak_callers_outlive_a_minute_without_a_server() {
    without_a_server(Outage::Killed, Duration::from_secs(60), ms(4000), |config| config).await;
}
