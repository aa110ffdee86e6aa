//! The near cache of a store over all nodes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::{Error, NearCache, Store};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::near::{AGE, LATE, Servers, near, near_cases, started, text, warm};
use crate::harness::near_events::near_event_cases;
use crate::harness::opening::{ms, open};
use crate::harness::{Cluster, Direction, Toxic, lateness};

near_cases!(Cluster);
near_event_cases!(Cluster);

/// Without a sign of life, an entry may be served for this long.
const LONG: Duration = Duration::from_secs(60);

/// Numbers that another store writes into a key, one after the other, and when each was acknowledged.
#[derive(Clone)]
struct Written {
    all: Arc<Mutex<Vec<(u64, Instant)>>>,
    going: Arc<AtomicBool>,
}

impl Written {
    fn begin(store: Store, key: &'static str) -> (Self, JoinHandle<()>) {
        let written = Self {
            all: Arc::default(),
            going: Arc::new(AtomicBool::new(true)),
        };
        let own = written.clone();
        let writer = tokio::spawn(async move {
            let mut number = 0;
            while own.going.load(Ordering::Relaxed) {
                number += 1;
                if store.set(key, number.to_string()).await.is_ok() {
                    own.all.lock().unwrap().push((number, Instant::now()));
                }
                sleep(ms(7)).await;
            }
        });
        (written, writer)
    }

    /// The least number that a read may answer that began at `asked`: the last one that was acknowledged longer before than an
    /// entry may be old. What was acknowledged before `since` does not count.
    fn least(&self, asked: Instant, since: Instant) -> u64 {
        let all = self.all.lock().unwrap();
        let mut old = all
            .iter()
            .rev()
            .filter(|(_, at)| *at > since && *at + AGE + ms(20) < asked);
        old.next().map_or(0, |(number, _)| *number)
    }
}

/// Reads a key all the time, while something happens and for a while after it. No read may answer what is older than an entry
/// may be. With `loses`, only what was acknowledged after it counts. Returns the near hits after it.
async fn never_too_old(
    store: &Store,
    written: &Written,
    loses: bool,
    during: impl Future<Output = Instant>,
) -> u64 {
    let near_hits = async || store.stats().await.unwrap().near_hits;
    let end = Instant::now() + LONG;
    let mut since = (!loses).then(Instant::now);
    let mut during = std::pin::pin!(during);
    let (mut hits_before, mut later_reads) = (None, 0_u32);
    while later_reads < 500 {
        assert!(Instant::now() < end, "{later_reads} reads");
        if hits_before.is_none()
            && let Ok(at) = timeout(Duration::ZERO, during.as_mut()).await
        {
            hits_before = Some(near_hits().await);
            since.get_or_insert(at);
        }
        let asked = Instant::now();
        if let (Ok(Ok(read)), Some(since)) = (timeout(ms(50), store.get_string("k")).await, since) {
            let read: u64 = read.map_or(0, |read| read.parse().unwrap());
            let least = written.least(asked, since);
            assert!(read >= least, "{read} is older than {least}");
            later_reads += u32::from(hits_before.is_some());
        }
        sleep(ms(1)).await;
    }
    near_hits().await - hits_before.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_leaves_nothing_near_that_is_too_old() {
    let (cluster, store) = started::<Cluster>().await;
    let (written, writer) = Written::begin(open(cluster.config()).await, "k");
    let slot = cluster.slot("k");
    for _ in 0..4 {
        let here = cluster.owner("k");
        let moves = async {
            cluster.move_slot(&slot, here, (here + 1) % 3, ms(2)).await;
            Instant::now()
        };
        let hits = never_too_old(&store, &written, false, moves).await;
        assert!(hits > 0, "nothing was near");
    }
    written.going.store(false, Ordering::Relaxed);
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_leaves_nothing_near_that_is_too_old() {
    for is_killed in [false, true] {
        let mut cluster = Cluster::with_replicas().await;
        let store = open(near(cluster.config())).await;
        let other = open(cluster.config().request_timeout(Duration::from_secs(20))).await;
        let (written, writer) = Written::begin(other, "k");
        warm(&store, "k").await;
        let primary = cluster.owner("k");
        if is_killed {
            cluster.nodes[primary].kill9();
        } else {
            cluster.nodes[primary + 3].command(&["CLUSTER", "FAILOVER"]);
        }
        let hits = never_too_old(&store, &written, is_killed, cluster.promotion(primary)).await;
        println!("near: {hits} hits, killed: {is_killed}");
        assert!(hits > 0, "nothing is near at the new primary");
        written.going.store(false, Ordering::Relaxed);
        writer.await.unwrap();
    }
}

/// A primary that has lost all other nodes answers a `PING`, and others may have promoted its replica meanwhile.
#[tokio::test]
async fn a_primary_without_the_other_nodes_is_no_owner_of_what_is_near() {
    for is_pinged in [false, true] {
        let cluster = Cluster::start().await;
        // So long that no sign of life is late.
        let age = NearCache::default().max_age(Duration::from_secs(4));
        let store = open(cluster.config().near_cache(age)).await;
        // The node that gets what names no key.
        let owner = cluster.owner("cachestore:layout");
        let key = (0..)
            .map(|n| format!("k{n}"))
            .find(|key| cluster.owner(key) == owner);
        let key = key.unwrap();
        store.set(&key, "v").await.unwrap();
        warm(&store, &key).await;
        let others = || {
            (0..3)
                .filter(|node| *node != owner)
                .map(|node| &cluster.nodes[node])
        };
        others().for_each(|node| node.stop());
        let end = Instant::now() + Duration::from_secs(20);
        let mut pings = 0;
        let found = loop {
            let found = timeout(ms(300), store.get(&key)).await;
            if !matches!(found, Ok(Ok(Some(_)))) || Instant::now() > end {
                break found;
            }
            if is_pinged {
                store.ping().await.unwrap();
                pings += 1;
            }
            sleep(ms(10)).await;
        };
        others().for_each(|node| node.cont());
        assert!(!matches!(found, Ok(Ok(_))), "{found:?}, after {pings} pings");
        cluster.healthy().await;
        let end = Instant::now() + Duration::from_secs(20);
        while !matches!(store.get(&key).await, Ok(Some(_))) {
            assert!(Instant::now() < end, "it goes on");
            sleep(ms(10)).await;
        }
    }
}

/// The node of the name is asked, and finds nothing. The node of the value has not told yet that it is gone.
#[tokio::test]
async fn an_invalidation_hides_what_another_store_has_invalidated_before() {
    let cluster = Cluster::start().await;
    let on = |node: usize| {
        (0..)
            .map(|n| format!("k{n}"))
            .find(|key| cluster.owner(key) == node)
    };
    let (name, key) = (on(0).unwrap(), on(2).unwrap());
    let (proxies, config) = cluster.spread_proxied().await;
    let store = open(config.near_cache(NearCache::default().max_age(LONG))).await;
    let other = open(cluster.config()).await;
    for round in 0..3 {
        store.set(&key, "v").depends_on(&name).await.unwrap();
        warm(&store, &key).await;
        let delay = Toxic::Latency {
            delay: ms(500),
            jitter: ms(0),
        };
        proxies[2].add(Direction::Down, delay);
        assert_eq!(other.invalidate(&name).await.unwrap(), 1, "{round}");
        assert_eq!(text(&store, &key).await.as_deref(), Some("v"), "it is near");
        assert_eq!(store.invalidate(&name).await.unwrap(), 0, "{round}");
        assert_eq!(text(&store, &key).await, None);
        proxies[2].heal();
    }
}

#[tokio::test]
async fn an_invalidation_and_a_clearing_are_seen_at_once_on_all_nodes() {
    for connections in [1, 3] {
        let cluster = Cluster::start().await;
        let store = open(near(cluster.config()).connections(connections)).await;
        let keys: Vec<String> = (0..60).map(|n| format!("k{n}")).collect();
        for round in 0..4 {
            for key in &keys {
                store.set(key, "v").depends_on("all").await.unwrap();
                warm(&store, key).await;
            }
            let removed = if round % 2 == 0 {
                store.invalidate("all").await.unwrap()
            } else {
                store.clear().await.unwrap()
            };
            assert_eq!(removed, 60);
            for key in &keys {
                assert_eq!(text(&store, key).await, None, "{key}");
            }
        }
    }
}

/// Who owns a slot is learnt from another node. The former owner has not told yet that the key has moved.
#[tokio::test]
async fn what_was_read_from_a_former_owner_is_not_near() {
    let cluster = Cluster::start().await;
    let key = (0..).map(|n| format!("k{n}")).find(|key| cluster.owner(key) == 2);
    let key = key.unwrap();
    let (proxies, config) = cluster.spread_proxied().await;
    let store = open(config.near_cache(NearCache::default().max_age(LONG))).await;
    store.set(&key, "old").await.unwrap();
    warm(&store, &key).await;
    let slow = Toxic::Latency {
        delay: Duration::from_secs(3),
        jitter: ms(0),
    };
    proxies[2].add(Direction::Down, slow);
    cluster.move_slot(&cluster.slot(&key), 2, 1, ms(0)).await;
    cluster.nodes[1].command(&["SET", &key, "new"]);
    assert_eq!(text(&store, &key).await.as_deref(), Some("old"), "it is near");
    // A clearing asks who owns which slots.
    let clearing = tokio::spawn({
        let other = store.namespace("other").unwrap();
        async move { other.clear().timeout(Duration::from_secs(30)).await }
    });
    let end = Instant::now() + ms(1500) + lateness::late();
    loop {
        match timeout(ms(50), store.get_string(&key)).await {
            Ok(read) if read.as_ref().is_ok_and(|read| read.as_deref() == Some("old")) => {}
            Ok(Err(Error::Unavailable(_))) | Err(_) => break,
            Ok(read) => break assert_eq!(read.unwrap().as_deref(), Some("new")),
        }
        assert!(Instant::now() < end, "the old value is near");
        sleep(ms(5)).await;
    }
    proxies[2].heal();
    clearing.await.unwrap().unwrap();
    let end = Instant::now() + LATE;
    while text(&store, &key).await.as_deref() != Some("new") {
        assert!(Instant::now() < end);
    }
}
