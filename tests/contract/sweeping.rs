//! The whole namespace: `scan` and `clear`.

use std::collections::BTreeSet;
use std::time::Duration;

use cachestore::{Error, Store};
use futures_util::{StreamExt, TryStreamExt};

use crate::support::{keys, secs};

pub(crate) async fn a_scan_yields_the_keys_that_begin_so(store: Store) {
    store
        .set_many(["user:1", "user:2", "use", "page:1", "User:1"].map(|key| (key, "v")))
        .await
        .unwrap();
    assert_eq!(keys(&store, "user:").await, ["user:1", "user:2"]);
    assert_eq!(keys(&store, "user:1").await, ["user:1"]);
    assert_eq!(keys(&store, "user:10").await, [""; 0]);
    assert_eq!(
        keys(&store, "").await,
        ["User:1", "page:1", "use", "user:1", "user:2"]
    );
}

pub(crate) async fn a_scan_of_nothing_ends(store: Store) {
    let mut scan = store.scan("");
    assert!(scan.next().await.is_none());
    assert!(scan.next().await.is_none(), "and stays at its end");
}

/// A prefix is text, not a pattern.
pub(crate) async fn a_scan_takes_its_prefix_literally(store: Store) {
    let hostile = [
        "a*b", "a?b", "a[b", "a]b", "a\\b", "a^b", "a{b}", "a\r\nb", "a\0b", "a%b", "axb", "*", "a",
    ];
    store.set_many(hostile.map(|key| (key, "v"))).await.unwrap();
    for key in hostile.iter().filter(|key| key.len() > 1) {
        assert_eq!(keys(&store, key).await, [*key]);
    }
    assert_eq!(keys(&store, "a*").await, ["a*b"]);
    assert_eq!(keys(&store, "a[").await, ["a[b"]);
    assert_eq!(keys(&store, "a\\").await, ["a\\b"]);
    assert_eq!(keys(&store, "*").await, ["*"]);
    assert_eq!(keys(&store, "[a]").await, [""; 0]);
}

pub(crate) async fn a_scan_yields_thousands(store: Store) {
    let names: BTreeSet<String> = (0..5000).map(|n| format!("k{n}")).collect();
    store
        .set_many(names.iter().map(|name| (name, "v")))
        .await
        .unwrap();
    let seen: BTreeSet<String> = store.scan("k").try_collect().await.unwrap();
    assert_eq!(seen, names);
}

/// Keys that are there all the while are seen, whatever comes and goes beside them.
pub(crate) async fn a_scan_during_writes_misses_nothing_that_stays(store: Store) {
    let steady: BTreeSet<String> = (0..2000).map(|n| format!("steady{n}")).collect();
    store
        .set_many(steady.iter().map(|name| (name, "v")))
        .await
        .unwrap();
    store
        .set_many((0..1000).map(|n| (format!("leaving{n}"), "v")))
        .await
        .unwrap();
    let mut seen = BTreeSet::new();
    let mut scan = store.scan("");
    let mut step = 0;
    while let Some(key) = scan.try_next().await.unwrap() {
        seen.insert(key);
        store.delete(format!("leaving{step}")).await.unwrap();
        store.set(format!("coming{}", step % 500), "v").await.unwrap();
        store
            .set(format!("steady{}", step % 2000), "again")
            .await
            .unwrap();
        step += 1;
    }
    assert!(
        seen.is_superset(&steady),
        "{} are missing",
        steady.difference(&seen).count()
    );
}

pub(crate) async fn a_scan_can_be_left_half_way(store: Store) {
    store
        .set_many((0..2000).map(|n| (format!("k{n}"), "v")))
        .await
        .unwrap();
    let some: Vec<String> = store.scan("").take(10).try_collect().await.unwrap();
    assert_eq!(some.len(), 10);
    assert_eq!(keys(&store, "").await.len(), 2000);
}

pub(crate) async fn a_namespace_scans_its_own_keys_only(store: Store) {
    let (inner, other) = (store.namespace("a").unwrap(), store.namespace("ab").unwrap());
    let nested = inner.namespace("b").unwrap();
    for (handle, key) in [(&store, "k0"), (&inner, "k1"), (&other, "k2"), (&nested, "k3")] {
        handle.set(key, "v").await.unwrap();
    }
    assert_eq!(keys(&inner, "").await, ["k1"]);
    assert_eq!(keys(&other, "").await, ["k2"]);
    assert_eq!(keys(&nested, "k").await, ["k3"]);
}

pub(crate) async fn clear_removes_all_and_counts(store: Store) {
    assert_eq!(store.clear().await.unwrap(), 0);
    store
        .set_many((0..3000).map(|n| (format!("k{n}"), "v")))
        .await
        .unwrap();
    store
        .set("ttl", "v")
        .ttl(secs(60))
        .depends_on(["u"])
        .await
        .unwrap();
    store.incr("n", 1).await.unwrap();
    assert_eq!(store.clear().await.unwrap(), 3002);
    assert!(keys(&store, "").await.is_empty());
    assert_eq!(
        store.get_many(["k0", "ttl", "n"]).await.unwrap(),
        [None, None, None]
    );
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 0);
    assert_eq!(store.clear().await.unwrap(), 0);
    store.set("k0", "again").await.unwrap();
    assert_eq!(store.get_string("k0").await.unwrap().unwrap(), "again");
}

pub(crate) async fn clear_of_a_namespace_leaves_all_others(store: Store) {
    let (inner, other) = (store.namespace("a").unwrap(), store.namespace("ab").unwrap());
    let nested = inner.namespace("b").unwrap();
    for handle in [&store, &inner, &other, &nested] {
        handle.set_many([("k", "v"), ("l", "v")]).await.unwrap();
    }
    assert_eq!(inner.clear().await.unwrap(), 2);
    assert!(!inner.exists("k").await.unwrap());
    for handle in [&store, &other, &nested] {
        assert!(handle.exists("k").await.unwrap(), "{handle:?}");
        assert!(handle.exists("l").await.unwrap(), "{handle:?}");
    }
}

/// For a store at the root.
pub(crate) async fn the_root_scans_and_clears_everything(store: Store) {
    let inner = store.namespace("a").unwrap();
    let nested = inner.namespace("b").unwrap();
    for handle in [&store, &inner, &nested] {
        handle.set("k", "v").await.unwrap();
    }
    assert_eq!(keys(&store, "").await, ["a/b:k", "a:k", "k"]);
    assert_eq!(keys(&store, "a:").await, ["a:k"]);
    assert_eq!(store.clear().await.unwrap(), 3);
    assert!(!nested.exists("k").await.unwrap());
}

pub(crate) async fn a_scan_of_a_closed_store_is_an_error_and_its_end(store: Store) {
    let mut scan = store.scan("");
    store.close().await.unwrap();
    assert!(matches!(scan.next().await, Some(Err(Error::Closed))));
    assert!(scan.next().await.is_none());
}

pub(crate) async fn what_a_scan_gives_can_be_given_back(store: Store) {
    let names = [
        "a",
        " a",
        "a\t",
        "\u{200b}",
        "cachestore",
        "x:y",
        "longer than most",
    ];
    store.set_many(names.map(|name| (name, "v"))).await.unwrap();
    let seen: Vec<String> = store.scan("").try_collect().await.unwrap();
    assert_eq!(store.delete_many(seen).await.unwrap() as usize, names.len());
    assert!(keys(&store, "").await.is_empty());
}

pub(crate) async fn a_scan_of_entries_yields_keys_and_values(store: Store) {
    let mut entries = store.scan_entries("");
    assert!(entries.next().await.is_none());
    assert!(entries.next().await.is_none(), "and stays at its end");

    // Small values, large ones, and small ones again.
    let value = |n: usize| vec![b'v'; if n % 500 == 7 { 300_000 } else { n % 50 }];
    for n in (0..1500).step_by(500) {
        let batch = (n..n + 500).map(|n| (format!("k{n}"), value(n)));
        store.set_many(batch).await.unwrap();
    }
    store.set("other", "v").await.unwrap();
    let mut seen = BTreeSet::new();
    let mut entries = store.scan_entries("k");
    while let Some((key, found)) = entries.try_next().await.unwrap() {
        let n: usize = key[1..].parse().unwrap();
        assert_eq!(found, value(n), "{key}");
        seen.insert(n);
    }
    assert_eq!(seen.len(), 1500);
    assert_eq!(
        store.scan_entries("oth").try_collect::<Vec<_>>().await.unwrap()[0].1,
        "v"
    );
}

pub(crate) async fn a_scan_of_entries_is_no_read(store: Store) {
    store
        .set_many((0..100).map(|n| (format!("k{n}"), "v")))
        .await
        .unwrap();
    let before = store.stats().await.unwrap();
    assert_eq!(
        store
            .scan_entries("")
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
            .len(),
        100
    );
    let after = store.stats().await.unwrap();
    assert_eq!((after.hits, after.misses), (before.hits, before.misses));
}

pub(crate) async fn a_scan_of_entries_goes_on_while_others_write(store: Store) {
    let steady: BTreeSet<String> = (0..600).map(|n| format!("steady{n}")).collect();
    let fleeting = (0..600).map(|n| format!("fleeting{n}"));
    let all = steady.iter().cloned().chain(fleeting.clone());
    store.set_many(all.map(|name| (name, "v"))).await.unwrap();
    let mut entries = store.scan_entries("");
    let mut seen = BTreeSet::new();
    let first = entries.try_next().await.unwrap().unwrap();
    seen.insert(first.0);
    store.delete_many(fleeting).await.unwrap();
    while let Some((key, value)) = entries.try_next().await.unwrap() {
        assert_eq!(value, "v");
        seen.insert(key);
    }
    assert!(steady.is_subset(&seen));
    store.close().await.unwrap();
    let mut entries = store.scan_entries("");
    assert!(matches!(entries.next().await, Some(Err(Error::Closed))));
    assert!(entries.next().await.is_none());
}

/// More entries than an engine removes in one step.
async fn fill(store: &Store) {
    let entries = (0..20_000).map(|n| (format!("many{n}"), "v"));
    store.set_many(entries).depends_on(["name"]).await.unwrap();
}

pub(crate) async fn long_work_tells_how_far_it_has_come(store: Store) {
    for clears in [true, false] {
        fill(&store).await;
        let mut told = Vec::new();
        let report = |removed| told.push(removed);
        let removed = if clears {
            store.clear().on_progress(report).await
        } else {
            store.invalidate(["name"]).on_progress(report).await
        };
        assert_eq!(removed.unwrap(), 20_000);
        assert_eq!(told.last(), Some(&20_000), "the total comes last");
        assert!(
            told.is_sorted_by(|a, b| a < b),
            "each report is of more: {told:?}"
        );
    }
    let mut told = Vec::new();
    let nothing = store.clear().on_progress(|removed| told.push(removed));
    assert_eq!(nothing.await.unwrap(), 0);
    assert_eq!(told, [0]);
}

pub(crate) async fn a_report_that_panics_is_its_callers_own(store: Store) {
    fill(&store).await;
    let clear = tokio::spawn({
        let store = store.clone();
        async move { store.clear().on_progress(|_| panic!("the caller's own")).await }
    });
    assert!(clear.await.unwrap_err().is_panic());
    // The work goes on beside this.
    store.clear().await.unwrap();
    assert_eq!(keys(&store, "").await, [""; 0]);
    store.set("k", "v").await.unwrap();
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
}

pub(crate) async fn long_work_takes_a_time_of_its_own(store: Store) {
    let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    for timeout in [Duration::ZERO, century + Duration::from_nanos(1), Duration::MAX] {
        let refused = store.clear().timeout(timeout).await;
        assert!(matches!(refused, Err(Error::InvalidTtl { .. })), "{refused:?}");
        let refused = store.invalidate(["k"]).timeout(timeout).await;
        assert!(matches!(refused, Err(Error::InvalidTtl { .. })), "{refused:?}");
    }
    fill(&store).await;
    let invalidate = store.invalidate(["name"]).timeout(century).into_future();
    assert_eq!(sent(invalidate).await.unwrap(), 20_000);
    store.set("k", "v").await.unwrap();
    assert_eq!(store.clear().timeout(century).await.unwrap(), 1);
}

/// A future that may move between threads.
fn sent<F: Future + Send>(future: F) -> F {
    future
}
