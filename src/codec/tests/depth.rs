use std::fmt::Debug;
use std::thread;

use serde::de::DeserializeOwned;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{BOTH, Category, Expr, Flat, Loose};
use crate::codec::{Codec, DecodeErrorKind, EncodeErrorKind, MAX_DEPTH};

/// The smallest stack that the library promises to do with.
const SMALL_STACK: usize = 256 * 1024;

fn on_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(SMALL_STACK).spawn(test);
    thread
        .expect("threads can be spawned")
        .join()
        .expect("the test passes");
}

/// So many levels of what `open` and `close` make, around `core`.
fn nested(levels: usize, open: &[u8], core: &[u8], close: &[u8]) -> Vec<u8> {
    let mut bytes = open.repeat(levels);
    bytes.extend_from_slice(core);
    bytes.extend(close.repeat(levels));
    bytes
}

fn decode_kind<T: DeserializeOwned + Debug>(codec: Codec, bytes: &[u8]) -> Option<DecodeErrorKind> {
    codec.decode::<T>(bytes).err().map(|error| error.kind())
}

#[test]
fn sixty_four_levels_are_read_and_sixty_five_are_not() {
    on_small_stack(|| {
        type Shape = (Codec, &'static [u8], &'static [u8], &'static [u8]);
        let shapes: [Shape; 8] = [
            (Codec::MessagePack, b"\x91", b"\x01", b""),
            (Codec::MessagePack, b"\x81\xa1k", b"\x01", b""),
            (Codec::MessagePack, b"\xdc\x00\x01", b"\xc0", b""),
            (Codec::MessagePack, b"\xdd\x00\x00\x00\x01", b"\xa1x", b""),
            (Codec::MessagePack, b"\xde\x00\x01\xa1k", b"\xc2", b""),
            (Codec::MessagePack, b"\xdf\x00\x00\x00\x01\xa1k", b"\xff", b""),
            (Codec::Json, b"[", b"1", b"]"),
            (Codec::Json, b"{\"k\":", b"1", b"}"),
        ];
        for (codec, open, core, close) in shapes {
            let bytes = nested(MAX_DEPTH, open, core, close);
            assert_eq!(decode_kind::<Value>(codec, &bytes), None, "{codec:?} {open:x?}");
            let bytes = nested(MAX_DEPTH + 1, open, core, close);
            let error = codec.decode::<Value>(&bytes).expect_err("one level too many");
            assert_eq!(error.kind(), DecodeErrorKind::TooDeep, "{codec:?} {open:x?}");
            assert_eq!(error.offset(), Some(MAX_DEPTH * open.len()));
        }
    });
}

#[test]
fn empty_levels_count() {
    for (codec, open, close, cores) in [
        (
            Codec::MessagePack,
            &b"\x91"[..],
            &b""[..],
            [&b"\x90"[..], b"\x80"],
        ),
        (Codec::Json, b"[", b"]", [b"[]", b"{}"]),
    ] {
        for core in cores {
            let bytes = nested(MAX_DEPTH - 1, open, core, close);
            assert_eq!(decode_kind::<Value>(codec, &bytes), None);
            let bytes = nested(MAX_DEPTH, open, core, close);
            assert_eq!(
                decode_kind::<Value>(codec, &bytes),
                Some(DecodeErrorKind::TooDeep)
            );
        }
    }
}

#[test]
fn a_bomb_of_a_million_levels_costs_no_stack() {
    on_small_stack(|| {
        for (codec, open) in [
            (Codec::MessagePack, &b"\x91"[..]),
            (Codec::MessagePack, b"\x81\xa4Not1"),
            (Codec::MessagePack, b"\x81\xa1k"),
            (Codec::Json, b"["),
            (Codec::Json, b"{\"k\":"),
            (Codec::Json, b"{\"Not\":"),
        ] {
            let bytes = open.repeat(1_000_000);
            let expected = Some(DecodeErrorKind::TooDeep);
            assert_eq!(decode_kind::<Value>(codec, &bytes), expected);
            assert_eq!(decode_kind::<Expr>(codec, &bytes), expected);
            assert_eq!(decode_kind::<Loose>(codec, &bytes), expected);
            assert_eq!(decode_kind::<serde::de::IgnoredAny>(codec, &bytes), expected);
        }
    });
}

#[test]
fn siblings_and_strings_are_no_levels() {
    let many: Vec<Vec<u8>> = vec![vec![1]; 1000];
    // More brackets than levels, so that the walk itself is asked.
    let text = "[[{{\\\"".repeat(100);
    let tricky: Vec<String> = vec![
        text.clone(),
        format!("\"{text}"),
        format!("{text}\\"),
        "]]".into(),
    ];
    for codec in BOTH {
        let bytes = codec.encode(&many).expect("two levels");
        assert_eq!(codec.decode::<Vec<Vec<u8>>>(&bytes).expect("two levels"), many);
        let bytes = codec.encode(&tricky).expect("one level");
        assert_eq!(codec.decode::<Vec<String>>(&bytes).expect("one level"), tricky);
    }
    let escaped = format!(r#"["\u005b\\\"{}\\"{}"#, "[".repeat(100), ",[]".repeat(100)) + "]";
    assert!(Codec::Json.decode::<Value>(escaped.as_bytes()).is_ok());
}

/// `levels` arrays or maps in each other, made while they are written.
struct Nest {
    levels: usize,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Seq,
    Map,
    UnknownSeq,
    UnknownMap,
    Variant,
}

impl Serialize for Nest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(levels) = self.levels.checked_sub(1) else {
            return serializer.serialize_u8(1);
        };
        let inner = Nest {
            levels,
            kind: self.kind,
        };
        match self.kind {
            Kind::Seq | Kind::UnknownSeq => {
                let len = matches!(self.kind, Kind::Seq).then_some(1);
                let mut seq = serializer.serialize_seq(len)?;
                seq.serialize_element(&inner)?;
                seq.end()
            }
            Kind::Map | Kind::UnknownMap => {
                let len = matches!(self.kind, Kind::Map).then_some(1);
                let mut map = serializer.serialize_map(len)?;
                map.serialize_entry("k", &inner)?;
                map.end()
            }
            Kind::Variant => serializer.serialize_newtype_variant("Nest", 0, "k", &inner),
        }
    }
}

#[test]
fn what_is_written_nests_no_deeper_than_what_is_read() {
    on_small_stack(|| {
        for codec in BOTH {
            for kind in [
                Kind::Seq,
                Kind::Map,
                Kind::Variant,
                Kind::UnknownSeq,
                Kind::UnknownMap,
            ] {
                let levels = MAX_DEPTH;
                let bytes = codec.encode(&Nest { levels, kind }).expect("64 levels");
                assert_eq!(decode_kind::<Value>(codec, &bytes), None);
                let levels = MAX_DEPTH + 1;
                let error = codec.encode(&Nest { levels, kind }).expect_err("65 levels");
                assert_eq!(error.kind(), EncodeErrorKind::TooDeep);
            }
        }
    });
}

#[test]
fn the_serializer_is_stopped_at_the_level_too_many() {
    on_small_stack(|| {
        for kind in [
            Kind::Seq,
            Kind::Map,
            Kind::Variant,
            Kind::UnknownSeq,
            Kind::UnknownMap,
        ] {
            for codec in BOTH {
                let levels = 1_000_000;
                let error = codec
                    .encode(&Nest { levels, kind })
                    .expect_err("a million levels");
                assert_eq!(error.kind(), EncodeErrorKind::TooDeep);
            }
        }
    });
}

#[test]
fn a_serialize_that_hides_errors_does_not_hide_the_depth() {
    struct Deaf;
    impl Serialize for Deaf {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(Some(1))?;
            let levels = MAX_DEPTH;
            let _ = seq.serialize_element(&Nest {
                levels,
                kind: Kind::Seq,
            });
            seq.end()
        }
    }
    for codec in BOTH {
        let error = codec.encode(&Deaf).expect_err("65 levels");
        assert_eq!(error.kind(), EncodeErrorKind::TooDeep, "{codec:?}");
    }
}

/// Writes and reads `model`, which nests exactly 64 levels, with little stack.
fn assert_deepest<T>(model: T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Send + 'static,
{
    on_small_stack(move || {
        for codec in BOTH {
            let bytes = codec.encode(&model).expect("64 levels");
            assert!(codec.decode::<T>(&bytes).expect("64 levels") == model);
            let error = codec.encode(&[&model]).expect_err("65 levels");
            assert_eq!(error.kind(), EncodeErrorKind::TooDeep);
        }
    });
}

fn category(levels: usize) -> Category {
    Category {
        id: 1,
        name: "tools".into(),
        tags: Vec::new(),
        score: Some(0.5),
        child: (levels > 2).then(|| Box::new(category(levels - 1))),
    }
}

#[test]
fn the_deepest_struct_fits_a_small_stack() {
    assert_deepest(category(MAX_DEPTH));
}

#[test]
fn the_deepest_enums_fit_a_small_stack() {
    let number = Expr::Number(1);
    let not = (1..MAX_DEPTH).fold(number.clone(), |expr, _| Expr::Not(Box::new(expr)));
    assert_deepest(not);
    let pair = |expr, _| Expr::Pair(Box::new(Expr::Nothing), Box::new(expr));
    let pairs = (1..MAX_DEPTH / 2).fold(number, pair);
    assert_deepest(Expr::Not(Box::new(pairs)));
    let call = |expr, _| Expr::Call {
        name: "f".into(),
        arguments: vec![expr],
    };
    let calls = (0..MAX_DEPTH / 3).fold(Expr::Nothing, call);
    assert_deepest(Expr::Not(Box::new(calls)));
}

#[test]
fn the_deepest_buffered_enum_fits_a_small_stack() {
    let level = |inner, level| match level % 2 {
        0 => Loose::List(vec![inner]),
        _ => Loose::Map([("k".to_owned(), inner)].into()),
    };
    assert_deepest((0..MAX_DEPTH).fold(Loose::Number(1), level));
}

#[test]
fn the_deepest_flattened_struct_fits_a_small_stack() {
    let flat = |rest| Flat { id: 1, rest };
    let level = |inner, _| flat([("k".to_owned(), inner)].into());
    assert_deepest((1..MAX_DEPTH).fold(flat([].into()), level));
}

#[test]
fn the_deepest_value_fits_a_small_stack() {
    let level = |inner, level| match level % 2 {
        0 => Value::from(vec![inner]),
        _ => Value::from_iter([("k".to_owned(), inner)]),
    };
    assert_deepest((0..MAX_DEPTH).fold(Value::from(1), level));
}

#[test]
fn the_deepest_tree_fits_a_small_stack() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Comment {
        id: u64,
        author: String,
        text: Option<String>,
        at: (i64, u32),
        replies: Vec<Comment>,
    }
    // A struct and its sequence are two levels, and the innermost struct has empty ones.
    let comment = |replies| Comment {
        id: 1,
        author: "Ada".into(),
        text: None,
        at: (1, 2),
        replies,
    };
    let level = |inner, _| comment(vec![inner]);
    assert_deepest((1..MAX_DEPTH / 2).fold(comment(Vec::new()), level));
}
