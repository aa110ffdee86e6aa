//! What each command prints, and what it does.

use std::time::Duration;

use cachestore::{Config, Store};
use serde_json::{Value, json};

use crate::harness::RedisServer;
use crate::{ended, program, run};

async fn open(server: &RedisServer) -> Store {
    Store::open(Config::redis(&server.url()).unwrap()).await.unwrap()
}

fn parsed(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn values_are_printed_by_what_they_are() {
    let (server, url) = server().await;
    let store = open(&server).await;
    store.set("text", "<h1>Ada</h1>\n\tbye").await.unwrap();
    store
        .set("bytes", &b"\xc1\x00\xffcache hits\x1b[2J, 17"[..])
        .await
        .unwrap();
    store.set("hostile", "\u{1b}[2Jgone\r").await.unwrap();
    store
        .set_model("model", &json!({ "name": "Ada", "age": 36 }))
        .await
        .unwrap();

    assert_eq!(run(&url, &["get", "text"]).text(), "<h1>Ada</h1>\n\tbye\n");
    assert_eq!(run(&url, &["get", "hostile"]).text(), "\\u{1b}[2Jgone\\r\n");
    assert_eq!(
        run(&url, &["get", "bytes"]).text(),
        concat!(
            "00000000  c1 00 ff 63 61 63 68 65 20 68 69 74 73 1b 5b 32  ...cache hits.[2\n",
            "00000010  4a 2c 20 31 37                                   J, 17\n"
        )
    );
    assert_eq!(
        run(&url, &["get", "bytes", "--raw"]).out,
        b"\xc1\x00\xffcache hits\x1b[2J, 17"
    );
    let text = run(&url, &["get", "hostile", "--json"]).text();
    assert!(!text.contains('\u{1b}'), "{text}");
    assert_eq!(
        parsed(&text),
        [json!({ "key": "hostile", "bytes": 9, "text": "\u{1b}[2Jgone\r" })]
    );
    let hex = "c100ff636163686520686974731b5b324a2c203137";
    assert_eq!(
        parsed(&run(&url, &["get", "bytes", "--json"]).text()),
        [json!({ "key": "bytes", "bytes": 21, "hex": hex })]
    );
    let model = run(&url, &["get", "model", "--model"]).text();
    assert_eq!(parsed(&model), [json!({ "name": "Ada", "age": 36 })]);

    // Standard output is for values.
    let absent = run(&url, &["get", "no\nsuch"]);
    assert_eq!(
        (absent.code, absent.out.len(), &*absent.errors),
        (3, 0, "no\\nsuch: absent\n")
    );
    // Bytes that are no model.
    assert_eq!(run(&url, &["get", "text", "--model"]).code, 1);
    assert_eq!(run(&url, &["get", "text", "--model", "--raw"]).code, 2);
}

#[tokio::test]
async fn a_scan_prints_the_keys_of_the_namespace() {
    let (server, url) = server().await;
    let store = open(&server).await;
    let keys = [
        "user:1",
        "user:2",
        "page:1",
        "\u{1b}]0;owned\u{7}",
        "a\\nb",
        "\u{202e}evil",
    ];
    store.set_many(keys.map(|key| (key, "v"))).await.unwrap();
    store.expire("user:1", Duration::from_secs(90)).await.unwrap();
    let tenant = store.namespace("tenants").unwrap().namespace("one").unwrap();
    tenant.set("user:3", "v").await.unwrap();

    let shown = [
        r"\u{1b}]0;owned\u{7}",
        r"\u{202e}evil",
        r"a\\nb",
        "page:1",
        "tenants/one:user:3",
        "user:1",
        "user:2",
    ];
    assert_eq!(run(&url, &["scan"]).sorted(), shown);
    assert_eq!(run(&url, &["scan", "user:"]).sorted(), ["user:1", "user:2"]);
    assert_eq!(run(&url, &["scan", "user:", "--limit", "1"]).sorted().len(), 1);
    assert_eq!(run(&url, &["scan", "-n", "tenants/one"]).sorted(), ["user:3"]);
    assert_eq!(
        run(&format!("{url}?namespace=tenants"), &["scan", "-n", "one"]).sorted(),
        ["user:3"]
    );
    let long = run(&url, &["scan", "user:", "--long"]).sorted();
    assert!(
        long[0].starts_with("  1 min ") && long[0].ends_with(" s  user:1"),
        "{long:?}"
    );
    assert_eq!(long[1], "  persistent  user:2");

    let lines = run(&url, &["scan", "--json"]).text();
    assert!(
        lines.chars().all(|c| c == '\n' || !c.is_control()) && !lines.contains('\u{202e}'),
        "{lines}"
    );
    let exact: Vec<Value> = parsed(&lines).iter().map(|line| line["key"].clone()).collect();
    for key in keys {
        assert!(exact.contains(&json!(key)), "{key:?}");
    }
    let long = parsed(&run(&url, &["scan", "user:1", "--long", "--json"]).text());
    assert!(
        (1..=90_000).contains(&long[0]["ttl_ms"].as_u64().unwrap()),
        "{long:?}"
    );
}

#[tokio::test]
async fn a_ttl_is_printed() {
    let (server, url) = server().await;
    let store = open(&server).await;
    store
        .set("session", "v")
        .ttl(Duration::from_secs(3 * 86_400))
        .await
        .unwrap();
    store.set("ever", "v").await.unwrap();
    assert!(run(&url, &["ttl", "session"]).text().starts_with("2 d 23 h"));
    assert_eq!(run(&url, &["ttl", "ever"]).text(), "persistent\n");
    assert_eq!(
        parsed(&run(&url, &["ttl", "ever", "--json"]).text()),
        [json!({ "key": "ever", "ttl_ms": null })]
    );
    assert_eq!(run(&url, &["ttl", "gone"]).code, 3);
}

#[tokio::test]
async fn an_invalidation_follows_dependencies() {
    let (server, url) = server().await;
    let store = open(&server).await;
    store.set("page:1", "v").depends_on("user:1").await.unwrap();
    store.set("page:2", "v").depends_on("user:2").await.unwrap();
    assert_eq!(
        run(&url, &["invalidate", "user:1", "user:9"]).text(),
        "removed 1 entry\n"
    );
    assert_eq!(
        run(&url, &["invalidate", "user:2", "--json"]).text(),
        "{\"removed\":1}\n"
    );
    assert_eq!(
        run(&url, &["invalidate", "user:2", "--timeout", "5s"]).text(),
        "removed 0 entries\n"
    );
    assert!(!store.exists("page:1").await.unwrap());
}

#[tokio::test]
async fn a_clearing_asks_first() {
    let (server, url) = server().await;
    let store = open(&server).await;
    let tenant = store.namespace("tenant").unwrap();
    let _held = tenant.lock("job").await.unwrap();
    for n in 0..3 {
        tenant.set(format!("k{n}"), "v").await.unwrap();
    }
    store.set("other", "v").await.unwrap();

    let refused = run(&url, &["clear"]);
    assert_eq!((refused.code, refused.out.len()), (2, 0));
    assert!(
        refused.errors.contains("nothing was removed") && refused.errors.contains("--yes"),
        "{refused:?}"
    );
    assert!(store.exists("other").await.unwrap());
    assert!(tenant.exists("k0").await.unwrap());

    assert_eq!(
        run(&url, &["clear", "-n", "tenant", "--yes"]).text(),
        "removed 3 entries\n"
    );
    assert!(store.exists("other").await.unwrap());
    assert!(tenant.lock_info("job").await.unwrap().is_some());
    assert_eq!(
        run(&url, &["clear", "--yes", "--json"]).text(),
        "{\"removed\":1}\n"
    );
}

#[tokio::test]
async fn locks_are_listed_while_they_are_held() {
    let (server, url) = server().await;
    let store = open(&server).await;
    let jobs = store.namespace("jobs").unwrap();
    let report = jobs
        .lock("report{x}")
        .ttl(Duration::from_secs(3600))
        .await
        .unwrap();
    let _hostile = jobs
        .lock("a[*]\u{1b}")
        .ttl(Duration::from_secs(3600))
        .await
        .unwrap();
    store.lock("brief").await.unwrap().release().await.unwrap();

    let token = report.fencing_token();
    let lines = run(&url, &["locks"]).sorted();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let line = lines.iter().find(|line| line.contains("report")).unwrap();
    assert!(
        line.trim_start().starts_with("59 min ") && line.contains(" left  token"),
        "{line}"
    );
    assert!(line.ends_with(&format!("{token}  jobs:report{{x}}")), "{line}");
    assert!(
        lines.iter().any(|line| line.ends_with(r"  jobs:a[*]\u{1b}")),
        "{lines:?}"
    );

    let listed = parsed(&run(&url, &["locks", "rep", "-n", "jobs", "--json"]).text());
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["key"], &listed[0]["fencing_token"]),
        (&json!("report{x}"), &json!(token))
    );
    assert!((1..=3_600_000).contains(&listed[0]["remaining_ms"].as_u64().unwrap()));
    // Not a pattern.
    assert_eq!(run(&url, &["locks", "-n", "jobs", "a[*]"]).sorted().len(), 1);
    assert_eq!(run(&url, &["locks", "-n", "jobs", "*"]).text(), "");
    assert_eq!(run(&url, &["locks", "-n", "other"]).text(), "");
    assert_eq!(run(&format!("{url}?go_compatible=true"), &["locks"]).code, 2);
    let in_cluster = run("redis-cluster://127.0.0.1:1?hash_tag=app", &["locks"]);
    assert_eq!(in_cluster.code, 2, "{}", in_cluster.errors);
}

#[tokio::test]
async fn stats_show_what_the_server_knows() {
    let (server, url) = server().await;
    let store = open(&server).await;
    store.set("k", "v").await.unwrap();
    for _ in 0..3 {
        store.get("k").await.unwrap();
    }
    store.get("absent").await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "64mb"]);

    let text = run(&url, &["stats"]).text();
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .trim()
            .to_owned()
    };
    assert_eq!(figure("server"), url);
    assert!(figure("version").contains("primary"), "{text}");
    assert!(figure("memory").ends_with("MiB of 64.00 MiB"), "{text}");
    assert_eq!(figure("keys"), "2", "the key and the version of the layout");
    assert!(figure("look-ups that hit").contains(" % of "), "{text}");
    // All values begin in one column.
    let columns: Vec<_> = text
        .lines()
        .map(|line| line.char_indices().nth(19).map(|(at, _)| &line[at - 2..at]))
        .collect();
    assert!(columns.iter().all(|gap| *gap == Some("  ")), "{text}");

    let told = parsed(&run(&url, &["stats", "--json"]).text());
    let told = &told[0]["server"];
    assert_eq!(
        (&told["address"], &told["keys"], &told["max_memory_bytes"]),
        (&json!(url), &json!(2), &json!(64 << 20))
    );
    assert!(
        told["hits"].as_u64().unwrap() >= 3 && told["misses"].as_u64().unwrap() >= 1,
        "{told}"
    );
}

#[tokio::test]
async fn a_user_needs_rights_for_the_figures_only() {
    let server = RedisServer::options()
        .user("user reader on >pass ~* &* +@all -info")
        .start()
        .await;
    let url = format!("redis://reader:pass@{}", server.address());
    let refused = run(&url, &["stats"]);
    assert_eq!(refused.code, 1);
    assert!(refused.errors.contains("+info and +dbsize"), "{refused:?}");
    assert_eq!(run(&url, &["scan"]).text(), "");
}

#[tokio::test]
async fn the_reader_of_a_scan_may_go() {
    let (server, url) = server().await;
    server.command(&["DEBUG", "POPULATE", "50000"]);
    let mut command = program(&["scan"]);
    command.env("CACHESTORE_URL", &url);
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer);
    command.stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    // The writing end of this process goes with the command.
    drop(command);
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

#[test]
fn help_names_commands_and_exit_codes() {
    let help = ended(&mut program(&["--help"])).text();
    for word in [
        "stats",
        "top",
        "scan",
        "get",
        "ttl",
        "invalidate",
        "clear",
        "locks",
        "replay",
        "CACHESTORE_URL",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word} in {help}");
    }
}

async fn server() -> (RedisServer, String) {
    let server = RedisServer::start().await;
    let url = server.url();
    (server, url)
}
