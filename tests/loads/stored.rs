//! Loaded values as they are stored, and as the other calls see them. Time is paused.

use std::collections::HashMap;
use std::time::Duration;

use cachestore::{Codec, Config, Error, Fetched, LoadContext, Origin, Ttl};
use serde::{Deserialize, Serialize};

use crate::engines::{fresh_with, in_memory, over_all_engines, seen};
use crate::loads::{Clock, Loaders, settled};
use crate::support::{CENTURY, memory, ms, open, secs};

over_all_engines! {
    what_this_version_cannot_read_is_a_miss
    a_torn_envelope_is_an_error_to_read_and_a_miss_to_load
    what_is_too_large_to_be_stored_is_returned_all_the_same
    what_cannot_be_encoded_fails_its_load
}

const ZERO: Duration = Duration::ZERO;
/// The length of what comes before the model.
const HEAD: usize = 34;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: Option<String>,
}

fn ada() -> User {
    User {
        id: 1843,
        name: Some("Ada".into()),
    }
}

const CODECS: [fn(Config) -> Config; 2] = [
    |config| config.codec(Codec::MessagePack),
    |config| config.codec(Codec::Json),
];

#[tokio::test(start_paused = true)]
async fn a_loaded_value_is_its_model_behind_a_head() {
    for codec in CODECS {
        let store = in_memory(codec).await;
        let loaders = Loaders::new();
        let load = store
            .get_or_load("k", loaders.after(ms(250), ada()))
            .ttl(secs(10));
        load.stale_while_revalidate(secs(5)).await.unwrap();
        store.set_model("model", &ada()).await.unwrap();
        let (stored, model) = (
            store.get("k").await.unwrap().unwrap(),
            store.get("model").await.unwrap().unwrap(),
        );
        assert_eq!(stored[..6], *b"\xC1\x02load", "no codec writes this");
        assert_eq!(stored[6..14], 10_000_u64.to_be_bytes(), "fresh, in milliseconds");
        assert_eq!(stored[14..22], 5_000_u64.to_be_bytes(), "its window");
        assert_eq!(stored[22..30], [0; 8], "its age");
        assert_eq!(
            stored[30..HEAD],
            250_000_u32.to_be_bytes(),
            "its cost in microseconds"
        );
        assert_eq!(stored[HEAD..], model[..]);
        store.get_or_load("ever", loaders.at_once(ada())).await.unwrap();
        let stored = store.get("ever").await.unwrap().unwrap();
        assert_eq!(stored[6..14], [0xFF; 8], "for ever");
        // Bytes that are written back are a loaded value again, with the TTL that they are given.
        store.set("copy", stored).await.unwrap();
        assert_eq!(store.get_model::<User>("copy").await.unwrap(), Some(ada()));
        assert!(store.get_string("k").await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn models_are_read_while_they_are_fresh() {
    for codec in CODECS {
        let store = in_memory(codec).await;
        let (loaders, clock) = (Loaders::new(), Clock::new());
        let load = |key, user| {
            let load = store.get_or_load(key, loaders.at_once(user)).ttl(secs(10));
            load.stale_if_error(secs(20))
        };
        load("a", ada()).await.unwrap();
        clock.at(secs(5)).await;
        load("b", ada()).await.unwrap();
        store.set_model("plain", &ada()).await.unwrap();
        let read = async || {
            store
                .get_models::<User>(["a", "plain", "none", "b"])
                .await
                .unwrap()
        };
        assert_eq!(read().await, [Some(ada()), Some(ada()), None, Some(ada())]);
        clock.at(secs(10) - ms(1)).await;
        assert_eq!(store.get_model::<User>("a").await.unwrap(), Some(ada()));
        clock.at(secs(10)).await;
        assert_eq!(store.get_model::<User>("a").await.unwrap(), None);
        assert_eq!(read().await, [None, Some(ada()), None, Some(ada())]);
        assert!(
            store.exists("a").await.unwrap() && store.get("a").await.unwrap().is_some(),
            "it is kept"
        );
        clock.at(secs(15)).await;
        assert_eq!(read().await, [None, Some(ada()), None, None]);
        clock.at(secs(30)).await;
        assert!(!store.exists("a").await.unwrap() && store.exists("b").await.unwrap());
        // What is stale is no error either, whatever its type.
        assert_eq!(store.get_model::<u8>("b").await.unwrap(), None);
        let fresh = store.get_or_load("c", loaders.at_once(ada())).await.unwrap();
        assert_eq!(fresh, ada());
        assert!(matches!(store.get_model::<u8>("c").await, Err(Error::Decode(_))));
    }
}

/// An envelope of another version counts as absent.
async fn what_this_version_cannot_read_is_a_miss() {
    for codec in CODECS {
        let store = fresh_with(codec).await;
        let loaders = Loaders::new();
        store
            .get_or_load("good", loaders.at_once(ada()))
            .ttl(secs(60))
            .await
            .unwrap();
        let good = store.get("good").await.unwrap().unwrap();
        let foreign: Vec<Vec<u8>> = [0, 1, 3, 31]
            .map(|version| {
                let mut bytes = good.to_vec();
                bytes[1] = version;
                bytes
            })
            .into();
        for bytes in foreign {
            let what = format!("{bytes:?}");
            store.set("k", bytes.clone()).await.unwrap();
            assert_eq!(store.get_model::<User>("k").await.unwrap(), None, "{what}");
            let many = store.get_models::<User>(["good", "k"]).await.unwrap();
            assert_eq!(many, [Some(ada()), None], "{what}");
            assert_eq!(
                store.get("k").await.unwrap().unwrap(),
                bytes,
                "{what}: it stays as it is"
            );
            let load = store
                .get_or_load("k", || async { Err::<User, _>("no") })
                .stale_if_error(secs(60))
                .await;
            assert!(load.is_err(), "{what}: nor is it a stale value");
            let load = store.get_or_load("k", loaders.at_once(ada())).outcome().await;
            assert_eq!(seen(load), (ada(), Origin::Loaded, ZERO), "{what}");
            assert_eq!(
                store.get_model::<User>("k").await.unwrap(),
                Some(ada()),
                "{what}: it is replaced"
            );
            store.set("k", bytes).await.unwrap();
            let many = |keys: Vec<String>| async {
                Ok::<_, String>(keys.into_iter().map(|key| (key, ada())).collect())
            };
            let many: HashMap<String, User> = store.get_or_load_many(["good", "k"], many).await.unwrap();
            assert_eq!(many.len(), 2, "{what}");
        }
    }
}

/// What is too short to be an envelope, or no version's, is a plain value that is no model.
async fn a_torn_envelope_is_an_error_to_read_and_a_miss_to_load() {
    for codec in CODECS {
        let store = fresh_with(codec).await;
        let loaders = Loaders::new();
        let load = store.get_or_load("good", loaders.at_once(ada()));
        load.ttl(secs(60)).await.unwrap();
        let good = store.get("good").await.unwrap().unwrap();
        let mut torn: Vec<Vec<u8>> = (1..HEAD).map(|length| good[..length].to_vec()).collect();
        // All of the head, and a part of the model.
        torn.extend((HEAD..good.len()).map(|length| good[..length].to_vec()));
        torn.extend([32, 0x80, 0xFF].map(|second| {
            let mut bytes = good.to_vec();
            bytes[1] = second;
            bytes
        }));
        for bytes in torn {
            store.set("k", bytes.clone()).await.unwrap();
            let read = store.get_model::<User>("k").await;
            assert!(matches!(read, Err(Error::Decode(_))), "{bytes:?}: {read:?}");
            let failing = store.get_or_load("k", || async { Err::<User, _>("no") });
            let failed = failing.stale_if_error(secs(60)).await;
            assert!(failed.is_err(), "{bytes:?}: it is no stale value");
            let load = store.get_or_load("k", loaders.at_once(ada())).outcome().await;
            assert_eq!(seen(load), (ada(), Origin::Loaded, ZERO), "{bytes:?}");
            assert_eq!(store.get_model("k").await.unwrap(), Some(ada()), "{bytes:?}");
        }
    }
}

/// A head that no version writes: whatever it says, it is a value or a miss, and no panic.
#[tokio::test(start_paused = true)]
async fn a_hostile_head_harms_nobody() {
    let (store, loaders) = (memory().await, Loaders::new());
    store
        .get_or_load("good", loaders.at_once(7_u32))
        .ttl(secs(60))
        .await
        .unwrap();
    let good = store.get("good").await.unwrap().unwrap();
    let times = [0, 1, 60_000, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    for fresh in times {
        for kept in times {
            for cost in [0, u32::MAX] {
                let mut bytes = good.to_vec();
                bytes[6..14].copy_from_slice(&fresh.to_be_bytes());
                bytes[14..22].copy_from_slice(&kept.to_be_bytes());
                bytes[30..HEAD].copy_from_slice(&cost.to_be_bytes());
                for ttl in [None, Some(ms(1)), Some(CENTURY)] {
                    let set = store.set("k", bytes.clone());
                    match ttl {
                        Some(ttl) => set.ttl(ttl).await.unwrap(),
                        None => set.await.unwrap(),
                    }
                    assert!(matches!(store.get_model::<u32>("k").await, Ok(None | Some(7))));
                    let load = store
                        .get_or_load("k", loaders.at_once(8))
                        .refresh_ahead(0.0)
                        .ttl(secs(1));
                    let load = load.stale_while_revalidate(CENTURY).outcome().await;
                    assert!(matches!(seen(load).0, 7 | 8), "{fresh} {kept} {cost} {ttl:?}");
                    settled().await;
                }
            }
        }
    }
}

/// Plain values are fresh as long as they are there, if they are such models.
#[tokio::test(start_paused = true)]
async fn a_plain_value_is_served_if_it_decodes_and_replaced_if_not() {
    for codec in CODECS {
        let store = in_memory(codec).await;
        let loaders = Loaders::new();
        let load = |value| {
            let load = store.get_or_load("k", loaders.at_once(value));
            load.stale_while_revalidate(secs(9))
                .stale_if_error(secs(9))
                .refresh_ahead(0.0)
                .outcome()
        };
        store.set_model("k", &ada()).ttl(secs(60)).await.unwrap();
        tokio::time::advance(secs(30)).await;
        assert_eq!(
            seen(load(User { id: 2, ..ada() }).await),
            (ada(), Origin::Fresh, ZERO),
            "its age is not known"
        );
        for bytes in [&b"!"[..], b"", b"\xff\xff", b"{", &[0x91; 5000]] {
            store
                .set("k", bytes)
                .depends_on(["old"])
                .ttl(secs(60))
                .await
                .unwrap();
            assert_eq!(
                seen(load(ada()).await),
                (ada(), Origin::Loaded, ZERO),
                "{bytes:?}"
            );
            assert_eq!(store.get_model::<User>("k").await.unwrap(), Some(ada()));
            assert_eq!(
                store.ttl("k").await.unwrap(),
                Some(Ttl::Persistent),
                "nothing of it is left"
            );
            assert_eq!(store.invalidate(["old"]).await.unwrap(), 0);
        }
        assert_eq!(loaders.calls(), 5);
    }
}

/// A new TTL is a new end, and the stale windows are the last of it.
#[tokio::test(start_paused = true)]
async fn the_ttl_of_a_loaded_value_can_be_changed() {
    let (store, loaders, clock) = (memory().await, Loaders::new(), Clock::new());
    let load = |value| {
        let load = store.get_or_load("k", loaders.at_once(value)).ttl(secs(10));
        load.stale_if_error(secs(20)).outcome()
    };
    load(1).await.unwrap();
    clock.at(secs(4)).await;
    assert!(store.expire("k", secs(100)).await.unwrap());
    clock.at(secs(104) - ms(1)).await;
    assert_eq!(seen(load(2).await), (1, Origin::Fresh, secs(104) - ms(1)));
    clock.at(secs(124) - ms(1)).await;
    assert_eq!(
        store.ttl("k").await.unwrap(),
        None,
        "it is stale, and kept for its window"
    );
    assert!(store.exists("k").await.unwrap());
    clock.at(secs(124)).await;
    assert!(!store.exists("k").await.unwrap());
    assert_eq!(seen(load(2).await), (2, Origin::Loaded, ZERO));
    assert!(store.persist("k").await.unwrap());
    clock.at(secs(10_000)).await;
    assert_eq!(seen(load(3).await), (2, Origin::Fresh, ZERO));
    assert_eq!(store.get_model::<u32>("k").await.unwrap(), Some(2));
    assert!(store.expire("k", ms(1)).await.unwrap());
    clock.at(secs(10_000) + ms(1)).await;
    assert_eq!(seen(load(3).await), (3, Origin::Loaded, ZERO));
}

#[tokio::test(start_paused = true)]
async fn for_go_a_loaded_value_is_plain_json() {
    let store = open(Config::memory().go_compatible()).await;
    let (loaders, clock) = (Loaders::new(), Clock::new());
    let load = |value| {
        let load = store
            .get_or_load("k", loaders.at_once(value))
            .ttl(secs(10))
            .depends_on(["u"]);
        load.stale_while_revalidate(secs(50))
            .stale_if_error(secs(50))
            .refresh_ahead(0.0)
            .outcome()
    };
    assert_eq!(seen(load(ada()).await), (ada(), Origin::Loaded, ZERO));
    assert_eq!(
        store.get_string("k").await.unwrap().unwrap(),
        r#"{"id":1843,"name":"Ada"}"#
    );
    assert_eq!(
        store.ttl("k").await.unwrap(),
        Some(Ttl::Remaining(secs(10))),
        "without stale times"
    );
    clock.at(secs(10) - ms(1)).await;
    assert_eq!(seen(load(ada()).await), (ada(), Origin::Fresh, ZERO));
    settled().await;
    assert_eq!(loaders.calls(), 1);
    clock.at(secs(10)).await;
    assert_eq!(seen(load(ada()).await).1, Origin::Loaded);
    assert_eq!(store.invalidate(["u"]).await.unwrap(), 1);
    let many = |keys: Vec<String>| async {
        Ok::<_, String>(keys.into_iter().map(|key| (key, None::<u8>)).collect())
    };
    store.get_or_load_many(["none"], many).await.unwrap();
    assert_eq!(store.get_string("none").await.unwrap().unwrap(), "null");
}

/// The head is the library's, and the limit is the store's.
async fn what_is_too_large_to_be_stored_is_returned_all_the_same() {
    let store = fresh_with(|config| config.max_value_bytes(1000)).await;
    let loaders = Loaders::new();
    let mut stored = 0;
    for len in 960..1010 {
        let key = format!("k{len}");
        let loaded = store
            .get_or_load(&key, loaders.at_once("x".repeat(len)))
            .outcome()
            .await;
        let (text, origin, _) = seen(loaded);
        assert_eq!((text.len(), origin), (len, Origin::Loaded));
        let bytes = store.get(&key).await.unwrap();
        assert!(bytes.as_ref().is_none_or(|bytes| bytes.len() <= 1000), "{len}");
        stored += usize::from(bytes.is_some());
    }
    assert_eq!(
        stored,
        1000 - HEAD - 3 - 960 + 1,
        "the text has a head of three bytes of its own"
    );
    let again = store
        .get_or_load("k1009", loaders.at_once("y".to_owned()))
        .outcome()
        .await;
    assert_eq!(seen(again).1, Origin::Loaded);
    assert_eq!(store.stats().await.unwrap().load_failures, 0);
}

/// A new validator counts as the value does.
#[tokio::test(start_paused = true)]
async fn what_is_confirmed_and_too_large_to_be_kept_is_returned_all_the_same() {
    let store = open(Config::memory().max_value_bytes(1000)).await;
    let clock = Clock::new();
    let load = |validator: usize| {
        let load = move |cx: LoadContext<String>| async move {
            let fetched = match cx.stale() {
                Some(_) => Fetched::not_modified(),
                None => Fetched::new("x".repeat(500)),
            };
            Ok::<_, String>(fetched.validator("v".repeat(validator)))
        };
        let load = store.get_or_load_with("k", load);
        load.ttl(secs(1)).stale_if_error(secs(60)).outcome()
    };
    assert_eq!(seen(load(10).await).1, Origin::Loaded);
    let before = store.get("k").await.unwrap().unwrap();
    clock.at(secs(2)).await;
    let (text, origin, _) = seen(load(600).await);
    assert_eq!((text.len(), origin), (500, Origin::Loaded));
    assert!(store.get("k").await.unwrap().unwrap() == before, "it stays stale");
    assert_eq!(seen(load(400).await).1, Origin::Loaded);
    assert_eq!(
        store.get("k").await.unwrap().unwrap().len(),
        HEAD + 2 + 400 + 3 + 500,
        "it is kept"
    );
}

/// Nesting that could not be read again is not stored, and says so.
async fn what_cannot_be_encoded_fails_its_load() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Nested(Vec<Nested>);
    let nested = |levels: u32| (1..levels).fold(Nested(Vec::new()), |inner, _| Nested(vec![inner]));
    for codec in CODECS {
        let store = fresh_with(codec).await;
        let loaders = Loaders::new();
        store
            .get_or_load("fine", loaders.at_once(nested(64)))
            .await
            .unwrap();
        assert!(store.get_model::<Nested>("fine").await.unwrap().is_some());
        let deep = store.get_or_load("deep", loaders.at_once(nested(65))).await;
        assert!(
            matches!(deep, Err(cachestore::LoadError::Store(Error::Encode(_)))),
            "{deep:?}"
        );
        assert!(!store.exists("deep").await.unwrap());
    }
}
