use std::cell::Cell;
use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::{BOTH, User, user};
use crate::codec::{Codec, DecodeError, DecodeErrorKind, EncodeErrorKind};

/// The error of reading a user from the right data with one place changed.
fn changed(codec: Codec, change: impl FnOnce(&mut Value)) -> (DecodeError, Vec<u8>) {
    let mut value = serde_json::to_value(user()).expect("a plain model");
    change(&mut value);
    let bytes = codec.encode(&value).expect("a plain model");
    let error = codec.decode::<User>(&bytes).expect_err("no user");
    (error, bytes)
}

#[test]
fn errors_say_what_and_where() {
    use DecodeErrorKind as Kind;

    type Change = fn(&mut Value);
    let cases: [(Change, Kind, &str); 8] = [
        (
            |user| user["address"]["number"] = json!("n"),
            Kind::TypeMismatch,
            "number",
        ),
        (
            |user| user["address"]["number"] = json!(256),
            Kind::InvalidValue,
            "number",
        ),
        (
            |user| user["address"] = json!(["s"]),
            Kind::InvalidLength,
            "address",
        ),
        (
            |user| user["address"] = json!(["s", 1, 2]),
            Kind::InvalidLength,
            "address",
        ),
        (|user| user["role"] = json!("Owner"), Kind::UnknownVariant, "role"),
        (
            |user| user["role"]["Member"]["since"] = json!(null),
            Kind::TypeMismatch,
            "since",
        ),
        (|user| user["name"] = json!({}), Kind::TypeMismatch, "name"),
        (|user| user["id"] = json!(-1), Kind::InvalidValue, "id"),
    ];
    for (change, kind, field) in cases {
        let (error, bytes) = changed(Codec::MessagePack, change);
        assert_eq!(error.kind(), kind);
        assert_eq!(error.field(), Some(field));
        // The refused value begins where its field's name ends.
        let offset = error.offset().expect("known");
        assert!(bytes[..offset].ends_with(field.as_bytes()), "{error}");
        assert!(
            error
                .to_string()
                .ends_with(&format!(", field `{field}`, at byte {offset}"))
        );

        let (error, bytes) = changed(Codec::Json, change);
        // serde_json has its own words for an array that is too long.
        if kind != Kind::InvalidLength {
            assert_eq!(error.kind(), kind);
        }
        assert!(error.offset().is_some_and(|offset| offset < bytes.len()));
        if error.kind() == kind {
            assert_eq!(error.field(), Some(field), "{error}");
        }
    }
}

#[test]
fn a_key_of_a_map_is_not_told() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Sessions {
        sessions: BTreeMap<String, u8>,
        count: u8,
    }
    for codec in BOTH {
        let bytes = codec
            .encode(&json!({"sessions": {"token": "x"}, "count": 1}))
            .expect("a plain model");
        let error = codec.decode::<Sessions>(&bytes).expect_err("a string");
        assert_eq!(error.kind(), DecodeErrorKind::TypeMismatch);
        assert_eq!(error.field(), Some("sessions"), "{codec:?}");
    }
}

/// JSON has numbers as keys, which the reader of MessagePack refuses before it comes to the field.
#[test]
fn a_field_that_does_not_hold_the_place_is_not_told() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Counts {
        name: String,
        counts: BTreeMap<u32, u8>,
        id: u8,
    }
    let text = r#"{"name": "\":{", "counts": {"1": 2}, "id": "x"}"#;
    let error = Codec::Json
        .decode::<Counts>(text.as_bytes())
        .expect_err("a string");
    assert_eq!(
        (error.kind(), error.field()),
        (DecodeErrorKind::TypeMismatch, None)
    );
    let text = r#"{"name": "\":{", "counts": {"1": "x"}, "id": 1}"#;
    let error = Codec::Json
        .decode::<Counts>(text.as_bytes())
        .expect_err("a string");
    assert_eq!(error.field(), Some("counts"));
}

#[test]
fn missing_fields_are_named() {
    for codec in BOTH {
        let (error, bytes) = changed(codec, |user| {
            user["address"].as_object_mut().expect("a map").remove("number");
        });
        assert_eq!(error.kind(), DecodeErrorKind::MissingField);
        assert_eq!(error.field(), Some("number"));
        let offset = error.offset().expect("known");
        if codec == Codec::MessagePack {
            assert!(bytes[..offset].ends_with(b"address"), "{error}");
        }
        let place = format!(": a missing field, field `number`, at byte {offset}");
        assert!(error.to_string().ends_with(&place), "{error}");
    }
}

#[test]
fn duplicate_and_unknown_fields_are_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Id {
        id: u8,
    }
    for (codec, bytes) in [
        (Codec::MessagePack, &b"\x82\xa2id\x01\xa2id\x01"[..]),
        (Codec::Json, b"{\"id\":1,\"id\":1}"),
    ] {
        let error = codec.decode::<Id>(bytes).expect_err("twice");
        assert_eq!(error.kind(), DecodeErrorKind::DuplicateField);
        assert_eq!(error.field(), Some("id"));
    }
    for codec in BOTH {
        let bytes = codec.encode(&json!({"idx": 1})).expect("a plain model");
        let error = codec.decode::<Id>(&bytes).expect_err("unknown");
        assert_eq!(
            (error.kind(), error.field()),
            (DecodeErrorKind::UnknownField, None)
        );
    }
}

#[test]
fn names_that_are_no_identifiers_are_not_told() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Odd {
        #[serde(rename = "no identifier")]
        field: u8,
    }
    for codec in BOTH {
        let bytes = codec.encode(&json!({})).expect("a plain model");
        let error = codec.decode::<Odd>(&bytes).expect_err("missing");
        assert_eq!(
            (error.kind(), error.field()),
            (DecodeErrorKind::MissingField, None)
        );
        let bytes = codec
            .encode(&json!({"no identifier": "x"}))
            .expect("a plain model");
        let error = codec.decode::<Odd>(&bytes).expect_err("a string");
        assert_eq!(
            (error.kind(), error.field()),
            (DecodeErrorKind::TypeMismatch, None)
        );
    }
}

#[test]
fn offsets_count_over_lines() {
    let text = "{\n  \"id\": 1,\n  \"name\": 5\n}";
    let error = Codec::Json.decode::<User>(text.as_bytes()).expect_err("a number");
    assert_eq!(error.kind(), DecodeErrorKind::TypeMismatch);
    assert_eq!(error.offset(), text.find('5'));
}

struct Refusing;

impl Serialize for Refusing {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

#[test]
fn encode_errors_say_how_far_it_got() {
    let error = Codec::MessagePack.encode(&(1, 2, Refusing)).expect_err("refused");
    assert_eq!((error.kind(), error.offset()), (EncodeErrorKind::Custom, Some(3)));
    let error = Codec::Json.encode(&(1, 2, Refusing)).expect_err("refused");
    assert_eq!((error.kind(), error.offset()), (EncodeErrorKind::Custom, Some(5)));

    #[derive(Serialize)]
    struct Model {
        id: u8,
        inner: BTreeMap<String, Refusing>,
    }
    let inner = BTreeMap::from([("token".to_owned(), Refusing)]);
    let model = Model { id: 1, inner };
    for codec in BOTH {
        let error = codec.encode(&model).expect_err("refused");
        assert_eq!(
            (error.kind(), error.field()),
            (EncodeErrorKind::Custom, Some("inner"))
        );
        assert!(error.to_string().contains(", field `inner`, at byte "), "{error}");
    }
}

/// The name costs a second attempt, which a large model is spared.
#[test]
fn a_large_refused_model_is_written_once() {
    struct Refused<'a>(usize, &'a Cell<u32>);

    impl Serialize for Refused<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.1.set(self.1.get() + 1);
            let mut model = serializer.serialize_struct("Refused", 2)?;
            model.serialize_field("text", &"x".repeat(self.0))?;
            model.serialize_field("refusing", &Refusing)?;
            model.end()
        }
    }

    for (length, field, attempts) in [(1000, Some("refusing"), 2), (100_000, None, 1)] {
        let count = Cell::new(0);
        let error = Codec::Json.encode(&Refused(length, &count)).expect_err("refused");
        assert_eq!((error.field(), count.get()), (field, attempts), "{error}");
    }
}
