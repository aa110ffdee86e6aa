//! The near cache over a server that sends replies and invalidations in an order of the test's choice.

use std::sync::{Arc, Mutex};

use cachestore::{NearCache, Store};
use tokio::time::{Instant, sleep};

use crate::harness::hostile::Words;
use crate::harness::opening::{config, ms, open};
use crate::harness::{Answer, Hostile};

const OF_K: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
const OF_OTHER: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$5\r\nother\r\n";
const OF_ALL: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

/// What the server sends around the reply to a fetch of `k`.
#[derive(Clone, Default)]
struct Script {
    before: String,
    after: String,
    value: String,
    /// The connection ends after the next fetch.
    cuts: bool,
    queued: usize,
    fetches: usize,
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

struct World {
    server: Hostile,
    script: Arc<Mutex<Script>>,
    store: Store,
}

impl World {
    async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script {
            value: "1".to_owned(),
            ..Script::default()
        }));
        let own = script.clone();
        let server = Hostile::start(move |words: &Words| answer(&mut own.lock().unwrap(), words));
        let near = NearCache::default().max_age(ms(60_000));
        let store = open(config(&server.url()).near_cache(near)).await;
        Self {
            server,
            script,
            store,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn fetches(&self) -> usize {
        self.script.lock().unwrap().fetches
    }

    /// Reads until the next fetch was made.
    async fn fetch(&self) {
        let before = self.fetches();
        let end = Instant::now() + ms(5000);
        while self.fetches() == before {
            let _ = self.store.get("k").await;
            assert!(Instant::now() < end, "it is not fetched");
        }
    }

    /// Whether the key is near: then the next read asks nobody. What was pushed after the last reply is read first.
    async fn is_near(&self) -> bool {
        self.store.ping().await.unwrap();
        let before = self.store.stats().await.unwrap().near_hits;
        self.store.exists("k").await.unwrap();
        self.store.get("k").await.unwrap();
        self.store.stats().await.unwrap().near_hits > before
    }
}

fn answer(script: &mut Script, words: &Words) -> Answer {
    let value = bulk(&script.value);
    match words[0].as_str() {
        "MULTI" => Answer::text("+OK\r\n"),
        "PTTL" | "MGET" if words.len() == 2 => {
            script.queued += 1;
            Answer::text("+QUEUED\r\n")
        }
        "EXEC" if script.queued == 0 => Answer::text("*0\r\n"),
        "EXEC" => {
            (script.queued, script.fetches) = (0, script.fetches + 1);
            let (before, after) = (&script.before, &script.after);
            let text = format!("{before}*2\r\n:-1\r\n*1\r\n{value}{after}");
            if std::mem::take(&mut script.cuts) {
                Answer::Close(text.into_bytes())
            } else {
                Answer::text(text)
            }
        }
        "GET" if words[1] == "slow" => Answer::Slow(b"$1000000\r\n".to_vec()),
        "GET" => Answer::text(value),
        "EXISTS" => Answer::text(":1\r\n"),
        "SET" => Answer::text("+OK\r\n"),
        "EVALSHA" => Answer::text(":0\r\n"),
        _ => Answer::text("-ERR not in this script\r\n"),
    }
}

#[tokio::test]
async fn every_order_of_reply_and_invalidation() {
    for (before, after, is_near) in [
        ("", "", true),
        (OF_K, "", false),
        ("", OF_K, false),
        (OF_ALL, "", false),
        ("", OF_ALL, false),
        (OF_OTHER, OF_OTHER, true),
        (OF_K, OF_K, false),
    ] {
        let world = World::start().await;
        world.change(|script| (script.before, script.after) = (before.to_owned(), after.to_owned()));
        world.fetch().await;
        world.change(|script| {
            (script.before, script.after) = Default::default();
            script.value = "2".to_owned();
        });
        assert_eq!(world.is_near().await, is_near, "{before:?} reply {after:?}");
        if !is_near {
            // It is fetched anew, with the value that is there now.
            let end = Instant::now() + ms(5000);
            while !world.is_near().await {
                assert!(Instant::now() < end, "it is not near again");
            }
            assert_eq!(world.store.get_string("k").await.unwrap().as_deref(), Some("2"));
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_with_the_reply_leaves_nothing() {
    let world = World::start().await;
    world.change(|script| script.cuts = true);
    world.fetch().await;
    world.change(|script| script.value = "2".to_owned());
    let end = Instant::now() + ms(5000);
    while !matches!(&world.store.get_string("k").await, Ok(Some(read)) if read == "2") {
        assert!(Instant::now() < end, "what came over the lost connection stays");
        sleep(ms(1)).await;
    }
    assert!(world.server.accepted() > 1);
    let end = Instant::now() + ms(5000);
    while !world.is_near().await {
        assert!(Instant::now() < end, "it is near over the new connection");
    }
}

/// The caller of the fetch has gone, or does not run: what arrives is taken in by the engine.
#[tokio::test]
async fn a_stalled_caller_publishes_nothing_late() {
    let world = World::start().await;
    world.store.get("k").await.unwrap();
    let store = world.store.clone();
    let mut stalled = Box::pin(async move { store.get_string("k").await });
    let polled = futures_util::future::poll_immediate(&mut stalled).await;
    assert!(polled.is_none(), "it waits");
    let end = Instant::now() + ms(5000);
    while world.fetches() == 0 {
        assert!(Instant::now() < end);
        sleep(ms(1)).await;
    }
    world.change(|script| script.value = "2".to_owned());
    world.store.set("k", "2").await.unwrap();
    assert_eq!(world.store.get_string("k").await.unwrap().as_deref(), Some("2"));
    assert_eq!(
        stalled.await.unwrap().as_deref(),
        Some("1"),
        "it was asked before"
    );
    for _ in 0..5 {
        assert_eq!(world.store.get_string("k").await.unwrap().as_deref(), Some("2"));
    }
}

/// Invalidations of two connections have no order among each other. So what was read over the first may be older than a
/// later read over the second, and the first has not been told yet.
#[tokio::test]
async fn a_read_over_another_connection_ends_what_came_over_the_first() {
    let world = World::start().await;
    world.fetch().await;
    assert!(world.is_near().await);
    let store = world.store.clone();
    let slow = tokio::spawn(async move { store.get("slow").await });
    let end = Instant::now() + ms(5000);
    while world.server.accepted() == 1 {
        assert!(Instant::now() < end, "no other connection is used");
        let call = world.store.exists("other");
        let _ = tokio::time::timeout(ms(10), call.into_future()).await;
    }
    world.change(|script| script.value = "2".to_owned());
    let past_it = world.store.without_near_cache();
    assert_eq!(past_it.get_string("k").await.unwrap().as_deref(), Some("2"));
    assert_eq!(world.store.get_string("k").await.unwrap().as_deref(), Some("2"));
    slow.abort();
}
