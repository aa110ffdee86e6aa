//! No reply of another: every value embeds its key and its number, while calls are cancelled at
//! random, time out after a millisecond, and a proxy delays, cuts, slices and resets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cachestore::{Error, Store};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::opening::{config, ms, open, soak};
use crate::harness::{Direction, Proxy, RedisServer, Seeded, Toxic};

const KEYS: u64 = 200;
const TASKS: u64 = 24;

#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    found: AtomicU64,
    cancelled: AtomicU64,
    failed: AtomicU64,
    /// No value has a number over this one.
    number: AtomicU64,
}

fn key(n: u64) -> String {
    format!("key:{n:03}")
}

/// `key:017|42|` and padding of a length of its own.
fn value(n: u64, number: u64, random: &mut Seeded) -> Vec<u8> {
    let length = if random.percent(2) {
        random.below(60_000)
    } else {
        random.below(200)
    };
    let mut value = format!("{}|{number}|", key(n)).into_bytes();
    value.extend(std::iter::repeat_n(b'a' + (n % 26) as u8, length as usize));
    value
}

impl Tally {
    /// Whether the value is one of this key's.
    fn check(&self, n: u64, value: Option<&[u8]>) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let Some(value) = value else { return };
        self.found.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(value);
        let mut parts = text.splitn(3, '|');
        assert_eq!(
            parts.next(),
            Some(key(n).as_str()),
            "CROSS-TALK: {} got {text:.60}",
            key(n)
        );
        let number: u64 = parts
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number");
        assert!(
            number <= self.number.load(Ordering::SeqCst),
            "a value that nobody wrote: {text:.60}"
        );
        let padding = parts.next().expect("padding");
        assert!(
            padding.bytes().all(|b| b == b'a' + (n % 26) as u8),
            "CROSS-TALK inside {text:.60}"
        );
    }

    /// Makes one call of any kind and checks what it answers.
    async fn call(&self, store: &Store, random: &mut Seeded) -> Result<(), Error> {
        let n = random.below(KEYS);
        let write = || {
            let number = self.number.fetch_add(1, Ordering::SeqCst) + 1;
            value(n, number, &mut Seeded::new(number))
        };
        match random.below(20) {
            0..=7 => self.check(n, store.get(key(n)).await?.as_deref()),
            8..=11 => store.set(key(n), write()).await?,
            12 | 13 => {
                let many: Vec<u64> = (0..1 + random.below(20)).map(|_| random.below(KEYS)).collect();
                let values = store.get_many(many.iter().map(|n| key(*n))).await?;
                assert_eq!(values.len(), many.len());
                for (n, value) in many.into_iter().zip(values) {
                    self.check(n, value.as_deref());
                }
            }
            14 => self.check(n, store.take(key(n)).await?.as_deref()),
            15 => {
                // A key of another shape: its answer is a number, and only ever grows.
                let counter = format!("counter:{}", n % 8);
                assert!(store.incr(&counter, 1).await? > 0);
            }
            16 => {
                let many = (0..5).map(|step| (n + step) % KEYS);
                let number = self.number.fetch_add(1, Ordering::SeqCst) + 1;
                let entries = many.map(|n| (key(n), value(n, number, &mut Seeded::new(number + n))));
                store.set_many(entries.collect::<Vec<_>>()).await?;
            }
            17 => drop(store.delete(key(n)).await?),
            18 => {
                store
                    .set(key(n), write())
                    .depends_on([key((n + 1) % KEYS)])
                    .await?
            }
            _ => drop(store.add(key(n), write()).ttl(ms(5000)).await?),
        }
        Ok(())
    }
}

/// Makes calls until it is told to stop, a quarter of them cancelled.
async fn caller(store: Store, tally: Arc<Tally>, stop: Arc<AtomicBool>, seed: u64) {
    let mut random = Seeded::new(seed);
    while !stop.load(Ordering::Relaxed) {
        let cancelled = random
            .percent(25)
            .then(|| Duration::from_micros(random.below(2500)));
        let mut choice = Seeded::new(random.next());
        let call = tally.call(&store, &mut choice);
        let answer = match cancelled {
            Some(patience) => timeout(patience, call).await,
            None => Ok(call.await),
        };
        match answer {
            Ok(Ok(())) => tally.answered.fetch_add(1, Ordering::Relaxed),
            Ok(Err(Error::Timeout { .. } | Error::Unavailable(_) | Error::OutcomeUnknown(_))) => {
                sleep(Duration::from_micros(200)).await;
                tally.failed.fetch_add(1, Ordering::Relaxed)
            }
            Ok(Err(other)) => panic!("no fault of the network: {other:?}"),
            Err(_) => tally.cancelled.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// Does harm of every kind, with pauses.
async fn vandal(proxy: &Proxy, random: &mut Seeded, until: Instant) {
    while Instant::now() < until {
        let direction = if random.percent(50) {
            Direction::Up
        } else {
            Direction::Down
        };
        match random.below(9) {
            0 => proxy.add(
                direction,
                Toxic::Latency {
                    delay: ms(3),
                    jitter: ms(3),
                },
            ),
            1 => proxy.add(
                direction,
                Toxic::Slicer {
                    size: 40,
                    variation: 39,
                    delay: Duration::ZERO,
                },
            ),
            2 => proxy.add(
                direction,
                Toxic::LimitData {
                    bytes: 10_000 + random.below(90_000),
                },
            ),
            3 => proxy.add(
                direction,
                Toxic::Bandwidth {
                    bytes_per_second: 500_000,
                },
            ),
            4 => proxy.add(
                direction,
                Toxic::ResetPeer {
                    after: ms(random.below(30)),
                },
            ),
            5 => proxy.add(direction, Toxic::Timeout { close: None }),
            6 => proxy.blackhole(),
            7 => proxy.cut(),
            _ => {
                proxy.down().await;
                sleep(ms(20)).await;
                proxy.up().await;
            }
        }
        sleep(ms(40 + random.below(120))).await;
        proxy.heal();
        sleep(ms(20 + random.below(100))).await;
    }
    proxy.heal();
}

/// A store whose calls time out after a millisecond, or as soon after as one can be opened at all.
async fn hurried(settings: &cachestore::RedisConfig) -> Store {
    for patience in (1..30).flat_map(|patience| std::iter::repeat_n(patience, 10)) {
        if let Ok(store) = Store::open(settings.clone().request_timeout(ms(patience))).await {
            println!("cross-talk: calls time out after {patience} ms");
            return store;
        }
    }
    panic!("no store opens within 30 ms");
}

async fn no_reply_of_another(lasts: Duration, connections: usize, seed: u64) {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), seed).await;
    let quick = config(&proxy.url()).connections(connections);
    let patient = open(quick.clone().response_timeout(ms(100)).request_timeout(ms(400))).await;
    // A response timeout so short that replies come after their callers have gone.
    let hasty = hurried(&quick.namespace("hasty")).await;
    // Through another door, so that only what is under test can mix them up.
    let hasty_tally = Arc::new(Tally::default());
    let tally = Arc::new(Tally::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..TASKS {
        let (store, tally) = if n % 3 == 0 {
            (&hasty, &hasty_tally)
        } else {
            (&patient, &tally)
        };
        tasks.spawn(caller(
            store.clone(),
            tally.clone(),
            stop.clone(),
            seed * 1000 + n,
        ));
    }
    let mut random = Seeded::new(seed);
    vandal(&proxy, &mut random, Instant::now() + lasts).await;
    sleep(ms(300)).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    println!(
        "cross-talk: seed {seed}, {connections} connection(s), {lasts:?}: {tally:?}, 1 ms: {hasty_tally:?}"
    );
    // It was no idle run.
    let answered = tally.found.load(Ordering::Relaxed);
    assert!(answered > 50 * lasts.as_secs().max(1), "{tally:?}");
    assert!(
        tally.failed.load(Ordering::Relaxed) > 0 && tally.cancelled.load(Ordering::Relaxed) > 100,
        "{tally:?}"
    );
    assert!(proxy.accepted() > 3, "the connection was made anew");
    // Afterwards everything is as it should be.
    let check = Tally {
        number: AtomicU64::new(u64::MAX),
        ..Tally::default()
    };
    for n in 0..KEYS {
        check.check(n, get_after_faults(&patient, n).await.as_deref());
    }
}

/// Reads a key once the connection works again. The last fault may still cost the connection, and so may a
/// busy machine, because this store gives a connection up after 100 ms without a reply.
async fn get_after_faults(store: &Store, n: u64) -> Option<cachestore::Bytes> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match store.get(key(n)).await {
            Err(error) if error.is_retryable() && Instant::now() < end => sleep(ms(20)).await,
            answer => return answer.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_connection() {
    no_reply_of_another(ms(4000), 1, 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_three_connections() {
    no_reply_of_another(ms(3000), 3, 12).await;
}

#[tokio::test]
async fn on_one_thread() {
    no_reply_of_another(ms(3000), 1, 13).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_cross_talk() {
    no_reply_of_another(soak(), 1, 14).await;
}
