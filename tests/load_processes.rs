//! Several processes and one server: a key is loaded once for all of them, no page is older than a change that any of them
//! was told of, and one that is killed while it loads holds the others up no longer than its lease.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic"
)]

#[path = "support/redis/mod.rs"]
mod harness;

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use cachestore::{Config, Fetched, LoadContext, Origin, Store, redis};
use futures_util::future::join_all;
use harness::opening::soak;
use harness::{RedisServer, Seeded};
use tokio::time::{Instant, sleep, timeout};

const MS: Duration = Duration::from_millis(1);
const WORKERS: u64 = 4;
const KEYS: usize = 100;
const LEASE: Duration = Duration::from_secs(2);
const URL: &str = "CACHESTORE_TEST_LOAD_URL";
const CALLERS: &str = "CACHESTORE_TEST_LOAD_CALLERS";

async fn open(url: &str) -> Store {
    // A debug build on a busy machine takes its time for a hundred thousand calls.
    let config = Config::redis(url)
        .unwrap()
        .request_timeout(Duration::from_secs(60));
    Store::open(config).await.unwrap()
}

/// Counts on the server, beside the store: how often so far.
async fn count(store: &Store, name: &str) -> u64 {
    let mut command = redis::cmd("INCR");
    command.arg(name);
    store.redis_command(command).await.unwrap()
}

/// Waits until so many have counted.
async fn counted(store: &Store, name: &str, wanted: u64) {
    let all = async {
        while store
            .get_string(name)
            .await
            .unwrap()
            .is_none_or(|count| count.parse() != Ok(wanted))
        {
            sleep(5 * MS).await;
        }
    };
    timeout(Duration::from_secs(60), all).await.unwrap();
}

/// Not a test: a process of the first test below.
#[tokio::test]
async fn worker() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = open(&url).await;
    count(&store, "ready").await;
    counted(&store, "ready", WORKERS).await;
    let callers: usize = std::env::var(CALLERS).unwrap().parse().unwrap();
    let calls = (0..KEYS * callers).map(|call| {
        let (store, key) = (store.clone(), call % KEYS);
        tokio::spawn(async move {
            let own = store.clone();
            let load = move || async move {
                let nth = count(&own, &format!("loads:{key}")).await;
                sleep(50 * MS).await;
                Ok::<_, String>((key, nth))
            };
            store.get_or_load(format!("key:{key}"), load).await.unwrap()
        })
    });
    for (call, value) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(value.unwrap(), (call % KEYS, 1), "the value of the one load");
    }
}

/// Not a test: a process that loads for ever.
#[tokio::test]
async fn stuck() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = open(&url).await;
    let own = store.clone();
    let load = move || async move {
        count(&own, "stuck").await;
        std::future::pending::<Result<String, String>>().await
    };
    drop(store.get_or_load("k", load).timeout(LEASE).await);
}

/// A source of two rows on the server, beside the cache: how often each was changed, and how much of that was acknowledged.
#[derive(Clone)]
struct Rows(Store);

impl Rows {
    async fn number(&self, name: String) -> u64 {
        let mut command = redis::cmd("GET");
        command.arg(name);
        let number: Option<u64> = self.0.redis_command(command).await.unwrap();
        number.unwrap_or_default()
    }

    async fn acknowledged(&self) -> [u64; 2] {
        [
            self.number("told:0".to_owned()).await,
            self.number("told:1".to_owned()).await,
        ]
    }

    /// Changes a row of the source, then tells the cache, and notes that it has acknowledged.
    async fn change(&self, cache: &Store, row: u64, by_name: bool) {
        let version = count(&self.0, &format!("row:{row}")).await;
        if by_name {
            cache.invalidate(format!("row-{row}")).await.unwrap();
        } else {
            let page = page_of(self.acknowledged().await);
            cache.delete(page).await.unwrap();
        }
        let mut raise = redis::cmd("EVAL");
        raise.arg(
            "if tonumber(redis.call('GET', KEYS[1]) or 0) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end",
        );
        raise.arg(1).arg(format!("told:{row}")).arg(version);
        self.0.redis_command::<()>(raise).await.unwrap();
    }

    /// A page of both rows, which only its loader knows to be made from them.
    async fn page(&self, cache: &Store, name: &str) -> [u64; 2] {
        let rows = self.clone();
        let load = move |_: LoadContext<[u64; 2]>| {
            let rows = rows.clone();
            async move {
                let first = rows.number("row:0".to_owned()).await;
                sleep(MS).await;
                let page = [first, rows.number("row:1".to_owned()).await];
                Ok::<_, String>(Fetched::new(page).depends_on(["row-0", "row-1"]))
            }
        };
        cache.get_or_load_with(name, load).await.unwrap()
    }
}

/// The page that is read now. It is another one after some changes: a page that was stored once stays in the sets of the rows
/// for a while, by which an invalidation finds its loads.
fn page_of(versions: [u64; 2]) -> String {
    format!("page-{}", (versions[0] + versions[1]) / 4)
}

/// Not a test: a process that changes rows, and reads a page of them all the while.
#[tokio::test]
async fn reader() {
    let Ok(url) = std::env::var(URL) else { return };
    let root = open(&url).await;
    let (rows, cache) = (Rows(root.clone()), root.namespace("cache").unwrap());
    count(&root, "ready").await;
    counted(&root, "ready", WORKERS).await;
    let changes = async {
        let mut random = Seeded::new(std::process::id().into());
        let end = Instant::now() + soak();
        let mut left = 100;
        while left > 0 || (std::env::var(CALLERS).unwrap() == "0" && Instant::now() < end) {
            rows.change(&cache, random.below(2), random.below(4) != 0).await;
            sleep(MS * u32::try_from(random.below(8)).unwrap()).await;
            left = u32::saturating_sub(left, 1);
        }
    };
    let read = async || {
        loop {
            let before = rows.acknowledged().await;
            let page = rows.page(&cache, &page_of(before)).await;
            assert!(
                page[0] >= before[0] && page[1] >= before[1],
                "{page:?} after {before:?}"
            );
        }
    };
    tokio::select! {
        () = changes => {}
        () = read() => {}
        () = read() => {}
    }
}

struct Process(Child);

impl Process {
    fn start(what: &str, url: &str, callers: usize) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", what, "--nocapture"])
            .env(URL, url)
            .env(CALLERS, callers.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    async fn ended(mut self) -> ExitStatus {
        tokio::task::spawn_blocking(move || self.0.wait().unwrap())
            .await
            .unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// So many callers of each key in each process.
async fn all_share_one_load(callers: usize) {
    let server = RedisServer::start().await;
    let workers: Vec<Process> = (0..WORKERS)
        .map(|_| Process::start("worker", &server.url(), callers))
        .collect();
    for status in join_all(workers.into_iter().map(Process::ended)).await {
        assert!(status.success(), "{status}");
    }
    let store = open(&server.url()).await;
    for key in 0..KEYS {
        let loads = store.get_string(format!("loads:{key}")).await.unwrap();
        assert_eq!(loads.as_deref(), Some("1"), "loads of key {key}");
    }
    assert_eq!(server.keys("cachestore:*").len(), 0, "a lease is left behind");
}

async fn nobody_reads_what_was_before_an_acknowledged_change(how: usize) {
    let server = RedisServer::start().await;
    let readers: Vec<Process> = (0..WORKERS)
        .map(|_| Process::start("reader", &server.url(), how))
        .collect();
    for status in join_all(readers.into_iter().map(Process::ended)).await {
        assert!(status.success(), "{status}");
    }
    let store = open(&server.url()).await;
    let rows = Rows(store.clone());
    let page = rows.page(&store.namespace("cache").unwrap(), "last").await;
    assert_eq!(page, rows.acknowledged().await);
    println!("load processes: rows {page:?} after the last change, and no page was older than its rows");
    assert!(page[0] + page[1] >= 100 * WORKERS);
}

/// What a page depends on is known only from its loader's answer, and is changed by other processes.
#[tokio::test]
async fn over_four_processes_no_page_is_older_than_an_acknowledged_change() {
    nobody_reads_what_was_before_an_acknowledged_change(1).await;
}

#[tokio::test]
#[ignore = "as long as SOAK_SECONDS says: tests/soak.sh runs it"]
async fn soak_over_four_processes_no_page_is_older_than_an_acknowledged_change() {
    nobody_reads_what_was_before_an_acknowledged_change(0).await;
}

#[tokio::test]
async fn over_four_processes_all_callers_of_a_cold_key_share_one_load() {
    all_share_one_load(25).await;
}

#[tokio::test]
#[ignore = "a hundred thousand calls: tests/soak.sh runs it"]
async fn soak_over_four_processes_a_thousand_callers_of_each_cold_key_share_one_load() {
    all_share_one_load(250).await;
}

#[tokio::test]
async fn a_process_that_is_killed_holds_others_up_no_longer_than_its_lease() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let began = Instant::now();
    let mut stuck = Process::start("stuck", &server.url(), 1);
    counted(&store, "stuck", 1).await;
    // `kill` is SIGKILL: it ends without a word.
    stuck.0.kill().unwrap();
    let killed = Instant::now();
    let load = || async { Ok::<_, String>("v".to_owned()) };
    let loaded = store.get_or_load("k", load).outcome().await.unwrap();
    assert_eq!((loaded.value.as_str(), loaded.origin), ("v", Origin::Loaded));
    assert!(
        began.elapsed() >= LEASE,
        "the other could have been loading still"
    );
    let waited = killed.elapsed();
    assert!(waited < LEASE + Duration::from_millis(1500), "it took {waited:?}");
}
