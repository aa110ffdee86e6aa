//! Stores over a server of the harness, and what their answers may be.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use cachestore::{Error, LoadError, Loaded, NearCache, Origin, RedisConfig, Store};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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

/// Calls until one succeeds. Returns when.
pub(crate) async fn back(store: &Store) -> Instant {
    let end = Instant::now() + MINUTE;
    loop {
        match store.set("back", "v").await {
            Ok(()) => return Instant::now(),
            Err(Error::Unavailable(_) | Error::OutcomeUnknown(_) | Error::Timeout { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert!(Instant::now() < end, "the store does not come back");
        tokio::time::sleep(ms(5)).await;
    }
}

/// A load of `k` whose loader has begun, and returns `old` once it may.
pub(crate) struct HeldLoad {
    go: Arc<Notify>,
    load: JoinHandle<Result<Loaded<String>, LoadError<std::io::Error>>>,
}

impl HeldLoad {
    pub(crate) async fn begin(store: &Store) -> Self {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let loader = {
            let (begun, go) = (begun.clone(), go.clone());
            move || async move {
                begun.notify_one();
                go.notified().await;
                Ok::<_, std::io::Error>("old".to_owned())
            }
        };
        let store = store.clone();
        let load = async move {
            store
                .get_or_load("k", loader)
                .depends_on("source")
                .outcome()
                .await
        };
        let load = tokio::spawn(load);
        begun.notified().await;
        Self { go, load }
    }

    /// Lets it end. Returns where the value came from.
    pub(crate) async fn end(self) -> Origin {
        self.go.notify_one();
        let loaded = tokio::time::timeout(MINUTE, self.load).await;
        let loaded = loaded.expect("it ends").expect("a task").expect("a value");
        assert_eq!(loaded.value, "old");
        loaded.origin
    }
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
    let end = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > end {
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
