//! The hash index: from a key's hash to slots, in segments that grow one at a time.

use hashbrown::HashTable;

use super::slab::Slot;

const SEGMENT_BITS: u32 = 10;
/// A segment is made smaller when fewer than one in this many of its buckets is used.
const SPARSE: usize = 8;
/// Segments this small are not worth shrinking.
const SMALL: usize = 32;

/// Slots by hash: one hash table in 1,024 segments, so that growing at a million entries moves about
/// a thousand slots, not a million, while others wait.
///
/// The index knows no keys: the caller says which slot is meant, and what a slot's hash is.
#[derive(Debug)]
pub(crate) struct Index {
    segments: Box<[HashTable<Slot>]>,
}

fn segment(hash: u64) -> usize {
    // The table takes its bucket from the low bits and its tag from the top seven.
    (hash >> 40) as usize & ((1 << SEGMENT_BITS) - 1)
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            segments: (0..1 << SEGMENT_BITS).map(|_| HashTable::new()).collect(),
        }
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(Slot) -> bool) -> Option<Slot> {
        self.segments[segment(hash)]
            .find(hash, |slot| is_it(*slot))
            .copied()
    }

    /// Adds a slot that is not in the index.
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(Slot) -> u64) {
        self.segments[segment(hash)].insert_unique(hash, slot, |slot| hash_of(*slot));
    }

    pub(crate) fn remove(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(Slot) -> u64) {
        let table = &mut self.segments[segment(hash)];
        if let Ok(found) = table.find_entry(hash, |other| *other == slot) {
            found.remove();
            if table.capacity() > SMALL && table.len() < table.capacity() / SPARSE {
                table.shrink_to(table.len() * 2, |slot| hash_of(*slot));
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.segments.iter().map(HashTable::len).sum()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.segments.iter().map(HashTable::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scatter(slot: Slot) -> u64 {
        u64::from(slot)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(17)
    }

    #[test]
    fn finds_what_was_put_in_and_shrinks_when_it_goes() {
        let mut index = Index::new();
        for slot in 0..200_000 {
            index.insert(scatter(slot), slot, scatter);
        }
        assert!((0..200_000).all(|slot| index.find(scatter(slot), |s| s == slot) == Some(slot)));
        let full = index.capacity();
        for slot in 100..200_000 {
            index.remove(scatter(slot), slot, scatter);
        }
        assert_eq!(index.len(), 100);
        assert!(index.capacity() < full / 4, "{} of {full}", index.capacity());
        assert!((0..100).all(|slot| index.find(scatter(slot), |s| s == slot) == Some(slot)));
        assert_eq!(index.find(scatter(500), |s| s == 500), None);
    }
}
