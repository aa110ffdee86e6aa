//! What a store counts.

/// Counters and sizes of a store since it was opened.
///
/// All handles of a store share them, namespaces included. On Redis they are what this store has done,
/// not what other processes did; what only the server knows (`expired`, `evicted`, `entries`, `bytes`)
/// is 0: ask it with `INFO` and `DBSIZE`, through `redis_command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Values written.
    pub sets: u64,
    /// Entries removed by `delete`, `delete_many`, `take` and `clear`.
    pub deletes: u64,
    /// Entries whose time had come, when they were reclaimed.
    pub expired: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// Entries removed by `invalidate`.
    pub invalidated: u64,
    /// Calls refused for their arguments before they reached the engine.
    pub refused: u64,
    /// Times that the engine lost its entries to a fault of its own.
    pub resets: u64,
    /// Loaders called by `get_or_load` and `get_or_load_many`.
    pub loads: u64,
    /// Callers who were given what another caller's loader made.
    pub load_joins: u64,
    /// Loads that ended with an error, a panic, or a timeout.
    pub load_failures: u64,
    /// Callers who were given a stale value.
    pub stale_answers: u64,
    /// Loaded values that were not stored, because what they were made from was changed meanwhile.
    pub dead_leases: u64,
    /// Entries held now; expired ones count until they are reclaimed.
    pub entries: u64,
    /// Bytes held now by entries and all that is kept beside them.
    pub bytes: u64,
    /// Requests that waited in the engine's request queue when it answered.
    pub queue_depth: u64,
}

/// The engine's part of [`Stats`].
pub(crate) type EngineStats = Stats;
