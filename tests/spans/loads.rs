//! The spans of loads: where they are, and what they are linked to.

use std::collections::HashMap;
use std::sync::Arc;

use cachestore::{Config, LoadError, Origin};
use tokio::sync::Semaphore;
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, info_span};

use crate::seen::{Seen, SpanSeen, World, on_both_engines};
use crate::support::{ms, open, secs};

on_both_engines!(
    a_load_is_a_part_of_its_call_and_holds_the_spans_of_its_loader,
    a_load_of_many_keys_is_one_span,
    those_who_join_a_load_are_linked_to_it,
    a_refresh_is_a_root_that_follows_from_its_call,
    a_failed_load_has_its_outcome,
);

fn loads(seen: &Seen) -> Vec<SpanSeen> {
    let mut spans = seen.since(0);
    spans.retain(|span| span.name == "load");
    spans
}

async fn a_load_is_a_part_of_its_call_and_holds_the_spans_of_its_loader(world: World, seen: Seen) {
    // The first load is direct, and the coordinator leads the second: the key was found before.
    for key in ["direct", "direct", "led"] {
        if key == "led" {
            for _ in 0..40 {
                let found = world.store.get_or_load("direct", || async { Ok::<_, String>(1) });
                found.await.unwrap();
            }
        }
        let loader = || {
            let inside = async { Ok::<_, String>(1) };
            inside.instrument(info_span!("select"))
        };
        let load = async { world.store.get_or_load(key, loader).await };
        load.instrument(info_span!("caller")).await.unwrap();
    }
    let loads = loads(&seen);
    assert_eq!(loads.len(), 2, "{loads:?}");
    for load in &loads {
        let Some(("get_or_load", call)) = load.parent else {
            panic!("{load:?}");
        };
        assert_eq!(seen.all()[call].parent.unwrap().0, "caller");
        let inside: Vec<SpanSeen> = seen
            .all()
            .into_iter()
            .filter(|span| span.parent == Some(("load", load.place)))
            .collect();
        assert_eq!(inside.len(), 1, "{inside:?}");
        assert_eq!(inside[0].name, "select");
        let fields: HashMap<&str, &str> = load.fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let expected = [
            ("otel.kind", "internal"),
            ("cachestore.refresh", "false"),
            ("cachestore.outcome", "ok"),
        ];
        assert_eq!(fields, HashMap::from(expected));
        assert!(load.follows.is_empty() && load.is_closed, "{load:?}");
    }
}

async fn a_load_of_many_keys_is_one_span(world: World, seen: Seen) {
    let many = |keys: Vec<String>| async { Ok::<_, String>(keys.into_iter().map(|key| (key, 1)).collect()) };
    world.store.get_or_load_many(["a", "b"], many).await.unwrap();
    assert_eq!(seen.only("load").parent.unwrap().0, "get_or_load_many");
}

async fn those_who_join_a_load_are_linked_to_it(world: World, seen: Seen) {
    for key in ["direct", "led"] {
        if key == "led" {
            for _ in 0..40 {
                let found = world.store.get_or_load("direct", || async { Ok::<_, String>(1) });
                found.await.unwrap();
            }
        }
        let mark = seen.mark();
        let gate = Arc::new(Semaphore::new(0));
        let begun = Arc::new(Semaphore::new(0));
        let mut calls = Vec::new();
        for n in 0..3 {
            let (store, gate, begun_by) = (world.store.clone(), gate.clone(), begun.clone());
            calls.push(tokio::spawn(async move {
                let loader = move || async move {
                    begun_by.add_permits(1);
                    drop(gate.acquire().await);
                    Ok::<_, String>(1)
                };
                store.get_or_load(key, loader).outcome().await.unwrap().origin
            }));
            if n == 0 {
                begun.acquire().await.unwrap().forget();
            }
        }
        // Those who join are known when they are linked.
        loop {
            let load = seen
                .since(mark)
                .into_iter()
                .find(|span| span.name == "load")
                .unwrap();
            if load.follows.len() == 2 {
                break;
            }
            tokio::time::sleep(ms(1)).await;
        }
        gate.add_permits(3);
        let mut origins = Vec::new();
        for call in calls {
            origins.push(call.await.unwrap());
        }
        assert_eq!(origins, [Origin::Loaded, Origin::Joined, Origin::Joined]);
        let spans = seen.since(mark);
        let places = |name: &str| -> Vec<usize> {
            let named = spans.iter().filter(|span| span.name == name);
            named.map(|span| span.place).collect()
        };
        let (calls, loads) = (places("get_or_load"), places("load"));
        assert_eq!((calls.len(), loads.len()), (3, 1), "{spans:?}");
        let load = seen.all().remove(loads[0]);
        assert_eq!(load.parent, Some(("get_or_load", calls[0])), "{key}");
        assert_eq!(load.follows, calls[1..], "{key}");
    }
}

async fn a_refresh_is_a_root_that_follows_from_its_call(world: World, seen: Seen) {
    let store = &world.store;
    let (ttl, stale) = (ms(50), secs(600));
    let load = |value: u32| {
        let inside = move || async move { Ok::<_, String>(value) }.instrument(info_span!("select"));
        store
            .get_or_load("k", inside)
            .ttl(ttl)
            .stale_while_revalidate(stale)
    };
    load(1).await.unwrap();
    tokio::time::sleep(ms(60)).await;
    let mark = seen.mark();
    let served = async { load(2).outcome().await }
        .instrument(info_span!("caller"))
        .await
        .unwrap();
    assert_eq!((served.value, served.origin), (1, Origin::Stale));
    while loads(&seen).len() < 2 || loads(&seen)[1].outcome().is_none() {
        tokio::time::sleep(ms(1)).await;
    }
    let refresh = loads(&seen).remove(1);
    let call = seen.since(mark).remove(0);
    assert_eq!((call.name, call.outcome()), ("get_or_load", Some("ok")));
    assert_eq!(
        (refresh.parent, refresh.follows.as_slice()),
        (None, &[call.place][..])
    );
    assert_eq!(refresh.field("cachestore.refresh"), Some("true"));
    let select = seen.all().pop().unwrap();
    assert_eq!(
        (select.name, select.parent),
        ("select", Some(("load", refresh.place)))
    );
}

async fn a_failed_load_has_its_outcome(world: World, seen: Seen) {
    let store = &world.store;
    let failed = store.get_or_load("a", || async { Err::<i32, _>("no") }).await;
    assert!(matches!(failed, Err(LoadError::Loader(_))));
    let panicked = store.get_or_load("b", || async {
        if true {
            panic!("on purpose");
        }
        Ok::<_, String>(1)
    });
    assert!(matches!(panicked.await, Err(LoadError::Panicked)));
    let late = store
        .get_or_load("c", std::future::pending::<Result<i32, String>>)
        .timeout(ms(20));
    assert!(matches!(late.await, Err(LoadError::Timeout)));
    let ends: Vec<_> = loads(&seen)
        .into_iter()
        .map(|load| {
            (
                load.outcome().map(str::to_owned),
                load.field("error.type").is_some(),
            )
        })
        .collect();
    let failed = |outcome: &str| (Some(outcome.to_owned()), true);
    assert_eq!(
        ends,
        [failed("load_failed"), failed("load_failed"), failed("timeout")]
    );
}

#[tokio::test(start_paused = true)]
async fn without_spans_a_loader_runs_in_the_span_of_its_caller() {
    let seen = Seen::begin();
    let store = &open(Config::memory().span_level(LevelFilter::OFF)).await;
    let one = |key: &'static str, value: u32| async move {
        let loader = move || async move { Ok::<_, String>(value) }.instrument(info_span!("select"));
        let load = store.get_or_load(key, loader).ttl(ms(50));
        load.stale_while_revalidate(secs(600)).outcome().await.unwrap()
    };
    let many = async {
        let values =
            |keys: Vec<String>| async { Ok::<_, String>(keys.into_iter().map(|key| (key, 1)).collect()) };
        let loader = move |keys| values(keys).instrument(info_span!("select"));
        store.get_or_load_many(["a", "b"], loader).await.unwrap();
    };
    // The first load is direct. The coordinator leads the second, and the refresh of the first.
    one("direct", 1).instrument(info_span!("direct")).await;
    many.instrument(info_span!("many")).await;
    for _ in 0..40 {
        one("direct", 1).await;
    }
    one("led", 1).instrument(info_span!("led")).await;
    tokio::time::sleep(ms(60)).await;
    let served = one("direct", 2).instrument(info_span!("refresh")).await;
    assert_eq!((served.value, served.origin), (1, Origin::Stale));
    while one("direct", 3).await.origin == Origin::Stale {
        tokio::time::sleep(ms(1)).await;
    }
    let selects = seen.all().into_iter().filter(|span| span.name == "select");
    let parents: Vec<_> = selects.map(|span| span.parent.map(|(name, _)| name)).collect();
    assert_eq!(parents, ["direct", "many", "led", "refresh"].map(Some));
    assert!(loads(&seen).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_load_that_ends_with_its_store_was_cancelled() {
    let seen = Seen::begin();
    let store = open(Config::memory()).await;
    let load = store.get_or_load("k", std::future::pending::<Result<i32, String>>);
    let (answer, closed) = tokio::join!(load.into_future(), async {
        while seen.since(0).iter().all(|span| span.name != "load") {
            tokio::task::yield_now().await;
        }
        store.close().await
    });
    assert!(answer.is_err() && closed.is_ok());
    while seen.only("load").outcome().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.only("load").outcome(), Some("cancelled"));
}

/// A load's span links to as many calls as OpenTelemetry keeps.
#[tokio::test(start_paused = true)]
async fn the_links_of_a_load_are_bounded() {
    let seen = Seen::begin();
    let store = open(Config::memory()).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let store = store.clone();
        calls.spawn(async move {
            let slow = || async {
                tokio::time::sleep(secs(1)).await;
                Ok::<_, String>(1)
            };
            store.get_or_load("k", slow).await.unwrap()
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    assert_eq!(seen.only("load").follows.len(), 128);
}
