use proptest::prelude::*;

use super::*;

fn time() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of(span())
}

fn span() -> impl Strategy<Value = Duration> {
    (0..4_000_000_000_000u64).prop_map(Duration::from_millis)
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(
        fresh in time(), window in span(), age in span(), cost in any::<u32>(), model: Vec<u8>,
        validator in proptest::option::of(".{0,40}"),
    ) {
        let body = Body { validator: validator.as_deref(), model: &model };
        let head = Head { fresh, window, age, cost: Duration::from_micros(cost.into()) };
        let sealed = head.seal(body);
        prop_assert_eq!(open(sealed.as_bytes()), Stored::Loaded(head, body));
        prop_assert_eq!(model_of_loaded(sealed.as_bytes()), &model);
        prop_assert_eq!(open(&sealed.as_bytes()[..HEAD]), Stored::Loaded(head, Body::default()));
    }

    #[test]
    fn another_version_is_foreign_and_a_torn_head_no_envelope(version in 3..=LAST_VERSION, len in 0..HEAD, rest: Vec<u8>) {
        prop_assume!(version != WITH_VALIDATOR);
        let bytes = [&[MARK, version], SIGNATURE.as_slice(), &rest].concat();
        prop_assert_eq!(open(&bytes), Stored::Foreign);
        let unsigned = [&[MARK, version], rest.as_slice()].concat();
        prop_assert_eq!(open(&unsigned), Stored::Plain(&unsigned));
        let sealed = loaded(None, 0).seal(Body::of(&rest));
        let torn = &sealed.as_bytes()[..len];
        prop_assert_eq!(open(torn), Stored::Plain(torn));
    }

    #[test]
    fn what_a_codec_writes_is_plain(model: Vec<Option<i64>>) {
        for codec in [crate::Codec::MessagePack, crate::Codec::Json] {
            let bytes = codec.encode(&model).unwrap();
            prop_assert_eq!(open(&bytes), Stored::Plain(&bytes));
        }
    }

    /// Whatever is renewed and when: the value ages by the time that passes, and is fresh for as long as was
    /// said last.
    #[test]
    fn a_renewal_moves_the_fresh_time_and_not_the_age(
        window in 0..100u64, steps in proptest::collection::vec((1..50u64, 0..50u64), 1..10),
    ) {
        let mut head = loaded(Some(1000), window);
        let (mut age, mut since) = (0, 0);
        for (fresh, waits) in steps {
            let left = head.ttl().map(|ttl| ttl - SECOND * since);
            head = head.renewed(Some(SECOND * fresh as u32), left);
            age += u64::from(since);
            since = waits.min(fresh + window) as u32;
            let life = head.life(head.ttl().map(|ttl| ttl - SECOND * since)).unwrap();
            prop_assert_eq!(life.age, Duration::from_secs(age + u64::from(since)));
            prop_assert_eq!(life.fresh_for(), Duration::from_secs(fresh.saturating_sub(since.into())));
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn loaded(fresh: Option<u64>, window: u64) -> Head {
    Head {
        fresh: fresh.map(Duration::from_secs),
        window: Duration::from_secs(window),
        age: Duration::ZERO,
        cost: SECOND,
    }
}

#[test]
fn a_life_follows_from_the_ttl_that_is_left() {
    let head = loaded(Some(2), 8);
    let life = |left: u32| head.life(Some(SECOND * left)).unwrap();
    assert_eq!((life(10).age, life(10).fresh_for()), (Duration::ZERO, SECOND * 2));
    assert_eq!((life(3).age, life(3).fresh_for()), (SECOND * 7, Duration::ZERO));
    assert_eq!(life(99).age, Duration::ZERO, "its TTL was extended by others");
    let stored = Stored::Loaded(head, Body::of(b"5"));
    assert_eq!(stored.ttl(Some(SECOND * 9)), Some(Ttl::Remaining(SECOND)));
    assert_eq!(stored.ttl(Some(SECOND * 8)), None, "it is stale");
    assert_eq!(head.life(None), None);
    assert_eq!(head.renewed(None, Some(SECOND * 9)).ttl(), None);
    let longest = Head {
        fresh: Some(LONGEST),
        ..head
    };
    assert_eq!(longest.ttl(), Some(LONGEST));
    assert!(
        Stored::Loaded(longest, Body::of(b"5"))
            .ttl(Some(SECOND))
            .is_some()
            && longest.turns_stale()
    );
}

#[test]
fn only_what_is_over_or_nothing_is_vacant() {
    let head = loaded(Some(2), 8);
    let (fresh, stale) = (Some(SECOND * 9), Some(SECOND));
    assert!(
        !Stored::Loaded(head, Body::of(b"5")).is_vacant(fresh)
            && Stored::Loaded(head, Body::of(b"5")).is_vacant(stale)
    );
    assert!(Stored::Foreign.ttl(None).is_none() && Stored::Foreign.is_vacant(None));
    assert!(!Stored::Plain(b"null").is_vacant(None), "it was not loaded");
    for codec in [crate::Codec::MessagePack, crate::Codec::Json] {
        let nothing = codec.encode(&None::<u32>).unwrap();
        let loaded = Stored::Loaded(head, Body::of(&nothing));
        assert!(loaded.is_vacant(fresh) && loaded.ttl(fresh).is_some());
    }
}
