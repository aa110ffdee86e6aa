//! The slot moves to another node, a few keys at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::{Error, Event, NearCache, Origin, Store};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesOrdered;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::opening::{HeldLoad, config, ms, open, was_not_done};
use crate::harness::switch::scan_over;
use crate::harness::{Cluster, lateness};

const TAG: &str = "app";

/// A store over a cluster, its slot, the node that owns it, and another one. Its user has the rights that the documentation
/// names, and no others.
async fn store() -> (Cluster, Store, String, usize, usize) {
    let page = include_str!("../../docs/security.md");
    let rights = page
        .lines()
        .find(|line| line.starts_with("user app on "))
        .unwrap();
    let rights = rights
        .replace("password", "s3cr3t")
        .replace("&cachestore:*", &format!("&{{{TAG}}}:cachestore:*"));
    let more = "+cluster|slots +asking +client +multi +exec +hello";
    let lines = format!("user default off\n{rights} {more}");
    let cluster = Cluster::with(0, |options| options.user(&lines), "app:s3cr3t@").await;
    let store = open(config(&cluster.url(TAG)).request_timeout(Duration::from_secs(20))).await;
    let (slot, from) = (cluster.slot(TAG), cluster.owner(TAG));
    let to = (from + 1) % 3;
    (cluster, store, slot, from, to)
}

#[tokio::test]
async fn reads_find_each_value_while_the_slot_moves() {
    let (cluster, store, slot, from, to) = store().await;
    for n in 0..20 {
        store
            .set(format!("k{n}"), n.to_string())
            .ttl(ms(600_000))
            .await
            .unwrap();
    }
    cluster.begin_move(&slot, from, to);
    let moved: Vec<String> = (0..10).map(|n| format!("{{{TAG}}}:k{n}")).collect();
    cluster.move_keys(&moved, from, to);
    let began = Instant::now();
    let reads = (0..20).map(|n| {
        let store = &store;
        async move {
            let key = format!("k{n}");
            assert_eq!(store.get_string(&key).await.unwrap(), Some(n.to_string()));
            assert!(store.exists(&key).await.unwrap());
            assert!(store.ttl(&key).await.unwrap().is_some());
        }
    });
    join_all(reads).await;
    assert_eq!(store.get("absent").await.unwrap(), None);
    println!("cluster: reads of a moving slot took {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(2) + lateness::late());
    // What names keys of both nodes waits.
    let both = timeout(ms(300), store.get_many(["k0", "k19"])).await;
    assert!(both.is_err(), "{both:?}");
    let store_too = store.clone();
    let both = tokio::spawn(async move { store_too.get_many(["k0", "k19"]).await });
    let rest = cluster.keys_at(from, &slot);
    cluster.move_keys(&rest, from, to);
    cluster.end_move(&slot, from, to);
    let found = timeout(Duration::from_secs(5), both)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(found.iter().all(Option::is_some));
}

#[tokio::test]
async fn changes_wait_until_the_slot_has_moved() {
    let (cluster, store, slot, from, to) = store().await;
    let mut events = store.events();
    for n in 0..4 {
        store
            .set(format!("k{n}"), "old")
            .depends_on("name")
            .await
            .unwrap();
    }
    store.set("plain", "1").await.unwrap();
    cluster.begin_move(&slot, from, to);
    let some: Vec<String> = cluster.keys_at(from, &slot).into_iter().step_by(2).collect();
    cluster.move_keys(&some, from, to);
    let changes = tokio::spawn({
        let store = store.clone();
        async move {
            tokio::join!(
                async { store.set("k0", "new").await.unwrap() },
                async { assert_eq!(store.incr("plain", 1).await.unwrap(), 2) },
                async { assert!(store.delete("k1").await.unwrap()) },
                async { assert!(store.add("k9", "v").await.unwrap()) },
                async { assert_eq!(store.take("k2").await.unwrap().unwrap(), "old") },
                async { assert!(store.expire("k3", ms(600_000)).await.unwrap()) },
            );
            store.invalidate("name").await.unwrap()
        }
    });
    sleep(ms(400)).await;
    assert!(!changes.is_finished());
    let rest = cluster.keys_at(from, &slot);
    cluster.move_keys(&rest, from, to);
    cluster.end_move(&slot, from, to);
    let removed = timeout(Duration::from_secs(10), changes).await.unwrap().unwrap();
    assert_eq!(
        removed, 2,
        "k0 was written without a dependency, and keeps the one that it had"
    );
    assert_eq!(store.get_string("plain").await.unwrap().as_deref(), Some("2"));
    assert!(cluster.keys_at(from, &slot).is_empty());
    let node = cluster.nodes[to].address();
    let told = async { while events.next().await != Some(Event::SwitchedPrimary { node: node.clone() }) {} };
    timeout(ms(5000), told).await.unwrap();
}

/// The entry is here, and what is kept of its dependencies is there.
#[tokio::test]
async fn a_torn_slot_refuses_a_change_whole() {
    let (cluster, _, slot, from, to) = store().await;
    let store = open(config(&cluster.url(TAG)).request_timeout(ms(600))).await;
    store.set("page", "old").depends_on("user").await.unwrap();
    store.set("page:part", "old").depends_on("page").await.unwrap();
    let entry = format!("{{{TAG}}}:page");
    for moves_entry in [false, true] {
        cluster.begin_move(&slot, from, to);
        let keys = cluster.keys_at(from, &slot);
        let torn: Vec<String> = keys
            .into_iter()
            .filter(|key| (*key == entry) == moves_entry)
            .collect();
        cluster.move_keys(&torn, from, to);
        let here = if moves_entry { to } else { from };
        let before = [from, to].map(|node| cluster.keys_at(node, &slot));
        // On a busy machine an answer may be late.
        let was_refused = |error: &Error| was_not_done(error) || matches!(error, Error::OutcomeUnknown(_));
        // Names that exist, and one that does not yet.
        for names in [&["user"][..], &["other"], &["user", "other"]] {
            let refused = store.set("page", "new").depends_on(names).await.unwrap_err();
            assert!(was_refused(&refused), "{refused:?}");
        }
        let refused = store.invalidate("user").await.unwrap_err();
        assert!(was_refused(&refused), "{refused:?}");
        let cleared = store.clear().await.unwrap_err();
        assert!(was_refused(&cleared), "{cleared:?}");
        let mut client = cluster.nodes[here].client();
        client.try_command(&["ASKING"]).unwrap();
        assert_eq!(client.try_command(&["GET", &entry]).unwrap().text(), "old");
        assert_eq!([from, to].map(|node| cluster.keys_at(node, &slot)), before);
        cluster.give_up_move(&slot, from, to);
        assert_eq!(store.get_string("page").await.unwrap().as_deref(), Some("old"));
    }
    store
        .set("page", "new")
        .depends_on(["user", "other"])
        .await
        .unwrap();
    assert_eq!(
        store.invalidate("other").await.unwrap(),
        2,
        "with what depends on it"
    );
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) done: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
}

impl Counts {
    /// Returns `true` if the call was carried out.
    pub(super) fn add<T: std::fmt::Debug>(&mut self, result: &Result<T, Error>) -> bool {
        match result {
            Ok(_) => self.done += 1,
            Err(error) if was_not_done(error) => self.refused += 1,
            Err(Error::OutcomeUnknown(_)) => self.unknown += 1,
            Err(error) => panic!("{error:?}"),
        }
        result.is_ok()
    }
}

/// Counters, in each round one call by each of so many at once.
pub(super) async fn count(store: Store, key: String, going: Arc<AtomicBool>) -> (String, Counts) {
    let mut counts = Counts::default();
    while going.load(Ordering::Relaxed) {
        for result in join_all((0..8).map(|_| store.incr(&key, 1).into_future())).await {
            counts.add(&result);
        }
    }
    (key, counts)
}

/// Waits for counters. Each acknowledged increment must have been made, and none twice.
pub(super) async fn counted(
    store: &Store,
    counters: impl IntoIterator<Item = JoinHandle<(String, Counts)>>,
) -> Vec<Counts> {
    let mut all = Vec::new();
    for counter in counters {
        let (key, counts) = counter.await.unwrap();
        let sum: u64 = store.get_string(&key).await.unwrap().unwrap().parse().unwrap();
        println!("cluster: {key}: {sum} of {counts:?}");
        assert!(
            (counts.done..=counts.done + counts.unknown).contains(&sum),
            "{sum} of {counts:?}"
        );
        all.push(counts);
    }
    all
}

/// Writes of one key, one after the other without a wait for its answer: the last one that was carried out is read.
pub(super) async fn write_in_order(store: Store, key: String, going: Arc<AtomicBool>) -> Counts {
    let mut counts = Counts::default();
    while going.load(Ordering::Relaxed) {
        let (mut under_way, mut results) = (FuturesOrdered::new(), Vec::new());
        for n in 0..64 {
            under_way.push_back(store.set(&key, n.to_string()).into_future());
            // Each is sent before the next one is made.
            while let Ok(Some(result)) = timeout(ms(1), under_way.next()).await {
                results.push(result);
            }
        }
        results.extend(under_way.collect::<Vec<_>>().await);
        let done: Vec<bool> = results.iter().map(|result| counts.add(result)).collect();
        let last = done.iter().rposition(|done| *done);
        let is_known = results
            .iter()
            .all(|result| !matches!(result, Err(Error::OutcomeUnknown(_))));
        if let (Some(last), true, Ok(read)) = (last, is_known, store.get_string(&key).await) {
            assert_eq!(read, Some(last.to_string()), "{results:?}");
        }
    }
    counts
}

/// What was invalidated is gone.
pub(super) async fn invalidate(store: Store, name: String, going: Arc<AtomicBool>) -> Counts {
    let mut counts = Counts::default();
    let (page, part) = (format!("{name}:page"), format!("{name}:part"));
    while going.load(Ordering::Relaxed) {
        let written = store.set(&page, "v").depends_on(&name).await;
        let below = store.set(&part, "v").depends_on(&page).await;
        if !counts.add(&written) || !counts.add(&below) {
            continue;
        }
        let removed = store.invalidate(&name).await;
        if counts.add(&removed) {
            assert_eq!(removed.unwrap(), 2);
            for key in [&page, &part] {
                if let Ok(left) = store.get(key).await {
                    assert_eq!(left, None, "{key} outlives its invalidation");
                }
            }
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_back_and_forth_loses_no_order_no_invalidation_and_counts_each_once() {
    let (cluster, store, slot, from, to) = store().await;
    let going = Arc::new(AtomicBool::new(true));
    let each = |n: usize| (store.clone(), going.clone(), n);
    let counters: Vec<_> = (0..4)
        .map(each)
        .map(|(store, going, n)| tokio::spawn(count(store, format!("count{n}"), going)))
        .collect();
    let writers: Vec<_> = (0..4)
        .map(each)
        .map(|(store, going, n)| tokio::spawn(write_in_order(store, format!("key{n}"), going)))
        .collect();
    let invalidators: Vec<_> = (0..4)
        .map(each)
        .map(|(store, going, n)| tokio::spawn(invalidate(store, format!("name{n}"), going)))
        .collect();
    let (mut here, mut there) = (from, to);
    for _ in 0..6 {
        for _ in 0..5 {
            sleep(ms(40)).await;
            cluster.begin_move(&slot, here, there);
            sleep(ms(15)).await;
            cluster.give_up_move(&slot, here, there);
        }
        sleep(ms(60)).await;
        // What was under way has an unknown outcome then.
        cluster.nodes[here].command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        cluster.move_slot(&slot, here, there, ms(2)).await;
        std::mem::swap(&mut here, &mut there);
    }
    sleep(ms(200)).await;
    going.store(false, Ordering::Relaxed);
    for counts in counted(&store, counters).await {
        assert!(counts.done > 0, "{counts:?}");
    }
    for task in writers.into_iter().chain(invalidators) {
        let counts = task.await.unwrap();
        println!("cluster: {counts:?}");
        assert!(counts.done > 0, "{counts:?}");
    }
}

/// A slot that has moved keeps its data. The leases end all the same, because nobody can tell it from a failover.
#[tokio::test]
async fn a_load_that_began_before_the_move_is_not_stored() {
    let (cluster, store, slot, from, to) = store().await;
    let load = HeldLoad::begin(&store).await;
    cluster.move_slot(&slot, from, to, ms(0)).await;
    store.set("other", "v").await.unwrap();
    assert_eq!(load.end().await, Origin::Superseded);
    assert_eq!(store.get("k").await.unwrap(), None);
}

/// The old owner tells of the keys that it gives away, and the new one of those that are read there.
#[tokio::test]
async fn nothing_near_outlives_a_move() {
    let (cluster, _, slot, from, to) = store().await;
    // Without a sign of life, an entry may be served for this long: nothing but the move takes it away.
    let near = NearCache::default().max_age(Duration::from_secs(60));
    let store = open(config(&cluster.url(TAG)).near_cache(near)).await;
    store.set("k", "v").await.unwrap();
    let is_near = async || {
        let before = store.stats().await.unwrap().near_hits;
        for _ in 0..20 {
            store.get("k").await.unwrap();
        }
        store.stats().await.unwrap().near_hits > before
    };
    assert!(is_near().await);
    let entry = format!("{{{TAG}}}:k");
    for (from, to, value) in [(from, to, "new"), (to, from, "newer")] {
        cluster.move_slot(&slot, from, to, ms(0)).await;
        // Behind the back of all stores.
        assert_eq!(cluster.nodes[to].command(&["SET", &entry, value]).text(), "OK");
        let heard = async { while store.get_string("k").await.unwrap().as_deref() != Some(value) {} };
        timeout(ms(5000), heard).await.expect("the store reads it");
        assert!(is_near().await, "{value} is near");
    }
    assert_eq!(cluster.nodes[from].command(&["SET", &entry, "last"]).text(), "OK");
    let heard = async { while store.get_string("k").await.unwrap().as_deref() != Some("last") {} };
    timeout(ms(5000), heard)
        .await
        .expect("the owner tells of a change");
}

/// Where a page of the old owner ends means nothing at the new one. No key is missed, and keys may come twice.
#[tokio::test]
async fn a_scan_begins_anew_at_the_new_owner() {
    let (cluster, store, slot, from, to) = store().await;
    scan_over(&store, cluster.move_slot(&slot, from, to, ms(0))).await;
}

/// Two callers share a clearing that the moving slot refuses. Each is told at its own deadline.
#[tokio::test]
async fn each_caller_of_a_refused_clearing_is_told_in_time() {
    let (cluster, store, slot, from, to) = store().await;
    store.set("k", "v").await.unwrap();
    cluster.begin_move(&slot, from, to);
    let began = Instant::now();
    let clear = |limit: u64| {
        let store = store.clone();
        async move {
            store.clear().timeout(ms(limit)).await.unwrap_err();
            began.elapsed()
        }
    };
    let both = async { tokio::join!(clear(300), clear(700)) };
    let (first, second) = timeout(Duration::from_secs(20), both).await.unwrap();
    assert!(first < ms(600) + lateness::late(), "{first:?}");
    let late = ms(700 + 250) + lateness::late();
    assert!(second >= ms(650) && second < late, "{second:?}");
    cluster.give_up_move(&slot, from, to);
    assert_eq!(store.clear().await.unwrap(), 1);
}

/// A clearing that is under way goes over all keys of the new owner, whose cursors are others.
#[tokio::test]
async fn long_work_begins_anew_at_the_new_owner() {
    let (cluster, store, slot, from, to) = store().await;
    for round in 0..3 {
        let keys: Vec<(String, &str)> = (0..20_000).map(|n| (format!("k{n}"), "v")).collect();
        for chunk in keys.chunks(1000) {
            store.set_many(chunk.iter().cloned()).await.unwrap();
        }
        let clearing = tokio::spawn({
            let store = store.clone();
            async move { store.clear().timeout(Duration::from_secs(60)).await }
        });
        sleep(ms(5 + 10 * round)).await;
        let (here, there) = if round % 2 == 0 { (from, to) } else { (to, from) };
        cluster.begin_move(&slot, here, there);
        let keys = cluster.keys_at(here, &slot);
        println!("cluster: {} keys are left", keys.len());
        cluster.move_keys(&keys, here, there);
        cluster.end_move(&slot, here, there);
        let removed = clearing.await.unwrap();
        println!("cluster: cleared {removed:?}");
        if removed.is_ok() {
            assert!(store.scan("").next().await.is_none());
        } else {
            store.clear().timeout(Duration::from_secs(60)).await.unwrap();
        }
    }
}
