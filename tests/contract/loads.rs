//! Loads, as far as a single process sees them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cachestore::{Error, LoadError, Loaded, Origin, Store, Ttl};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::support::{ms, secs};

/// A source that counts how often it is read, and can be stopped in between.
#[derive(Clone)]
struct Source {
    reads: Arc<AtomicU32>,
    gate: Arc<Semaphore>,
}

impl Source {
    fn open() -> Self {
        Self::with(Semaphore::MAX_PERMITS)
    }

    fn closed() -> Self {
        Self::with(0)
    }

    fn with(permits: usize) -> Self {
        Self {
            reads: Arc::default(),
            gate: Arc::new(Semaphore::new(permits)),
        }
    }

    fn let_go(&self) {
        self.gate.add_permits(1000);
    }

    fn reads(&self) -> u32 {
        self.reads.load(SeqCst)
    }

    /// Waits until it has been read so often.
    async fn read(&self, times: u32) {
        while self.reads() < times {
            tokio::time::sleep(ms(1)).await;
        }
    }

    fn gives<T: Send + 'static>(&self, value: T) -> impl AsyncLoader<T> + use<T> {
        let source = self.clone();
        move || -> Loading<T> {
            source.reads.fetch_add(1, SeqCst);
            Box::pin(async move {
                source
                    .gate
                    .acquire()
                    .await
                    .map_err(|error| error.to_string())?
                    .forget();
                Ok(value)
            })
        }
    }
}

type Loading<T> = std::pin::Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

trait AsyncLoader<T>: FnOnce() -> Loading<T> + Send + 'static {}
impl<T, F: FnOnce() -> Loading<T> + Send + 'static> AsyncLoader<T> for F {}

type Outcome<T> = Result<Loaded<T>, LoadError<String>>;

fn seen<T>(outcome: Outcome<T>) -> (T, Origin) {
    let loaded = outcome.unwrap();
    (loaded.value, loaded.origin)
}

pub(crate) async fn a_value_is_loaded_once_and_then_read(store: Store) {
    let source = Source::open();
    let load = |value| store.get_or_load("k", source.gives(value)).outcome();
    assert_eq!(seen(load(1).await), (1, Origin::Loaded));
    assert_eq!(seen(load(2).await), (1, Origin::Fresh));
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(1));
    assert_eq!(
        store.get_models::<u32>(["none", "k"]).await.unwrap(),
        [None, Some(1)]
    );
    assert_eq!(store.get("k").await.unwrap().unwrap()[0], 0xC1);
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Persistent));
    assert_eq!(
        crate::support::keys(&store, "").await,
        ["k"],
        "and nothing beside it"
    );
    assert!(store.delete("k").await.unwrap());
    assert_eq!(seen(load(3).await), (3, Origin::Loaded));
    assert_eq!((source.reads(), store.stats().await.unwrap().loads), (2, 2));
}

pub(crate) async fn many_callers_share_one_load(store: Store) {
    let source = Source::closed();
    let calls = join_all((0..50).map(|_| store.get_or_load("k", source.gives("v".to_owned())).outcome()));
    let (all, ()) = tokio::join!(calls, async {
        source.read(1).await;
        source.let_go();
    });
    let mut led = 0;
    for outcome in all {
        let (value, origin) = seen(outcome);
        assert_eq!(value, "v");
        led += u32::from(origin == Origin::Loaded);
    }
    assert_eq!((led, source.reads()), (1, 1));
}

pub(crate) async fn a_thousand_callers_of_a_cold_key_call_one_loader(store: Store) {
    for round in 0..5 {
        let source = Source::open();
        let key = format!("k{round}");
        let calls = (0..1000).map(|_| {
            let (store, key, load) = (store.clone(), key.clone(), source.gives(round));
            tokio::spawn(async move { store.get_or_load(key, load).outcome().await })
        });
        let mut led = 0;
        for call in calls.collect::<Vec<_>>() {
            let (value, origin) = seen(call.await.unwrap());
            assert_eq!(value, round);
            led += u32::from(origin == Origin::Loaded);
        }
        assert_eq!((led, source.reads()), (1, 1), "round {round}");
    }
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.hits + stats.misses, stats.loads), (5000, 5));
}

/// Polls a call once, so that its first request is in the queue, and waits until the engine has answered it.
async fn send_first_request<F: Future + Unpin>(store: &Store, call: &mut F) {
    assert!(call.now_or_never().is_none());
    store.get("behind it").await.unwrap();
    store.ping().await.unwrap();
}

/// A call that is not polled holds up nobody, whatever the engine has granted it.
pub(crate) async fn a_call_that_is_not_polled_holds_up_no_other(store: Store) {
    let source = Source::open();
    let mut idle = store.get_or_load("k", source.gives(1)).outcome().boxed();
    send_first_request(&store, &mut idle).await;
    let other = store.get_or_load("k", source.gives(2)).outcome();
    let other = tokio::time::timeout(secs(5), other).await.unwrap();
    assert_eq!(seen(other), (2, Origin::Loaded));
    let (value, origin) = seen(idle.await);
    assert_eq!(value, 2);
    assert!(matches!(origin, Origin::Joined | Origin::Fresh), "{origin:?}");
    assert_eq!(source.reads(), 1);
}

/// What was granted to a call that has gone is free for the next one.
pub(crate) async fn a_call_that_has_gone_leaves_no_lease_behind(store: Store) {
    let source = Source::open();
    let mut gone = store.get_or_load("k", source.gives(1)).outcome().boxed();
    send_first_request(&store, &mut gone).await;
    drop(gone);
    let next = store.get_or_load("k", source.gives(2)).outcome();
    let next = tokio::time::timeout(secs(5), next).await.unwrap();
    assert_eq!(seen(next), (2, Origin::Loaded));
    assert_eq!(source.reads(), 1);
}

/// Who comes while a load runs that its caller began alone is given its value.
pub(crate) async fn who_joins_a_load_shares_its_value(store: Store) {
    let source = Source::closed();
    let first = tokio::spawn({
        let (store, load) = (store.clone(), source.gives(7));
        async move { store.get_or_load("k", load).outcome().await }
    });
    source.read(1).await;
    let later: Vec<_> = (0..20)
        .map(|_| store.get_or_load("k", source.gives(8)).outcome().boxed())
        .collect();
    let let_go = async {
        // All have found nothing by then.
        while store.stats().await.unwrap().misses < 21 {
            tokio::time::sleep(ms(1)).await;
        }
        source.let_go();
    };
    let (later, ()) = tokio::join!(join_all(later), let_go);
    assert_eq!(seen(first.await.unwrap()), (7, Origin::Loaded));
    for outcome in later {
        assert_eq!(seen(outcome), (7, Origin::Joined));
    }
    assert_eq!(source.reads(), 1);
}

pub(crate) async fn a_loaded_value_has_its_ttl_and_windows(store: Store) {
    let source = Source::open();
    let load = store
        .get_or_load("k", source.gives(1))
        .ttl(secs(60))
        .stale_if_error(secs(40));
    load.await.unwrap();
    let kept = store.ttl("k").await.unwrap().unwrap().remaining().unwrap();
    assert!(kept > secs(58) && kept <= secs(60), "{kept:?}");
    let age = store
        .get_or_load("k", source.gives(2))
        .outcome()
        .await
        .unwrap()
        .age;
    assert!(age < secs(2), "{age:?}");
    let many = |keys: Vec<String>| async { Ok::<_, String>(keys.into_iter().map(|key| (key, 1)).collect()) };
    store
        .get_or_load_many(["m"], many)
        .ttl_for(|_| secs(30))
        .await
        .unwrap();
    let kept = store.ttl("m").await.unwrap().unwrap().remaining().unwrap();
    assert!(kept > secs(28) && kept <= secs(30), "{kept:?}");
}

pub(crate) async fn a_stale_value_is_served_while_a_new_one_is_loaded(store: Store) {
    let (first, second) = (Source::open(), Source::closed());
    let load = |source: &Source, value| {
        let load = store.get_or_load("k", source.gives(value)).ttl(ms(20));
        load.stale_while_revalidate(secs(60))
            .stale_if_error(secs(60))
            .outcome()
    };
    assert_eq!(seen(load(&first, 1).await), (1, Origin::Loaded));
    tokio::time::sleep(ms(40)).await;
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), None, "it is stale");
    for stale in join_all((0..10).map(|_| load(&second, 2))).await {
        assert_eq!(seen(stale), (1, Origin::Stale));
    }
    second.read(1).await;
    assert_eq!(seen(load(&second, 2).await), (1, Origin::Stale));
    assert_eq!(second.reads(), 1);
    second.let_go();
    let is_new = async {
        while load(&second, 3).await.unwrap().value == 1 {
            tokio::time::sleep(ms(1)).await;
        }
    };
    assert!(tokio::time::timeout(secs(5), is_new).await.is_ok());
}

pub(crate) async fn a_failure_is_told_and_not_kept(store: Store) {
    let failing = || async { Err::<u32, _>("no such row".to_owned()) };
    let panicking = || async { panic!("in the loader") };
    let hung = Arc::new(AtomicU32::new(0));
    let count = hung.clone();
    let hanging = move || {
        count.fetch_add(1, SeqCst);
        std::future::pending::<Result<u32, String>>()
    };
    let failed = store.get_or_load("k", failing).await;
    assert!(
        matches!(&failed, Err(LoadError::Loader(error)) if **error == "no such row"),
        "{failed:?}"
    );
    let failed: Result<u32, LoadError<String>> = store.get_or_load("k", panicking).await;
    assert!(matches!(failed, Err(LoadError::Panicked)), "{failed:?}");
    let failed = store.get_or_load("hangs", hanging).timeout(ms(20)).await;
    assert!(matches!(failed, Err(LoadError::Timeout)), "{failed:?}");
    assert_eq!(crate::support::keys(&store, "").await, [""; 0]);
    for key in ["k", "hangs"] {
        // A load that is about to end may still be joined.
        let loaded = async {
            loop {
                match store.get_or_load(key, Source::open().gives(1)).outcome().await {
                    Err(LoadError::Timeout) => tokio::task::yield_now().await,
                    loaded => break loaded,
                }
            }
        };
        assert_eq!(seen(loaded.await), (1, Origin::Loaded));
    }
    // The caller may stop waiting before its loader fails. On a busy machine it stops before the loader is
    // called, and then nothing has failed.
    let failures = 2 + u64::from(hung.load(SeqCst));
    let all_counted = async {
        while store.stats().await.unwrap().load_failures < failures {
            tokio::time::sleep(ms(1)).await;
        }
    };
    assert!(tokio::time::timeout(secs(5), all_counted).await.is_ok());
}

/// By each change there is, of the key and of a name that it depends on.
pub(crate) async fn what_changes_while_it_is_loaded_is_not_stored(store: Store) {
    store.set("far", "!").depends_on(["farther"]).await.unwrap();
    for change in 0..14 {
        let key = format!("k{change}");
        let (old, new) = (Source::closed(), Source::open());
        let load = |source: &Source, value: &str| {
            let load = store
                .get_or_load(&key, source.gives(value.to_owned()))
                .depends_on(["name", "far"]);
            load.outcome()
        };
        let (before, ()) = tokio::join!(load(&old, "old"), async {
            old.read(1).await;
            match change {
                0 => store.set(&key, "!").await.unwrap(),
                1 => assert!(store.add(&key, "!").await.unwrap()),
                2 => drop(store.incr(&key, 1).await.unwrap()),
                3 => assert!(!store.delete(&key).await.unwrap()),
                4 => drop(store.take(&key).await.unwrap()),
                5 => drop(store.delete_many([&key, "other"]).await.unwrap()),
                6 => store.set_many([("other", "!"), (&key, "!")]).await.unwrap(),
                7 => drop(store.invalidate([&key]).await.unwrap()),
                8 => drop(store.invalidate(["name"]).await.unwrap()),
                9 => drop(store.delete("name").await.unwrap()),
                10 => store.set_model("name", &5).await.unwrap(),
                11 => assert!(store.replace("name", "!").await.unwrap()),
                12 => drop(store.invalidate(["farther"]).await.unwrap()),
                _ => drop(store.clear().await.unwrap()),
            }
            // Who comes now does not wait for what was read before.
            let after = seen(load(&new, "new").await);
            assert_eq!(after, ("new".to_owned(), Origin::Loaded), "change {change}");
            old.let_go();
        });
        assert_eq!(
            seen(before),
            ("old".to_owned(), Origin::Superseded),
            "change {change}"
        );
        assert_eq!(
            seen(load(&new, "").await),
            ("new".to_owned(), Origin::Fresh),
            "change {change}"
        );
        assert!(store.invalidate(["name"]).await.unwrap() >= 1, "change {change}");
        assert!(
            !store.exists(&key).await.unwrap(),
            "change {change}: it depends on its name"
        );
        store.set("name", "!").await.unwrap();
        store.set("far", "!").depends_on(["farther"]).await.unwrap();
    }
    assert_eq!(store.stats().await.unwrap().dead_leases, 14);
}

pub(crate) async fn what_is_none_of_its_business_supersedes_nothing(store: Store) {
    let source = Source::closed();
    let load = store
        .get_or_load("k", source.gives(1))
        .depends_on(["name"])
        .outcome();
    let (loaded, ()) = tokio::join!(load, async {
        source.read(1).await;
        store.set("k2", "!").depends_on(["k"]).await.unwrap();
        store.delete("nam").await.unwrap();
        store.invalidate(["names", "K"]).await.unwrap();
        assert!(!store.expire("k", secs(1)).await.unwrap());
        store.get_many(["k", "name"]).await.unwrap();
        store.namespace("within").unwrap().clear().await.unwrap();
        store
            .namespace("within")
            .unwrap()
            .invalidate(["k", "name"])
            .await
            .unwrap();
        source.let_go();
    });
    assert_eq!(seen(loaded), (1, Origin::Loaded));
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(1));
}

/// A load of `k` that depends on a key of another namespace, which is cleared meanwhile.
pub(crate) async fn a_clearing_ends_the_loads_that_depend_on_what_it_removes(store: Store) {
    let within = store.namespace("within").unwrap();
    for value in ["there", "absent"] {
        if value == "there" {
            within.set("name", "1").await.unwrap();
        }
        let source = Source::closed();
        let load = store
            .get_or_load("k", source.gives(1))
            .depends_on("within:name")
            .outcome();
        let (loaded, ()) = tokio::join!(load, async {
            source.read(1).await;
            within.clear().await.unwrap();
            source.let_go();
        });
        assert_eq!(seen(loaded), (1, Origin::Superseded), "{value}");
        assert!(!store.exists("k").await.unwrap(), "{value}");
    }
}

pub(crate) async fn many_keys_are_loaded_by_one_call(store: Store) {
    let calls = Arc::new(AtomicU32::new(0));
    let load = |missing: &[&str]| {
        let (calls, mut expected) = (
            calls.clone(),
            missing.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(),
        );
        expected.sort_unstable();
        move |mut keys: Vec<String>| async move {
            calls.fetch_add(1, SeqCst);
            keys.sort_unstable();
            assert_eq!(keys, expected);
            let found = keys.into_iter().filter(|key| key != "absent");
            Ok::<HashMap<String, usize>, String>(found.map(|key| (key.clone(), key.len())).collect())
        }
    };
    store.set_model("there", &1000_usize).await.unwrap();
    store.set("no model", "!!").await.unwrap();
    let keys = ["three", "there", "absent", "no model", "three"];
    let all = store
        .get_or_load_many(keys, load(&["absent", "no model", "three"]))
        .depends_on(["u"])
        .await
        .unwrap();
    let expected = [("there", 1000), ("three", 5), ("no model", 8)];
    assert_eq!(all, expected.map(|(key, len)| (key.to_owned(), len)).into());
    let all = store
        .get_or_load_many(["three", "there"], load(&[]))
        .await
        .unwrap();
    assert_eq!((all.len(), calls.load(SeqCst)), (2, 1));
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 2);
    let names: Vec<String> = (0..2000).map(|n| format!("n{n}")).collect();
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = store.get_or_load_many(&names, load(&texts)).await.unwrap();
    assert_eq!((all.len(), calls.load(SeqCst)), (2000, 2));
    assert!(
        store
            .get_models::<usize>(&names)
            .await
            .unwrap()
            .iter()
            .all(Option::is_some)
    );
}

pub(crate) async fn a_load_goes_on_without_its_callers(store: Store) {
    let source = Source::closed();
    {
        let mut load = Box::pin(store.get_or_load("k", source.gives(1)).outcome());
        tokio::select! {
            _ = &mut load => panic!("it cannot have ended"),
            () = source.read(1) => {}
        }
    }
    source.let_go();
    let stored = async {
        while store.get_model::<u32>("k").await.unwrap() != Some(1) {
            tokio::time::sleep(ms(1)).await;
        }
    };
    assert!(tokio::time::timeout(secs(5), stored).await.is_ok());
}

pub(crate) async fn a_load_is_refused_before_its_loader_runs(store: Store) {
    let source = Source::open();
    let refused = [
        store.get_or_load(" ", source.gives(1)).await,
        store.get_or_load("k", source.gives(1)).depends_on([""]).await,
        store.get_or_load("k", source.gives(1)).ttl(secs(0)).await,
        store.get_or_load("k", source.gives(1)).timeout(secs(0)).await,
        store.get_or_load("k", source.gives(1)).jitter(2.0).await,
    ];
    for refused in refused {
        let Err(LoadError::Store(error)) = refused else {
            panic!("{refused:?}");
        };
        let expected = matches!(
            error,
            Error::KeyRequired | Error::InvalidTtl { .. } | Error::InvalidConfig { .. }
        );
        assert!(expected, "{error:?}");
    }
    assert_eq!(source.reads(), 0);
    store.close().await.unwrap();
    let closed = store.get_or_load("k", source.gives(1)).await;
    assert!(
        matches!(closed, Err(LoadError::Store(Error::Closed))),
        "{closed:?}"
    );
    assert_eq!(source.reads(), 0);
}

/// A value that stands in an envelope of another version is no model, and no error.
pub(crate) async fn what_another_version_has_stored_is_a_miss(store: Store) {
    let source = Source::open();
    store.get_or_load("k", source.gives(1)).await.unwrap();
    let mut stored = store.get("k").await.unwrap().unwrap().to_vec();
    stored[1] += 1;
    for bytes in [stored.clone(), stored[..9].to_vec()] {
        store.set("k", bytes).await.unwrap();
        assert_eq!(store.get_model::<u32>("k").await.unwrap(), None);
        assert_eq!(store.get_models::<u32>(["k"]).await.unwrap(), [None]);
        assert_eq!(
            seen(store.get_or_load("k", source.gives(2)).outcome().await),
            (2, Origin::Loaded)
        );
    }
}
