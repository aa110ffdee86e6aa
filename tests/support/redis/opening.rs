//! Stores over a server of the harness, and what their answers may be.

use std::cell::Cell;
use std::time::Duration;

use cachestore::{Error, NearCache, RedisConfig, Store};

use super::RedisServer;
use super::lateness;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

thread_local! {
    static NEAR: Cell<bool> = const { Cell::new(false) };
}

/// Gives the stores of this thread a near cache, until this is dropped.
pub(crate) struct WithNear(());

impl WithNear {
    pub(crate) fn on() -> Self {
        NEAR.set(true);
        Self(())
    }
}

impl Drop for WithNear {
    fn drop(&mut self) {
        NEAR.set(false);
    }
}

pub(crate) fn config(url: &str) -> RedisConfig {
    lateness::watch();
    let config = RedisConfig::new(url).expect("a URL");
    if NEAR.get() {
        config.near_cache(NearCache::default())
    } else {
        config
    }
}

/// Opens a store. Where calls of a test have little time, a busy machine takes several attempts.
pub(crate) async fn open(config: RedisConfig) -> Store {
    for _ in 0..20 {
        match Store::open(config.clone()).await {
            Err(Error::Timeout { .. }) => {}
            opened => return opened.expect("the store opens"),
        }
    }
    panic!("the store does not open in time");
}

/// A server without a password, and a store over it with the defaults.
pub(crate) async fn plain() -> (RedisServer, Store) {
    let server = RedisServer::start().await;
    let store = open(config(&server.url())).await;
    (server, store)
}

/// The same in `.go_compatible()` mode.
pub(crate) async fn go() -> (RedisServer, Store) {
    let server = RedisServer::start().await;
    let store = open(config(&server.url()).go_compatible()).await;
    (server, store)
}

const MINUTE: Duration = Duration::from_secs(60);

/// The fencing token of the lock `k`, taken and released, also while the store's connection is being replaced.
pub(crate) async fn token(store: &Store) -> u64 {
    for _ in 0..200 {
        if let Ok(guard) = store.lock("k").ttl(MINUTE).wait(MINUTE).await {
            let token = guard.fencing_token();
            if guard.release().await.is_ok() {
                return token;
            }
        }
        tokio::time::sleep(ms(10)).await;
    }
    panic!("no lock");
}

/// Whether an error says that the call was not carried out.
pub(crate) fn was_not_done(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable(_) | Error::Timeout { .. } | Error::Closed
    )
}

/// Waits until `holds`, at most so long: whether it did.
pub(crate) async fn eventually(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = tokio::time::Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if tokio::time::Instant::now() > end {
            return false;
        }
        tokio::time::sleep(ms(5)).await;
    }
}

/// Everything that an error says: its message, its `Debug`, and those of all its sources.
pub(crate) fn told(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!("\n{cause}\n{cause:?}\n{cause:#?}"));
        source = cause.source();
    }
    text
}

/// How long a long version runs: `SOAK_SECONDS`, which `tests/soak.sh` sets, or ten seconds.
pub(crate) fn soak() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// The resident memory of this process in bytes.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    let kib: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number");
    kib * 1024
}
