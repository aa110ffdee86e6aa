//! Spans hold no key, no value and no credential.

use std::collections::HashMap;

use cachestore::{Config, Fetched, LoadContext, Store};
use futures_util::TryStreamExt;

use crate::seen::Seen;
use crate::support::secs;

const HOSTILE: &str = "s3cret-key\u{1b}[31m{\"a\":1}\n= password";
const PARTS: [&str; 3] = ["s3cret", "\u{1b}", "t0ken"];

async fn use_all(store: &Store) {
    let (key, value) = (HOSTILE, "s3cret-value");
    let namespace = store.namespace("s3cret-tenant").unwrap();
    for store in [store, &namespace] {
        store.set(key, value).depends_on(key).await.unwrap();
        store.get(key).await.unwrap();
        store.add(key, value).await.unwrap();
        store.compare_and_set(key, value, value).await.unwrap();
        assert!(store.incr(key, 1).await.is_err());
        store.set_many([(key, value)]).await.unwrap();
        store.get_many([key]).await.unwrap();
        store.invalidate(key).await.unwrap();
        let failing = || async { Err::<i32, _>("s3cret-error") };
        assert!(store.get_or_load(key, failing).hide_errors().await.is_err());
        let found = |_: LoadContext<String>| async {
            let value = Fetched::new("s3cret-value".to_owned()).validator("s3cret-validator");
            Ok::<_, String>(value.depends_on("s3cret-name"))
        };
        store.get_or_load_with("s3cret-found", found).await.unwrap();
        let many = |keys: Vec<String>| async {
            let values = keys.into_iter().map(|key| (key, "s3cret-value".to_owned()));
            Ok::<HashMap<_, _>, String>(values.collect())
        };
        store.get_or_load_many([key], many).await.unwrap();
        store
            .write_lock_with_secret(key, "t0ken", secs(60))
            .await
            .unwrap();
        assert!(store.lock(key).secret("t0ken2").await.is_err());
        store.release_lock(key, "t0ken").await.unwrap();
        store.scan(key).try_collect::<Vec<_>>().await.unwrap();
        store.scan_entries(key).try_collect::<Vec<_>>().await.unwrap();
        store.clear().await.unwrap();
    }
}

fn check(seen: &Seen, parts: &[&str]) {
    let spans = seen.since(0);
    assert!(spans.len() > 30, "{}", spans.len());
    for span in spans {
        let fields = span.fields.iter().map(|(name, value)| format!("{name}={value}"));
        let text = [span.name.to_owned(), span.target.to_owned()]
            .into_iter()
            .chain(fields);
        let text = text.collect::<Vec<_>>().join("\n");
        for part in PARTS.iter().chain(parts) {
            assert!(!text.contains(part), "{part}: {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_memory() {
    let seen = Seen::begin();
    use_all(&crate::support::open(Config::memory()).await).await;
    check(&seen, &[]);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn over_redis_with_a_user_and_a_password() {
    use crate::harness::RedisServer;
    use crate::harness::opening::{config, open};

    let server = RedisServer::options()
        .user("user u53r on >p4ssw0rd ~* &* +@all")
        .start()
        .await;
    let url = format!("redis://u53r:p4ssw0rd@{}/3", server.address());
    let seen = Seen::begin();
    let store = open(config(&url).namespace("s3cret-namespace")).await;
    use_all(&store).await;
    check(&seen, &["u53r", "p4ssw0rd"]);
    let ping = seen.only("ping");
    assert_eq!(ping.field("server.address"), Some("127.0.0.1"));
    assert_eq!(ping.field("db.namespace"), Some("3"));
}
