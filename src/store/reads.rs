//! What the engine's counts of hits and misses lack.
//!
//! An engine counts each look at a key: a hit if there is an entry, else a miss. A read of the caller's may
//! look twice, and may find an entry that is of no use to it. The handle corrects these rare cases, so that
//! one read is one hit or one miss, and the common ones cost nothing.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::stats::Stats;

/// The corrections of one store. The engine counts before it answers, so they never exceed its counts.
#[derive(Debug, Default)]
pub(super) struct Reads {
    hits: AtomicI64,
    misses: AtomicI64,
}

/// The corrections at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Corrections {
    hits: i64,
    misses: i64,
}

impl Reads {
    /// So many entries that were found are looked at once more: only the second look counts.
    pub(super) fn look_again(&self, entries: usize) {
        if entries > 0 {
            add(&self.hits, -i64::try_from(entries).unwrap_or(i64::MAX));
        }
    }

    /// A look that was part of a read that has been counted already.
    pub(super) fn uncount(&self, found: bool) {
        add(if found { &self.hits } else { &self.misses }, -1);
    }

    /// The read found an entry, and has no use for it.
    pub(super) fn hit_is_miss(&self) {
        add(&self.hits, -1);
        add(&self.misses, 1);
    }

    /// The read is answered by an entry after all that counted as a miss.
    pub(super) fn miss_is_hit(&self) {
        add(&self.misses, -1);
        add(&self.hits, 1);
    }

    /// To be read before the engine's counts are.
    pub(super) fn corrections(&self) -> Corrections {
        Corrections {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

impl Corrections {
    pub(super) fn apply(self, stats: &mut Stats) {
        stats.hits = stats.hits.saturating_add_signed(self.hits);
        stats.misses = stats.misses.saturating_add_signed(self.misses);
    }
}

fn add(counter: &AtomicI64, count: i64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
