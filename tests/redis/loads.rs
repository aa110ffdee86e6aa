//! Loads of several processes over the same servers: whatever one of them changes, none is given, and none stores,
//! what another had loaded before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachestore::{Config, LoadError, Origin, Store};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::harness::opening::{WithNear, eventually, ms, open};
use crate::harness::place::over_each_topology;
use crate::harness::{Place, Seeded};

type Loader = std::pin::Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;

/// Each test over a server, once without a near cache and once with one, and over the other ways to reach a server.
macro_rules! everywhere {
    ($($test:ident)*) => {
        over_each_topology! { $($test)* }
        mod with_a_near_cache {
            $(#[tokio::test]
            async fn $test() {
                let _near = super::WithNear::on();
                super::$test().await;
            })*
        }
    };
}

everywhere! {
    a_change_by_another_process_supersedes_what_is_being_loaded
    what_another_process_loads_is_waited_for
    an_outcome_of_many_tells_what_another_process_has_loaded
    a_read_that_waits_for_another_process_is_one_miss
    when_another_process_fails_this_one_loads
    a_store_that_is_closed_gives_up_what_it_loads
    a_load_goes_on_after_its_soft_timeout_while_another_process_loads
    those_who_wait_for_another_process_leave_room_for_loads
}

/// A place for keys, and two stores as two processes have them.
async fn two() -> (Place, Store, Store) {
    let place = Place::start().await;
    let one = open(place.config()).await;
    let other = open(place.config()).await;
    (place, one, other)
}

/// A loader that says when it runs, and answers when it is told to.
fn held(
    value: u64,
) -> (
    impl FnOnce() -> Loader,
    oneshot::Receiver<()>,
    oneshot::Sender<()>,
) {
    let (runs, running) = oneshot::channel();
    let (go, gone) = oneshot::channel::<()>();
    let load = move || -> Loader {
        Box::pin(async move {
            runs.send(()).unwrap();
            gone.await.unwrap();
            Ok(value)
        })
    };
    (load, running, go)
}

/// A change by one process while another loads `k`, which depends on `d`: what was loaded is handed out, and
/// not stored; and who comes after the change loads anew.
async fn supersedes<F: Future<Output = ()>>(what: &str, change: impl FnOnce(Store) -> F) {
    let (_place, one, other) = two().await;
    let store = one.namespace("n").unwrap();
    let other = other.namespace("n").unwrap();
    // The way of a cascade: whatever is made from `source` is also made from `d`.
    store.set("d", "v").depends_on(["source"]).await.unwrap();
    let (load, running, go) = held(1);
    let loading = tokio::spawn({
        let store = store.clone();
        async move { store.get_or_load("k", load).depends_on(["d"]).outcome().await }
    });
    running.await.unwrap();
    change(other.clone()).await;
    let newer = other
        .get_or_load("k", || async { Ok::<_, String>(2) })
        .depends_on(["d"]);
    let newer = newer
        .outcome()
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    go.send(()).unwrap();
    let older = loading.await.unwrap().unwrap();
    assert_eq!((older.value, older.origin), (1, Origin::Superseded), "{what}");
    // A change that is a value itself is what the new load finds: as a number, or as its digit.
    let expected = if newer.origin == Origin::Loaded {
        vec![2]
    } else {
        vec![7, b'7'.into()]
    };
    assert!(expected.contains(&newer.value), "{what}");
    assert_eq!(
        store.get_model::<u64>("k").await.unwrap(),
        Some(newer.value),
        "{what}"
    );
    assert_eq!(store.stats().await.unwrap().dead_leases, 1, "{what}");
}

async fn a_change_by_another_process_supersedes_what_is_being_loaded() {
    supersedes("set", |s| async move { s.set_model("k", &7u64).await.unwrap() }).await;
    supersedes("add", |s| async move { assert!(s.add("k", "7").await.unwrap()) }).await;
    supersedes(
        "incr",
        |s| async move { assert_eq!(s.incr("k", 7).await.unwrap(), 7) },
    )
    .await;
    supersedes("incr with a TTL", |s| async move {
        assert_eq!(s.incr("k", 7).ttl(Duration::from_secs(60)).await.unwrap(), 7)
    })
    .await;
    supersedes(
        "delete",
        |s| async move { assert!(!s.delete("k").await.unwrap()) },
    )
    .await;
    supersedes("delete_many", |s| async move {
        assert_eq!(s.delete_many(["x", "k"]).await.unwrap(), 0)
    })
    .await;
    supersedes(
        "take",
        |s| async move { assert_eq!(s.take("k").await.unwrap(), None) },
    )
    .await;
    supersedes("set_many", |s| async move {
        s.set_many([("x", "1"), ("d", "2")]).await.unwrap()
    })
    .await;
    supersedes("set of a dependency", |s| async move {
        s.set("d", "w").await.unwrap()
    })
    .await;
    supersedes("delete of a dependency", |s| async move {
        assert!(s.delete("d").await.unwrap())
    })
    .await;
    supersedes("invalidate", |s| async move {
        assert_eq!(s.invalidate(["k"]).await.unwrap(), 0)
    })
    .await;
    supersedes("invalidate of a dependency", |s| async move {
        assert_eq!(s.invalidate(["d"]).await.unwrap(), 1);
    })
    .await;
    supersedes("cascade", |s| async move {
        assert_eq!(s.invalidate(["source"]).await.unwrap(), 1)
    })
    .await;
    supersedes(
        "clear",
        |s| async move { assert_eq!(s.clear().await.unwrap(), 1) },
    )
    .await;
}

async fn what_another_process_loads_is_waited_for() {
    let (place, one, other) = two().await;
    let (load, running, go) = held(1);
    let loading = tokio::spawn(async move { one.get_or_load("k", load).await });
    running.await.unwrap();
    let waiting = tokio::spawn(async move {
        let load = || async { panic!("it is being loaded") };
        other.get_or_load::<u64, String, _, _>("k", load).outcome().await
    });
    // It has begun to listen for the end.
    let listens = || place.channels().len() == 1;
    assert!(eventually(Duration::from_secs(5), listens).await);
    let ended = Instant::now();
    go.send(()).unwrap();
    let joined = waiting.await.unwrap().unwrap();
    assert_eq!((joined.value, joined.origin), (1, Origin::Joined));
    assert!(
        ended.elapsed() < ms(100),
        "it was told, and did not find out by itself: {:?}",
        ended.elapsed()
    );
    assert_eq!(loading.await.unwrap().unwrap(), 1);
}

/// Each value of many keys tells where it came from.
async fn an_outcome_of_many_tells_what_another_process_has_loaded() {
    let (place, one, other) = two().await;
    let (load, running, go) = held(1);
    let loading = tokio::spawn(async move { one.get_or_load("theirs", load).await });
    running.await.unwrap();
    let waiting = tokio::spawn(async move {
        let load =
            |keys: Vec<String>| async { Ok::<_, String>(keys.into_iter().map(|key| (key, 2)).collect()) };
        other.get_or_load_many(["theirs", "ours"], load).outcome().await
    });
    let listens = || place.channels().len() == 1;
    assert!(eventually(Duration::from_secs(5), listens).await);
    go.send(()).unwrap();
    let all = waiting.await.unwrap().unwrap();
    let seen = |key: &str| (all[key].value, all[key].origin);
    assert_eq!(
        [seen("theirs"), seen("ours")],
        [(1, Origin::Joined), (2, Origin::Loaded)]
    );
    assert_eq!(loading.await.unwrap().unwrap(), 1);
}

/// The second look, at what the other process has stored, is part of the same read.
async fn a_read_that_waits_for_another_process_is_one_miss() {
    let (place, one, other) = two().await;
    let (load, running, go) = held(1);
    let loading = tokio::spawn(async move { one.get_or_load("k", load).await });
    running.await.unwrap();
    let single = tokio::spawn({
        let other = other.clone();
        async move { other.get_or_load("k", || async { Ok::<u64, String>(2) }).await }
    });
    let many = tokio::spawn({
        let other = other.clone();
        let load =
            |keys: Vec<String>| async { Ok::<_, String>(keys.into_iter().map(|key| (key, 3)).collect()) };
        async move { other.get_or_load_many(["k"], load).await }
    });
    let listens = || place.channels().len() == 1;
    assert!(eventually(Duration::from_secs(5), listens).await);
    while other.stats().await.unwrap().misses < 2 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    assert_eq!(single.await.unwrap().unwrap(), 1);
    assert_eq!(many.await.unwrap().unwrap()["k"], 1);
    assert_eq!(loading.await.unwrap().unwrap(), 1);
    let stats = other.stats().await.unwrap();
    assert_eq!((stats.hits, stats.misses, stats.sets, stats.loads), (0, 2, 0, 0));
    assert_eq!(
        stats.load_joins, 2,
        "a call of many joins as one of a single key does"
    );
}

async fn when_another_process_fails_this_one_loads() {
    let (_place, one, other) = two().await;
    let (runs, running) = oneshot::channel();
    let failing = tokio::spawn(async move {
        let load = || async move {
            runs.send(()).unwrap();
            sleep(ms(50)).await;
            Err::<u64, _>("no".to_owned())
        };
        one.get_or_load("k", load).await
    });
    running.await.unwrap();
    let loaded = other
        .get_or_load("k", || async { Ok::<_, String>(2) })
        .outcome()
        .await
        .unwrap();
    assert_eq!((loaded.value, loaded.origin), (2, Origin::Loaded));
    assert!(matches!(failing.await.unwrap(), Err(LoadError::Loader(error)) if *error == "no"));
}

async fn a_store_that_is_closed_gives_up_what_it_loads() {
    let (_place, one, other) = two().await;
    let (load, running, _go) = held(1);
    let loading = tokio::spawn({
        let one = one.clone();
        async move { one.get_or_load("k", load).await }
    });
    running.await.unwrap();
    one.close().await.unwrap();
    assert!(matches!(
        loading.await.unwrap(),
        Err(LoadError::Store(cachestore::Error::Closed))
    ));
    let began = Instant::now();
    assert_eq!(
        other
            .get_or_load("k", || async { Ok::<_, String>(2) })
            .await
            .unwrap(),
        2
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "it did not wait for the lease to end"
    );
}

/// Keys, what the source has of each, and what was acknowledged of that.
struct Source {
    keys: Vec<(AtomicU64, AtomicU64)>,
}

impl Source {
    fn name(key: usize) -> String {
        format!("key:{key}")
    }

    /// Changes a key in the source, then in the cache, in one of all the ways there are.
    async fn change(&self, store: &Store, key: usize, random: &mut Seeded) {
        let (source, acknowledged) = &self.keys[key];
        let version = source.fetch_add(1, Ordering::SeqCst) + 1;
        let name = Self::name(key);
        match random.below(6) {
            0 => {
                let set = store.set_model(&name, &version);
                set.depends_on([format!("of:{name}")]).await.unwrap();
            }
            1 => drop(store.delete(&name).await.unwrap()),
            2 => drop(store.invalidate([&name]).await.unwrap()),
            3 => drop(store.invalidate([format!("of:{name}")]).await.unwrap()),
            4 => drop(store.delete_many([&name]).await.unwrap()),
            _ => drop(store.take(&name).await.unwrap()),
        }
        acknowledged.store(version, Ordering::SeqCst);
    }

    /// Reads a key: never older than what was acknowledged before.
    async fn read(self: &Arc<Self>, store: &Store, key: usize, slow: u64) {
        let acknowledged = self.keys[key].1.load(Ordering::SeqCst);
        let source = self.clone();
        let load = move || async move {
            let version = source.keys[key].0.load(Ordering::SeqCst);
            sleep(Duration::from_micros(slow)).await;
            Ok::<_, String>(version)
        };
        let name = Self::name(key);
        let load = store.get_or_load(&name, load).depends_on([format!("of:{name}")]);
        let read = load.outcome().await.unwrap();
        assert!(
            read.value >= acknowledged,
            "{name}: {read:?}, but {acknowledged} was acknowledged before",
        );
    }
}

async fn interleave(patience: Duration) -> u64 {
    let (_place, one, other) = two().await;
    let source = Arc::new(Source {
        keys: (0..4).map(|_| Default::default()).collect(),
    });
    let end = Instant::now() + patience;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let (source, stores) = (source.clone(), [one.clone(), other.clone()]);
        tasks.spawn(async move {
            let mut random = Seeded::new(task);
            let mut reads = 0;
            while Instant::now() < end {
                let store = &stores[random.below(2) as usize];
                // Each key is changed by one task, in an order.
                if task < source.keys.len() as u64 {
                    source.change(store, task as usize, &mut random).await;
                    sleep(Duration::from_micros(random.below(2000))).await;
                } else {
                    let key = random.below(source.keys.len() as u64) as usize;
                    source.read(store, key, random.below(1000)).await;
                    reads += 1;
                }
            }
            reads
        });
    }
    tasks.join_all().await.into_iter().sum()
}

#[tokio::test]
async fn nothing_that_was_changed_before_is_read() {
    let reads = interleave(Duration::from_secs(3)).await;
    assert!(reads > 100, "they made progress: {reads}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/soak.sh runs it"]
async fn soak_nothing_that_was_changed_before_is_read() {
    let reads = interleave(crate::harness::opening::soak()).await;
    eprintln!("{reads} reads, none of them old");
}

/// A caller who has served a stale value meanwhile does not take the load with him: when who loads has failed,
/// his loader takes its place.
async fn a_load_goes_on_after_its_soft_timeout_while_another_process_loads() {
    let (_place, one, other) = two().await;
    let hour = Duration::from_secs(3600);
    let load = one.get_or_load("k", || async { Ok::<_, String>(1_u64) });
    load.ttl(ms(1)).stale_if_error(hour).await.unwrap();
    sleep(ms(10)).await;
    let (runs, running) = oneshot::channel();
    let (fail, failed) = oneshot::channel::<()>();
    let failing = tokio::spawn(async move {
        let load = other.get_or_load("k", || async move {
            runs.send(()).unwrap();
            failed.await.unwrap();
            Err::<u64, _>("the source is down".to_owned())
        });
        load.await
    });
    running.await.unwrap();
    let (runs, running) = oneshot::channel();
    let load = one.get_or_load("k", || async move {
        runs.send(()).unwrap();
        Ok::<_, String>(2_u64)
    });
    let load = load.ttl(hour).stale_if_error(hour).soft_timeout(ms(100));
    let served = load.outcome().await.unwrap();
    assert_eq!((served.value, served.origin), (1, Origin::Stale));
    fail.send(()).unwrap();
    assert!(failing.await.unwrap().is_err());
    running.await.expect("its loader runs, though nobody waits");
    let end = Instant::now() + Duration::from_secs(5);
    while one.get_model::<u64>("k").await.unwrap() != Some(2) {
        assert!(Instant::now() < end, "it is stored");
        sleep(ms(5)).await;
    }
}

/// Who waits for a load of another process is no load under way.
async fn those_who_wait_for_another_process_leave_room_for_loads() {
    let (place, other, _) = two().await;
    let one = Store::open(Config::from(place.config()).max_loads(2).max_load_waiters(100))
        .await
        .unwrap();
    let (load, running, go) = held(1);
    let leads = tokio::spawn(async move { other.get_or_load("k", load).await });
    running.await.unwrap();
    let waits = |_| {
        let store = one.clone();
        tokio::spawn(async move { store.get_or_load("k", || async { Ok::<u64, String>(2) }).await })
    };
    let waiting: Vec<_> = (0..50).map(waits).collect();
    sleep(ms(100)).await;
    let beside = one
        .get_or_load("beside", || async { Ok::<_, String>(3_u64) })
        .await;
    assert_eq!(beside.unwrap(), 3);
    go.send(()).unwrap();
    assert_eq!(leads.await.unwrap().unwrap(), 1);
    for waits in waiting {
        assert_eq!(waits.await.unwrap().unwrap(), 1);
    }
}
