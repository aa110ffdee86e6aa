//! Tests of the eviction policy against a table as simple as can be.

use super::*;
use std::cell::Cell;
use std::collections::HashMap;

/// Knuth's MMIX generator: the tests are the same on every run.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Default)]
struct Slab {
    nodes: Vec<Node>,
    weights: Vec<u64>,
    keys: Vec<u64>,
    touched: Cell<usize>,
}

impl Nodes for Slab {
    fn node(&self, slot: Slot) -> &Node {
        self.touched.set(self.touched.get() + 1);
        &self.nodes[slot as usize]
    }

    fn node_mut(&mut self, slot: Slot) -> &mut Node {
        self.touched.set(self.touched.get() + 1);
        &mut self.nodes[slot as usize]
    }

    fn weight(&self, slot: Slot) -> u64 {
        self.weights[slot as usize]
    }

    fn hash(&self, slot: Slot) -> u64 {
        let z = self.keys[slot as usize].wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        z ^ (z >> 32)
    }

    fn take_near_uses(&self, _: Slot) -> u8 {
        0
    }
}

/// A table as simple as can be, which checks what the policy says.
struct Cache {
    policy: Policy,
    slab: Slab,
    capacity: u64,
    /// Of the entries and whatever else the test puts there.
    bytes: u64,
    slots: HashMap<u64, Slot>,
    free: Vec<Slot>,
}

impl Cache {
    fn new(capacity: u64) -> Self {
        Self {
            policy: Policy::new(capacity),
            slab: Slab::default(),
            capacity,
            bytes: 0,
            slots: HashMap::new(),
            free: Vec::new(),
        }
    }

    fn get(&mut self, key: u64) -> bool {
        let slot = self.slots.get(&key).copied();
        if let Some(slot) = slot {
            self.policy.hit(&mut self.slab, slot);
        }
        slot.is_some()
    }

    fn set(&mut self, key: u64, weight: u64) {
        if let Some(&slot) = self.slots.get(&key) {
            let old_weight = std::mem::replace(&mut self.slab.weights[slot as usize], weight);
            self.bytes = self.bytes - old_weight + weight;
            self.policy.update(&mut self.slab, slot, old_weight);
        } else {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slab.nodes.push(Node::default());
                self.slab.weights.push(0);
                self.slab.keys.push(0);
                (self.slab.nodes.len() - 1) as Slot
            });
            self.slab.weights[slot as usize] = weight;
            self.slab.keys[slot as usize] = key;
            self.slots.insert(key, slot);
            self.bytes += weight;
            self.policy.insert(&mut self.slab, slot);
        }
        while self.bytes > self.capacity {
            let victim = self.victim().expect("there are entries, as there are bytes");
            assert!(victim != key || self.slots.is_empty());
        }
    }

    fn victim(&mut self) -> Option<u64> {
        self.slab.touched.set(0);
        let slot = self.policy.victim(&mut self.slab)?;
        // Some five nodes for each of the `MAX_STEPS` moves on the two paths, and a few more.
        assert!(self.slab.touched.get() <= 12 * MAX_STEPS);
        let key = self.slab.keys[slot as usize];
        assert_eq!(self.slots.remove(&key), Some(slot));
        self.bytes -= self.slab.weights[slot as usize];
        self.free.push(slot);
        Some(key)
    }

    fn remove(&mut self, key: u64) {
        if let Some(slot) = self.slots.remove(&key) {
            self.policy.remove(&mut self.slab, slot);
            self.bytes -= self.slab.weights[slot as usize];
            self.free.push(slot);
        }
    }

    /// Reads through; says whether it was a hit.
    fn read(&mut self, key: u64) -> bool {
        self.get(key) || {
            self.set(key, 1);
            false
        }
    }

    fn check(&self) {
        let mut found = Vec::new();
        for (queue, region) in [
            (&self.policy.window, Region::Window),
            (&self.policy.main, Region::Main),
        ] {
            let (mut prev, mut slot, mut len, mut bytes) = (NONE, queue.front, 0, 0);
            while slot != NONE {
                let node = &self.slab.nodes[slot as usize];
                assert_eq!((node.prev, node.region), (prev, region));
                assert!(node.recent <= MAX_RECENT && node.frequency <= MAX_FREQUENCY);
                found.push(slot);
                len += 1;
                bytes += self.slab.weights[slot as usize];
                (prev, slot) = (slot, node.next);
            }
            assert_eq!((queue.back, queue.len, queue.bytes), (prev, len, bytes));
        }
        let mut live: Vec<Slot> = self.slots.values().copied().collect();
        live.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, live);
    }
}

#[test]
fn node_is_small() {
    assert_eq!(size_of::<Node>(), 12);
}

#[test]
fn agrees_with_a_naive_table() {
    let mut random = Lcg(1);
    for capacity in [1, 3, 10, 1000, 30_000] {
        let mut cache = Cache::new(capacity);
        for step in 0..40_000 {
            let key = random.below(300).min(random.below(300));
            match random.below(100) {
                0..50 => _ = cache.get(key),
                50..90 => cache.set(key, 1 + random.below(capacity.min(200))),
                90..98 => cache.remove(key),
                98 => _ = cache.victim(),
                _ => cache.set(key, 1 + random.below(capacity)),
            }
            if step % 16 == 0 {
                cache.check();
            }
        }
        while cache.victim().is_some() {}
        cache.check();
        assert_eq!(cache.bytes, 0);
    }
}

#[test]
fn scan_leaves_the_working_set() {
    let mut cache = Cache::new(100);
    for _ in 0..5 {
        (0..50).for_each(|key| _ = cache.read(key));
    }
    (1000..1700).for_each(|key| _ = cache.read(key));
    let kept = (0..50).filter(|&key| cache.get(key)).count();
    assert!(kept >= 45, "{kept}");
}

#[test]
fn loop_larger_than_the_cache_hits_in_part() {
    let mut cache = Cache::new(100);
    let hits = (0..10_000).filter(|access| cache.read(access % 150)).count();
    assert!(hits >= 3_000, "{hits}");
}

#[test]
fn an_unknown_entry_takes_no_place_in_main() {
    let mut cache = Cache::new(100);
    (0..200).for_each(|key| cache.set(key, 1));
    // All counts age to zero.
    cache.policy.count_uses(10_000);
    let main = |cache: &Cache| -> Vec<u64> {
        let of = |slot: &Slot| cache.slab.nodes[*slot as usize].region == Region::Main;
        let mut main: Vec<u64> = cache
            .slots
            .iter()
            .filter(|(_, slot)| of(slot))
            .map(|(key, _)| *key)
            .collect();
        main.sort_unstable();
        main
    };
    let before = main(&cache);
    (1_000..2_000).for_each(|key| cache.set(key, 1));
    assert_eq!(main(&cache), before);
}

/// A heavy entry takes the place of several, so a few uses do not get it in. Many do, whatever it weighs.
#[test]
fn a_heavy_entry_gets_into_main_if_it_is_used_much() {
    for (uses, kept) in [(1, false), (3, true)] {
        let mut cache = Cache::new(1_000);
        (0..200).for_each(|key| cache.set(key, 10));
        cache.set(5_000, 100);
        (0..uses).for_each(|_| assert!(cache.get(5_000)));
        (6_000..6_100).for_each(|key| cache.set(key, 10));
        assert_eq!(cache.slots.contains_key(&5_000), kept, "{uses} uses");
    }
}

#[test]
fn admission_works_when_the_table_keeps_more_than_entries() {
    let mut cache = Cache::new(300);
    for other in [200, 0, 250] {
        cache.bytes += other;
        (0..3_000).for_each(|access| _ = cache.read(access % 1_000));
        let size = 300 - other;
        let range = size * 3 / 2;
        let hits = (0..range * 60)
            .filter(|access| cache.read(access % range))
            .count() as u64;
        assert!(hits >= range * 20, "{hits} of {}", range * 60);
        cache.bytes -= other;
    }
}

#[test]
fn new_working_set_replaces_the_old() {
    let mut cache = Cache::new(100);
    for set in 0..5 {
        for _ in 0..40 {
            (0..80).for_each(|key| _ = cache.read(set * 1000 + key));
        }
        let kept = (0..80).filter(|key| cache.get(set * 1000 + key)).count();
        assert!(kept >= 75, "{kept} of set {set}");
    }
}

#[test]
fn just_written_entry_stays_in_the_smallest_caches() {
    for capacity in 1..=10 {
        let mut cache = Cache::new(capacity);
        let mut random = Lcg(capacity);
        for _ in 0..2_000 {
            let key = random.below(40);
            cache.set(key, 1 + random.below(capacity));
            assert!(cache.get(key));
            cache.get(random.below(20));
        }
        cache.check();
    }
}

#[test]
fn large_entry_fits_and_leaves_first() {
    let mut cache = Cache::new(1000);
    for _ in 0..3 {
        (0..100).for_each(|key| cache.set(key, 4));
    }
    cache.set(5000, 700);
    assert!(cache.get(5000));
    (6000..6100).for_each(|key| cache.set(key, 4));
    assert!(!cache.slots.contains_key(&5000));
    cache.check();
}

#[test]
fn weights_of_all_magnitudes() {
    let mut random = Lcg(3);
    let mut cache = Cache::new(100 << 20);
    for step in 0..30_000 {
        let key = random.below(3_000);
        let weight = match random.below(100) {
            0 => 64 << 20,
            1..10 => 1 + random.below(1 << 20),
            _ => 100 + random.below(900),
        };
        if random.below(2) == 0 {
            cache.get(key);
        } else {
            cache.set(key, weight);
        }
        if step % 512 == 0 {
            cache.check();
        }
    }
}

#[test]
fn works_after_everything_was_removed() {
    let mut cache = Cache::new(100);
    for _ in 0..3 {
        (0..500).for_each(|key| _ = cache.read(key));
        (0..500).for_each(|key| cache.remove(key));
        cache.check();
        assert_eq!((cache.bytes, cache.victim()), (0, None));
    }
    assert!((0..100).all(|key| !cache.read(key)));
    assert!((0..100).all(|key| cache.read(key)));
}

#[test]
fn much_used_entries_do_not_make_a_call_slow() {
    // `Cache::victim` asserts the bound.
    let mut cache = Cache::new(10_000);
    for _ in 0..5 {
        (0..10_000).for_each(|key| _ = cache.read(key));
    }
    (10_000..12_000).for_each(|key| _ = cache.read(key));
    // The removals make room in main for much at once.
    (0..10_000).for_each(|key| cache.remove(key));
    (20_000..40_000).for_each(|key| _ = cache.read(key));
}
