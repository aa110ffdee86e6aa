//! Loads whose loaders are told more, and tell more.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use cachestore::{Error, Fetched, LoadContext, LoadError, Loaded, Origin, Store, Ttl};
use tokio::sync::Semaphore;

use crate::support::{ms, secs};

/// What happens while a loader runs.
type During = fn(Store) -> Pin<Box<dyn Future<Output = ()> + Send>>;
type Outcome<T> = Result<Loaded<T>, LoadError<String>>;

fn seen<T>(outcome: Outcome<T>) -> (T, Origin) {
    let loaded = outcome.unwrap();
    (loaded.value, loaded.origin)
}

/// A load of `k` that gives what `make` makes, as soon as `gate` is open.
async fn gated(store: Store, gate: Arc<Semaphore>, make: fn() -> Fetched<u32>) -> Outcome<u32> {
    let load = move |_: LoadContext<u32>| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok::<_, String>(make())
        }
    };
    store.get_or_load_with("k", load).outcome().await
}

/// What a load of `k` gives during which something happens.
async fn meanwhile(store: &Store, make: fn() -> Fetched<u32>, change: impl Future<Output = ()>) -> Origin {
    let gate = Arc::new(Semaphore::new(0));
    let (began, loads) = (store.stats().await.unwrap().loads, gate.clone());
    let call = tokio::spawn(gated(store.clone(), loads, make));
    while store.stats().await.unwrap().loads == began {
        tokio::time::sleep(ms(1)).await;
    }
    change.await;
    gate.add_permits(1);
    seen(call.await.unwrap()).1
}

pub(crate) async fn a_loader_says_how_long_its_value_is_fresh(store: Store) {
    let load = |ttl| move |_: LoadContext<u32>| async move { Ok::<_, String>(Fetched::new(1).ttl(ttl)) };
    let value = store
        .get_or_load_with("k", load(secs(60)))
        .ttl(ms(1))
        .await
        .unwrap();
    assert_eq!(value, 1);
    let Some(Ttl::Remaining(left)) = store.ttl("k").await.unwrap() else {
        panic!("it has a TTL");
    };
    assert!(left > secs(50) && left <= secs(60), "{left:?}");
    // Zero is given and not stored.
    let given = store.get_or_load_with("zero", load(secs(0))).outcome().await;
    assert_eq!(seen(given), (1, Origin::Loaded));
    assert!(!store.exists("zero").await.unwrap());
    let refused = store.get_or_load_with("long", load(secs(4_000_000_000))).await;
    assert!(
        matches!(refused, Err(LoadError::Store(Error::InvalidTtl { .. }))),
        "{refused:?}"
    );
}

pub(crate) async fn a_value_depends_on_what_its_loader_found_out(store: Store) {
    let load = |_: LoadContext<Vec<u32>>| async {
        let names = ["user:7", "user:9"];
        Ok::<_, String>(Fetched::new(vec![7, 9]).depends_on(names).depends_on("team:1"))
    };
    for (name, removed) in [
        ("user:7", 1),
        ("user:9", 1),
        ("team:1", 1),
        ("call", 1),
        ("other", 0),
    ] {
        let list = store.get_or_load_with("list", load).depends_on("call");
        assert_eq!(seen(list.outcome().await).1, Origin::Loaded, "{name}");
        assert_eq!(store.invalidate(name).await.unwrap(), removed, "{name}");
        store.delete("list").await.unwrap();
    }
    // And what depends on the list goes with it.
    let list = store.get_or_load_with("list", load).outcome().await;
    assert_eq!(seen(list).1, Origin::Loaded);
    store.set("page", "<html>").depends_on("list").await.unwrap();
    assert_eq!(store.invalidate("user:9").await.unwrap(), 2);
}

const CHANGES: [&str; 14] = [
    "set",
    "set dependent",
    "add",
    "replace",
    "compare_and_set",
    "swap",
    "incr",
    "take",
    "delete",
    "delete_many",
    "set_many",
    "invalidate",
    "invalidate what it depends on",
    "clear",
];

async fn change(store: &Store, name: &str) {
    match name {
        "set" => store.set("late", "2").await.unwrap(),
        "set dependent" => store.set("late", "2").depends_on("y").await.unwrap(),
        "add" => assert!(store.add("late", "2").await.unwrap()),
        "replace" => assert!(store.replace("late", "2").await.unwrap()),
        "compare_and_set" => assert!(store.compare_and_set("late", "1", "2").await.unwrap()),
        "swap" => assert!(store.swap("late", "2").await.unwrap().is_some()),
        "incr" => assert_eq!(store.incr("late", 1).await.unwrap(), 2),
        "take" => assert!(store.take("late").await.unwrap().is_some()),
        "delete" => assert!(store.delete("late").await.unwrap()),
        "delete_many" => assert_eq!(store.delete_many(["a", "late"]).await.unwrap(), 1),
        "set_many" => store.set_many([("a", "2"), ("late", "2")]).await.unwrap(),
        "invalidate" => assert_eq!(store.invalidate("late").await.unwrap(), 1),
        "invalidate what it depends on" => assert_eq!(store.invalidate("x").await.unwrap(), 1),
        "clear" => assert_eq!(store.clear().await.unwrap(), 1),
        other => panic!("{other}"),
    }
}

/// No call and no lease had named it before.
pub(crate) async fn a_change_of_what_only_the_result_names_keeps_it_from_being_stored(store: Store) {
    for name in CHANGES {
        store.delete_many(["late", "k", "a"]).await.unwrap();
        if name != "add" {
            store.set("late", "1").depends_on("x").await.unwrap();
        }
        let make = || Fetched::new(1).depends_on(["calm", "late"]);
        let origin = meanwhile(&store, make, change(&store, name)).await;
        assert_eq!(origin, Origin::Superseded, "{name}");
        assert!(!store.exists("k").await.unwrap(), "{name}");
        let again = gated(store.clone(), Arc::new(Semaphore::new(1)), make).await;
        assert_eq!(seen(again).1, Origin::Loaded, "{name}");
        assert!(store.exists("k").await.unwrap(), "{name}: the next one is stored");
    }
}

pub(crate) async fn a_name_without_a_value_can_change_too(store: Store) {
    let make = || Fetched::new(1).depends_on("late");
    for name in ["invalidate", "delete", "take"] {
        let origin = meanwhile(&store, make, async {
            match name {
                "invalidate" => assert_eq!(store.invalidate("late").await.unwrap(), 0),
                "delete" => assert!(!store.delete("late").await.unwrap()),
                _ => assert!(store.take("late").await.unwrap().is_none()),
            }
        });
        assert_eq!(origin.await, Origin::Superseded, "{name}");
    }
}

pub(crate) async fn what_the_result_does_not_name_supersedes_nothing(store: Store) {
    store.set("late", "1").await.unwrap();
    let make = || Fetched::new(1).depends_on("late");
    let origin = meanwhile(&store, make, async {
        store.set("other", "1").await.unwrap();
        store.invalidate("others").await.unwrap();
        store.get("late").await.unwrap();
        store.expire("late", secs(60)).await.unwrap();
    });
    assert_eq!(origin.await, Origin::Loaded);
    store.delete("k").await.unwrap();
    // Without names there is nothing to compare.
    let origin = meanwhile(&store, || Fetched::new(1), async {
        store.set("late", "2").await.unwrap();
    });
    assert_eq!(origin.await, Origin::Loaded);
}

/// The load that runs has read the source before the change.
pub(crate) async fn who_calls_after_such_a_change_loads_anew(store: Store) {
    let gate = Arc::new(Semaphore::new(0));
    let old = || Fetched::new(1).depends_on("late");
    let first = tokio::spawn(gated(store.clone(), gate.clone(), old));
    while store.stats().await.unwrap().loads == 0 {
        tokio::time::sleep(ms(1)).await;
    }
    store.invalidate("late").await.unwrap();
    let new = || Fetched::new(2).depends_on("late");
    let second = tokio::spawn(gated(store.clone(), gate.clone(), new));
    tokio::time::sleep(ms(50)).await;
    gate.add_permits(2);
    assert_eq!(seen(first.await.unwrap()), (1, Origin::Superseded));
    assert_eq!(seen(second.await.unwrap()).0, 2);
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(2));
}

pub(crate) async fn a_value_is_given_and_not_stored_if_its_loader_says_so(store: Store) {
    let load = |_: LoadContext<u32>| async { Ok::<_, String>(Fetched::new(7).do_not_store()) };
    let given = store.get_or_load_with("k", load).outcome().await.unwrap();
    assert_eq!((given.value, given.origin), (7, Origin::Loaded));
    assert_eq!(given.fresh_for, Some(secs(0)));
    assert!(!store.exists("k").await.unwrap());
    // What was stored before stays.
    let first = store.get_or_load("k", || async { Ok::<_, String>(1) });
    assert_eq!(first.ttl(ms(1)).stale_if_error(secs(60)).await.unwrap(), 1);
    tokio::time::sleep(ms(5)).await;
    let given = store
        .get_or_load_with("k", load)
        .stale_if_error(secs(60))
        .outcome()
        .await;
    assert_eq!(seen(given), (7, Origin::Loaded));
    let failing = || async { Err::<u32, _>("down".to_owned()) };
    let stale = store
        .get_or_load("k", failing)
        .stale_if_error(secs(60))
        .outcome()
        .await;
    assert_eq!(seen(stale), (1, Origin::Stale));
}

/// Nothing else tells of what was given out and not stored.
pub(crate) async fn what_is_made_from_an_unstored_value_follows_what_that_depends_on(store: Store) {
    let outer = store.clone();
    let made = store.get_or_load_with("outer", move |_: LoadContext<u32>| {
        let store = outer.clone();
        async move {
            let inner = |_: LoadContext<u32>| async {
                Ok::<_, String>(Fetched::new(1).depends_on("source").do_not_store())
            };
            let inner = store.get_or_load_with("inner", inner).await.unwrap();
            store.invalidate("source").await.unwrap();
            Ok::<_, String>(Fetched::new(inner).depends_on("inner"))
        }
    });
    assert_eq!(seen(made.outcome().await), (1, Origin::Superseded));
    assert!(!store.exists("outer").await.unwrap());
}

/// The engine remembers what such a value depends on only for as long as its load could have taken.
pub(crate) async fn what_is_made_from_an_unstored_value_is_not_stored_after_its_lease(store: Store) {
    let gone = ms(100);
    let outer = store.clone();
    let made = store.get_or_load_with("outer", move |_: LoadContext<u32>| {
        let store = outer.clone();
        async move {
            let inner = |_: LoadContext<u32>| async { Ok::<_, String>(Fetched::new(1).do_not_store()) };
            let inner = store.get_or_load_with("inner", inner).depends_on("source");
            let inner = inner.timeout(gone).await.unwrap();
            tokio::time::sleep(gone + ms(50)).await;
            store.invalidate("source").await.unwrap();
            Ok::<_, String>(Fetched::new(inner).depends_on("inner"))
        }
    });
    assert_eq!(seen(made.outcome().await), (1, Origin::Superseded));
    assert!(!store.exists("outer").await.unwrap());
}

/// It may be stored or not. If it is, it does not outlive a change of what the value depends on, however late that is.
pub(crate) async fn what_is_made_from_an_unstored_value_ends_with_what_that_depends_on(store: Store) {
    let gone = ms(100);
    let outer = store.clone();
    let made = store.get_or_load_with("outer", move |_: LoadContext<u32>| {
        let store = outer.clone();
        async move {
            let inner = |_: LoadContext<u32>| async { Ok::<_, String>(Fetched::new(1).do_not_store()) };
            let inner = store.get_or_load_with("inner", inner).depends_on("source");
            let inner = inner.timeout(gone).await.unwrap();
            Ok::<_, String>(Fetched::new(inner).depends_on("inner"))
        }
    });
    let (value, origin) = seen(made.outcome().await);
    assert_eq!(value, 1);
    assert_eq!(store.exists("outer").await.unwrap(), origin == Origin::Loaded);
    tokio::time::sleep(gone + ms(100)).await;
    store.invalidate("source").await.unwrap();
    assert!(!store.exists("outer").await.unwrap(), "{origin:?}");
}

/// Nothing can make it old.
pub(crate) async fn what_is_made_from_an_unstored_value_without_names_is_stored(store: Store) {
    let outer = store.clone();
    let made = store.get_or_load_with("outer", move |_: LoadContext<u32>| {
        let store = outer.clone();
        async move {
            let inner = |_: LoadContext<u32>| async { Ok::<_, String>(Fetched::new(1).do_not_store()) };
            let inner = store.get_or_load_with("inner", inner).await.unwrap();
            Ok::<_, String>(Fetched::new(inner).depends_on("inner"))
        }
    });
    assert_eq!(seen(made.outcome().await), (1, Origin::Loaded));
    assert!(store.exists("outer").await.unwrap());
}

/// Engines keep what changes within bounds, and names may be long.
pub(crate) async fn a_change_of_a_long_name_is_noted_too(store: Store) {
    for by in ["set", "invalidate"] {
        let make = || Fetched::new(1).depends_on("l".repeat(300));
        let origin = meanwhile(&store, make, async {
            match by {
                "set" => store.set("l".repeat(300), "2").await.unwrap(),
                _ => drop(store.invalidate("l".repeat(300)).await.unwrap()),
            }
        });
        assert_eq!(origin.await, Origin::Superseded, "{by}");
        let origin = meanwhile(&store, make, async {}).await;
        assert_eq!(origin, Origin::Loaded, "{by}: nothing has changed");
        store.delete("k").await.unwrap();
    }
}

pub(crate) async fn a_name_that_a_loader_finds_out_is_refused_as_any_is(store: Store) {
    for name in ["", " "] {
        let load =
            move |_: LoadContext<u32>| async move { Ok::<_, String>(Fetched::new(1).depends_on(name)) };
        let refused = store.get_or_load_with("k", load).await;
        assert!(
            matches!(refused, Err(LoadError::Store(Error::KeyRequired))),
            "{refused:?}"
        );
    }
    assert!(!store.exists("k").await.unwrap());
}

pub(crate) async fn a_loader_knows_the_value_that_it_replaces(store: Store) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let call = |value: u32| {
        let told = told.clone();
        let load = move |cx: LoadContext<u32>| {
            let seen = (cx.key().to_owned(), cx.stale().copied(), cx.is_refresh());
            told.lock().unwrap().push(seen);
            async move { Ok::<_, String>(Fetched::new(value)) }
        };
        store
            .get_or_load_with("k", load)
            .ttl(ms(1))
            .stale_if_error(secs(60))
    };
    assert_eq!(call(1).await.unwrap(), 1);
    tokio::time::sleep(ms(5)).await;
    assert_eq!(call(2).await.unwrap(), 2);
    tokio::time::sleep(ms(5)).await;
    let background = call(3).stale_while_revalidate(secs(60)).outcome().await;
    assert_eq!(seen(background), (2, Origin::Stale));
    while told.lock().unwrap().len() < 3 {
        tokio::time::sleep(ms(1)).await;
    }
    let key = || "k".to_owned();
    let expected = [
        (key(), None, false),
        (key(), Some(1), true),
        (key(), Some(2), true),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

/// Everything that a load can be asked for.
pub(crate) async fn the_options_of_loads_hold_for_it(store: Store) {
    let load = |_: LoadContext<u32>| async { Ok::<_, String>(Fetched::new(1)) };
    let options = cachestore::LoadOptions::default().ttl(secs(60));
    let loaded = store
        .get_or_load_with("k", load)
        .options(&options)
        .log_errors()
        .outcome();
    assert_eq!(seen(loaded.await), (1, Origin::Loaded));
    assert!(matches!(store.ttl("k").await.unwrap(), Some(Ttl::Remaining(_))));
    assert_eq!(*store.get_or_load_with("k", load).shared().await.unwrap(), 1);
    let short = store
        .get_or_load_with("short", load)
        .ttl_for(|_| secs(0))
        .depends_on("x");
    assert_eq!(short.await.unwrap(), 1);
    assert!(!store.exists("short").await.unwrap());
    let fails = |_: LoadContext<u32>| async { Err::<Fetched<u32>, _>("down".to_owned()) };
    let failed = store.get_or_load_with("fails", fails).await;
    assert!(matches!(failed, Err(LoadError::Loader(error)) if *error == "down"));
    let slow = |_: LoadContext<u32>| std::future::pending::<Result<Fetched<u32>, String>>();
    let failed = store.get_or_load_with("slow", slow).timeout(ms(20)).await;
    assert!(matches!(failed, Err(LoadError::Timeout)));
}

pub(crate) async fn one_loader_is_told_of_many_keys(store: Store) {
    let (told, changes) = (Arc::new(Mutex::new(Vec::new())), store.clone());
    let load = |changed: bool| {
        let (told, store) = (told.clone(), changes.clone());
        move |contexts: Vec<LoadContext<u32>>| {
            let (told, store) = (told.clone(), store.clone());
            async move {
                let mut values = HashMap::new();
                for cx in contexts {
                    told.lock()
                        .unwrap()
                        .push((cx.key().to_owned(), cx.stale().copied()));
                    let value = Fetched::new(1).depends_on(format!("row:{}", cx.key()));
                    values.insert(
                        cx.key().to_owned(),
                        if cx.key() == "c" {
                            value.do_not_store()
                        } else {
                            value
                        },
                    );
                }
                if changed {
                    store.invalidate("row:b").await.unwrap();
                }
                Ok::<_, String>(values)
            }
        }
    };
    let loaded = store
        .get_or_load_many_with(["a", "b", "c"], load(true))
        .outcome()
        .await
        .unwrap();
    let origins = ["a", "b", "c"].map(|key| loaded[key].origin);
    assert_eq!(origins, [Origin::Loaded, Origin::Superseded, Origin::Loaded]);
    for (key, stored) in [("a", true), ("b", false), ("c", false)] {
        assert_eq!(store.exists(key).await.unwrap(), stored, "{key}");
    }
    told.lock().unwrap().clear();
    let loaded = store
        .get_or_load_many_with(["a", "b"], load(false))
        .await
        .unwrap();
    assert_eq!((loaded["a"], loaded["b"]), (1, 1));
    assert_eq!(*told.lock().unwrap(), [("b".to_owned(), None)]);
    assert_eq!(store.invalidate(["row:a", "row:b"]).await.unwrap(), 2);
}

/// What loaders of `k` were told, and what they give in turn.
#[derive(Clone)]
struct Script {
    told: Arc<Mutex<Vec<Told>>>,
    gives: Arc<Mutex<VecDeque<Fetched<u32>>>>,
}

/// An old value, its validator, and whether there was one.
type Told = (Option<u32>, Option<String>, bool);

impl Script {
    fn new(gives: impl IntoIterator<Item = Fetched<u32>>) -> Self {
        Self {
            told: Arc::default(),
            gives: Arc::new(Mutex::new(gives.into_iter().collect())),
        }
    }

    /// A call whose value may be stale, and is then loaded anew.
    async fn call(&self, store: &Store) -> Outcome<u32> {
        self.call_during(store, |_| std::future::ready(())).await
    }

    /// The same, with something that happens once the loader runs.
    async fn call_during<F: Future<Output = ()> + Send + 'static>(
        &self,
        store: &Store,
        during: fn(Store) -> F,
    ) -> Outcome<u32> {
        let (script, changes) = (self.clone(), store.clone());
        let load = move |cx: LoadContext<u32>| {
            let (script, store) = (script.clone(), changes.clone());
            async move {
                let told = (
                    cx.stale().copied(),
                    cx.validator().map(str::to_owned),
                    cx.is_refresh(),
                );
                let is_first = {
                    let mut all = script.told.lock().unwrap();
                    all.push(told);
                    all.len() == 1
                };
                if is_first {
                    during(store).await;
                }
                Ok::<_, String>(script.gives.lock().unwrap().pop_front().unwrap())
            }
        };
        let load = store.get_or_load_with("k", load).depends_on("call");
        load.ttl(ms(1)).stale_if_error(secs(60)).outcome().await
    }

    fn told(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

/// A stale value of `k`, with a validator and a name of its own.
async fn stale(store: &Store) {
    let first = Script::new([Fetched::new(1).validator("e1").depends_on("x")]);
    assert_eq!(seen(first.call(store).await), (1, Origin::Loaded));
    assert_eq!(first.told(), [(None, None, false)]);
    tokio::time::sleep(ms(5)).await;
}

fn old(validator: &str) -> Told {
    (Some(1), Some(validator.to_owned()), true)
}

const NOTHING: Told = (None, None, false);

pub(crate) async fn a_value_that_is_confirmed_is_kept_for_another_ttl(store: Store) {
    stale(&store).await;
    let script = Script::new([
        Fetched::not_modified(),
        Fetched::not_modified()
            .validator("longer than before")
            .depends_on("y"),
        Fetched::not_modified().validator("").ttl(secs(60)),
    ]);
    for validator in ["e1", "e1", "longer than before"] {
        let kept = script.call(&store).await.unwrap();
        assert_eq!((kept.value, kept.origin, kept.age), (1, Origin::Loaded, ms(0)));
        assert_eq!(script.told(), [old(validator)]);
        tokio::time::sleep(ms(5)).await;
    }
    let Some(Ttl::Remaining(left)) = store.ttl("k").await.unwrap() else {
        panic!("it has a TTL");
    };
    assert!(left > secs(50) && left <= secs(60), "{left:?}");
    assert_eq!(seen(script.call(&store).await), (1, Origin::Fresh));
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(1));
    // And it depends on all that it has ever depended on.
    assert_eq!(store.invalidate("y").await.unwrap(), 1);
    stale(&store).await;
    let again = Script::new([Fetched::not_modified().depends_on("y").ttl(secs(60))]);
    assert_eq!(seen(again.call(&store).await), (1, Origin::Loaded));
    assert_eq!(store.invalidate("x").await.unwrap(), 1);
}

pub(crate) async fn a_validator_stays_whatever_becomes_of_the_ttl(store: Store) {
    let first = Script::new([Fetched::new(1).validator("e1").ttl(secs(60))]);
    assert_eq!(first.call(&store).await.unwrap().value, 1);
    assert!(store.expire("k", secs(30)).await.unwrap());
    assert!(store.persist("k").await.unwrap());
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(1));
    assert!(!store.add("k", "2").await.unwrap(), "it is fresh");
    assert!(store.expire("k", ms(1)).await.unwrap());
    tokio::time::sleep(ms(5)).await;
    let script = Script::new([Fetched::not_modified()]);
    assert_eq!(seen(script.call(&store).await), (1, Origin::Loaded));
    assert_eq!(script.told(), [old("e1")]);
    tokio::time::sleep(ms(5)).await;
    assert!(store.add("k", "2").await.unwrap(), "it is stale");
}

pub(crate) async fn a_cached_none_with_a_validator_is_none(store: Store) {
    let load = |_: LoadContext<Option<u32>>| async { Ok::<_, String>(Fetched::new(None).validator("e1")) };
    assert_eq!(store.get_or_load_with("k", load).await.unwrap(), None);
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), None);
    assert_eq!(store.get_model::<Option<u32>>("k").await.unwrap(), Some(None));
    assert!(store.add_model("k", &3).await.unwrap());
}

/// The lease lives: nothing has changed.
pub(crate) async fn an_old_value_that_has_gone_is_not_kept(store: Store) {
    let window = secs(1);
    let told = Arc::new(Mutex::new(Vec::new()));
    let call = |value: u32| {
        let told = told.clone();
        let load = move |cx: LoadContext<u32>| {
            told.lock().unwrap().push((cx.stale().copied(), cx.is_refresh()));
            async move {
                if cx.stale().is_none() {
                    return Ok::<_, String>(Fetched::new(value));
                }
                tokio::time::sleep(window + ms(100)).await;
                Ok(Fetched::not_modified())
            }
        };
        store.get_or_load_with("k", load)
    };
    let old = call(1).ttl(ms(1)).stale_if_error(window).outcome().await;
    assert_eq!(seen(old), (1, Origin::Loaded));
    tokio::time::sleep(ms(5)).await;
    assert_eq!(seen(call(2).ttl(secs(60)).outcome().await), (2, Origin::Loaded));
    assert_eq!(
        *told.lock().unwrap(),
        [(None, false), (Some(1), true), (None, false)]
    );
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(2));
}

pub(crate) async fn an_old_value_is_not_kept_under_a_lease_that_has_ended(store: Store) {
    let changes: [During; 4] = [
        |store| Box::pin(async move { assert_eq!(store.invalidate("x").await.unwrap(), 1) }),
        |store| Box::pin(async move { store.set("call", "2").await.unwrap() }),
        |store| Box::pin(async move { store.set("late", "2").await.unwrap() }),
        |store| Box::pin(async move { assert!(store.delete("k").await.unwrap()) }),
    ];
    for during in changes {
        stale(&store).await;
        let script = Script::new([
            Fetched::not_modified().depends_on("late"),
            Fetched::new(2).depends_on("late"),
        ]);
        let (value, origin) = seen(script.call_during(&store, during).await);
        assert_eq!((value, origin), (2, Origin::Superseded));
        assert_eq!(script.told(), [old("e1"), NOTHING]);
        store.delete("k").await.unwrap();
    }
}

pub(crate) async fn there_is_nothing_to_confirm_without_an_old_value(store: Store) {
    let script = Script::new([Fetched::not_modified(), Fetched::new(2)]);
    let failed = script.call(&store).await;
    assert!(
        matches!(failed, Err(LoadError::Store(Error::Unsupported { .. }))),
        "{failed:?}"
    );
    assert_eq!(script.told(), [NOTHING]);
    assert!(!store.exists("k").await.unwrap());
    // Nor for a value that the source has not given.
    store.set("k", [0xFF; 3]).await.unwrap();
    assert!(script.call(&store).await.is_ok());
    assert_eq!(script.told(), [(None, None, true)]);
}

pub(crate) async fn a_confirmed_value_can_be_given_and_not_kept(store: Store) {
    stale(&store).await;
    let script = Script::new([
        Fetched::not_modified().do_not_store(),
        Fetched::not_modified().ttl(secs(0)),
        Fetched::not_modified(),
    ]);
    for _ in 0..2 {
        let given = script.call(&store).await.unwrap();
        assert_eq!((given.value, given.fresh_for), (1, Some(secs(0))));
        assert_eq!(store.get_model::<u32>("k").await.unwrap(), None, "it stays stale");
    }
    assert_eq!(seen(script.call(&store).await), (1, Origin::Loaded));
    assert_eq!(script.told(), [old("e1"), old("e1"), old("e1")]);
}

pub(crate) async fn a_validator_has_a_length(store: Store) {
    let most = "v".repeat(65_535);
    let script = Script::new([
        Fetched::new(1).validator(format!("{most}v")),
        Fetched::new(1).validator(most.clone()),
        Fetched::not_modified(),
    ]);
    assert_eq!(script.call(&store).await.unwrap().value, 1);
    assert!(!store.exists("k").await.unwrap());
    assert_eq!(script.call(&store).await.unwrap().value, 1);
    tokio::time::sleep(ms(5)).await;
    assert_eq!(seen(script.call(&store).await), (1, Origin::Loaded));
    assert_eq!(script.told(), [NOTHING, NOTHING, old(&most)]);
}

/// The loader runs again for those that have gone, and for no others.
pub(crate) async fn of_many_old_values_those_that_are_there_are_kept(store: Store) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let call = |confirms: bool| {
        let (calls, changes) = (calls.clone(), store.clone());
        let load = move |contexts: Vec<LoadContext<u32>>| {
            let (calls, store) = (calls.clone(), changes.clone());
            async move {
                let mut keys: Vec<String> = contexts.iter().map(|cx| cx.key().to_owned()).collect();
                keys.sort_unstable();
                calls.lock().unwrap().push(keys);
                if confirms && contexts.len() == 3 {
                    store.invalidate("row:b").await.unwrap();
                }
                let fetched = |cx: &LoadContext<u32>| {
                    let fetched = match cx.stale() {
                        Some(_) => Fetched::not_modified(),
                        None => Fetched::new(if confirms { 2 } else { 1 }),
                    };
                    (
                        cx.key().to_owned(),
                        fetched.depends_on(format!("row:{}", cx.key())),
                    )
                };
                Ok::<HashMap<_, _>, String>(contexts.iter().map(fetched).collect())
            }
        };
        let load = store.get_or_load_many_with(["a", "b", "c"], load);
        load.ttl(ms(1)).stale_if_error(secs(60))
    };
    assert_eq!(call(false).await.unwrap().len(), 3);
    tokio::time::sleep(ms(5)).await;
    calls.lock().unwrap().clear();
    let loaded = call(true).outcome().await.unwrap();
    let seen = ["a", "b", "c"].map(|key| (loaded[key].value, loaded[key].origin));
    // `row:b` has changed since the load began.
    assert_eq!(
        seen,
        [(1, Origin::Loaded), (2, Origin::Superseded), (1, Origin::Loaded)]
    );
    assert_eq!(*calls.lock().unwrap(), [vec!["a", "b", "c"], vec!["b"]]);
}
