//! Nothing is stored that has changed while it was loaded, whatever changed it, and whenever.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use cachestore::{EngineKind, LoadError, Loaded, Origin, Store};
use tokio::task::JoinHandle;

use crate::engines::{OnMemory, fresh, over_all_engines, seen, settled};
use crate::loads::Loaders;

over_all_engines! {
    what_changes_while_it_is_loaded_is_not_stored
    what_changes_nothing_of_it_supersedes_nothing
}

const ZERO: Duration = Duration::ZERO;

/// What changes a key, or one that it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Set,
    SetModel,
    SetMany,
    Add,
    Replace,
    CompareAndSet,
    Take,
    TakeNothing,
    Incr,
    IncrFromNothing,
    Delete,
    DeleteNothing,
    DeleteMany,
    Invalidate,
    InvalidateOneOfMany,
    /// Of a name that an entry depends on, on which the target does.
    Cascade,
    /// The same, when that entry has gone.
    CascadeThroughAGhost,
    ClearTheNamespace,
    ClearTheRoot,
}

const CHANGES: [Change; 19] = [
    Change::Set,
    Change::SetModel,
    Change::SetMany,
    Change::Add,
    Change::Replace,
    Change::CompareAndSet,
    Change::Take,
    Change::TakeNothing,
    Change::Incr,
    Change::IncrFromNothing,
    Change::Delete,
    Change::DeleteNothing,
    Change::DeleteMany,
    Change::Invalidate,
    Change::InvalidateOneOfMany,
    Change::Cascade,
    Change::CascadeThroughAGhost,
    Change::ClearTheNamespace,
    Change::ClearTheRoot,
];

/// The key that is loaded, and what it depends on.
const KEY: &str = "key";
const NAME: &str = "name";

struct Case {
    root: Store,
    store: Store,
    loaders: Loaders,
    change: Change,
    target: &'static str,
}

impl Case {
    /// Each change, of the key itself and of the name.
    fn all() -> impl Iterator<Item = (Change, &'static str)> {
        let targets = CHANGES
            .into_iter()
            .flat_map(|change| [(change, KEY), (change, NAME)]);
        let through_others = [Change::Cascade, Change::CascadeThroughAGhost];
        targets.filter(move |(change, target)| *target == NAME || !through_others.contains(change))
    }

    async fn prepared(change: Change, target: &'static str) -> Self {
        let root = fresh().await;
        let store = root.namespace("tenant").unwrap();
        match change {
            // None of these is a text as a model, so that the key is loaded all the same.
            Change::Replace | Change::CompareAndSet | Change::Take | Change::Incr | Change::Delete => {
                store.set(target, "5").await.unwrap();
            }
            Change::Cascade => store.set(NAME, "5").depends_on(["far"]).await.unwrap(),
            Change::CascadeThroughAGhost => {
                store.set(NAME, "5").depends_on(["far"]).await.unwrap();
                store
                    .set("keeps the tombstone", "5")
                    .depends_on([NAME])
                    .await
                    .unwrap();
                assert!(store.delete(NAME).await.unwrap());
            }
            _ => {}
        }
        Self {
            root,
            store,
            loaders: Loaders::new(),
            change,
            target,
        }
    }

    /// Makes the change, if it can be made of what is there.
    async fn change(&self) -> bool {
        let (store, key) = (&self.store, self.target);
        match self.change {
            Change::Set => store.set(key, "5").await.unwrap(),
            Change::SetModel => store.set_model(key, "v2").await.unwrap(),
            Change::SetMany => store.set_many([("other", "5"), (key, "5")]).await.unwrap(),
            Change::Add => return store.add(key, "5").await.unwrap(),
            Change::Replace => return store.replace(key, "6").await.unwrap(),
            Change::CompareAndSet => return store.compare_and_set(key, "5", "6").await.unwrap(),
            Change::Take | Change::TakeNothing => drop(store.take(key).await.unwrap()),
            Change::Incr | Change::IncrFromNothing => return store.incr(key, 1).await.is_ok(),
            Change::Delete | Change::DeleteNothing => drop(store.delete(key).await.unwrap()),
            Change::DeleteMany => drop(store.delete_many(["other", key]).await.unwrap()),
            Change::Invalidate => drop(store.invalidate([key]).await.unwrap()),
            Change::InvalidateOneOfMany => {
                store
                    .invalidate(["other", "another", key, "more"])
                    .await
                    .map(|_| ())
                    .unwrap();
            }
            Change::Cascade | Change::CascadeThroughAGhost => {
                store.invalidate(["far"]).await.map(|_| ()).unwrap();
            }
            Change::ClearTheNamespace => drop(store.clear().await.unwrap()),
            Change::ClearTheRoot => drop(self.root.clear().await.unwrap()),
        }
        true
    }

    /// Whether it also removes what was stored before. What depends on a name stays when that is written
    /// or deleted.
    fn removes_what_is_stored(&self) -> bool {
        let writes = CHANGES.iter().take_while(|change| **change != Change::Invalidate);
        self.target == KEY || !writes.into_iter().any(|change| *change == self.change)
    }

    /// Whether the change leaves a value that is as good as a loaded one.
    fn writes_a_model(&self) -> bool {
        self.change == Change::SetModel && self.target == KEY
    }

    async fn load(&self, loader: impl FnOnce() -> crate::loads::Loading<String> + Send + 'static) -> Outcome {
        let load = self.store.get_or_load(KEY, loader).depends_on([NAME]);
        load.outcome().await
    }

    fn spawned(&self, value: &str) -> JoinHandle<Outcome> {
        let load = self.store.clone();
        let held = self.loaders.held(value.to_owned());
        tokio::spawn(async move { load.get_or_load(KEY, held).depends_on([NAME]).outcome().await })
    }
}

type Outcome = Result<Loaded<String>, LoadError<String>>;

/// The loader has read its value, and then the change is acknowledged.
async fn what_changes_while_it_is_loaded_is_not_stored() {
    for (change, target) in Case::all() {
        for others_load_first in [true, false] {
            let what = format!("{change:?} of the {target}, {others_load_first}");
            let case = Case::prepared(change, target).await;
            let before: Vec<_> = (0..3).map(|_| case.spawned("v1")).collect();
            case.loaders.called(1).await;
            settled(&case.store).await;
            assert!(case.change().await, "{what}");
            let after = async || {
                let after = seen(case.load(case.loaders.at_once("v2".to_owned())).await);
                let fresh = case.writes_a_model();
                let origin = if fresh { Origin::Fresh } else { Origin::Loaded };
                assert_eq!(after, ("v2".to_owned(), origin, ZERO), "{what}");
            };
            if others_load_first {
                after().await;
            }
            case.loaders.let_go(1);
            for caller in before {
                let superseded = seen(caller.await.unwrap());
                assert_eq!(superseded, ("v1".to_owned(), Origin::Superseded, ZERO), "{what}");
            }
            if !others_load_first {
                if !case.writes_a_model() {
                    let model = case.store.get_model::<String>(KEY).await;
                    assert!(!matches!(model, Ok(Some(_))), "{what}: {model:?}");
                }
                after().await;
            }
            let last = seen(case.load(case.loaders.at_once("v3".to_owned())).await);
            assert_eq!(
                last,
                ("v2".to_owned(), Origin::Fresh, ZERO),
                "{what}: what is new stays"
            );
            let calls = if case.writes_a_model() { 1 } else { 2 };
            assert_eq!(
                (case.loaders.calls(), case.loaders.cut_off()),
                (calls, 0),
                "{what}"
            );
            assert_eq!(case.store.stats().await.unwrap().dead_leases, 1, "{what}");
            if !case.writes_a_model() {
                case.store.invalidate([NAME]).await.unwrap();
                assert!(
                    !case.store.exists(KEY).await.unwrap(),
                    "{what}: it depends on its name"
                );
            }
        }
    }
}

/// The change comes after so and so many turns of the load, from before its first to after its last.
#[tokio::test(start_paused = true)]
async fn at_whatever_moment_it_changes_nobody_reads_what_was_before() {
    let _on = OnMemory::chosen();
    for (change, target) in Case::all() {
        let mut fates = HashSet::new();
        for turns in 0..30 {
            let what = format!("{change:?} of the {target} after {turns} turns");
            let case = Case::prepared(change, target).await;
            let version = Arc::new(AtomicU32::new(1));
            let reads = || {
                let version = version.clone();
                case.loaders.runs(async move {
                    tokio::task::yield_now().await;
                    let version = version.load(SeqCst);
                    for _ in 0..3 {
                        tokio::task::yield_now().await;
                    }
                    Ok(format!("v{version}"))
                })
            };
            let (store, loader) = (case.store.clone(), reads());
            let before =
                tokio::spawn(
                    async move { store.get_or_load(KEY, loader).depends_on([NAME]).outcome().await },
                );
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            version.store(2, SeqCst);
            if !case.change().await {
                continue;
            }
            if case.removes_what_is_stored() {
                let model = case.store.get_model::<String>(KEY).await;
                let is_old = matches!(&model, Ok(Some(text)) if text == "v1");
                assert!(!is_old, "{what}: {model:?}");
                let after = case.load(reads()).await.unwrap();
                assert_eq!(after.value, "v2", "{what}: {:?}", after.origin);
            }
            let before = before.await.unwrap().unwrap();
            settled(&case.store).await;
            if case.removes_what_is_stored() || before.origin == Origin::Superseded {
                let last = case.load(reads()).await.unwrap();
                assert_eq!(last.value, "v2", "{what}");
                assert_eq!(seen(case.load(reads()).await).1, Origin::Fresh, "{what}");
            }
            fates.insert((before.value, before.origin));
        }
        // Before the load began, while it went on, and after it had ended.
        let met = |value: &str, origin| fates.contains(&(value.to_owned(), origin));
        let writes_a_model = change == Change::SetModel && target == KEY;
        assert!(
            met("v2", Origin::Loaded) || writes_a_model,
            "{change:?} of the {target}: {fates:?}"
        );
        assert!(
            met("v1", Origin::Superseded),
            "{change:?} of the {target}: {fates:?}"
        );
        let ended = met("v1", Origin::Loaded);
        let cannot = [
            Change::Add,
            Change::CompareAndSet,
            Change::Incr,
            Change::IncrFromNothing,
        ];
        let cannot = target == KEY && cannot.contains(&change);
        assert!(ended || cannot, "{change:?} of the {target}: {fates:?}");
    }
}

async fn what_changes_nothing_of_it_supersedes_nothing() {
    let root = fresh().await;
    let store = root.namespace("tenant").unwrap();
    let other = root.namespace("other").unwrap();
    store.set(KEY, "5").await.unwrap();
    let loaders = Loaders::new();
    let load = store.get_or_load(KEY, loaders.held("v1".to_owned()));
    let changes = async {
        loaders.called(1).await;
        assert!(!store.add(KEY, "x").await.unwrap());
        assert!(!store.replace(NAME, "x").await.unwrap());
        assert!(!store.compare_and_set(KEY, "x", "y").await.unwrap());
        assert!(store.expire(KEY, crate::support::secs(60)).await.unwrap());
        assert!(store.persist(KEY).await.unwrap());
        store.set(NAME, "not a number").await.unwrap_or_default();
        store.delete(NAME).await.unwrap();
        store.get_many([KEY, NAME]).await.unwrap();
        store.set("k", "a key that begins likewise").await.unwrap();
        store.invalidate(["key2", "ke"]).await.unwrap();
        other.set(KEY, "x").await.unwrap();
        other.invalidate([KEY, NAME]).await.unwrap();
        other.clear().await.unwrap();
        store.namespace("nested").unwrap().clear().await.unwrap();
        let lock = store.lock(KEY).await.unwrap();
        lock.release().await.unwrap();
        // A server is told of a plain command before anybody knows that it fails: the load is superseded in vain.
        if store.engine() == EngineKind::Memory {
            assert!(store.incr(KEY, i64::MAX).await.is_err());
        }
        loaders.let_go(1);
    };
    let (loaded, ()) = tokio::join!(load.outcome(), changes);
    assert_eq!(seen(loaded), ("v1".to_owned(), Origin::Loaded, ZERO));
    assert_eq!(store.get_model::<String>(KEY).await.unwrap().unwrap(), "v1");
    assert_eq!(store.stats().await.unwrap().dead_leases, 0);
}
