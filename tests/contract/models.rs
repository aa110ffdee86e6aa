//! Models, whatever the codec: each case runs once over each.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use cachestore::{Error, Store};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::support::{secs, told};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    balance: i64,
    score: f64,
    email: Option<String>,
    role: Role,
    tags: Vec<String>,
    limits: BTreeMap<String, (u8, bool)>,
    unit: (),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Role {
    Guest,
    Level(u8),
    Member { since: u32 },
}

fn ada() -> User {
    User {
        id: u64::MAX,
        name: "Ada \u{1f9ee} \"quoted\"\n\0".into(),
        balance: i64::MIN,
        score: 0.1,
        email: None,
        role: Role::Member { since: 1843 },
        tags: vec!["one".into(), String::new()],
        limits: [("a".into(), (255, true)), (String::new(), (0, false))].into(),
        unit: (),
    }
}

/// A list that nests so many levels.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

fn nested(levels: usize) -> Nested {
    (1..levels).fold(Nested(Vec::new()), |inner, _| Nested(vec![inner]))
}

pub(crate) async fn a_model_is_read_as_it_was_written(store: Store) {
    let users = [
        ada(),
        User {
            role: Role::Guest,
            email: Some("a@b".into()),
            ..ada()
        },
        User {
            role: Role::Level(7),
            score: -1.5e300,
            tags: Vec::new(),
            ..ada()
        },
    ];
    for user in users {
        store.set_model("user", &user).await.unwrap();
        assert_eq!(store.get_model::<User>("user").await.unwrap(), Some(user));
    }
}

pub(crate) async fn anything_that_serializes_is_a_model(store: Store) {
    store.set_model("text", "borrowed").await.unwrap();
    assert_eq!(
        store.get_model::<String>("text").await.unwrap().unwrap(),
        "borrowed"
    );
    store.set_model("slice", &[1, 2, 3][..]).await.unwrap();
    assert_eq!(
        store.get_model::<Vec<u8>>("slice").await.unwrap().unwrap(),
        [1, 2, 3]
    );
    store.set_model("unit", &()).await.unwrap();
    assert_eq!(store.get_model::<()>("unit").await.unwrap(), Some(()));
    store.set_model("none", &None::<u8>).await.unwrap();
    assert_eq!(
        store.get_model::<Option<u8>>("none").await.unwrap(),
        Some(None),
        "a model that is None is there"
    );
}

/// Fields are stored with their names, so that a struct can change while its entries are cached.
pub(crate) async fn a_model_can_change_its_fields(store: Store) {
    #[derive(Serialize)]
    struct Before {
        id: u8,
        dropped: String,
        name: String,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct After {
        name: String,
        #[serde(default)]
        added: Option<u8>,
        id: u8,
    }
    store
        .set_model(
            "k",
            &Before {
                id: 1,
                dropped: "x".into(),
                name: "n".into(),
            },
        )
        .await
        .unwrap();
    let after = After {
        name: "n".into(),
        added: None,
        id: 1,
    };
    assert_eq!(store.get_model::<After>("k").await.unwrap(), Some(after));
}

pub(crate) async fn a_model_is_a_value_too(store: Store) {
    store.set_model("k", &ada()).await.unwrap();
    let bytes = store.get("k").await.unwrap().unwrap();
    store.set("copy", bytes).await.unwrap();
    assert_eq!(store.get_model::<User>("copy").await.unwrap(), Some(ada()));
}

pub(crate) async fn a_model_takes_a_ttl_and_dependencies(store: Store) {
    store
        .set_model("one", &1)
        .ttl(secs(60))
        .depends_on(["u"])
        .await
        .unwrap();
    store
        .set_models([("two", &2), ("three", &3)])
        .ttl(secs(60))
        .depends_on(["u"])
        .await
        .unwrap();
    for key in ["one", "two", "three"] {
        assert!(store.ttl(key).await.unwrap().unwrap().remaining().unwrap() <= secs(60));
    }
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 3);
}

pub(crate) async fn many_models_come_in_the_order_asked(store: Store) {
    store
        .set_models([("a", &ada()), ("b", &User { id: 2, ..ada() })])
        .await
        .unwrap();
    let users: Vec<Option<User>> = store.get_models(["b", "absent", "a", "b"]).await.unwrap();
    let ids: Vec<Option<u64>> = users.into_iter().map(|user| user.map(|user| user.id)).collect();
    assert_eq!(ids, [Some(2), None, Some(u64::MAX), Some(2)]);
}

pub(crate) async fn many_models_are_given_by_value_or_by_reference(store: Store) {
    let users = BTreeMap::from([("a".to_owned(), ada()), ("b".to_owned(), User { id: 2, ..ada() })]);
    store.set_models(&users).await.unwrap();
    assert_eq!(
        store.get_model::<User>("b").await.unwrap(),
        Some(User { id: 2, ..ada() })
    );
    store.clear().await.unwrap();
    store.set_models(users).await.unwrap();
    assert_eq!(
        store.get_models::<User>(["a", "c"]).await.unwrap(),
        [Some(ada()), None]
    );
    store.set_models([("text", "borrowed")]).await.unwrap();
    assert_eq!(
        store.get_model::<String>("text").await.unwrap().unwrap(),
        "borrowed"
    );
}

pub(crate) async fn one_undecodable_value_makes_many_undecodable(store: Store) {
    store.set_models([("a", &1), ("b", &2)]).await.unwrap();
    store.set("bad", "!!").await.unwrap();
    let outcome = store.get_models::<u8>(["a", "bad", "b"]).await;
    assert!(matches!(outcome, Err(Error::Decode(_))), "{outcome:?}");
    assert_eq!(
        store.get_models::<u8>(["a", "b"]).await.unwrap(),
        [Some(1), Some(2)]
    );
}

pub(crate) async fn what_is_no_such_model_is_a_decode_error_and_stays(store: Store) {
    store.set_model("model", &ada()).await.unwrap();
    let mut trailing = store.get("model").await.unwrap().unwrap().to_vec();
    let cut = trailing[..trailing.len() - 1].to_vec();
    trailing.push(trailing[0]);
    store.set("trailing", trailing).await.unwrap();
    store.set("cut", cut).await.unwrap();
    store.set("empty", "").await.unwrap();
    store.set_model("other", "a text").await.unwrap();
    for key in ["trailing", "cut", "empty", "other"] {
        let before = store.get(key).await.unwrap();
        let outcome = store.get_model::<User>(key).await;
        assert!(matches!(outcome, Err(Error::Decode(_))), "{key}: {outcome:?}");
        assert_eq!(store.get(key).await.unwrap(), before, "{key}");
    }
}

pub(crate) async fn a_model_nests_to_64_levels(store: Store) {
    store.set_model("k", &nested(64)).await.unwrap();
    assert_eq!(store.get_model::<Nested>("k").await.unwrap(), Some(nested(64)));
    let deeper = store.set_model("k", &nested(65)).await;
    assert!(matches!(deeper, Err(Error::Encode(_))), "{deeper:?}");
    let many = store.set_models([("new", &nested(1)), ("k", &nested(65))]).await;
    assert!(matches!(many, Err(Error::Encode(_))), "{many:?}");
    assert_eq!(
        store.get_model::<Nested>("k").await.unwrap(),
        Some(nested(64)),
        "what was there stays"
    );
    assert!(!store.exists("new").await.unwrap());
}

pub(crate) async fn a_model_that_refuses_is_an_encode_error(store: Store) {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("hunter2 does not serialize"))
        }
    }
    let error = store.set_model("k", &Refuses).await.unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error:?}");
    assert!(!told(&error).contains("hunter2"), "{}", told(&error));
    assert!(!store.exists("k").await.unwrap());
}

/// The messages of serde quote what they complain about: none of it may come through.
pub(crate) async fn a_decode_error_tells_nothing_of_the_value(store: Store) {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[serde(rename = "secret")]
        _secret: u8,
    }
    store.set_model("text", "hunter2").await.unwrap();
    store
        .set_model("field", &BTreeMap::from([("secret", "hunter2")]))
        .await
        .unwrap();
    store
        .set_model("unknown", &BTreeMap::from([("hunter2", 1)]))
        .await
        .unwrap();
    store.set("raw", "hunter2").await.unwrap();
    for key in ["text", "field", "unknown", "raw"] {
        let error = store.get_model::<Strict>(key).await.unwrap_err();
        assert!(matches!(error, Error::Decode(_)), "{key}: {error:?}");
        assert!(!told(&error).contains("hunter2"), "{key}: {}", told(&error));
        let error = store.get_model::<Role>(key).await.unwrap_err();
        assert!(!told(&error).contains("hunter2"), "{key}: {}", told(&error));
    }
}

async fn assert_comes_back<T>(store: &Store, model: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    store.set_model("k", model).await.unwrap();
    assert_eq!(store.get_model::<T>("k").await.unwrap().as_ref(), Some(model));
}

/// Behind these attributes serde reads into a buffer of its own, which is always human-readable.
pub(crate) async fn models_with_serde_attributes_come_back(store: Store) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Event {
        Login { ip: IpAddr, session: Session },
        Logout,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Peer {
        Socket(SocketAddr),
        Address { ip: IpAddr },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Request {
        id: u64,
        #[serde(flatten)]
        from: Origin,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "origin")]
    enum Origin {
        Direct(IpAddr),
        Proxied(SocketAddr, Vec<Session>),
    }
    let (ip, socket) = (IpAddr::from([10, 0, 0, 1]), SocketAddr::from(([0; 16], 443)));
    let session = Session([7; 4]);
    assert_comes_back(&store, &Event::Login { ip, session }).await;
    assert_comes_back(&store, &Event::Logout).await;
    assert_comes_back(&store, &Peer::Socket(socket)).await;
    assert_comes_back(&store, &Peer::Address { ip }).await;
    let from = Origin::Direct(ip);
    assert_comes_back(&store, &Request { id: 1, from }).await;
    let from = Origin::Proxied(socket, vec![Session([0; 4]), Session([255; 4])]);
    assert_comes_back(&store, &Request { id: 2, from }).await;
}

/// An identifier that is text where people read it and bytes elsewhere, as `uuid` has it.
#[derive(Debug, PartialEq)]
struct Session([u8; 4]);

impl Serialize for Session {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(&u32::from_be_bytes(self.0)),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Session {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return text
                .parse()
                .map(u32::to_be_bytes)
                .map(Self)
                .map_err(D::Error::custom);
        }
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| D::Error::custom("not four bytes"))
    }
}

pub(crate) async fn floats_come_back_bit_for_bit(store: Store) {
    // A fixed sequence over all exponents, by the steps of a linear congruence.
    let next = |state: u64| {
        state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407)
    };
    let states: Vec<u64> = std::iter::successors(Some(1), |state| Some(next(*state)))
        .take(4000)
        .collect();
    let wide: Vec<f64> = states
        .iter()
        .map(|bits| f64::from_bits(*bits))
        .filter(|float| float.is_finite())
        .collect();
    let narrow: Vec<f32> = states
        .iter()
        .map(|bits| f32::from_bits((bits >> 32) as u32))
        .filter(|float| float.is_finite())
        .collect();
    assert!(wide.len() > 3000 && narrow.len() > 3000);
    store.set_model("wide", &wide).await.unwrap();
    store.set_model("narrow", &narrow).await.unwrap();
    let read = store.get_model::<Vec<f64>>("wide").await.unwrap().unwrap();
    let differ = wide
        .iter()
        .zip(&read)
        .filter(|(a, b)| a.to_bits() != b.to_bits())
        .count();
    assert_eq!((differ, read.len()), (0, wide.len()));
    let read = store.get_model::<Vec<f32>>("narrow").await.unwrap().unwrap();
    let differ = narrow
        .iter()
        .zip(&read)
        .filter(|(a, b)| a.to_bits() != b.to_bits())
        .count();
    assert_eq!((differ, read.len()), (0, narrow.len()));
}

pub(crate) async fn sequences_of_bytes_come_back(store: Store) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Buffered {
        Bytes(Vec<u8>),
        File { content: Vec<u8>, shared: Bytes },
    }
    for len in [0, 1, 31, 32, 255, 256, 70_000] {
        let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        assert_comes_back(&store, &bytes).await;
        assert_comes_back(&store, &VecDeque::from(bytes.clone())).await;
        assert_comes_back(&store, &Bytes::from(bytes.clone())).await;
        assert_comes_back(
            &store,
            &bytes.iter().map(|byte| byte.cast_signed()).collect::<Vec<i8>>(),
        )
        .await;
        assert_comes_back(&store, &bytes.iter().map(|byte| Some(*byte)).collect::<Vec<_>>()).await;
        assert_comes_back(&store, &Buffered::Bytes(bytes.clone())).await;
        let shared = Bytes::from(bytes.clone());
        let loaded = shared.clone();
        let load = store.get_or_load("loaded", || async { Ok::<_, String>(loaded) });
        assert_eq!(load.await.unwrap(), shared);
        assert_eq!(
            store.get_model::<Bytes>("loaded").await.unwrap(),
            Some(shared.clone())
        );
        assert!(store.delete("loaded").await.unwrap());
        assert_comes_back(
            &store,
            &Buffered::File {
                content: bytes,
                shared,
            },
        )
        .await;
    }
}
