//! Several processes and one server: whoever believes to hold the lock, on its own clock, holds it alone;
//! and where a stopped process believes too long, its fence is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "processes share no other clock than the machine's"
)]

#[path = "support/redis/mod.rs"]
mod harness;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachestore::{Config, Error, Store, redis};
use harness::opening::soak;
use harness::{RedisServer, Seeded};

const MS: Duration = Duration::from_millis(1);
const TTL: Duration = Duration::from_millis(150);
const WORKERS: usize = 4;
/// How often one of them is stopped.
const ROUNDS: u64 = 12;
const URL: &str = "CACHESTORE_TEST_LOCK_URL";
/// The protected resource: it takes a write unless it has seen a later fence.
const WRITE: &str = "
    local last = tonumber(redis.call('GET', 'seen') or '0')
    if tonumber(ARGV[1]) < last then return 0 end
    redis.call('SET', 'seen', ARGV[1])
    return 1";

/// Somebody believed to hold the lock, from one moment to another, in microseconds of the machine's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    fence: u64,
    from: u64,
    to: u64,
}

/// The pairs of holders who overlap, or whose fences go back in time.
fn violations(history: &[Held]) -> Vec<(Held, Held)> {
    let mut sorted = history.to_vec();
    sorted.sort_by_key(|held| held.from);
    let mut found = Vec::new();
    let mut last: Option<Held> = None;
    for held in sorted {
        if let Some(last) = last
            && (held.from <= last.to || held.fence <= last.fence)
        {
            found.push((last, held));
        }
        if last.is_none_or(|last| held.to >= last.to) {
            last = Some(held);
        }
    }
    found
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

/// Not a test: what each process runs, when the test below starts it.
#[tokio::test]
async fn worker() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = Store::open(Config::redis(&url).unwrap()).await.unwrap();
    let end = now() + 6_000_000;
    while now() < end {
        let guard = match store.lock("k").ttl(TTL).wait(MS * 3000).await {
            Ok(guard) => guard,
            Err(Error::LockHeld) => continue,
            Err(_) => {
                tokio::time::sleep(5 * MS).await;
                continue;
            }
        };
        let mut held: Option<Held> = None;
        let (mut written, mut refused) = (0, 0);
        for _ in 0..4 {
            // The time is read first: at that time the lease was good, if it is good afterwards.
            let at = now();
            if guard.remaining().is_zero() {
                break;
            }
            let from = held.map_or(at, |held| held.from);
            held = Some(Held {
                fence: guard.fencing_token(),
                from,
                to: at,
            });
            // Here it may be stopped, and write when its time is long over.
            std::thread::sleep(2 * MS);
            let mut write = redis::cmd("EVAL");
            write.arg(WRITE).arg(0).arg(guard.fencing_token());
            match store.redis_command::<u64>(write).await {
                Ok(1) => written += 1,
                Ok(_) => refused += 1,
                Err(_) => {}
            }
        }
        if let Some(held) = held {
            // One line in one write, also if the process is killed right after.
            let line = format!(
                "held {} {} {} {written} {refused}\n",
                held.fence, held.from, held.to
            );
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
        drop(guard);
    }
}

struct Process(Child);

impl Process {
    fn start(url: &str, log: &std::path::Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker", "--nocapture"])
            .env(URL, url)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.0.id());
        Command::new("sh").args(["-c", &line]).status().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets processes contend while they are stopped at random, and the server is killed so often. The history,
/// and how many writes were refused.
async fn contend(mut server: RedisServer, kills: u64, seed: u64) -> (Vec<Held>, u64) {
    let logs: Vec<_> = (0..WORKERS)
        .map(|n| server.folder().join(format!("worker-{n}")))
        .collect();
    let mut workers: Vec<_> = logs
        .iter()
        .map(|log| Process::start(&server.url(), log))
        .collect();
    let mut random = Seeded::new(seed);
    for round in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(100 + random.below(100))).await;
        if (round + 1) * (kills + 1) / ROUNDS > round * (kills + 1) / ROUNDS && round + 1 < ROUNDS {
            server.restart().await;
        }
        let worker = &workers[random.below(WORKERS as u64) as usize];
        worker.signal("STOP");
        tokio::time::sleep(TTL * 2).await;
        worker.signal("CONT");
    }
    for worker in &mut workers {
        assert!(worker.0.wait().unwrap().success());
    }
    let (mut history, mut stale) = (Vec::new(), 0);
    for log in logs {
        let text = std::fs::read_to_string(log).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("held ")) {
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            history.push(Held {
                fence: numbers[0],
                from: numbers[1],
                to: numbers[2],
            });
            stale += numbers[4];
        }
    }
    (history, stale)
}

#[tokio::test]
async fn processes_that_are_stopped_never_hold_at_once() {
    let server = RedisServer::options().append_only().start().await;
    let (history, stale) = contend(server, 1, 5).await;
    println!("{} holds, {stale} stale writes refused", history.len());
    assert!(history.len() > 50, "they made progress: {}", history.len());
    assert_eq!(violations(&history), []);
}

/// A server that forgets cannot keep the promise: what happens then is counted, and told.
#[tokio::test]
async fn a_server_that_forgets_is_counted() {
    let server = RedisServer::start().await;
    let (history, stale) = contend(server, 1, 5).await;
    let overlaps = violations(&history).len();
    println!(
        "{} holds, {overlaps} overlaps, {stale} stale writes refused",
        history.len()
    );
    assert!(
        overlaps <= WORKERS,
        "one kill, and one forgotten holder: {overlaps}"
    );
}

/// Runs for as long as a long version does, over a new server each time that is killed five times.
async fn soaked(append_only: bool) -> usize {
    const KILLS: u64 = 5;
    let (began, mut runs, mut holds, mut stale, mut overlaps) = (now(), 0, 0, 0, 0);
    let mut longest = 0;
    while now() - began < soak().as_micros() as u64 {
        runs += 1;
        let options = RedisServer::options();
        let options = if append_only {
            options.append_only()
        } else {
            options
        };
        let (history, refused) = contend(options.start().await, KILLS, runs).await;
        let found = violations(&history);
        let times = found.iter().map(|(one, other)| one.to.saturating_sub(other.from));
        longest = times.max().unwrap_or(0).max(longest);
        (holds, stale, overlaps) = (holds + history.len(), stale + refused, overlaps + found.len());
    }
    println!(
        "appendonly {append_only}: {holds} holds, {} kills, {} stops, {overlaps} overlaps of up to {} ms, \
         {stale} stale writes refused",
        runs * KILLS,
        runs * ROUNDS,
        longest / 1000
    );
    overlaps
}

#[tokio::test]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_processes_over_a_server_that_remembers() {
    assert_eq!(soaked(true).await, 0);
}

#[tokio::test]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_processes_over_a_server_that_forgets() {
    soaked(false).await;
}

#[test]
fn the_checker_finds_what_it_is_there_to_find() {
    let held = |fence, from, to| Held { fence, from, to };
    assert_eq!(
        violations(&[held(1, 0, 10), held(3, 20, 30), held(2, 11, 19)]),
        []
    );
    assert_eq!(violations(&[held(1, 0, 10), held(2, 10, 20)]).len(), 1, "at once");
    assert_eq!(
        violations(&[held(1, 0, 100), held(2, 10, 20), held(3, 30, 40)]).len(),
        2,
        "inside"
    );
    assert_eq!(
        violations(&[held(2, 0, 10), held(1, 20, 30)]).len(),
        1,
        "a fence that goes back"
    );
}
