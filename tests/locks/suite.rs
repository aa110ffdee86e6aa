//! Locks: one suite, over both engines and all ways to reach a server.

use std::time::Duration;

use cachestore::{Config, Error, LockOutcome, NearCache, RedisConfig, Release, Store};
use kameo::prelude::*;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Place, Topology};
use crate::listener::Listener;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// What the connections of a test's stores are called, behind the hash tag in a cluster.
const CLIENT: &str = "lock-suite";

/// What a test opens its stores with: servers, or one store that is shared.
struct World {
    place: Option<Place>,
    /// Whether stores over the servers have a near cache.
    is_near: bool,
    store: Store,
}

impl World {
    async fn memory() -> Self {
        Self {
            place: None,
            is_near: true,
            store: Store::open(Config::memory()).await.unwrap(),
        }
    }

    async fn over(topology: Topology, is_near: bool) -> Self {
        let place = Place::on(topology).await;
        let store = Store::open(config(&place, is_near)).await.unwrap();
        Self {
            place: Some(place),
            is_near,
            store,
        }
    }

    /// Another process's view of the same locks, as far as there can be one.
    async fn other(&self) -> Store {
        match &self.place {
            Some(place) => Store::open(config(place, self.is_near)).await.unwrap(),
            None => self.store.clone(),
        }
    }
}

fn config(place: &Place, is_near: bool) -> RedisConfig {
    let near = NearCache::default().capacity_bytes(1 << 20);
    let config = place.config().client_name(place.name(CLIENT));
    if is_near { config.near_cache(near) } else { config }
}

/// Each test once over the memory engine, on a paused clock, twice over a server of its own, without a near cache and with
/// one, and over each other way to reach a server.
macro_rules! over_all_engines {
    ($($test:ident)*) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $test() {
                super::$test(super::World::memory().await).await;
            })*
        }
        over! { redis: Topology::Server, false; $($test)* }
        over! { redis_with_a_near_cache: Topology::Server, true; $($test)* }
        over! { redis_over_sentinel: Topology::Sentinel, false; $($test)* }
        over! { redis_over_cluster: Topology::Cluster, false; $($test)* }
        over! { redis_over_all_nodes: Topology::Nodes, false; $($test)* }
    };
}

macro_rules! over {
    ($engine:ident: $topology:expr, $is_near:expr; $($test:ident)*) => {
        mod $engine {
            use super::Topology;
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::World::over($topology, $is_near).await).await;
            })*
        }
    };
}

over_all_engines! {
    a_held_lock_is_refused_and_a_released_one_taken
    arguments_are_checked
    by_secret
    the_same_secret_renews_and_either_guard_releases
    a_lock_ends_with_its_ttl_and_its_holder_knows
    fences_only_grow
    a_waiter_is_served_when_the_lock_is_released
    a_waiter_is_served_when_the_holder_s_time_is_over
    a_wait_ends_in_time
    waiters_are_served_in_order
    a_newcomer_does_not_overtake
    renewal_keeps_the_lock_and_ends
    the_longest_hold_bounds_the_ttl
    a_foreign_release_is_noticed_by_the_renewal
    extend_counts_from_now
    a_shortened_lease_is_noticed
    run_stops_the_future_before_the_lease_ends
    release_tells_what_became_of_it
    clear_and_invalidate_leave_locks_alone
    keys_and_namespaces
    close_releases_what_is_held
    a_guard_keeps_its_store_open
    a_dropped_waiter_leaves_its_place
    actors_are_told
    an_outcome_names_its_key
    an_actor_with_a_full_mailbox_is_told_later
    an_actor_that_has_gone_hands_the_lock_on
    bounds_hold
    secrets_are_not_shown
}

async fn a_held_lock_is_refused_and_a_released_one_taken(world: World) {
    let store = &world.store;
    let guard = store.lock("k").await.unwrap();
    assert_eq!(guard.key(), "k");
    assert!(guard.remaining() > 29 * SECOND && guard.remaining() <= 30 * SECOND);
    assert!(matches!(store.lock("k").await, Err(Error::LockHeld)));
    assert!(matches!(
        store.lock("k").wait(Duration::ZERO).await,
        Err(Error::LockHeld)
    ));
    assert!(matches!(
        world.other().await.lock("k").await,
        Err(Error::LockHeld)
    ));
    let info = store.lock_info("k").await.unwrap().unwrap();
    assert_eq!(info.fencing_token, guard.fencing_token());
    assert!(info.remaining > 29 * SECOND && info.remaining <= 30 * SECOND);
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    assert_eq!(store.lock_info("k").await.unwrap(), None);
    drop(store.lock("k").await.unwrap());
    store.lock("k").await.unwrap().release().await.unwrap();
}

async fn arguments_are_checked(world: World) {
    let store = &world.store;
    let long = "k".repeat(65_536);
    assert!(matches!(store.lock(" ").await, Err(Error::KeyRequired)));
    assert!(matches!(store.lock(&long).await, Err(Error::KeyTooLong { .. })));
    for ttl in [Duration::ZERO, Duration::MAX] {
        assert!(matches!(
            store.lock("k").ttl(ttl).await,
            Err(Error::InvalidTtl { .. })
        ));
        assert!(matches!(
            store.lock("k").renew(ttl).await,
            Err(Error::InvalidTtl { .. })
        ));
        assert!(matches!(
            store.extend_lock("k", "s", ttl).await,
            Err(Error::InvalidTtl { .. })
        ));
    }
    let century = 100 * 365 * 24 * 3600 * SECOND;
    assert!(matches!(
        store.lock("k").wait(Duration::MAX).await,
        Err(Error::InvalidTtl { .. })
    ));
    let longest = store
        .lock("long")
        .ttl(century)
        .wait(century)
        .renew(century)
        .await
        .unwrap();
    assert!(longest.remaining() > century - SECOND);
    let tiny = store.lock("tiny").ttl(Duration::from_nanos(1)).await.unwrap();
    assert!(tiny.remaining() <= MS);
    assert!(matches!(
        store.lock("k").secret(" ").await,
        Err(Error::SecretRequired)
    ));
    assert!(matches!(
        store.write_lock_with_secret("k", "", SECOND).await,
        Err(Error::SecretRequired)
    ));
    assert!(matches!(
        store.release_lock("k", "").await,
        Err(Error::SecretRequired)
    ));
    assert!(matches!(
        store.wait_write_lock("k", SECOND, Duration::ZERO).await,
        Err(Error::WaitRequired)
    ));
    assert!(store.stats().await.unwrap().refused >= 10);
}

async fn by_secret(world: World) {
    let store = &world.store;
    let secret = store.write_lock("k", 10 * SECOND).await.unwrap();
    assert_eq!(secret.expose().len(), 64);
    let other = world.other().await;
    assert!(matches!(
        other.write_lock("k", SECOND).await,
        Err(Error::LockHeld)
    ));
    assert!(matches!(
        other.release_lock("k", "x").await,
        Err(Error::LockMismatch)
    ));
    assert!(matches!(
        other.extend_lock("k", "x", SECOND).await,
        Err(Error::LockMismatch)
    ));
    assert!(other.extend_lock("k", &secret, 60 * SECOND).await.unwrap());
    let left = store.lock_info("k").await.unwrap().unwrap().remaining;
    assert!(left > 59 * SECOND);
    assert_eq!(other.release_lock("k", &secret).await.unwrap(), Release::Released);
    assert_eq!(other.release_lock("k", &secret).await.unwrap(), Release::NotHeld);
    assert!(!other.extend_lock("k", &secret, SECOND).await.unwrap());
    let mine = store.write_lock_with_secret("k", "mine", SECOND).await.unwrap();
    assert_eq!(mine.expose(), "mine");
    store
        .write_lock_with_secret("k", "mine", 30 * SECOND)
        .await
        .unwrap();
    assert!(store.lock_info("k").await.unwrap().unwrap().remaining > 29 * SECOND);
    assert!(matches!(
        store.write_lock_with_secret("k", "yours", SECOND).await,
        Err(Error::LockHeld)
    ));
    assert!(other.force_release("k").await.unwrap());
    assert!(!other.force_release("k").await.unwrap());
    store.wait_write_lock("k", SECOND, SECOND).await.unwrap();
}

async fn the_same_secret_renews_and_either_guard_releases(world: World) {
    let store = &world.store;
    let first = store.lock("k").secret("s").ttl(5 * SECOND).await.unwrap();
    let waiter = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .lock("k")
                .wait(20 * SECOND)
                .await
                .map(|guard| guard.fencing_token())
        }
    });
    sleep(20 * MS).await;
    // Though another waits: it holds the lock already.
    let second = store.lock("k").secret("s").ttl(60 * SECOND).await.unwrap();
    assert_eq!(first.fencing_token(), second.fencing_token());
    assert!(second.remaining() > 59 * SECOND);
    assert_eq!(first.release().await.unwrap(), Release::Released);
    let fence = timeout(SECOND, waiter).await.unwrap().unwrap().unwrap();
    assert!(fence > second.fencing_token());
    assert_eq!(second.remaining(), Duration::ZERO);
    assert_eq!(second.release().await.unwrap(), Release::NotHeld);
}

async fn a_lock_ends_with_its_ttl_and_its_holder_knows(world: World) {
    let store = &world.store;
    // On a busy machine much of the TTL can have passed when this task hears of its lock.
    let began = Instant::now();
    let guard = store.lock("k").ttl(100 * MS).await.unwrap();
    timeout(SECOND, guard.lost()).await.unwrap();
    assert!(began.elapsed() >= 80 * MS, "{:?}", began.elapsed());
    assert_eq!(guard.remaining(), Duration::ZERO);
    sleep(20 * MS).await;
    let next = store.lock("k").await.unwrap();
    assert_eq!(guard.release().await.unwrap(), Release::NotHeld);
    assert!(
        matches!(store.lock("k").await, Err(Error::LockHeld)),
        "the next holds it still"
    );
    drop(next);
}

async fn fences_only_grow(world: World) {
    let (store, other) = (&world.store, world.other().await);
    let mut last = 0;
    for round in 0..50 {
        let store = if round % 2 == 0 { store } else { &other };
        let guard = store.lock("k").await.unwrap();
        assert!(guard.fencing_token() > last);
        last = guard.fencing_token();
        guard.release().await.unwrap();
    }
    if let Some(place) = &world.place {
        // What the server forgets, its clock remembers.
        place.flush();
        assert!(store.lock("k").await.unwrap().fencing_token() > last);
    }
}

async fn a_waiter_is_served_when_the_lock_is_released(world: World) {
    let other = world.other().await;
    for round in 0..5 {
        let guard = world.store.lock("k").await.unwrap();
        let waiter = tokio::spawn({
            let other = other.clone();
            async move {
                let guard = other.lock("k").wait(20 * SECOND).await.unwrap();
                (Instant::now(), guard)
            }
        });
        sleep(50 * MS).await;
        assert!(!waiter.is_finished());
        let released = Instant::now();
        match round {
            0 => drop(guard),
            1 => drop(guard.release().await.unwrap()),
            2 => assert!(other.force_release("k").await.unwrap()),
            3 => {
                let secret = guard.secret().clone();
                world.store.release_lock("k", &secret).await.unwrap();
                timeout(SECOND, guard.lost()).await.expect("the guard knows");
            }
            _ => {
                let secret = guard.secret().clone();
                other.release_lock("k", &secret).await.unwrap();
            }
        }
        let (at, guard) = timeout(10 * SECOND, waiter).await.unwrap().unwrap();
        assert!(at - released < 500 * MS, "round {round}: {:?}", at - released);
        guard.release().await.unwrap();
    }
}

async fn a_waiter_is_served_when_the_holder_s_time_is_over(world: World) {
    let secret = world.store.write_lock("k", 200 * MS).await.unwrap();
    let began = Instant::now();
    let guard = world.other().await.lock("k").wait(10 * SECOND).await.unwrap();
    assert!(
        began.elapsed() >= 150 * MS && began.elapsed() < 900 * MS,
        "{:?}",
        began.elapsed()
    );
    assert!(matches!(
        world.store.release_lock("k", &secret).await,
        Err(Error::LockMismatch)
    ));
    drop(guard);
}

async fn a_wait_ends_in_time(world: World) {
    let guard = world.store.lock("k").await.unwrap();
    let began = Instant::now();
    let waits = (1..=20_u32).map(|n| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let refused = store.lock("k").wait(n * 10 * MS).await;
            assert!(matches!(refused, Err(Error::LockHeld)), "{refused:?}");
            (n, Instant::now())
        })
    });
    for wait in waits.collect::<Vec<_>>() {
        let (n, at) = wait.await.unwrap();
        let late = (at - began)
            .checked_sub(n * 10 * MS)
            .expect("not before its time");
        assert!(late < 250 * MS, "{n}: {late:?}");
    }
    guard.release().await.unwrap();
    drop(world.store.lock("k").await.unwrap());
}

async fn waiters_are_served_in_order(world: World) {
    let guard = world.store.lock("k").await.unwrap();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    for n in 0..50 {
        let (store, sender) = (world.store.clone(), sender.clone());
        tokio::spawn(async move {
            let _guard = store.lock("k").wait(60 * SECOND).await.unwrap();
            sender.send(n).unwrap();
        });
        tokio::task::yield_now().await;
    }
    sleep(20 * MS).await;
    drop((guard, sender));
    for n in 0..50 {
        assert_eq!(served.recv().await, Some(n));
    }
}

async fn a_newcomer_does_not_overtake(world: World) {
    let store = &world.store;
    let guard = store.lock("k").await.unwrap();
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.lock("k").wait(60 * SECOND).await.unwrap() }
    });
    sleep(20 * MS).await;
    drop(guard);
    // Whether or not the lock is free at this instant, it is the waiter's.
    assert!(matches!(store.lock("k").await, Err(Error::LockHeld)));
    drop(waiter.await.unwrap());
}

async fn renewal_keeps_the_lock_and_ends(world: World) {
    let store = &world.store;
    let guard = store.lock("k").ttl(300 * MS).renew(1500 * MS).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < 1200 * MS {
        assert!(guard.remaining() > Duration::ZERO, "{:?}", began.elapsed());
        assert!(matches!(store.lock("k").await, Err(Error::LockHeld)));
        sleep(50 * MS).await;
    }
    timeout(2 * SECOND, guard.lost()).await.unwrap();
    assert!(
        began.elapsed() >= 1400 * MS && began.elapsed() <= 1600 * MS,
        "{:?}",
        began.elapsed()
    );
    sleep(30 * MS).await;
    drop(store.lock("k").await.unwrap());
}

async fn the_longest_hold_bounds_the_ttl(world: World) {
    for longest in [MS, 50 * MS] {
        let lock = world.store.lock("k").ttl(30 * SECOND).renew(longest);
        let guard = lock.await.unwrap();
        assert!(guard.remaining() <= longest);
        let info = world.other().await.lock_info("k").await.unwrap();
        assert!(info.is_none_or(|info| info.remaining <= longest));
        let next = world.other().await.lock("k").wait(5 * SECOND).await.unwrap();
        assert_eq!(guard.remaining(), Duration::ZERO);
        assert_eq!(guard.release().await.unwrap(), Release::NotHeld);
        next.release().await.unwrap();
    }
}

async fn a_foreign_release_is_noticed_by_the_renewal(world: World) {
    let guard = world
        .store
        .lock("k")
        .ttl(600 * MS)
        .renew(60 * SECOND)
        .await
        .unwrap();
    world.other().await.force_release("k").await.unwrap();
    let began = Instant::now();
    timeout(SECOND, guard.lost()).await.unwrap();
    assert!(began.elapsed() < 400 * MS, "{:?}", began.elapsed());
    assert_eq!(guard.remaining(), Duration::ZERO);
    assert!(guard.extend(SECOND).await.is_err());
    let run = guard.run(std::future::pending::<()>()).await;
    assert!(run.is_err());
}

async fn extend_counts_from_now(world: World) {
    let guard = world.store.lock("k").ttl(10 * SECOND).await.unwrap();
    guard.extend(60 * SECOND).await.unwrap();
    assert!(guard.remaining() > 59 * SECOND);
    assert!(world.store.lock_info("k").await.unwrap().unwrap().remaining > 59 * SECOND);
    guard.extend(100 * MS).await.unwrap();
    assert!(guard.remaining() <= 100 * MS);
    timeout(SECOND, guard.lost()).await.unwrap();
    sleep(20 * MS).await;
    assert!(matches!(guard.extend(SECOND).await, Err(Error::LockMismatch)));
}

async fn a_shortened_lease_is_noticed(world: World) {
    for by_secret in [0, 1, 2] {
        let guard = world.store.lock("k").secret("s").ttl(60 * SECOND).await.unwrap();
        let other = world.other().await;
        let waiter = tokio::spawn(async move { other.lock("k").wait(60 * SECOND).await });
        sleep(50 * MS).await;
        let began = Instant::now();
        match by_secret {
            0 => guard.extend(100 * MS).await.unwrap(),
            1 => assert!(world.store.extend_lock("k", "s", 100 * MS).await.unwrap()),
            _ => drop(
                world
                    .store
                    .write_lock_with_secret("k", "s", 100 * MS)
                    .await
                    .unwrap(),
            ),
        }
        let next = timeout(5 * SECOND, waiter).await.unwrap().unwrap().unwrap();
        assert!(began.elapsed() >= 90 * MS && began.elapsed() < SECOND);
        next.release().await.unwrap();
    }
}

async fn run_stops_the_future_before_the_lease_ends(world: World) {
    struct Stopped(Option<tokio::sync::oneshot::Sender<Instant>>);
    impl Drop for Stopped {
        fn drop(&mut self) {
            self.0.take().unwrap().send(Instant::now()).unwrap();
        }
    }
    let began = Instant::now();
    let guard = world.store.lock("k").ttl(200 * MS).await.unwrap();
    assert_eq!(guard.run(async { 7 }).await.unwrap(), 7);
    let (sender, stopped) = tokio::sync::oneshot::channel();
    let held = Stopped(Some(sender));
    let lost = guard
        .run(async move {
            let _held = held;
            std::future::pending::<()>().await;
        })
        .await;
    assert!(lost.is_err());
    let after = stopped.await.unwrap() - began;
    assert!(
        after >= 150 * MS && (world.place.is_some() || after < 200 * MS),
        "{after:?}"
    );
}

async fn release_tells_what_became_of_it(world: World) {
    let guard = world.store.lock("k").await.unwrap();
    world.other().await.force_release("k").await.unwrap();
    assert_eq!(guard.release().await.unwrap(), Release::NotHeld);
    let guard = world.store.lock("k").await.unwrap();
    world.other().await.force_release("k").await.unwrap();
    let other = world.other().await;
    let next = other.lock("k").await.unwrap();
    assert_eq!(
        guard.release().await.unwrap(),
        Release::NotHeld,
        "it has passed to another"
    );
    assert!(next.remaining() > SECOND);
    assert!(matches!(other.lock("k").await, Err(Error::LockHeld)));
}

async fn clear_and_invalidate_leave_locks_alone(world: World) {
    let store = &world.store;
    let guard = store.lock("k").await.unwrap();
    store.set("k", "a value").depends_on(["d"]).await.unwrap();
    assert_eq!(store.invalidate(["k", "d"]).await.unwrap(), 1);
    store.set("k", "a value").await.unwrap();
    assert_eq!(store.clear().await.unwrap(), 1);
    assert!(!store.exists("k").await.unwrap());
    assert!(matches!(store.lock("k").await, Err(Error::LockHeld)));
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    let fence = store.lock("k").await.unwrap().fencing_token();
    store.clear().await.unwrap();
    sleep(20 * MS).await;
    assert!(store.lock("k").await.unwrap().fencing_token() > fence);
}

async fn keys_and_namespaces(world: World) {
    let tenant = world.store.namespace("tenant").unwrap();
    let a = world.store.lock("k").await.unwrap();
    let b = tenant.lock("k").await.unwrap();
    assert_eq!((a.key(), b.key()), ("k", "k"));
    assert!(matches!(world.store.lock("tenant:k").await, Err(Error::LockHeld)));
    // Lock keys have a place of their own: none is reserved.
    for key in [
        "cachestore:lock:{k}",
        "{",
        "}",
        "a}b{c",
        "a\0b\r\nc",
        "ключ",
        " k ",
        "k\u{200b}",
    ] {
        let guard = world.store.lock(key).await.unwrap();
        assert_eq!(guard.key(), key);
        assert!(matches!(
            world.other().await.lock(key).await,
            Err(Error::LockHeld)
        ));
    }
}

async fn close_releases_what_is_held(world: World) {
    let store = world.other().await;
    let held = store
        .lock("held")
        .ttl(60 * SECOND)
        .renew(600 * SECOND)
        .await
        .unwrap();
    let dropped = store.lock("dropped").await.unwrap();
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.lock("held").wait(60 * SECOND).await.map(drop) }
    });
    sleep(20 * MS).await;
    drop(dropped);
    store.close().await.unwrap();
    timeout(SECOND, held.lost()).await.unwrap();
    assert!(matches!(waiter.await.unwrap(), Err(Error::Closed)));
    assert!(matches!(store.lock("k").await, Err(Error::Closed)));
    assert!(matches!(store.lock_info("k").await, Err(Error::Closed)));
    assert!(matches!(held.extend(SECOND).await, Err(Error::Closed)));
    assert!(matches!(
        held.release().await,
        Err(Error::Closed) | Ok(Release::NotHeld)
    ));
    if let Some(place) = &world.place {
        drop(world.store.lock("held").await.unwrap());
        drop(world.store.lock("dropped").await.unwrap());
        let of_one_store = 2 * place.servers().len();
        assert!(place.connections(&place.name(CLIENT)).len() <= of_one_store);
    }
}

async fn a_guard_keeps_its_store_open(world: World) {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let store = world.other().await;
    let World {
        place, store: first, ..
    } = world;
    drop(first);
    let guard = store.lock("k").await.unwrap();
    drop(store);
    sleep(50 * MS).await;
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    sleep(300 * MS).await;
    assert_eq!(tasks(), 0, "nothing is left");
    if let Some(place) = place {
        assert_eq!(place.connections(&place.name(CLIENT)), Vec::<String>::new());
    }
}

async fn a_dropped_waiter_leaves_its_place(world: World) {
    let guard = world.store.lock("k").await.unwrap();
    let first = tokio::spawn({
        let store = world.store.clone();
        async move { store.lock("k").wait(60 * SECOND).await.map(drop) }
    });
    sleep(20 * MS).await;
    let second = tokio::spawn({
        let store = world.store.clone();
        async move { store.lock("k").wait(60 * SECOND).await.map(drop) }
    });
    sleep(20 * MS).await;
    first.abort();
    drop(guard);
    timeout(SECOND, second).await.unwrap().unwrap().unwrap();
    sleep(20 * MS).await;
    drop(world.store.lock("k").await.unwrap());
}

async fn actors_are_told(world: World) {
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let listener = Listener::spawn(Listener(sender));
    let guard = world.store.lock("k").await.unwrap();
    world.store.lock("").send_to(listener.clone().recipient());
    let outcome = told.recv().await.unwrap();
    assert_eq!(outcome.key, "");
    assert!(matches!(outcome.result, Err(Error::KeyRequired)));
    world.store.lock("k").send_to(listener.clone().recipient());
    let outcome = told.recv().await.unwrap();
    assert_eq!(outcome.key, "k");
    assert!(matches!(outcome.result, Err(Error::LockHeld)));
    world
        .store
        .lock("k")
        .wait(60 * SECOND)
        .send_to(listener.clone().recipient());
    sleep(20 * MS).await;
    drop(guard);
    let granted = told.recv().await.unwrap().result.unwrap();
    assert!(matches!(world.store.lock("k").await, Err(Error::LockHeld)));
    granted.release().await.unwrap();
}

/// Of several requests that an actor has made, each outcome says which it answers.
async fn an_outcome_names_its_key(world: World) {
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let listener = Listener::spawn(Listener(sender));
    let tenant = world.store.namespace("tenant").unwrap();
    let held = tenant.lock(" k ").await.unwrap();
    tenant.lock(" k ").send_to(listener.clone().recipient());
    tenant
        .lock("l")
        .ttl(Duration::ZERO)
        .send_to(listener.clone().recipient());
    tenant.lock("m").send_to(listener.clone().recipient());
    tenant.lock("\t").send_to(listener.clone().recipient());
    let mut results = std::collections::HashMap::new();
    while results.len() < 4 {
        let LockOutcome { key, result } = told.recv().await.unwrap();
        results.insert(key, result);
    }
    assert!(matches!(results[" k "], Err(Error::LockHeld)));
    assert!(matches!(results["l"], Err(Error::InvalidTtl { .. })));
    assert_eq!(results["m"].as_ref().unwrap().key(), "m");
    assert!(matches!(results["\t"], Err(Error::KeyRequired)));
    drop(held);
}

/// An outcome waits for room in the mailbox, whatever it is and wherever the request was made.
async fn an_actor_with_a_full_mailbox_is_told_later(world: World) {
    const REQUESTS: usize = 20;
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let listener = Listener::spawn_with_mailbox(Listener(sender), kameo::mailbox::bounded(1));
    let (store, recipient) = (world.store.clone(), listener.clone().recipient());
    let outside = std::thread::spawn(move || {
        for n in 0..REQUESTS {
            let key = if n % 2 == 0 { "" } else { "k" };
            store.lock(key).send_to(recipient.clone());
        }
    });
    outside.join().unwrap();
    for _ in 0..REQUESTS {
        timeout(5 * SECOND, told.recv()).await.unwrap().unwrap();
    }
}

async fn an_actor_that_has_gone_hands_the_lock_on(world: World) {
    let (sender, _told) = tokio::sync::mpsc::unbounded_channel();
    let listener = Listener::spawn(Listener(sender));
    let guard = world.store.lock("k").await.unwrap();
    world
        .store
        .lock("k")
        .wait(60 * SECOND)
        .send_to(listener.clone().recipient());
    let waiter = tokio::spawn({
        let store = world.store.clone();
        async move { store.lock("k").wait(60 * SECOND).await.map(drop) }
    });
    sleep(20 * MS).await;
    listener.kill();
    listener.wait_for_shutdown().await;
    drop(guard);
    timeout(SECOND, waiter).await.unwrap().unwrap().unwrap();
}

async fn bounds_hold(world: World) {
    let config = match &world.place {
        Some(place) => place.config().into(),
        None => Config::memory(),
    };
    let store = Store::open(config.max_lock_waiters(3).max_lock_waiters_per_key(2))
        .await
        .unwrap();
    let held = [store.lock("a").await.unwrap(), store.lock("b").await.unwrap()];
    let wait = |key: &'static str| {
        let store = store.clone();
        tokio::spawn(async move { store.lock(key).wait(60 * SECOND).await.map(drop) })
    };
    let waiting = [wait("a"), wait("a")];
    sleep(20 * MS).await;
    assert!(matches!(wait("a").await.unwrap(), Err(Error::Unavailable(_))));
    let third = wait("b");
    sleep(20 * MS).await;
    assert!(matches!(wait("b").await.unwrap(), Err(Error::Unavailable(_))));
    drop(held);
    for waiter in waiting.into_iter().chain([third]) {
        waiter.await.unwrap().unwrap();
    }
}

async fn secrets_are_not_shown(world: World) {
    let secret = "a-secret-that-nobody-may-see";
    let lock = world.store.lock("k").secret(secret);
    let mut shown = format!("{lock:?}");
    let guard = lock.await.unwrap();
    shown += &format!("{guard:?} {guard:#?} {:?} {}", guard.secret(), guard.secret());
    let held = world.store.lock("k").await.unwrap_err();
    let mismatch = world.store.release_lock("k", "another-secret").await.unwrap_err();
    shown += &format!(
        "{held:?} {held} {mismatch:?} {mismatch} {:?}",
        LockOutcome {
            key: "k".to_owned(),
            result: Ok(guard)
        }
    );
    assert!(
        !shown.contains("nobody-may-see") && !shown.contains("another-secret"),
        "{shown}"
    );
}

#[test]
fn public_types_are_send() {
    fn sent<T: Send + Sync + std::fmt::Debug + 'static>() {}
    fn future<F: Future + Send>(_: &F) {}
    sent::<cachestore::LockGuard>();
    sent::<cachestore::LockLost>();
    sent::<cachestore::LockInfo>();
    sent::<cachestore::Secret>();
    sent::<LockOutcome>();
    sent::<Release>();
    async fn check(store: &Store) {
        let lock = store.lock("k").into_future();
        future(&lock);
        let guard = lock.await.unwrap();
        future(&guard.lost());
        future(&guard.extend(SECOND));
        future(&store.write_lock("k", SECOND));
        future(&guard.release());
    }
    let _ = check;
}
