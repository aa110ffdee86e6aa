//! What several test files share.

#![allow(dead_code, reason = "each test file uses some of these")]
#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use cachestore::{Config, Error, Store};
use futures_util::TryStreamExt;

pub(crate) async fn open(config: impl Into<Config>) -> Store {
    Store::open(config).await.expect("a valid configuration opens")
}

pub(crate) async fn memory() -> Store {
    open(Config::memory()).await
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The longest TTL there is.
pub(crate) const CENTURY: Duration = secs(100 * 365 * 24 * 60 * 60);

/// All that a scan yields, sorted, and each once: a server may say a key twice.
pub(crate) async fn keys(store: &Store, prefix: &str) -> Vec<String> {
    let mut keys: Vec<String> = store.scan(prefix).try_collect().await.expect("a scan");
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Everything that an error says: its message, its `Debug`, and those of all its sources.
pub(crate) fn told(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!("\n{cause}\n{cause:?}"));
        source = cause.source();
    }
    text
}
