//! The weigher: what entries cost in memory. Handles refuse too large writes by it, and the memory engine accounts by it.
//!
//! The figures follow the allocator that most programs have (glibc's malloc: 8 bytes of header,
//! blocks in steps of 16, at least 32) and are held against a counting allocator by
//! `tests/accounting.rs`.

use crate::error::{Error, Result};
use crate::key::Key;

/// How large a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The setting.
    pub(crate) max_value_bytes: usize,
    /// What the memory engine has room for in all.
    pub(crate) capacity_bytes: Option<usize>,
}

impl Limits {
    /// Whether a value of this size may be written.
    pub(crate) fn check(&self, key: &Key, len: usize, names: &[Key]) -> Result<()> {
        let fits = self
            .capacity_bytes
            .is_none_or(|capacity| at_most(key, len, names) <= capacity);
        if len <= self.max_value_bytes && fits {
            return Ok(());
        }
        let room = self
            .capacity_bytes
            .map_or(usize::MAX, |capacity| longest_value(key, names, capacity));
        let max = self.max_value_bytes.min(room);
        Err(Error::ValueTooLarge { len, max })
    }
}

/// One entry's slot in the slab, with its share of the hash index (a four-byte slot number and one
/// control byte a bucket, 7/16 to 7/8 of the buckets in use) and of the eviction policy.
pub(crate) const ENTRY: usize = 88;
/// One deadline in the expiry heap, whose vector is between half full and full.
pub(crate) const DEADLINE: usize = 20;
/// One edge from an entry to a name that it depends on.
pub(crate) const EDGE: usize = 24;
/// One name that entries depend on, with its share of the index of names.
pub(crate) const NAME: usize = 56;
/// One entry's seat and its place in the map of the near cache, which are between half full and full.
const NEAR_PLACE: usize = 24;
/// The shared part of an entry in the near cache: reference counts, key, value, deadline, use count, seat, and the place of
/// a model.
const NEAR_ENTRY: usize = 104;
/// One entry's place in an index by key, which is between half full and full: key, entry, connection.
const NEAR_INDEX: usize = 80;
/// The two reference counts before a value's bytes.
const COUNTS: usize = 16;

/// A heap block of `len` bytes.
pub(crate) const fn block(len: usize) -> usize {
    if len == 0 {
        return 0;
    }
    let block = (len + 8).next_multiple_of(16);
    if block < 32 { 32 } else { block }
}

/// What an entry holds beyond [`ENTRY`]: its key, if not inline, and its value.
pub(crate) fn payload(key: &Key, value_len: usize) -> usize {
    block(key.heap_bytes()) + block(COUNTS + value_len)
}

/// The bytes that an entry takes in the near cache, beside the entry itself. Both share the value.
pub(crate) fn near(key: &Key) -> usize {
    NEAR_PLACE + block(NEAR_ENTRY) + block(key.heap_bytes())
}

/// What an entry takes whose value the near cache alone holds, with a place in the engine's own index by key.
pub(crate) fn near_alone(key: &Key, value_len: usize) -> usize {
    near(key) + NEAR_INDEX + payload(key, value_len)
}

/// The most that an entry can add: with a deadline, and all names new.
fn at_most(key: &Key, value_len: usize, names: &[Key]) -> usize {
    let names: usize = names
        .iter()
        .map(|name| EDGE + NAME + block(name.heap_bytes()))
        .sum();
    ENTRY + DEADLINE + payload(key, value_len) + names
}

/// The longest value that can still be written, by [`at_most`]; 0 if not even an empty one can.
fn longest_value(key: &Key, names: &[Key], capacity: usize) -> usize {
    let beside = at_most(key, 0, names) - block(COUNTS);
    let room = capacity.saturating_sub(beside);
    (room / 16 * 16).saturating_sub(8 + COUNTS)
}
