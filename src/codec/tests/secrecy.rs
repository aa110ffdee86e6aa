use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Debug;
use std::net::IpAddr;
use std::num::NonZeroU8;

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::{BOTH, Category, Expr, Flat, Loose, User, user};
use crate::codec::Codec;

const SECRET: &str = "hunter2-secret";

/// A number that is nobody's offset.
const NUMBER: i64 = 987_654_321_987;

/// All that an error can tell.
fn told(error: &dyn Error) -> String {
    let mut told = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        told += &format!("{error}\n{error:?}\n{error:#?}\n");
        next = error.source();
    }
    told
}

fn assert_silent<T: DeserializeOwned + Debug>(data: &impl Serialize) {
    for codec in BOTH {
        let bytes = codec.encode(data).expect("plain data");
        assert_silent_on::<T>(codec, &bytes);
    }
}

fn assert_silent_on<T: DeserializeOwned + Debug>(codec: Codec, bytes: &[u8]) {
    let error = codec.decode::<T>(bytes).expect_err("not this model");
    let told = told(&error);
    for secret in ["hunter2", "987654321", "987_654_321"] {
        assert!(!told.contains(secret), "{codec:?} {told}");
    }
}

/// Refuses whatever string it is given, in words that `T` chooses.
#[derive(Debug)]
struct Refusing<const WORDS: usize>;

const WORDS: [&str; 8] = [
    "the password {} is weak",
    "missing field `{}`",
    "duplicate field `{}`",
    "unknown variant `{}`",
    "invalid type: string \"{}\"",
    "missing field `{}` at line 1 column 1",
    "{}",
    "duplicate field `{}` at line 1 column 2",
];

impl<'de, const WORDS: usize> Deserialize<'de> for Refusing<WORDS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = String::deserialize(deserializer)?;
        Err(D::Error::custom(self::WORDS[WORDS].replace("{}", &value)))
    }
}

#[test]
fn custom_errors_tell_no_values() {
    for data in [json!(SECRET), json!([SECRET]), json!({"k": SECRET})] {
        macro_rules! each {
            ($($words:literal)*) => {$(
                assert_silent::<Refusing<$words>>(&data);
                assert_silent::<Vec<Refusing<$words>>>(&data);
                assert_silent::<HashMap<String, Refusing<$words>>>(&data);
            )*};
        }
        each!(0 1 2 3 4 5 6 7);
    }
    let escaped = SECRET.replace('h', "\\u0068");
    assert_silent_on::<Refusing<1>>(Codec::Json, format!("\"{escaped}\"").as_bytes());
    assert_silent_on::<Refusing<2>>(Codec::Json, format!("\"{escaped}\"").as_bytes());
}

#[test]
fn wrong_types_tell_no_values() {
    for value in [json!(SECRET), json!(NUMBER), json!(-NUMBER), json!(987_654_321.5)] {
        assert_silent::<bool>(&value);
        assert_silent::<()>(&value);
        assert_silent::<Vec<u8>>(&value);
        assert_silent::<BTreeMap<String, u8>>(&value);
        assert_silent::<(u8, u8)>(&value);
        assert_silent::<u8>(&value);
        assert_silent::<Option<i8>>(&value);
        assert_silent::<char>(&value);
        assert_silent::<NonZeroU8>(&value);
        assert_silent::<IpAddr>(&value);
        assert_silent::<Expr>(&value);
        assert_silent::<Category>(&value);
        assert_silent::<Flat>(&value);
        assert_silent::<Vec<Loose>>(&value);
        assert_silent::<Loose>(&json!([value, true]));
        assert_silent::<Expr>(&json!({"Number": [value]}));
        assert_silent::<HashMap<String, bool>>(&json!({"k": value}));
        assert_silent::<[bool; 1]>(&json!([value]));
    }
    assert_silent::<f64>(&SECRET);
    assert_silent::<String>(&NUMBER);
}

#[test]
fn names_from_strangers_are_not_told() {
    assert_silent::<Expr>(&SECRET);
    assert_silent::<Expr>(&json!({SECRET: 1}));
    assert_silent::<Vec<Expr>>(&json!([{SECRET: SECRET}]));
    assert_silent::<HashMap<String, u8>>(&json!({SECRET: "x"}));
    assert_silent::<HashMap<u8, u8>>(&json!({SECRET: 1}));
    assert_silent::<HashMap<String, HashMap<String, u8>>>(&json!({SECRET: {SECRET: "x"}}));

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[expect(dead_code, reason = "only its reading is tested")]
        id: u8,
    }
    assert_silent::<Strict>(&json!({SECRET: 1}));
    assert_silent::<Strict>(&json!({"id": SECRET}));
}

#[test]
fn no_field_of_a_model_tells_its_value() {
    let right = serde_json::to_value(user()).expect("a plain model");
    for field in ["id", "role", "address"] {
        let mut wrong = right.clone();
        wrong[field] = json!(SECRET);
        assert_silent::<User>(&wrong);
    }
    for (field, value) in [("street", json!(NUMBER)), ("number", json!(SECRET))] {
        let mut wrong = right.clone();
        wrong["address"][field] = value;
        assert_silent::<User>(&wrong);
    }
    let mut wrong = right;
    wrong["name"] = json!(SECRET);
    wrong["address"] = Value::Null;
    assert_silent::<User>(&wrong);
}

#[test]
fn broken_text_tells_no_values() {
    let mut bytes = Codec::MessagePack.encode(SECRET).expect("plain text");
    bytes[3] = 0xff;
    assert_silent_on::<String>(Codec::MessagePack, &bytes);
    let mut bytes = Codec::Json.encode(SECRET).expect("plain text");
    bytes[3] = 0xff;
    assert_silent_on::<String>(Codec::Json, &bytes);
    for text in [
        "hunter2",
        "{hunter2",
        "[\"hunter2\" 1]",
        "{\"hunter2\" 1}",
        "1 hunter2",
        "\"hunter2",
    ] {
        assert_silent_on::<Value>(Codec::Json, text.as_bytes());
        assert_silent_on::<Vec<String>>(Codec::MessagePack, text.as_bytes());
    }
}

#[test]
fn encode_errors_tell_no_values() {
    struct Refusing(usize);
    impl Serialize for Refusing {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom(WORDS[self.0].replace("{}", SECRET)))
        }
    }
    for codec in BOTH {
        for words in 0..WORDS.len() {
            let plain = codec.encode(&Refusing(words)).expect_err("refused");
            let inner = codec.encode(&[(SECRET, Refusing(words))]).expect_err("refused");
            let key = codec
                .encode(&[(vec![SECRET], Refusing(words))])
                .expect_err("refused");
            for error in [plain, inner, key] {
                assert!(!told(&error).contains("hunter2"), "{error:?}");
            }
        }
    }
    let map = BTreeMap::from([([SECRET], SECRET)]);
    let error = Codec::Json.encode(&map).expect_err("a list for a key");
    assert!(!told(&error).contains("hunter2"));
}
