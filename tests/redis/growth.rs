//! What dependencies leave on the server: about as much as is alive, whatever comes and goes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cachestore::Store;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::harness::RedisServer;
use crate::harness::opening::{go, ms, plain};

/// Members of the set of `hot`.
fn members(server: &RedisServer, go: bool) -> i64 {
    let set = if go {
        "depend:hot"
    } else {
        "cachestore:depend:{hot}"
    };
    server.command(&["SCARD", set]).int()
}

/// What is kept for dependencies, with how much each has in it.
fn kept(server: &RedisServer) -> i64 {
    let keys = server.keys("cachestore:*");
    let size = |key: &String| match server.command(&["TYPE", key]).text().as_str() {
        "set" => server.command(&["SCARD", key]).int(),
        "hash" => server.command(&["HLEN", key]).int(),
        _ => 1,
    };
    keys.iter().map(size).sum()
}

/// Calls one after the other, some of them under way at once.
async fn churn<F: Future<Output = ()>>(calls: u32, call: impl Fn(u32) -> F) {
    for from in (0..calls).step_by(50) {
        join_all((from..from + 50).map(&call)).await;
    }
}

#[tokio::test]
async fn a_set_holds_about_as_many_members_as_are_alive() {
    for mode in [false, true] {
        let (server, store) = if mode { go().await } else { plain().await };
        store.set("stays", "v").depends_on("hot").await.unwrap();
        churn(20_000, async |n| {
            let set = store.set(format!("k{n}"), "v").ttl(ms(20));
            set.depends_on("hot").await.unwrap();
        })
        .await;
        churn(2_000, async |n| {
            let set = store.set(format!("l{n}"), "v").ttl(ms(60_000));
            set.depends_on("hot").await.unwrap();
        })
        .await;
        let members = members(&server, mode);
        println!("{members} members, 2,000 of them alive, of 22,000");
        assert!((2_000..8_000).contains(&members), "{members}");
        assert!(store.invalidate("hot").await.unwrap() >= 2_001);
    }
}

#[tokio::test]
async fn one_entry_after_the_other_leaves_a_few() {
    let (server, store) = plain().await;
    churn(20_000, async |n| {
        let key = format!("k{n}");
        store.set(&key, "v").depends_on("hot").await.unwrap();
        store.delete(&key).await.unwrap();
    })
    .await;
    let (members, kept) = (members(&server, false), kept(&server));
    // A look at random members finds hundreds or none.
    println!("{members} members of 20,000, none of them alive, and {kept} are kept");
    assert!(members <= 4_000, "{members} members, none of them alive");
    assert!(kept <= 4_100, "{kept} are kept");
}

#[tokio::test]
async fn names_that_come_and_go_leave_a_few() {
    for ttl in [None, Some(ms(20))] {
        let (server, store) = plain().await;
        churn(5_000, async |n| {
            let (row, part, page) = (format!("row{n}"), format!("part{n}"), format!("page{n}"));
            for (key, name) in [(&part, &row), (&page, &part)] {
                let set = store.set(key, "v").depends_on(name);
                match ttl {
                    Some(ttl) => set.ttl(ttl).await.unwrap(),
                    None => set.await.unwrap(),
                }
            }
            if ttl.is_none() {
                store.delete_many([part, page]).await.unwrap();
            }
        })
        .await;
        let kept = kept(&server);
        println!("{kept} are kept of 20,000, with {ttl:?}");
        assert!(kept <= 4_000, "{ttl:?}: {kept} are kept");
    }
}

#[tokio::test]
async fn loads_that_end_or_expire_leave_a_few() {
    let (server, store) = plain().await;
    store.set("stays", "v").depends_on("hot").await.unwrap();
    churn(3_000, async |n| {
        let load = store.get_or_load(format!("k{n}"), move || async move {
            match n % 3 {
                0 => Err("no source"),
                1 => std::future::pending().await,
                _ => Ok(n),
            }
        });
        let _ = load.ttl(ms(20)).timeout(ms(20)).depends_on("hot").await;
    })
    .await;
    sleep(ms(100)).await;
    churn(1_000, async |n| {
        let set = store.set(format!("l{n}"), "v").ttl(ms(10));
        set.depends_on("hot").await.unwrap();
    })
    .await;
    let members = members(&server, false);
    assert!(members <= 1_500, "{members} members");
}

#[tokio::test]
async fn a_chain_of_twenty_thousand_costs_each_write_the_same() {
    for ttl in [None, Some(Duration::from_secs(3600))] {
        let (server, store) = plain().await;
        let began = Instant::now();
        server.command(&["CONFIG", "SET", "slowlog-log-slower-than", "10000"]);
        server.command(&["SLOWLOG", "RESET"]);
        // One task's writes keep their order.
        churn(20_000, async |n| {
            let set = store.set(format!("k{}", n + 1), "v").depends_on(format!("k{n}"));
            match ttl {
                Some(ttl) => set.ttl(ttl + ms(n.into())).await.unwrap(),
                None => set.await.unwrap(),
            }
        })
        .await;
        println!("{:?}, with {ttl:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        let slow = server.command(&["SLOWLOG", "LEN"]).int();
        // A machine that does something else meanwhile makes some longer.
        assert!(slow < 200, "{slow} steps took 10 ms");
        // Given more time at its end, it is found from its beginning.
        store.persist("k20000").await.unwrap();
        // A step for each link, and each waits for a busy machine.
        let invalidate = store.invalidate("k0").timeout(Duration::from_secs(300));
        assert_eq!(invalidate.await.unwrap(), 20_000);
        assert_eq!(kept(&server), 0);
    }
}

/// What each entry was made from, by what is known of the entries that it names.
#[derive(Default)]
struct Origins(HashMap<String, HashSet<String>>);

impl Origins {
    /// Each name says whether there was an entry of it.
    fn write(&mut self, key: &str, names: &[(bool, String)]) {
        let mut of = HashSet::new();
        for (alive, name) in names {
            of.insert(name.clone());
            let above = self.0.get(name).filter(|_| *alive);
            of.extend(above.into_iter().flatten().cloned());
        }
        self.0.insert(key.to_owned(), of);
    }
}

/// A sequence of numbers that looks random.
fn random(state: &mut u64) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap()
}

/// One random call on some keys, of which some are in a namespace.
async fn step(store: &Store, origins: &mut Origins, state: &mut u64) {
    let keys = ["a", "b", "t:c", "t:d", "e", "f"];
    let any = |state: &mut u64| keys[random(state) % keys.len()].to_owned();
    let key = any(state);
    match random(state) % 16 {
        0..9 => {
            let names: Vec<String> = (0..1 + random(state) % 2).map(|_| any(state)).collect();
            let set = store.set(&key, "1").depends_on(&names);
            match random(state) % 4 {
                0 => set.await.unwrap(),
                1 => set.ttl(ms(60_000)).await.unwrap(),
                _ => set.ttl(ms(1 + random(state) as u64 % 20)).await.unwrap(),
            }
            // What is there afterwards was there before.
            let mut alive = Vec::new();
            for name in names {
                alive.push((*name != key && store.exists(&name).await.unwrap(), name));
            }
            origins.write(&key, &alive);
        }
        9 => drop(store.delete(&key).await.unwrap()),
        10 => drop(store.persist(&key).await.unwrap()),
        11 => drop(store.expire(&key, ms(60_000)).await.unwrap()),
        12 => {
            if store.incr(&key, 1).ttl(ms(50)).await.unwrap() == 1 {
                // It is a new one.
                origins.0.remove(&key);
            }
        }
        13 => {
            if random(state).is_multiple_of(4) {
                store.namespace("t").unwrap().clear().await.unwrap();
            }
        }
        _ => {
            store.invalidate(&key).await.unwrap();
            for other in keys {
                let made = origins.0.get(other).is_some_and(|of| of.contains(&key));
                if other == key || made {
                    assert!(!store.exists(other).await.unwrap(), "{other} was made from {key}");
                }
            }
        }
    }
    if random(state).is_multiple_of(8) {
        sleep(ms(random(state) as u64 % 12)).await;
    }
}

#[tokio::test]
async fn an_invalidation_removes_all_that_was_made_from_its_name() {
    let (server, store) = plain().await;
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| std::process::id().into());
    println!("SEED={seed}");
    let mut state = seed;
    for _ in 0..150 {
        server.flush();
        let mut origins = Origins::default();
        for n in 0..25 {
            // Others of the same names, so that writes look around.
            let others = (0..8).map(|k| (format!("other{n}:{k}"), "v"));
            store
                .set_many(others)
                .ttl(ms(5))
                .depends_on(["a", "e"])
                .await
                .unwrap();
            step(&store, &mut origins, &mut state).await;
        }
    }
}
