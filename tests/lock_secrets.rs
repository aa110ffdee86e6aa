//! No secret of a lock in any line, error or debug output, at the lowest level of logging.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "support/redis/mod.rs"]
mod harness;

use std::error::Error as _;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::{Config, Store};
use harness::RedisServer;
use tracing_subscriber::fmt::MakeWriter;

const SECOND: Duration = Duration::from_secs(1);
const MINE: &str = "a-secret-of-the-callers-own";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

/// All that an error shows, and its sources.
fn shown(error: &cachestore::Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!("{error} {error:?} {error:#?}");
        source = error.source();
    }
    text
}

async fn exercise(store: &Store, mut server: Option<RedisServer>) -> (String, Vec<String>) {
    let mut all = String::new();
    let guard = store.lock("k").renew(60 * SECOND).await.unwrap();
    let random = store.write_lock("random", 60 * SECOND).await.unwrap();
    store
        .write_lock_with_secret("mine", MINE, 60 * SECOND)
        .await
        .unwrap();
    let secrets = vec![
        guard.secret().expose().to_owned(),
        random.expose().to_owned(),
        MINE.to_owned(),
    ];
    all += &format!(
        "{guard:?} {random:?} {random} {:?} {store:?}",
        store.lock("k").secret(MINE)
    );
    all += &shown(&store.lock("k").secret(MINE).await.unwrap_err());
    all += &shown(&store.release_lock("k", MINE).await.unwrap_err());
    all += &shown(&store.extend_lock("random", MINE, SECOND).await.unwrap_err());
    if let Some(server) = &mut server {
        // A type that the scripts do not expect, and a server that goes.
        server.command(&["DEL", "cachestore:lock:{mine}"]);
        server.command(&["LPUSH", "cachestore:lock:{mine}", "x"]);
        all += &shown(
            &store
                .write_lock_with_secret("mine", MINE, SECOND)
                .await
                .unwrap_err(),
        );
        server.kill9();
        all += &shown(&store.write_lock_with_secret("k", MINE, SECOND).await.unwrap_err());
        all += &shown(&store.release_lock("k", MINE).await.unwrap_err());
        all += &shown(&guard.release().await.unwrap_err());
    }
    let _ = store.close().await;
    (all, secrets)
}

#[tokio::test]
async fn secrets_are_nowhere() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let memory = Store::open(Config::memory()).await.unwrap();
    let server = RedisServer::start().await;
    let config = Config::redis(&server.url()).unwrap().request_timeout(SECOND);
    let redis = Store::open(config).await.unwrap();
    for (store, server) in [(memory, None), (redis, Some(server))] {
        let (mut all, secrets) = exercise(&store, server).await;
        all += &String::from_utf8_lossy(&lines.0.lock().unwrap());
        assert!(!all.is_empty());
        for secret in secrets {
            assert!(!all.contains(&secret), "{all}");
        }
    }
}
