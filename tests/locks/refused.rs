//! Releases that the server refuses for a passing reason, or that do not reach it: they are made again.

use std::time::Duration;

use cachestore::{Error, LockGuard, RedisConfig, Release, Store};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::lateness::late;
use crate::harness::opening::{config, eventually, open, told};
use crate::harness::place::over_each_topology;
use crate::harness::{Place, Proxy, RedisServer};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Far longer than any of this takes.
const TTL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_millis(500);
/// How late a release may be after the server takes it again.
const LATE: Duration = Duration::from_millis(2500);

// Not over a cluster: its nodes refuse `REPLICAOF`, and tests share them, so that none may change their settings. What a node
// refuses while the slot or its owner changes is in `tests/cluster`.
over_each_topology! { over_a_server: Server;
    a_release_is_made_again_until_the_server_takes_it
    a_release_that_fails_at_its_deadline_goes_on
    an_old_release_does_not_end_a_new_hold_of_the_same_secret
}
over_each_topology! { over_sentinel: Sentinel;
    a_release_is_made_again_until_the_server_takes_it
}

struct World {
    place: Place,
    proxy: Proxy,
    store: Store,
}

/// Why the server takes no releases.
#[derive(Debug, Clone, Copy)]
enum Why {
    NoReplicas,
    ReadOnly,
    Unreachable,
}

impl World {
    async fn new() -> Self {
        Self::with(|config| config).await
    }

    async fn with(settings: impl FnOnce(RedisConfig) -> RedisConfig) -> Self {
        let place = Place::start().await;
        let (proxy, config) = place.proxied().await;
        let store = open(settings(config.request_timeout(TIMEOUT))).await;
        Self { place, proxy, store }
    }

    async fn refuse(&self, why: Why) {
        match why {
            Why::NoReplicas => {
                drop(
                    self.place
                        .server()
                        .command(&["CONFIG", "SET", "min-replicas-to-write", "1"]),
                )
            }
            // Of a primary that does not answer, so that its own data stay.
            Why::ReadOnly => drop(self.place.server().command(&["REPLICAOF", "127.0.0.1", "1"])),
            Why::Unreachable => self.proxy.down().await,
        }
    }

    async fn accept(&self, why: Why) {
        match why {
            Why::NoReplicas => {
                drop(
                    self.place
                        .server()
                        .command(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
                )
            }
            Why::ReadOnly => drop(self.place.server().command(&["REPLICAOF", "NO", "ONE"])),
            Why::Unreachable => self.proxy.up().await,
        }
    }

    fn is_held(&self) -> bool {
        self.place
            .server()
            .command(&["EXISTS", "cachestore:lock:{k}"])
            .int()
            == 1
    }

    async fn is_free_soon(&self, what: &str) {
        assert!(eventually(LATE, || !self.is_held()).await, "{what}");
    }

    async fn lock(&self) -> LockGuard {
        let guard = self.store.lock("k").ttl(TTL).wait(5 * SECOND);
        guard.await.unwrap()
    }
}

async fn a_release_is_made_again_until_the_server_takes_it() {
    for why in [Why::NoReplicas, Why::ReadOnly, Why::Unreachable] {
        let world = World::new().await;
        // Dropped.
        let guard = world.lock().await;
        world.refuse(why).await;
        drop(guard);
        sleep(300 * MS).await;
        assert!(world.is_held(), "{why:?}");
        world.accept(why).await;
        world.is_free_soon(&format!("dropped, {why:?}")).await;
        // Released, and taken in time: its caller hears of nothing.
        let guard = world.lock().await;
        world.refuse(why).await;
        let release = tokio::spawn(guard.release());
        sleep(150 * MS).await;
        world.accept(why).await;
        let released = release.await.unwrap();
        if !matches!(why, Why::Unreachable) {
            assert_eq!(released.unwrap(), Release::Released, "{why:?}");
        }
        world.is_free_soon(&format!("released, {why:?}")).await;
        // By secret.
        let secret = world.lock().await.into_secret_for_tests(&world).await;
        world.refuse(why).await;
        let released = world.store.release_lock("k", &secret).await;
        assert!(
            matches!(released, Err(Error::Unavailable(_) | Error::Timeout { .. })),
            "{why:?}: {released:?}"
        );
        world.accept(why).await;
        world.is_free_soon(&format!("by secret, {why:?}")).await;
    }
}

/// The secret of a lock that is held by nothing else.
trait BySecret {
    async fn into_secret_for_tests(self, world: &World) -> String;
}

impl BySecret for LockGuard {
    async fn into_secret_for_tests(self, world: &World) -> String {
        self.release().await.unwrap();
        let secret = world.store.write_lock("k", TTL).await.unwrap();
        secret.expose().to_owned()
    }
}

/// The call ends in its time and says so. The release goes on.
async fn a_release_that_fails_at_its_deadline_goes_on() {
    let world = World::new().await;
    let guard = world.lock().await;
    world.refuse(Why::NoReplicas).await;
    let began = Instant::now();
    let error = guard.release().await.unwrap_err();
    assert!(
        began.elapsed() > TIMEOUT / 2 && began.elapsed() < TIMEOUT + late(),
        "{:?}",
        began.elapsed()
    );
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(told(&error).contains("tried again"), "{}", told(&error));
    assert!(told(&error).contains("NOREPLICAS"), "{}", told(&error));
    sleep(SECOND).await;
    assert!(world.is_held());
    // Others of this process wait meanwhile, and are served.
    let store = world.store.clone();
    let waiter = tokio::spawn(async move { store.lock("k").ttl(TTL).wait(TTL).await });
    sleep(100 * MS).await;
    world.accept(Why::NoReplicas).await;
    let next = timeout(LATE, waiter).await.expect("the waiter is served");
    next.unwrap().unwrap().release().await.unwrap();
}

/// Nothing is asked for a hold that has ended.
#[tokio::test]
async fn a_release_is_not_made_again_after_the_hold_would_have_ended() {
    let world = World::new().await;
    let guard = world.store.lock("k").ttl(SECOND).await.unwrap();
    world.refuse(Why::NoReplicas).await;
    drop(guard);
    sleep(SECOND + 500 * MS).await;
    let mut monitor = world.place.server().monitor();
    sleep(SECOND).await;
    assert_eq!(monitor.sent(), Vec::<String>::new());
}

/// The secret holds the lock again, so that an older release of it is over.
async fn an_old_release_does_not_end_a_new_hold_of_the_same_secret() {
    for by_guard in [true, false] {
        let world = World::new().await;
        let guard = world.store.lock("k").secret("mine").ttl(TTL).await.unwrap();
        world.refuse(Why::NoReplicas).await;
        if by_guard {
            drop(guard);
            sleep(300 * MS).await;
        } else {
            drop(guard.release().await.unwrap_err());
        }
        let store = world.store.clone();
        let again =
            tokio::spawn(async move { store.lock("k").secret("mine").ttl(TTL).wait(5 * SECOND).await });
        sleep(100 * MS).await;
        world.accept(Why::NoReplicas).await;
        let again = again.await.unwrap().unwrap();
        sleep(2 * SECOND).await;
        assert!(world.is_held(), "by guard: {by_guard}");
        again.release().await.unwrap();
        world.is_free_soon("it is released").await;
    }
}

/// A full server takes releases.
#[tokio::test]
async fn a_full_server_takes_releases() {
    let world = World::new().await;
    let guard = world.lock().await;
    world.place.server().command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    let full = world.store.lock("k").await;
    assert!(matches!(full, Err(Error::Unavailable(_))), "{full:?}");
}

/// The connection is killed again and again, and the server once, while guards are dropped.
#[tokio::test]
async fn releases_outlive_kills() {
    let mut server = RedisServer::options().append_only().start().await;
    let store = open(config(&server.url()).request_timeout(TIMEOUT)).await;
    let mut guards = Vec::new();
    for n in 0..50 {
        guards.push(store.lock(format!("k{n}")).ttl(TTL).await.unwrap());
    }
    for (n, guard) in guards.into_iter().enumerate() {
        if n == 25 {
            server.kill9();
        } else if n % 5 == 0 && n < 25 {
            server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        drop(guard);
    }
    sleep(SECOND).await;
    server.restart().await;
    let held = || server.command(&["KEYS", "cachestore:lock:*"]) != crate::harness::Reply::Array(Vec::new());
    assert!(eventually(LATE, || !held()).await, "all are released");
}
