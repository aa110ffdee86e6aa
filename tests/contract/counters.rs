//! `incr`: a decimal integer in the one form that Redis takes.

use cachestore::{Error, Store, Ttl};

use crate::support::secs;

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
