//! Names that only the results of loads tell, while several stores over the same servers change them.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::{Fetched, LoadContext, LoadError, Origin, Store};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::harness::opening::{eventually, soak};
use super::harness::place::over_each_topology;
use super::harness::{Place, Seeded};

const MS: Duration = Duration::from_millis(1);
const NAMES: [&str; 2] = ["row0", "row1"];

over_each_topology! {
    nobody_reads_what_was_before_an_acknowledged_change
    a_change_by_another_process_counts
    too_many_changes_are_as_good_as_a_change
}

async fn open(place: &Place) -> Store {
    // A busy machine takes its time.
    let config = place.config().request_timeout(Duration::from_secs(60));
    Store::open(config.response_timeout(Duration::from_secs(20)))
        .await
        .unwrap()
}

/// A source whose rows are counted up, and what their readers may expect at least.
struct Source {
    rows: [AtomicU32; 2],
    floors: Mutex<[u32; 2]>,
    random: Mutex<Seeded>,
}

impl Source {
    fn below(&self, end: u64) -> u64 {
        self.random.lock().unwrap().below(end)
    }

    async fn pause(&self) {
        if self.below(3) == 0 {
            sleep(MS * u32::try_from(self.below(4)).unwrap()).await;
        } else {
            for _ in 0..self.below(4) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Changes a row, and then tells a store.
    async fn change(&self, store: &Store) {
        let row = self.below(2) as usize;
        let version = self.rows[row].fetch_add(1, SeqCst) + 1;
        self.pause().await;
        let name = NAMES[row];
        match self.below(6) {
            0 => store.invalidate(["other", name]).await.map(drop),
            // What is stored of it goes too, and is loaded again.
            1 => store.set("list", "!").await,
            2 => store.delete("list").await.map(drop),
            _ => store.invalidate(name).await.map(drop),
        }
        .unwrap();
        let mut floors = self.floors.lock().unwrap();
        floors[row] = floors[row].max(version);
    }

    /// Reads the rows one after the other, and tells which it has read.
    async fn load(self: Arc<Self>, cx: LoadContext<[u32; 2]>) -> Result<Fetched<[u32; 2]>, String> {
        self.pause().await;
        let first = self.rows[0].load(SeqCst);
        self.pause().await;
        let rows = [first, self.rows[1].load(SeqCst)];
        self.pause().await;
        let is_old = cx.stale() == Some(&rows) && self.below(2) == 0;
        let fetched = if is_old {
            Fetched::not_modified()
        } else {
            Fetched::new(rows)
        };
        Ok(fetched
            .depends_on(NAMES)
            .ttl(MS * u32::try_from(1 + self.below(20)).unwrap()))
    }

    /// Reads the list through a store. Returns whether its value was superseded.
    async fn read(self: &Arc<Self>, store: &Store) -> bool {
        let floors = *self.floors.lock().unwrap();
        let source = self.clone();
        let load = move |cx| source.clone().load(cx);
        let load = store.get_or_load_with("list", load).stale_if_error(MS * 50);
        let loaded = match load.stale_while_revalidate(MS * 10).outcome().await {
            Ok(loaded) => loaded,
            Err(LoadError::Store(cachestore::Error::Unavailable(_))) => return false,
            Err(error) => panic!("{error:?}"),
        };
        assert!(
            loaded.value[0] >= floors[0] && loaded.value[1] >= floors[1],
            "{loaded:?}, when {floors:?} was acknowledged before"
        );
        loaded.origin == Origin::Superseded
    }
}

/// Rounds of reads and changes by three stores. Returns how many values were superseded.
async fn run(rounds: u64, seed: u64) -> u32 {
    let place = Place::start().await;
    let stores = [open(&place).await, open(&place).await, open(&place).await];
    let superseded = Arc::new(AtomicU32::new(0));
    for round in 0..rounds {
        let source = Arc::new(Source {
            rows: [AtomicU32::new(1), AtomicU32::new(1)],
            floors: Mutex::new([0, 0]),
            random: Mutex::new(Seeded::new(seed + round)),
        });
        let mut tasks = JoinSet::new();
        for store in &stores {
            let store = store.namespace(format!("round{round}")).unwrap();
            let (source, superseded) = (source.clone(), superseded.clone());
            tasks.spawn(async move {
                for _ in 0..4 {
                    source.pause().await;
                    if source.below(3) == 0 {
                        source.change(&store).await;
                    }
                    superseded.fetch_add(source.read(&store).await.into(), SeqCst);
                }
            });
        }
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
        };
        let ended = timeout(Duration::from_secs(120), all).await;
        assert!(ended.is_ok(), "round {round} of seed {seed} hangs");
    }
    // Values are refreshed in the background, and a lease lives for 30 s.
    let none_left = || place.keys("cachestore:lease*").is_empty();
    assert!(eventually(MS * 10_000, none_left).await, "a lease is left behind");
    superseded.load(SeqCst)
}

async fn nobody_reads_what_was_before_an_acknowledged_change() {
    let superseded = run(150, 1).await;
    assert!(superseded > 10, "{superseded} superseded");
}

#[tokio::test]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_nobody_reads_what_was_before_an_acknowledged_change() {
    const ROUNDS: u64 = 150;
    let end = Instant::now() + soak();
    let (mut rounds, mut superseded) = (0, 0);
    while Instant::now() < end {
        superseded += run(ROUNDS, (1 << 32) + rounds).await;
        rounds += ROUNDS;
    }
    eprintln!("{rounds} rounds, {superseded} values superseded, none old");
}

/// A load that finds a name out while `during` happens. Returns where its value came from.
async fn meanwhile(store: &Store, during: impl Future<Output = ()>) -> Origin {
    let (began, gate) = (
        Arc::new(tokio::sync::Notify::new()),
        Arc::new(tokio::sync::Notify::new()),
    );
    let (own, begins, goes_on) = (store.clone(), began.clone(), gate.clone());
    let call = tokio::spawn(async move {
        let load = move |_: LoadContext<u32>| {
            let (begins, goes_on) = (begins.clone(), goes_on.clone());
            async move {
                begins.notify_one();
                goes_on.notified().await;
                Ok::<_, String>(Fetched::new(1).depends_on("late"))
            }
        };
        own.get_or_load_with("k", load).outcome().await.unwrap().origin
    });
    began.notified().await;
    during.await;
    gate.notify_one();
    let origin = call.await.unwrap();
    store.delete("k").await.unwrap();
    origin
}

async fn a_change_by_another_process_counts() {
    let place = Place::start().await;
    let (store, other) = (open(&place).await, open(&place).await);
    assert_eq!(meanwhile(&store, async {}).await, Origin::Loaded);
    let changed = async { other.set("late", "1").await.unwrap() };
    assert_eq!(meanwhile(&store, changed).await, Origin::Superseded);
    // The load of another goes on, and needs the list.
    let changed = async {
        assert_eq!(
            meanwhile(&other.namespace("n").unwrap(), async {}).await,
            Origin::Loaded
        );
        other.delete("late").await.unwrap();
    };
    assert_eq!(meanwhile(&store, changed).await, Origin::Superseded);
    let changed = async { assert_eq!(other.clear().await.unwrap(), 0) };
    assert_eq!(meanwhile(&store, changed).await, Origin::Superseded);
    let noted = place.keys("cachestore:changed");
    assert!(noted.is_empty(), "nobody loads, and nothing is noted: {noted:?}");
}

async fn too_many_changes_are_as_good_as_a_change() {
    let place = Place::start().await;
    let (store, other) = (open(&place).await, open(&place).await);
    let change = async |count: u32| {
        let pairs: Vec<(String, &str)> = (0..count).map(|n| (format!("k{n}"), "v")).collect();
        for pairs in pairs.chunks(1000) {
            other.set_many(pairs.to_vec()).await.unwrap();
        }
    };
    assert_eq!(meanwhile(&store, change(8_000)).await, Origin::Loaded);
    let many = async {
        change(40_000).await;
        let noted = place
            .server()
            .command(&["LLEN", &place.name("cachestore:changed")]);
        let noted = noted.int();
        assert!(noted <= 16_384 + 8_192, "{noted} names are kept");
    };
    assert_eq!(meanwhile(&store, many).await, Origin::Superseded);
}

/// Strangers choose names. Long ones count as one name.
#[tokio::test]
async fn long_names_take_no_room_among_the_changes() {
    let place = Place::start().await;
    let (store, other) = (open(&place).await, open(&place).await);
    let long = "n".repeat(60_000);
    let changed = async {
        other.set(&long, "1").await.unwrap();
        other.set(&long, "2").depends_on("x").await.unwrap();
        other.invalidate(&long).await.unwrap();
        other
            .set_many([(&long, "3"), (&"n".repeat(256), "4")])
            .await
            .unwrap();
        let noted = place
            .server()
            .command(&["LRANGE", "cachestore:changed", "0", "-1"]);
        let noted: Vec<usize> = noted.array().iter().map(|name| name.text().len()).collect();
        assert!(noted.contains(&0) && noted.contains(&256), "{noted:?}");
        assert!(noted.iter().all(|bytes| *bytes <= 256), "{noted:?}");
    };
    assert_eq!(meanwhile(&store, changed).await, Origin::Loaded);
}

/// It refuses to note what changes, and lets keys be deleted all the same.
#[tokio::test]
async fn what_a_full_server_does_not_note_counts_as_changed() {
    let place = Place::start().await;
    let (store, other) = (open(&place).await, open(&place).await);
    other.set("late", "1").await.unwrap();
    let changed = async {
        place.server().command(&["CONFIG", "SET", "maxmemory", "1"]);
        assert!(other.delete("late").await.unwrap());
        place.server().command(&["CONFIG", "SET", "maxmemory", "0"]);
    };
    assert_eq!(meanwhile(&store, changed).await, Origin::Superseded);
    assert_eq!(meanwhile(&store, async {}).await, Origin::Loaded);
}
