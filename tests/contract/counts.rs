//! What each call adds to the counters: the table in the documentation of `Stats`, row by row.

use std::collections::HashMap;

use cachestore::{Error, Stats, Store};

use crate::support::{ms, secs};

/// The counters before the next row.
struct Book {
    store: Store,
    last: Stats,
}

impl Book {
    async fn open(store: &Store) -> Self {
        Self {
            store: store.clone(),
            last: store.stats().await.unwrap(),
        }
    }

    /// Makes a call, and checks that it adds this to the counters and nothing else.
    async fn row<T>(&mut self, name: &str, call: impl IntoFuture<Output = T>, added: &[(&str, u64)]) -> T {
        let answer = call.await;
        let now = self.store.stats().await.unwrap();
        let last = std::mem::replace(&mut self.last, now);
        let found: Vec<(&str, u64)> = counters(&now)
            .into_iter()
            .zip(counters(&last))
            .filter(|((_, now), (_, last))| now != last)
            .map(|((name, now), (_, last))| (name, now.wrapping_sub(last)))
            .collect();
        assert_eq!(found, added, "{name}");
        answer
    }
}

fn counters(stats: &Stats) -> [(&'static str, u64); 13] {
    [
        ("hits", stats.hits),
        ("misses", stats.misses),
        ("sets", stats.sets),
        ("deletes", stats.deletes),
        ("invalidated", stats.invalidated),
        ("evicted", stats.evicted.unwrap_or(0)),
        ("refused", stats.refused),
        ("resets", stats.resets),
        ("loads", stats.loads),
        ("load_joins", stats.load_joins),
        ("load_failures", stats.load_failures),
        ("stale_answers", stats.stale_answers),
        ("dead_leases", stats.dead_leases),
    ]
}

async fn gives(value: u32) -> Result<u32, String> {
    Ok(value)
}

async fn fails() -> Result<u32, String> {
    Err("no".to_owned())
}

pub(crate) async fn of_reads(store: Store) {
    store.set("k", "v").await.unwrap();
    store.set("bytes", b"\xff\xff").await.unwrap();
    store.set_model("m", &7).await.unwrap();
    let mut book = Book::open(&store).await;
    book.row("get, present", store.get("k"), &[("hits", 1)])
        .await
        .unwrap();
    book.row("get, absent", store.get("none"), &[("misses", 1)])
        .await
        .unwrap();
    book.row("get_string", store.get_string("k"), &[("hits", 1)])
        .await
        .unwrap();
    book.row("get_string, absent", store.get_string("none"), &[("misses", 1)])
        .await
        .unwrap();
    book.row("get_string, no text", store.get_string("bytes"), &[("hits", 1)])
        .await
        .unwrap_err();
    book.row("get_model", store.get_model::<u32>("m"), &[("hits", 1)])
        .await
        .unwrap();
    book.row(
        "get_model, absent",
        store.get_model::<u32>("none"),
        &[("misses", 1)],
    )
    .await
    .unwrap();
    book.row(
        "get_model, no such model",
        store.get_model::<u32>("bytes"),
        &[("hits", 1)],
    )
    .await
    .unwrap_err();
    book.row(
        "get_many",
        store.get_many(["k", "none", "k", "m"]),
        &[("hits", 3), ("misses", 1)],
    )
    .await
    .unwrap();
    book.row("get_many, no keys", store.get_many([""; 0]), &[])
        .await
        .unwrap();
    book.row(
        "get_models",
        store.get_models::<u32>(["m", "none", "m"]),
        &[("hits", 2), ("misses", 1)],
    )
    .await
    .unwrap();
    book.row("counter, no integer", store.counter("k"), &[("hits", 1)])
        .await
        .unwrap_err();
    book.row("counter, absent", store.counter("none"), &[("misses", 1)])
        .await
        .unwrap();
    book.row("exists", store.exists("k"), &[]).await.unwrap();
    book.row("exists, absent", store.exists("none"), &[])
        .await
        .unwrap();
    book.row("ttl", store.ttl("k"), &[]).await.unwrap();
    book.row("ttl, absent", store.ttl("none"), &[]).await.unwrap();
    book.row("scan", crate::support::keys(&store, ""), &[]).await;
    book.row("take", store.take("k"), &[("hits", 1), ("deletes", 1)])
        .await
        .unwrap();
    book.row("take, absent", store.take("k"), &[("misses", 1)])
        .await
        .unwrap();
    book.row("a refused key", store.get(" "), &[("refused", 1)])
        .await
        .unwrap_err();
    book.row("ping", store.ping(), &[]).await.unwrap();
}

pub(crate) async fn of_changes(store: Store) {
    let mut book = Book::open(&store).await;
    let written = [("sets", 1)];
    book.row("set", store.set("k", "v"), &written).await.unwrap();
    book.row("set, over a value", store.set("k", "v"), &written)
        .await
        .unwrap();
    book.row("set_model", store.set_model("m", &7), &written)
        .await
        .unwrap();
    book.row("add, present", store.add("k", "w"), &[]).await.unwrap();
    book.row("add, absent", store.add("a", "v"), &written)
        .await
        .unwrap();
    book.row("replace", store.replace("a", "w"), &written)
        .await
        .unwrap();
    book.row("replace, absent", store.replace("none", "w"), &[])
        .await
        .unwrap();
    book.row("compare_and_set", store.compare_and_set("a", "w", "x"), &written)
        .await
        .unwrap();
    book.row(
        "compare_and_set, another value",
        store.compare_and_set("a", "w", "x"),
        &[],
    )
    .await
    .unwrap();
    let many = [("x", "1"), ("y", "2"), ("z", "3")];
    book.row("set_many", store.set_many(many), &[("sets", 3)])
        .await
        .unwrap();
    let dependent = store.set_many(many).depends_on(["name"]).ttl(secs(60));
    book.row("set_many, with options", dependent, &[("sets", 3)])
        .await
        .unwrap();
    book.row(
        "set_models",
        store.set_models([("x", &1), ("y", &2)]),
        &[("sets", 2)],
    )
    .await
    .unwrap();
    book.row("incr, absent", store.incr("n", 5), &written)
        .await
        .unwrap();
    book.row("incr, present", store.incr("n", 5), &written)
        .await
        .unwrap();
    let timed = store.incr("t", 5).ttl(secs(60));
    book.row("incr, with a TTL", timed, &written).await.unwrap();
    book.row("counter", store.counter("t"), &[("hits", 1)])
        .await
        .unwrap();
    let not_a_number = book.row("incr, no integer", store.incr("k", 5), &[]).await;
    assert!(matches!(not_a_number, Err(Error::NotAnInteger)));
    let read_and_written = [("hits", 1), ("sets", 1)];
    book.row("swap", store.swap("k", "w"), &read_and_written)
        .await
        .unwrap();
    let dependent = store.swap("k", "v").depends_on("name").ttl(secs(60));
    book.row("swap, with options", dependent, &read_and_written)
        .await
        .unwrap();
    book.row(
        "swap, absent",
        store.swap("s", "v"),
        &[("misses", 1), ("sets", 1)],
    )
    .await
    .unwrap();
    book.row("take", store.take("s"), &[("hits", 1), ("deletes", 1)])
        .await
        .unwrap();
    book.row(
        "get_and_touch",
        store.get_and_touch("k", secs(60)),
        &[("hits", 1)],
    )
    .await
    .unwrap();
    let absent = store.get_and_touch("none", secs(60));
    book.row("get_and_touch, absent", absent, &[("misses", 1)])
        .await
        .unwrap();
    book.row("expire", store.expire("k", secs(60)), &[])
        .await
        .unwrap();
    book.row("expire, absent", store.expire("none", secs(60)), &[])
        .await
        .unwrap();
    book.row("persist", store.persist("k"), &[]).await.unwrap();
    book.row("delete", store.delete("k"), &[("deletes", 1)])
        .await
        .unwrap();
    book.row("delete, absent", store.delete("k"), &[]).await.unwrap();
    book.row(
        "delete_many, a key twice",
        store.delete_many(["x", "x", "y", "none"]),
        &[("deletes", 2)],
    )
    .await
    .unwrap();
    store
        .set_many([("one", "1"), ("two", "2")])
        .depends_on(["of"])
        .await
        .unwrap();
    store.set("of", "v").await.unwrap();
    let mut book = Book::open(&store).await;
    book.row("invalidate", store.invalidate(["of"]), &[("invalidated", 3)])
        .await
        .unwrap();
    book.row("invalidate, nothing", store.invalidate(["of"]), &[])
        .await
        .unwrap();
    // What is left: m, a, z, n, t.
    book.row("clear", store.clear(), &[("deletes", 5)]).await.unwrap();
    book.row("clear, nothing", store.clear(), &[]).await.unwrap();
    book.row(
        "a refused TTL",
        store.set("k", "v").ttl(secs(0)),
        &[("refused", 1)],
    )
    .await
    .unwrap_err();
}

pub(crate) async fn of_loads(store: Store) {
    let mut book = Book::open(&store).await;
    let loaded = [("misses", 1), ("sets", 1), ("loads", 1)];
    let load = || store.get_or_load("k", || gives(1));
    book.row("get_or_load, absent", load(), &loaded).await.unwrap();
    book.row("get_or_load, fresh", load(), &[("hits", 1)])
        .await
        .unwrap();
    book.row("the same with its age", load().outcome(), &[("hits", 1)])
        .await
        .unwrap();
    let windows = || load().ttl(secs(600)).stale_if_error(secs(60));
    book.row("with a window", windows(), &[("hits", 1)])
        .await
        .unwrap();
    book.row("get_model of it", store.get_model::<u32>("k"), &[("hits", 1)])
        .await
        .unwrap();

    let failed = [("misses", 1), ("loads", 1), ("load_failures", 1)];
    book.row(
        "get_or_load, the loader fails",
        store.get_or_load("f", fails),
        &failed,
    )
    .await
    .unwrap_err();
    store.set("garbage", b"\xff\xff\xff").await.unwrap();
    book.last = store.stats().await.unwrap();
    book.row(
        "get_or_load, an undecodable value",
        store.get_or_load("garbage", || gives(2)),
        &loaded,
    )
    .await
    .unwrap();

    let many = |keys: Vec<String>| async { Ok::<_, String>(keys.into_iter().map(|key| (key, 1)).collect()) };
    book.row(
        "get_or_load_many",
        store.get_or_load_many(["k", "n", "k", "o"], many),
        &[("hits", 1), ("misses", 2), ("sets", 2), ("loads", 1)],
    )
    .await
    .unwrap();
    let none = |_: Vec<String>| async { Ok::<_, String>(HashMap::<String, u32>::new()) };
    book.row(
        "get_or_load_many, a key that its loader leaves out",
        store.get_or_load_many(["p"], none),
        &[("misses", 1), ("loads", 1)],
    )
    .await
    .unwrap();
}

/// A load with windows is looked at twice where its age matters: it is one read all the same.
pub(crate) async fn of_loads_with_windows(store: Store) {
    let window = |key| {
        store
            .get_or_load(key, || gives(1))
            .ttl(secs(600))
            .stale_if_error(secs(60))
    };
    let mut book = Book::open(&store).await;
    let loaded = [("misses", 1), ("sets", 1), ("loads", 1)];
    book.row("a load with a window", window("k"), &loaded)
        .await
        .unwrap();
    book.row("again", window("k"), &[("hits", 1)]).await.unwrap();
    book.row("get", store.get("k"), &[("hits", 1)]).await.unwrap();
    book.row("get_model", store.get_model::<u32>("k"), &[("hits", 1)])
        .await
        .unwrap();
    book.row(
        "get_models",
        store.get_models::<u32>(["k", "none", "k"]),
        &[("hits", 2), ("misses", 1)],
    )
    .await
    .unwrap();
    let plain = || store.get_or_load("k", || gives(2));
    book.row("a load without", plain(), &[("hits", 1)]).await.unwrap();
    book.row("outcome", plain().outcome(), &[("hits", 1)])
        .await
        .unwrap();
    let many = |keys: Vec<String>| async { Ok::<_, String>(keys.into_iter().map(|key| (key, 1)).collect()) };
    book.row(
        "get_or_load_many",
        store.get_or_load_many(["k", "l"], many),
        &[("hits", 1), ("misses", 1), ("sets", 1), ("loads", 1)],
    )
    .await
    .unwrap();
}

/// A stale value is a hit for who is given it, and a miss for who is not.
pub(crate) async fn of_stale_values(store: Store) {
    for key in ["a", "b", "c", "d"] {
        let load = store.get_or_load(key, || gives(1)).ttl(ms(10));
        load.stale_if_error(secs(600)).await.unwrap();
    }
    tokio::time::sleep(ms(20)).await;
    let mut book = Book::open(&store).await;
    book.row("get_model", store.get_model::<u32>("a"), &[("misses", 1)])
        .await
        .unwrap();
    book.row(
        "get_models",
        store.get_models::<u32>(["a", "b"]),
        &[("misses", 2)],
    )
    .await
    .unwrap();
    book.row("get, its bytes", store.get("a"), &[("hits", 1)])
        .await
        .unwrap();
    let served = [
        ("hits", 1),
        ("loads", 1),
        ("load_failures", 1),
        ("stale_answers", 1),
    ];
    let failing = || {
        store
            .get_or_load("a", fails)
            .ttl(secs(600))
            .stale_if_error(secs(600))
    };
    let answer = book.row("a load that fails", failing(), &served).await;
    assert_eq!(answer.unwrap(), 1);
    let loaded = [("misses", 1), ("sets", 1), ("loads", 1)];
    let plain = |key| store.get_or_load(key, || gives(2)).ttl(secs(600));
    book.row("a load that is not served it", plain("b"), &loaded)
        .await
        .unwrap();
    let window = plain("c").stale_if_error(secs(600));
    book.row("a load that does better", window, &loaded)
        .await
        .unwrap();

    // The refresh in the background counts its own load, at its own time.
    let revalidated = plain("d").stale_while_revalidate(secs(600)).await.unwrap();
    assert_eq!(revalidated, 1);
    let now = store.stats().await.unwrap();
    assert_eq!(
        (now.hits, now.misses, now.stale_answers),
        (book.last.hits + 1, book.last.misses, book.last.stale_answers + 1)
    );
}

/// Those who wait for another's load have one miss each, whatever they look at meanwhile.
pub(crate) async fn of_joined_loads(store: Store) {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let load = |value: u32| {
        let gate = gate.clone();
        store.get_or_load("k", move || async move {
            drop(gate.acquire().await);
            gives(value).await
        })
    };
    let callers = futures_util::future::join_all((0..20).map(|n| load(n).into_future()));
    let (answers, ()) = tokio::join!(callers, async {
        while store.stats().await.unwrap().loads == 0 {
            tokio::time::sleep(ms(1)).await;
        }
        gate.close();
    });
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    let stats = store.stats().await.unwrap();
    let counted = (
        stats.hits,
        stats.misses,
        stats.loads,
        stats.load_joins,
        stats.sets,
    );
    assert_eq!(counted, (0, 20, 1, 19, 1));
}
