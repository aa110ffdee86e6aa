//! Maps and sets of what need not be hashed again.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map by keys, which were hashed under the store's secret when they were made, or by what strangers do not
/// choose: random tokens, and numbers that count up.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// A set of such.
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<Spread>>;

/// Spreads what is hashed already, or counts up.
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

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
