//! Commands that only newer servers have: `SET … IFEQ` and `MSETEX`. Each test tells what a server without them is sent too.

use std::time::Duration;

use cachestore::{Error, Origin, Store};

use crate::harness::opening::{HeldLoad, config, open};
use crate::harness::place::over_each_topology;
use crate::harness::{Monitor, Place, RedisServer, Reply};

over_each_topology! {
    a_server_that_compares_needs_no_script
    a_comparison_is_the_same_on_each_server
    what_was_compared_and_set_ends_the_loads_of_its_key
    one_command_sets_many_with_a_ttl
}

const HOUR: Duration = Duration::from_secs(3600);

async fn start() -> (Place, Store) {
    let place = Place::start().await;
    let store = open(place.config()).await;
    (place, store)
}

fn compares(place: &Place) -> bool {
    let asked = place
        .server()
        .try_command(&["SET", &place.name("absent"), "", "IFEQ", ""]);
    asked.unwrap() == Reply::Bulk(None)
}

/// Whether the server has `MSETEX`, and is of those that do it for less than a `SET` for each key.
fn sets_many(place: &Place) -> bool {
    let about = place.server().command(&["INFO", "server"]).text();
    let asked = place
        .server()
        .try_command(&["MSETEX", "1", &place.name("absent"), "", "XX"]);
    asked.unwrap() == Reply::Int(0) && about.contains("valkey_version:")
}

/// The names of the commands that clients sent for a key of this test.
fn sent_for(key: &str, place: &Place, monitor: &mut Monitor) -> Vec<String> {
    let key = place.name(key).into_bytes();
    let seen = monitor.commands().into_iter();
    let mut names: Vec<String> = seen
        .filter(|seen| !seen.in_script && seen.arguments.contains(&key))
        .map(|seen| seen.name())
        .collect();
    names.retain(|name| name != "HDEL" && name != "RPUSHX");
    names
}

async fn a_server_that_compares_needs_no_script() {
    let (place, store) = start().await;
    store.set("k", "1").await.unwrap();
    let mut monitor = place.server().monitor();
    assert!(store.compare_and_set("k", "1", "2").await.unwrap());
    let plain = if compares(&place) { "SET" } else { "EVALSHA" };
    assert_eq!(sent_for("k", &place, &mut monitor), [plain]);
    // Dependencies are always written by scripts.
    let dependent = store.compare_and_set("k", "2", "3").depends_on("name");
    assert!(dependent.await.unwrap());
    assert_eq!(sent_for("k", &place, &mut monitor), ["EVALSHA"]);
    assert_eq!(store.invalidate("name").await.unwrap(), 1);
}

async fn a_comparison_is_the_same_on_each_server() {
    let (place, store) = start().await;
    let set = |expected: &'static str, value: &'static str| store.compare_and_set("k", expected, value);
    let expires = async || store.ttl("k").await.unwrap().unwrap().remaining().is_some();
    assert!(
        !set("", "1").await.unwrap(),
        "an absent entry is not an empty one"
    );
    store.set("k", "1").ttl(HOUR).await.unwrap();
    assert!(!set("2", "3").await.unwrap());
    assert!(expires().await);
    assert!(set("1", "2").await.unwrap());
    assert!(!expires().await);
    assert!(set("2", "3").ttl(HOUR).await.unwrap());
    assert!(expires().await);
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("3"));
    place.server().command(&["SADD", &place.name("set"), "member"]);
    let other = store.compare_and_set("set", "member", "v").await;
    assert!(matches!(other, Err(Error::WrongType)), "{other:?}");
}

/// The load may have read what there was before.
async fn what_was_compared_and_set_ends_the_loads_of_its_key() {
    let (_place, store) = start().await;
    store.set("source", "1").await.unwrap();
    let load = HeldLoad::begin(&store).await;
    assert!(store.compare_and_set("source", "1", "2").await.unwrap());
    assert_eq!(load.end().await, Origin::Superseded);
    assert_eq!(store.get("k").await.unwrap(), None, "it is not stored");
}

async fn one_command_sets_many_with_a_ttl() {
    let (place, store) = start().await;
    let entries = || (0..100).map(|n| (format!("k{n}"), "v"));
    store.set_many(entries()).await.unwrap();
    let mut monitor = place.server().monitor();
    store.set_many(entries()).ttl(HOUR).await.unwrap();
    let plain = if sets_many(&place) { "MSETEX" } else { "SET" };
    assert_eq!(sent_for("k99", &place, &mut monitor), [plain]);
    let found = store.get_many(entries().map(|(key, _)| key)).await.unwrap();
    assert!(found.iter().all(|value| value.is_some()));
    for (key, _) in entries() {
        let left = place.server().command(&["PTTL", &place.name(&key)]).int();
        assert!((3_590_000..=3_600_000).contains(&left), "{key}: {left}");
    }
    // By its own count, the last one is as the first.
    assert_eq!(store.stats().await.unwrap().sets, 200);
}

/// A user that may not is not told: what serves each server serves it too.
#[tokio::test]
async fn a_user_without_the_right_sets_one_by_one() {
    let rights = "user app on >p ~* resetchannels &cachestore:* +ping +get +mget +set +mset +hdel +rpushx +pttl +info +evalsha +eval";
    let server = RedisServer::options().user(rights).start().await;
    let store = open(config(&server.url().replace("redis://", "redis://app:p@"))).await;
    let mut monitor = server.monitor();
    store.set_many([("a", "1"), ("b", "2")]).ttl(HOUR).await.unwrap();
    let sets = monitor
        .sent()
        .iter()
        .filter(|line| line.starts_with("SET "))
        .count();
    assert_eq!(sets, 2);
    assert!(server.command(&["PTTL", "b"]).int() > 0);
}
