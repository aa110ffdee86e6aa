//! `incr`: a decimal integer in the one form that Redis takes.

use std::time::Duration;

use cachestore::{Error, Store, Ttl};
use tokio::time::sleep;

use crate::support::{ms, secs};

/// What is left of a counter's TTL, which there must be.
async fn left(store: &Store) -> Duration {
    match store.ttl("n").await.unwrap() {
        Some(Ttl::Remaining(left)) => left,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn counting_begins_at_zero(store: Store) {
    assert_eq!(store.incr("n", 5).await.unwrap(), 5);
    assert_eq!(store.incr("n", -7).await.unwrap(), -2);
    assert_eq!(store.get_string("n").await.unwrap().unwrap(), "-2");
    assert_eq!(store.incr("zero", 0).await.unwrap(), 0);
    assert_eq!(store.get_string("zero").await.unwrap().unwrap(), "0");
}

pub(crate) async fn counting_goes_on_from_what_was_set(store: Store) {
    for (held, by, sum) in [("0", 1, 1), ("-1", 1, 0), ("41", 1, 42), ("100", -1, 99)] {
        store.set("n", held).await.unwrap();
        assert_eq!(store.incr("n", by).await.unwrap(), sum);
        assert_eq!(store.get_string("n").await.unwrap().unwrap(), sum.to_string());
    }
}

pub(crate) async fn other_forms_of_a_number_are_none(store: Store) {
    let others: [&[u8]; 22] = [
        b"",
        b" ",
        b"one",
        b"+1",
        b"01",
        b"-01",
        b"00",
        b"-0",
        b"-",
        b"--1",
        b" 1",
        b"1 ",
        b"1\n",
        b"1\0",
        b"1.0",
        b"1e3",
        b"0x10",
        b"1_000",
        "١".as_bytes(),
        b"\xff",
        b"9223372036854775808",
        b"-9223372036854775809",
    ];
    for held in others {
        store.set("n", held).await.unwrap();
        let outcome = store.incr("n", 1).await;
        assert!(
            matches!(outcome, Err(Error::NotAnInteger)),
            "{held:?}: {outcome:?}"
        );
        assert_eq!(store.get("n").await.unwrap().unwrap(), held, "the value stays");
    }
}

pub(crate) async fn a_sum_past_64_bits_is_refused(store: Store) {
    for (held, by) in [
        (i64::MAX, 1),
        (i64::MAX, i64::MAX),
        (i64::MIN, -1),
        (i64::MIN, i64::MIN),
        (-2, i64::MIN),
    ] {
        store.set("n", held.to_string()).await.unwrap();
        let outcome = store.incr("n", by).await;
        assert!(
            matches!(outcome, Err(Error::Overflow)),
            "{held} and {by}: {outcome:?}"
        );
        assert_eq!(store.get_string("n").await.unwrap().unwrap(), held.to_string());
    }
    for (held, by, sum) in [
        (i64::MAX, -1, i64::MAX - 1),
        (i64::MAX - 1, 1, i64::MAX),
        (0, i64::MIN, i64::MIN),
    ] {
        store.set("n", held.to_string()).await.unwrap();
        assert_eq!(store.incr("n", by).await.unwrap(), sum);
    }
    assert_eq!(store.incr("n", i64::MAX).await.unwrap(), -1);
}

pub(crate) async fn counting_keeps_ttl_and_dependencies(store: Store) {
    store
        .set("n", "1")
        .ttl(secs(600))
        .depends_on(["u"])
        .await
        .unwrap();
    store.incr("n", 1).await.unwrap();
    let Some(Ttl::Remaining(left)) = store.ttl("n").await.unwrap() else {
        panic!("its TTL has gone")
    };
    assert!(left <= secs(600));
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 1);
    assert_eq!(store.get("n").await.unwrap(), None);
}

pub(crate) async fn no_count_is_lost(store: Store) {
    let tasks = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                store.incr("n", 3).await.unwrap();
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    assert_eq!(store.incr("n", 0).await.unwrap(), 1200);
}

pub(crate) async fn the_call_that_creates_a_counter_sets_its_ttl(store: Store) {
    assert_eq!(store.incr("n", 5).ttl(secs(60)).await.unwrap(), 5);
    assert!(left(&store).await > secs(50) && left(&store).await <= secs(60));
    assert_eq!(store.incr("n", 1).ttl(secs(600)).await.unwrap(), 6);
    assert_eq!(store.incr("n", 1).await.unwrap(), 7);
    assert!(left(&store).await <= secs(60), "a counter keeps its TTL");
    assert_eq!(store.get_string("n").await.unwrap().unwrap(), "7");

    store.set("n", "1").persistent().await.unwrap();
    assert_eq!(store.incr("n", 1).ttl(secs(60)).await.unwrap(), 2);
    assert_eq!(store.ttl("n").await.unwrap(), Some(Ttl::Persistent));
}

pub(crate) async fn a_rate_limiter_opens_again(store: Store) {
    let window = ms(40);
    for _ in 0..5 {
        assert_eq!(store.incr("n", 1).ttl(window).await.unwrap(), 1);
        while store.exists("n").await.unwrap() {
            assert!(store.incr("n", 1).ttl(window).await.is_ok());
            assert!(
                !matches!(store.ttl("n").await.unwrap(), Some(Ttl::Persistent)),
                "the counter sticks"
            );
            sleep(ms(5)).await;
        }
    }
}

pub(crate) async fn a_counter_may_be_longer_than_values(store: Store) {
    let refused = store.set("n", "10").await;
    assert!(matches!(refused, Err(Error::ValueTooLarge { len: 2, max: 1 })));
    assert_eq!(store.incr("n", 1).await.unwrap(), 1);
    assert_eq!(store.incr("n", i64::MAX - 1).await.unwrap(), i64::MAX);
    assert_eq!(store.counter("n").await.unwrap(), Some(i64::MAX));
}

pub(crate) async fn counting_with_a_ttl_is_counting(store: Store) {
    store
        .set("n", "1")
        .ttl(secs(600))
        .depends_on(["u"])
        .await
        .unwrap();
    assert_eq!(store.incr("n", 1).ttl(secs(1)).await.unwrap(), 2);
    assert!(left(&store).await > secs(500));
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 1, "dependencies stay");

    // Past the 53 bits of a script's numbers.
    for (first, by) in [(i64::MAX - 1, 1), (i64::MIN + 1, -1), ((1 << 53) + 1, 2), (0, 0)] {
        assert_eq!(store.incr("n", first).ttl(secs(60)).await.unwrap(), first);
        assert_eq!(store.incr("n", by).ttl(secs(60)).await.unwrap(), first + by);
        assert_eq!(store.counter("n").await.unwrap(), Some(first + by));
        store.delete("n").await.unwrap();
    }
    for (held, overflows) in [("9223372036854775807", true), ("one", false), ("01", false)] {
        store.set("n", held).await.unwrap();
        let outcome = store.incr("n", 1).ttl(secs(60)).await;
        assert!(
            matches!(
                (&outcome, overflows),
                (Err(Error::Overflow), true) | (Err(Error::NotAnInteger), false)
            ),
            "{held}: {outcome:?}"
        );
        assert_eq!(
            store.get_string("n").await.unwrap().unwrap(),
            held,
            "the value stays"
        );
        assert_eq!(store.ttl("n").await.unwrap(), Some(Ttl::Persistent));
    }
}

pub(crate) async fn no_count_is_lost_and_one_call_creates_the_counter(store: Store) {
    let tasks = (1..=20_u64).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                store.incr("n", 1).ttl(secs(60 * n)).await.unwrap();
                store.incr("n", 2).await.unwrap();
            }
        })
    });
    store.incr("n", 0).ttl(secs(30)).await.unwrap();
    futures_util::future::try_join_all(tasks).await.unwrap();
    assert_eq!(store.counter("n").await.unwrap(), Some(1200));
    assert!(left(&store).await <= secs(30));
}

pub(crate) async fn a_counter_is_read_as_the_integer_that_it_is(store: Store) {
    assert_eq!(store.counter("n").await.unwrap(), None);
    for held in [0, -1, 42, i64::MIN, i64::MAX] {
        store.set("n", held.to_string()).await.unwrap();
        assert_eq!(store.counter("n").await.unwrap(), Some(held));
    }
    for other in ["", " 1", "+1", "01", "-0", "1.0", "one", "9223372036854775808"] {
        store.set("n", other).await.unwrap();
        let outcome = store.counter("n").await;
        assert!(
            matches!(outcome, Err(Error::NotAnInteger)),
            "{other:?}: {outcome:?}"
        );
    }
}

/// One ASCII digit is an integer in MessagePack, and its value is not the counter's.
pub(crate) async fn a_counter_is_not_a_model(store: Store) {
    for n in [0, 5, 9, 10, -1, 127, i64::MAX, i64::MIN] {
        store.delete("n").await.unwrap();
        store.incr("n", n).await.unwrap();
        let outcome = store.get_model::<i64>("n").await;
        assert!(matches!(outcome, Err(Error::Decode(_))), "{n}: {outcome:?}");
        let outcome = store.get_model::<Option<f64>>("n").await;
        assert!(matches!(outcome, Err(Error::Decode(_))), "{n}: {outcome:?}");
    }
}
