//! How often keys were read lately.
//!
//! A count-min sketch that is halved now and then, after Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient
//! Cache Admission Policy" (ACM Transactions on Storage 13(4), 2017).

/// Counters stop here.
const MOST: u8 = 15;
/// Keys are told apart by this many counters each.
const PROBES: u32 = 3;
/// An entry takes about this many bytes at least.
const ENTRY: usize = 256;
/// Counters for each entry that has room.
const COUNTERS: usize = 8;
/// Counters at least and at most.
const LEAST: usize = 1 << 12;
const GREATEST: usize = 1 << 20;
/// Reads for each entry that has room, until all counters are halved.
const SAMPLE: u64 = 16;

#[derive(Debug)]
pub(super) struct Popularity {
    /// Their number is a power of two.
    counters: Box<[u8]>,
    reads: u64,
    sample: u64,
}

impl Popularity {
    /// For a cache of so many bytes.
    pub(super) fn for_bytes(bytes: usize) -> Self {
        let wanted = (bytes / ENTRY).saturating_mul(COUNTERS).clamp(LEAST, GREATEST);
        let counters = vec![0; wanted.next_power_of_two()].into_boxed_slice();
        let sample = (counters.len() / COUNTERS) as u64 * SAMPLE;
        Self {
            counters,
            reads: 0,
            sample,
        }
    }

    fn places(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.counters.len() as u64 - 1;
        (0..PROBES).map(move |probe| (hash.rotate_left(probe * 21) & mask) as usize)
    }

    pub(super) fn add(&mut self, hash: u64, reads: u8) {
        if reads == 0 {
            return;
        }
        let count = self.of(hash).saturating_add(reads).min(MOST);
        for place in self.places(hash) {
            let counter = &mut self.counters[place];
            *counter = (*counter).max(count);
        }
        self.count(u64::from(reads));
    }

    /// Counts reads whose keys are not known yet.
    pub(super) fn count(&mut self, reads: u64) {
        self.reads += reads;
        if self.reads >= self.sample {
            self.reads = self.sample / 2;
            self.counters.iter_mut().for_each(|counter| *counter /= 2);
        }
    }

    pub(super) fn of(&self, hash: u64) -> u8 {
        self.places(hash)
            .map(|place| self.counters[place])
            .min()
            .unwrap_or(0)
    }
}
