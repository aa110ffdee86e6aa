//! Until when readers may find what is near.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// No time is set: readers need no clock.
const NONE: u64 = u64::MAX;

/// A time that one thread sets and many look at.
#[derive(Debug)]
pub(super) struct Horizon {
    origin: Instant,
    /// Nanoseconds after the origin.
    at: AtomicU64,
}

impl Horizon {
    pub(super) fn none() -> Self {
        Self {
            origin: Instant::now(),
            at: AtomicU64::new(NONE),
        }
    }

    #[cfg(feature = "redis")]
    pub(super) fn set(&self, at: Instant) {
        let after = at.saturating_duration_since(self.origin).as_nanos();
        let after = u64::try_from(after).unwrap_or(NONE - 1).min(NONE - 1);
        self.at.store(after, Ordering::Release);
    }

    pub(super) fn is_passed(&self) -> bool {
        let at = self.at.load(Ordering::Acquire);
        at != NONE && self.origin.elapsed().as_nanos() >= u128::from(at)
    }
}
