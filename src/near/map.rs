//! The map that readers look into: shards by hash, each behind a lock that the engine alone takes for writing.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use super::NearEntry;
use crate::key::Key;

const SHARDS: usize = 64;
/// A shard is made smaller when fewer than one in this many of its places is used.
const SPARSE: usize = 8;
/// Shards this small are not worth shrinking.
const SMALL: usize = 8;

type Entries = HashTable<Arc<NearEntry>>;

/// Entries by the hash of their keys.
#[derive(Debug)]
pub(super) struct Map {
    shards: Box<[Shard]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(RwLock<Entries>);

/// Nothing that runs under a lock leaves a table torn, so a poisoned lock means nothing.
impl Shard {
    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        }
    }

    /// The table takes its place from the low bits and its tag from the top seven.
    fn shard(&self, hash: u64) -> &Shard {
        &self.shards[(hash >> 48) as usize % SHARDS]
    }

    /// Shows the entry of a key to `see`, under a lock.
    pub(super) fn find<T>(&self, key: &Key, see: impl FnOnce(&Arc<NearEntry>) -> T) -> Option<T> {
        let entries = self.shard(key.hash()).read();
        let entry = entries.find(key.hash(), |entry| entry.key() == key)?;
        Some(see(entry))
    }

    /// Adds an entry whose key has none.
    pub(super) fn insert(&self, entry: Arc<NearEntry>) {
        let hash = entry.key().hash();
        let mut entries = self.shard(hash).write();
        entries.insert_unique(hash, entry, |entry| entry.key().hash());
    }

    /// Removes this very entry.
    pub(super) fn remove(&self, entry: &Arc<NearEntry>) {
        let hash = entry.key().hash();
        let mut entries = self.shard(hash).write();
        if let Ok(found) = entries.find_entry(hash, |other| Arc::ptr_eq(other, entry)) {
            found.remove();
            if entries.capacity() > SMALL && entries.len() < entries.capacity() / SPARSE {
                let room = entries.len() * 2;
                entries.shrink_to(room, |entry| entry.key().hash());
            }
        }
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            // The entries are dropped after the lock is released.
            let _entries = std::mem::take(&mut *shard.write());
        }
    }
}
