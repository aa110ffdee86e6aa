//! Replies that are cut after the server has acted, and requests that are cut before: no lock is leaked, none
//! is believed in for longer than the server holds it, and whoever waits is served.

use std::sync::Arc;
use std::time::Duration;

use cachestore::{Error, Release, Result, Store};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::opening::open;
use crate::harness::place::over_each_topology;
use crate::harness::{Direction, Place, Proxy, Toxic};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60);
/// What others may wait for after that, at most: far less than the TTL.
const SOON: Duration = Duration::from_secs(3);

over_each_topology! {
    an_acquisition_is_released
    a_waiter_with_time_left_holds_it_after_all
    a_waiter_who_goes_meanwhile_leaves_no_lock
    an_own_secret_is_left_to_its_caller
    an_extension_is_believed_in_for_the_shorter_time
    a_renewal_is_made_again
    a_release_frees_the_lock_on_either_side_of_the_cut
    calls_by_secret_tell_that_they_do_not_know
    a_late_release_leaves_a_later_hold_of_the_same_secret
    a_guard_touches_no_later_hold_of_its_secret
    a_waiter_who_goes_at_any_moment_leaves_no_lock
}

/// A store behind a proxy, and one that sees the server as it is.
struct World {
    _place: Place,
    proxy: Proxy,
    store: Store,
    direct: Store,
}

impl World {
    async fn new() -> Self {
        let place = Place::start().await;
        let (proxy, config) = place.proxied().await;
        Self {
            store: open(config.request_timeout(2 * SECOND)).await,
            direct: open(place.config()).await,
            proxy,
            _place: place,
        }
    }

    /// Begins `call`, lets the server act until `acted`, and cuts the connection before the reply arrives.
    async fn cut_reply<T, F>(&self, call: F, acted: impl AsyncFn() -> bool) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.proxy.add(Direction::Down, Toxic::Timeout { close: None });
        let call = tokio::spawn(call);
        while !acted().await {
            sleep(MS).await;
        }
        self.cut().await;
        call
    }

    /// Begins `call`, and cuts the connection before its request arrives.
    async fn cut_request<T, F>(&self, call: F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.proxy.add(Direction::Up, Toxic::Timeout { close: None });
        let call = tokio::spawn(call);
        sleep(50 * MS).await;
        self.cut().await;
        call
    }

    async fn cut(&self) {
        self.proxy.down().await;
        while self.proxy.living() > 0 {
            sleep(MS).await;
        }
        self.proxy.heal();
        self.proxy.up().await;
    }

    async fn is_held(&self) -> bool {
        self.direct.lock_info("k").await.unwrap().is_some()
    }

    /// Another process can have the lock soon.
    async fn is_free_soon(&self, what: &str) {
        let began = Instant::now();
        let next = self.direct.lock("k").wait(TTL).await.unwrap();
        assert!(began.elapsed() < SOON, "{what}: {:?}", began.elapsed());
        next.release().await.unwrap();
    }
}

fn is_unknown<T: std::fmt::Debug>(answer: Result<T>) {
    assert!(matches!(answer, Err(Error::OutcomeUnknown(_))), "{answer:?}");
}

async fn an_acquisition_is_released() {
    let world = World::new().await;
    for by_secret in [false, true, false, true] {
        let store = world.store.clone();
        let call = async move {
            if by_secret {
                store.write_lock("k", TTL).await.map(drop)
            } else {
                store.lock("k").ttl(TTL).await.map(drop)
            }
        };
        let call = world.cut_reply(call, async || world.is_held().await).await;
        is_unknown(call.await.unwrap());
        world.is_free_soon("the lock is released").await;
    }
}

/// With time left, the same secret asks again, and finds that it holds the lock already.
async fn a_waiter_with_time_left_holds_it_after_all() {
    let world = World::new().await;
    for by_secret in [false, true] {
        let store = world.store.clone();
        let call = async move {
            if by_secret {
                store.wait_write_lock("k", TTL, TTL).await
            } else {
                let guard = store.lock("k").ttl(TTL).wait(TTL).await?;
                let secret = guard.secret().clone();
                // Kept: its drop would release the lock.
                std::mem::forget(guard);
                Ok(secret)
            }
        };
        let call = world.cut_reply(call, async || world.is_held().await).await;
        let secret = timeout(SOON, call).await.unwrap().unwrap().unwrap();
        assert!(world.direct.extend_lock("k", &secret, TTL).await.unwrap());
        world.direct.release_lock("k", &secret).await.unwrap();
    }
}

/// A caller who goes while its answer is lost leaves nothing behind.
async fn a_waiter_who_goes_meanwhile_leaves_no_lock() {
    let world = World::new().await;
    for _ in 0..3 {
        let store = world.store.clone();
        world.proxy.add(Direction::Down, Toxic::Timeout { close: None });
        let call = tokio::spawn(async move { store.lock("k").ttl(TTL).wait(TTL).await.map(drop) });
        while !world.is_held().await {
            sleep(MS).await;
        }
        call.abort();
        let _ = call.await;
        world.cut().await;
        world.is_free_soon("nobody waits for it").await;
    }
}

/// A secret of the caller's own may have held the lock before, so it is not released for it.
async fn an_own_secret_is_left_to_its_caller() {
    let world = World::new().await;
    let take = |store: &Store| {
        let store = store.clone();
        async move { store.write_lock_with_secret("k", "mine", TTL).await.map(drop) }
    };
    let call = world
        .cut_reply(take(&world.store), async || world.is_held().await)
        .await;
    is_unknown(call.await.unwrap());
    sleep(300 * MS).await;
    assert!(world.is_held().await);
    take(&world.store).await.unwrap();
    // The renewal is lost too.
    let renewed = async || {
        let info = world.direct.lock_info("k").await.unwrap().unwrap();
        info.remaining > 2 * TTL
    };
    let store = world.store.clone();
    let call = async move { store.write_lock_with_secret("k", "mine", 3 * TTL).await };
    is_unknown(world.cut_reply(call, renewed).await.await.unwrap());
    assert!(world.is_held().await);
    world.store.release_lock("k", "mine").await.unwrap();
    world.is_free_soon("released by its secret").await;
}

/// The guard counts on the shorter of both ends, until it knows.
async fn an_extension_is_believed_in_for_the_shorter_time() {
    let world = World::new().await;
    let remaining = async || world.direct.lock_info("k").await.unwrap().unwrap().remaining;
    for (ttl, reply) in [(5 * SECOND, true), (2 * TTL, true), (2 * TTL, false)] {
        let guard = Arc::new(world.store.lock("k").ttl(TTL).await.unwrap());
        let call = {
            let guard = guard.clone();
            async move { guard.extend(ttl).await }
        };
        let call = if reply {
            let acted = async || {
                let left = remaining().await;
                left > TTL || left <= ttl.min(TTL / 2)
            };
            world.cut_reply(call, acted).await
        } else {
            world.cut_request(call).await
        };
        is_unknown(call.await.unwrap());
        let (held, believed) = (remaining().await, guard.remaining());
        assert!(believed <= held + 100 * MS, "{believed:?} of {held:?}");
        assert!(!believed.is_zero(), "and it is not lost");
        guard.extend(TTL).await.unwrap();
        assert!(guard.remaining() > TTL / 2);
        Arc::into_inner(guard).unwrap().release().await.unwrap();
    }
}

/// A lost renewal is made again long before the lease ends.
async fn a_renewal_is_made_again() {
    let world = World::new().await;
    let ttl = 3 * SECOND;
    let guard = world.store.lock("k").ttl(ttl).renew(TTL).await.unwrap();
    let began = Instant::now();
    let remaining = async || world.direct.lock_info("k").await.unwrap().unwrap().remaining;
    // The first renewal comes after a second.
    let acted = async || began.elapsed() > SECOND && remaining().await > ttl - SECOND / 2;
    let call = world.cut_reply(std::future::ready(()), acted).await;
    call.await.unwrap();
    while began.elapsed() < 2 * ttl {
        sleep(50 * MS).await;
        assert!(!guard.remaining().is_zero(), "lost after {:?}", began.elapsed());
    }
    guard.release().await.unwrap();
}

async fn a_release_frees_the_lock_on_either_side_of_the_cut() {
    let world = World::new().await;
    for reply in [true, false] {
        let guard = world.store.lock("k").ttl(TTL).await.unwrap();
        let release = guard.release();
        let call = if reply {
            world.cut_reply(release, async || !world.is_held().await).await
        } else {
            world.cut_request(release).await
        };
        let answer = call.await.unwrap();
        assert!(answer.is_ok(), "it is made again: {answer:?}");
        world.is_free_soon("it was released").await;
        // A dropped guard's release has nobody to tell.
        let guard = world.store.lock("k").ttl(TTL).await.unwrap();
        let release = async move { drop(guard) };
        let call = if reply {
            world.cut_reply(release, async || !world.is_held().await).await
        } else {
            world.cut_request(release).await
        };
        call.await.unwrap();
        world.is_free_soon("it was dropped").await;
    }
}

/// Calls by secret are not made again by themselves: their callers are told, and can.
async fn calls_by_secret_tell_that_they_do_not_know() {
    let world = World::new().await;
    let secret = world.store.write_lock("k", TTL).await.unwrap();
    let (store, mine) = (world.store.clone(), secret.clone());
    let call = async move { store.extend_lock("k", &mine, 3 * TTL).await };
    let extended = async || {
        let info = world.direct.lock_info("k").await.unwrap().unwrap();
        info.remaining > TTL
    };
    is_unknown(world.cut_reply(call, extended).await.await.unwrap());
    assert!(world.store.extend_lock("k", &secret, TTL).await.unwrap());
    let (store, mine) = (world.store.clone(), secret.clone());
    let call = async move { store.release_lock("k", &mine).await };
    let freed = async || !world.is_held().await;
    is_unknown(world.cut_reply(call, freed).await.await.unwrap());
    let again = world.store.release_lock("k", &secret).await.unwrap();
    assert_eq!(again, cachestore::Release::NotHeld);
    world.store.write_lock("k", TTL).await.unwrap();
    let store = world.store.clone();
    let call = async move { store.force_release("k").await };
    is_unknown(world.cut_reply(call, freed).await.await.unwrap());
    assert!(!world.store.force_release("k").await.unwrap());
}

/// A secret may take its lock again. What was sent for its first hold does not touch the second.
async fn a_late_release_leaves_a_later_hold_of_the_same_secret() {
    let world = World::new().await;
    let guard = world.store.lock("k").ttl(TTL).await.unwrap();
    let secret = guard.secret().clone();
    let again = async || {
        let is_free = !world.is_held().await;
        if is_free {
            let taken = world.direct.write_lock_with_secret("k", &secret, TTL).await;
            taken.unwrap();
        }
        is_free
    };
    let release = world.cut_reply(guard.release(), again).await;
    // The release is sent once more over a new connection.
    assert_eq!(release.await.unwrap().unwrap(), Release::Released);
    assert!(world.is_held().await, "it was another hold that was released");
    world.direct.release_lock("k", &secret).await.unwrap();
}

async fn a_guard_touches_no_later_hold_of_its_secret() {
    let world = World::new().await;
    let guard = world.store.lock("k").ttl(TTL).await.unwrap();
    let secret = guard.secret().clone();
    world.direct.release_lock("k", &secret).await.unwrap();
    let taken = world.direct.write_lock_with_secret("k", &secret, TTL).await;
    taken.unwrap();
    let extended = guard.extend(SECOND).await;
    assert!(matches!(extended, Err(Error::LockMismatch)), "{extended:?}");
    let info = world.direct.lock_info("k").await.unwrap().unwrap();
    assert!(info.remaining > TTL / 2, "its time was shortened: {info:?}");
    assert_eq!(guard.release().await.unwrap(), Release::NotHeld);
    assert!(world.is_held().await);
    world.direct.release_lock("k", &secret).await.unwrap();
}

/// Also between the server's answer and its way to the caller, for a free lock and for one that another hands over.
async fn a_waiter_who_goes_at_any_moment_leaves_no_lock() {
    let world = World::new().await;
    let (delay, jitter) = (2 * MS, Duration::ZERO);
    world.proxy.add(Direction::Down, Toxic::Latency { delay, jitter });
    let mut granted = 0;
    for moment in 0..40 {
        let holder = if moment % 2 == 0 {
            None
        } else {
            // The waiter before may have asked later than it left: it gives the lock back when the answer comes.
            Some(world.direct.lock("k").ttl(TTL).wait(SOON).await.unwrap())
        };
        let store = world.store.clone();
        let waiting = tokio::spawn(async move { store.lock("k").ttl(TTL).wait(TTL).await.map(drop) });
        if let Some(holder) = holder {
            sleep(5 * MS).await;
            holder.release().await.unwrap();
        }
        sleep(MS / 4 * moment).await;
        waiting.abort();
        granted += u32::from(waiting.await.is_ok());
        world.is_free_soon(&format!("moment {moment}")).await;
    }
    assert!(
        (1..40).contains(&granted),
        "all left at one side: {granted} were granted"
    );
}
