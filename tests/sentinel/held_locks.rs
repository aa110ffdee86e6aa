//! Locks that are held when another server becomes the primary, and the tokens of those that follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::{Error, Event, LockGuard, Release, Store};
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
        let info = store.lock_info("k").await.unwrap().unwrap();
        assert_eq!(info.fencing_token, before, "the hold is the same");
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

/// It is free again. The guard must not go on as if nobody else had held the lock.
#[tokio::test]
async fn a_lock_that_another_has_held_at_the_new_primary_is_lost() {
    let later = "9000000000000000";
    let (service, _store, guard) = switched(&[&["DEL", LOCK], &["SET", FENCE, later]], false).await;
    timeout(Duration::from_secs(5), guard.lost())
        .await
        .expect("it is told");
    assert_eq!(service.servers[1].command(&["EXISTS", LOCK]).int(), 0);
}

/// The secret is shared, and another holder has extended the lock.
#[tokio::test]
async fn a_check_does_not_shorten_what_another_has_extended() {
    let mut service = Service::start(1).await;
    let store = open(config(&service.url())).await;
    let guard = store.lock("k").ttl(TTL).secret("shared").await.unwrap();
    let extended = store.extend_lock("k", "shared", 10 * TTL).await.unwrap();
    assert!(extended);
    service.replicated().await;
    service.fail_over().await;
    let back = async { while store.set("back", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), back).await.unwrap();
    sleep(ms(300)).await;
    let left = service.servers[1].command(&["PTTL", LOCK]).int();
    assert!(left as u128 > TTL.as_millis(), "{left}");
    assert_eq!(guard.release().await.unwrap(), Release::Released);
}

/// Locks that are renewed and extended all the time: some extensions meet a check that is under way, and some meet a
/// server that does not know the lock yet.
#[tokio::test]
async fn no_extension_loses_what_the_check_takes_anew() {
    const LOCKS: usize = 30;
    let mut service = Service::start(1).await;
    let store = open(config(&service.url()).request_timeout(ms(1000))).await;
    let ttl = Duration::from_secs(20);
    let mut guards = Vec::new();
    for n in 0..LOCKS {
        let lock = store.lock(format!("k{n}")).ttl(ttl).renew(TTL);
        guards.push(lock.await.unwrap());
    }
    forget(&service, LOCKS).await;
    let done = Arc::new(AtomicBool::new(false));
    let holders: Vec<_> = guards
        .into_iter()
        .map(|guard| {
            let done = done.clone();
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    if let Err(Error::LockMismatch) = guard.extend(ttl).await {
                        panic!("it is lost");
                    }
                    sleep(ms(1)).await;
                }
                assert!(guard.remaining() > ttl / 2, "{:?}", guard.remaining());
                guard.release().await.unwrap()
            })
        })
        .collect();
    service.fail_over().await;
    assert!(eventually(ms(8000), || held(&service) == LOCKS as i64).await);
    let back = async { while store.set("back", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), back).await.unwrap();
    sleep(ms(300)).await;
    done.store(true, Ordering::Relaxed);
    for holder in holders {
        assert_eq!(holder.await.unwrap(), Release::Released);
    }
    assert_eq!(held(&service), 0);
}

/// Guards that are dropped at any time around the switch, behind their checks too.
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

/// A server whose memory is full still prolongs what it has.
#[tokio::test]
async fn a_lock_goes_on_at_a_new_primary_whose_memory_is_full() {
    let mut service = Service::start(1).await;
    let store = open(config(&service.url())).await;
    let guard = store.lock("k").ttl(TTL).await.unwrap();
    service
        .diverge(&[
            &["CONFIG", "SET", "maxmemory-policy", "noeviction"],
            &["CONFIG", "SET", "maxmemory", "1"],
        ])
        .await;
    service.fail_over().await;
    // The first extension may come before the check.
    let extended = async {
        let mut in_a_row = 0;
        while in_a_row < 10 {
            in_a_row = if guard.extend(TTL).await.is_ok() {
                in_a_row + 1
            } else {
                0
            };
            sleep(ms(100)).await;
        }
    };
    let extended = timeout(Duration::from_secs(20), extended).await;
    extended.expect("it is extended");
    assert_eq!(guard.release().await.unwrap(), Release::Released);
}

/// The holder has not heard of it when the switch comes.
#[tokio::test]
async fn a_lock_that_another_has_released_is_not_taken_anew() {
    for way in ["by force", "by its secret", "by another guard"] {
        let mut service = Service::start(1).await;
        let store = open(config(&service.url())).await;
        let other = open(config(&service.url())).await;
        let guard = store.lock("k").ttl(TTL).secret("shared").await.unwrap();
        match way {
            "by force" => assert!(other.force_release("k").await.unwrap()),
            "by its secret" => {
                let released = other.release_lock("k", "shared").await.unwrap();
                assert_eq!(released, Release::Released);
            }
            _ => {
                let same = other.lock("k").ttl(TTL).secret("shared").await.unwrap();
                assert_eq!(same.fencing_token(), guard.fencing_token());
                assert_eq!(same.release().await.unwrap(), Release::Released);
            }
        }
        service.replicated().await;
        service.fail_over().await;
        timeout(Duration::from_secs(20), guard.lost())
            .await
            .unwrap_or_else(|_| panic!("released {way}, it is lost"));
        assert_eq!(service.servers[1].command(&["EXISTS", LOCK]).int(), 0);
    }
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

/// The new primary knows an earlier hold of the same secret alone.
#[tokio::test]
async fn a_secret_that_takes_its_lock_again_gets_no_earlier_token() {
    let mut service = Service::start(1).await;
    let store = open(config(&service.url())).await;
    let take = async || {
        let lock = store.lock("k").ttl(TTL).secret("mine").wait(TTL).await.unwrap();
        let token = lock.fencing_token();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        token
    };
    let (first, second) = (take().await, take().await);
    assert!(second > first);
    let first_hold: [&[&str]; 2] = [
        &["SET", LOCK, "mine", "PX", "60000"],
        &["SET", FENCE, &first.to_string()],
    ];
    service.diverge(&first_hold).await;
    service.fail_over().await;
    let back = async { while store.set("back", "v").await.is_err() {} };
    timeout(Duration::from_secs(20), back).await.unwrap();
    let third = take().await;
    assert!(third > second, "{first}, {second}, then {third}");
}
