//! Locks for actors, and what the actors of a store log.

use cachestore::Config;
use cachestore::kameo::prelude::*;
use tracing::info_span;

use crate::listener::Listener;
use crate::seen::{Seen, World, on_both_engines};
use crate::support::{ms, secs};

on_both_engines!(a_lock_for_an_actor_is_a_span_until_the_actor_is_told,);

async fn a_lock_for_an_actor_is_a_span_until_the_actor_is_told(world: World, seen: Seen) {
    let store = &world.store;
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let holder = Listener::spawn(Listener(sender));
    let lock = || store.lock("k").wait(secs(5));
    let mark = seen.mark();
    info_span!("caller").in_scope(|| lock().send_to(holder.clone().recipient()));
    let held = told.recv().await.unwrap().result.unwrap();
    let first = seen.since(mark).remove(0);
    assert_eq!((first.name, first.parent), ("lock", Some(("caller", mark))));
    assert_eq!((first.outcome(), first.is_closed), (Some("ok"), true));
    // The next one waits, as long as its span is open.
    let mark = seen.mark();
    lock().send_to(holder.clone().recipient());
    tokio::time::sleep(ms(20)).await;
    assert_eq!(seen.since(mark).remove(0).outcome(), None);
    drop(held);
    drop(told.recv().await.unwrap());
    assert_eq!(seen.since(mark).remove(0).outcome(), Some("ok"));
    // An actor that has gone.
    let held = store.lock("k").await.unwrap();
    let mark = seen.mark();
    lock().send_to(holder.clone().recipient());
    holder.kill();
    holder.wait_for_shutdown().await;
    drop(held);
    while seen.since(mark).remove(0).outcome().is_none() {
        tokio::time::sleep(ms(1)).await;
    }
    // Refused arguments are no call.
    let mark = seen.mark();
    store.lock(" ").send_to(holder.recipient());
    assert!(seen.since(mark).is_empty());
}

/// A caller's span is the current one while its call wakes the actors of the store. What they log is not the caller's.
#[tokio::test(start_paused = true)]
async fn what_actors_log_is_in_no_span_of_a_caller() {
    let seen = Seen::begin();
    let caller = info_span!("caller");
    let work = async {
        let store = crate::support::open(Config::memory()).await;
        store.set("k", "v").await.unwrap();
        let failing = || async { Err::<i32, _>("the source is down") };
        assert!(store.get_or_load("l", failing).await.is_err());
        drop(store.lock("k").await.unwrap());
        store.close().await.unwrap();
    };
    tracing::Instrument::instrument(work, caller).await;
    let events = seen.events();
    for part in ["a load failed", "the load coordinator has stopped"] {
        let of_actors: Vec<_> = events.iter().filter(|event| event.text.contains(part)).collect();
        assert!(!of_actors.is_empty(), "{part}: {events:?}");
        assert!(
            of_actors.iter().all(|event| event.span.is_none()),
            "{of_actors:?}"
        );
    }
}
