//! Keys and namespaces: what is refused, and how keys are told apart.

use super::*;

fn maker() -> KeyMaker {
    KeyMaker::new(10, false)
}

#[test]
fn keys_are_taken_as_they_are_and_measured_without_their_namespace() {
    let root = Namespace::default();
    let tenant = root.nested("tenant-1").unwrap();
    assert_eq!(maker().key(&root, "  a b \n").unwrap().as_str(), "  a b \n");
    assert_eq!(
        maker().key(&tenant, "0123456789").unwrap().as_str(),
        "tenant-1:0123456789"
    );
    assert!(matches!(
        maker().key(&root, " 0123456789"),
        Err(Error::KeyTooLong { len: 11, max: 10 })
    ));
}

#[test]
fn blank_keys_are_refused_wherever_a_key_is_named() {
    let (root, maker) = (Namespace::default(), KeyMaker::new(100, false));
    // U+200B and U+FEFF are no white space to Unicode.
    for (raw, is_key) in [
        ("", false),
        (" \t\r\n\u{b}\u{c}", false),
        ("\u{85}\u{a0}\u{1680}\u{2003}\u{2028}\u{3000}", false),
        ("\u{200b}", true),
        ("\u{feff}", true),
        (" \u{0}", true),
    ] {
        assert_eq!(maker.key(&root, raw).is_ok(), is_key, "{raw:?}");
        assert_eq!(maker.name(&root, raw).is_ok(), is_key, "{raw:?}");
        assert_eq!(maker.lock(&root, raw).is_ok(), is_key, "{raw:?}");
    }
}

#[test]
fn the_same_text_has_the_same_hash_in_one_store_and_another_in_the_next() {
    let root = Namespace::default();
    let one = maker();
    assert_eq!(one.key(&root, "a").unwrap(), one.key(&root, "a").unwrap());
    assert_ne!(one.key(&root, "a").unwrap(), one.key(&root, "a ").unwrap());
    assert_ne!(
        one.key(&root, "a").unwrap().hash(),
        maker().key(&root, "a").unwrap().hash()
    );
}

#[test]
fn go_trims_the_keys_of_values_alone() {
    let root = Namespace::default();
    let go = KeyMaker::new(10, true);
    assert_eq!(go.key(&root, " a\u{a0}").unwrap().as_str(), "a");
    assert_eq!(go.name(&root, " a ").unwrap().as_str(), " a ");
    assert_eq!(go.lock(&root, " a ").unwrap().as_str(), " a ");
    assert!(matches!(go.key(&root, " \t"), Err(Error::KeyRequired)));
}

/// Whatever a server answers to a scan.
#[test]
fn a_whole_key_has_a_name_only_if_a_call_can_reach_it() {
    let root = Namespace::default();
    let tenant = root.nested("t").unwrap();
    let (plain, go) = (maker(), KeyMaker::new(10, true));
    let of = |keys: &KeyMaker, whole: &str| {
        let names = [keys.name_of(&root, whole), keys.name_of(&tenant, whole)];
        names.map(|name| name.map(str::to_owned))
    };
    let some = |name: &str| Some(name.to_owned());
    for (whole, expected) in [
        ("t:a", [some("t:a"), some("a")]),
        ("t: a", [some("t: a"), some(" a")]),
        ("t:", [some("t:"), None]),
        ("t: ", [some("t: "), None]),
        ("t", [some("t"), None]),
        ("", [None, None]),
        ("\u{a0}", [None, None]),
        ("é", [some("é"), None]),
        ("t:0123456789", [None, some("0123456789")]),
        ("t:01234567890", [None, None]),
        ("t/n:a", [some("t/n:a"), None]),
    ] {
        assert_eq!(of(&plain, whole), expected, "{whole:?}");
    }
    let long = KeyMaker::new(100, false);
    assert_eq!(of(&long, "cachestore:x"), [None, None]);
    assert_eq!(
        of(&long, "t:cachestore:x"),
        [some("t:cachestore:x"), some("cachestore:x")]
    );
    assert_eq!(of(&go, "t: a"), [some("t: a"), None], "it would be trimmed");
    assert_eq!(of(&go, "t:a "), [None, None]);
}

#[test]
fn namespaces_nest_and_refuse_what_could_leave_them() {
    let root = Namespace::default();
    let inner = root.nested("a").unwrap().nested("B.9_-").unwrap();
    assert_eq!((inner.prefix(), inner.path()), ("a/B.9_-:", "a/B.9_-"));
    for bad in ["", "a:b", "a/b", "a b", "ä", "cachestore", &"x".repeat(65)] {
        assert!(
            matches!(root.nested(bad), Err(Error::InvalidNamespace { .. })),
            "{bad}"
        );
    }
    let mut deep = root;
    let refused = (0..100).any(|_| match deep.nested(&"x".repeat(64)) {
        Ok(next) => {
            deep = next;
            false
        }
        Err(_) => true,
    });
    assert!(refused, "a path has an end");
}

#[test]
fn reserved_keys_are_refused_at_the_root_only() {
    let root = Namespace::default();
    let long = KeyMaker::new(100, false);
    for refused in [
        long.key(&root, "cachestore:x"),
        long.name(&root, "cachestore:x"),
        KeyMaker::new(100, true).key(&root, " cachestore:x"),
    ] {
        assert!(matches!(refused, Err(Error::KeyReserved)));
    }
    assert!(long.key(&root, " cachestore:x").is_ok());
    assert!(long.lock(&root, "cachestore:x").is_ok());
    assert!(long.key(&root, "cachestorex").is_ok());
    assert!(long.key(&root.nested("a").unwrap(), "cachestore:x").is_ok());
}
