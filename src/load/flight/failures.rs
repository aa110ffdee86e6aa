//! Keys whose last load gave nothing to store. Callers who have something stale to serve leave their sources alone
//! for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::key::Key;
use crate::prehashed::Map;

/// The most keys that are remembered. Beyond that, the one that failed longest ago is forgotten.
pub(super) const MOST: usize = 4096;

/// Why there was nothing to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The load failed: neither callers with something stale nor refreshes ask again during the pause.
    Failed,
    /// The load gave a value that is not stored, or none. Only refreshes are held back: a caller who waits is
    /// given what is newer than the stale value.
    NotStored,
}

#[derive(Debug)]
struct Failure {
    reason: Reason,
    at: (Duration, u64),
    pause: Duration,
}

/// The keys, by their hashes: a key may be long. If two hashes are equal, one of the keys is loaded up to one pause
/// later than it could be.
#[derive(Debug, Default)]
pub(super) struct Failures {
    keys: Map<u64, Failure>,
    /// The oldest first. The numbers tell equal times apart.
    order: BTreeMap<(Duration, u64), u64>,
    numbers: u64,
}

impl Failures {
    /// Remembers how the last load of a key ended. Returns `true` if the key fails and did not before.
    pub(super) fn insert(&mut self, key: &Key, reason: Reason, pause: Duration, now: Duration) -> bool {
        let failed_before = self.remove(key);
        self.numbers += 1;
        let at = (now, self.numbers);
        self.order.insert(at, key.hash());
        self.keys.insert(key.hash(), Failure { reason, at, pause });
        if self.keys.len() > MOST
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.keys.remove(&oldest);
        }
        reason == Reason::Failed && !failed_before
    }

    /// Forgets a key. Returns `true` if its last load had failed.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let Some(failure) = self.keys.remove(&key.hash()) else {
            return false;
        };
        self.order.remove(&failure.at);
        failure.reason == Reason::Failed
    }

    /// Whether somebody who can do without a load for `patience` is to leave the source of a key alone.
    pub(super) fn pauses(&self, key: &Key, refresh: bool, patience: Duration, now: Duration) -> bool {
        self.keys.get(&key.hash()).is_some_and(|failure| {
            let holds = refresh || failure.reason == Reason::Failed;
            holds && now < failure.at.0.saturating_add(failure.pause.min(patience))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::{KeyMaker, Namespace};

    const SECOND: Duration = Duration::from_secs(1);

    fn key(number: usize) -> Key {
        thread_local!(static MAKER: KeyMaker = KeyMaker::new(10, false));
        MAKER.with(|maker| maker.key(&Namespace::default(), &format!("k{number}")).unwrap())
    }

    proptest! {
        /// As a list of who failed when and why, gone through whole at each question.
        #[test]
        fn pauses_are_those_of_a_list(steps in proptest::collection::vec((0..4usize, 0..4u8, 0..4u32), 1..60)) {
            let (mut failures, mut list, mut now) = (Failures::default(), Vec::new(), Duration::ZERO);
            for (name, step, pause) in steps {
                let before: Vec<(usize, Reason, Duration, Duration)> = list.clone();
                let failed = before.iter().any(|(of, reason, ..)| *of == name && *reason == Reason::Failed);
                if step < 3 {
                    list.retain(|(of, ..)| *of != name);
                }
                match step {
                    0 | 1 => {
                        let reason = if step == 0 { Reason::Failed } else { Reason::NotStored };
                        list.push((name, reason, now, SECOND * pause));
                        let is_new = failures.insert(&key(name), reason, SECOND * pause, now);
                        prop_assert_eq!(is_new, reason == Reason::Failed && !failed);
                    }
                    2 => prop_assert_eq!(failures.remove(&key(name)), failed),
                    _ => now += SECOND * pause,
                }
                for name in 0..4 {
                    for (refresh, patience) in [(true, SECOND * 9), (false, SECOND * 9), (true, SECOND)] {
                        let expected = list.iter().any(|(of, reason, at, pause)| {
                            let holds = refresh || *reason == Reason::Failed;
                            *of == name && holds && now < *at + patience.min(*pause)
                        });
                        prop_assert_eq!(failures.pauses(&key(name), refresh, patience, now), expected);
                    }
                }
                prop_assert_eq!((failures.keys.len(), failures.order.len()), (list.len(), list.len()));
            }
        }
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let mut failures = Failures::default();
        for number in 0..MOST + 10 {
            failures.insert(&key(number), Reason::Failed, SECOND, Duration::ZERO);
            assert!(failures.keys.len() <= MOST && failures.order.len() <= MOST);
        }
        let pauses = |number| failures.pauses(&key(number), true, SECOND, Duration::ZERO);
        assert!(!pauses(9) && pauses(10) && pauses(MOST + 9));
    }
}
