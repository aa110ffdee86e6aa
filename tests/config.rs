//! Configuration: URLs, the environment, and what is refused, without a word of any password.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::{Codec, Config, EngineKind, Error, MemoryConfig, NearCache, RedisConfig, Result, Store};
use futures_util::FutureExt;
use serde_json::json;
use support::{CENTURY, ms, open, secs, told};

const MIB: usize = 1024 * 1024;

#[test]
fn the_defaults_are_those_documented() {
    let config = Config::memory();
    let settings = config.settings();
    assert_eq!(config.engine(), EngineKind::Memory);
    assert_eq!(settings.codec, Codec::MessagePack);
    assert_eq!(
        (settings.max_key_bytes, settings.max_value_bytes),
        (65_535, 64 * MIB)
    );
    assert_eq!(
        (settings.default_ttl, settings.namespace.as_deref()),
        (None, None)
    );
    assert_eq!(settings.request_timeout, secs(5));
    assert!(!settings.go_compatible);
    assert_eq!(config, MemoryConfig::default().into());
    assert_eq!(config, MemoryConfig::default().capacity_bytes(100 * MIB).into());
}

#[test]
fn both_kinds_of_configuration_take_the_same_settings() {
    macro_rules! settings {
        ($config:expr) => {
            $config
                .codec(Codec::Json)
                .request_timeout(ms(10))
                .default_ttl(secs(1))
                .namespace("n")
                .max_key_bytes(1)
                .max_value_bytes(2)
                .queue_length(3)
                .queue_bytes(4)
                .go_compatible()
        };
    }
    assert_eq!(
        settings!(Config::memory()),
        settings!(MemoryConfig::default()).into()
    );
}

#[test]
fn a_url_says_what_the_setters_say() {
    let with = |bytes| Config::from(MemoryConfig::default().capacity_bytes(bytes));
    for (url, config) in [
        ("memory://", Config::memory()),
        ("memory://?capacity=1048576", with(MIB)),
        ("memory://?capacity=16KiB", with(16 * 1024)),
        ("memory://?capacity=64MiB", with(64 * MIB)),
        ("memory://?capacity=2GiB", with(2048 * MIB)),
        ("memory://?capacity_bytes=2GiB", with(2048 * MIB)),
        ("memory://?capacity=1MiB", Config::memory().capacity_bytes(MIB)),
        ("memory://?ttl=5s", Config::memory().default_ttl(secs(5))),
        ("memory://?default_ttl=5s", Config::memory().default_ttl(secs(5))),
        (
            "memory://?request_timeout=200ms",
            Config::memory().request_timeout(ms(200)),
        ),
        (
            "memory://?request_timeout=2h",
            Config::memory().request_timeout(secs(7200)),
        ),
        (
            "memory://?namespace=a.b_c-d&codec=json",
            Config::memory().namespace("a.b_c-d").codec(Codec::Json),
        ),
        ("memory://?namespace=%61", Config::memory().namespace("a")),
        ("memory://?codec=messagepack", Config::memory()),
        ("memory://?go_compatible=true", Config::memory().go_compatible()),
        ("memory://?go_compatible=false&&", Config::memory()),
        (
            "memory:///?max_key_bytes=100&max_value_bytes=1KiB&queue_length=7&queue_bytes=2KiB",
            Config::memory()
                .max_key_bytes(100)
                .max_value_bytes(1024)
                .queue_length(7)
                .queue_bytes(2048),
        ),
        (
            "memory://?max_loads=1&max_load_waiters=2&max_lock_waiters=3&max_lock_waiters_per_key=4",
            Config::memory()
                .max_loads(1)
                .max_load_waiters(2)
                .max_lock_waiters(3)
                .max_lock_waiters_per_key(4),
        ),
        (
            "redis://host?near_max_age=200ms&near=1MiB",
            RedisConfig::new("redis://host")
                .unwrap()
                .near_cache(NearCache::default().capacity_bytes(MIB).max_age(ms(200)))
                .into(),
        ),
        (
            "redis://host?connections=4&connect_timeout=1s&response_timeout=300ms&keep_alive=1m&batch_commands=5\
             &batch_bytes=6KiB&max_in_flight=7&max_in_flight_bytes=8MiB&max_connection_age=1d&client_name=a%2Bb\
             &reconnect_backoff_min=10ms&reconnect_backoff_max=2s&protocol=resp3&ttl=1m",
            RedisConfig::new("redis://host?protocol=resp3")
                .unwrap()
                .connections(4)
                .connect_timeout(secs(1))
                .response_timeout(ms(300))
                .keep_alive(secs(60))
                .batch_commands(5)
                .batch_bytes(6 * 1024)
                .max_in_flight(7)
                .max_in_flight_bytes(8 * MIB)
                .max_connection_age(secs(24 * 60 * 60))
                .client_name("a+b")
                .reconnect_backoff(ms(10), secs(2))
                .default_ttl(secs(60))
                .into(),
        ),
    ] {
        assert_eq!(Config::from_url(url).unwrap(), config, "{url}");
        assert_eq!(url.parse::<Config>().unwrap(), config, "{url}");
        assert_eq!(Config::try_from(url).unwrap(), config, "{url}");
        assert_eq!(Config::try_from(url.to_owned()).unwrap(), config, "{url}");
        assert_eq!(from_json(json!(url)).unwrap(), config, "{url}");
    }
}

fn from_json(value: serde_json::Value) -> serde_json::Result<Config> {
    // By text too: what a deserializer borrows is another path.
    let by_text = serde_json::from_str::<Config>(&value.to_string());
    let by_value = serde_json::from_value(value);
    assert_eq!(by_text.as_ref().ok(), by_value.as_ref().ok());
    by_value
}

#[test]
fn a_map_says_what_a_url_says() {
    #[derive(Debug, serde::Deserialize)]
    struct App {
        cache: Config,
        #[serde(default)]
        second: Option<Config>,
    }

    for (map, url) in [
        (json!({ "url": "memory://" }), "memory://"),
        (
            json!({ "url": "memory://", "capacity": 1048576 }),
            "memory://?capacity=1MiB",
        ),
        (
            json!({ "capacity_bytes": "1MiB", "url": "memory://" }),
            "memory://?capacity=1MiB",
        ),
        (
            json!({ "url": "memory://?ttl=5s", "codec": "json", "go_compatible": true, "namespace": 2026 }),
            "memory://?ttl=5s&codec=json&go_compatible=true&namespace=2026",
        ),
        (
            json!({ "url": "memory://", "ttl": null, "go_compatible": false }),
            "memory://",
        ),
        (
            json!({ "url": "redis://user:p%40ss@host:7000/3", "connections": 4, "response_timeout": "200ms" }),
            "redis://user:p%40ss@host:7000/3?connections=4&response_timeout=200ms",
        ),
        (
            json!({ "url": "redis://host", "connections": "4" }),
            "redis://host?connections=4",
        ),
    ] {
        let expected = Config::from_url(url).unwrap();
        assert_eq!(from_json(map.clone()).unwrap(), expected, "{map}");
        let app: App = serde_json::from_value(json!({ "cache": map })).unwrap();
        assert_eq!(app.cache, expected);
        assert_eq!(app.second, None);
    }
}

/// serde's own messages quote what does not fit.
#[test]
fn a_bad_map_is_refused_and_its_password_not_told() {
    let url = "redis://:hunter2@host";
    for value in [
        json!(null),
        json!(true),
        json!(-7142),
        json!(7142),
        json!(7142.5),
        json!("hunter2"),
        json!("redis://:hunter2@host?hunter2=1"),
        json!([]),
        json!([url, { "hunter2": ["hunter2"] }]),
        json!({}),
        json!({ "connections": 4 }),
        json!({ "url": 7142 }),
        json!({ "url": null }),
        json!({ "url": [url] }),
        json!({ "url": { "hunter2": "hunter2" } }),
        json!({ "url": url, "hunter2": 7142 }),
        json!({ "url": url, "password": "hunter2" }),
        json!({ "url": url, "capacity": "64MiB" }),
        json!({ "url": url, "connections": "hunter2" }),
        json!({ "url": url, "connections": -7142 }),
        json!({ "url": url, "connections": 7142 }),
        json!({ "url": url, "connections": 1.5 }),
        json!({ "url": url, "connections": ["hunter2"] }),
        json!({ "url": url, "connections": true }),
        json!({ "url": url, "ttl": 7142 }),
        json!({ "url": url, "ttl": { "secs": 7142, "nanos": 0 } }),
        json!({ "url": url, "ttl": "1m", "default_ttl": "1m" }),
        json!({ "url": "redis://:hunter2@host?ttl=1m", "ttl": "1m" }),
        json!({ "url": url, "codec": "hunter2" }),
        json!({ "url": url, "client_name": "hunter2 hunter2" }),
        json!({ "url": url, "namespace": "hunter2:" }),
        json!({ "url": url, "go_compatible": "yes" }),
    ] {
        let error = from_json(value.clone()).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(
            !told.contains("hunter2") && !told.contains("7142"),
            "{value}: {told}"
        );
        assert!(told.contains("invalid configuration: "), "{value}: {told}");
    }
    let twice = r#"{ "url": "memory://", "url": "redis://:hunter2@host" }"#;
    let error = serde_json::from_str::<Config>(twice).unwrap_err();
    assert!(error.to_string().contains("url is given twice"), "{error}");
}

#[test]
fn a_refusal_names_the_setting_and_what_it_takes() {
    for (url, says) in [
        (
            "memory://?capacity=64MB",
            "capacity_bytes must be a size of at least 1 byte, such as 4096, 16KiB",
        ),
        (
            "memory://?ttl=5",
            "default_ttl must be a time over zero and at most 36500d, such as 200ms, 5s",
        ),
        ("memory://?ttl=0s", "default_ttl must be"),
        ("memory://?ttl=36501d", "default_ttl must be"),
        ("memory://?ttl=1.5s", "default_ttl must be"),
        ("memory://?ttl=-5s", "default_ttl must be"),
        ("memory://?ttl=%2B5s", "default_ttl must be"),
        (
            "memory://?request_timeout=0ms",
            "request_timeout must be a time of at least 1ms",
        ),
        (
            "memory://?queue_length=4k",
            "queue_length must be a number from 1 to",
        ),
        ("memory://?codec=JSON", "codec must be messagepack or json"),
        ("memory://?go_compatible", "go_compatible must be false or true"),
        (
            "memory://?namespace=a/b",
            "namespace must be 1 to 64 of A-Z a-z 0-9",
        ),
        ("memory://?namespace=cachestore", "namespace must be"),
        (
            "memory://?connections=4",
            "this engine has codec, request_timeout, ttl, namespace,",
        ),
        ("redis://host?capacity=64MiB", "connections, connect_timeout"),
        (
            "redis://host?connections=65",
            "connections must be a number from 1 to 64",
        ),
        (
            "redis://host?keep_alive=10h",
            "keep_alive must be a time from 1s to 9h",
        ),
        (
            "redis://host?response_timeout=24d",
            "response_timeout must be a time from 1ms to 1d",
        ),
        (
            "redis://host?reconnect_backoff_min=0ms",
            "reconnect_backoff_min must be",
        ),
        (
            "redis://host?client_name=a+b",
            "client_name must be 1 to 128 printable ASCII characters",
        ),
        ("redis://host?client_name=a%0D%0Ab", "client_name must be"),
        (
            "memory://?ttl=1s&capacity=1MiB&ttl=1s",
            "default_ttl is given twice",
        ),
        (
            "redis://host?connections=1&connections=2",
            "connections is given twice",
        ),
        (
            "redis://host?protocol=resp2&protocol=resp3",
            "protocol is given twice",
        ),
        ("unix:///socket?pass=a&pass=b", "pass is given twice"),
        ("redis://host:0", "a server has no port 0"),
    ] {
        let error = Config::from_url(url).unwrap_err();
        assert!(matches!(error, Error::InvalidConfig { .. }), "{url}: {error:?}");
        assert!(error.to_string().contains(says), "{url}: {error}");
    }
}

/// What a command-line parser asks of a value's type.
#[test]
fn a_configuration_can_be_an_argument() {
    fn argument<T>() -> Option<T>
    where
        T: std::str::FromStr + Clone + Send + Sync + 'static,
        T::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        None
    }
    assert_eq!(argument::<Config>(), None);
}

#[tokio::test]
async fn a_url_opens_a_store() {
    let store = open(Config::from_url("memory://?capacity=1MiB").unwrap()).await;
    assert_eq!(store.engine(), EngineKind::Memory);
    assert_eq!(
        *store.config(),
        MemoryConfig::default().capacity_bytes(MIB).into()
    );
    assert!(matches!(
        store.set("k", vec![0; MIB]).await,
        Err(Error::ValueTooLarge { .. })
    ));
}

#[test]
fn a_bad_url_is_refused_and_its_password_not_told() {
    for url in [
        "",
        "hunter2",
        "memory",
        "memory:hunter2",
        "memory:/hunter2",
        "memory://hunter2",
        "memory://user:hunter2@host:6379/0",
        "memory://?hunter2",
        "memory://?hunter2=1",
        "memory://?capacity=hunter2",
        "memory://?capacity=64MiB&password=hunter2",
        "memory://?capacity=",
        "memory://?capacity=0",
        "memory://?capacity=0MiB",
        "memory://?capacity=-1",
        "memory://?capacity=+1",
        "memory://?capacity=1.5GiB",
        "memory://?capacity=64MB",
        "memory://?capacity=64mib",
        "memory://?capacity=64 MiB",
        "memory://?capacity=MiB",
        "memory://?capacity=1_000",
        "memory://?capacity=\u{661}",
        "memory://?capacity=18446744073709551616",
        "memory://?capacity=17179869184GiB",
        "http://user:hunter2@host/",
        "postgres://hunter2",
        "user:hunter2@host",
        "://hunter2",
        "hunter2://",
    ] {
        let error = Config::from_url(url).unwrap_err();
        assert!(matches!(error, Error::InvalidConfig { .. }), "{url}: {error:?}");
        assert!(!told(&error).contains("hunter2"), "{url}: {}", told(&error));
        assert!(!error.is_retryable());
    }
}

async fn refused(config: impl Into<Config>) -> Error {
    match Store::open(config).await {
        Err(error) => error,
        Ok(store) => panic!("{:?} was accepted", store.config()),
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_by_open() {
    for config in [
        Config::memory().request_timeout(Duration::ZERO),
        Config::memory().max_key_bytes(0),
        Config::memory().max_key_bytes(65_536),
        Config::memory().max_key_bytes(usize::MAX),
        Config::memory().max_value_bytes(0),
        Config::memory().queue_length(0),
        Config::memory().queue_length(usize::MAX),
        Config::memory().queue_bytes(0),
        MemoryConfig::default().capacity_bytes(0).into(),
    ] {
        let shown = format!("{config:?}");
        let error = refused(config).await;
        assert!(matches!(error, Error::InvalidConfig { .. }), "{shown}: {error:?}");
    }
    for ttl in [Duration::ZERO, CENTURY + Duration::from_nanos(1), Duration::MAX] {
        let error = refused(Config::memory().default_ttl(ttl)).await;
        assert!(
            matches!(error, Error::InvalidTtl { ttl: told } if told == ttl),
            "{error:?}"
        );
    }
    for name in ["", "a:b", "a/b", "a b", " a", "cachestore", &"x".repeat(65)] {
        let error = refused(Config::memory().namespace(name)).await;
        assert!(
            matches!(error, Error::InvalidNamespace { .. }),
            "{name:?}: {error:?}"
        );
    }
}

/// The largest settings cost nothing until they are used.
#[tokio::test]
async fn the_largest_settings_are_accepted() {
    let config = MemoryConfig::default()
        .capacity_bytes(usize::MAX)
        .max_value_bytes(usize::MAX)
        .queue_bytes(usize::MAX)
        .queue_length(1 << 40)
        .request_timeout(Duration::MAX)
        .default_ttl(CENTURY)
        .namespace("x".repeat(64));
    let store = open(config).await;
    store.set("k", vec![0; MIB]).await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap().len(), MIB);
    store.ping().await.unwrap();
}

#[test]
fn a_store_is_opened_inside_a_runtime() {
    let outcome = Store::open(Config::memory())
        .now_or_never()
        .expect("it is refused at once");
    assert!(matches!(outcome, Err(Error::InvalidConfig { .. })), "{outcome:?}");
}

/// Collects what is logged while `call` runs.
fn logged<T>(call: impl FnOnce() -> T) -> (T, String) {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let result = tracing::subscriber::with_default(subscriber, call);
    let log = log.0.lock().unwrap();
    (result, String::from_utf8(log.clone()).unwrap())
}

/// What a child process that is told so is to find: the environment of a process cannot be changed
/// safely while its tests run.
const EXPECTED: &str = "CACHESTORE_TEST_EXPECTED";

/// Runs [`the_environment_is_as_expected`] alone, in a process of its own with this environment.
fn in_environment(expected: &str, url: Option<&str>) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "the_environment_is_as_expected"])
        .env(EXPECTED, expected);
    match url {
        Some(url) => child.env("CACHESTORE_URL", url),
        None => child.env_remove("CACHESTORE_URL"),
    };
    let output = child.output().unwrap();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{expected}, {url:?}:\n{told}"
    );
}

#[test]
fn the_environment_is_as_expected() {
    let Ok(expected) = std::env::var(EXPECTED) else {
        return;
    };
    let (outcome, log): (Result<Config>, String) = logged(Config::from_env);
    let (_, second) = logged(Config::from_env);
    let warnings = |log: &str| log.lines().filter(|line| line.contains("WARN")).count();
    assert!(
        !format!("{log} {outcome:?}").contains("hunter2"),
        "{log} {outcome:?}"
    );
    match expected.as_str() {
        "a warning" => {
            assert_eq!(outcome.unwrap(), Config::memory());
            assert_eq!((warnings(&log), warnings(&second)), (1, 1), "{log}");
            assert!(log.contains("CACHESTORE_URL"), "it says what to set: {log}");
        }
        "64 MiB" => {
            assert_eq!(
                outcome.unwrap(),
                MemoryConfig::default().capacity_bytes(64 * MIB).into()
            );
            assert_eq!(log, "");
        }
        _ => {
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
            assert!(!told(&error).contains("hunter2"));
        }
    }
}

#[test]
fn without_a_url_in_the_environment_there_is_one_warning_a_call() {
    in_environment("a warning", None);
    in_environment("a warning", Some(""));
    in_environment("a warning", Some("  "));
}

#[test]
fn the_url_in_the_environment_is_used_without_a_word() {
    in_environment("64 MiB", Some("memory://?capacity=64MiB"));
}

#[test]
fn a_bad_url_in_the_environment_is_refused() {
    in_environment("a refusal", Some("memory://user:hunter2@host"));
    in_environment("a refusal", Some("hunter2"));
}
