//! No model decodes from a text that its type would not have written.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use bytes::Bytes;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Expr, Loose, User, assert_same};
use crate::codec::{Codec, DecodeErrorKind};

const CODEC: Codec = Codec::MessagePack;

#[derive(Debug, Serialize, Deserialize)]
struct Newtype(i64);

#[derive(Debug, Serialize, Deserialize)]
struct Pair(u8, u8);

/// Whether `bytes` are refused as a `T`, or are just what is written for the `T` that they are.
fn own_or_none<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) -> Result<(), String> {
    match CODEC.decode::<T>(bytes) {
        Ok(model) if CODEC.encode(&model).as_deref() != Ok(bytes) => {
            Err(format!("{bytes:x?} is read as {model:?}"))
        }
        _ => Ok(()),
    }
}

fn own_or_none_of_all_types(bytes: &[u8]) -> Result<(), String> {
    macro_rules! each {
        ($($model:ty),* $(,)?) => {$(
            own_or_none::<$model>(bytes)?;
            own_or_none::<Option<$model>>(bytes)?;
        )*};
    }
    each!(
        i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64, bool, char, String,
        (), Newtype, Pair, Bytes, Vec<u8>, Vec<i8>, Vec<u32>, Vec<f64>, Vec<bool>, [u8; 2], (i64, String),
        BTreeMap<u8, u8>, HashMap<String, u8>, User, Expr, Loose, Box<[u8]>, Box<str>,
        std::num::NonZeroU8, std::time::Duration, std::path::PathBuf,
    );
    Ok(())
}

/// Texts that begin with a character whose encoding is a header, of about the length that it claims.
fn text_with_a_header() -> impl Strategy<Value = String> {
    (0x80_u32..0x800, 0..200_usize, any::<[char; 3]>()).prop_map(|(first, len, some)| {
        let first = char::from_u32(first).expect("no surrogate");
        let some: String = some.iter().collect();
        let [_, second] = *first.to_string().as_bytes() else {
            unreachable!("it has two bytes")
        };
        // As often as not exactly as long as a binary or a string would be.
        let len = if len % 2 == 0 {
            usize::from(second)
        } else {
            len / 2
        };
        let fill = len.saturating_sub(some.len());
        format!("{first}{some}{}", "x".repeat(fill))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn texts_are_no_models(text in prop_oneof![any::<String>(), text_with_a_header()]) {
        prop_assert_eq!(own_or_none_of_all_types(text.as_bytes()), Ok(()));
    }

    #[test]
    fn texts_of_a_numbers_length_are_no_models(first in 0x280_u32..0x500, rest in "[ -~]{1,8}") {
        let text = format!("{}{rest}", char::from_u32(first).expect("no surrogate"));
        prop_assert_eq!(own_or_none_of_all_types(text.as_bytes()), Ok(()));
    }

    #[test]
    fn counters_are_no_models(number: i64, bits in 0..64_u32) {
        let text = (number >> bits).to_string();
        prop_assert!(CODEC.decode::<Value>(text.as_bytes()).is_err());
        prop_assert_eq!(own_or_none_of_all_types(text.as_bytes()), Ok(()));
    }

    /// Any bytes may be set. A number is read only from its shortest form.
    #[test]
    fn numbers_have_one_form(marker in 0xca_u8..0xd4, zeros in 0..8_usize, mut rest: [u8; 8]) {
        let fill = if rest[7] % 2 == 0 { 0 } else { 0xff };
        rest[..zeros].fill(fill);
        let len = match marker {
            0xcc | 0xd0 => 1,
            0xcd | 0xd1 => 2,
            0xca | 0xce | 0xd2 => 4,
            _ => 8,
        };
        let bytes = [&[marker], &rest[..len]].concat();
        macro_rules! each {
            ($($number:ty)*) => {$(
                prop_assert_eq!(own_or_none::<$number>(&bytes), Ok(()));
                prop_assert_eq!(own_or_none::<Option<$number>>(&bytes), Ok(()));
            )*};
        }
        each!(i8 i16 i32 i64 i128 u8 u16 u32 u64 u128);
        if marker != 0xca {
            // NaNs aside, which have no equals.
            each!(f64);
        }
    }
}

#[test]
fn one_character_is_no_model() {
    for byte in 0..0x80 {
        let error = CODEC.decode::<i64>(&[byte]).expect_err("a text");
        assert_eq!(
            (error.kind(), error.offset()),
            (DecodeErrorKind::TypeMismatch, Some(0))
        );
        own_or_none_of_all_types(&[byte]).expect("no model");
    }
    for first in 0x80..0x800 {
        let text = char::from_u32(first).expect("no surrogate").to_string();
        own_or_none_of_all_types(text.as_bytes()).expect("no model");
    }
}

#[test]
fn longer_headers_than_needed_are_no_numbers() {
    for bytes in [
        &b"\xcd\x00\x05"[..],
        b"\xcd\x00\xff",
        b"\xce\x00\x00\xff\xff",
        b"\xcf\x00\x00\x00\x00\xff\xff\xff\xff",
        b"\xd0\x05",
        b"\xd0\xff",
        b"\xd1\xff\x80",
        b"\xd2\xff\xff\x80\x00",
        b"\xd3\xff\xff\xff\xff\x80\x00\x00\x00",
    ] {
        let error = CODEC.decode::<i64>(bytes).expect_err("not its form");
        assert_eq!(error.kind(), DecodeErrorKind::TypeMismatch, "{bytes:x?}");
        // Inside of a model, others may write as they like.
        assert!(CODEC.decode::<(i64,)>(&[b"\x91", bytes].concat()).is_ok());
    }
}

#[test]
fn small_models_come_back() {
    for number in i8::MIN..=i8::MAX {
        assert_same(&number);
        assert_same(&number.cast_unsigned());
        assert_same(&Some(i64::from(number)));
        assert_same(&f64::from(number));
        assert_same(&[number]);
        assert_same(&BTreeMap::from([(number, number)]));
    }
    for character in '\0'..='\u{ff}' {
        assert_same(&character);
        assert_same(&character.to_string());
    }
    assert_same(&(false, true, (), None::<u8>));
    assert_same(&false);
    assert_same(&());
    assert_same(&None::<u8>);
    assert_same(&Value::from(5));
}

/// An array of more than 32,768 small numbers is text from its header on.
#[test]
fn long_arrays_and_maps_that_are_text_come_back() {
    for len in [0x8041, 0x9041, 0xbf7f] {
        let array = vec![5_u32; len];
        let bytes = CODEC.encode(&array).expect("a plain model");
        assert_eq!(bytes[0], 0xdd, "its longer header");
        assert!(std::str::from_utf8(&bytes).is_err());
        assert_same(&array);
        let text = [&b"\xdc"[..], &bytes[3..]].concat();
        assert!(std::str::from_utf8(&text).is_ok());
        assert!(CODEC.decode::<Vec<u32>>(&text).is_err());
        assert!(CODEC.decode::<Vec<f64>>(&text).is_err());
    }
    let map: BTreeMap<String, ()> = (0..0x8041).map(|n| (n.to_string(), ())).collect();
    assert_same(&map);
    let text = [&b"\xde\x80\x41"[..], &[7; 0x10082]].concat();
    assert!(CODEC.decode::<Loose>(&text).is_err());
}
