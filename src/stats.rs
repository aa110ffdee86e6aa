//! What a store counts.

/// Counters and sizes of a store since it was opened.
///
/// All handles of a store share them, namespaces included. On Redis they count what this store has done,
/// not what other processes did. What only the server knows (`expired`, `evicted`, `entries`, `bytes`) is `None`
/// there: ask it with `INFO` and `DBSIZE`, through `redis_command`.
///
/// # What each call counts
///
/// Both engines count alike. One read of one key is one hit or one miss, however many requests it takes.
///
/// | call | counts |
/// |---|---|
/// | `get`, `get_string`, `counter` | a hit if the key holds a value, else a miss |
/// | `get_model` | a hit if it answers a model, a miss if it answers `None`: a loaded value past its fresh time is a miss |
/// | `get_many`, `get_models` | the same for each key asked, a key that is given twice included |
/// | a read that ends in `Decode` or in another error for what the key holds | a hit if the value was read |
/// | `exists`, `ttl`, `scan`, `scan_entries` | nothing |
/// | `update_model`, `compare_and_set_model` | one read, as `get_model`; a set if they write, a delete if `update_model` deletes |
/// | `set`, `set_many`, and those of models | a set for each entry |
/// | `add`, `replace`, `compare_and_set`, `add_model` | a set if the value is written, else nothing |
/// | `incr` | a set, unless it fails |
/// | `expire`, `persist` | nothing |
/// | `get_and_touch` | one read, as `get` |
/// | `swap` | one read, as `get`, and a set |
/// | `take` | a hit and a delete, or a miss |
/// | `delete`, `delete_many`, `clear` | a delete for each entry that they remove |
/// | `invalidate` | an invalidated entry for each that it removes |
/// | `get_or_load` | a hit if a stored value answers it, fresh or stale; a miss if a loader does, its own or another's, and if it fails |
/// | `get_or_load_many` | the same for each key, a key that is given twice counting once |
/// | a load, one for each call of a loader | `loads`, and `load_failures` if it fails; a set for each value stored |
/// | a call that is refused for its arguments | `refused` and nothing else |
///
/// A call that ends in `Timeout`, `Unavailable` or `Closed`, or whose future is dropped, may have been counted or not.
/// Stale values count in `stale_answers` too, and callers of one load but the first in `load_joins`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Reads that were answered with a stored value.
    pub hits: u64,
    /// Reads that were not.
    pub misses: u64,
    /// Values written.
    pub sets: u64,
    /// Entries removed by `delete`, `delete_many`, `take` and `clear`.
    pub deletes: u64,
    /// Entries whose time had come, when they were reclaimed. `None` on Redis.
    pub expired: Option<u64>,
    /// Entries that made room for others. `None` on Redis.
    pub evicted: Option<u64>,
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
    /// Loaded values that were given to their callers and not stored, because what their `Serialize` writes their
    /// `Deserialize` does not read: a NaN in JSON, or a field that is skipped on the way out.
    pub unreadable_values: u64,
    /// Reads that the near cache answered. They count in `hits` too.
    pub near_hits: u64,
    /// Entries that the near cache answers for now.
    pub near_entries: u64,
    /// Bytes that the entries of the near cache take now. On the memory engine they count in `bytes` too.
    pub near_bytes: u64,
    /// Times that the near cache lost all its entries at once: on the memory engine, to a fault of the engine;
    /// over Redis, to a lost connection or a message that all keys may have changed.
    pub near_flushes: u64,
    /// Entries held now; expired ones count until they are reclaimed. `None` on Redis.
    pub entries: Option<u64>,
    /// Bytes held now by entries and all that is kept beside them. `None` on Redis.
    pub bytes: Option<u64>,
    /// Requests that waited in the engine's request queue when it answered.
    pub queue_depth: u64,
}

/// The engine's part of [`Stats`].
pub(crate) type EngineStats = Stats;
