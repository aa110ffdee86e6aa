//! Concurrent calls answer as if they had come one after the other, whatever is cancelled.
//!
//! The histories and their checker know nothing of an engine: whatever opens a [`Store`] can be held
//! against them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails by a panic too"
)]

#[path = "linearizability/checker.rs"]
mod checker;
#[path = "linearizability/history.rs"]
mod history;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::{Bytes, Config, Error, Store};

use self::checker::{Action, Answer, Call, is_linearizable};
use self::history::{Plan, Registers, record};

/// A store as a set of registers.
struct Stored(Store);

impl Registers for Stored {
    async fn call(&self, key: &str, action: Action) -> Option<Answer> {
        let Self(store) = self;
        let text = |value: i64| value.to_string();
        let value =
            |value: Option<String>| Answer::Value(value.map(|text| text.parse().expect("an integer")));
        let held =
            |bytes: Option<Bytes>| value(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        let answer = match action {
            Action::Get => store.get_string(key).await.map(value),
            Action::Exists => store.exists(key).await.map(Answer::Whether),
            Action::Set(new) => store.set(key, text(new)).await.map(|()| Answer::Done),
            Action::Add(new) => store.add(key, text(new)).await.map(Answer::Whether),
            Action::Replace(new) => store.replace(key, text(new)).await.map(Answer::Whether),
            Action::CompareAndSet { expected, new } => store
                .compare_and_set(key, text(expected), text(new))
                .await
                .map(Answer::Whether),
            Action::Take => store.take(key).await.map(held),
            Action::Swap(new) => store.swap(key, text(new)).await.map(held),
            Action::Touch => store
                .get_and_touch(key, Duration::from_secs(3600))
                .await
                .map(held),
            Action::Delete => store.delete(key).await.map(Answer::Whether),
            Action::Incr(by) => store.incr(key, by).await.map(Answer::Sum),
            Action::Clear => store.clear().await.map(|_| Answer::Done),
        };
        match answer {
            Ok(answer) => Some(answer),
            Err(Error::Timeout { .. } | Error::Unavailable(_) | Error::OutcomeUnknown(_)) => None,
            Err(error) => panic!("no call is refused: {error}"),
        }
    }
}

fn plan(seed: u64) -> Plan {
    let prefix = format!("round-{seed}-");
    Plan {
        seed,
        tasks: 8,
        calls: 60,
        keys: 3,
        prefix,
        cancelled: 20,
        reads: 0,
        clearings: 0,
    }
}

/// How many of the histories of `rounds` no order explains.
async fn unexplained<R: Registers>(registers: R, rounds: u64, plan: impl Fn(u64) -> Plan) -> usize {
    let registers = Arc::new(registers);
    let mut unexplained = 0;
    for seed in 0..rounds {
        let histories = record(registers.clone(), plan(seed)).await;
        unexplained += histories
            .values()
            .filter(|history| !is_linearizable(history))
            .count();
    }
    unexplained
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_engine_is_linearizable() {
    let store = Store::open(Config::memory()).await.unwrap();
    assert_eq!(unexplained(Stored(store), 150, plan).await, 0);
}

/// Most calls are reads, so that most are answered by the near cache, which the writes keep emptying.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hot_reads_are_linearizable() {
    let store = Store::open(Config::memory()).await.unwrap();
    let hot = |seed| Plan {
        reads: 8,
        keys: 2,
        ..plan(seed)
    };
    assert_eq!(unexplained(Stored(store.clone()), rounds(100), hot).await, 0);
    let stats = store.stats().await.unwrap();
    assert!(stats.near_hits > stats.hits / 4, "{stats:?}");
}

/// How many histories are made: `CACHESTORE_ROUNDS` makes a long run of it.
fn rounds(usual: u64) -> u64 {
    let given = std::env::var("CACHESTORE_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Reads by one thread and writes by another, through namespaces and runtimes of their own: no read is older than
/// what was acknowledged before it began.
#[test]
fn a_read_sees_what_another_runtime_was_acknowledged() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (home, away) = (runtime(), runtime());
    let root = home.block_on(Store::open(Config::memory())).unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let last = rounds(40) * 500;
    let writer = {
        let (store, acknowledged) = (root.namespace("a").unwrap(), acknowledged.clone());
        away.spawn(async move {
            for number in 1..=last {
                match number % 4 {
                    0 => drop(store.swap("k", number.to_string()).await.unwrap()),
                    1 => store.set("k", number.to_string()).await.unwrap(),
                    2 => {
                        let many = (0..20).map(|n| (format!("k{n}"), String::new()));
                        let many = many.chain([("k".to_owned(), number.to_string())]);
                        store.set_many(many).await.unwrap();
                    }
                    _ => drop(store.incr("k", 1).await.unwrap()),
                }
                acknowledged.store(number, SeqCst);
                for _ in 0..number % 8 {
                    tokio::task::yield_now().await;
                }
            }
        })
    };
    let reader = root.clone();
    home.block_on(async move {
        let task = tokio::spawn(async move {
            let mut before = 0;
            while acknowledged.load(SeqCst) < last {
                let least = acknowledged.load(SeqCst).max(before);
                if let Some(text) = reader.get_string("a:k").await.unwrap() {
                    let number: u64 = text.parse().unwrap();
                    assert!(number >= least, "{number} after {least}");
                    before = number;
                }
            }
        });
        task.await.unwrap();
    });
    away.block_on(writer).unwrap();
    let stats = home.block_on(root.stats()).unwrap();
    assert!(stats.near_hits > 100, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_engine_is_linearizable_behind_a_short_queue() {
    let store = Store::open(Config::memory().queue_length(1)).await.unwrap();
    assert_eq!(unexplained(Stored(store), 50, plan).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clearings_in_slices_are_linearizable() {
    let root = Store::open(Config::memory()).await.unwrap();
    // A clearing looks at every entry of the store, so with these it takes many slices.
    for chunk in 0..40 {
        let entries = (0..500).map(|n| (format!("elsewhere:{}", chunk * 500 + n), ""));
        root.set_many(entries).await.unwrap();
    }
    let store = root.namespace("cleared").unwrap();
    let with_clearings = |seed| Plan {
        calls: 30,
        clearings: 40,
        ..plan(seed)
    };
    assert_eq!(unexplained(Stored(store), 60, with_clearings).await, 0);
}

/// Registers behind a lock, with a fault of choice.
struct Faulty {
    values: Mutex<HashMap<String, i64>>,
    /// What each key held before its last change.
    before: Mutex<HashMap<String, Option<i64>>>,
    calls: AtomicU64,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Now and then a read answers what was there before the last change.
    StaleRead,
    /// An increment reads and writes in two steps.
    LostUpdate,
    /// Now and then a write is acknowledged and forgotten.
    VanishingSet,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self {
            values: Mutex::default(),
            before: Mutex::default(),
            calls: AtomicU64::new(0),
            fault,
        }
    }

    fn apply(&self, key: &str, action: Action) -> Answer {
        let mut values = self.values.lock().unwrap();
        let value = values.get(key).copied();
        let (answer, after) = action.apply(value);
        match after {
            Some(after) => values.insert(key.to_owned(), after),
            None => values.remove(key),
        };
        if after != value {
            self.before.lock().unwrap().insert(key.to_owned(), value);
        }
        answer
    }
}

impl Registers for Faulty {
    async fn call(&self, key: &str, action: Action) -> Option<Answer> {
        let now_and_then = self.calls.fetch_add(1, SeqCst).is_multiple_of(17);
        tokio::task::yield_now().await;
        match (self.fault, action) {
            (Fault::StaleRead, Action::Get) if now_and_then => Some(Answer::Value(
                self.before.lock().unwrap().get(key).copied().flatten(),
            )),
            (Fault::LostUpdate, Action::Incr(by)) => {
                let Answer::Value(read) = self.apply(key, Action::Get) else {
                    return None;
                };
                tokio::task::yield_now().await;
                let sum = read.unwrap_or(0) + by;
                self.apply(key, Action::Set(sum));
                Some(Answer::Sum(sum))
            }
            (Fault::VanishingSet, Action::Set(_)) if now_and_then => Some(Answer::Done),
            _ => Some(self.apply(key, action)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_checker_accepts_registers_without_a_fault() {
    assert_eq!(unexplained(Faulty::new(Fault::None), 100, plan).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_checker_rejects_planted_faults() {
    for (name, fault) in [
        ("a stale read", Fault::StaleRead),
        ("a lost update", Fault::LostUpdate),
        ("a set that vanishes", Fault::VanishingSet),
    ] {
        let rejected = unexplained(Faulty::new(fault), 40, plan).await;
        assert!(rejected >= 10, "{name} was seen in {rejected} of 120 histories");
    }
}

/// A call that began and ended at these times.
fn call(action: Action, began: u64, ended: u64, answer: Answer) -> Call {
    Call {
        action,
        began,
        ended: Some((ended, answer)),
    }
}

#[test]
fn small_histories_are_judged_as_by_hand() {
    let read = |value, began, ended| call(Action::Get, began, ended, Answer::Value(value));
    let set = |value, began, ended| call(Action::Set(value), began, ended, Answer::Done);
    let lost = |action, began| Call {
        action,
        began,
        ended: None,
    };

    assert!(is_linearizable(&[]));
    assert!(is_linearizable(&[set(1, 0, 1), read(Some(1), 2, 3)]));
    assert!(
        !is_linearizable(&[set(1, 0, 1), read(None, 2, 3)]),
        "a stale read"
    );
    assert!(
        is_linearizable(&[set(1, 0, 3), read(None, 1, 2), read(Some(1), 4, 5)]),
        "the set came later"
    );
    assert!(
        !is_linearizable(&[set(1, 0, 9), read(Some(1), 1, 2), read(None, 3, 4)]),
        "what was seen once cannot be unseen"
    );
    assert!(is_linearizable(&[
        lost(Action::Set(1), 0),
        read(None, 1, 2),
        read(Some(1), 3, 4)
    ]));
    assert!(
        is_linearizable(&[lost(Action::Set(1), 0), read(None, 1, 2)]),
        "it never happened"
    );
    assert!(
        !is_linearizable(&[read(Some(1), 0, 1), lost(Action::Set(1), 2)]),
        "it came before it began"
    );
    assert!(
        !is_linearizable(&[lost(Action::Set(1), 0), read(Some(1), 1, 2), read(None, 3, 4)]),
        "it happens at most once, and nothing took it away"
    );
    let incr = |sum, began, ended| call(Action::Incr(1), began, ended, Answer::Sum(sum));
    assert!(is_linearizable(&[incr(2, 0, 2), incr(1, 1, 3)]));
    assert!(!is_linearizable(&[incr(1, 0, 2), incr(1, 1, 3)]), "a lost update");
    let add = |met, began, ended| call(Action::Add(7), began, ended, Answer::Whether(met));
    assert!(
        !is_linearizable(&[add(true, 0, 2), add(true, 1, 3)]),
        "only one can be first"
    );
}
