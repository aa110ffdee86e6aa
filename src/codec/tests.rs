mod attributes;
mod depth;
mod hostile;
mod octets;
mod place;
mod round_trip;
mod secrecy;
mod texts;

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Codec;

const BOTH: [Codec; 2] = [Codec::MessagePack, Codec::Json];

/// A recursive model as applications have them: a level for each child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Category {
    id: u64,
    name: String,
    #[serde(default)]
    tags: Vec<String>,
    score: Option<f64>,
    child: Option<Box<Category>>,
}

/// A recursive enum with every form of variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Expr {
    Nothing,
    Number(i64),
    Not(Box<Expr>),
    Pair(Box<Expr>, Box<Expr>),
    Call { name: String, arguments: Vec<Expr> },
}

/// A recursive enum that serde has to buffer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    List(Vec<Loose>),
    Map(BTreeMap<String, Loose>),
}

/// A recursive struct whose length serde does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    rest: BTreeMap<String, Flat>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    role: Role,
    address: Address,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Address {
    street: String,
    number: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Role {
    Admin,
    Member { since: u32 },
}

fn user() -> User {
    User {
        id: 7,
        name: "Ada".into(),
        role: Role::Member { since: 1843 },
        address: Address {
            street: "St James's Square".into(),
            number: 12,
        },
    }
}

/// Writes and reads `model` with both codecs.
fn assert_same<T>(model: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    for codec in BOTH {
        let bytes = codec.encode(model).expect("a plain model");
        let read = codec.decode::<T>(&bytes);
        assert_eq!(&read.expect("as written"), model, "{codec:?} {bytes:x?}");
    }
}

/// What rmp-serde reads.
fn by_rmp_serde<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let reader = rmp_serde::Deserializer::from_read_ref(bytes);
    T::deserialize(&mut reader.with_human_readable()).ok()
}
