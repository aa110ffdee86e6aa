//! The memory engine's speed beside a bare channel's, moka's and quick_cache's.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program that prints and may fail"
)]

mod support;

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachestore::{MemoryConfig, Store};
use compact_str::CompactString;
use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};

use support::{Flavor, KEYS, Samples, Table, VALUE, in_turn, key, nanos_of, sized, zipf};

/// Keys in one call of the many.
const MANY: usize = 100;
const TASKS: [usize; 2] = [1, 64];

fn main() {
    let workload = Workload::new();
    let mut table = Table::of_ratios();
    let all: [(&str, Measure); 3] = [("get", gets), ("set", sets), ("many", many)];
    for (_, measure) in all.into_iter().filter(|(name, _)| support::is_wanted(name)) {
        for flavor in Flavor::BOTH {
            for tasks in TASKS {
                measure(&workload, flavor, tasks, &mut table);
            }
        }
    }
    println!(
        "{KEYS} keys, values of {} bytes, Zipf {}; time a key\n",
        VALUE.len(),
        support::SKEW
    );
    table.print();
}

type Measure = fn(&Workload, Flavor, usize, &mut Table);

/// The keys, and the order in which they are asked for.
struct Workload {
    keys: Arc<[String]>,
    order: Arc<[u32]>,
    rounds: usize,
    calls: usize,
}

impl Workload {
    fn new() -> Self {
        Self {
            keys: (0..KEYS).map(key).collect(),
            order: zipf(KEYS, sized(1 << 20, 1 << 17), 1).into(),
            rounds: sized(11, 5),
            calls: sized(1 << 20, 1 << 16),
        }
    }

    /// Runs `run` on as many tasks, each with its share of the keys: the time a key.
    async fn time<C: Contestant, F: Future<Output = ()> + Send + 'static>(
        &self,
        (flavor, tasks): (Flavor, usize),
        contestant: &C,
        run: fn(C, Share) -> F,
    ) -> f64 {
        let calls = self.calls / tasks / MANY * MANY;
        let began = flavor.now();
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let begin = task * self.order.len() / tasks;
                let share = Share {
                    keys: self.keys.clone(),
                    order: self.order.clone(),
                    begin,
                    calls,
                };
                tokio::spawn(run(contestant.clone(), share))
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        contestant.settled().await;
        nanos_of(flavor.now() - began) / (calls * tasks) as f64
    }
}

/// One task's part of the workload.
struct Share {
    keys: Arc<[String]>,
    order: Arc<[u32]>,
    begin: usize,
    calls: usize,
}

impl Share {
    fn keys(&self) -> impl Iterator<Item = &str> {
        let order = self.order[self.begin..].iter().chain(self.order.iter().cycle());
        order
            .take(self.calls)
            .map(|number| self.keys[*number as usize].as_str())
    }
}

/// A cache that holds all keys.
trait Contestant: Clone + Send + Sync + 'static {
    /// Whether the key was found: always.
    fn get(&self, key: &str) -> impl Future<Output = bool> + Send;
    fn set(&self, key: &str) -> impl Future<Output = ()> + Send;

    /// Waits until all writes have been carried out.
    async fn settled(&self) {}

    async fn filled(self) -> Self {
        for number in 0..KEYS {
            self.set(&key(number)).await;
        }
        self.settled().await;
        self
    }
}

async fn get<C: Contestant>(contestant: C, share: Share) {
    for key in share.keys() {
        assert!(contestant.get(key).await);
    }
}

async fn set<C: Contestant>(contestant: C, share: Share) {
    for key in share.keys() {
        contestant.set(key).await;
    }
}

async fn get_many(store: Store, share: Share) {
    let mut keys = share.keys();
    for _ in 0..share.calls / MANY {
        let found = store.get_many(keys.by_ref().take(MANY)).await.unwrap();
        assert!(found.iter().all(Option::is_some));
    }
}

async fn set_many(store: Store, share: Share) {
    let mut keys = share.keys();
    for _ in 0..share.calls / MANY {
        store
            .set_many(keys.by_ref().take(MANY).map(|key| (key, VALUE)))
            .await
            .unwrap();
    }
}

async fn store() -> Store {
    Store::open(MemoryConfig::default().capacity_bytes(1 << 30))
        .await
        .unwrap()
}

impl Contestant for Store {
    async fn get(&self, key: &str) -> bool {
        Store::get(self, key).await.unwrap().is_some()
    }

    async fn set(&self, key: &str) {
        Store::set(self, key, VALUE).await.unwrap();
    }

    /// A write is complete when it is in the queue; a question behind it is answered after it.
    async fn settled(&self) {
        self.ping().await.unwrap();
    }
}

type Moka = moka::future::Cache<String, Arc<[u8]>>;

fn moka() -> Moka {
    Moka::builder()
        .max_capacity(2 * KEYS as u64)
        .time_to_live(Duration::from_secs(3600))
        .build()
}

impl Contestant for Moka {
    async fn get(&self, key: &str) -> bool {
        moka::future::Cache::get(self, key).await.is_some()
    }

    async fn set(&self, key: &str) {
        self.insert(key.to_owned(), Arc::from(VALUE.as_slice())).await;
    }
}

type QuickCache = Arc<quick_cache::sync::Cache<String, Arc<[u8]>>>;

impl Contestant for QuickCache {
    async fn get(&self, key: &str) -> bool {
        quick_cache::sync::Cache::get(self, key).is_some()
    }

    async fn set(&self, key: &str) {
        self.insert(key.to_owned(), Arc::from(VALUE.as_slice()));
    }
}

/// What any store behind a channel costs: a message with a key of its own and a place for the
/// answer, a map that one task owns, and nothing else.
#[derive(Clone)]
struct Floor(mpsc::Sender<Message>);

enum Message {
    Get {
        key: CompactString,
        answer: oneshot::Sender<Option<Bytes>>,
    },
    Set {
        key: CompactString,
        value: Bytes,
    },
}

impl Floor {
    async fn open() -> Self {
        let (sender, mut receiver) = mpsc::channel(4096);
        tokio::spawn(async move {
            let mut map: HashMap<CompactString, Bytes, RandomState> = HashMap::default();
            let mut batch = Vec::with_capacity(256);
            while receiver.recv_many(&mut batch, 256).await > 0 {
                for message in batch.drain(..) {
                    match message {
                        Message::Get { key, answer } => drop(answer.send(map.get(&key).cloned())),
                        Message::Set { key, value } => drop(map.insert(key, value)),
                    }
                }
            }
        });
        Self(sender)
    }
}

impl Contestant for Floor {
    async fn get(&self, key: &str) -> bool {
        let (answer, answered) = oneshot::channel();
        self.0
            .send(Message::Get {
                key: key.into(),
                answer,
            })
            .await
            .unwrap();
        answered.await.unwrap().is_some()
    }

    async fn set(&self, key: &str) {
        self.0
            .send(Message::Set {
                key: key.into(),
                value: Bytes::copy_from_slice(&VALUE),
            })
            .await
            .unwrap();
    }

    async fn settled(&self) {
        self.get("").await;
    }
}

fn count(tasks: usize) -> String {
    if tasks == 1 {
        "1 task".to_owned()
    } else {
        format!("{tasks} tasks")
    }
}

fn gets(workload: &Workload, flavor: Flavor, tasks: usize, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let (store, floor, moka) = runtime.block_on(async {
        (
            store().await.filled().await,
            Floor::open().await.filled().await,
            moka().filled().await,
        )
    });
    let how = (flavor, tasks);
    let [ours, floor, moka]: [Samples; 3] = in_turn(workload.rounds, |contestant| {
        runtime.block_on(async {
            match contestant {
                0 => workload.time(how, &store, get).await,
                1 => workload.time(how, &floor, get).await,
                _ => workload.time(how, &moka, get).await,
            }
        })
    });
    let what = format!("get, {}, {}", count(tasks), flavor.name());
    table.times(format!("{what}: floor"), &ours, &floor);
    table.times(format!("{what}: moka"), &ours, &moka);
}

fn sets(workload: &Workload, flavor: Flavor, tasks: usize, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let (store, floor, moka) = runtime.block_on(async {
        (
            store().await.filled().await,
            Floor::open().await.filled().await,
            moka().filled().await,
        )
    });
    let how = (flavor, tasks);
    let [ours, floor, moka]: [Samples; 3] = in_turn(workload.rounds, |contestant| {
        runtime.block_on(async {
            match contestant {
                0 => workload.time(how, &store, set).await,
                1 => workload.time(how, &floor, set).await,
                _ => workload.time(how, &moka, set).await,
            }
        })
    });
    let what = format!("set, {}, {}", count(tasks), flavor.name());
    table.times(format!("{what}: floor"), &ours, &floor);
    table.times(format!("{what}: moka"), &ours, &moka);
}

fn many(workload: &Workload, flavor: Flavor, tasks: usize, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let (store, quick) = runtime.block_on(async {
        let quick = QuickCache::new(quick_cache::sync::Cache::new(2 * KEYS));
        (store().await.filled().await, quick.filled().await)
    });
    let how = (flavor, tasks);
    let [our_gets, their_gets, our_sets, their_sets]: [Samples; 4] = in_turn(workload.rounds, |contestant| {
        runtime.block_on(async {
            match contestant {
                0 => workload.time(how, &store, get_many).await,
                1 => workload.time(how, &quick, get).await,
                2 => workload.time(how, &store, set_many).await,
                _ => workload.time(how, &quick, set).await,
            }
        })
    });
    let what = format!("{}, {}: quick_cache", count(tasks), flavor.name());
    table.times(format!("get_many of {MANY}, {what}"), &our_gets, &their_gets);
    table.times(format!("set_many of {MANY}, {what}"), &our_sets, &their_sets);
}
