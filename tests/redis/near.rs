//! The near cache over Redis: what it answers, and what it must not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cachestore::{Config, Error, NearCache, RedisConfig, Store, redis};
use tokio::time::{Instant, sleep};

use crate::harness::opening::{config, ms, open};
use crate::harness::{Client, Proxy, RedisServer, Seeded};

const AGE: Duration = ms(300);
/// What a call may take past its time on a busy machine.
const LATE: Duration = ms(1000);

pub(crate) fn near(url: &str) -> RedisConfig {
    let near = NearCache::default().capacity_bytes(1 << 20).max_age(AGE);
    config(url).near_cache(near)
}

pub(crate) async fn started() -> (RedisServer, Store) {
    let server = RedisServer::start().await;
    let store = open(near(&server.url())).await;
    (server, store)
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
async fn becomes(store: &Store, key: &str, value: Option<&str>, patience: Duration) {
    let end = Instant::now() + patience;
    while text(store, key).await.as_deref() != value {
        assert!(Instant::now() < end, "{key} is not {value:?}");
        sleep(ms(1)).await;
    }
}

#[tokio::test]
async fn every_read_of_a_hot_key_is_answered_here() {
    let (server, store) = started().await;
    store.set("k", "v").await.unwrap();
    store.set_model("m", &7_u32).await.unwrap();
    for key in ["k", "m"] {
        warm(&store, key).await;
    }
    let load = || async { Ok::<u32, String>(9) };
    assert_eq!(store.get_or_load("l", load).ttl(ms(60_000)).await.unwrap(), 9);
    warm(&store, "l").await;
    let before = store.stats().await.unwrap();
    let mut monitor = server.monitor();
    assert_eq!(text(&store, "k").await.as_deref(), Some("v"));
    assert_eq!(store.get_model::<u32>("m").await.unwrap(), Some(7));
    assert_eq!(store.get_many(["k", "m"]).await.unwrap().len(), 2);
    assert_eq!(store.get_models::<u32>(["m"]).await.unwrap(), [Some(7)]);
    assert!(store.exists("k").await.unwrap());
    assert_eq!(store.get_or_load("l", load).ttl(ms(60_000)).await.unwrap(), 9);
    let asked: Vec<String> = monitor
        .sent()
        .into_iter()
        .filter(|line| !line.contains("PING"))
        .collect();
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
#[tokio::test]
async fn a_key_that_is_read_among_misses_is_near() {
    let (server, store) = started().await;
    let other = open(config(&server.url())).await;
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

#[tokio::test]
async fn changes_by_others_are_seen() {
    let (server, store) = started().await;
    let changes: [(&[&str], Option<&str>); 6] = [
        (&["SET", "k", "w"], Some("w")),
        (&["APPEND", "k", "x"], Some("vx")),
        (&["DEL", "k"], None),
        (&["RENAME", "k", "other"], None),
        (&["PEXPIRE", "k", "20"], None),
        (&["FLUSHALL"], None),
    ];
    for (command, value) in changes {
        store.set("k", "v").await.unwrap();
        warm(&store, "k").await;
        server.command(command);
        becomes(&store, "k", value, AGE + LATE).await;
    }
    assert!(store.stats().await.unwrap().near_flushes >= 1);
}

#[tokio::test]
async fn an_eviction_is_seen() {
    let (server, store) = started().await;
    store.set("k", "v").await.unwrap();
    warm(&store, "k").await;
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    // A write makes the server evict; it is refused where nothing is left to evict.
    server.client().try_command(&["SET", "other", "x"]).unwrap();
    becomes(&store, "k", None, AGE + LATE).await;
}

#[tokio::test]
async fn own_changes_are_seen_at_once() {
    for connections in [1, 3] {
        let server = RedisServer::start().await;
        let store = open(near(&server.url()).connections(connections)).await;
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
                    let flush = redis::cmd("FLUSHALL");
                    store.redis_command::<()>(flush).await.unwrap();
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

#[tokio::test]
async fn a_counter_and_a_touch_ask_the_server() {
    let (_server, store) = started().await;
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

#[tokio::test]
async fn nothing_is_served_past_its_ttl() {
    let (_server, store) = started().await;
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

#[tokio::test]
async fn the_next_holder_of_a_lock_sees_what_the_last_one_wrote() {
    let (server, store) = started().await;
    let other = open(config(&server.url())).await;
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
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_of_one_store_never_go_back() {
    const KEYS: usize = 4;
    for connections in [1, 3] {
        let server = RedisServer::start().await;
        let store = open(near(&server.url()).connections(connections)).await;
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
        let mut foreign: Client = server.client();
        let began = Instant::now();
        let mut number = 0_u64;
        while began.elapsed() < ms(2500) {
            number += 1;
            let (key, value) = (format!("k{}", number % KEYS as u64), number.to_string());
            if number.is_multiple_of(7) {
                store.set(&key, &value).await.unwrap();
            } else {
                foreign.try_command(&["SET", &key, &value]).unwrap();
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

#[tokio::test]
async fn behind_a_hung_link_nothing_is_older_than_the_greatest_age() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(
        near(&proxy.url())
            .request_timeout(ms(100))
            .response_timeout(ms(2000)),
    )
    .await;
    store.set("k", "old").await.unwrap();
    warm(&store, "k").await;
    proxy.blackhole();
    server.command(&["SET", "k", "new"]);
    let changed = Instant::now();
    let mut hits = 0;
    while changed.elapsed() < AGE * 3 {
        let asked = Instant::now();
        match store.get_string("k").await {
            Ok(read) if read.as_deref() == Some("old") => {
                assert!(asked < changed + AGE, "{:?} after the change", asked - changed);
                hits += 1;
            }
            // A connection that was opened since sees the change.
            Ok(read) => assert_eq!(read.as_deref(), Some("new")),
            Err(Error::Timeout { .. } | Error::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(hits > 0, "it was near until then");
    proxy.heal();
    becomes_once_it_answers(&store).await;
}

async fn becomes_once_it_answers(store: &Store) {
    let end = Instant::now() + ms(10_000);
    loop {
        match store.get_string("k").await {
            Ok(read) => return assert_eq!(read.as_deref(), Some("new")),
            Err(_) => assert!(Instant::now() < end),
        }
        sleep(ms(10)).await;
    }
}

#[tokio::test]
async fn a_frozen_server_stops_hits_and_an_idle_link_keeps_them() {
    let (server, store) = started().await;
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
    server.stop();
    sleep(AGE + ms(50)).await;
    let late = tokio::time::timeout(ms(100), store.get("k")).await;
    server.cont();
    assert!(late.is_err(), "nothing is known of a frozen server");
    assert_eq!(text(&store, "k").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn a_lost_connection_drops_what_came_over_it() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(near(&proxy.url())).await;
    store.set("k", "old").await.unwrap();
    warm(&store, "k").await;
    proxy.cut();
    server.command(&["SET", "k", "new"]);
    becomes_within(&store, AGE + LATE).await;
    assert!(store.stats().await.unwrap().near_flushes >= 1);
    warm(&store, "k").await;
}

async fn becomes_within(store: &Store, patience: Duration) {
    let end = Instant::now() + patience;
    loop {
        if store
            .get_string("k")
            .await
            .is_ok_and(|read| read.as_deref() == Some("new"))
        {
            return;
        }
        assert!(Instant::now() < end, "the old value is served");
        sleep(ms(1)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_tracked_is_not_near() {
    let server = RedisServer::options()
        .user("user app on >pass ~* &* +@all -client")
        .start()
        .await;
    let as_user = format!("redis://app:pass@{}", server.address());
    let plain = RedisServer::start().await;
    let resp2 = format!("{}?protocol=resp2", plain.url());
    for url in [as_user, resp2] {
        let store = open(near(&url)).await;
        store.set("k", "v").await.unwrap();
        for _ in 0..5 {
            assert_eq!(text(&store, "k").await.as_deref(), Some("v"));
        }
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.near_hits, stats.near_entries, stats.hits), (0, 0, 5));
    }
}

#[tokio::test]
async fn it_is_opt_in_and_for_urls() {
    let server = RedisServer::start().await;
    let off = open(config(&server.url())).await;
    off.set("k", "v").await.unwrap();
    for _ in 0..5 {
        off.get("k").await.unwrap();
    }
    assert_eq!(off.stats().await.unwrap().near_hits, 0);
    let by_url = Store::open(Config::from_url(&format!("{}?near=1MiB", server.url())).unwrap())
        .await
        .unwrap();
    warm(&by_url, "k").await;
    let by_url = Store::open(Config::from_url(&format!("{}?near=off", server.url())).unwrap())
        .await
        .unwrap();
    for _ in 0..5 {
        by_url.get("k").await.unwrap();
    }
    assert_eq!(by_url.stats().await.unwrap().near_hits, 0);
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    for config in [
        RedisConfig::from_client(client),
        RedisConfig::from_connection(connection),
    ] {
        let opened = Store::open(config.clone().near_cache(NearCache::default())).await;
        let Err(Error::InvalidConfig { reason }) = opened else {
            panic!("{opened:?}")
        };
        assert!(reason.contains("near_cache"), "{reason}");
        Store::open(config.near_cache(NearCache::off())).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_found_after_close() {
    let (_server, store) = started().await;
    store.set("k", "v").await.unwrap();
    warm(&store, "k").await;
    store.close().await.unwrap();
    assert!(matches!(store.get("k").await, Err(Error::Closed)));
}
