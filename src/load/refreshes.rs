//! Keys whose refresh the coordinator has been told of: further callers who are served what is stale need not tell it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::Key;
use crate::prehashed::Set;

const SHARDS: usize = 64;

/// The keys, by their hashes. If two hashes are equal, one of the keys is refreshed later than it could be.
#[derive(Debug)]
pub(crate) struct Refreshes([Mutex<Set<u64>>; SHARDS]);

/// A key that the coordinator is told of. It holds until the coordinator has done with the key.
#[derive(Debug)]
pub(crate) struct Mark {
    refreshes: Arc<Refreshes>,
    hash: u64,
}

impl Refreshes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(std::array::from_fn(|_| Mutex::default())))
    }

    /// Whether a key is marked.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.shard(key.hash()).contains(&key.hash())
    }

    /// Marks a key. `None` if it is marked already.
    pub(super) fn mark(self: &Arc<Self>, key: &Key) -> Option<Mark> {
        let hash = key.hash();
        self.shard(hash).insert(hash).then(|| Mark {
            refreshes: self.clone(),
            hash,
        })
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Set<u64>> {
        let shard = &self.0[hash as usize % SHARDS];
        // Nothing that could panic runs under the lock.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.refreshes.shard(self.hash).remove(&self.hash);
    }
}
