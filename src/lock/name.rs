//! What a lock is called inside the scheduler.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use crate::key::Key;

/// A lock's key, cheap to clone. Its hash was made with the key, under the store's secret.
#[derive(Clone)]
pub(crate) struct Name(Arc<Key>);

/// A map by names, or by numbers that the scheduler's own handles gave out.
pub(super) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// Spreads what is hashed already, or counts up.
#[derive(Debug, Default)]
pub(super) struct Spread(u64);

impl Name {
    pub(super) fn key(&self) -> &Key {
        &self.0
    }
}

/// A name of this text, the same each time.
#[cfg(test)]
pub(super) fn named(text: &str) -> Name {
    use crate::key::{KeyMaker, Namespace};

    thread_local!(static MAKER: KeyMaker = KeyMaker::new(100, true));
    let key = MAKER.with(|maker| maker.lock(&Namespace::default(), text));
    Name::from(key.unwrap())
}

impl From<Key> for Name {
    fn from(key: Key) -> Self {
        Self(Arc::new(key))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Hash::hash(&*self.0, state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    /// By the golden ratio: the bits that a map takes from both ends differ from number to number.
    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
