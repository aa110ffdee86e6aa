//! What a store counts.

/// Counters and sizes of a store since it was opened.
///
/// All handles of a store share them, namespaces included. On Redis they count the work of this store, not of other
/// processes. The figures that only the server knows (`expired`, `evicted`, `entries`, `bytes`) are `None` on Redis:
/// ask the server with `INFO` and `DBSIZE`, by `redis_command`.
///
/// # What each call counts
///
/// Both engines count in the same way. One read of one key is one hit or one miss, even if it takes several requests.
///
/// | call | counts |
/// |---|---|
/// | `get`, `get_string`, `counter` | a hit if the key holds a value, else a miss |
/// | `get_model` | a hit if it returns a model, a miss if it returns `None`: a stale loaded value is a miss |
/// | `get_many`, `get_models` | the same for each key asked, a key that is given twice included |
/// | a read that fails because of the stored value, for example with `Decode` | a hit if the value was read |
/// | `exists`, `ttl`, `scan`, `scan_entries` | nothing |
/// | `update_model`, `compare_and_set_model` | one read, as `get_model`; a set if they write, a delete if `update_model` deletes |
/// | `set`, `set_many`, `set_model`, `set_models` | a set for each entry |
/// | `add`, `replace`, `compare_and_set`, `add_model` | a set if the value is written, else nothing |
/// | `incr` | a set, unless it fails |
/// | `expire`, `persist` | nothing |
/// | `get_and_touch` | one read, as `get` |
/// | `swap` | one read, as `get`, and a set |
/// | `take` | a hit and a delete, or a miss |
/// | `delete`, `delete_many`, `clear` | a delete for each entry that they remove |
/// | `invalidate` | an invalidated entry for each that it removes |
/// | `get_or_load` | a hit if it returns a stored value, fresh or stale; a miss if a loader runs, its own or another caller's, or if it fails |
/// | `get_or_load_many` | the same for each key, a key that is given twice counting once |
/// | a call of a loader | `loads`, and `load_failures` if it fails; a set for each stored value |
/// | a call that is refused for its arguments | `refused` and nothing else |
///
/// A call that ends in `Timeout`, `Unavailable` or `Closed`, or whose future is dropped, may have been counted or not.
/// A returned stale value counts in `stale_answers` too. Each caller of a load except the first counts in `load_joins`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Reads that were answered with a stored value.
    pub hits: u64,
    /// Reads that found no value to return.
    pub misses: u64,
    /// Values written.
    pub sets: u64,
    /// Entries removed by `delete`, `delete_many`, `take` and `clear`.
    pub deletes: u64,
    /// Entries that were reclaimed after their TTL. `None` on Redis.
    pub expired: Option<u64>,
    /// Entries that were removed to make room for others. `None` on Redis.
    pub evicted: Option<u64>,
    /// Entries removed by `invalidate`.
    pub invalidated: u64,
    /// Calls refused for their arguments before they reached the engine.
    pub refused: u64,
    /// Times that the engine lost its entries because of a bug in the engine.
    pub resets: u64,
    /// Loaders called by `get_or_load` and `get_or_load_many`.
    pub loads: u64,
    /// Callers that got the value of another caller's loader.
    pub load_joins: u64,
    /// Loads that ended with an error, a panic, or a timeout.
    pub load_failures: u64,
    /// Callers that got a stale value.
    pub stale_answers: u64,
    /// Loaded values that were not stored, because the key or a dependency was changed during the load.
    pub dead_leases: u64,
    /// Loaded values that were returned and not stored, because their `Deserialize` does not read the output of their
    /// `Serialize`: a NaN in JSON, or a field that serde skips when it writes.
    pub unreadable_values: u64,
    /// Reads that the near cache answered. They count in `hits` too.
    pub near_hits: u64,
    /// Entries in the near cache now.
    pub near_entries: u64,
    /// Bytes that the entries of the near cache take now. On the memory engine they count in `bytes` too.
    pub near_bytes: u64,
    /// Times that the near cache lost all its entries at once: on the memory engine because of a bug, over Redis
    /// because of a lost connection or a message of the server that all keys may have changed.
    pub near_flushes: u64,
    /// Entries held now; expired ones count until they are reclaimed. `None` on Redis.
    pub entries: Option<u64>,
    /// Bytes of all entries now, bookkeeping included. `None` on Redis.
    pub bytes: Option<u64>,
    /// Requests that waited when the engine answered this call: in its request queue, or on Redis for a connection.
    pub queue_depth: u64,
    /// Invalidations and deletes that wait for a connection to Redis, each key once: see
    /// [`queue_invalidations`](crate::Config::queue_invalidations).
    pub queued_invalidations: u64,
}

/// The engine's part of [`Stats`].
pub(crate) type EngineStats = Stats;
