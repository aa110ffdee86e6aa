//! No password and no value in anything that is shown: Debug, Display, errors, and every line and
//! span down to TRACE, of this library and of those below it.
//!
//! One test, as the subscriber is the process's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "support/redis/mod.rs"]
mod harness;

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex};

use cachestore::{Codec, Config, RedisConfig, Store, Value, redis};
use futures_util::TryStreamExt;
use harness::opening::{config, ms, told};
use harness::tls::{Certificates, Shown};
use harness::{Direction, Proxy, RedisServer, Toxic};
use serde::{Deserialize, Serialize};
use tracing_subscriber::fmt::format::FmtSpan;

const PASSWORD: &str = "hunter2-pass";
const USER: &str = "app";
/// Begins every value.
const VALUE: &str = "v4lue-s3cret";

/// All that was logged.
#[derive(Debug, Clone, Default)]
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

/// The ways in which a text may show up.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let base64 = {
        // Three bytes to four characters; what is left over is not looked at.
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in bytes.chunks_exact(3) {
            let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
            for shift in [18, 12, 6, 0] {
                text.push(char::from(ALPHABET[(bits >> shift & 63) as usize]));
            }
        }
        text
    };
    vec![
        secret.to_owned(),
        list.join(", "),
        list.join(","),
        hex.clone(),
        hex.to_uppercase(),
        base64,
    ]
}

#[derive(Debug, Default)]
struct Texts(Vec<String>);

impl Texts {
    fn debug(&mut self, what: &dyn Debug) {
        self.0.push(format!("{what:?}\n{what:#?}"));
    }

    /// An answer, which is expected to be an error; its value is not for showing.
    fn failed<T>(&mut self, what: &str, answer: Result<T, cachestore::Error>) {
        match answer {
            Ok(_) => panic!("{what} was expected to fail"),
            Err(error) => self.0.push(format!("{what}: {}", told(&error))),
        }
    }

    fn any<T>(&mut self, what: &str, answer: Result<T, cachestore::Error>) {
        if let Err(error) = answer {
            self.0.push(format!("{what}: {}", told(&error)));
        }
    }
}

fn value(more: &str) -> String {
    format!("{VALUE}{more}")
}

#[derive(Serialize, Deserialize)]
struct Model {
    name: String,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "it is not to be read")]
struct Another {
    name: u32,
}

/// Every call, on a store that works.
async fn everything(store: &Store, shown: &mut Texts) {
    shown.debug(store);
    shown.debug(store.config());
    shown.debug(&store.set("k", value("")));
    shown.debug(&store.set("k", value("")).ttl(ms(5)).depends_on(["d"]));
    shown.debug(&store.compare_and_set("k", value("1"), value("2")));
    shown.debug(&store.set_many([("k", value("1"))]));
    shown.debug(&store.set_model("k", &Model { name: value("") }));
    shown.debug(&Value::from(value("")));
    shown.debug(&store.scan("k"));
    store.set("k", value("1")).await.unwrap();
    store
        .set("dependent", value("1"))
        .depends_on(["d"])
        .await
        .unwrap();
    store.get("k").await.unwrap();
    store.get_many(["k", "dependent", "absent"]).await.unwrap();
    store
        .set_many([("a", value("1")), ("b", value("2"))])
        .ttl(ms(60_000))
        .await
        .unwrap();
    store.add("k", value("3")).await.unwrap();
    store.replace("k", value("4")).await.unwrap();
    store.compare_and_set("k", value("4"), value("5")).await.unwrap();
    store
        .set_model("m", &Model { name: value("") })
        .depends_on(["d"])
        .await
        .unwrap();
    shown.failed("get_model", store.get_model::<Another>("m").await);
    shown.failed("get_model", store.get_model::<Model>("k").await);
    shown.failed("get_models", store.get_models::<Another>(["m"]).await);
    store
        .set("text", [VALUE.as_bytes(), b"\xff"].concat())
        .await
        .unwrap();
    shown.failed("get_string", store.get_string("text").await);
    shown.failed("incr", store.incr("k", 1).await);
    shown.failed("ValueTooLarge", store.set("k", value(&"x".repeat(70_000))).await);
    store.expire("k", ms(60_000)).await.unwrap();
    store.persist("k").await.unwrap();
    store.scan("").try_collect::<Vec<_>>().await.unwrap();
    shown.debug(&store.stats().await.unwrap());

    // Commands that the server refuses, and quotes as it does.
    let mut push = redis::cmd("RPUSH");
    push.arg("list").arg(value("pushed"));
    store.redis_command::<i64>(push).await.unwrap();
    shown.failed("get of a list", store.get("list").await);
    shown.failed("take of a list", store.take("list").await);
    shown.failed(
        "compare_and_set of a list",
        store.compare_and_set("list", value("1"), value("2")).await,
    );
    let command = |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command
    };
    let text = value("refused");
    for words in [
        vec!["NOSUCHCOMMAND", &text],
        vec![&text, "k"],
        vec!["SET", "k", &text, "NOSUCHOPTION"],
        vec!["CLIENT", &text],
        vec!["EVAL", &text, "0"],
        vec!["EVAL", "return redis.error_reply(ARGV[1])", "0", &text],
        vec!["CONFIG", "SET", "maxmemory", &text],
    ] {
        shown.failed(
            words[0].trim_start_matches(VALUE),
            store.redis_command::<String>(command(&words)).await,
        );
    }
    // A reply of another type than asked for.
    shown.failed(
        "a reply",
        store.redis_command::<i64>(command(&["GET", "k"])).await,
    );
    shown.failed(
        "a reply",
        store
            .redis_command::<Vec<u64>>(command(&["LRANGE", "list", "0", "-1"]))
            .await,
    );
    store.take("k").await.unwrap();
    store.invalidate(["d"]).await.unwrap();
    store.clear().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_shown() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let mut shown = Texts::default();

    let line = format!("user default off\nuser {USER} on >{PASSWORD} ~* &* +@all");
    let mut server = RedisServer::options().user(&line).start().await;
    let proxy = Proxy::start(server.address(), 1).await;
    let url = format!("redis://{USER}:{PASSWORD}@{}/1", proxy.address());
    let settings = || config(&url).request_timeout(ms(30_000)).max_value_bytes(65_536);
    for settings in [
        settings(),
        settings().codec(Codec::Json),
        settings().go_compatible(),
    ] {
        shown.debug(&settings);
        shown.debug(&Config::from(settings.clone()));
        let store = Store::open(settings).await.unwrap();
        everything(&store, &mut shown).await;
        shown.debug(&store.namespace("tenant").unwrap());
        store.close().await.unwrap();
    }
    let store = Store::open(
        RedisConfig::from_client(redis::Client::open(url.clone()).unwrap()).max_value_bytes(65_536),
    )
    .await
    .unwrap();
    shown.debug(store.config());
    everything(&store, &mut shown).await;

    // Refusals: a wrong password, no such user, no such port, no such database.
    for (user, password) in [
        (USER, "hunter2-pass-wrong"),
        ("hunter2-pass", PASSWORD),
        ("", PASSWORD),
    ] {
        let url = format!("redis://{user}:{password}@{}", server.address());
        shown.failed("a wrong password", Store::open(config(&url)).await);
    }
    for place in ["127.0.0.1:1", "no.such.host.invalid:6379", "127.0.0.1:1/99"] {
        let settings = config(&format!("redis://{USER}:{PASSWORD}@{place}")).request_timeout(ms(500));
        shown.debug(&settings);
        shown.failed(place, Store::open(settings).await);
    }
    for url in [
        format!("redis://{USER}:{PASSWORD}@host:port"),
        format!("rediss://{USER}:{PASSWORD}@host/database"),
        format!("redis://{USER}:{PASSWORD}@host?{PASSWORD}={PASSWORD}"),
        format!("{PASSWORD}://{USER}:{PASSWORD}@host"),
        format!("unix:///socket?pass={PASSWORD}&{PASSWORD}"),
    ] {
        shown.failed("a bad URL", Config::from_url(&url));
        shown.any("a bad URL", RedisConfig::new(&url));
    }
    let socket = config(&format!(
        "unix://{}?user={USER}&pass={PASSWORD}",
        server.socket().display()
    ));
    shown.debug(&socket);
    Store::open(socket)
        .await
        .unwrap()
        .set("k", value(""))
        .await
        .unwrap();

    // TLS, its files and its refusals.
    let certificates = Certificates::new();
    let tls = RedisServer::options()
        .password(PASSWORD)
        .tls(certificates.server(Shown::WrongName, false))
        .start()
        .await;
    let (certificate, key) = certificates.client();
    let (certificate, key) = (
        std::fs::read(certificate).unwrap(),
        std::fs::read_to_string(key).unwrap(),
    );
    let private = key.lines().nth(1).unwrap().to_owned();
    let settings = config(&format!("rediss://:{PASSWORD}@localhost:{}", tls.port()))
        .tls_ca_pem(certificates.authority_pem())
        .tls_client_pem(&certificate, &key);
    shown.debug(&settings);
    shown.failed("a wrong name", Store::open(settings).await);

    // Faults of the network and the server, in the middle of values.
    let store = Store::open(settings_of(&url)).await.unwrap();
    for fault in [
        Toxic::Timeout { close: None },
        Toxic::ResetPeer { after: ms(5) },
        Toxic::LimitData { bytes: 7 },
        Toxic::Slicer {
            size: 3,
            variation: 0,
            delay: ms(1),
        },
    ] {
        store.set("k", value("held")).await.ok();
        proxy.add(Direction::Down, fault);
        for _ in 0..3 {
            shown.any("set", store.set("k", value("sent")).await);
            shown.any("get", store.get("k").await.map(drop));
            shown.any(
                "compare_and_set",
                store.compare_and_set("k", value("a"), value("b")).await.map(drop),
            );
            shown.any(
                "set, dependent",
                store.set("k", value("dependent")).depends_on(["d"]).await,
            );
        }
        proxy.heal();
        proxy.cut();
        while store.ping().await.is_err() {}
    }
    server.kill9();
    shown.failed("set", store.set("k", value("gone")).await);
    shown.failed("get", store.get("k").await.map(drop));
    server.restart().await;
    while store.ping().await.is_err() {}
    // A password that changes under way.
    server.command(&["ACL", "SETUSER", USER, "resetpass", ">another"]);
    proxy.cut();
    for _ in 0..3 {
        shown.any("locked out", store.get("k").await.map(drop));
    }
    store.close().await.unwrap();
    shown.failed("closed", store.set("k", value("closed")).await);

    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    println!(
        "{} lines were logged, {} texts shown",
        logged.lines().count(),
        shown.0.len()
    );
    assert!(shown.0.len() > 100);
    let mut found = Vec::new();
    for secret in [PASSWORD, VALUE, &private] {
        for form in forms(secret) {
            let all = shown
                .0
                .iter()
                .map(|text| ("shown", text.as_str()))
                .chain(logged.lines().map(|l| ("logged", l)));
            for (how, text) in all {
                if text.contains(&form) {
                    found.push(format!("{how}: {text:.600}"));
                }
            }
        }
    }
    found.dedup();
    assert!(
        found.is_empty(),
        "{} secrets are shown:\n{}",
        found.len(),
        found.iter().take(12).cloned().collect::<Vec<_>>().join("\n---\n")
    );
}

fn settings_of(url: &str) -> RedisConfig {
    config(url).request_timeout(ms(250)).response_timeout(ms(60))
}
