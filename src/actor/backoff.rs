//! The pause before an actor tries again what failed. Pure, but for its jitter.

use std::time::Duration;

/// A pause that doubles with each failure in a row, from a shortest to a longest one.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: at random between half of the whole pause and all of it, so that those who
    /// failed together do not try again together.
    pub(crate) fn after_failure(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let whole = self.whole(shortest, longest);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    /// The longest pause that the next failure may cause.
    pub(crate) fn whole(self, shortest: Duration, longest: Duration) -> Duration {
        shortest.saturating_mul(1 << self.failures.min(20)).min(longest)
    }

    /// The next failure is the first in a row.
    #[cfg(any(test, feature = "redis"))]
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_longest_and_starts_again() {
        let (shortest, longest) = (Duration::from_millis(20), Duration::from_secs(1));
        let mut backoff = Backoff::default();
        for whole in [20, 40, 80, 160, 320, 640, 1000, 1000].map(Duration::from_millis) {
            assert_eq!(backoff.whole(shortest, longest), whole);
            let pause = backoff.after_failure(shortest, longest);
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        for _ in 0..100 {
            assert!(backoff.after_failure(shortest, longest) <= longest);
        }
        backoff.reset();
        assert!(backoff.after_failure(shortest, longest) <= shortest);
    }
}
