//! A fleet over one server: a writer and three readers with near caches, which are killed and stopped at random. No
//! reader sees what is older than the greatest age, what it has seen a later value of, or what is past its TTL.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "figures, for those who ask with --nocapture")]
#![allow(
    clippy::disallowed_methods,
    reason = "processes share no other clock than the machine's"
)]

#[path = "support/redis/mod.rs"]
mod harness;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachestore::{NearCache, Store};
use harness::opening::{config, ms};
use harness::{RedisServer, Seeded};
use tokio::time::{Instant, sleep};

const URL: &str = "CACHESTORE_NEAR_URL";
const LOG: &str = "CACHESTORE_NEAR_LOG";
const KEYS: u64 = 4;
const AGE: Duration = ms(200);
/// The key that expires, and its TTL.
const BRIEF: &str = "brief";
const TTL: Duration = ms(60);
const TIME: Duration = ms(6000);

/// Microseconds by the clock that all processes of the machine share.
fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

async fn store(url: &str) -> Store {
    let near = NearCache::default().max_age(AGE);
    let end = Instant::now() + ms(10_000);
    loop {
        match Store::open(config(url).near_cache(near)).await {
            Ok(store) => return store,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    }
}

fn log() -> File {
    let path = std::env::var(LOG).unwrap();
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

async fn number(store: &Store, key: &str) -> Option<u64> {
    let read = store.get_string(key).await.ok()?;
    Some(read.map_or(0, |text| text.parse().unwrap()))
}

/// Not a test: counts keys up, and logs each number once it is acknowledged.
#[tokio::test]
async fn writer() {
    let Ok(url) = std::env::var(URL) else { return };
    let (store, mut log) = (store(&url).await, log());
    let mut random = Seeded::new(clock());
    loop {
        let key = format!("k{}", random.below(KEYS));
        // A writer before this one may have been killed in the midst of a write.
        let Some(last) = number(&store.without_near_cache(), &key).await else {
            continue;
        };
        if store.set(&key, (last + 1).to_string()).await.is_ok() {
            writeln!(log, "{key} {} {}", last + 1, clock()).unwrap();
        }
        let brief = clock();
        if store.set(BRIEF, brief.to_string()).ttl(TTL).await.is_ok() {
            writeln!(log, "{BRIEF} {brief} {}", clock()).unwrap();
        }
        sleep(ms(random.below(80))).await;
    }
}

/// Not a test: reads, and logs for each number when the last read of it began.
#[tokio::test]
async fn reader() {
    let Ok(url) = std::env::var(URL) else { return };
    let (store, mut log) = (store(&url).await, log());
    let mut seen: HashMap<String, (u64, u64)> = HashMap::new();
    let mut random = Seeded::new(clock());
    let mut reads = 0_u64;
    loop {
        let key = match random.below(KEYS + 1) {
            KEYS => BRIEF.to_owned(),
            key => format!("k{key}"),
        };
        let began = clock();
        let Some(found) = number(&store, &key).await else {
            continue;
        };
        reads += 1;
        let last = seen.insert(key.clone(), (found, began));
        if let Some((number, began)) = last.filter(|(number, _)| *number != found) {
            writeln!(log, "{key} {number} {began}").unwrap();
            if found < number && found != 0 {
                writeln!(log, "back {number} {found}").unwrap();
            }
        }
        if reads.is_multiple_of(256) {
            let hits = store.stats().await.map_or(0, |stats| stats.near_hits);
            writeln!(log, "hits {hits} {reads}").unwrap();
            sleep(ms(1)).await;
        }
    }
}

struct Process {
    what: &'static str,
    url: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    fn start(what: &'static str, url: &str, log: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", what, "--nocapture"])
            .env(URL, url)
            .env(LOG, log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            what,
            url: url.to_owned(),
            log: log.to_owned(),
            child,
        }
    }

    fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn replace(&mut self) {
        self.end();
        *self = Self::start(self.what, &self.url, &self.log);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The whole lines of a log: a word and two numbers.
fn lines(log: &Path) -> Vec<(String, u64, u64)> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |line: &str| {
        let mut words = line.split(' ');
        let word = words.next()?.to_owned();
        Some((word, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    whole.lines().filter_map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_is_killed_and_stopped_sees_nothing_too_old() {
    if std::env::var(URL).is_ok() {
        return;
    }
    let server = RedisServer::start().await;
    let logs: Vec<PathBuf> = (0..4).map(|n| server.folder().join(format!("log{n}"))).collect();
    let mut processes: Vec<Process> = logs
        .iter()
        .enumerate()
        .map(|(n, log)| Process::start(if n == 0 { "writer" } else { "reader" }, &server.url(), log))
        .collect();
    let mut random = Seeded::new(7);
    let began = Instant::now();
    while began.elapsed() < TIME {
        sleep(ms(100 + random.below(400))).await;
        let chosen = random.below(4) as usize;
        match random.below(4) {
            0 => processes[chosen].replace(),
            1 | 2 => {
                processes[chosen].signal("STOP");
                sleep(ms(random.below(600))).await;
                processes[chosen].signal("CONT");
            }
            _ => {
                server.stop();
                sleep(ms(random.below(500))).await;
                server.cont();
            }
        }
    }
    processes.iter_mut().for_each(Process::end);
    let written = lines(&logs[0]);
    let (mut reads, mut hits) = (0, 0);
    for log in &logs[1..] {
        for (word, number, at) in lines(log) {
            match word.as_str() {
                "back" => panic!("{at} after {number}"),
                "hits" => (hits, reads) = (hits.max(number), reads + 256),
                BRIEF if number == 0 => {}
                BRIEF => {
                    let set = written
                        .iter()
                        .find(|(key, value, _)| key == BRIEF && *value == number);
                    if let Some((.., set)) = set {
                        // The server itself keeps a key until its millisecond is over.
                        let over = set + TTL.as_micros() as u64 + 1000;
                        assert!(at <= over, "{} µs past its TTL", at - over);
                    }
                }
                key => {
                    let later = written
                        .iter()
                        .filter(|(of, value, _)| of == key && *value > number);
                    if let Some(replaced) = later.map(|(.., at)| *at).min() {
                        let limit = replaced + AGE.as_micros() as u64;
                        assert!(at <= limit, "{} µs too old", at - limit);
                    }
                }
            }
        }
    }
    println!(
        "near fleet: {} writes, {reads} reads, {hits} near hits of one reader",
        written.len()
    );
    assert!(
        written.len() > 20 && reads > 1000 && hits > 500,
        "{} {reads} {hits}",
        written.len()
    );
}
