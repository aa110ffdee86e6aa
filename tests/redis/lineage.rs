//! What a value is made from may go, or never be stored, before the value itself is: a change of what that was
//! made from, by another process, still reaches it.
//!
//! Here a page is made from a part, and the part from a row. The row changes after the page was made, and
//! before or after it is stored.
#![allow(clippy::async_yields_async, reason = "what is made ready is a loader")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachestore::{Config, LoadError, Origin, Store};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::harness::opening::{eventually, ms};
use crate::harness::place::over_a_server_and_a_cluster;
use crate::harness::{Place, Seeded, Topology};

over_a_server_and_a_cluster! {
    a_part_that_stays
    a_part_that_is_loaded_for_the_page
    a_part_that_expires_meanwhile
    a_part_that_is_too_large_to_be_stored
    a_part_made_from_what_is_too_large_to_be_stored
    a_part_that_does_not_exist
    a_part_that_was_changed_while_it_was_loaded
}

/// What is made from the row before its change, and what after.
const OLD: u64 = 1;
const NEW: u64 = 2;

/// What a call may take on a machine that is busy with something else.
const BUSY: Duration = ms(60_000);

/// More than what may be stored.
const LARGE: usize = 2000;

type Loading = std::pin::Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;

/// A place for keys, and two stores as two processes have them.
struct Two {
    place: Place,
    /// Loads.
    one: Store,
    /// Changes.
    other: Store,
}

impl Two {
    /// Whether keys are as go-cachestore has them: both. Go mode cannot be had in a cluster.
    fn modes() -> &'static [bool] {
        if Topology::of_this_thread() == Some(Topology::Cluster) {
            &[false]
        } else {
            &[false, true]
        }
    }

    async fn start(go: bool) -> Self {
        let place = Place::start().await;
        let open = || async {
            let redis = place.config();
            let redis = if go { redis.go_compatible() } else { redis };
            let config = Config::from(redis).max_value_bytes(1000).request_timeout(BUSY);
            Store::open(config).await.unwrap()
        };
        let (one, other) = (open().await, open().await);
        Self { place, one, other }
    }

    /// Loads the page from a part, and lets `meanwhile` happen before it is stored.
    async fn page(&self, part: Loading, meanwhile: impl Future<Output = ()>) -> Origin {
        self.page_if_any(part, meanwhile).await.expect("there is a part")
    }

    /// The same; `None` if there was no part.
    async fn page_if_any(&self, part: Loading, meanwhile: impl Future<Output = ()>) -> Option<Origin> {
        let (made, making) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        let load = self.one.get_or_load("page", move || async move {
            let part = part.await;
            made.send(()).unwrap();
            gone.await.unwrap();
            part
        });
        let change = async {
            making.await.unwrap();
            meanwhile.await;
            go.send(()).unwrap();
        };
        let (loaded, ()) = tokio::join!(load.depends_on(["part"]).outcome(), change);
        let loaded = loaded.ok()?;
        assert_eq!(loaded.value, OLD);
        Some(loaded.origin)
    }

    async fn change(&self) {
        self.other.invalidate(["row"]).await.unwrap();
    }

    /// The row has changed, and its change is acknowledged: nobody reads a page that was made before.
    async fn is_new(&self, what: &str) {
        for store in [&self.one, &self.other] {
            let load = store.get_or_load("page", || async { Ok::<_, String>(NEW) });
            let page = load.outcome().await.unwrap();
            assert_eq!(page.value, NEW, "{what}: {:?}", page.origin);
        }
    }

    /// A part, made in one of many ways, changes before the page is stored, and after.
    async fn reaches(go: bool, what: &str, part: impl AsyncFn(&Two) -> Loading, pause: Duration) {
        for row_changes_first in [true, false] {
            let what = format!("{what}, the row changes first: {row_changes_first}, go: {go}");
            let two = Two::start(go).await;
            let part = part(&two).await;
            let origin = two.page(part, async {
                sleep(pause).await;
                if row_changes_first {
                    two.change().await;
                }
            });
            let stored = origin.await == Origin::Loaded;
            assert_ne!(stored, row_changes_first, "{what}");
            if stored {
                two.change().await;
            }
            two.is_new(&what).await;
        }
    }

    /// What the server keeps beside values.
    fn kept(&self) -> Vec<String> {
        self.place.keys("cachestore:*")
    }

    /// The time that is left to a set: -1 for ever, -2 if there is none.
    fn left(&self, set: &str) -> i64 {
        let name = self.place.name(&format!("cachestore:{set}"));
        self.place.server().command(&["PTTL", &name]).int()
    }

    fn members(&self, set: &str) -> Vec<String> {
        let set = self.place.name(&format!("cachestore:{set}"));
        self.place.server().command(&["SMEMBERS", &set]).sorted()
    }

    /// Waits until nothing is kept.
    async fn forgets(&self, within: Duration) {
        let forgotten = || self.kept().is_empty();
        assert!(eventually(within, forgotten).await, "{:?}", self.kept());
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Loads the part from the row.
fn loaded(store: &Store, ttl: Option<Duration>) -> Loading {
    let store = store.clone();
    Box::pin(async move {
        let load = store.get_or_load("part", || async { Ok::<_, String>(OLD) });
        let load = load.depends_on(["row"]);
        match ttl {
            Some(ttl) => load.ttl(ttl).await.map_err(text),
            None => load.await.map_err(text),
        }
    })
}

/// Loads something from the row that is handed out and not stored.
fn large(store: &Store, name: &'static str) -> Loading {
    let store = store.clone();
    Box::pin(async move {
        let load = store.get_or_load(name, || async { Ok::<_, String>(vec![OLD; LARGE]) });
        Ok(load.depends_on(["row"]).await.map_err(text)?[0])
    })
}

/// Loads a part that does not exist.
fn absent(store: &Store) -> Loading {
    let store = store.clone();
    Box::pin(async move {
        let nothing = |_| async { Ok::<HashMap<String, u64>, String>(HashMap::new()) };
        let load = store.get_or_load_many(["part"], nothing).depends_on(["row"]);
        let parts = load.await.map_err(text)?;
        Ok(parts.get("part").copied().unwrap_or(OLD))
    })
}

/// Makes the part from a table.
fn made_from(store: &Store, table: Loading) -> Loading {
    let store = store.clone();
    Box::pin(async move {
        let load = store.get_or_load("part", || table);
        load.depends_on(["table"]).await.map_err(text)
    })
}

/// Reads the part, which is there.
fn read(store: &Store) -> Loading {
    let store = store.clone();
    Box::pin(async move {
        let part = store.get_model("part").await.map_err(text)?;
        part.ok_or_else(|| "the part is there".to_owned())
    })
}

async fn a_part_that_stays() {
    for &go in Two::modes() {
        let part = async |two: &Two| {
            let set = two.other.set_model("part", &OLD).depends_on(["row"]);
            set.await.unwrap();
            read(&two.one)
        };
        Two::reaches(go, "a part that stays", part, ms(0)).await;
    }
}

async fn a_part_that_is_loaded_for_the_page() {
    for &go in Two::modes() {
        let part = async |two: &Two| loaded(&two.one, None);
        Two::reaches(go, "one that is loaded", part, ms(0)).await;
        let part = async |two: &Two| loaded(&two.one, Some(ms(20)));
        Two::reaches(go, "one that is loaded and expires", part, ms(60)).await;
        let part = async |two: &Two| loaded(&two.other, Some(ms(20)));
        Two::reaches(go, "one that another loads", part, ms(60)).await;
    }
}

async fn a_part_that_expires_meanwhile() {
    for &go in Two::modes() {
        let before = async |two: &Two| {
            // Lives until it is read, however slow the machine is.
            let long = two.other.set_model("part", &OLD).depends_on(["row"]);
            long.ttl(ms(1000)).await.unwrap();
            read(&two.one)
        };
        Two::reaches(go, "one from before", before, ms(1100)).await;
    }
}

async fn a_part_that_is_too_large_to_be_stored() {
    for &go in Two::modes() {
        let part = async |two: &Two| large(&two.one, "part");
        Two::reaches(go, "too large", part, ms(0)).await;
    }
}

/// The same, with one more between them.
async fn a_part_made_from_what_is_too_large_to_be_stored() {
    for &go in Two::modes() {
        let part = async |two: &Two| made_from(&two.one, large(&two.other, "table"));
        Two::reaches(go, "made from what is too large", part, ms(0)).await;
    }
}

/// That there is none is a result too.
async fn a_part_that_does_not_exist() {
    for &go in Two::modes() {
        let part = async |two: &Two| absent(&two.one);
        Two::reaches(go, "absent", part, ms(0)).await;
    }
}

/// What was loaded before a change, and is handed out after it, is in nothing that is stored.
async fn a_part_that_was_changed_while_it_was_loaded() {
    for what in ["large", "absent", "small"] {
        let two = Two::start(false).await;
        let (other, one) = (two.other.clone(), two.one.clone());
        let part: Loading = Box::pin(async move {
            let load = move |_| async move {
                other.delete("row").await.unwrap();
                let size = if what == "large" { LARGE } else { 1 };
                let parts = [("part".to_owned(), vec![OLD; size])];
                let found = parts.into_iter().filter(|_| what != "absent");
                Ok::<HashMap<_, _>, String>(found.collect())
            };
            let load = one.get_or_load_many(["part"], load).depends_on(["row"]);
            load.await.map_err(text)?;
            Ok(OLD)
        });
        let origin = two.page(part, async {}).await;
        assert_eq!(origin, Origin::Superseded, "{what}");
        two.is_new(what).await;
    }
}

/// A clearing of many takes its time, and others are served meanwhile: what they read that is still to be
/// cleared is gone in the end, and so is what they make from it.
#[tokio::test]
async fn a_part_that_is_cleared_late() {
    let mut two = Two::start(false).await;
    let (mut late, mut round) = (0, 0);
    while late < 3 {
        round += 1;
        assert!(round < 100, "the part is always cleared at once");
        // A walk comes by the part early or late, as the server's hash has it: another server has another one.
        if round % 5 == 0 {
            two = Two::start(false).await;
        }
        let others = (0..50_000).map(|n| (format!("other{n}"), "v"));
        two.other.set_many(others).await.unwrap();
        two.other.delete("page").await.unwrap();
        two.other.set_model("part", &OLD).await.unwrap();
        let clear = tokio::spawn({
            let store = two.other.clone();
            async move { store.clear().await.unwrap() }
        });
        // The loads that ran before have ended: now values are removed.
        let begun = || two.place.server().size() < 50_000;
        assert!(eventually(BUSY, begun).await);
        let load = two.page_if_any(read(&two.one), async { assert!(clear.await.unwrap() > 0) });
        if let Some(origin) = load.await {
            late += 1;
            assert_eq!(origin, Origin::Superseded);
            two.is_new("cleared").await;
        }
    }
}

#[tokio::test]
async fn what_has_ended_leaves_what_is_stored_and_its_sets() {
    let two = Two::start(false).await;
    two.page(loaded(&two.one, None), async {
        let sets = [
            "depend:{part}",
            "depend:{row}",
            "lasting",
            // Of the page.
            "parents:7670",
        ];
        let loading = ["lease:{page}", "leases"];
        let names = sets.iter().chain(&loading);
        let mut names: Vec<_> = names.map(|name| format!("cachestore:{name}")).collect();
        names.sort();
        assert_eq!(two.kept(), names);
    })
    .await;
    assert_eq!(two.members("depend:{row}"), ["part"]);
    assert_eq!(two.members("depend:{part}"), ["page"]);
    assert_eq!(two.members("lasting"), ["part", "row"]);
    assert_eq!(two.kept().len(), 4, "{:?}", two.kept());
    assert_eq!(two.other.invalidate(["row"]).await.unwrap(), 2);
    assert_eq!(two.kept(), [""; 0]);
}

/// Nobody was given anything: nothing has to be found again.
#[tokio::test]
async fn what_fails_leaves_nothing() {
    let two = Two::start(false).await;
    let fail = async || {
        let load = two
            .one
            .get_or_load("page", || async { Err::<u64, _>("no".to_owned()) });
        let failed = load.depends_on(["row", "page", "other"]).await;
        assert!(matches!(failed, Err(LoadError::Loader(_))));
    };
    fail().await;
    two.forgets(Duration::from_secs(5)).await;
    // Others of the same name stay.
    two.other.set("beside", "v").depends_on(["row"]).await.unwrap();
    fail().await;
    let kept = ["cachestore:depend:{row}", "cachestore:lasting"];
    let only = || two.kept() == kept;
    assert!(eventually(Duration::from_secs(5), only).await, "{:?}", two.kept());
    assert_eq!(two.members("depend:{row}"), ["beside"]);
    // So does what a value has that is there, and may be served where a loader fails.
    two.other.delete("beside").await.unwrap();
    two.place.server().flush();
    let stale = two.one.get_or_load("page", || async { Ok::<_, String>(OLD) });
    let stale = stale.depends_on(["row"]).ttl(ms(50));
    stale.stale_if_error(Duration::from_secs(60)).await.unwrap();
    sleep(ms(100)).await;
    fail().await;
    let ended = || !two.kept().iter().any(|name| name.contains("lease"));
    assert!(eventually(Duration::from_secs(5), ended).await);
    assert!(two.members("depend:{row}").contains(&"page".to_owned()));
    assert_eq!(two.other.invalidate(["row"]).await.unwrap(), 1);
}

/// Who was told that there is nothing, or what could not be stored, may still make something from it: for as
/// long as the load might have taken.
#[tokio::test]
async fn what_was_given_is_found_for_a_while() {
    for what in ["large", "absent"] {
        let two = Two::start(false).await;
        let store = two.one.clone();
        let load = store.get_or_load_many(["part"], move |_| async move {
            let parts = [("part".to_owned(), vec![OLD; LARGE])];
            let found = parts.into_iter().filter(|_| what == "large");
            Ok::<HashMap<_, _>, String>(found.collect())
        });
        let load = load.depends_on(["row"]).timeout(ms(1500));
        load.await.unwrap();
        two.one.set("page", "v").depends_on(["part"]).await.unwrap();
        assert_eq!(two.left("depend:{row}"), -1, "{what}: as long as the page");
        assert_eq!(two.other.invalidate(["row"]).await.unwrap(), 1, "{what}");
        assert_eq!(two.one.get("page").await.unwrap(), None);
        let load = two.one.get_or_load_many(["part"], |_| async move {
            Ok::<HashMap<String, u64>, String>(HashMap::new())
        });
        let load = load.depends_on(["row"]).timeout(ms(300));
        load.await.unwrap();
        assert_eq!(two.members("depend:{row}"), ["part"], "{what}");
        two.forgets(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn sets_live_as_long_as_the_lease_and_never_shorter_than_before() {
    let two = Two::start(false).await;
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
    let part = two.other.set("part", "v").depends_on(["row"]);
    part.ttl(ms(1000)).await.unwrap();
    let beside = two.other.set("beside", "v").depends_on(["part"]);
    beside.ttl(hour).await.unwrap();
    let within = |left: i64, at_most: Duration| {
        let at_most = i64::try_from(at_most.as_millis()).unwrap();
        // What is extended gets a hundredth more.
        left <= at_most + at_most / 100 && left > at_most - 60_000
    };
    let load = |timeout| {
        let (runs, running) = oneshot::channel();
        let store = two.one.clone();
        let task = tokio::spawn(async move {
            let load = store.get_or_load("page", || async move {
                runs.send(()).unwrap();
                std::future::pending::<Result<u64, String>>().await
            });
            load.depends_on(["part"]).timeout(timeout).await
        });
        (task, running)
    };
    let (short, running) = load(Duration::from_secs(300));
    running.await.unwrap();
    let left = two.left("depend:{part}");
    assert!(within(left, hour), "{left}");
    assert_eq!(two.left("depend:{row}"), -1, "something depends on the part");
    short.abort();
    two.other.delete("page").await.unwrap();
    let (_long, running) = load(day);
    running.await.unwrap();
    let left = two.left("depend:{part}");
    assert!(within(left, day), "{left}");
    assert_eq!(two.left("depend:{row}"), -1);
}

/// Rows of a source, each with what it has, and what was acknowledged of that.
struct Source {
    rows: Vec<(AtomicU64, AtomicU64)>,
}

/// What a loader answers that has joined another caller's.
const JOINED: &str = "joined";

/// How a part comes to a page.
#[derive(Clone, Copy, Debug)]
enum Way {
    Stored,
    Short,
    Large,
    Absent,
}

impl Source {
    async fn change(&self, store: &Store, row: usize, random: &mut Seeded) {
        let (source, acknowledged) = &self.rows[row];
        let version = source.fetch_add(1, Ordering::SeqCst) + 1;
        store.invalidate([format!("row{row}")]).await.unwrap();
        acknowledged.store(version, Ordering::SeqCst);
        sleep(Duration::from_micros(random.below(4000))).await;
    }

    /// Loads a part from its row. What does not exist has a version too: of the row that says so.
    async fn part(
        self: Arc<Self>,
        store: Store,
        row: usize,
        way: Way,
        slow: Duration,
    ) -> Result<u64, String> {
        let looked_at = Arc::new(AtomicU64::new(0));
        let (source, looks) = (self.clone(), looked_at.clone());
        let look = move || {
            let version = source.rows[row].0.load(Ordering::SeqCst);
            looks.store(version, Ordering::SeqCst);
            version
        };
        let (part, of) = (format!("part{row}"), format!("row{row}"));
        if matches!(way, Way::Absent) {
            let load = store.get_or_load_many([part], move |_| async move {
                look();
                sleep(slow).await;
                Ok::<HashMap<String, Vec<u64>>, String>(HashMap::new())
            });
            let parts = load.depends_on([of]).await.map_err(text)?;
            let looked_at = looked_at.load(Ordering::SeqCst);
            return match parts.into_values().next() {
                Some(part) => Ok(part[0]),
                // Where another caller's loader looked, nobody tells what it saw.
                None if looked_at == 0 => Err(JOINED.to_owned()),
                None => Ok(looked_at),
            };
        }
        let load = store.get_or_load(part, move || async move {
            let version = look();
            sleep(slow).await;
            let size = if matches!(way, Way::Large) { LARGE } else { 1 };
            Ok::<_, String>(vec![version; size])
        });
        let load = load.depends_on([of]);
        let load = if matches!(way, Way::Short) {
            load.ttl(ms(3))
        } else {
            load
        };
        Ok(load.await.map_err(text)?[0])
    }

    /// Reads a page: never older than what was acknowledged before.
    async fn read(self: &Arc<Self>, store: &Store, row: usize, random: &mut Seeded) {
        let acknowledged = self.rows[row].1.load(Ordering::SeqCst);
        let way = [Way::Stored, Way::Short, Way::Large, Way::Absent][random.below(4) as usize];
        let slow = |random: &mut Seeded| Duration::from_micros(random.below(3) * random.below(3000));
        let (before, after) = (slow(random), slow(random));
        let part = self.clone().part(store.clone(), row, way, before);
        let load = store.get_or_load(format!("page{row}"), move || async move {
            let part = part.await;
            sleep(after).await;
            part
        });
        let load = load.depends_on([format!("part{row}")]);
        let read = match load.outcome().await {
            Err(LoadError::Loader(error)) if *error == JOINED => return,
            read => read.unwrap(),
        };
        assert!(
            read.value >= acknowledged,
            "row {row}, {way:?}: {read:?}, but {acknowledged} was acknowledged before",
        );
    }
}

async fn interleave(patience: Duration) -> u64 {
    let two = Two::start(false).await;
    let source = Arc::new(Source {
        rows: (0..3).map(|_| (AtomicU64::new(1), AtomicU64::new(1))).collect(),
    });
    let end = Instant::now() + patience;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..15 {
        let (source, stores) = (source.clone(), [two.one.clone(), two.other.clone()]);
        tasks.spawn(async move {
            let mut random = Seeded::new(task);
            let row = usize::try_from(task).unwrap() % source.rows.len();
            let mut reads = 0;
            while Instant::now() < end {
                let store = &stores[usize::try_from(random.below(2)).unwrap()];
                // Each row is changed by one task, in an order.
                if task < source.rows.len() as u64 {
                    source.change(store, row, &mut random).await;
                } else {
                    source.read(store, row, &mut random).await;
                    reads += 1;
                }
            }
            reads
        });
    }
    tasks.join_all().await.into_iter().sum()
}

#[tokio::test]
async fn no_page_is_older_than_the_row_that_its_part_is_made_from() {
    let reads = interleave(Duration::from_secs(3)).await;
    assert!(reads > 100, "they made progress: {reads}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_no_page_is_older_than_the_row_that_its_part_is_made_from() {
    let reads = interleave(crate::harness::opening::soak()).await;
    eprintln!("{reads} reads, none of them old");
}
