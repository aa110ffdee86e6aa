//! What the eviction policy remembers of entries that are no longer there.
//!
//! A count-min sketch of two-bit counters, after Einziger, Friedman and Manes, "TinyLFU: A Highly
//! Efficient Cache Admission Policy" (ACM Transactions on Storage 13(4), 2017), with three changes:
//!
//! * Entries in the cache carry their own count, so a hit never comes here. The sketch is read
//!   when a key is written anew and written when an entry leaves.
//! * All counters of a key lie in one cache line, so either costs one cache miss. The line also
//!   holds the epoch of its last use and is aged when it is next touched. There is no sweep over
//!   the whole sketch that would stall the one owner of a large cache.
//! * It grows a line at a time by linear hashing (Litwin, VLDB 1980). A line splits by being
//!   copied: each half then holds too much, never too little, and ageing clears the excess.

/// Counters saturate here: two bits each.
pub(crate) const MAX_FREQUENCY: u8 = 3;

/// Counter words of a line. With the epoch they make the 64 bytes of a cache line.
const WORDS: usize = 15;
const COUNTERS_PER_WORD: usize = 16;
/// The low bit of each of the two-bit counters of a word.
const LOW_BITS: u32 = 0x5555_5555;
/// Counters of one key.
const PROBES: usize = 4;

/// Lines allocated together. A chunk is small beside any cache that needs several of them, and
/// the list of chunks stays short enough to move in microseconds when it grows.
const CHUNK_LINES: usize = 32;
/// Live entries for one line: eight bytes and thirty counters an entry.
const ENTRIES_PER_LINE: usize = 8;
/// Small caches get more counters an entry, since a few keys crowd a single line easily. With eight lines, caches
/// of under 512 entries take many new keys for keys that they remember.
const MIN_LINES: usize = 64;

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line {
    epoch: u32,
    counters: [u32; WORDS],
}

impl Line {
    const EMPTY: Self = Self {
        epoch: 0,
        counters: [0; WORDS],
    };

    /// Halves the counters once for every epoch since the line was last touched.
    fn age(&mut self, epoch: u32) {
        match epoch.wrapping_sub(self.epoch) {
            0 => return,
            1 => {
                for word in &mut self.counters {
                    *word = (*word >> 1) & LOW_BITS;
                }
            }
            // Two halvings empty a two-bit counter.
            _ => self.counters = [0; WORDS],
        }
        self.epoch = epoch;
    }
}

/// The word and the shift of each counter of a key, from the low half of its hash.
fn probes(hash: u64) -> [(usize, u32); PROBES] {
    (hash as u32).to_le_bytes().map(|byte| {
        // Scales 0..256 down to the counters there are.
        let counter = usize::from(byte) * (WORDS * COUNTERS_PER_WORD) / 256;
        let shift = (counter % COUNTERS_PER_WORD) as u32 * 2;
        (counter / COUNTERS_PER_WORD, shift)
    })
}

/// Use counts of departed keys, approximate and never too low except through ageing.
#[derive(Debug, Default)]
pub(crate) struct Sketch {
    #[expect(
        clippy::vec_box,
        reason = "growing must move pointers, not megabytes of lines"
    )]
    chunks: Vec<Box<[Line; CHUNK_LINES]>>,
    /// Lines in use, over all chunks.
    lines: usize,
}

impl Sketch {
    /// The remembered use count of a key, 0 if it is unknown.
    pub(crate) fn estimate(&mut self, hash: u64, epoch: u32) -> u8 {
        if self.lines == 0 {
            return 0;
        }
        let line = self.line_mut(self.line_of(hash));
        line.age(epoch);
        let counts = probes(hash).map(|(word, shift)| (line.counters[word] >> shift) as u8 & 3);
        counts.into_iter().fold(MAX_FREQUENCY, u8::min)
    }

    /// Remembers at least `frequency` for a key. `live` is the number of entries in the cache,
    /// which the sketch follows in size: by at most one line a call, so no call is a slow one.
    /// A sketch that is behind has yet more lines than keys to remember.
    pub(crate) fn raise(&mut self, hash: u64, frequency: u8, epoch: u32, live: usize) {
        let wanted = (live / ENTRIES_PER_LINE + 1).max(MIN_LINES);
        if self.lines < wanted {
            self.grow();
        } else if self.lines > wanted * 2 {
            self.shrink();
        }
        let line = self.line_mut(self.line_of(hash));
        line.age(epoch);
        let frequency = u32::from(frequency.min(MAX_FREQUENCY));
        for (word, shift) in probes(hash) {
            let word = &mut line.counters[word];
            if ((*word >> shift) & 3) < frequency {
                *word = (*word & !(3 << shift)) | (frequency << shift);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.chunks.len() * size_of::<[Line; CHUNK_LINES]>()
            + self.chunks.capacity() * size_of::<Box<[Line; CHUNK_LINES]>>()
    }

    /// The line of a key, by the high half of its hash. There must be a line.
    fn line_of(&self, hash: u64) -> usize {
        let bits = (hash >> 32) as usize;
        let mask = self.lines.next_power_of_two() - 1;
        let line = bits & mask;
        if line < self.lines {
            line
        } else {
            line & (mask >> 1)
        }
    }

    fn line_mut(&mut self, line: usize) -> &mut Line {
        &mut self.chunks[line / CHUNK_LINES][line % CHUNK_LINES]
    }

    fn grow(&mut self) {
        let new = self.lines;
        if new == self.chunks.len() * CHUNK_LINES {
            self.chunks.push(Box::new([Line::EMPTY; CHUNK_LINES]));
        }
        if new > 0 {
            // Clearing the highest bit gives the line whose keys the new one takes over in part.
            let parent = new & !(1 << new.ilog2());
            *self.line_mut(new) = *self.line_mut(parent);
        }
        self.lines += 1;
    }

    /// Forgets the last line; its keys fall back to the line it was split from.
    fn shrink(&mut self) {
        self.lines -= 1;
        // An unused chunk stays, so a size that goes up and down does not allocate each time.
        if self.lines + 2 * CHUNK_LINES <= self.chunks.len() * CHUNK_LINES {
            self.chunks.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64's finaliser: distinct well-mixed hashes of small numbers.
    fn hash(key: u64) -> u64 {
        let mut z = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn holds_nothing_before_the_first_departure() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.estimate(hash(1), 7), 0);
        assert_eq!(sketch.heap_bytes(), 0);
    }

    #[test]
    fn never_estimates_too_low_while_it_grows_and_shrinks() {
        let mut sketch = Sketch::default();
        for key in 0..20_000 {
            sketch.raise(hash(key), (key % 4) as u8, 0, 20_000);
            let earlier = key / 2;
            assert!(sketch.estimate(hash(earlier), 0) >= (earlier % 4) as u8);
        }
        assert!(sketch.heap_bytes() < 20_000 * 9);
        for key in 0..20_000 {
            sketch.raise(hash(key), 1, 0, 0);
            assert!(sketch.estimate(hash(key), 0) >= 1);
        }
        assert!(sketch.heap_bytes() < 15_000);
    }

    #[test]
    fn tells_most_strangers_from_acquaintances() {
        let mut sketch = Sketch::default();
        for key in 0..40_000 {
            sketch.raise(hash(key), 1, 0, 10_000);
        }
        let strangers = 40_000..50_000;
        let mistaken = strangers.filter(|&key| sketch.estimate(hash(key), 0) > 0);
        assert!(mistaken.count() < 1_500);
    }

    #[test]
    fn ages_by_halving() {
        let mut sketch = Sketch::default();
        sketch.raise(hash(1), 3, 5, 1);
        assert_eq!(sketch.estimate(hash(1), 5), 3);
        assert_eq!(sketch.estimate(hash(1), 6), 1);
        assert_eq!(sketch.estimate(hash(1), 7), 0);
        sketch.raise(hash(1), 9, u32::MAX, 1);
        assert_eq!(sketch.estimate(hash(1), 0), 1);
    }
}
