//! What is on the wire with `.go_compatible()`: the commands that the server sees, and data shared
//! with go-cachestore both ways.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::harness::opening::{config, go, ms, open};
use crate::harness::{RedisServer, Reply};

/// KillByDependency as the Go library has it: a script without KEYS.
const GO_KILL: &str = "local all = {}
for _, set in ipairs(ARGV) do
  for _, member in ipairs(redis.call('SMEMBERS', set)) do all[#all + 1] = member end
  all[#all + 1] = set
end
return redis.call('DEL', unpack(all))";

/// WriteLock as the Go library has it.
const GO_LOCK: &str = "local held = redis.call('GET', KEYS[1])
if held == false then return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) end
if held == ARGV[1] then return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
return redis.error_reply('locked')";

fn members(server: &RedisServer, set: &str) -> Vec<String> {
    server.command(&["SMEMBERS", set]).sorted()
}

/// All keys but the library's own.
fn keys(server: &RedisServer) -> Vec<String> {
    let mut keys = server.keys("*");
    keys.retain(|key| !key.starts_with("cachestore:"));
    keys
}

fn text(server: &RedisServer, key: &str) -> Option<String> {
    server
        .command(&["GET", key])
        .bytes()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

#[tokio::test]
async fn each_plain_call_is_the_command_that_go_sends_behind_the_end_of_leases() {
    let (server, store) = go().await;
    let mut monitor = server.monitor();

    let ended = ["HDEL cachestore:leases k", "RPUSHX cachestore:changed k"];
    store.set("k", "v").await.unwrap();
    assert_eq!(monitor.sent(), [ended[0], ended[1], "SET k v"]);
    store.set(" k\n", "v").await.unwrap();
    assert_eq!(
        monitor.sent(),
        [ended[0], ended[1], "SET k v"],
        "keys are trimmed"
    );
    store.get("k").await.unwrap();
    assert_eq!(monitor.sent(), ["GET k"]);
    store.delete("k").await.unwrap();
    assert_eq!(monitor.sent(), [ended[0], ended[1], "DEL k"]);
    store.set_many([("k", "v"), ("l", "w")]).await.unwrap();
    let both = ["HDEL cachestore:leases k l", "RPUSHX cachestore:changed k l"];
    assert_eq!(monitor.sent(), [both[0], both[1], "MSET k v l w"], "one for all");
    store
        .set_many([("k", "v"), ("l", "w")])
        .ttl(ms(60_000))
        .await
        .unwrap();
    let sets = ["SET k v PX 60000", "SET l w PX 60000"];
    assert_eq!(monitor.sent(), [both, sets].concat());
    store.incr("n", 1).await.unwrap();
    let of_n = ["HDEL cachestore:leases n", "RPUSHX cachestore:changed n"];
    assert_eq!(monitor.sent(), [of_n[0], of_n[1], "INCRBY n 1"]);
    store.take("k").await.unwrap();
    assert_eq!(monitor.sent(), [ended[0], ended[1], "GETDEL k"]);
    store.set_model("m", &BTreeMap::from([("a", 1)])).await.unwrap();
    let of_m = ["HDEL cachestore:leases m", "RPUSHX cachestore:changed m"];
    assert_eq!(monitor.sent(), [of_m[0], of_m[1], r#"SET m {"a":1}"#]);
    store.get_model::<BTreeMap<String, u8>>("m").await.unwrap();
    assert_eq!(monitor.sent(), ["GET m"]);
}

#[tokio::test]
async fn a_ttl_travels_with_the_value_in_milliseconds() {
    let (server, store) = go().await;
    let mut monitor = server.monitor();
    let cases = [
        (60_000_000, 60_000),
        (1_500_000, 1500),
        (500_000, 500),
        (1, 1),
        (1001, 2),
    ];
    for (micros, millis) in cases {
        store
            .set("k", "v")
            .ttl(Duration::from_micros(micros))
            .await
            .unwrap();
        let mut sent = monitor.sent();
        let one = sent.pop().unwrap();
        let ended = ["HDEL cachestore:leases k", "RPUSHX cachestore:changed k"];
        assert_eq!(sent, ended, "before {one}");
        let forms = [format!("SET k v PX {millis}"), format!("PSETEX k {millis} v")];
        assert!(forms.contains(&one), "{one}");
    }
}

#[tokio::test]
async fn a_value_and_its_dependencies_are_written_in_one_step_where_go_looks_for_them() {
    let (server, store) = go().await;
    let mut monitor = server.monitor();
    store.set("k", "v").depends_on(["d1", "d2"]).await.unwrap();
    let sent = monitor.commands();
    assert_eq!(text(&server, "k").as_deref(), Some("v"));
    assert_eq!(members(&server, "depend:d1"), ["k"]);
    assert_eq!(members(&server, "depend:d2"), ["k"]);
    assert_eq!(
        keys(&server),
        ["depend:d1", "depend:d2", "k"],
        "and nothing else that Go could meet"
    );

    // One step: a script, or a transaction.
    let outside: Vec<String> = sent
        .iter()
        .filter(|seen| !seen.in_script)
        .map(|seen| seen.name())
        .collect();
    let script = outside
        .iter()
        .all(|name| name.starts_with("EVAL") || name == "SCRIPT");
    let transaction = outside.first().is_some_and(|name| name == "MULTI")
        && outside.last().is_some_and(|name| name == "EXEC");
    assert!(script || transaction, "{outside:?}");
    let data = sent
        .iter()
        .map(|seen| seen.line())
        .find(|line| line.starts_with("EVAL"));
    assert!(
        data.is_none_or(|line| !line.contains("'v'")),
        "data travels as arguments, never in a script"
    );
}

#[tokio::test]
async fn names_of_dependencies_are_sent_as_they_are() {
    let (server, store) = go().await;
    store
        .set("k", "v")
        .depends_on([" d ", "D", "d\r\n", "{d}", "d:e"])
        .await
        .unwrap();
    let sets: Vec<String> = server.keys("depend:*");
    assert_eq!(
        sets,
        [
            "depend: d ",
            "depend:D",
            "depend:d\r\n",
            "depend:d:e",
            "depend:{d}"
        ]
    );
    assert_eq!(store.invalidate(["d"]).await.unwrap(), 0, "another name");
    assert_eq!(store.invalidate([" d "]).await.unwrap(), 1);
    assert_eq!(text(&server, "k"), None);
}

#[tokio::test]
async fn a_namespace_is_a_prefix_that_go_sees() {
    let (server, store) = go().await;
    let tenant = store.namespace("tenant").unwrap();
    tenant.set("k", "v").depends_on(["d"]).await.unwrap();
    assert_eq!(text(&server, "tenant:k").as_deref(), Some("v"));
    assert_eq!(members(&server, "depend:tenant:d"), ["tenant:k"]);
    assert_eq!(store.get_string("tenant:k").await.unwrap().as_deref(), Some("v"));
    assert_eq!(tenant.invalidate(["d"]).await.unwrap(), 1);
}

#[tokio::test]
async fn in_a_database_of_its_own() {
    let server = RedisServer::start().await;
    let store = open(config(&format!("{}/5", server.url())).go_compatible()).await;
    store.set("k", "v").await.unwrap();
    assert_eq!(text(&server, "k"), None);
    assert_eq!(server.info("db5").split(',').next(), Some("keys=1"));
}

#[tokio::test]
async fn without_the_mode_dependencies_are_the_librarys_own_and_models_message_pack() {
    let (server, store) = crate::harness::opening::plain().await;
    store
        .set_model("m", &BTreeMap::from([("a", 1)]))
        .depends_on(["d"])
        .await
        .unwrap();
    assert_eq!(server.command(&["GET", "m"]).bytes(), Some(&b"\x81\xa1a\x01"[..]));
    assert_eq!(keys(&server), ["m"], "all else has the library's prefix");
    assert_eq!(members(&server, "cachestore:depend:{d}"), ["m"]);
    let tenant = store.namespace("tenant").unwrap();
    tenant.set("k", "v").depends_on(["d"]).await.unwrap();
    assert_eq!(members(&server, "cachestore:depend:{tenant:d}"), ["tenant:k"]);
}

#[tokio::test]
async fn what_go_wrote_is_read() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct User {
        #[serde(rename = "ID")]
        id: i64,
        name: String,
        // Go writes []byte so.
        photo: String,
        tags: Option<Vec<String>>,
        score: f64,
    }
    let (server, store) = go().await;
    server.command(&["SET", "k", "plain text"]);
    server.command(&["SETEX", "t", "60", "with a TTL"]);
    server.command(&[
        "SET",
        "m",
        r#"{"ID":-9007199254740993,"name":"a\u003cb\u003e\u0026\u2028é","photo":"aGVsbG8gPD4=","tags":null,"score":1e+21,"unknown":{"x":[1]}}"#,
    ]);
    assert_eq!(
        store.get_string("k").await.unwrap().as_deref(),
        Some("plain text")
    );
    assert_eq!(
        store.get_string("t").await.unwrap().as_deref(),
        Some("with a TTL")
    );
    let left = store.ttl("t").await.unwrap().unwrap().remaining().unwrap();
    assert!(left > ms(50_000) && left <= ms(60_000), "{left:?}");
    let user: User = store.get_model("m").await.unwrap().unwrap();
    assert_eq!(
        user,
        User {
            id: -9_007_199_254_740_993,
            name: "a<b>&\u{2028}é".to_owned(),
            photo: "aGVsbG8gPD4=".to_owned(),
            tags: None,
            score: 1e21,
        }
    );
    // And what we write is plain JSON of the same fields, which Go reads.
    store.set_model("ours", &user).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&text(&server, "ours").unwrap()).unwrap();
    assert_eq!(json["name"], "a<b>&\u{2028}é");
    assert_eq!(json["ID"], -9_007_199_254_740_993_i64);
}

#[tokio::test]
async fn what_go_made_depend_on_a_name_is_invalidated() {
    let (server, store) = go().await;
    for key in ["a", "b", "d1"] {
        server.command(&["SET", key, "v"]);
    }
    server.command(&["SADD", "depend:d1", "a", "b", "long gone"]);
    assert_eq!(store.invalidate(["d1"]).await.unwrap(), 3, "a, b and d1 itself");
    assert_eq!(server.size(), 0, "and the set");
}

#[tokio::test]
async fn go_invalidates_what_we_made_depend_on_a_name() {
    let (server, store) = go().await;
    store.set("a", "v").depends_on(["d1"]).await.unwrap();
    store
        .set("b", "v")
        .ttl(ms(60_000))
        .depends_on(["d1", "d2"])
        .await
        .unwrap();
    assert!(store.add("c", "v").depends_on(["d2"]).await.unwrap());
    store
        .set_many([("e", "v"), ("f", "v")])
        .depends_on(["d2"])
        .await
        .unwrap();
    store.set_model("m", &1).depends_on(["d1"]).await.unwrap();
    store.set("other", "v").depends_on(["d3"]).await.unwrap();
    store.set("d1", "v").await.unwrap();
    server.command(&["EVAL", GO_KILL, "0", "depend:d1", "depend:d2"]);
    server.command(&["DEL", "d1", "d2"]);
    assert_eq!(keys(&server), ["depend:d3", "other"]);
    for key in ["a", "b", "c", "d1", "e", "f", "m"] {
        assert_eq!(store.get(key).await.unwrap(), None, "{key}");
    }
    // The next entry depends on the name again.
    store.set("a", "v").depends_on(["d1"]).await.unwrap();
    assert_eq!(store.invalidate(["d1"]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_lock_of_go_is_a_value_under_its_key_and_ours_does_not_free_it() {
    let (server, store) = go().await;
    let took = server.command(&["EVAL", GO_LOCK, "1", "job", "secret", "30"]);
    assert_eq!(took, Reply::Simple("OK".to_owned()));
    assert_eq!(
        store.get_string("job").await.unwrap().as_deref(),
        Some("secret"),
        "one keyspace"
    );
    assert!(!store.add("job", "v").await.unwrap());
    assert!(matches!(
        server.command(&["EVAL", GO_LOCK, "1", "job", "another", "30"]),
        Reply::Error(_)
    ));
}

/// The server reads 16 KiB at once, and may begin with what was sent before.
#[tokio::test]
async fn leases_are_ended_again_behind_what_the_server_may_read_in_two() {
    let server = RedisServer::start().await;
    let store = open(config(&server.url()).batch_commands(1)).await;
    let mut monitor = server.monitor();
    let ends = |sent: Vec<String>| {
        sent.iter()
            .filter(|line| *line == "HDEL cachestore:leases small")
            .count()
    };
    store.set("small", "v").await.unwrap();
    assert_eq!(ends(monitor.sent()), 1);
    let (large, small) = tokio::join!(store.set("large", vec![b'v'; 20_000]), store.set("small", "v"));
    large.unwrap();
    small.unwrap();
    assert_eq!(ends(monitor.sent()), 2);
}
