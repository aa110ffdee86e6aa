//! Sequences of bytes, and what resembles them.

use std::collections::{BTreeSet, HashSet, LinkedList, VecDeque};
use std::fmt::Debug;

use bytes::Bytes;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BOTH, assert_same, by_rmp_serde};
use crate::codec::{Codec, DecodeErrorKind, EncodeErrorKind, MAX_DEPTH};
use crate::value::Value;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Octet(u8);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Mixed {
    Octet(u8),
    Number(i32),
    Text(String),
    Octets(Vec<u8>),
}

fn mixed() -> impl Strategy<Value = Mixed> {
    prop_oneof![
        20 => any::<u8>().prop_map(Mixed::Octet),
        1 => (-1000..-1).prop_map(Mixed::Number),
        1 => any::<String>().prop_map(Mixed::Text),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(Mixed::Octets),
    ]
}

proptest! {
    #[test]
    fn sequences_come_back(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        assert_same(&octets);
        assert_same(&Bytes::from(octets.clone()));
        assert_same(&Value::from(octets.clone()));
        assert_same(&octets.clone().into_boxed_slice());
        assert_same(&VecDeque::from(octets.clone()));
        assert_same(&octets.iter().copied().collect::<LinkedList<u8>>());
        assert_same(&octets.iter().copied().collect::<BTreeSet<u8>>());
        assert_same(&octets.iter().copied().collect::<HashSet<u8>>());
        assert_same(&octets.iter().copied().map(u8::cast_signed).collect::<Vec<i8>>());
        assert_same(&octets.iter().copied().map(u16::from).collect::<Vec<u16>>());
        assert_same(&octets.iter().map(|octet| octet % 2 == 0).collect::<Vec<bool>>());
        assert_same(&octets.iter().copied().map(Octet).collect::<Vec<_>>());
        assert_same(&octets.iter().copied().map(Some).collect::<Vec<_>>());
        assert_same(&octets.iter().map(|octet| octet.checked_sub(9)).collect::<Vec<_>>());
        assert_same(&vec![octets.clone(); 40]);
        assert_same(&vec![(octets.clone(), Octet(1), octets); 2]);
    }

    #[test]
    fn sequences_with_other_elements_come_back(mixed in prop::collection::vec(mixed(), 0..200)) {
        assert_same(&mixed);
    }
}

#[test]
fn arrays_come_back() {
    let octets: [u8; 32] = std::array::from_fn(|n| 200 + n as u8);
    assert_same(&octets);
    assert_same(&[octets; 32]);
    assert_same(&[[0_u8; 0]; 3]);
    assert_same(&(1_u8, 2_u8, octets));
}

#[test]
fn long_sequences_take_their_length_and_five_bytes() {
    for len in [32, 33, 255, 256, 65_535, 65_536, 100_000] {
        let octets: Vec<u8> = (0..len).map(|n| (n % 256) as u8).collect();
        let bytes = Codec::MessagePack.encode(&octets).expect("a plain model");
        assert_eq!(bytes.len(), len + 5);
        assert_eq!(bytes[5..], octets);
        assert_eq!(by_rmp_serde(&bytes), Some(octets.clone()));
        assert_same(&octets);
    }
    let short = Codec::MessagePack
        .encode(&vec![200_u8; 31])
        .expect("a plain model");
    assert_eq!(short.len(), 3 + 62, "an array of numbers");
}

/// As it was written before, and as others write it.
#[test]
fn arrays_of_numbers_and_all_binaries_are_read() {
    fn assert_read<T>(bytes: &[u8], expected: &T)
    where
        T: DeserializeOwned + PartialEq + Debug,
    {
        assert_eq!(
            Codec::MessagePack.decode::<T>(bytes).as_ref(),
            Ok(expected),
            "{bytes:x?}"
        );
    }
    for len in [0_usize, 1, 15, 16, 32, 300, 70_000] {
        let octets: Vec<u8> = (0..len).map(|n| (n % 256) as u8).collect();
        let array = rmp_serde::to_vec_named(&octets).expect("a plain model");
        let binary = Codec::MessagePack
            .encode(&Bytes::from(octets.clone()))
            .expect("plain bytes");
        let sequence = Codec::MessagePack.encode(&octets).expect("a plain model");
        for bytes in [array, binary, sequence] {
            assert_read(&bytes, &octets);
            assert_read(&bytes, &Bytes::from(octets.clone()));
            assert_read(&bytes, &Value::from(octets.clone()));
            assert_read(
                &bytes,
                &octets.iter().copied().map(u32::from).collect::<Vec<u32>>(),
            );
        }
    }
}

#[test]
fn any_value_can_be_read_as_a_list() {
    let octets = vec![200_u8; 40];
    for codec in BOTH {
        let bytes = codec.encode(&octets).expect("a plain model");
        assert_eq!(codec.decode::<serde_json::Value>(&bytes), Ok(json!(octets)));
    }
}

#[test]
fn more_or_fewer_bytes_than_expected_are_refused() {
    for len in [31_u8, 33, 40] {
        let octets: Vec<u8> = (0..len).collect();
        for bytes in [
            Codec::MessagePack.encode(&octets).expect("a plain model"),
            Codec::MessagePack
                .encode(&Bytes::from(octets))
                .expect("plain bytes"),
        ] {
            let error = Codec::MessagePack.decode::<[u8; 32]>(&bytes).expect_err("not 32");
            assert_eq!(error.kind(), DecodeErrorKind::InvalidLength);
        }
    }
}

/// A sequence that is announced, and then is not what it seemed.
#[test]
fn what_only_begins_as_bytes_is_no_binary() {
    struct Broken(usize, Option<&'static str>);
    impl Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut seq = serializer.serialize_seq(Some(40))?;
            for octet in 0..self.0 {
                seq.serialize_element(&(octet as u8))?;
            }
            if let Some(text) = self.1 {
                seq.serialize_element(text)?;
            }
            seq.end()
        }
    }
    for broken in [
        Broken(39, None),
        Broken(41, None),
        Broken(38, Some("x")),
        Broken(40, Some("x")),
    ] {
        let error = Codec::MessagePack.encode(&(1, broken)).expect_err("not 40");
        assert_eq!(error.kind(), EncodeErrorKind::LengthMismatch);
    }
    for whole in [Broken(40, None), Broken(39, Some("x"))] {
        let bytes = Codec::MessagePack.encode(&(1, whole)).expect("40");
        let read = Codec::MessagePack
            .decode::<(u8, Vec<serde_json::Value>)>(&bytes)
            .expect("as written");
        assert_eq!(read.1.len(), 40);
    }
}

/// A sequence of unknown length, whose header is written at its end, among bytes.
#[test]
fn what_has_no_known_length_ends_a_run() {
    struct Unknown;
    impl Serialize for Unknown {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut seq = serializer.serialize_seq(None)?;
            seq.serialize_element(&vec![1_u8; 40])?;
            seq.end()
        }
    }
    struct List;
    impl Serialize for List {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut seq = serializer.serialize_seq(Some(40))?;
            for octet in 200..239_u8 {
                seq.serialize_element(&octet)?;
            }
            seq.serialize_element(&Unknown)?;
            seq.end()
        }
    }
    let bytes = Codec::MessagePack.encode(&List).expect("40 elements");
    let read = Codec::MessagePack.decode::<Vec<serde_json::Value>>(&bytes);
    let mut expected: Vec<_> = (200..239).map(|octet| json!(octet)).collect();
    expected.push(json!([vec![1; 40]]));
    assert_eq!(read, Ok(expected));
}

#[test]
fn a_sequence_of_bytes_is_a_level() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Nest {
        Octets(Vec<u8>),
        List(Vec<Nest>),
    }
    // A variant and its sequence are two levels each.
    let deepest = (1..MAX_DEPTH / 2).fold(Nest::Octets(vec![9; 100]), |inner, _| Nest::List(vec![inner]));
    assert_same(&deepest);
    let deeper = Nest::List(vec![deepest]);
    let error = Codec::MessagePack.encode(&deeper).expect_err("66 levels");
    assert_eq!(error.kind(), EncodeErrorKind::TooDeep);
}
