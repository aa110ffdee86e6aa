//! The stored form of a loaded value: a head that tells its times, then the encoded model.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | `0xC1`, with which neither MessagePack nor JSON can begin |
//! | 1 | the version of this form, 1; others, up to 31, are other forms |
//! | 2..10 | how long it is fresh, in milliseconds, `u64`, big-endian; all ones for ever |
//! | 10..18 | how long it is kept, fresh and stale, likewise |
//! | 18..22 | how long it took to load, in microseconds, `u32`, big-endian; all ones for longer |
//! | 22.. | the model |
//!
//! There is no point in time in it: how old the value is follows from how long its entry still has, which
//! the engine alone counts. So no clocks of different machines are compared.

use std::time::Duration;

use crate::value::Value;

/// The first byte.
const MARK: u8 = 0xC1;
/// The one version that is read.
const VERSION: u8 = 1;
/// The last that there will ever be: what has another second byte is no envelope, but garbage.
const LAST_VERSION: u8 = 31;
/// The length of the head in bytes.
pub(crate) const HEAD: usize = 22;
/// What stands for "for ever".
const EVER: u64 = u64::MAX;

/// The times of a loaded value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// How long it is fresh, in whole milliseconds; `None` for ever.
    pub(crate) fresh: Option<Duration>,
    /// How long it is kept; never shorter.
    pub(crate) kept: Option<Duration>,
    /// How long it took to load.
    pub(crate) cost: Duration,
}

/// What stored bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    /// A value that was not loaded: all of it.
    Plain(&'a [u8]),
    /// A loaded value, and its model.
    Loaded(Head, &'a [u8]),
    /// An envelope of another version. It counts as absent.
    Foreign,
}

impl Head {
    /// The bytes to store: this head, then the model.
    pub(crate) fn seal(&self, model: &[u8]) -> Value {
        let mut bytes = Vec::with_capacity(HEAD + model.len());
        bytes.extend([MARK, VERSION]);
        bytes.extend(millis(self.fresh).to_be_bytes());
        bytes.extend(millis(self.kept).to_be_bytes());
        let cost = u32::try_from(self.cost.as_micros()).unwrap_or(u32::MAX);
        bytes.extend(cost.to_be_bytes());
        bytes.extend(model);
        Value::from(bytes)
    }

    /// How old a value is that its engine keeps for `remaining` yet; `None` if it is kept for ever, which
    /// does not tell.
    pub(crate) fn age(&self, remaining: Option<Duration>) -> Option<Duration> {
        Some(self.kept?.saturating_sub(remaining?))
    }

    /// Whether it can be there and not be fresh.
    pub(crate) fn turns_stale(&self) -> bool {
        self.fresh != self.kept
    }
}

/// Reads what is stored, or the first [`HEAD`] bytes of it.
pub(crate) fn open(bytes: &[u8]) -> Stored<'_> {
    match bytes {
        [MARK, VERSION, ..] => {}
        [MARK, 0..=LAST_VERSION, ..] => return Stored::Foreign,
        _ => return Stored::Plain(bytes),
    }
    // What is shorter than its head was not written as an envelope, and is none of a codec's values either.
    let Some((head, model)) = bytes.split_first_chunk::<HEAD>() else {
        return Stored::Plain(bytes);
    };
    let [_, _, times @ ..] = head;
    let [
        f0,
        f1,
        f2,
        f3,
        f4,
        f5,
        f6,
        f7,
        k0,
        k1,
        k2,
        k3,
        k4,
        k5,
        k6,
        k7,
        c0,
        c1,
        c2,
        c3,
    ] = *times;
    let head = Head {
        fresh: duration(u64::from_be_bytes([f0, f1, f2, f3, f4, f5, f6, f7])),
        kept: duration(u64::from_be_bytes([k0, k1, k2, k3, k4, k5, k6, k7])),
        cost: Duration::from_micros(u32::from_be_bytes([c0, c1, c2, c3]).into()),
    };
    Stored::Loaded(head, model)
}

fn millis(time: Option<Duration>) -> u64 {
    time.map_or(EVER, |time| u64::try_from(time.as_millis()).unwrap_or(EVER))
}

fn duration(millis: u64) -> Option<Duration> {
    (millis != EVER).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time() -> impl Strategy<Value = Option<Duration>> {
        proptest::option::of((0..4_000_000_000_000u64).prop_map(Duration::from_millis))
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(fresh in time(), kept in time(), cost in any::<u32>(), model: Vec<u8>) {
            let head = Head { fresh, kept, cost: Duration::from_micros(cost.into()) };
            let sealed = head.seal(&model);
            prop_assert_eq!(open(sealed.as_bytes()), Stored::Loaded(head, &model));
            prop_assert_eq!(open(&sealed.as_bytes()[..HEAD]), Stored::Loaded(head, &[]));
        }

        #[test]
        fn another_version_is_foreign_and_a_torn_head_no_envelope(version in 2..=LAST_VERSION, len in 0..HEAD, rest: Vec<u8>) {
            let mut bytes = vec![MARK, version];
            bytes.extend(&rest);
            prop_assert_eq!(open(&bytes), Stored::Foreign);
            let sealed = Head { fresh: None, kept: None, cost: Duration::ZERO }.seal(&rest);
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
    }

    #[test]
    fn age_is_what_has_passed_of_the_time_it_is_kept() {
        let second = Duration::from_secs(1);
        let head = Head {
            fresh: Some(second),
            kept: Some(second * 10),
            cost: second,
        };
        assert_eq!(head.age(Some(second * 10)), Some(Duration::ZERO));
        assert_eq!(head.age(Some(second * 3)), Some(second * 7));
        assert_eq!(
            head.age(Some(second * 99)),
            Some(Duration::ZERO),
            "its TTL was extended"
        );
        assert_eq!(head.age(None), None);
    }
}
