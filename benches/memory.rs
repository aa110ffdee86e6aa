//! The memory engine's speed beside a bare channel's, moka's and quick_cache's.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program that prints and may fail"
)]

mod support;

#[path = "support/caches.rs"]
mod caches;

use std::hash::RandomState;
use std::sync::Arc;

use bytes::Bytes;
use cachestore::{MemoryConfig, Store};
use compact_str::CompactString;
use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};

use caches::{Contestant, Moka, QuickCache, Share, count, moka, quick_cache};
use support::{Flavor, KEYS, Samples, SplitMix, Table, VALUE, in_turn, key, nanos_of, sized, zipf};

/// Keys in one call of the many.
const MANY: usize = 100;
const TASKS: [usize; 2] = [1, 64];
/// One in so many calls of the mix writes.
const READS: usize = 10;

fn main() {
    let workload = Workload::new();
    let mut table = Table::of_ratios();
    let all: [(&str, Measure); 5] = [
        ("get", gets),
        ("uniform", uniform),
        ("set", sets),
        ("mix", mixes),
        ("many", many),
    ];
    for (_, measure) in all.into_iter().filter(|(name, _)| support::is_wanted(name)) {
        for flavor in Flavor::BOTH {
            for tasks in TASKS {
                measure(&workload, flavor, tasks, &mut table);
            }
        }
    }
    if support::is_wanted("main") {
        for flavor in Flavor::BOTH {
            in_main(&workload, flavor, &mut table);
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

    /// The same keys, each as often as any other.
    fn uniform(&self) -> Self {
        let mut random = SplitMix(1);
        let order = (0..self.order.len()).map(|_| random.below(KEYS) as u32);
        Self {
            keys: self.keys.clone(),
            order: order.collect(),
            rounds: self.rounds,
            calls: self.calls,
        }
    }

    fn share(&self, task: usize, tasks: usize) -> Share {
        Share {
            keys: self.keys.clone(),
            order: self.order.clone(),
            begin: task * self.order.len() / tasks,
            calls: self.calls / tasks / MANY * MANY,
        }
    }

    /// Runs `run` on as many tasks, each with its share of the keys: the time a key.
    async fn time<C: Contestant, F: Future<Output = ()> + Send + 'static>(
        &self,
        (flavor, tasks): (Flavor, usize),
        contestant: &C,
        run: fn(C, Share) -> F,
    ) -> f64 {
        let shares: Vec<Share> = (0..tasks).map(|task| self.share(task, tasks)).collect();
        let calls: usize = shares.iter().map(|share| share.calls).sum();
        let began = flavor.now();
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| tokio::spawn(run(contestant.clone(), share)))
            .collect();
        for task in running {
            task.await.unwrap();
        }
        contestant.settled().await;
        nanos_of(flavor.now() - began) / calls as f64
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

/// One call in [`READS`] writes.
async fn mix<C: Contestant>(contestant: C, share: Share) {
    for (call, key) in share.keys().enumerate() {
        if call % READS == 0 {
            contestant.set(key).await;
        } else {
            assert!(contestant.get(key).await);
        }
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

fn gets(workload: &Workload, flavor: Flavor, tasks: usize, table: &mut Table) {
    let what = format!("get, {}, {}", count(tasks), flavor.name());
    let runtime = flavor.runtime().unwrap();
    let (store, floor, moka, quick) = runtime.block_on(filled());
    let how = (flavor, tasks);
    let [ours, floor, moka, quick]: [Samples; 4] = in_turn(workload.rounds, |contestant| {
        runtime.block_on(async {
            match contestant {
                0 => workload.time(how, &store, get).await,
                1 => workload.time(how, &floor, get).await,
                2 => workload.time(how, &moka, get).await,
                _ => workload.time(how, &quick, get).await,
            }
        })
    });
    table.times(format!("{what}: floor"), &ours, &floor);
    table.times(format!("{what}: moka"), &ours, &moka);
    table.times(format!("{what}: quick_cache"), &ours, &quick);
}

fn sets(workload: &Workload, flavor: Flavor, tasks: usize, table: &mut Table) {
    let what = format!("set, {}, {}", count(tasks), flavor.name());
    let runtime = flavor.runtime().unwrap();
    let (store, floor, moka, quick) = runtime.block_on(filled());
    let how = (flavor, tasks);
    let [ours, floor, moka, quick]: [Samples; 4] = in_turn(workload.rounds, |contestant| {
        runtime.block_on(async {
            match contestant {
                0 => workload.time(how, &store, set).await,
                1 => workload.time(how, &floor, set).await,
                2 => workload.time(how, &moka, set).await,
                _ => workload.time(how, &quick, set).await,
            }
        })
    });
    table.times(format!("{what}: floor"), &ours, &floor);
    table.times(format!("{what}: moka"), &ours, &moka);
    table.times(format!("{what}: quick_cache"), &ours, &quick);
}

/// All caches, with all keys in them.
async fn filled() -> (Store, Floor, Moka, QuickCache) {
    (
        store().await.filled().await,
        Floor::open().await.filled().await,
        moka().filled().await,
        quick_cache().filled().await,
    )
}

fn uniform(workload: &Workload, flavor: Flavor, tasks: usize, table: &mut Table) {
    let what = format!("uniform get, {}, {}: moka", count(tasks), flavor.name());
    beside_moka(&workload.uniform(), &what, (flavor, tasks), table, get, get);
}

fn mixes(workload: &Workload, flavor: Flavor, tasks: usize, table: &mut Table) {
    let what = format!(
        "a set in {READS} calls, {}, {}: moka",
        count(tasks),
        flavor.name()
    );
    beside_moka(workload, &what, (flavor, tasks), table, mix, mix);
}

fn beside_moka<F, G>(
    workload: &Workload,
    what: &str,
    how: (Flavor, usize),
    table: &mut Table,
    run: fn(Store, Share) -> F,
    run_moka: fn(Moka, Share) -> G,
) where
    F: Future<Output = ()> + Send + 'static,
    G: Future<Output = ()> + Send + 'static,
{
    let runtime = how.0.runtime().unwrap();
    let (store, moka) = runtime.block_on(async { (store().await.filled().await, moka().filled().await) });
    let [ours, moka]: [Samples; 2] = in_turn(workload.rounds, |contestant| {
        runtime.block_on(async {
            match contestant {
                0 => workload.time(how, &store, run).await,
                _ => workload.time(how, &moka, run_moka).await,
            }
        })
    });
    table.times(what.to_owned(), &ours, &moka);
}

/// In the body of `#[tokio::main]`, which is no task of the runtime's.
fn in_main(workload: &Workload, flavor: Flavor, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let (store, moka) = runtime.block_on(async { (store().await.filled().await, moka().filled().await) });
    let [ours, moka]: [Samples; 2] = in_turn(workload.rounds, |contestant| {
        runtime.block_on(async {
            let share = workload.share(0, 1);
            let calls = share.calls;
            let began = flavor.now();
            match contestant {
                0 => get(store.clone(), share).await,
                _ => get(moka.clone(), share).await,
            }
            nanos_of(flavor.now() - began) / calls as f64
        })
    });
    table.times(
        format!("get in the body of main, {}: moka", flavor.name()),
        &ours,
        &moka,
    );
}

fn many(workload: &Workload, flavor: Flavor, tasks: usize, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let (store, quick) =
        runtime.block_on(async { (store().await.filled().await, quick_cache().filled().await) });
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
