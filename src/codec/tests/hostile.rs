use proptest::prelude::*;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{BOTH, Category, Expr, Flat, Loose, User, by_rmp_serde, user};
use crate::codec::depth;
use crate::codec::{Codec, DecodeErrorKind, EncodeErrorKind};

fn kind(codec: Codec, bytes: &[u8]) -> Option<DecodeErrorKind> {
    codec.decode::<Value>(bytes).err().map(|error| error.kind())
}

#[test]
fn every_cut_is_truncated() {
    for codec in BOTH {
        let bytes = codec.encode(&user()).expect("a plain model");
        for len in 0..bytes.len() {
            let error = codec.decode::<User>(&bytes[..len]).expect_err("cut");
            assert_eq!(error.kind(), DecodeErrorKind::Truncated, "{codec:?} {len}");
            assert!(error.offset().is_none_or(|offset| offset <= len));
        }
    }
}

#[test]
fn nothing_may_follow_the_value() {
    for tail in [&b"\xc0"[..], b"\x00", b"\xc1", b"\x93"] {
        let mut bytes = Codec::MessagePack.encode(&user()).expect("a plain model");
        let len = bytes.len();
        bytes.extend_from_slice(tail);
        let error = Codec::MessagePack.decode::<User>(&bytes).expect_err("a tail");
        assert_eq!(
            (error.kind(), error.offset()),
            (DecodeErrorKind::TrailingBytes, Some(len))
        );
    }
    for tail in ["null", "}", "[", "\0", "//"] {
        let mut bytes = Codec::Json.encode(&user()).expect("a plain model");
        bytes.extend_from_slice(tail.as_bytes());
        let error = Codec::Json.decode::<User>(&bytes).expect_err("a tail");
        assert_eq!(error.kind(), DecodeErrorKind::TrailingBytes);
    }
    assert_eq!(kind(Codec::Json, b" [1] \r\n\t "), None);
}

#[test]
fn claimed_lengths_must_be_there() {
    for bytes in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff\xa1k\x01",
        b"\xdc\xff\xff\x01\x02",
        b"\xde\xff\xff",
        b"\x9f\x01",
        b"\x8f\x01\x02",
        b"\xdb\xff\xff\xff\xffx",
        b"\xc6\xff\xff\xff\xffx",
        b"\xc9\xff\xff\xff\xff\x01x",
        b"\xda\x01\x00x",
        b"\xd9\x02x",
        b"\xa2x",
        b"\xc8\x00\x02\x01x",
        b"\xc7\x02\x01x",
        b"\xd8\x01x",
        b"\xcb\x00",
        b"\xdd\x00\x00",
        b"",
    ] {
        let error = Codec::MessagePack
            .decode::<Vec<[u64; 32]>>(bytes)
            .expect_err("a claim");
        assert_eq!(error.kind(), DecodeErrorKind::Truncated, "{bytes:x?}");
        let scanned = depth::check_message_pack(bytes);
        assert_eq!(scanned, Err(error), "it is the scan that refuses: {bytes:x?}");
    }
}

#[test]
fn the_reserved_byte_begins_nothing() {
    for codec in BOTH {
        for tail in [&b""[..], b"\x01", b"{}", b"cachestore"] {
            let bytes = [b"\xc1", tail].concat();
            let error = codec.decode::<Value>(&bytes).expect_err("an envelope");
            assert_eq!(
                (error.kind(), error.offset()),
                (DecodeErrorKind::Malformed, Some(0))
            );
        }
    }
    assert_eq!(
        kind(Codec::MessagePack, b"\x92\x01\xc1"),
        Some(DecodeErrorKind::Malformed)
    );
}

#[test]
fn json_that_is_none_is_malformed() {
    for text in ["nul1", "{1:2}", "[1,]", "\"\\x\"", "\"\u{1}\"", "]", "}{", "01"] {
        let error = kind(Codec::Json, text.as_bytes());
        let expected = [DecodeErrorKind::Malformed, DecodeErrorKind::TrailingBytes];
        assert!(
            error.is_some_and(|error| expected.contains(&error)),
            "{text} {error:?}"
        );
    }
}

#[test]
fn a_length_that_was_announced_wrong_is_not_stored() {
    struct Liar(usize, usize);
    impl Serialize for Liar {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(Some(self.0))?;
            for _ in 0..self.1 {
                seq.serialize_element(&1)?;
            }
            seq.end()
        }
    }
    for (announced, written) in [(0, 1), (1, 2), (3, 2), (1, 0)] {
        let error = Codec::MessagePack
            .encode(&Liar(announced, written))
            .expect_err("a lie");
        assert_eq!(
            error.kind(),
            EncodeErrorKind::LengthMismatch,
            "{announced} {written}"
        );
    }
    assert!(Codec::MessagePack.encode(&Liar(2, 2)).is_ok());
}

/// An element that is written in part and fails, and another in its place.
#[test]
fn an_error_that_a_serialize_hides_is_not_stored() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_seq(Some(2))?;
            Err(serde::ser::Error::custom("not today"))
        }
    }
    struct Hiding(Option<usize>);
    impl Serialize for Hiding {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(self.0)?;
            let _ = seq.serialize_element(&Broken);
            seq.serialize_element(&1)?;
            seq.end()
        }
    }
    for announced in [Some(1), None] {
        let error = Codec::MessagePack.encode(&Hiding(announced)).expect_err("a part");
        assert_eq!((error.kind(), error.offset()), (EncodeErrorKind::Custom, Some(2)));
    }
}

#[test]
fn little_room_is_reserved_on_a_claim_alone() {
    struct Hint;
    impl<'de> Visitor<'de> for Hint {
        type Value = usize;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a sequence or a map")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
            let hint = seq.size_hint();
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(hint.unwrap_or(0))
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
            let hint = map.size_hint();
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(hint.unwrap_or(0))
        }
    }
    #[derive(Debug)]
    struct Hinted(usize);
    impl<'de> Deserialize<'de> for Hinted {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Hint).map(Hinted)
        }
    }
    let hint = |bytes: &[u8]| Codec::MessagePack.decode::<Hinted>(bytes).expect("well-formed").0;
    assert_eq!(hint(b"\x93\x01\x02\x03"), 3);
    assert_eq!(hint(b"\x81\x01\x02"), 1);
    assert_eq!(
        hint(&[&b"\xdd\x00\x01\x00\x00"[..], &[0xc0; 0x10000]].concat()),
        64
    );
    assert_eq!(
        hint(&[&b"\xdf\x00\x01\x00\x00"[..], &[0xc0; 0x20000]].concat()),
        64
    );
}

#[test]
fn what_a_model_leaves_of_a_map_is_not_taken_for_what_follows() {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = u8;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u8, A::Error> {
            Ok(map.next_entry::<u8, u8>()?.map_or(0, |(_, value)| value))
        }
    }
    #[derive(Debug)]
    struct Careless;
    impl<'de> Deserialize<'de> for Careless {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(First).map(|_| Careless)
        }
    }
    let maps = Codec::MessagePack.decode::<Vec<Careless>>(b"\x92\x81\x01\x02\x80");
    assert_eq!(maps.expect("nothing is left").len(), 2);
    let maps = Codec::MessagePack.decode::<Vec<Careless>>(b"\x92\x82\x01\x02\x03\x04\x80");
    let error = maps.expect_err("an entry is left");
    assert_eq!(
        (error.kind(), error.offset()),
        (DecodeErrorKind::InvalidLength, Some(1))
    );
}

/// Bytes that look like MessagePack more often than chance would have it.
fn nearly_message_pack() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => (0x80_u8..=0xbf).prop_map(|marker| vec![marker]),
        4 => (0xc0_u8..=0xdf).prop_map(|marker| vec![marker]),
        2 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => Just(b"\x81\xa3Not".to_vec()),
        1 => Just(b"\x82\xa2id\x01".to_vec()),
        1 => (0xc4_u8..=0xdf).prop_map(|marker| vec![marker, 0, 0, 0, 1]),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in nearly_message_pack()) {
        for codec in BOTH {
            let _ = codec.decode::<Value>(&bytes);
            let _ = codec.decode::<User>(&bytes);
            let _ = codec.decode::<Category>(&bytes);
            let _ = codec.decode::<Expr>(&bytes);
            let _ = codec.decode::<Loose>(&bytes);
            let _ = codec.decode::<Flat>(&bytes);
            let _ = codec.decode::<Vec<Option<u128>>>(&bytes);
        }
    }

    /// The scan may refuse what rmp-serde would read, never the other way round. Texts stand for binaries, which have
    /// the same form, because serde_json takes a binary as numbers alone, as our reader offers it.
    #[test]
    fn what_passes_is_read_as_rmp_serde_reads_it(bytes in nearly_message_pack()) {
        let text = |byte| if (0xc4..=0xc6).contains(&byte) { byte + 0x15 } else { byte };
        let bytes: Vec<u8> = bytes.into_iter().map(text).collect();
        if let Ok(value) = Codec::MessagePack.decode::<Value>(&bytes) {
            prop_assert_eq!(Some(value), by_rmp_serde::<Value>(&bytes));
        }
    }
}
