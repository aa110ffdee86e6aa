//! Expiry under paused time: exact to the millisecond, and reclaimed without anybody asking.

use std::time::Duration;

use cachestore::{Config, MemoryConfig, Store, Ttl};
use tokio::time::{advance, sleep};

use crate::support::{CENTURY, keys, memory, ms, open, secs};

/// Lets the engine carry out what it has been sent: a TTL counts from then.
async fn settle(store: &Store) {
    store.ping().await.unwrap();
}

async fn remaining(store: &Store, key: &str) -> Option<Duration> {
    store.ttl(key).await.unwrap().and_then(Ttl::remaining)
}

/// Entries and bytes that are held, and how many have expired.
async fn held(store: &Store) -> (u64, u64, u64) {
    let stats = store.stats().await.unwrap();
    (
        stats.entries.unwrap(),
        stats.bytes.unwrap(),
        stats.expired.unwrap(),
    )
}

#[tokio::test(start_paused = true)]
async fn an_entry_lives_to_its_last_nanosecond_and_not_one_longer() {
    let store = memory().await;
    store.set("k", "v").ttl(secs(1)).await.unwrap();
    settle(&store).await;
    advance(secs(1) - Duration::from_nanos(1)).await;
    assert!(store.exists("k").await.unwrap());
    assert_eq!(remaining(&store, "k").await, Some(ms(1)));
    advance(Duration::from_nanos(1)).await;
    assert_eq!(store.get("k").await.unwrap(), None);
    assert_eq!(store.ttl("k").await.unwrap(), None);
}

/// Many expire at once, and the requests are in the queue before the engine has reclaimed the first.
#[tokio::test(start_paused = true)]
async fn what_is_not_yet_reclaimed_is_not_served() {
    const COUNT: u64 = 20_000;
    let store = memory().await;
    let names: Vec<String> = (0..COUNT).map(|n| format!("k{n}")).collect();
    store
        .set_many(names.iter().map(|name| (name, "5")))
        .ttl(secs(1))
        .await
        .unwrap();
    settle(&store).await;
    let requests = async {
        advance(secs(1)).await;
        tokio::join!(
            store.stats(),
            store.get_many(&names[..500]),
            store.take(&names[501]),
            store.exists(&names[502]),
            store.incr(&names[503], 1),
            keys(&store, ""),
        )
    };
    let (stats, values, taken, present, count, found) = requests.await;
    assert!(
        stats.unwrap().entries > Some(0),
        "the test comes too late to show anything"
    );
    assert!(values.unwrap().iter().all(Option::is_none));
    assert_eq!(
        (taken.unwrap(), present.unwrap(), count.unwrap()),
        (None, false, 1)
    );
    assert_eq!(found, ["k503"]);
}

#[tokio::test(start_paused = true)]
async fn entries_are_reclaimed_without_traffic() {
    let store = memory().await;
    store.set("a", "v").ttl(secs(1)).await.unwrap();
    store
        .set("b", "v")
        .ttl(secs(2))
        .depends_on(["a", "u"])
        .await
        .unwrap();
    sleep(ms(1_100)).await;
    let (entries, bytes, expired) = held(&store).await;
    assert_eq!((entries, expired), (1, 1));
    assert!(bytes > 0);
    sleep(secs(1)).await;
    assert_eq!(held(&store).await, (0, 0, 2));
}

/// Asking at a time when only one of the two deadlines has passed shows whether the alarm was moved.
#[tokio::test(start_paused = true)]
async fn a_nearer_deadline_wakes_the_engine_sooner() {
    let store = memory().await;
    store.set("far", "v").ttl(secs(3600)).await.unwrap();
    store.ping().await.unwrap();
    store.set("near", "v").ttl(secs(1)).await.unwrap();
    sleep(ms(1_100)).await;
    let (entries, _, expired) = held(&store).await;
    assert_eq!((entries, expired), (1, 1));
    assert_eq!(keys(&store, "").await, ["far"]);
}

#[tokio::test(start_paused = true)]
async fn ttl_is_exact_and_rounds_up() {
    let store = memory().await;
    store.set("k", "v").ttl(ms(1500)).await.unwrap();
    assert_eq!(remaining(&store, "k").await, Some(ms(1500)));
    advance(Duration::from_micros(1)).await;
    assert_eq!(remaining(&store, "k").await, Some(ms(1500)));
    advance(Duration::from_micros(999)).await;
    assert_eq!(remaining(&store, "k").await, Some(ms(1499)));
    advance(ms(400)).await;
    assert_eq!(remaining(&store, "k").await, Some(ms(1099)));
}

#[tokio::test(start_paused = true)]
async fn overwriting_moves_the_deadline() {
    let store = memory().await;
    store
        .set_many([("longer", "1"), ("shorter", "1"), ("none", "1")])
        .ttl(secs(10))
        .await
        .unwrap();
    settle(&store).await;
    advance(secs(4)).await;
    store.set("longer", "2").ttl(secs(20)).await.unwrap();
    store.set("shorter", "2").ttl(secs(1)).await.unwrap();
    store.set("none", "2").await.unwrap();
    assert_eq!(remaining(&store, "longer").await, Some(secs(20)));
    advance(secs(1)).await;
    assert_eq!(keys(&store, "").await, ["longer", "none"]);
    advance(secs(18)).await;
    assert!(
        store.exists("longer").await.unwrap(),
        "the deadline it had before counts no more"
    );
    sleep(secs(2)).await;
    assert_eq!(keys(&store, "").await, ["none"]);
    assert_eq!(store.ttl("none").await.unwrap(), Some(Ttl::Persistent));
    assert_eq!(
        store.stats().await.unwrap().expired,
        Some(2),
        "each entry expires once"
    );
}

#[tokio::test(start_paused = true)]
async fn expire_and_persist_move_the_deadline() {
    let store = memory().await;
    store
        .set_many([("longer", "1"), ("shorter", "1"), ("none", "1")])
        .ttl(secs(10))
        .await
        .unwrap();
    settle(&store).await;
    advance(secs(4)).await;
    assert!(store.expire("longer", secs(20)).await.unwrap());
    assert!(store.expire("shorter", Duration::from_nanos(1)).await.unwrap());
    assert!(store.persist("none").await.unwrap());
    assert_eq!(
        remaining(&store, "longer").await,
        Some(secs(20)),
        "from now, not from the write"
    );
    assert_eq!(remaining(&store, "shorter").await, Some(ms(1)));
    advance(ms(1)).await;
    assert_eq!(keys(&store, "").await, ["longer", "none"]);
    sleep(secs(30)).await;
    assert_eq!(keys(&store, "").await, ["none"]);
}

#[tokio::test(start_paused = true)]
async fn incr_keeps_the_deadline_to_the_nanosecond() {
    let store = memory().await;
    store.set("n", "1").ttl(secs(10)).await.unwrap();
    settle(&store).await;
    for _ in 0..9 {
        advance(secs(1)).await;
        store.incr("n", 1).await.unwrap();
    }
    assert_eq!(remaining(&store, "n").await, Some(secs(1)));
    advance(secs(1)).await;
    assert_eq!(
        store.incr("n", 1).await.unwrap(),
        1,
        "it expired, so counting begins anew"
    );
    assert_eq!(store.ttl("n").await.unwrap(), Some(Ttl::Persistent));
}

/// An expired entry that is written again before it is reclaimed is a new entry.
#[tokio::test(start_paused = true)]
async fn writing_over_an_expired_entry_begins_anew() {
    let store = memory().await;
    store
        .set_many([("set", "1"), ("add", "1")])
        .ttl(secs(1))
        .depends_on(["u"])
        .await
        .unwrap();
    settle(&store).await;
    advance(secs(1)).await;
    store.set("set", "2").await.unwrap();
    assert!(store.add("add", "2").await.unwrap());
    sleep(secs(5)).await;
    assert_eq!(keys(&store, "").await, ["add", "set"]);
    assert_eq!(
        store.invalidate(["u"]).await.unwrap(),
        0,
        "what they had depended on is forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn the_default_ttl_is_exact() {
    let store = open(Config::memory().default_ttl(Duration::from_micros(1_500))).await;
    store.set("k", "v").await.unwrap();
    assert_eq!(remaining(&store, "k").await, Some(ms(2)));
    advance(ms(2)).await;
    assert!(!store.exists("k").await.unwrap());
}

/// A whole century passes, at a few of whose moments somebody looks.
#[tokio::test(start_paused = true)]
async fn a_century_has_an_end() {
    let store = memory().await;
    store.set("k", "v").ttl(CENTURY).await.unwrap();
    settle(&store).await;
    advance(CENTURY - ms(1)).await;
    assert_eq!(remaining(&store, "k").await, Some(ms(1)));
    advance(ms(1)).await;
    assert!(!store.exists("k").await.unwrap());
    sleep(secs(1)).await;
    assert_eq!(held(&store).await, (0, 0, 1));
}

/// Deadlines that are spread over a minute, moved about, and all come.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_come_and_go() {
    const COUNT: u64 = 100_000;
    let store = open(MemoryConfig::default().capacity_bytes(1 << 30)).await;
    // A fixed sequence of TTLs, from 1 ms to 60 s, in no order.
    let ttl = |n: u64| ms(1 + (n * 7_919) % 60_000);
    for n in 0..COUNT {
        let write = store
            .set(format!("key-{n:08}-longer-than-inline"), [7; 64])
            .ttl(ttl(n));
        if n % 10 == 0 {
            write.depends_on([format!("u{}", n % 1000)]).await
        } else {
            write.await
        }
        .unwrap();
    }
    assert_eq!(store.stats().await.unwrap().entries, Some(COUNT));
    for n in (0..COUNT).step_by(3) {
        let key = format!("key-{n:08}-longer-than-inline");
        match n % 4 {
            0 => assert!(store.expire(key, ttl(n + 1)).await.unwrap()),
            1 => store.set(key, [8; 640]).ttl(ttl(n + 2)).await.unwrap(),
            2 => assert!(store.persist(&key).await.unwrap() && store.expire(&key, secs(50)).await.unwrap()),
            _ => assert!(store.delete(key).await.unwrap()),
        }
    }
    let deleted = store.stats().await.unwrap().deletes;
    sleep(secs(30)).await;
    let (entries, bytes, _) = held(&store).await;
    assert!(
        entries > COUNT / 4 && entries < COUNT / 4 * 3,
        "about half is left: {entries}"
    );
    assert!(bytes > 0);
    sleep(secs(31)).await;
    assert_eq!(held(&store).await, (0, 0, COUNT - deleted));
}
