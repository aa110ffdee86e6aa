mod depth;
mod hostile;
mod place;
mod round_trip;
mod secrecy;

use std::collections::BTreeMap;

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
