//! Dependencies on a server: many of them, sets that live as long as they must, and scripts that the
//! server has forgotten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::{Error, Store};
use tokio::time::{Instant, sleep};

use crate::harness::lateness::late;
use crate::harness::opening::{config, go, ms, open, plain};
use crate::harness::{Direction, Proxy, RedisServer, Reply, Toxic};

const SET: &str = "cachestore:depend:{d}";

fn lives(server: &RedisServer, key: &str) -> i64 {
    server.command(&["PTTL", key]).int()
}

/// Entries that depend on `d`, written by the harness as the engine writes them.
fn add_dependents(server: &RedisServer, set: &str, count: usize) {
    let mut client = server.client();
    let mut commands = vec![];
    for chunk in (0..count).collect::<Vec<_>>().chunks(500) {
        let mut write = vec!["MSET".to_owned()];
        let mut add = vec!["SADD".to_owned(), set.to_owned()];
        for n in chunk {
            write.extend([format!("entry:{n}"), "v".to_owned()]);
            add.push(format!("entry:{n}"));
        }
        commands.extend([write, add]);
    }
    for reply in client.pipeline(&commands).unwrap() {
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    }
}

#[tokio::test]
async fn a_hundred_thousand_dependents_go_in_chunks_that_hold_nobody_up() {
    for (mode, set) in [("plain", SET), ("go", "depend:d")] {
        let server = RedisServer::start().await;
        let mut settings = config(&server.url()).request_timeout(Duration::from_secs(60));
        if mode == "go" {
            settings = settings.go_compatible();
        }
        let store = open(settings).await;
        store.set("ours", "v").depends_on(["d"]).await.unwrap();
        add_dependents(&server, set, 100_000);
        assert_eq!(
            server.command(&["SCARD", set]).int(),
            100_001,
            "our set is this one"
        );
        server.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
        server.command(&["CONFIG", "SET", "slowlog-max-len", "100000"]);
        server.command(&["SLOWLOG", "RESET"]);
        let done = AtomicBool::new(false);
        let invalidate = async {
            let removed = store.invalidate(["d"]).await;
            done.store(true, Ordering::Relaxed);
            removed
        };
        let others = async {
            let mut waits = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert_eq!(store.get("elsewhere").await.unwrap(), None);
                waits.push(began.elapsed());
                sleep(ms(1)).await;
            }
            waits.sort_unstable();
            waits
        };
        let (removed, waits) = tokio::join!(invalidate, others);
        assert_eq!(removed.unwrap(), 100_001, "{mode}");
        assert_eq!(server.size(), 0, "{mode}: entries and their set are gone");
        let slow = server.command(&["SLOWLOG", "GET", "-1"]);
        let mut scripts: Vec<i64> = slow
            .array()
            .iter()
            .filter(|entry| {
                entry.array()[3].array()[0]
                    .text()
                    .to_uppercase()
                    .starts_with("EVAL")
            })
            .map(|entry| entry.array()[2].int())
            .collect();
        scripts.sort_unstable();
        let (middle, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        let steps = scripts.len();
        println!(
            "{mode}: {steps} scripts of {} us, at most {} us; others waited {middle:?}, at most {worst:?}",
            scripts[steps / 2],
            scripts[steps - 1]
        );
        assert!(steps >= 100, "{mode}: 100,001 dependents in {steps} steps");
        assert!(
            scripts[steps / 10] < 10_000,
            "{mode}: a script holds the server for 10 ms"
        );
        assert!(
            worst < Duration::from_secs(1) + late(),
            "{mode}: another request waited {worst:?}"
        );
    }
}

#[tokio::test]
async fn no_step_removes_more_than_a_thousand_entries() {
    let (server, store) = plain().await;
    store.set("ours", "v").depends_on(["d"]).await.unwrap();
    add_dependents(&server, SET, 5_000);
    let mut monitor = server.monitor();
    assert_eq!(store.invalidate(["d"]).await.unwrap(), 5_001);
    let mut steps = vec![0];
    for seen in monitor.take() {
        if !seen.in_script {
            steps.push(0);
        } else if matches!(seen.name().as_str(), "DEL" | "UNLINK") {
            let entries = seen
                .arguments
                .iter()
                .filter(|argument| argument.starts_with(b"entry:"));
            *steps.last_mut().unwrap() += entries.count();
        }
    }
    assert_eq!(steps.iter().sum::<usize>(), 5_000);
    assert!(steps.iter().all(|step| *step <= 1000), "{steps:?}");
}

#[tokio::test]
async fn an_invalidation_cut_off_half_way_is_finished_by_the_next() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let store = open(config(&proxy.url())).await;
    let mut halves = 0;
    for round in 0..6 {
        store.set("ours", "v").depends_on(["d"]).await.unwrap();
        add_dependents(&server, SET, 20_000);
        proxy.add(
            Direction::Up,
            Toxic::Latency {
                delay: ms(2),
                jitter: Duration::ZERO,
            },
        );
        let cut = async {
            sleep(ms(10 + 8 * round)).await;
            proxy.cut();
        };
        let (cut_off, ()) = tokio::join!(store.invalidate(["d"]), cut);
        proxy.heal();
        // What is left of the entries is in the set still, seen at one instant.
        let both = "return { #redis.call('KEYS', 'entry:*'), redis.call('SCARD', KEYS[1]) }";
        let both = server.command(&["EVAL", both, "1", SET]);
        let (left, dependent) = (both.array()[0].int(), both.array()[1].int());
        assert!(
            dependent >= left,
            "round {round}: {dependent} dependents of {left} entries"
        );
        if cut_off.is_err() && left > 0 && left < 20_000 {
            halves += 1;
        }
        while store.invalidate(["d"]).await.is_err() {
            sleep(ms(10)).await;
        }
        assert_eq!(server.size(), 0, "round {round}");
    }
    println!("{halves} of 6 were cut off half way");
}

#[tokio::test]
async fn a_set_lives_as_long_as_its_longest_lived_member() {
    for (mode, set) in [("plain", SET), ("go", "depend:d")] {
        let (server, store) = if mode == "go" { go().await } else { plain().await };
        let about = |least: i64, most: i64| {
            let left = lives(&server, set);
            assert!(
                left > least && left <= most,
                "{mode}: {left} ms, not {least} to {most}"
            );
        };
        store
            .set("a", "v")
            .ttl(ms(100_000))
            .depends_on(["d"])
            .await
            .unwrap();
        about(90_000, 110_000);
        store
            .set("b", "v")
            .ttl(ms(900_000))
            .depends_on(["d"])
            .await
            .unwrap();
        about(890_000, 910_000);
        store
            .set("c", "v")
            .ttl(ms(5_000))
            .depends_on(["d"])
            .await
            .unwrap();
        about(890_000, 910_000);
        store.set("p", "v").depends_on(["d"]).await.unwrap();
        assert_eq!(lives(&server, set), -1, "{mode}: for ever, as a member does");
        store
            .set("e", "v")
            .ttl(ms(5_000))
            .depends_on(["d"])
            .await
            .unwrap();
        assert_eq!(lives(&server, set), -1, "{mode}: and it stays so");
    }
}

async fn outlives(store: &Store, what: &str) {
    sleep(ms(400)).await;
    assert!(store.exists("k").await.unwrap(), "{what}: the entry lives");
    assert_eq!(
        store.invalidate(["d"]).await.unwrap(),
        1,
        "{what}: and its dependency with it"
    );
    assert!(!store.exists("k").await.unwrap(), "{what}");
}

#[tokio::test]
async fn an_entry_that_is_given_more_time_stays_a_dependent() {
    let (_server, store) = plain().await;
    store.set("k", "v").ttl(ms(200)).depends_on(["d"]).await.unwrap();
    assert!(store.expire("k", ms(60_000)).await.unwrap());
    outlives(&store, "expire").await;

    store.set("k", "v").ttl(ms(200)).depends_on(["d"]).await.unwrap();
    assert!(store.persist("k").await.unwrap());
    outlives(&store, "persist").await;

    store
        .set("k", "1")
        .ttl(ms(60_000))
        .depends_on(["d"])
        .await
        .unwrap();
    store.incr("k", 1).await.unwrap();
    outlives(&store, "incr").await;
}

#[tokio::test]
async fn every_write_ties_and_one_that_is_not_made_does_not() {
    let (server, store) = plain().await;
    let dependent = || server.command(&["SMEMBERS", SET]).sorted();
    store.set("a", "v").depends_on(["d"]).await.unwrap();
    assert!(store.add("b", "v").depends_on(["d"]).await.unwrap());
    assert!(store.replace("b", "w").depends_on(["d"]).await.unwrap());
    store.set("e", "1").await.unwrap();
    store
        .set_many([("f", "v"), ("g", "v")])
        .depends_on(["d"])
        .await
        .unwrap();
    store.set_models([("h", &1)]).depends_on(["d"]).await.unwrap();
    assert_eq!(dependent(), ["a", "b", "f", "g", "h"]);
    assert!(!store.add("e", "2").depends_on(["d"]).await.unwrap());
    assert!(!store.replace("absent", "v").depends_on(["d"]).await.unwrap());
    assert_eq!(dependent(), ["a", "b", "f", "g", "h"]);
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    for restart in [false, true] {
        let mut server = RedisServer::start().await;
        let store = open(config(&server.url())).await;
        for round in 0..3 {
            let value = round.to_string();
            let next = (round + 1).to_string();
            store.set("k", &value).depends_on(["d"]).await.unwrap();
            assert!(
                store.compare_and_set("k", &value, &next).await.unwrap(),
                "round {round}"
            );
            assert_eq!(store.take("k").await.unwrap().unwrap(), next);
            store.set("k", "1").depends_on(["d"]).await.unwrap();
            assert_eq!(store.incr("k", 1).await.unwrap(), 2);
            assert_eq!(store.incr("k", 1).ttl(ms(60_000)).await.unwrap(), 3);
            assert!(store.expire("k", ms(60_000)).await.unwrap());
            assert_eq!(store.invalidate(["d"]).await.unwrap(), 1, "round {round}");
            if restart {
                server.restart().await;
                while store.ping().await.is_err() {}
            } else {
                server.command(&["SCRIPT", "FLUSH"]);
            }
        }
    }
}

#[tokio::test]
async fn forgotten_in_the_middle_of_a_crowd() {
    let (server, store) = plain().await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            for round in 0..20 {
                let (key, value) = (format!("k{n}"), format!("{n}:{round}"));
                store
                    .set(&key, &value)
                    .depends_on([&format!("d{n}")])
                    .await
                    .unwrap();
                assert!(store.compare_and_set(&key, &value, "x").await.unwrap());
                // A compare-and-set without names ends the dependency, but the key may still be in the set.
                store
                    .set(&key, &value)
                    .depends_on([&format!("d{n}")])
                    .await
                    .unwrap();
                assert_eq!(store.invalidate([&format!("d{n}")]).await.unwrap(), 1);
                assert_eq!(store.get(&key).await.unwrap(), None);
            }
        });
    }
    let flush = tokio::spawn(async move {
        loop {
            server.command(&["SCRIPT", "FLUSH"]);
            sleep(ms(5)).await;
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    flush.abort();
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_and_the_same_one_alone_and_in_a_crowd() {
    let (server, store) = plain().await;
    server.command(&["RPUSH", "list", "a"]);
    let kind = |answer: Result<Option<cachestore::Bytes>, Error>| match answer {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}", std::mem::discriminant(&error)),
    };
    let alone = kind(store.get("list").await);
    assert_ne!(alone, "None", "it is not absent");
    let keys: Vec<String> = (0..32).map(|n| format!("k{n}")).collect();
    let crowd = keys.iter().map(|key| store.get(key));
    let (list, rest) =
        futures_util::future::join(store.get("list"), futures_util::future::join_all(crowd)).await;
    assert_eq!(kind(list), alone);
    assert!(
        rest.iter().all(|answer| matches!(answer, Ok(None))),
        "the others have their own answers"
    );
    let many = store.get_many(["k1", "list"]).await;
    assert!(matches!(many, Err(Error::WrongType)), "as get says: {many:?}");
    assert!(store.incr("list", 1).await.is_err());
    assert!(store.take("list").await.is_err());
    assert!(store.compare_and_set("list", "a", "b").await.is_err());
    assert!(store.exists("list").await.unwrap());
    assert!(!store.add("list", "v").await.unwrap());
    assert_eq!(
        server.command(&["LRANGE", "list", "0", "-1"]).sorted(),
        ["a"],
        "nothing touched it"
    );
    store.set("list", "v").await.unwrap();
    assert_eq!(
        store.get_string("list").await.unwrap().as_deref(),
        Some("v"),
        "a write takes its place"
    );
}

#[tokio::test]
async fn a_set_of_another_type_refuses_the_whole_write() {
    let (server, store) = plain().await;
    store.set("k", "before").await.unwrap();
    server.command(&["SET", SET, "not a set"]);
    assert!(store.set("k", "after").depends_on(["a", "d"]).await.is_err());
    assert_eq!(
        store.get_string("k").await.unwrap().as_deref(),
        Some("before"),
        "whole or not at all"
    );
    assert!(store.add("new", "v").depends_on(["d"]).await.is_err());
    assert!(!store.exists("new").await.unwrap());
    assert!(
        store.invalidate(["d"]).await.is_err(),
        "it does not say that all is well"
    );
    assert_eq!(
        store.ping().await.map(|_| ()).ok(),
        Some(()),
        "and the store goes on"
    );
}

/// The set of another name.
const OTHER: &str = "cachestore:depend:{e}";

/// Two neighbouring writes, each of which depends on a name of its own.
async fn set_both(store: &Store, value: &str, ttl: Duration) -> (Result<(), Error>, Result<(), Error>) {
    let first = store.set("a", value).ttl(ttl).depends_on(["d"]);
    let second = store.set("b", value).ttl(ttl).depends_on(["e"]);
    tokio::join!(first.into_future(), second.into_future())
}

/// A store with an entry under each of two names, whose sets have no end.
async fn with_both() -> (RedisServer, Store) {
    let (server, store) = plain().await;
    store.set("a", "v").depends_on(["d"]).await.unwrap();
    store.set("b", "v").depends_on(["e"]).await.unwrap();
    (server, store)
}

/// Neighbouring writes take it from `cachestore:lasting` that a set has no end.
#[tokio::test]
async fn sets_of_names_that_are_noted_have_no_end_also_if_somebody_removed_them() {
    let (server, store) = with_both().await;
    for removed in [&[SET, OTHER][..], &[SET]] {
        for alone in [false, true] {
            removed.iter().for_each(|set| {
                server.command(&["DEL", set]);
            });
            if alone {
                store.set("a", "v").ttl(ms(1000)).depends_on(["d"]).await.unwrap();
            } else {
                assert!(matches!(set_both(&store, "v", ms(1000)).await, (Ok(()), Ok(()))));
            }
            assert!(matches!(
                set_both(&store, "w", ms(100_000)).await,
                (Ok(()), Ok(()))
            ));
            assert_eq!(
                [SET, OTHER].map(|set| lives(&server, set)),
                [-1, -1],
                "{removed:?}"
            );
        }
    }
    assert_eq!(store.invalidate(["d", "e"]).await.unwrap(), 2);
}

/// The name has its first dependents again, which need the set that the name itself is in.
#[tokio::test]
async fn a_name_whose_set_somebody_removed_enters_a_chain_again() {
    let (server, store) = with_both().await;
    server.command(&["DEL", SET]);
    store
        .set("d", "v")
        .ttl(ms(1000))
        .depends_on(["above"])
        .await
        .unwrap();
    assert!(lives(&server, "cachestore:depend:{above}") > 0);
    assert!(matches!(
        set_both(&store, "w", ms(100_000)).await,
        (Ok(()), Ok(()))
    ));
    assert_eq!(lives(&server, "cachestore:depend:{above}"), -1);
    assert_eq!(store.invalidate(["above"]).await.unwrap(), 2);
}

#[tokio::test]
async fn of_neighbouring_writes_a_set_of_another_type_refuses_its_own() {
    let (server, store) = with_both().await;
    server.command(&["SET", SET, "not a set"]);
    let (first, second) = set_both(&store, "w", ms(100_000)).await;
    assert!(matches!(first, Err(Error::WrongType)), "{first:?}");
    second.unwrap();
    assert_eq!(store.get_string("a").await.unwrap().as_deref(), Some("v"));
    assert_eq!(store.get_string("b").await.unwrap().as_deref(), Some("w"));
}

/// Writes that travel together are refused together, before any of them is made. Then each is made by itself.
#[tokio::test]
async fn a_write_beside_one_that_is_refused_is_made_once() {
    let rights = "user app on >secret ~* &* +@all";
    let server = RedisServer::options().user(rights).start().await;
    let url = server.url().replace("redis://", "redis://app:secret@");
    let store = open(config(&url)).await;
    store.set("warm", "v").depends_on("x").await.unwrap();
    server.command(&["ACL", "SETUSER", "app", "-pexpire", "-pexpireat"]);
    let mut monitor = server.monitor();
    let (first, second) = tokio::join!(
        store.set("a", "v").depends_on("d"),
        store.set("b", "v").depends_on("e").ttl(Duration::from_secs(60)),
    );
    first.unwrap();
    // The set that it may not give an end has none.
    second.unwrap();
    let seen = monitor.commands();
    let writes = |key: &str| {
        let sets = seen.iter().filter(|seen| seen.in_script && seen.name() == "SET");
        sets.filter(|seen| seen.arguments[1] == key.as_bytes()).count()
    };
    assert_eq!((writes("a"), writes("b")), (1, 1));
}

/// Before Redis 7, what a script catches and returns tells its place before its code.
#[tokio::test]
async fn a_full_server_says_so_to_writes_with_dependencies() {
    let (server, store) = plain().await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let names = ["a", "b"];
    let refused = [
        store.set("k", "v").depends_on("name").await.map(drop),
        store.set("k", "v").depends_on(names).await.map(drop),
        store
            .set_many([("k", "v"), ("l", "v")])
            .depends_on("name")
            .await
            .map(drop),
        store.incr("n", 1).ttl(ms(60_000)).await.map(drop),
    ];
    for refusal in refused {
        let Err(Error::Unavailable(cause)) = refusal else {
            panic!("{refusal:?}");
        };
        assert!(cause.to_string().contains("OOM"), "{cause}");
    }
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    store.set("k", "v").depends_on("name").await.unwrap();
}
