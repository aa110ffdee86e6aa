//! Prehashed maps and sets: they do not hash their keys again.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys bring a hash that was made under the store's secret, or are numbers that strangers do not choose:
/// random tokens, and numbers that count up.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Prehashed>>;

/// A set of such keys.
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<Prehashed>>;

/// Keeps the hash that a key brings, multiplied so that numbers that count up differ in all bits.
#[derive(Debug, Default)]
pub(crate) struct Prehashed(u64);

impl Hasher for Prehashed {
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
