//! What serde does behind attributes: it reads into buffers of its own, which are human-readable and
//! know no bytes that are a sequence.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proptest::collection::{btree_map, hash_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BOTH, assert_same};
use crate::codec::Codec;

/// Text where people read it and bytes elsewhere, as `uuid` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id(u128);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(&format_args!("{:032x}", self.0));
        }
        serializer.serialize_bytes(&self.0.to_be_bytes())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an identifier")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                u128::from_str_radix(text, 16).map(Id).map_err(E::custom)
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Id, E> {
                let bytes = bytes.try_into().map_err(E::custom)?;
                Ok(Id(u128::from_be_bytes(bytes)))
            }
        }
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(Visitor),
            false => deserializer.deserialize_bytes(Visitor),
        }
    }
}

/// Text where people read it and a number elsewhere, as `chrono` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Instant(i64);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(&format_args!("@{}", self.0)),
            false => serializer.serialize_i64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix('@').ok_or_else(|| D::Error::custom("no @"))?;
        digits.parse().map(Self).map_err(D::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Role {
    Guest,
    Level(u8),
    Member { since: Instant },
    Pair(Id, IpAddr),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

/// A field of each kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct All {
    ip: IpAddr,
    v4: Ipv4Addr,
    v6: Option<Ipv6Addr>,
    socket: SocketAddr,
    id: Id,
    instant: Instant,
    pause: Duration,
    time: SystemTime,
    bytes: Vec<u8>,
    shared: Bytes,
    signed: Vec<i8>,
    array: [u8; 4],
    maybe: Option<u64>,
    unit: (),
    empty: Unit,
    character: char,
    float: f32,
    wide: f64,
    roles: Vec<Role>,
    by_name: BTreeMap<String, Role>,
    by_id: BTreeMap<Id, IpAddr>,
    nested: Option<Box<Tagged>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Empty,
    Login { ip: IpAddr, id: Id },
    All(Box<All>),
    Again { inner: Box<Tagged> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Empty,
    Ip(IpAddr),
    Pair(SocketAddr, Id),
    Login { id: Id, bytes: Vec<u8> },
    All(Box<All>),
    Bytes(Bytes),
}

/// The content comes before the tag, so that serde has to buffer it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct ContentFirst {
    c: Vec<u8>,
    t: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Ip(IpAddr),
    Pair(Id, Instant),
    All(Box<All>),
    Bytes(Vec<u8>),
    Map { map: BTreeMap<Id, Vec<u8>> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner {
    ip: IpAddr,
    id: Id,
    bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flattened {
    id_of_flattened: Id,
    #[serde(flatten)]
    all: All,
    #[serde(flatten)]
    rest: HashMap<String, Untagged>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FlattenedOption {
    own: u8,
    #[serde(flatten)]
    inner: Option<Inner>,
    #[serde(flatten)]
    tagged: Tagged,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FlattenedMap<K: std::hash::Hash + Eq> {
    own: u8,
    #[serde(flatten)]
    rest: HashMap<K, IpAddr>,
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
    ]
}

fn id() -> impl Strategy<Value = Id> {
    any::<u128>().prop_map(Id)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        Just(Role::Guest),
        any::<u8>().prop_map(Role::Level),
        any::<i64>().prop_map(|n| Role::Member { since: Instant(n) }),
        (id(), ip()).prop_map(|(id, ip)| Role::Pair(id, ip)),
    ]
}

fn all() -> impl Strategy<Value = All> {
    let addresses = (ip(), any::<u32>(), option::of(any::<u128>()), any::<u16>());
    let octets = (vec(any::<u8>(), 0..70), vec(any::<u8>(), 0..70), any::<[u8; 4]>());
    let numbers = (
        any::<i64>(),
        any::<u32>(),
        option::of(any::<u64>()),
        any::<char>(),
        any::<f32>(),
        any::<f64>(),
    );
    let roles = (
        vec(role(), 0..3),
        btree_map(any::<String>(), role(), 0..3),
        btree_map(id(), ip(), 0..3),
    );
    let nested = option::of((ip(), id()).prop_map(|(ip, id)| Box::new(Tagged::Login { ip, id })));
    (addresses, id(), octets, numbers, roles, nested).prop_map(
        |((ip, v4, v6, port), id, (bytes, shared, array), numbers, (roles, by_name, by_id), nested)| All {
            ip,
            v4: v4.into(),
            v6: v6.map(Into::into),
            socket: (ip, port).into(),
            id,
            instant: Instant(numbers.0),
            pause: Duration::from_millis(numbers.1.into()),
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(numbers.1.into()),
            signed: bytes.iter().map(|byte| byte.cast_signed()).collect(),
            bytes,
            shared: shared.into(),
            array,
            maybe: numbers.2,
            unit: (),
            empty: Unit,
            character: numbers.3,
            float: numbers.4,
            wide: numbers.5,
            roles,
            by_name,
            by_id,
            nested,
        },
    )
}

fn untagged() -> impl Strategy<Value = Untagged> {
    prop_oneof![
        ip().prop_map(Untagged::Ip),
        (id(), any::<i64>()).prop_map(|(id, n)| Untagged::Pair(id, Instant(n))),
        vec(any::<u8>(), 0..70).prop_map(Untagged::Bytes),
        btree_map(id(), vec(any::<u8>(), 0..70), 0..3).prop_map(|map| Untagged::Map { map }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_tagged_comes_back(all in all(), id in id(), ip in ip()) {
        let tagged = Tagged::All(Box::new(all));
        assert_same(&tagged);
        assert_same(&Tagged::Again { inner: Box::new(tagged) });
        assert_same(&Tagged::Login { ip, id });
        assert_same(&vec![Tagged::Empty, Tagged::Login { ip, id }]);
    }

    #[test]
    fn what_is_adjacent_comes_back(all in all(), id in id(), ip in ip()) {
        for bytes in [all.bytes.clone(), vec![7; 70_000]] {
            assert_same(&Adjacent::Login { id, bytes: bytes.clone() });
            assert_same(&Adjacent::Bytes(bytes.into()));
        }
        let adjacent = [
            Adjacent::Empty,
            Adjacent::Ip(ip),
            Adjacent::Pair((ip, 80).into(), id),
            Adjacent::All(Box::new(all)),
        ];
        assert_same(&adjacent);
        adjacent.iter().for_each(assert_same);
    }

    #[test]
    fn what_is_untagged_comes_back(all in all(), untagged in untagged()) {
        assert_same(&untagged);
        assert_same(&Untagged::All(Box::new(all)));
        assert_same(&Some(untagged));
    }

    #[test]
    fn what_is_flattened_comes_back(
        all in all(),
        id in id(),
        rest in hash_map("[a-z]_[0-9]{3}", untagged(), 0..20),
        ip in ip(),
        own: u8,
    ) {
        let inner = Inner { ip, id, bytes: all.shared.clone() };
        assert_same(&Flattened { id_of_flattened: id, all, rest });
        assert_same(&FlattenedOption { own, inner: None, tagged: Tagged::Empty });
        assert_same(&FlattenedOption { own, inner: Some(inner), tagged: Tagged::Empty });
    }

    #[test]
    fn flattened_maps_come_back(own: u8, numbers: [i64; 3], ip in ip()) {
        let model = FlattenedMap { own, rest: numbers.map(|n| (format!("k{n}"), ip)).into() };
        assert_same(&model);
        let model = FlattenedMap { own, rest: numbers.map(|n| (Instant(n), ip)).into() };
        assert_same(&model);
        // In JSON such keys are strings, which serde does not take back.
        let model = FlattenedMap { own, rest: numbers.map(|n| (n, ip)).into() };
        let bytes = Codec::MessagePack.encode(&model).expect("a plain model");
        prop_assert_eq!(Codec::MessagePack.decode(&bytes), Ok(model));
    }
}

#[test]
fn content_before_its_tag_comes_back() {
    for codec in BOTH {
        for len in [0, 31, 32, 300, 70_000] {
            let content = ContentFirst {
                c: vec![200; len],
                t: "Bytes",
            };
            let bytes = codec.encode(&content).expect("a plain model");
            let read = codec.decode::<Adjacent>(&bytes).expect("as written");
            assert_eq!(read, Adjacent::Bytes(content.c.into()));
        }
    }
}

/// serde's buffer has no place for them.
#[test]
fn integers_of_128_bits_are_not_buffered() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Wide {
        Number { n: u128 },
    }
    for codec in BOTH {
        assert_same(&u128::MAX);
        let bytes = codec
            .encode(&Wide::Number { n: u128::MAX })
            .expect("a plain model");
        assert!(codec.decode::<Wide>(&bytes).is_err());
    }
}
