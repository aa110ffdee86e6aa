//! Keys and namespaces: checked once, hashed once.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use compact_str::CompactString;

use crate::error::{Error, Result};

/// The longest key that any setting allows, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 65_535;
/// The longest name of one namespace, in bytes.
const MAX_NAMESPACE_BYTES: usize = 64;
/// The longest path of nested namespaces, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// What the library keeps beside values begins so.
pub(crate) const RESERVED_PREFIX: &str = "cachestore:";
/// The one namespace whose keys would begin with [`RESERVED_PREFIX`].
const RESERVED_NAMESPACE: &str = "cachestore";

/// A key as the engine knows it: checked, with its namespace in front, and hashed with the store's own
/// secret so that hostile keys cannot be made to collide.
///
/// Up to 24 bytes are kept inline: most keys cost no allocation on their way through the queue.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    hash: u64,
    text: CompactString,
}

impl Key {
    /// A key whose hash a test chooses.
    #[cfg(test)]
    pub(crate) fn with_hash(text: &str, hash: u64) -> Self {
        let text = CompactString::new(text);
        Self { hash, text }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn text(&self) -> &CompactString {
        &self.text
    }

    /// Bytes that the key holds on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.text.is_heap_allocated() {
            self.text.capacity()
        } else {
            0
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Makes [`Key`]s for one store: its hash secret and its limit.
///
/// Keys are taken as they are: `"k"` and `"k "` are two keys. A key of white space alone (as Unicode
/// defines it) is refused.
///
/// The hash is SipHash-1-3 under 128 random bits (Aumasson and Bernstein, *SipHash: a fast
/// short-input PRF*, INDOCRYPT 2012), as the standard library provides it.
#[derive(Clone, Debug)]
pub(crate) struct KeyMaker {
    secret: RandomState,
    max_bytes: usize,
    trims_values: bool,
}

impl KeyMaker {
    /// `trims_values` is on for stores that share their keys with go-cachestore. It trims the keys of
    /// values, and neither dependency names nor lock keys.
    pub(crate) fn new(max_bytes: usize, trims_values: bool) -> Self {
        Self {
            secret: RandomState::new(),
            max_bytes,
            trims_values,
        }
    }

    /// A value's key.
    pub(crate) fn key(&self, namespace: &Namespace, raw: &str) -> Result<Key> {
        self.unreserved(namespace, if self.trims_values { raw.trim() } else { raw })
    }

    /// A dependency's name: a key too.
    pub(crate) fn name(&self, namespace: &Namespace, raw: &str) -> Result<Key> {
        self.unreserved(namespace, raw)
    }

    /// A lock's key. None is reserved, for locks have a place of their own.
    pub(crate) fn lock(&self, namespace: &Namespace, raw: &str) -> Result<Key> {
        self.check(raw)?;
        Ok(self.make(namespace, raw))
    }

    /// The name by which a value's whole key is reached in this namespace. `None` if no call can name it: another
    /// program wrote a key that is blank, too long or reserved, or that is not in this namespace.
    pub(crate) fn name_of<'k>(&self, namespace: &Namespace, whole: &'k str) -> Option<&'k str> {
        let name = whole.strip_prefix(namespace.prefix())?;
        let is_named_so = !self.trims_values || name.trim() == name;
        (is_named_so && self.refusal(namespace, name).is_none()).then_some(name)
    }

    fn unreserved(&self, namespace: &Namespace, key: &str) -> Result<Key> {
        match self.refusal(namespace, key) {
            Some(error) => Err(error),
            None => Ok(self.make(namespace, key)),
        }
    }

    /// Why this is no key of a value or name of a dependency.
    fn refusal(&self, namespace: &Namespace, key: &str) -> Option<Error> {
        let is_reserved = || namespace.prefix().is_empty() && key.starts_with(RESERVED_PREFIX);
        // A key that is too long is refused for its length first.
        let refused = self.check(key).err();
        refused.or_else(|| is_reserved().then_some(Error::KeyReserved))
    }

    fn check(&self, key: &str) -> Result<()> {
        if is_blank(key) {
            return Err(Error::KeyRequired);
        }
        if key.len() > self.max_bytes {
            return Err(Error::KeyTooLong {
                len: key.len(),
                max: self.max_bytes,
            });
        }
        Ok(())
    }

    fn make(&self, namespace: &Namespace, key: &str) -> Key {
        let prefix = namespace.prefix();
        let text = if prefix.is_empty() {
            CompactString::new(key)
        } else {
            let mut text = CompactString::with_capacity(prefix.len() + key.len());
            text.push_str(prefix);
            text.push_str(key);
            text
        };
        // One whole text is hashed: there is nothing that its length must keep it apart from.
        let mut hasher = self.secret.build_hasher();
        hasher.write(text.as_bytes());
        Key {
            hash: hasher.finish(),
            text,
        }
    }
}

/// Whether a key is empty or made of white space alone. Most keys are told by their first byte.
fn is_blank(key: &str) -> bool {
    !key.bytes().next().is_some_and(|first| first.is_ascii_graphic()) && key.trim_start().is_empty()
}

/// Where a handle's keys live: `""` for the root, else `path:`, whose path cannot contain a colon.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Namespace {
    prefix: Option<Arc<str>>,
}

impl Namespace {
    /// The namespace `name` inside this one.
    pub(crate) fn nested(&self, name: &str) -> Result<Self> {
        let refuse = |reason: &'static str| Err(Error::InvalidNamespace { reason });
        if name.is_empty() || name.len() > MAX_NAMESPACE_BYTES {
            return refuse("a name has 1 to 64 characters");
        }
        if !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        {
            return refuse("a name is made of A-Z a-z 0-9 . _ -");
        }
        if name == RESERVED_NAMESPACE {
            return refuse("the name `cachestore` is the library's own");
        }
        let prefix = match self.path() {
            "" => format!("{name}:"),
            path => format!("{path}/{name}:"),
        };
        if prefix.len() > MAX_PATH_BYTES {
            return refuse("nested names have at most 1023 characters together");
        }
        Ok(Self {
            prefix: Some(prefix.into()),
        })
    }

    /// What stands before each key: empty for the root.
    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("")
    }

    /// The names, joined by `/`: empty for the root.
    pub(crate) fn path(&self) -> &str {
        self.prefix().trim_end_matches(':')
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.path(), f)
    }
}

#[cfg(test)]
mod tests {
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
}
