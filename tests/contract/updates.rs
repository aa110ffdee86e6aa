//! Models that are written only where nothing else was written meanwhile, whatever the codec.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cachestore::{Error, Store, Ttl};
use serde::{Deserialize, Serialize};

use crate::support::{ms, secs};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Poll {
    question: String,
    votes: Vec<u32>,
}

fn poll(votes: &[u32]) -> Poll {
    Poll {
        question: "why?".into(),
        votes: votes.to_vec(),
    }
}

async fn stale(store: &Store, key: &str) {
    let load = || async { Ok::<Poll, String>(poll(&[9])) };
    let load = store.get_or_load(key, load).ttl(ms(1));
    load.stale_if_error(secs(60)).await.unwrap();
    while store.get_model::<Poll>(key).await.unwrap().is_some() {
        tokio::time::sleep(ms(1)).await;
    }
}

pub(crate) async fn add_model_writes_only_where_there_is_nothing(store: Store) {
    assert!(
        store
            .add_model("k", &poll(&[1]))
            .ttl(secs(60))
            .depends_on("u")
            .await
            .unwrap()
    );
    assert!(!store.add_model("k", &poll(&[2])).await.unwrap());
    assert_eq!(store.get_model("k").await.unwrap(), Some(poll(&[1])));
    assert!(matches!(store.ttl("k").await.unwrap(), Some(Ttl::Remaining(_))));
    assert_eq!(store.invalidate("u").await.unwrap(), 1);
}

pub(crate) async fn compare_and_set_model_compares_values(store: Store) {
    let (one, two) = (poll(&[1]), poll(&[1, 2]));
    assert!(
        !store.compare_and_set_model("k", &one, &two).await.unwrap(),
        "absent"
    );
    store.set_model("k", &one).depends_on("old").await.unwrap();
    assert!(!store.compare_and_set_model("k", &two, &two).await.unwrap());
    let swap = store.compare_and_set_model("k", &one, &two);
    assert!(swap.ttl(secs(60)).depends_on(["u"]).await.unwrap());
    assert_eq!(store.get_model("k").await.unwrap(), Some(two.clone()));
    assert!(matches!(store.ttl("k").await.unwrap(), Some(Ttl::Remaining(_))));
    assert_eq!(store.invalidate("u").await.unwrap(), 1);

    store.set("k", "?").await.unwrap();
    let outcome = store.compare_and_set_model("k", &one, &two).await;
    assert!(matches!(outcome, Err(Error::Decode(_))), "{outcome:?}");
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "?", "it stays");
}

/// What was encoded in another way, or was loaded, is the same model.
pub(crate) async fn compare_and_set_model_takes_what_was_encoded_otherwise(store: Store) {
    #[derive(Serialize)]
    struct Turned {
        votes: Vec<u32>,
        question: String,
    }
    let turned = Turned {
        votes: vec![1],
        question: "why?".into(),
    };
    store.set_model("k", &turned).await.unwrap();
    assert!(
        store
            .compare_and_set_model("k", &poll(&[1]), &poll(&[2]))
            .await
            .unwrap()
    );
    let load = || async { Ok::<Poll, String>(poll(&[1])) };
    store.get_or_load("loaded", load).ttl(secs(60)).await.unwrap();
    let (old, new) = (poll(&[1]), poll(&[2]));
    assert!(store.compare_and_set_model("loaded", &old, &new).await.unwrap());
    assert_eq!(store.get_model("loaded").await.unwrap(), Some(poll(&[2])));
}

pub(crate) async fn update_model_creates_changes_and_deletes(store: Store) {
    let vote = |old: Option<Poll>| {
        let mut new = old.unwrap_or_else(|| poll(&[]));
        new.votes.push(7);
        Some(new)
    };
    assert_eq!(store.update_model("k", vote).await.unwrap(), Some(poll(&[7])));
    assert_eq!(store.update_model("k", vote).await.unwrap(), Some(poll(&[7, 7])));
    assert_eq!(store.get_model("k").await.unwrap(), Some(poll(&[7, 7])));
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Persistent));

    let update = store.update_model("k", vote).ttl(secs(60)).depends_on(["u", "v"]);
    update.await.unwrap();
    assert!(matches!(store.ttl("k").await.unwrap(), Some(Ttl::Remaining(_))));
    assert_eq!(store.invalidate("v").await.unwrap(), 1);

    store.update_model("k", vote).await.unwrap();
    let mut seen = None;
    let outcome = store
        .update_model("k", |old: Option<Poll>| {
            seen = old;
            None
        })
        .await;
    assert_eq!((outcome.unwrap(), seen), (None, Some(poll(&[7]))));
    assert!(!store.exists("k").await.unwrap());
    assert_eq!(
        store.update_model("k", |old: Option<Poll>| old).await.unwrap(),
        None
    );
    assert!(!store.exists("k").await.unwrap());
}

pub(crate) async fn update_model_leaves_what_is_no_such_model(store: Store) {
    store.set("k", "?").await.unwrap();
    let mut called = false;
    let outcome = store
        .update_model("k", |old: Option<Poll>| {
            called = true;
            old
        })
        .await;
    assert!(matches!(outcome, Err(Error::Decode(_))), "{outcome:?}");
    assert!(!called);
    assert_eq!(store.get_string("k").await.unwrap().unwrap(), "?");
}

pub(crate) async fn a_stale_value_is_absent_to_an_update(store: Store) {
    stale(&store, "k").await;
    assert!(
        !store
            .compare_and_set_model("k", &poll(&[9]), &poll(&[1]))
            .await
            .unwrap()
    );
    let mut seen = Vec::new();
    let update = store.update_model("k", |old: Option<Poll>| {
        seen.push(old);
        Some(poll(&[1]))
    });
    assert_eq!(update.await.unwrap(), Some(poll(&[1])));
    assert_eq!(seen, [None]);
    assert_eq!(store.get_model("k").await.unwrap(), Some(poll(&[1])));
    stale(&store, "other").await;
    let update = store.update_model("other", |old: Option<Poll>| old);
    assert_eq!(update.await.unwrap(), None);
}

pub(crate) async fn no_update_is_lost(store: Store) {
    const TASKS: u32 = 16;
    const EACH: u32 = 8;
    let tasks = (0..TASKS).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                let vote = |old: Option<Poll>| {
                    let mut new = old.unwrap_or_else(|| poll(&[]));
                    new.votes.push(task * EACH + n);
                    Some(new)
                };
                let updated = store.update_model("k", vote).await.unwrap().unwrap();
                assert!(updated.votes.contains(&(task * EACH + n)));
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    let mut votes = store.get_model::<Poll>("k").await.unwrap().unwrap().votes;
    votes.sort_unstable();
    assert_eq!(votes, (0..TASKS * EACH).collect::<Vec<_>>());
}

/// Whoever takes the last of it deletes it: in one step, or what is written meanwhile would go too.
pub(crate) async fn a_deleting_update_deletes_only_what_it_saw(store: Store) {
    let taken = Arc::new(AtomicU32::new(0));
    let tasks = (0..16).map(|task| {
        let (store, taken) = (store.clone(), taken.clone());
        tokio::spawn(async move {
            for _ in 0..8 {
                if task % 2 == 0 {
                    let put = |old: Option<u32>| Some(old.unwrap_or(0) + 1);
                    store.update_model("k", put).await.unwrap();
                } else {
                    let mut found = 0;
                    let take = |old: Option<u32>| {
                        found = old.unwrap_or(0);
                        None
                    };
                    store.update_model("k", take).await.unwrap();
                    taken.fetch_add(found, SeqCst);
                }
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    let left = store.get_model::<u32>("k").await.unwrap().unwrap_or(0);
    assert_eq!(taken.load(SeqCst) + left, 64);
}

pub(crate) async fn tries_without_success_are_a_conflict(store: Store) {
    let mut tries: u32 = 0;
    let update = store.update_model("k", |_: Option<u32>| {
        tries += 1;
        // Another writes while this is thinking: sent by its one poll.
        let other = store.clone();
        let other_value = tries;
        futures_util::FutureExt::now_or_never(async move { other.set_model("k", &other_value).await });
        Some(0)
    });
    let outcome = update.await;
    assert!(matches!(outcome, Err(Error::Conflict)), "{outcome:?}");
    assert!(outcome.unwrap_err().is_retryable());
    assert!((2..=64).contains(&tries), "{tries}");
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(tries));
}

pub(crate) async fn an_update_ends_what_is_being_loaded(store: Store) {
    for deletes in [false, true] {
        store.set_model("source", &1_u32).await.unwrap();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let (began, begun) = tokio::sync::oneshot::channel::<()>();
        let loading = {
            let store = store.clone();
            tokio::spawn(async move {
                let load = || async move {
                    began.send(()).unwrap();
                    wait.await.unwrap();
                    Ok::<u32, String>(1)
                };
                store
                    .get_or_load("page", load)
                    .depends_on("source")
                    .await
                    .unwrap()
            })
        };
        begun.await.unwrap();
        let update = store.update_model("source", |old: Option<u32>| {
            old.filter(|_| !deletes).map(|n| n + 1)
        });
        update.await.unwrap();
        go.send(()).unwrap();
        assert_eq!(loading.await.unwrap(), 1);
        assert_eq!(
            store.get_model::<u32>("page").await.unwrap(),
            None,
            "deletes: {deletes}"
        );
    }
}
