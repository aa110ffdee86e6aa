//! Short of room: whatever goes, what is found is right, and the bytes stay within the capacity.

use proptest::prelude::*;

use super::Lcg;
use super::table::{Pair, Step, config, steps};

impl Pair {
    /// Takes a step that may evict, and lets the model lose what the table has evicted.
    fn take_short_of_room(&mut self, step: Step, capacity: usize) {
        let evicted_before = self.table.stats().evicted;
        self.take(step);
        assert!(
            self.table.bytes() <= capacity,
            "{} bytes of {capacity}",
            self.table.bytes()
        );
        let held = self.held();
        let evicted = self.model.held() & !held;
        assert_eq!(held & !self.model.held(), 0, "nothing comes back");
        assert_eq!(
            self.table.stats().evicted - evicted_before,
            u64::from(evicted.count_ones())
        );
        self.model.remove(evicted);
        self.check_sizes();
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn short_runs_short_of_room(steps in steps(80), capacity in 0usize..2500, way in 0usize..3) {
        let mut pair = Pair::new(capacity);
        for step in steps {
            pair.take_short_of_room(step, capacity);
            pair.check_contents();
        }
        pair.end(way);
    }
}

#[test]
fn a_long_run_short_of_room() {
    let mut draw = Lcg(11);
    for capacity in [130, 350, 780, 1400, 2200] {
        let mut pair = Pair::new(capacity);
        for _ in 0..1_000 {
            for _ in 0..40 {
                pair.take_short_of_room(Step::from(draw.next()), capacity);
            }
            pair.check_contents();
        }
        assert!(
            pair.table.stats().evicted > 1_000,
            "the capacity of {capacity} bytes was felt"
        );
        pair.end(capacity % 3);
    }
}
