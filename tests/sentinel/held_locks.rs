//! Locks that are held when another server becomes the primary, and the tokens of those that follow.

use std::time::Duration;

use cachestore::{Event, LockGuard, Release, Store};
use tokio::time::{sleep, timeout};

use crate::harness::Service;
use crate::harness::opening::{config, eventually, ms, open, token};

const TTL: Duration = Duration::from_secs(60);
const LOCK: &str = "cachestore:lock:{k}";
const FENCE: &str = "cachestore:fence:{k}";

/// A store that holds the lock while the replica, which is changed by `commands` before, becomes the primary.
async fn switched(commands: &[&[&str]], go: bool) -> (Service, Store, LockGuard) {
    let mut service = Service::start(1).await;
    let config = config(&service.url());
    let store = open(if go { config.go_compatible() } else { config }).await;
    let guard = store.lock("k").ttl(TTL).await.unwrap();
    service.diverge(commands).await;
    service.fail_over().await;
    let back = async { while store.set("back", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), back).await.unwrap();
    (service, store, guard)
}

/// The replica loses the locks `k0` and so on, and their tokens.
async fn forget(service: &Service, locks: usize) {
    let names: Vec<String> = (0..locks)
        .flat_map(|n| {
            [
                format!("cachestore:lock:{{k{n}}}"),
                format!("cachestore:fence:{{k{n}}}"),
            ]
        })
        .collect();
    let mut delete = vec!["DEL"];
    delete.extend(names.iter().map(String::as_str));
    service.diverge(&[&delete]).await;
}

/// How many locks the second server knows.
fn held(service: &Service) -> i64 {
    let count = "return #redis.call('KEYS', 'cachestore:lock:*')";
    service.servers[1].command(&["EVAL", count, "0"]).int()
}

#[tokio::test]
async fn a_lock_that_the_new_primary_knows_goes_on() {
    let (service, store, guard) = switched(&[], false).await;
    sleep(ms(300)).await;
    assert!(guard.remaining() > TTL / 2);
    assert_eq!(service.servers[1].command(&["EXISTS", LOCK]).int(), 1);
    assert!(store.lock("k").ttl(TTL).await.is_err(), "it is held");
    assert_eq!(guard.release().await.unwrap(), Release::Released);
}

#[tokio::test]
async fn a_lock_that_the_new_primary_does_not_know_is_taken_anew() {
    for go in [false, true] {
        let lock = if go { "k" } else { LOCK };
        let (service, store, guard) = switched(&[&["DEL", lock, FENCE]], go).await;
        let taken = || service.servers[1].command(&["EXISTS", lock]).int() == 1;
        assert!(eventually(ms(5000), taken).await, "Go: {go}");
        let left = service.servers[1].command(&["PTTL", lock]).int();
        assert!(left > 0 && left as u128 <= TTL.as_millis(), "{left}");
        assert!(guard.remaining() > TTL / 2 && guard.remaining() < TTL);
        let before = guard.fencing_token();
        assert_eq!(guard.release().await.unwrap(), Release::Released);
        assert!(token(&store).await > before);
    }
}

#[tokio::test]
async fn a_lock_that_another_holds_at_the_new_primary_is_lost() {
    let (service, _store, guard) = switched(&[&["SET", LOCK, "another", "PX", "60000"]], false).await;
    timeout(Duration::from_secs(5), guard.lost())
        .await
        .expect("it is told");
    assert_eq!(service.servers[1].command(&["GET", LOCK]).text(), "another");
    assert_eq!(guard.release().await.unwrap(), Release::NotHeld);
}

/// Locks that are renewed at any time, so that renewals wait for the connection at the switch, and meet a server
/// that does not know the lock, or has given it another token.
#[tokio::test]
async fn a_renewal_does_not_lose_what_the_check_takes_anew() {
    const LOCKS: usize = 60;
    let mut service = Service::start(1).await;
    let store = open(config(&service.url())).await;
    let ttl = Duration::from_secs(12);
    let mut guards = Vec::new();
    for n in 0..LOCKS {
        guards.push(store.lock(format!("k{n}")).ttl(ttl).renew(TTL).await.unwrap());
        // One is renewed every 4 s / 60.
        sleep(ttl / 3 / LOCKS as u32).await;
    }
    forget(&service, LOCKS).await;
    service.fail_over().await;
    assert!(eventually(ms(8000), || held(&service) == LOCKS as i64).await);
    sleep(ttl / 3 + ms(500)).await;
    for (n, guard) in guards.into_iter().enumerate() {
        assert!(guard.remaining() > ttl / 3, "{n}: {:?}", guard.remaining());
        assert_eq!(guard.release().await.unwrap(), Release::Released, "{n}");
    }
    assert_eq!(held(&service), 0);
}

/// Guards that are dropped at any time around the switch: behind a check, too, which may give the lock another token.
#[tokio::test]
async fn a_release_at_the_switch_leaves_nothing() {
    const LOCKS: usize = 200;
    let mut service = Service::start(1).await;
    let store = open(config(&service.url()).request_timeout(ms(1000))).await;
    let mut guards = Vec::new();
    for n in 0..LOCKS {
        guards.push(store.lock(format!("k{n}")).ttl(TTL).await.unwrap());
    }
    forget(&service, LOCKS).await;
    let mut events = store.events();
    service.fail_over().await;
    let switched = async { while !matches!(events.recv().await, Some(Event::SwitchedPrimary { .. })) {} };
    timeout(Duration::from_secs(20), switched).await.unwrap();
    // The checks are under way, or are made again until the new primary takes writes.
    while let Some(guard) = guards.pop() {
        drop(guard);
        if guards.len() % 8 == 0 {
            sleep(ms(1)).await;
        }
    }
    let back = async { while store.set("back", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), back).await.unwrap();
    let gone = || held(&service) == 0;
    assert!(eventually(ms(5000), gone).await, "{} are left", held(&service));
}

/// A guard that was dropped before the switch leaves nothing behind.
#[tokio::test]
async fn a_lock_that_was_released_is_not_taken_anew() {
    let mut service = Service::start(1).await;
    let store = open(config(&service.url())).await;
    drop(store.lock("k").ttl(TTL).await.unwrap());
    let guard = store.lock("other").ttl(TTL).await.unwrap();
    service.replicated().await;
    service.fail_over().await;
    let back = async { while store.set("back", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), back).await.unwrap();
    guard.release().await.unwrap();
    assert_eq!(service.servers[1].command(&["EXISTS", LOCK]).int(), 0);
}

/// The new primary's clock is an hour behind the old one's, and it has missed the last token.
#[tokio::test]
async fn tokens_grow_at_a_primary_whose_clock_is_slow() {
    let mut service = Service::start(1).await;
    let store = open(config(&service.url())).await;
    let time = service.servers[0].command(&["TIME"]);
    let seconds: u64 = time.array()[0].text().parse().unwrap();
    let ahead = (seconds + 3600) * 1_000_000;
    service.servers[0].command(&["SET", FENCE, &ahead.to_string()]);
    let before = token(&store).await;
    assert!(before > ahead);
    service.diverge(&[&["DEL", FENCE]]).await;
    service.fail_over().await;
    let after = token(&store).await;
    assert!(after > before, "{before}, then {after}");
}
