//! The caches in memory that are measured beside each other, behind one trait.

#![allow(dead_code, clippy::unwrap_used, reason = "each bench uses a part of this")]

use std::sync::Arc;
use std::time::Duration;

use cachestore::Store;

use super::support::{KEYS, VALUE, key};

/// One task's part of the workload.
pub(crate) struct Share {
    pub(crate) keys: Arc<[String]>,
    pub(crate) order: Arc<[u32]>,
    pub(crate) begin: usize,
    pub(crate) calls: usize,
}

impl Share {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let order = self.order[self.begin..].iter().chain(self.order.iter().cycle());
        order
            .take(self.calls)
            .map(|number| self.keys[*number as usize].as_str())
    }
}

/// A cache that holds all keys.
pub(crate) trait Contestant: Clone + Send + Sync + 'static {
    /// Whether the key was found: always.
    fn get(&self, key: &str) -> impl Future<Output = bool> + Send;
    fn set(&self, key: &str) -> impl Future<Output = ()> + Send;

    /// Waits until all writes have been carried out.
    async fn settled(&self) {}

    async fn filled(self) -> Self {
        for number in 0..KEYS {
            self.set(&key(number)).await;
        }
        self.settled().await;
        self
    }
}

impl Contestant for Store {
    async fn get(&self, key: &str) -> bool {
        Store::get(self, key).await.unwrap().is_some()
    }

    async fn set(&self, key: &str) {
        Store::set(self, key, VALUE).await.unwrap();
    }

    /// A write is complete when it is in the queue; a question behind it is answered after it.
    async fn settled(&self) {
        self.ping().await.unwrap();
    }
}

pub(crate) type Moka = moka::future::Cache<String, Arc<[u8]>>;

pub(crate) fn moka() -> Moka {
    Moka::builder()
        .max_capacity(2 * KEYS as u64)
        .time_to_live(Duration::from_secs(3600))
        .build()
}

impl Contestant for Moka {
    async fn get(&self, key: &str) -> bool {
        moka::future::Cache::get(self, key).await.is_some()
    }

    async fn set(&self, key: &str) {
        self.insert(key.to_owned(), Arc::from(VALUE.as_slice())).await;
    }
}

pub(crate) type QuickCache = Arc<quick_cache::sync::Cache<String, Arc<[u8]>>>;

impl Contestant for QuickCache {
    async fn get(&self, key: &str) -> bool {
        quick_cache::sync::Cache::get(self, key).is_some()
    }

    async fn set(&self, key: &str) {
        self.insert(key.to_owned(), Arc::from(VALUE.as_slice()));
    }
}

pub(crate) fn quick_cache() -> QuickCache {
    Arc::new(quick_cache::sync::Cache::new(2 * KEYS))
}

pub(crate) fn count(tasks: usize) -> String {
    if tasks == 1 {
        "1 task".to_owned()
    } else {
        format!("{tasks} tasks")
    }
}
