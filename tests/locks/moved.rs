//! A server's name that comes to mean another server: all connections of a store follow it, also the one that
//! hears of released locks.

use std::time::Duration;

use cachestore::{LockGuard, RedisConfig, Result, Store};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::opening::{config, open};
use crate::harness::{Proxy, RedisServer};

const MS: Duration = Duration::from_millis(1);
const TTL: Duration = Duration::from_secs(60);

/// Two processes, a name that means the first server, and a second server.
struct Moving {
    name: Proxy,
    servers: [RedisServer; 2],
    holder: Store,
    waiter: Store,
}

impl Moving {
    async fn start(settings: impl Fn(RedisConfig) -> RedisConfig) -> Self {
        let servers = [RedisServer::start().await, RedisServer::start().await];
        let name = Proxy::start(servers[0].address(), 5).await;
        let opened = async || open(settings(config(&name.url()))).await;
        let (holder, waiter) = (opened().await, opened().await);
        let moving = Self {
            name,
            servers,
            holder,
            waiter,
        };
        // From here on the waiter's process has a connection for notifications.
        moving.hand_over(1000 * MS).await;
        moving
    }

    /// A process waits for what another holds, and has it soon after it was released.
    async fn hand_over(&self, within: Duration) {
        let guard = self.holder.lock("k").ttl(TTL).wait(5000 * MS).await.unwrap();
        let waiting = self.wait();
        sleep(100 * MS).await;
        let released = Instant::now();
        guard.release().await.unwrap();
        let guard = timeout(within, waiting).await;
        let guard = guard.expect("the waiter heard of the release").unwrap().unwrap();
        println!("moved: handed over after {:?}", released.elapsed());
        guard.release().await.unwrap();
    }

    fn wait(&self) -> JoinHandle<Result<LockGuard>> {
        let store = self.waiter.clone();
        tokio::spawn(async move { store.lock("k").ttl(TTL).wait(TTL).await })
    }

    /// Waits until both processes write to the second server.
    async fn have_moved(&self) {
        let began = Instant::now();
        for (store, key) in [(&self.holder, "holder"), (&self.waiter, "waiter")] {
            loop {
                let _ = store.set(key, "v").await;
                if self.servers[1].command(&["EXISTS", key]).int() == 1 {
                    break;
                }
                assert!(began.elapsed() < 10_000 * MS, "{key} does not move");
                sleep(20 * MS).await;
            }
        }
    }
}

#[tokio::test]
async fn connections_past_their_age_follow_the_name_together() {
    let moving = Moving::start(|config| config.max_connection_age(500 * MS)).await;
    moving.name.retarget(moving.servers[1].address());
    moving.have_moved().await;
    for _ in 0..3 {
        moving.hand_over(1000 * MS).await;
    }
}

#[tokio::test]
async fn connections_to_a_replica_follow_the_name_together() {
    let moving = Moving::start(|config| config).await;
    moving.name.retarget(moving.servers[1].address());
    let port = moving.servers[1].port().to_string();
    moving.servers[0].command(&["REPLICAOF", "127.0.0.1", &port]);
    moving.have_moved().await;
    for _ in 0..3 {
        moving.hand_over(1000 * MS).await;
    }
}

/// A waiter that was there before the move hears of a release after it.
#[tokio::test]
async fn a_waiter_follows_a_server_that_stands_still() {
    let moving = Moving::start(|config| config.response_timeout(300 * MS)).await;
    let waiting = {
        let guard = moving.holder.lock("k").ttl(TTL).await.unwrap();
        let waiting = moving.wait();
        sleep(100 * MS).await;
        moving.name.retarget(moving.servers[1].address());
        moving.servers[0].stop();
        // The second server has never heard of this lock, so the waiter gets it there.
        let _ = guard.release().await;
        waiting
    };
    moving.have_moved().await;
    let recovered = Instant::now();
    let guard = timeout(1500 * MS, waiting)
        .await
        .expect("in time")
        .unwrap()
        .unwrap();
    println!(
        "moved: the waiter asked the new server after {:?}",
        recovered.elapsed()
    );
    guard.release().await.unwrap();
    moving.hand_over(1000 * MS).await;
    moving.servers[0].cont();
}

#[tokio::test]
async fn waiters_do_not_starve_when_the_server_goes_on() {
    let moving = Moving::start(|config| config.response_timeout(300 * MS)).await;
    for pause in [400, 1500, 3000] {
        let guard = moving.holder.lock("k").ttl(TTL).await.unwrap();
        let waiting = moving.wait();
        sleep(100 * MS).await;
        moving.servers[0].stop();
        sleep(pause * MS).await;
        moving.servers[0].cont();
        let went_on = Instant::now();
        guard.release().await.unwrap();
        let guard = timeout(2000 * MS, waiting)
            .await
            .expect("in time")
            .unwrap()
            .unwrap();
        println!(
            "moved: {pause} ms of standstill: handed over after {:?}",
            went_on.elapsed()
        );
        guard.release().await.unwrap();
    }
}

/// The server carries out the release before it hears of the waiter's next connection.
#[tokio::test]
async fn a_release_while_the_server_stands_still_is_noticed() {
    let moving = Moving::start(|config| config.response_timeout(300 * MS)).await;
    for pause in [1500, 3000] {
        let guard = moving.holder.lock("k").ttl(TTL).await.unwrap();
        let waiting = moving.wait();
        sleep(100 * MS).await;
        moving.servers[0].stop();
        let releasing = tokio::spawn(async move { guard.release().await });
        sleep(pause * MS).await;
        moving.servers[0].cont();
        let went_on = Instant::now();
        let guard = timeout(2000 * MS, waiting)
            .await
            .expect("in time")
            .unwrap()
            .unwrap();
        println!(
            "moved: released in {pause} ms of standstill: handed over after {:?}",
            went_on.elapsed()
        );
        // Who releases may not learn that it was carried out.
        drop(releasing.await.unwrap());
        guard.release().await.unwrap();
    }
}
