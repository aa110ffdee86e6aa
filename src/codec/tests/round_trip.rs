use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{BOTH, Category, Expr, Flat, Loose, Role, assert_same, user};
use crate::codec::{Codec, DecodeErrorKind, EncodeErrorKind, MAX_DEPTH};

#[test]
fn models_come_back() {
    assert_same(&user());
    assert_same(&vec![Some(user()), None]);
    assert_same(&(1_u8, -1_i8, 300_u16, -300_i16, 70_000_u32, -70_000_i32));
    assert_same(&(u64::MAX, i64::MIN, u128::MAX, i128::MIN, 0_u128, -1_i128));
    assert_same(&(1.5_f32, -2.25_f64, true, false, 'ß', ()));
    assert_same(&["", "a", "ü"].map(|text| text.repeat(20)));
    assert_same(&["x".repeat(255), "y".repeat(256), "z".repeat(70_000)]);
    assert_same(&vec![7_u32; 15]);
    assert_same(&vec![7_u32; 16]);
    assert_same(&vec![300_u32; 70_000]);
    assert_same(&(0..70_000).map(|key| (key, key)).collect::<HashMap<u32, u32>>());
    assert_same(&(0..20).map(|key| (key, true)).collect::<BTreeMap<u32, bool>>());
    assert_same(&(IpAddr::from([127, 0, 0, 1]), Duration::from_millis(1500)));
    assert_same(&vec![
        Loose::Number(1),
        Loose::List(vec![Loose::Map(BTreeMap::new())]),
    ]);
    assert_same(&Some(Some(3)));
    assert_same(&(Ok::<u8, String>(1), Err::<u8, String>("no".into())));
}

#[test]
fn every_form_of_struct_and_variant_comes_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype(u8);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Tuple(u8, String);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Internal {
        Empty,
        Filled { value: Vec<u8> },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", content = "content")]
    enum Adjacent {
        Empty,
        Pair(u8, u8),
    }
    assert_same(&(Unit, Newtype(3), Tuple(4, "five".into())));
    assert_same(&(Internal::Empty, Internal::Filled { value: vec![1, 200] }));
    assert_same(&(Adjacent::Empty, Adjacent::Pair(1, 2)));
    let call = Expr::Call {
        name: "f".into(),
        arguments: vec![Expr::Nothing, Expr::Number(-1)],
    };
    assert_same(&Expr::Pair(
        Box::new(call),
        Box::new(Expr::Not(Box::new(Expr::Nothing))),
    ));
    assert_same(&BTreeMap::from([("admin".to_owned(), Role::Admin)]));
}

#[test]
fn field_names_are_stored() {
    for codec in BOTH {
        let bytes = codec.encode(&user()).expect("a plain model");
        for name in ["id", "role", "Member", "since", "street"] {
            let found = bytes.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(found, "{codec:?} {name}");
        }
        let value = codec.decode::<Value>(&bytes).expect("any data is a value");
        let role = json!({"Member": {"since": 1843}});
        let address = json!({"street": "St James's Square", "number": 12});
        let expected = json!({"id": 7, "name": "Ada", "role": role, "address": address});
        assert_eq!(value, expected);
    }
}

#[test]
fn unknown_fields_are_skipped() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Id {
        id: u64,
    }
    for codec in BOTH {
        let old = json!({"a": [[{}, 1.5], "x"], "b": {"c": [null]}, "id": 7, "z": [true]});
        let bytes = codec.encode(&old).expect("a plain model");
        assert_eq!(codec.decode::<Id>(&bytes).expect("has an id"), Id { id: 7 });
        codec.decode::<IgnoredAny>(&bytes).expect("anything is ignored");
        let bytes = codec.encode(&vec![old; 3]).expect("a plain model");
        assert_eq!(codec.decode::<Vec<Id>>(&bytes).expect("have ids").len(), 3);
    }
}

#[test]
fn fields_are_read_in_any_order() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Page {
        title: String,
        lines: Vec<String>,
        owner: String,
    }
    let page = Page {
        title: "owner".into(),
        lines: vec!["title".into(), String::new(), "lines".into()],
        owner: "lines".into(),
    };
    assert_same(&page);
    for codec in BOTH {
        // By their names, and one that is unknown between them.
        let stored = json!({"lines": page.lines, "other": "title", "owner": page.owner, "title": page.title});
        let bytes = codec.encode(&stored).expect("a plain model");
        assert_eq!(codec.decode::<Page>(&bytes).expect("has all fields"), page);
    }
}

/// Binary data, as `serde_bytes` writes and reads it.
#[derive(Debug, PartialEq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Blob, A::Error> {
                let mut blob = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    blob.push(byte);
                }
                Ok(Blob(blob))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[test]
fn binary_data_comes_back() {
    for len in [0, 1, 255, 256, 70_000] {
        assert_same(&Blob(vec![0xc1; len]));
        let bytes = Codec::MessagePack
            .encode(&Blob(vec![3; len]))
            .expect("plain bytes");
        let list = Codec::MessagePack
            .decode::<Vec<u8>>(&bytes)
            .expect("bytes are a list, too");
        assert_eq!(list, vec![3; len]);
    }
}

#[test]
fn extensions_come_back() {
    /// What rmp-serde takes for an extension: its type and its payload.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename = "_ExtStruct")]
    struct Extension((i8, Blob));

    for len in [0, 1, 2, 4, 8, 16, 17, 256, 70_000] {
        let model = vec![Extension((-5, Blob(vec![0x91; len])))];
        let bytes = Codec::MessagePack.encode(&model).expect("an extension");
        assert_eq!(
            Codec::MessagePack
                .decode::<Vec<Extension>>(&bytes)
                .expect("as written"),
            model
        );
        assert!(Codec::MessagePack.decode::<IgnoredAny>(&bytes).is_ok());
        let error = Codec::MessagePack
            .decode::<Vec<String>>(&bytes)
            .expect_err("no text");
        assert_eq!(error.kind(), DecodeErrorKind::TypeMismatch);
    }
}

#[test]
fn json_refuses_keys_that_are_no_text() {
    let model = BTreeMap::from([(vec![1], 1)]);
    let error = Codec::Json.encode(&model).expect_err("a list for a key");
    assert_eq!(error.kind(), EncodeErrorKind::InvalidKey);
    let bytes = Codec::MessagePack.encode(&model).expect("any key will do");
    assert_eq!(
        Codec::MessagePack
            .decode::<BTreeMap<Vec<u8>, u8>>(&bytes)
            .expect("as written"),
        model
    );
}

#[test]
fn what_is_written_is_what_rmp_serde_writes() {
    fn assert_alike(model: &impl Serialize) {
        let mut expected = Vec::new();
        let mut writer = rmp_serde::Serializer::new(&mut expected)
            .with_struct_map()
            .with_human_readable();
        model.serialize(&mut writer).expect("a plain model");
        assert_eq!(Codec::MessagePack.encode(model).expect("a plain model"), expected);
    }
    let child = Category {
        id: 1,
        name: String::new(),
        tags: vec!["t".repeat(300)],
        score: Some(1.5),
        child: None,
    };
    assert_alike(&Category {
        child: Some(Box::new(child.clone())),
        ..child
    });
    assert_alike(&user());
    assert_alike(&Flat {
        id: 1,
        rest: (0..300)
            .map(|n| {
                (
                    n.to_string(),
                    Flat {
                        id: n,
                        rest: BTreeMap::new(),
                    },
                )
            })
            .collect(),
    });
    let edges = [
        0,
        31,
        32,
        33,
        127,
        128,
        129,
        255,
        256,
        257,
        65_535,
        65_536,
        1 << 31,
        1 << 32,
        u64::MAX,
    ];
    assert_alike(&edges.map(|edge| (edge, edge.cast_signed(), edge.cast_signed().wrapping_neg())));
    assert_alike(&[15, 16, 31, 32, 255, 256, 65_535, 65_536].map(|len| "x".repeat(len)));
    assert_alike(&[15, 16, 31, 65_535, 65_536].map(|len| vec![300; len]));
    assert_alike(
        &[15, 16, 65_535, 65_536].map(|len| (0..len).map(|n| (n, ())).collect::<BTreeMap<u32, ()>>()),
    );
    assert_alike(&[255, 256, 65_535, 65_536].map(|len| Blob(vec![1; len])));
    assert_alike(&(1.5_f32, f64::NAN, true, 'x', None::<u8>, i128::MIN, u128::MAX));
    assert_alike(&Expr::Call {
        name: "f".into(),
        arguments: vec![Expr::Nothing, Expr::Number(-1)],
    });
}

/// A value around `core`, so many levels deep, and with a little on the side at each.
fn nest(core: Value, levels: Vec<(bool, Value)>) -> Value {
    let level = |inner, (is_map, side)| match is_map {
        true => json!({"side": side, "inner": inner}),
        false => json!([side, inner, side]),
    };
    levels.into_iter().fold(core, level)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!({})),
        Just(json!([])),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    let side = scalar().prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(Value::from_iter),
        ]
    });
    let levels = prop::collection::vec((any::<bool>(), side), 0..MAX_DEPTH + 3);
    (scalar(), levels).prop_map(|(core, levels)| nest(core, levels))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn floats_come_back_bit_for_bit(wide: [f64; 32], narrow: [f32; 32]) {
        for codec in BOTH {
            let bytes = codec.encode(&(wide, narrow)).expect("finite floats");
            let read = codec.decode::<([f64; 32], [f32; 32])>(&bytes).expect("as written");
            prop_assert_eq!(read.0.map(f64::to_bits), wide.map(f64::to_bits));
            prop_assert_eq!(read.1.map(f32::to_bits), narrow.map(f32::to_bits));
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(value in tree()) {
        for codec in BOTH {
            match codec.encode(&value) {
                Ok(bytes) => {
                    prop_assert!(depth(&value) <= MAX_DEPTH);
                    prop_assert_eq!(codec.decode::<Value>(&bytes).ok(), Some(value.clone()));
                }
                Err(error) => {
                    prop_assert!(depth(&value) > MAX_DEPTH);
                    prop_assert_eq!(error.kind(), EncodeErrorKind::TooDeep);
                }
            }
        }
    }
}
