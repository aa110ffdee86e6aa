//! Models from strangers' bytes, row 15 of the bars: bombs of depth and length end in `Decode`, on the
//! stack of a small thread, and no error says what was stored.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use cachestore::{Codec, Config, DecodeErrorKind, EncodeErrorKind, Error, Store};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use support::{open, told};

const CODECS: [Codec; 2] = [Codec::MessagePack, Codec::Json];

/// Runs `test` over a store of each codec, all of it on a thread with a stack of 256 KiB.
fn on_a_small_stack(test: impl AsyncFn(Store, Codec) + Send + 'static) {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        for codec in CODECS {
            runtime.block_on(async { test(open(Config::memory().codec(codec)).await, codec).await });
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(run)
        .unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A recursive model as applications have them: a level for each child.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    name: String,
    child: Option<Box<Node>>,
}

fn node(levels: usize) -> Node {
    let leaf = Node {
        name: "leaf".into(),
        child: None,
    };
    (1..levels).fold(leaf, |child, _| Node {
        name: "node".into(),
        child: Some(Box::new(child)),
    })
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct List(Vec<List>);

fn list(levels: usize) -> List {
    (1..levels).fold(List(Vec::new()), |inner, _| List(vec![inner]))
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Map(BTreeMap<String, Map>);

fn map(levels: usize) -> Map {
    (1..levels).fold(Map(BTreeMap::new()), |inner, _| {
        Map([("k".to_owned(), inner)].into())
    })
}

/// A type for which serde has to buffer what it reads.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Text(String),
    List(Vec<Loose>),
    Map(BTreeMap<String, Loose>),
}

/// A type that reads anything and keeps nothing.
#[derive(Debug, Deserialize)]
struct Ignored {}

/// So many levels of arrays, and of maps, in the bytes of a codec; nothing but openings if `open`.
fn nested_bytes(codec: Codec, levels: usize, open: bool) -> [Vec<u8>; 2] {
    match codec {
        Codec::Json => {
            let close = |text: &str| {
                if open {
                    String::new()
                } else {
                    text.repeat(levels - 1)
                }
            };
            let arrays = "[".repeat(levels - 1) + "[]" + &close("]");
            let maps = "{\"k\":".repeat(levels - 1) + "{}" + &close("}");
            [arrays.into(), maps.into()]
        }
        _ => {
            let end: &[u8] = if open { b"" } else { b"\x90" };
            let arrays = [&b"\x91".repeat(levels - 1)[..], end].concat();
            let end: &[u8] = if open { b"" } else { b"\x80" };
            let maps = [&b"\x81\xa1k".repeat(levels - 1)[..], end].concat();
            [arrays, maps]
        }
    }
}

/// Reads the value as models of every shape: each must be refused.
async fn refusals(store: &Store, key: &str) -> Vec<Error> {
    async fn refusal<T: DeserializeOwned + std::fmt::Debug>(store: &Store, key: &str) -> Error {
        match store.get_model::<T>(key).await {
            Err(error) => error,
            Ok(model) => panic!("it was read as {model:?}"),
        }
    }
    let refusals = vec![
        refusal::<serde_json::Value>(store, key).await,
        refusal::<Loose>(store, key).await,
        refusal::<List>(store, key).await,
        refusal::<Map>(store, key).await,
        refusal::<Node>(store, key).await,
        refusal::<Ignored>(store, key).await,
    ];
    for error in &refusals {
        assert!(matches!(error, Error::Decode(_)), "{error:?}");
    }
    refusals
}

fn is_too_deep(error: &Error) -> bool {
    matches!(error, Error::Decode(cause) if cause.kind() == DecodeErrorKind::TooDeep)
}

#[test]
fn models_of_64_levels_are_written_and_read() {
    on_a_small_stack(async |store, _| {
        store.set_model("node", &node(64)).await.unwrap();
        store.set_model("list", &list(64)).await.unwrap();
        store.set_model("map", &map(64)).await.unwrap();
        assert_eq!(store.get_model("node").await.unwrap(), Some(node(64)));
        assert_eq!(store.get_model("list").await.unwrap(), Some(list(64)));
        assert_eq!(store.get_model("map").await.unwrap(), Some(map(64)));
        assert!(store.get_model::<Loose>("map").await.unwrap().is_some());
        assert!(
            store
                .get_model::<serde_json::Value>("node")
                .await
                .unwrap()
                .is_some()
        );
    });
}

#[test]
fn the_65th_level_is_not_written() {
    on_a_small_stack(async |store, codec| {
        let outcomes = [
            store.set_model("k", &node(65)).await,
            store.set_model("k", &list(65)).await,
            store.set_model("k", &map(65)).await,
        ];
        for outcome in outcomes {
            let Err(Error::Encode(error)) = outcome else {
                panic!("{codec:?}: {outcome:?}")
            };
            assert_eq!(error.kind(), EncodeErrorKind::TooDeep, "{codec:?}");
        }
        assert!(!store.exists("k").await.unwrap());
    });
}

/// A list with as many links as memory has room for is stopped at the 65th.
#[test]
fn a_model_without_end_is_not_followed() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq([Endless])
        }
    }
    on_a_small_stack(async |store, codec| {
        let outcome = store.set_model("k", &Endless).await;
        assert!(matches!(outcome, Err(Error::Encode(_))), "{codec:?}: {outcome:?}");
    });
}

#[test]
fn bytes_of_64_levels_are_read_and_of_65_refused() {
    on_a_small_stack(async |store, codec| {
        for bytes in nested_bytes(codec, 64, false) {
            store.set("k", bytes).await.unwrap();
            assert!(
                store.get_model::<serde_json::Value>("k").await.unwrap().is_some(),
                "{codec:?}"
            );
            assert!(
                store.get_model::<Loose>("k").await.unwrap().is_some(),
                "{codec:?}"
            );
        }
        for bytes in nested_bytes(codec, 65, false) {
            store.set("k", bytes).await.unwrap();
            assert!(refusals(&store, "k").await.iter().all(is_too_deep), "{codec:?}");
        }
    });
}

#[test]
fn bombs_of_depth_are_refused() {
    on_a_small_stack(async |store, codec| {
        for levels in [66, 100, 1_024, 1_000_000] {
            for open in [false, true] {
                for bytes in nested_bytes(codec, levels, open) {
                    store.set("k", bytes).await.unwrap();
                    assert!(
                        refusals(&store, "k").await.iter().all(is_too_deep),
                        "{codec:?} {levels}"
                    );
                }
            }
        }
    });
}

/// Depth that stands where a model has no field for it, or beside what it reads.
#[test]
fn bombs_in_fields_that_nobody_reads_are_refused() {
    on_a_small_stack(async |store, codec| {
        for bomb in nested_bytes(codec, 100_000, false) {
            let bytes = match codec {
                Codec::Json => [&b"{\"unknown\":"[..], &bomb, b",\"name\":\"n\",\"child\":null}"].concat(),
                _ => [&b"\x83\xa7unknown"[..], &bomb, b"\xa4name\xa1n\xa5child\xc0"].concat(),
            };
            store.set("k", bytes).await.unwrap();
            assert!(refusals(&store, "k").await.iter().all(is_too_deep), "{codec:?}");
        }
    });
}

/// Lengths that are claimed and not there, among them those that would fill any memory.
#[test]
fn bombs_of_length_are_refused() {
    let bombs: [&[u8]; 14] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff\x01\x02",
        b"\xdf\xff\xff\xff\xff",
        b"\xdf\x7f\xff\xff\xff\xa1k\x01",
        b"\xdc\xff\xff",
        b"\xde\xff\xff\xa1k",
        b"\xdb\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xfftext",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xd9\xff",
        b"\x9f",
        b"\x8f\xa4name\xdb\xff\xff\xff\xff",
        b"\x91\xdd\xff\xff\xff\xff",
    ];
    on_a_small_stack(async move |store, codec| {
        for bomb in bombs {
            store.set("k", bomb).await.unwrap();
            refusals(&store, "k").await;
            for error in [
                store.get_model::<String>("k").await.unwrap_err(),
                store.get_model::<Vec<u8>>("k").await.unwrap_err(),
                store.get_model::<Vec<[u64; 32]>>("k").await.unwrap_err(),
                store.get_model::<BTreeMap<String, u8>>("k").await.unwrap_err(),
            ] {
                assert!(
                    matches!(error, Error::Decode(_)),
                    "{codec:?} {bomb:x?}: {error:?}"
                );
            }
        }
    });
}

#[test]
fn what_is_no_such_format_at_all_is_refused() {
    on_a_small_stack(async |store, codec| {
        let mut others: Vec<Vec<u8>> = vec![Vec::new(), vec![0xc1], b"\xc1model".to_vec(), vec![0xff; 3]];
        match codec {
            Codec::Json => others.extend(
                [
                    &b"{"[..],
                    b"}",
                    b"[1,]",
                    b"{\"a\"}",
                    b"nul",
                    b"\"open",
                    b"\"\\u12\"",
                    b"\"\xff\"",
                    b"01",
                    b"1e",
                    b"-",
                    b"//",
                    b"\xef\xbb\xbf{}",
                    b"{} {}",
                    b"[] ]",
                    b"\0",
                    b"[1] x",
                    b"NaN",
                ]
                .map(<[u8]>::to_vec),
            ),
            _ => others
                .extend([&b"\x90\x00"[..], b"\x80\x80", b"\x91", b"\x91\xc1", b"\xcb\0"].map(<[u8]>::to_vec)),
        }
        for bytes in others {
            store.set("k", &bytes).await.unwrap();
            refusals(&store, "k").await;
            assert_eq!(store.get("k").await.unwrap().unwrap(), bytes, "it stays as it is");
        }
    });
}

/// Every prefix of a model, every single byte of it changed: no panic, and what is refused is `Decode`.
#[test]
fn damaged_models_are_read_or_refused() {
    on_a_small_stack(async |store, codec| {
        store.set_model("k", &node(4)).await.unwrap();
        let bytes = store.get("k").await.unwrap().unwrap().to_vec();
        for len in 0..bytes.len() {
            store.set("k", &bytes[..len]).await.unwrap();
            refusals(&store, "k").await;
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                store.set("k", damaged).await.unwrap();
                let outcome = store.get_model::<Node>("k").await;
                assert!(
                    matches!(outcome, Ok(_) | Err(Error::Decode(_))),
                    "{codec:?} {at}: {outcome:?}"
                );
            }
        }
    });
}

/// Numbers that no type holds, and texts that take long to read if read badly.
#[test]
fn bombs_of_digits_are_read_or_refused() {
    on_a_small_stack(async |store, codec| {
        if codec != Codec::Json {
            return;
        }
        let digits = "9".repeat(200_000);
        for text in [
            digits.clone(),
            format!("-{digits}"),
            format!("1e{digits}"),
            format!("0.{digits}e-{digits}"),
        ] {
            store.set("k", &text).await.unwrap();
            let outcome = store.get_model::<u64>("k").await;
            assert!(matches!(outcome, Err(Error::Decode(_))), "{outcome:?}");
            let outcome = store.get_model::<f64>("k").await;
            assert!(matches!(outcome, Ok(_) | Err(Error::Decode(_))), "{outcome:?}");
        }
    });
}

/// Where a decode error lies is told; what lies there is not, in the error or in the log.
#[test]
fn nothing_of_a_value_is_told() {
    const SECRET: &str = "hunter2";

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[serde(rename = "id")]
        _id: u8,
        #[serde(rename = "kind", default)]
        _kind: Option<Kind>,
    }
    #[derive(Debug, Deserialize)]
    enum Kind {
        Known,
    }
    #[derive(Debug)]
    struct Talkative;
    impl<'de> Deserialize<'de> for Talkative {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = serde_json::Value::deserialize(deserializer)?;
            Err(serde::de::Error::custom(format!("I will not have {text}")))
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    for codec in CODECS {
        runtime.block_on(async {
            let store = open(Config::memory().codec(codec)).await;
            store.set("raw", SECRET).await.unwrap();
            store.set("number", "271828182845").await.unwrap();
            store.set_model("text", SECRET).await.unwrap();
            store
                .set_model("wrong type", &BTreeMap::from([("id", SECRET)]))
                .await
                .unwrap();
            store
                .set_model("unknown field", &BTreeMap::from([(SECRET, 1)]))
                .await
                .unwrap();
            store
                .set_model("unknown variant", &BTreeMap::from([("kind", SECRET)]))
                .await
                .unwrap();
            store
                .set_model("out of range", &BTreeMap::from([("id", 271_828_182_845_u64)]))
                .await
                .unwrap();
            store.set_model("list", &[SECRET]).await.unwrap();
            let keys = [
                "raw",
                "number",
                "text",
                "wrong type",
                "unknown field",
                "unknown variant",
                "out of range",
                "list",
            ];
            for key in keys {
                for error in [
                    store.get_model::<Strict>(key).await.unwrap_err(),
                    store.get_model::<Talkative>(key).await.unwrap_err(),
                    store.get_model::<Kind>(key).await.unwrap_err(),
                    store.get_models::<Strict>([key]).await.unwrap_err(),
                    store.get_model::<(u8, u8)>(key).await.unwrap_err(),
                ] {
                    assert!(matches!(error, Error::Decode(_)), "{codec:?} {key}: {error:?}");
                    let told = told(&error);
                    assert!(
                        !told.contains(SECRET) && !told.contains("271828182845"),
                        "{codec:?} {key}: {told}"
                    );
                }
            }
            store.close().await.unwrap();
        });
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains(SECRET), "{log}");
}

/// In a store that Go reads as well, models are JSON whatever the codec.
#[tokio::test]
async fn go_compatible_models_are_json() {
    for codec in CODECS {
        let store = open(Config::memory().codec(codec).go_compatible()).await;
        store.set_model("k", &BTreeMap::from([("id", 7)])).await.unwrap();
        assert_eq!(store.get_string("k").await.unwrap().unwrap(), "{\"id\":7}");
    }
}
