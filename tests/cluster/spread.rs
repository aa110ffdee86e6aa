//! A store over all nodes, whose slots move.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::{Error, Fetched, LoadContext, Store, redis};
use futures_util::StreamExt;
use futures_util::stream::{FuturesOrdered, TryStreamExt};
use tokio::time::{sleep, timeout};

use crate::harness::Cluster;
use crate::harness::opening::{config, ms, open};
use crate::moves::{Counts, count, counted, invalidate};

/// Keys on all three nodes.
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f{x}y"];

async fn store(cluster: &Cluster) -> Store {
    open(config(&cluster.spread_url()).request_timeout(Duration::from_secs(20))).await
}

#[tokio::test]
async fn values_are_on_all_nodes_and_calls_on_many_keys_find_them() {
    let cluster = Cluster::start().await;
    let store = store(&cluster).await;
    let keys: Vec<String> = (0..300).map(|n| format!("key{n}")).collect();
    store.set_many(keys.iter().map(|key| (key, "v"))).await.unwrap();
    for node in &cluster.nodes {
        assert!(node.keys("key*").len() > 50, "each node has some");
    }
    let found = store.get_many(&keys).await.unwrap();
    assert!(found.iter().all(Option::is_some) && found.len() == 300);
    let scanned: BTreeSet<String> = store.scan("key").try_collect().await.unwrap();
    assert_eq!(scanned, keys.iter().cloned().collect());
    assert_eq!(store.delete_many(&keys[..100]).await.unwrap(), 100);
    assert_eq!(store.clear().await.unwrap(), 200);
    assert!(cluster.nodes.iter().all(|node| node.keys("key*").is_empty()));
}

#[tokio::test]
async fn what_is_kept_beside_a_key_is_on_its_node_and_a_lock_is_one_for_all() {
    let cluster = Cluster::start().await;
    let (one, two) = (store(&cluster).await, store(&cluster).await);
    for key in KEYS {
        let guard = one.lock(key).ttl(Duration::from_secs(60)).await.unwrap();
        let owner = &cluster.nodes[cluster.owner(key)];
        let beside = owner.keys("cachestore:lock:*");
        assert!(
            beside.iter().any(|name| name.ends_with(&format!("}}:{key}"))),
            "{beside:?}"
        );
        let waits = tokio::spawn({
            let two = two.clone();
            async move { two.lock(key).wait(Duration::from_secs(20)).await }
        });
        sleep(ms(50)).await;
        assert!(!waits.is_finished(), "{key} is held");
        guard.release().await.unwrap();
        // By the announcement, and not by the end of its TTL.
        let granted = timeout(Duration::from_secs(10), waits).await.unwrap().unwrap();
        granted.unwrap().release().await.unwrap();
    }
}

/// The root of a store over all nodes has the values of the others too, as the root of a server has those of namespaces.
#[tokio::test]
async fn a_clearing_spares_the_locks_of_a_store_in_one_slot() {
    let cluster = Cluster::start().await;
    let (whole, tagged) = (store(&cluster).await, open(config(&cluster.url("app"))).await);
    let guard = tagged.lock("job").ttl(Duration::from_secs(60)).await.unwrap();
    tagged.set("k", "v").await.unwrap();
    let scanned: Vec<String> = whole.scan("").try_collect().await.unwrap();
    assert_eq!(scanned, ["{app}:k"]);
    assert_eq!(whole.clear().await.unwrap(), 1);
    let held = tagged.lock_info("job").await.unwrap().unwrap();
    assert_eq!(held.fencing_token, guard.fencing_token());
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_raw_command_goes_to_the_node_of_its_key() {
    let cluster = Cluster::start().await;
    let store = store(&cluster).await;
    for key in KEYS {
        let mut command = redis::cmd("HSET");
        command.arg(key).arg("field").arg("value");
        let added: u64 = store.redis_command(command).await.unwrap();
        assert_eq!(added, 1);
        let owner = &cluster.nodes[cluster.owner(key)];
        assert_eq!(owner.command(&["HLEN", key]).int(), 1);
    }
    let pong: String = store.redis_command(redis::cmd("PING")).await.unwrap();
    assert_eq!(pong, "PONG");
}

#[tokio::test]
async fn a_store_of_one_node_and_one_of_all_nodes_do_not_mix() {
    let cluster = Cluster::start().await;
    let owner = cluster.owner("cachestore:layout");
    cluster.nodes[owner].command(&["SET", "cachestore:layout", "1"]);
    let Err(Error::InvalidConfig { reason }) = Store::open(config(&cluster.spread_url())).await else {
        panic!("it opens");
    };
    assert!(
        reason.contains("version 1") && reason.contains("has 2"),
        "{reason}"
    );
}

/// Each load names keys of other slots.
#[tokio::test]
async fn a_change_of_a_name_ends_the_loads_that_have_it() {
    let cluster = Cluster::start().await;
    let (one, two) = (store(&cluster).await, store(&cluster).await);
    for change in ["set", "delete", "incr", "swap", "invalidate", "clear", "nothing"] {
        one.set("n", "1").await.unwrap();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go, goes) = tokio::sync::oneshot::channel::<()>();
        let loads = one.clone();
        let load = tokio::spawn(async move {
            let loader = || async move {
                begun.send(()).unwrap();
                goes.await.unwrap();
                Ok::<_, String>(1_u32)
            };
            let load = loads.get_or_load("k", loader).depends_on(["m", "n"]);
            load.outcome().await.unwrap().origin
        });
        begins.await.unwrap();
        match change {
            "set" => two.set("n", "2").await.unwrap(),
            "delete" => assert!(two.delete("n").await.unwrap()),
            "incr" => assert_eq!(two.incr("n", 1).await.unwrap(), 2),
            "swap" => assert!(two.swap("n", "2").await.unwrap().is_some()),
            "invalidate" => assert_eq!(two.invalidate("n").await.unwrap(), 1),
            "clear" => assert_eq!(two.clear().await.unwrap(), 1),
            _ => {}
        }
        go.send(()).unwrap();
        let origin = load.await.unwrap();
        let is_stored = two.get_model::<u32>("k").await.unwrap().is_some();
        assert_eq!(is_stored, change == "nothing", "{change}: {origin:?}");
    }
    assert_eq!(two.invalidate("m").await.unwrap(), 1);
    assert_eq!(one.get("k").await.unwrap(), None);
}

#[tokio::test]
async fn a_name_that_a_loader_finds_out_is_watched_by_the_next_load() {
    let cluster = Cluster::start().await;
    let store = store(&cluster).await;
    let load = || {
        let loader = |_: LoadContext<u32>| async { Ok::<_, String>(Fetched::new(1).depends_on("late")) };
        store.get_or_load_with("k", loader).depends_on("n").into_future()
    };
    assert_eq!(load().await.unwrap(), 1);
    assert!(!store.exists("k").await.unwrap(), "late may have changed");
    assert_eq!(load().await.unwrap(), 1);
    assert!(store.exists("k").await.unwrap());
    assert_eq!(store.invalidate("late").await.unwrap(), 1);
    assert_eq!(load().await.unwrap(), 1);
    assert_eq!(store.invalidate("n").await.unwrap(), 1, "it was stored at once");
}

/// Each entry and each name is in a slot of its own.
#[tokio::test]
async fn an_invalidation_reaches_what_depends_on_a_name_on_any_node() {
    let cluster = Cluster::start().await;
    let store = store(&cluster).await;
    for round in 0..3 {
        for n in 0..60 {
            let list = format!("list{}", n % 6);
            let item = store
                .set(format!("item{n}"), "v")
                .depends_on(["all", list.as_str()]);
            item.ttl(Duration::from_secs(60)).await.unwrap();
            store
                .set(format!("page{n}"), "v")
                .depends_on(format!("item{n}"))
                .await
                .unwrap();
        }
        store.set("other", "v").await.unwrap();
        assert_eq!(store.invalidate("list1").await.unwrap(), 20, "{round}");
        assert_eq!(store.get("item1").await.unwrap(), None);
        assert_eq!(store.get("page7").await.unwrap(), None);
        assert!(store.get("page2").await.unwrap().is_some());
        assert_eq!(store.invalidate("all").await.unwrap(), 100, "{round}");
        assert!(store.get("other").await.unwrap().is_some());
    }
}

/// Swaps of one key, one after the other without a wait for the answer: each returns what the one before has written.
async fn swap_in_order(store: Store, key: String, going: Arc<AtomicBool>) -> Counts {
    let (mut counts, mut n) = (Counts::default(), 0u64);
    while going.load(Ordering::Relaxed) {
        let (mut under_way, first) = (FuturesOrdered::new(), n);
        let mut results = Vec::new();
        for _ in 0..64 {
            under_way.push_back(store.swap(&key, n.to_string()).into_future());
            n += 1;
            // Each is sent before the next one is made.
            while let Ok(Some(result)) = timeout(ms(1), under_way.next()).await {
                results.push(result);
            }
        }
        results.extend(under_way.collect::<Vec<_>>().await);
        let mut before = None;
        for (at, result) in (first..).zip(&results) {
            if matches!(result, Err(Error::OutcomeUnknown(_))) {
                before = None;
            }
            if counts.add(result) {
                let found = result.as_ref().unwrap().as_ref();
                let found: Option<u64> =
                    found.map(|found| std::str::from_utf8(found).unwrap().parse().unwrap());
                if before.is_some() {
                    assert_eq!(
                        found, before,
                        "{at} came after another one than the one before it"
                    );
                }
                before = Some(at);
            }
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_back_and_forth_lose_no_order_and_count_each_increment_once() {
    let cluster = Cluster::start().await;
    let store = store(&cluster).await;
    let going = Arc::new(AtomicBool::new(true));
    let counters =
        KEYS.map(|key| tokio::spawn(count(store.clone(), format!("{{{key}}}:count"), going.clone())));
    let writers = KEYS.map(|key| {
        tokio::spawn(swap_in_order(
            store.clone(),
            format!("{{{key}}}:key"),
            going.clone(),
        ))
    });
    for round in 0..4 {
        for key in KEYS {
            let slot = cluster.slot(&format!("{{{key}}}"));
            let (here, there) = {
                let here = cluster.owner(&format!("{{{key}}}"));
                (here, (here + 1 + round % 2) % 3)
            };
            cluster.begin_move(&slot, here, there);
            sleep(ms(15)).await;
            cluster.give_up_move(&slot, here, there);
            sleep(ms(15)).await;
            cluster.move_slot(&slot, here, there, ms(2)).await;
        }
    }
    sleep(ms(100)).await;
    going.store(false, Ordering::Relaxed);
    for counts in counted(&store, counters).await {
        assert!(counts.done > 0 && counts.unknown == 0, "{counts:?}");
    }
    for writer in writers {
        let counts = writer.await.unwrap();
        println!("spread: in order: {counts:?}");
        assert!(counts.done > 0, "{counts:?}");
    }
}

/// Holds one lock again and again. Nobody else may hold it meanwhile. Returns how often it was held.
async fn hold(store: Store, key: String, is_held: Arc<AtomicBool>, going: Arc<AtomicBool>) -> u64 {
    let mut holds = 0;
    while going.load(Ordering::Relaxed) {
        let lock = store.lock(&key).ttl(Duration::from_secs(60));
        if let Ok(guard) = lock.wait(Duration::from_secs(20)).await {
            assert!(!is_held.swap(true, Ordering::SeqCst), "{key} is held twice");
            sleep(ms(2)).await;
            is_held.store(false, Ordering::SeqCst);
            holds += u64::from(guard.release().await.is_ok());
        }
    }
    holds
}

/// The slots of locks, of names, and of what depends on them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_keep_each_lock_and_lose_no_invalidation() {
    let cluster = Cluster::start().await;
    let (one, two) = (store(&cluster).await, store(&cluster).await);
    let going = Arc::new(AtomicBool::new(true));
    let mut holders = Vec::new();
    for key in KEYS {
        let is_held = Arc::new(AtomicBool::new(false));
        for store in [&one, &two, &two] {
            let lock = format!("{{{key}}}lock");
            holders.push(tokio::spawn(hold(
                store.clone(),
                lock,
                is_held.clone(),
                going.clone(),
            )));
        }
    }
    let invalidators = KEYS.map(|key| {
        // What depends on the name is in its slot for some, and elsewhere for others.
        let name = if key < "d" {
            format!("{{{key}}}name")
        } else {
            key.to_owned()
        };
        tokio::spawn(invalidate(one.clone(), name, going.clone()))
    });
    for round in 0..3 {
        for key in KEYS {
            for moved in [format!("{{{key}}}"), format!("{key}:page"), format!("{key}:part")] {
                let (slot, here) = (cluster.slot(&moved), cluster.owner(&moved));
                cluster
                    .move_slot(&slot, here, (here + 1 + round % 2) % 3, ms(1))
                    .await;
            }
        }
    }
    sleep(ms(100)).await;
    going.store(false, Ordering::Relaxed);
    let mut holds = 0;
    for holder in holders {
        holds += holder.await.unwrap();
    }
    println!("spread: {holds} holds while slots moved");
    assert!(holds > 100, "{holds} holds");
    for task in invalidators {
        let counts = task.await.unwrap();
        println!("spread: invalidations: {counts:?}");
        assert!(counts.done > 0 && counts.unknown == 0, "{counts:?}");
    }
}

#[tokio::test]
async fn a_scan_and_a_clearing_find_what_moves_meanwhile() {
    let cluster = Cluster::start().await;
    let store = store(&cluster).await;
    let keys: Vec<String> = (0..2000).map(|n| format!("{{a}}{n}")).collect();
    store.set_many(keys.iter().map(|key| (key, "v"))).await.unwrap();
    let others: Vec<String> = (0..6000).map(|n| format!("o{n}")).collect();
    store.set_many(others.iter().map(|key| (key, "v"))).await.unwrap();
    let (slot, mut here) = (cluster.slot("a"), cluster.owner("a"));
    for _ in 0..3 {
        let mut scan = store.scan("{a}");
        let mut found: BTreeSet<String> = BTreeSet::new();
        found.extend(scan.next().await.map(Result::unwrap));
        // To a node that the scan has seen, if there is one.
        let there = (here + 2) % 3;
        cluster.move_slot(&slot, here, there, ms(0)).await;
        here = there;
        let rest: BTreeSet<String> = scan.try_collect().await.unwrap();
        found.extend(rest);
        assert_eq!(found.len(), keys.len());
    }
    assert_eq!(store.clear().await.unwrap(), 8000);
}
