//! Keys: checked once, hashed once.

mod namespace;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use compact_str::CompactString;

#[cfg(feature = "redis")]
pub(crate) use self::namespace::is_plain;
pub(crate) use self::namespace::{Namespace, Within};
use crate::error::{Error, Result};

/// The longest key that any setting allows, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 65_535;
/// What the library keeps beside values begins so.
pub(crate) const RESERVED_PREFIX: &str = "cachestore:";

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

    /// The prefix of the namespace that the key was named in.
    #[cfg(feature = "redis")]
    pub(crate) fn namespace(&self, within: Within) -> &str {
        self.text.get(..within.bytes()).unwrap_or_default()
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
        let is_reserved = || namespace.is_root() && key.starts_with(RESERVED_PREFIX);
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
