//! What a table counts, and how much it holds.

use crate::stats::EngineStats;

/// The figures of a table since it was made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) sets: u64,
    pub(super) deletes: u64,
    pub(super) expired: u64,
    pub(super) evicted: u64,
    pub(super) invalidated: u64,
    /// How often the table was emptied after a fault.
    pub(super) resets: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) near_entries: u64,
    pub(super) near_bytes: u64,
    pub(super) near_flushes: u64,
}

impl Figures {
    /// These figures as the engine tells them.
    pub(super) fn told(self, queue_depth: u64) -> EngineStats {
        EngineStats {
            hits: self.hits,
            misses: self.misses,
            sets: self.sets,
            deletes: self.deletes,
            expired: Some(self.expired),
            evicted: Some(self.evicted),
            invalidated: self.invalidated,
            resets: self.resets,
            entries: Some(self.entries),
            bytes: Some(self.bytes),
            near_entries: self.near_entries,
            near_bytes: self.near_bytes,
            near_flushes: self.near_flushes,
            queue_depth,
            ..EngineStats::default()
        }
    }
}
