//! A slab in chunks: slots do not move, growth copies nothing, and empty chunks are given back.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

/// A place in a slab.
pub(crate) type Slot = u32;

/// No slot: ends a list of them.
pub(crate) const NONE: Slot = Slot::MAX;

const CHUNK_BITS: u32 = 9;
const CHUNK: usize = 1 << CHUNK_BITS;

#[derive(Debug)]
enum Place<T> {
    Vacant { next: Slot },
    Occupied(T),
}

#[derive(Debug)]
struct Chunk<T> {
    /// Empty, or of [`CHUNK`] capacity; it grows to that length as places are first used.
    places: Vec<Place<T>>,
    /// The first vacant place among those used before.
    vacant: Slot,
    occupied: usize,
}

impl<T> Chunk<T> {
    fn new() -> Self {
        Self {
            places: Vec::new(),
            vacant: NONE,
            occupied: 0,
        }
    }
}

/// Items of one type at slots that stay theirs until they are removed.
///
/// New items go to the lowest chunk that has room, so that after a time of plenty the upper chunks
/// empty and are freed.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    roomy: BTreeSet<u32>,
    len: usize,
}

fn split(slot: Slot) -> (usize, usize) {
    ((slot >> CHUNK_BITS) as usize, slot as usize & (CHUNK - 1))
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            roomy: BTreeSet::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One past the highest slot that may be occupied: where a walk over all slots ends.
    pub(crate) fn end(&self) -> Slot {
        (self.chunks.len() << CHUNK_BITS) as Slot
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        let (chunk, place) = split(slot);
        match self.chunks.get(chunk)?.places.get(place)? {
            Place::Occupied(item) => Some(item),
            Place::Vacant { .. } => None,
        }
    }

    /// # Panics
    ///
    /// If all 2^32 - 1 slots are taken.
    pub(crate) fn insert(&mut self, item: T) -> Slot {
        let number = match self.roomy.first() {
            Some(&number) => number,
            None => {
                let number = self.chunks.len() as u32;
                assert!(
                    number < NONE >> CHUNK_BITS,
                    "a slab holds at most 2^32 - 512 items"
                );
                self.chunks.push(Chunk::new());
                self.roomy.insert(number);
                number
            }
        };
        let chunk = &mut self.chunks[number as usize];
        let place = if chunk.vacant == NONE {
            if chunk.places.is_empty() {
                chunk.places.reserve_exact(CHUNK);
            }
            chunk.places.push(Place::Occupied(item));
            chunk.places.len() as u32 - 1
        } else {
            let place = chunk.vacant;
            let was = std::mem::replace(&mut chunk.places[place as usize], Place::Occupied(item));
            let Place::Vacant { next } = was else {
                unreachable!("the vacant list holds vacant places")
            };
            chunk.vacant = next;
            place
        };
        chunk.occupied += 1;
        if chunk.occupied == CHUNK {
            self.roomy.remove(&number);
        }
        self.len += 1;
        (number << CHUNK_BITS) | place
    }

    /// # Panics
    ///
    /// If the slot is vacant.
    pub(crate) fn remove(&mut self, slot: Slot) -> T {
        let (number, place) = split(slot);
        let chunk = &mut self.chunks[number];
        let was = std::mem::replace(&mut chunk.places[place], Place::Vacant { next: chunk.vacant });
        let Place::Occupied(item) = was else {
            unreachable!("slot {slot} is vacant")
        };
        chunk.vacant = place as Slot;
        if chunk.occupied == CHUNK {
            self.roomy.insert(number as u32);
        }
        chunk.occupied -= 1;
        self.len -= 1;
        if chunk.occupied == 0 {
            self.release(number);
        }
        item
    }

    /// Gives back an empty chunk, unless it is the only one with room: a slab at the edge of a chunk
    /// must not allocate and free with every item.
    fn release(&mut self, number: usize) {
        if self.roomy.len() < 2 {
            return;
        }
        self.chunks[number] = Chunk::new();
        while self.chunks.last().is_some_and(|last| last.places.capacity() == 0) {
            self.chunks.pop();
            self.roomy.remove(&(self.chunks.len() as u32));
        }
    }
}

impl<T> Index<Slot> for Slab<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        let (chunk, place) = split(slot);
        match &self.chunks[chunk].places[place] {
            Place::Occupied(item) => item,
            Place::Vacant { .. } => unreachable!("slot {slot} is vacant"),
        }
    }
}

impl<T> IndexMut<Slot> for Slab<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        let (chunk, place) = split(slot);
        match &mut self.chunks[chunk].places[place] {
            Place::Occupied(item) => item,
            Place::Vacant { .. } => unreachable!("slot {slot} is vacant"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_and_vacant_ones_are_used_again() {
        let mut slab = Slab::new();
        let slots: Vec<Slot> = (0..2000).map(|n| slab.insert(n)).collect();
        for slot in &slots[500..600] {
            slab.remove(*slot);
        }
        assert_eq!(slab.get(slots[550]), None);
        assert_eq!(slab[slots[700]], 700);
        let end = slab.end();
        for n in 0..100 {
            slab.insert(n);
        }
        assert_eq!((slab.len(), slab.end()), (2000, end), "no new chunk was needed");
    }

    #[test]
    fn empty_chunks_are_given_back() {
        let mut slab = Slab::new();
        let slots: Vec<Slot> = (0..100_000).map(|n| slab.insert(n)).collect();
        for slot in &slots[10..] {
            slab.remove(*slot);
        }
        let held: usize = slab.chunks.iter().map(|chunk| chunk.places.capacity()).sum();
        assert!(held <= 2 * CHUNK, "{held} places for 10 items");
        assert!(slab.end() as usize <= 2 * CHUNK);
        assert_eq!(slots[..10].iter().map(|slot| slab[*slot]).sum::<i32>(), 45);
    }

    #[test]
    fn the_edge_of_a_chunk_is_crossed_without_allocating() {
        let mut slab = Slab::new();
        for n in 0..CHUNK {
            slab.insert(n);
        }
        let over = slab.insert(0);
        let before = slab.chunks[1].places.as_ptr();
        slab.remove(over);
        slab.insert(1);
        assert_eq!(slab.chunks[1].places.as_ptr(), before);
    }
}
