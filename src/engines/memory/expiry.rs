//! When entries expire: a heap of deadlines in which every entry knows its place.

use std::time::Duration;

use super::slab::{NONE, Slot};

/// A point in time: nanoseconds since the engine started. It reaches 584 years far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Later than every other.
    pub(crate) const NEVER: Moment = Moment(u64::MAX);

    pub(crate) fn since_start(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX - 1))
    }

    /// This much later, and always before [`NEVER`](Self::NEVER).
    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(Self::since_start(time).0).min(u64::MAX - 1))
    }

    /// How far off this is from `now`; zero if it has passed.
    pub(crate) fn left(self, now: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(now.0))
    }

    pub(crate) fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// Where an entry with a deadline keeps its place in the heap.
pub(crate) trait Seats {
    fn set_seat(&mut self, slot: Slot, seat: u32);
}

/// Children of a place in the heap: four are one cache line, and make the heap half as deep as two.
const ARITY: usize = 4;

/// The deadlines, earliest first: an indexed heap (Johnson, *Priority queues with update and finding
/// minimum spanning trees*, IPL 1975).
///
/// Because each entry knows its seat, a deadline is moved or removed where it is: an entry has one
/// place in the heap at most, a dead deadline never stays behind, and there is nothing to compact.
#[derive(Debug)]
pub(crate) struct Expiry {
    heap: Vec<(Moment, Slot)>,
}

/// The seat of an entry that has none.
pub(crate) const NO_SEAT: u32 = NONE;

impl Expiry {
    pub(crate) fn new() -> Self {
        Self { heap: Vec::new() }
    }

    /// The entry that expires first.
    pub(crate) fn first(&self) -> Option<(Moment, Slot)> {
        self.heap.first().copied()
    }

    pub(crate) fn insert(&mut self, slot: Slot, due: Moment, seats: &mut impl Seats) {
        self.heap.push((due, slot));
        self.rise(self.heap.len() - 1, seats);
    }

    /// Moves the deadline at `seat`.
    pub(crate) fn update(&mut self, seat: u32, due: Moment, seats: &mut impl Seats) {
        let seat = seat as usize;
        let was = std::mem::replace(&mut self.heap[seat].0, due);
        if due < was {
            self.rise(seat, seats)
        } else {
            self.sink(seat, seats)
        }
    }

    pub(crate) fn remove(&mut self, seat: u32, seats: &mut impl Seats) {
        let seat = seat as usize;
        let (due, slot) = self.heap.swap_remove(seat);
        seats.set_seat(slot, NO_SEAT);
        if let Some(&(moved, _)) = self.heap.get(seat) {
            if moved < due {
                self.rise(seat, seats)
            } else {
                self.sink(seat, seats)
            }
        }
        if self.heap.capacity() > 1024 && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
    }

    fn rise(&mut self, mut seat: usize, seats: &mut impl Seats) {
        let item = self.heap[seat];
        while seat > 0 {
            let parent = (seat - 1) / ARITY;
            if self.heap[parent].0 <= item.0 {
                break;
            }
            self.put(seat, self.heap[parent], seats);
            seat = parent;
        }
        self.put(seat, item, seats);
    }

    fn sink(&mut self, mut seat: usize, seats: &mut impl Seats) {
        let item = self.heap[seat];
        loop {
            let first = seat * ARITY + 1;
            let end = (first + ARITY).min(self.heap.len());
            let Some(child) = (first..end).min_by_key(|child| self.heap[*child].0) else {
                break;
            };
            if item.0 <= self.heap[child].0 {
                break;
            }
            self.put(seat, self.heap[child], seats);
            seat = child;
        }
        self.put(seat, item, seats);
    }

    fn put(&mut self, seat: usize, item: (Moment, Slot), seats: &mut impl Seats) {
        self.heap[seat] = item;
        seats.set_seat(item.1, seat as u32);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    impl Seats for Vec<u32> {
        fn set_seat(&mut self, slot: Slot, seat: u32) {
            self[slot as usize] = seat;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn it_always_knows_the_first_and_everybodys_seat(
            steps in prop::collection::vec((0u8..3, 0u32..40, 0u64..100), 0..400)
        ) {
            let mut expiry = Expiry::new();
            let mut seats = vec![NO_SEAT; 40];
            let mut due = [None; 40];
            for (action, slot, at) in steps {
                let at = Moment(at);
                let seat = seats[slot as usize];
                match (action, due[slot as usize]) {
                    (0, _) if seat != NO_SEAT => {
                        expiry.remove(seat, &mut seats);
                        due[slot as usize] = None;
                    }
                    (_, None) => {
                        expiry.insert(slot, at, &mut seats);
                        due[slot as usize] = Some(at);
                    }
                    (_, Some(_)) => {
                        expiry.update(seat, at, &mut seats);
                        due[slot as usize] = Some(at);
                    }
                }
                let model: BTreeSet<Moment> = due.iter().flatten().copied().collect();
                prop_assert_eq!(expiry.first().map(|(at, _)| at), model.first().copied());
                prop_assert_eq!(expiry.len(), due.iter().flatten().count());
                for (slot, due) in due.iter().enumerate() {
                    match due {
                        Some(due) => prop_assert_eq!(expiry.heap[seats[slot] as usize], (*due, slot as u32)),
                        None => prop_assert_eq!(seats[slot], NO_SEAT),
                    }
                }
            }
        }
    }

    #[test]
    fn moments_never_wrap() {
        let late = Moment::since_start(Duration::MAX);
        assert_eq!(late.after(Duration::MAX), late);
        assert!(late < Moment::NEVER);
        assert_eq!(Moment(5).left(Moment(7)), Duration::ZERO);
    }
}
