//! No secret of a lock in any line, error or debug output, at the lowest level of logging.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "support/redis/mod.rs"]
mod harness;

use std::error::Error as _;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::{Config, LockOutcome, Store, redis};
use harness::{Direction, Proxy, RedisServer, Toxic};
use tracing_subscriber::fmt::MakeWriter;

const SECOND: Duration = Duration::from_secs(1);
const MINE: &str = "a-secret-of-the-callers-own";
const PASSWORD: &str = "the-password-of-the-server";
const WRONG: &str = "a-password-that-is-wrong";

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

/// Everything that concerns locks, and all that it shows. `server` goes away in the end.
async fn exercise(store: &Store, server: Option<(RedisServer, Proxy)>) -> (String, Vec<String>) {
    let mut all = format!("{:?} {:#?}", store.config(), store);
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
        PASSWORD.to_owned(),
        WRONG.to_owned(),
    ];
    all += &format!("{guard:?} {:#?} {random:?} {random}", guard.secret());
    all += &format!(
        "{:#?} {:?}",
        store.lock("k").secret(MINE),
        store.lock_info("k").await
    );
    // One who waits, so that there is somebody to be told of releases.
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.lock("k").secret(MINE).wait(SECOND / 10).await }
    });
    all += &shown(&waiter.await.unwrap().unwrap_err());
    all += &shown(&store.lock("k").secret(MINE).await.unwrap_err());
    all += &shown(&store.lock("k").secret(" ").await.unwrap_err());
    all += &shown(&store.release_lock("k", MINE).await.unwrap_err());
    all += &shown(&store.extend_lock("random", MINE, SECOND).await.unwrap_err());
    let outcome = LockOutcome {
        key: "told".to_owned(),
        result: store.lock("told").secret(MINE).await,
    };
    all += &format!("{outcome:?}");
    drop(outcome);
    if let Some((mut server, proxy)) = server {
        // A type that the scripts do not expect.
        store.release_lock("mine", MINE).await.unwrap();
        let mut push = redis::cmd("LPUSH");
        push.arg("cachestore:lock:{mine}").arg("x");
        store.redis_command::<u64>(push).await.unwrap();
        let taken = store.write_lock_with_secret("mine", MINE, SECOND).await;
        all += &shown(&taken.unwrap_err());
        // A reply that is lost, a connection that is, and a server that goes.
        proxy.add(Direction::Down, Toxic::Timeout { close: None });
        let lost = tokio::spawn({
            let store = store.clone();
            async move { store.write_lock_with_secret("lost", MINE, SECOND).await }
        });
        tokio::time::sleep(SECOND / 10).await;
        proxy.cut();
        all += &shown(&lost.await.unwrap().unwrap_err());
        proxy.heal();
        proxy.down().await;
        server.kill9();
        all += &shown(&store.write_lock_with_secret("k", MINE, SECOND).await.unwrap_err());
        all += &shown(&store.release_lock("k", MINE).await.unwrap_err());
        all += &shown(&guard.release().await.unwrap_err());
    }
    let _ = store.close().await;
    all += &shown(&store.release_lock("k", MINE).await.unwrap_err());
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
    let server = RedisServer::options().password(PASSWORD).start().await;
    let proxy = Proxy::start(server.address(), 3).await;
    let url = |password: &str| proxy.url().replace("redis://", &format!("redis://:{password}@"));
    let refused = Store::open(Config::redis(&url(WRONG)).unwrap())
        .await
        .unwrap_err();
    let bad = Config::redis(&url(WRONG).replace("redis:", "radish:")).unwrap_err();
    let config = Config::redis(&url(PASSWORD)).unwrap().request_timeout(SECOND);
    let mut told = format!("{} {} {config:#?}", shown(&refused), shown(&bad));
    let redis = Store::open(config).await.unwrap();
    for (store, server) in [(memory, None), (redis, Some((server, proxy)))] {
        let (all, secrets) = exercise(&store, server).await;
        told += &all;
        told += &String::from_utf8_lossy(&lines.0.lock().unwrap());
        for secret in secrets {
            let at = told.find(&secret);
            let around = at.map(|at| &told[at.saturating_sub(100)..at]);
            assert_eq!(around, None, "a secret is shown after this");
        }
    }
    assert!(
        told.contains("the Redis engine has stopped"),
        "the lowest level is listened to"
    );
}
