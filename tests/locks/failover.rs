//! Fencing tokens after the server has lost what it knew: they do not shrink for whoever knows the last one.

use std::time::Duration;

use cachestore::{Release, Store};
use tokio::time::{sleep, timeout};

use crate::harness::opening::{config, eventually, ms, open, token};
use crate::harness::{Proxy, RedisServer};

const TTL: Duration = Duration::from_secs(60);
const FENCE: &str = "cachestore:fence:{k}";

/// A primary whose clock is ten seconds ahead of its replica's, behind an address that follows the primary.
struct World {
    primary: RedisServer,
    replica: RedisServer,
    proxy: Proxy,
}

impl World {
    async fn new() -> Self {
        let primary = RedisServer::options()
            .argument("repl-diskless-sync-delay", "0")
            .start()
            .await;
        let replica = RedisServer::start().await;
        let port = primary.port().to_string();
        replica.command(&["REPLICAOF", "127.0.0.1", &port]);
        let follows = || replica.info("master_link_status") == "up";
        assert!(eventually(ms(10_000), follows).await);
        // The replica hears of nothing that comes now.
        replica.command(&["REPLICAOF", "NO", "ONE"]);
        // As if the primary's clock had given this token.
        let time = primary.command(&["TIME"]);
        let seconds: u64 = time.array()[0].text().parse().unwrap();
        let ahead = (seconds + 10) * 1_000_000;
        primary.command(&["SET", FENCE, &ahead.to_string()]);
        let proxy = Proxy::start(primary.address(), 1).await;
        Self {
            primary,
            replica,
            proxy,
        }
    }

    async fn store(&self, go: bool) -> Store {
        let config = config(&self.proxy.url());
        open(if go { config.go_compatible() } else { config }).await
    }

    /// The address leads to the replica from now on.
    async fn fail_over(&self) {
        self.proxy.retarget(self.replica.address());
        self.proxy.cut();
    }
}

#[tokio::test]
async fn a_replica_that_missed_the_last_lock_gives_a_higher_token() {
    for go in [false, true] {
        let world = World::new().await;
        let store = world.store(go).await;
        let before = token(&store).await;
        world.fail_over().await;
        let after = token(&store).await;
        assert!(after > before, "{before}, then {after}, Go: {go}");
        assert_eq!(world.replica.command(&["EXISTS", FENCE]).int(), 1);
        // The replica knows now: so does a client that knew nothing.
        let other = world.store(go).await;
        assert!(token(&other).await > after);
    }
}

/// A waiter never held the lock. It was told of the token when it was refused, or when the holder released.
#[tokio::test]
async fn a_waiter_knows_the_token_of_the_holder_before_it() {
    for released in [true, false] {
        let world = World::new().await;
        let (holder, store) = (world.store(false).await, world.store(false).await);
        let guard = holder.lock("k").ttl(TTL).await.unwrap();
        let before = guard.fencing_token();
        let waiter = tokio::spawn({
            let store = store.clone();
            async move { store.lock("k").ttl(TTL).wait(TTL).await }
        });
        sleep(ms(200)).await;
        if released {
            guard.release().await.unwrap();
            drop(timeout(TTL, waiter).await.unwrap().unwrap().unwrap());
            sleep(ms(50)).await;
            world.fail_over().await;
            assert!(token(&store).await > before + 1);
        } else {
            world.fail_over().await;
            let after = timeout(TTL, waiter).await.unwrap().unwrap();
            // The holder's process is cut off too, and does not know yet.
            let after = after.map_or(before + 1, |guard| guard.fencing_token());
            assert!(after > before, "{before}, then {after}");
        }
    }
}

/// Whoever asks who holds the lock knows its token too, and a forced release announces it.
#[tokio::test]
async fn a_token_is_known_from_what_is_told_of_the_holder() {
    let world = World::new().await;
    let (holder, store) = (world.store(false).await, world.store(false).await);
    let guard = holder.lock("k").ttl(TTL).await.unwrap();
    let before = guard.fencing_token();
    let info = store.lock_info("k").await.unwrap().unwrap();
    assert_eq!(info.fencing_token, before);
    world.fail_over().await;
    assert!(token(&store).await > before);
    assert_eq!(world.primary.command(&["EXISTS", FENCE]).int(), 1);
    drop(guard);
}

/// All that the server knew is gone, and its clock is behind.
#[tokio::test]
async fn a_flushed_server_gives_a_higher_token() {
    let world = World::new().await;
    let store = world.store(false).await;
    let mut last = 0;
    for _ in 0..3 {
        let next = token(&store).await;
        assert!(next > last, "{last}, then {next}");
        last = next;
        world.primary.flush();
    }
}

/// Two hold the lock, and the later one has the higher token.
#[tokio::test]
async fn a_clock_that_is_set_forward_makes_two_holders_with_tokens_in_order() {
    let server = RedisServer::start().await;
    let (one, other) = (
        open(config(&server.url())).await,
        open(config(&server.url())).await,
    );
    let first = one.lock("k").ttl(TTL).await.unwrap();
    // As a clock that is set forward by a minute ends it.
    server.command(&["PEXPIRE", "cachestore:lock:{k}", "1"]);
    let second = other.lock("k").ttl(TTL).wait(TTL).await.unwrap();
    assert!(first.remaining() > TTL / 2 && second.remaining() > TTL / 2);
    assert!(second.fencing_token() > first.fencing_token());
    // The first releases its own lock, and not the second's.
    assert_eq!(first.release().await.unwrap(), Release::NotHeld);
    assert_eq!(second.release().await.unwrap(), Release::Released);
}
