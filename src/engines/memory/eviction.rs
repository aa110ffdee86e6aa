//! Which entry goes when the memory is full.
//!
//! The policy is a small window before a main region, with admission by use counts in between:
//! the structure of W-TinyLFU (Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache
//! Admission Policy", ACM Transactions on Storage 13(4), 2017) on the queues of S3-FIFO (Yang et
//! al., "FIFO queues are all you need for cache eviction", SOSP 2023).
//!
//! * A new entry enters the **window**, a queue for an eighth of the bytes. Bursts of uses end there
//!   and scans pass through it without touching the rest.
//! * The entry at the window's end is the **candidate** for the **main** region. It gets in if it
//!   was used more often by weight than the entry that main would give up, and goes if not: a heavy
//!   entry takes the place of several. An entry that was used as often as counts go while in the
//!   window is judged by its count alone. On a tie the candidate gets in only if it was used while
//!   in the window. A candidate that was not, and whose key is not remembered either, never gets in
//!   the place of another. Refusing these keeps a part of a loop that is larger than the cache.
//! * Main is a clock: its queue's last entry goes, but as often as it was used since it was last
//!   considered (up to three times) it moves to the front instead.
//! * Use counts include uses in earlier lives of a key, which a [`Sketch`] remembers, and are
//!   halved after every ten uses per entry. Counting to three suffices, as in S3-FIFO:
//!   higher counts adapt more slowly and hit no more often.
//!
//! A hit only changes counters in the entry's own [`Node`]. Nothing is relinked, and ageing is done
//! when a count is next needed, from the epochs that have passed. Any call moves at most some
//! twenty entries, whatever there are, and on average one or two.

mod queue;

pub(crate) use self::queue::{Node, Nodes};
use self::queue::{Queue, Region};
use super::sketch::{MAX_FREQUENCY, Sketch};
use super::slab::{NONE, Slot};

/// The window's share of the capacity is one part in this many. A smaller window loses bursts, a
/// larger one loses loops; between six and ten it hardly matters.
const WINDOW_PART: u64 = 8;
/// An epoch, after which use counts are halved, lasts this many uses per entry. Shorter ones forget
/// loops, longer ones are slow to see that the working set has changed.
const EPOCH_USES: u64 = 10;
/// In a cache of a few entries epochs last as if there were this many.
const EPOCH_MIN_ENTRIES: usize = 16;
/// Recent uses are counted up to here, so an entry passes the clock's hand this often at most.
const MAX_RECENT: u8 = 3;
/// Entries that one call moves at most, on each of the paths that move any. Without the bound a
/// clock full of used entries would be gone through several times in one call.
const MAX_STEPS: usize = 8;

/// The eviction policy of one table.
///
/// The table tells it of every use. When a write does not fit, the table first inserts or updates
/// the entry and then asks for victims until everything fits, so that admission sees the window with
/// the new entry in it. The entry written last is no victim while there is another.
#[derive(Debug)]
pub(crate) struct Policy {
    window: Queue,
    main: Queue,
    /// The bytes that fit, as far as the calls tell. It is less than what the table may hold if
    /// the table keeps more than the entries.
    capacity: u64,
    /// Uses in this epoch.
    uses: u64,
    epoch: u32,
    last_written: Slot,
    departed: Sketch,
}

impl Policy {
    /// A policy for a table that holds `capacity` bytes at most.
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            window: Queue::EMPTY,
            main: Queue::EMPTY,
            capacity,
            uses: 0,
            epoch: 0,
            last_written: NONE,
            departed: Sketch::default(),
        }
    }

    /// A read found the entry.
    pub(crate) fn hit(&mut self, nodes: &mut impl Nodes, slot: Slot) {
        self.count_uses(1);
        self.add_uses(nodes, slot, 1);
    }

    /// Counts the uses of an entry that the near cache has answered. Returns whether there were any. It comes
    /// before every look at an entry's counts, or the entries that are used most would seem unused.
    pub(crate) fn catch_up(&mut self, nodes: &mut impl Nodes, slot: Slot) -> bool {
        let uses = nodes.take_near_uses(slot);
        if uses > 0 {
            self.add_uses(nodes, slot, uses);
        }
        uses > 0
    }

    fn add_uses(&mut self, nodes: &mut impl Nodes, slot: Slot, uses: u8) {
        let epoch = self.epoch;
        let node = nodes.node_mut(slot);
        node.frequency = (aged(node, epoch) + uses).min(MAX_FREQUENCY);
        node.epoch = epoch as u8;
        node.recent = (node.recent + uses).min(MAX_RECENT);
    }

    /// The entry is new in the slab.
    pub(crate) fn insert(&mut self, nodes: &mut impl Nodes, slot: Slot) {
        self.count_uses(1);
        // What is there when a write begins fits.
        self.capacity = self.capacity.max(self.bytes());
        let before = self.departed.estimate(nodes.hash(slot), self.epoch);
        *nodes.node_mut(slot) = Node {
            frequency: (before + 1).min(MAX_FREQUENCY),
            epoch: self.epoch as u8,
            ..Node::default()
        };
        self.window.push_front(nodes, slot);
        self.last_written = slot;

        // While the table fills up, main does so from the window's end. Doing it here and not when
        // the table is full spreads the work.
        for _ in 0..MAX_STEPS {
            match self.candidate() {
                Some(candidate) if self.main_has_room(nodes, candidate) => {
                    self.promote(nodes, candidate);
                }
                _ => break,
            }
        }
    }

    /// The entry was overwritten in place, which is a use of it. `nodes` has its new weight.
    pub(crate) fn update(&mut self, nodes: &mut impl Nodes, slot: Slot, old_weight: u64) {
        let weight = nodes.weight(slot);
        let queue = self.queue_of(nodes, slot);
        queue.bytes = queue.bytes.saturating_sub(old_weight).saturating_add(weight);
        // Only a write that needs room has to be out of its own way. Others relink nothing, which
        // spares three entries that have nothing to do with it.
        if weight > old_weight {
            queue.move_to_front(nodes, slot);
        }
        self.last_written = slot;
        self.hit(nodes, slot);
    }

    /// The entry goes for another reason than eviction. It must still be in the slab.
    pub(crate) fn remove(&mut self, nodes: &mut impl Nodes, slot: Slot) {
        self.catch_up(nodes, slot);
        let frequency = aged(nodes.node(slot), self.epoch);
        self.queue_of(nodes, slot).unlink(nodes, slot);
        if self.last_written == slot {
            self.last_written = NONE;
        }
        let (hash, live) = (nodes.hash(slot), self.len());
        self.departed.raise(hash, frequency, self.epoch, live);
    }

    /// Chooses the entry to evict, and forgets it. Returns `None` if there are no entries.
    pub(crate) fn victim(&mut self, nodes: &mut impl Nodes) -> Option<Slot> {
        let victim = self.choose(nodes)?;
        self.remove(nodes, victim);
        Some(victim)
    }

    fn choose(&mut self, nodes: &mut impl Nodes) -> Option<Slot> {
        // A victim is wanted because the entries do not fit, at least not with the last write. If the policy did not
        // learn that, main would seem to have room, and would admit every candidate.
        let written = match self.last_written {
            NONE => 1,
            slot => nodes.weight(slot),
        };
        self.capacity = self.capacity.min(self.bytes().saturating_sub(written));
        for _ in 0..MAX_STEPS {
            match self.candidate() {
                // Removals have made room.
                Some(candidate) if self.main_has_room(nodes, candidate) => {
                    self.promote(nodes, candidate);
                }
                _ => break,
            }
        }
        let Some(incumbent) = self.incumbent(nodes) else {
            // Main has nothing to give, so the window does, its last written entry at the worst.
            // If even the window is empty, main is or has only the entry written last.
            let spared = match self.window.back {
                slot if slot != NONE && slot == self.last_written => nodes.node(slot).prev,
                slot => slot,
            };
            return [spared, self.window.back, self.main.back]
                .into_iter()
                .find(|&slot| slot != NONE);
        };
        let Some(candidate) = self.candidate() else {
            return Some(incumbent);
        };
        self.catch_up(nodes, candidate);
        if self.admits(nodes, candidate, incumbent) {
            self.promote(nodes, candidate);
            Some(incumbent)
        } else {
            Some(candidate)
        }
    }

    /// Whether the candidate is worth more than the incumbent.
    fn admits(&self, nodes: &impl Nodes, candidate: Slot, incumbent: Slot) -> bool {
        let Node {
            frequency, recent, ..
        } = *nodes.node(candidate);
        if frequency <= 1 && recent == 0 {
            return false;
        }
        let mut used = u64::from(aged(nodes.node(candidate), self.epoch));
        let mut needed = u64::from(aged(nodes.node(incumbent), self.epoch));
        // Counts end at three, so by weight alone a large entry would never get in, however often it is used.
        if recent < MAX_RECENT {
            used = used.saturating_mul(nodes.weight(incumbent));
            needed = needed.saturating_mul(nodes.weight(candidate));
        }
        used > needed || (used == needed && recent > 0)
    }

    /// The entry at the window's end if the window is over its share. The last written entry is
    /// at its front and no candidate, however large it is.
    fn candidate(&self) -> Option<Slot> {
        let over = self.window.bytes > self.capacity / WINDOW_PART;
        let slot = self.window.back;
        (over && slot != NONE && slot != self.last_written).then_some(slot)
    }

    /// Whether main can take an entry of the window in without giving one up.
    fn main_has_room(&self, nodes: &impl Nodes, candidate: Slot) -> bool {
        let wanted = self.main.bytes.saturating_add(nodes.weight(candidate));
        // An entry that is larger than the window's share needs its room nevertheless.
        wanted <= self.capacity - self.capacity / WINDOW_PART
            && wanted <= self.capacity.saturating_sub(nodes.weight(self.window.front))
    }

    /// The entry that main gives up next; it is not unlinked. `None` if there is none but the one
    /// written last.
    fn incumbent(&mut self, nodes: &mut impl Nodes) -> Option<Slot> {
        let mut steps = 0;
        loop {
            let slot = self.main.back;
            if slot == NONE || (slot == self.last_written && self.main.len == 1) {
                return None;
            }
            if slot != self.last_written {
                self.catch_up(nodes, slot);
                let node = nodes.node_mut(slot);
                if node.recent == 0 || steps == MAX_STEPS {
                    return Some(slot);
                }
                node.recent -= 1;
                steps += 1;
            }
            self.main.move_to_front(nodes, slot);
        }
    }

    /// Moves an entry from the window to main.
    fn promote(&mut self, nodes: &mut impl Nodes, slot: Slot) {
        self.window.unlink(nodes, slot);
        let node = nodes.node_mut(slot);
        node.region = Region::Main;
        node.recent = 0;
        self.main.push_front(nodes, slot);
    }

    fn queue_of(&mut self, nodes: &impl Nodes, slot: Slot) -> &mut Queue {
        match nodes.node(slot).region {
            Region::Window => &mut self.window,
            Region::Main => &mut self.main,
        }
    }

    fn bytes(&self) -> u64 {
        self.window.bytes.saturating_add(self.main.bytes)
    }

    fn len(&self) -> usize {
        self.window.len + self.main.len
    }

    /// Counts uses of whatever entries towards the epoch's end.
    pub(crate) fn count_uses(&mut self, uses: u64) {
        self.uses += uses;
        let length = self.len().max(EPOCH_MIN_ENTRIES) as u64 * EPOCH_USES;
        if self.uses >= length {
            // After a few epochs every count is 0. A hundred at once would let what is old seem young.
            let epochs = (self.uses / length).min(8);
            self.uses %= length;
            self.epoch = self.epoch.wrapping_add(epochs as u32);
        }
    }
}

/// The use count of an entry in the present epoch.
fn aged(node: &Node, epoch: u32) -> u8 {
    let halvings = (epoch as u8).wrapping_sub(node.epoch);
    node.frequency.checked_shr(halvings.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
