//! What the near cache promises, over one server and over a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cachestore::{Error, NearCache, RedisConfig, Store, redis};
use tokio::time::{Instant, sleep};

use super::opening::{config, ms, open};
use super::{Client, Cluster, Monitor, RedisServer, Seeded};

pub(crate) const AGE: Duration = ms(300);
/// What a call may take past its time on a busy machine.
pub(crate) const LATE: Duration = ms(1000);

/// The servers that a store uses.
pub(crate) trait Servers: Sized {
    async fn start() -> Self;

    /// The configuration of a store without a near cache.
    fn config(&self) -> RedisConfig;

    fn all(&self) -> &[RedisServer];

    /// The server that has a key.
    fn server_of(&self, key: &str) -> &RedisServer;
}

impl Servers for RedisServer {
    async fn start() -> Self {
        RedisServer::start().await
    }

    fn config(&self) -> RedisConfig {
        config(&self.url())
    }

    fn all(&self) -> &[RedisServer] {
        std::slice::from_ref(self)
    }

    fn server_of(&self, _: &str) -> &RedisServer {
        self
    }
}

/// Three primaries, over which a store is spread.
impl Servers for Cluster {
    async fn start() -> Self {
        Cluster::start().await
    }

    fn config(&self) -> RedisConfig {
        config(&self.spread_url())
    }

    fn all(&self) -> &[RedisServer] {
        &self.nodes
    }

    fn server_of(&self, key: &str) -> &RedisServer {
        &self.nodes[self.owner(key)]
    }
}

pub(crate) fn near(config: RedisConfig) -> RedisConfig {
    let near = NearCache::default().capacity_bytes(1 << 20).max_age(AGE);
    config.near_cache(near)
}

pub(crate) async fn started<S: Servers>() -> (S, Store) {
    let servers = S::start().await;
    let store = open(near(servers.config())).await;
    (servers, store)
}

pub(crate) async fn text(store: &Store, key: &str) -> Option<String> {
    store.get_string(key).await.unwrap()
}

/// Reads a key until the near cache answers.
pub(crate) async fn warm(store: &Store, key: &str) {
    let end = Instant::now() + ms(5000);
    loop {
        let before = store.stats().await.unwrap().near_hits;
        store.get(key).await.unwrap();
        if store.stats().await.unwrap().near_hits > before {
            return;
        }
        assert!(Instant::now() < end, "{key} is never near");
    }
}

/// Waits until a read answers this, at most so long.
pub(crate) async fn becomes(store: &Store, key: &str, value: Option<&str>, patience: Duration) {
    let end = Instant::now() + patience;
    while text(store, key).await.as_deref() != value {
        assert!(Instant::now() < end, "{key} is not {value:?}");
        sleep(ms(1)).await;
    }
}

pub(crate) async fn every_read_of_a_hot_key_is_answered_here<S: Servers>() {
    let (servers, store) = started::<S>().await;
    store.set("k", "v").await.unwrap();
    store.set_model("m", &7_u32).await.unwrap();
    for key in ["k", "m"] {
        warm(&store, key).await;
    }
    let load = || async { Ok::<u32, String>(9) };
    assert_eq!(store.get_or_load("l", load).ttl(ms(60_000)).await.unwrap(), 9);
    warm(&store, "l").await;
    let before = store.stats().await.unwrap();
    let mut monitors: Vec<_> = servers.all().iter().map(RedisServer::monitor).collect();
    assert_eq!(text(&store, "k").await.as_deref(), Some("v"));
    assert_eq!(store.get_model::<u32>("m").await.unwrap(), Some(7));
    assert_eq!(store.get_many(["k", "m"]).await.unwrap().len(), 2);
    assert_eq!(store.get_models::<u32>(["m"]).await.unwrap(), [Some(7)]);
    assert!(store.exists("k").await.unwrap());
    assert_eq!(store.get_or_load("l", load).ttl(ms(60_000)).await.unwrap(), 9);
    let asked = monitors.iter_mut().flat_map(Monitor::sent);
    let is_sign_of_life =
        |line: &String| line.contains("PING") || line.contains("exists") || line.contains("EXISTS");
    let asked: Vec<String> = asked.filter(|line| !is_sign_of_life(line)).collect();
    assert!(asked.is_empty(), "{asked:?}");
    let after = store.stats().await.unwrap();
    assert_eq!(after.near_hits - before.near_hits, 6);
    assert_eq!(after.hits - before.hits, 6);
    assert_eq!(after.near_entries, 3);
    assert!(after.near_bytes > 0);
    store.without_near_cache().get("k").await.unwrap();
    assert_eq!(store.stats().await.unwrap().near_hits, after.near_hits);
}

/// After a miss, a load asks for the value or the lease in one request. That request makes a key near too.
pub(crate) async fn a_key_that_is_read_among_misses_is_near<S: Servers>() {
    let (servers, store) = started::<S>().await;
    let other = open(servers.config()).await;
    let mut misses = 0..;
    for round in 1..=3_u32 {
        let end = Instant::now() + ms(5000);
        let before = store.stats().await.unwrap().near_hits;
        while store.stats().await.unwrap().near_hits == before {
            assert!(Instant::now() < end, "round {round} is never near");
            let load = move || async move { Ok::<u32, String>(round) };
            let missing = format!("missing {}", misses.next().unwrap());
            store.get_or_load(missing, load).await.unwrap();
            let loaded = store.get_or_load("k", load).ttl(ms(60_000)).await.unwrap();
            assert_eq!(loaded, round);
        }
        // Only if the server tracks what the script reads, this store learns of the removal at once.
        assert!(other.delete("k").await.unwrap());
        let end = Instant::now() + AGE + LATE;
        while store.get_model::<u32>("k").await.unwrap().is_some() {
            assert!(Instant::now() < end, "a removal by others is not seen");
        }
    }
}

pub(crate) async fn changes_by_others_are_seen<S: Servers>() {
    let (servers, store) = started::<S>().await;
    let changes: [(&[&str], Option<&str>); 6] = [
        (&["SET", "k", "w"], Some("w")),
        (&["APPEND", "k", "x"], Some("vx")),
        (&["DEL", "k"], None),
        (&["RENAME", "k", "{k}other"], None),
        (&["PEXPIRE", "k", "20"], None),
        (&["FLUSHALL"], None),
    ];
    for (command, value) in changes {
        store.set("k", "v").await.unwrap();
        warm(&store, "k").await;
        servers.server_of("k").command(command);
        becomes(&store, "k", value, AGE + LATE).await;
    }
    assert!(store.stats().await.unwrap().near_flushes >= 1);
}

pub(crate) async fn a_hot_key_of_another_type_is_refused<S: Servers>() {
    let (servers, store) = started::<S>().await;
    servers.server_of("k").command(&["HSET", "k", "field", "value"]);
    for _ in 0..5 {
        let read = store.get("k").await;
        assert!(matches!(read, Err(Error::WrongType)), "{read:?}");
        let updated = store.update_model("k", |_: Option<u32>| Some(1)).await;
        assert!(matches!(updated, Err(Error::WrongType)), "{updated:?}");
    }
}

pub(crate) async fn an_eviction_is_seen<S: Servers>() {
    let (servers, store) = started::<S>().await;
    store.set("k", "v").await.unwrap();
    warm(&store, "k").await;
    let server = servers.server_of("k");
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    // A write makes the server evict; it is refused where nothing is left to evict.
    server.client().try_command(&["SET", "{k}other", "x"]).unwrap();
    becomes(&store, "k", None, AGE + LATE).await;
}

pub(crate) async fn own_changes_are_seen_at_once<S: Servers>() {
    for connections in [1, 3] {
        let servers = S::start().await;
        let store = open(near(servers.config()).connections(connections)).await;
        for round in 0..60 {
            let value = round.to_string();
            store.set("k", "old").depends_on(["n"]).await.unwrap();
            for _ in 0..3 {
                store.get_many(["x", "k", "y"]).await.unwrap();
                store.get("k").await.unwrap();
            }
            match round % 10 {
                0 => store.set("k", &value).await.unwrap(),
                1 => assert!(store.compare_and_set("k", "old", &value).await.unwrap()),
                2 => assert!(store.delete("k").await.unwrap()),
                3 => assert!(store.take("k").await.unwrap().is_some()),
                4 => assert_eq!(store.invalidate(["n"]).await.unwrap(), 1),
                5 => assert_eq!(store.clear().await.unwrap(), 1),
                6 => {
                    let set = redis::cmd("SET").arg("k").arg(&value).to_owned();
                    store.redis_command::<()>(set).await.unwrap();
                }
                7 => {
                    let remove = match servers.all() {
                        [_] => redis::cmd("FLUSHALL"),
                        // It would reach one of the nodes.
                        _ => redis::cmd("UNLINK").arg("k").to_owned(),
                    };
                    store.redis_command::<()>(remove).await.unwrap();
                }
                8 => assert!(store.swap("k", &value).await.unwrap().is_some()),
                _ => {
                    store.set_many([("k", value.as_str()), ("z", "z")]).await.unwrap();
                    store.delete("z").await.unwrap();
                }
            }
            let expected = (!matches!(round % 10, 2..=5 | 7)).then_some(value);
            assert_eq!(
                text(&store, "k").await,
                expected,
                "round {round}, {connections} connections"
            );
        }
        assert!(store.stats().await.unwrap().near_hits > 20);
    }
}

pub(crate) async fn a_counter_and_a_touch_ask_the_server<S: Servers>() {
    let (_servers, store) = started::<S>().await;
    for expected in 1..20 {
        assert_eq!(store.incr("n", 1).await.unwrap(), expected);
        for _ in 0..3 {
            assert_eq!(text(&store, "n").await, Some(expected.to_string()));
        }
    }
    store.set("k", "v").ttl(ms(60_000)).await.unwrap();
    warm(&store, "k").await;
    assert!(store.expire("k", ms(80)).await.unwrap());
    let began = Instant::now();
    while text(&store, "k").await.is_some() {
        assert!(began.elapsed() < ms(80) + LATE);
    }
}

pub(crate) async fn nothing_is_served_past_its_ttl<S: Servers>() {
    let (_servers, store) = started::<S>().await;
    for ttl in [ms(30), ms(120)] {
        let began = Instant::now();
        store.set("k", "v").ttl(ttl).await.unwrap();
        let acknowledged = Instant::now();
        let mut hits = 0;
        loop {
            let asked = Instant::now();
            match text(&store, "k").await {
                // The server counts whole milliseconds, and keeps the entry through the last one.
                Some(_) => assert!(asked < acknowledged + ttl + ms(2), "past its TTL"),
                None => break,
            }
            hits += 1;
        }
        assert!(began.elapsed() >= ttl - ms(2), "not before its time");
        assert!(hits > 3);
    }
}

pub(crate) async fn the_next_holder_of_a_lock_sees_what_the_last_one_wrote<S: Servers>() {
    let (servers, store) = started::<S>().await;
    let other = open(servers.config()).await;
    for round in 0..100_u32 {
        store.set("k", "0").await.unwrap();
        for _ in 0..3 {
            store.get("k").await.unwrap();
        }
        let holder = other.lock("l").await.unwrap();
        let next = tokio::spawn({
            let store = store.clone();
            async move {
                let guard = store.lock("l").wait(ms(5000)).await.unwrap();
                let seen = text(&store, "k").await;
                guard.release().await.unwrap();
                seen
            }
        });
        other.set("k", round.to_string()).await.unwrap();
        holder.release().await.unwrap();
        assert_eq!(next.await.unwrap(), Some(round.to_string()));
    }
}

/// What was read once is never followed by what is older, by whatever way the store's handles read.
pub(crate) async fn reads_of_one_store_never_go_back<S: Servers>() {
    const KEYS: usize = 4;
    for connections in [1, 3] {
        let servers = S::start().await;
        let store = open(near(servers.config()).connections(connections)).await;
        let end = Arc::new(AtomicBool::new(false));
        let floors: Arc<[AtomicU64]> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        let readers = (0..6_u64).map(|reader| {
            let (store, end, floors) = (store.clone(), end.clone(), floors.clone());
            tokio::spawn(async move {
                let mut random = Seeded::new(reader + 1);
                while !end.load(SeqCst) {
                    let key = random.below(KEYS as u64) as usize;
                    let floor = floors[key].load(SeqCst);
                    let read = match random.below(10) {
                        0 => store
                            .without_near_cache()
                            .get_string(format!("k{key}"))
                            .await
                            .unwrap(),
                        1..=3 => {
                            let keys = [key, (key + 1) % KEYS].map(|key| format!("k{key}"));
                            let read = store.get_many([&keys[1], &keys[0]]).await.unwrap();
                            read[1]
                                .as_ref()
                                .map(|text| String::from_utf8_lossy(text).into_owned())
                        }
                        _ => store.get_string(format!("k{key}")).await.unwrap(),
                    };
                    let read: u64 = read.map_or(0, |text| text.parse().unwrap());
                    assert!(read >= floor, "{read} after {floor}, {connections} connections");
                    floors[key].fetch_max(read, SeqCst);
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        let mut foreign: Vec<Client> = (0..KEYS as u64)
            .map(|key| servers.server_of(&format!("k{key}")).client())
            .collect();
        let began = Instant::now();
        let mut number = 0_u64;
        while began.elapsed() < ms(2500) {
            number += 1;
            let (key, value) = (format!("k{}", number % KEYS as u64), number.to_string());
            if number.is_multiple_of(7) {
                store.set(&key, &value).await.unwrap();
            } else {
                foreign[(number % KEYS as u64) as usize]
                    .try_command(&["SET", &key, &value])
                    .unwrap();
            }
            sleep(ms(3)).await;
        }
        end.store(true, SeqCst);
        for reader in readers {
            reader.await.unwrap();
        }
        let stats = store.stats().await.unwrap();
        assert!(stats.near_hits > 100, "{} near hits", stats.near_hits);
    }
}

pub(crate) async fn a_frozen_server_stops_hits_and_an_idle_link_keeps_them<S: Servers>() {
    let (servers, store) = started::<S>().await;
    store.set("k", "v").await.unwrap();
    warm(&store, "k").await;
    // Nothing is asked meanwhile but signs of life.
    let hits = store.stats().await.unwrap().near_hits;
    for _ in 0..4 {
        sleep(AGE * 2 / 3).await;
        store.get("k").await.unwrap();
    }
    let kept = store.stats().await.unwrap().near_hits - hits;
    assert!(kept >= 1, "{kept} of 4 reads are near on an idle link");
    servers.server_of("k").stop();
    sleep(AGE + ms(50)).await;
    let late = tokio::time::timeout(ms(100), store.get("k")).await;
    servers.server_of("k").cont();
    assert!(late.is_err(), "nothing is known of a frozen server");
    assert_eq!(text(&store, "k").await.as_deref(), Some("v"));
}

pub(crate) async fn nothing_is_found_after_close<S: Servers>() {
    let (_servers, store) = started::<S>().await;
    store.set("k", "v").await.unwrap();
    warm(&store, "k").await;
    store.close().await.unwrap();
    assert!(matches!(store.get("k").await, Err(Error::Closed)));
}

/// One test for each of these promises.
macro_rules! near_cases {
    ($servers:ty: $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::harness::near::$case::<$servers>().await;
            }
        )*
    };
    ($servers:ty) => {
        $crate::harness::near::near_cases! {
            $servers:
            every_read_of_a_hot_key_is_answered_here
            a_key_that_is_read_among_misses_is_near
            changes_by_others_are_seen
            a_hot_key_of_another_type_is_refused
            an_eviction_is_seen
            own_changes_are_seen_at_once
            a_counter_and_a_touch_ask_the_server
            nothing_is_served_past_its_ttl
            the_next_holder_of_a_lock_sees_what_the_last_one_wrote
            reads_of_one_store_never_go_back
            a_frozen_server_stops_hits_and_an_idle_link_keeps_them
            nothing_is_found_after_close
        }
    };
}
pub(crate) use near_cases;
