//! Which keys have failed to load.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::key::Key;

const WORDS: usize = 64;

/// A bit for each key whose load has failed, by the hash of the key. Keys share bits, so a set bit may be that of another
/// key. Bits are never taken back.
#[derive(Debug)]
pub(in crate::load) struct FailedKeys([AtomicU64; WORDS]);

impl Default for FailedKeys {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl FailedKeys {
    /// Takes note of a key whose load has failed.
    pub(in crate::load) fn add(&self, key: &Key) {
        let (word, bit) = self.bit(key);
        word.fetch_or(bit, Ordering::Relaxed);
    }

    /// Whether a load of the key may have failed, so that the coordinator is to be told of a success.
    pub(in crate::load) fn may_have(&self, key: &Key) -> bool {
        let (word, bit) = self.bit(key);
        word.load(Ordering::Relaxed) & bit != 0
    }

    fn bit(&self, key: &Key) -> (&AtomicU64, u64) {
        let hash = key.hash() as usize;
        (&self.0[hash % WORDS], 1 << (hash / WORDS % 64))
    }
}
