//! Keys from strangers: no collision, no injected command, no pattern.

use cachestore::Store;
use futures_util::TryStreamExt;

use crate::harness::opening::{config, go, open, plain};
use crate::harness::{RedisServer, Seeded};

fn hostile() -> Vec<String> {
    let mut keys: Vec<String> = [
        "nul\0in",
        "\0",
        "nul\0",
        "\0nul",
        "a\r\nSET injected 1",
        "a\nb",
        "a\rb",
        "*3\r\n$3\r\nSET\r\n",
        "$-1\r\n-ERR",
        "*",
        "?",
        "a*",
        "a?",
        "a",
        "ab",
        "[a]",
        "[^a]",
        "[a-z]",
        "\\",
        "\\*",
        "a\\",
        "{",
        "}",
        "{}",
        "{a}",
        "{a}b",
        "}{",
        ":",
        "::",
        "a:b",
        "a:",
        ":a",
        "tenant:k",
        "tenant",
        "depend:d",
        "lock",
        "a b",
        "a\tb",
        "\"",
        "'",
        "' or '1",
        "%s%n",
        "%00",
        "${a}",
        "../../etc",
        "ÿ",
        "\u{ff}\u{ff}",
        "\u{fffd}",
        "\u{ffff}",
        "é",
        "e\u{301}",
        "\u{202e}",
        "\u{10ffff}",
        "-1",
        "0",
        "nil",
        "EXEC",
        "cachestore",
        "cachestorex:",
    ]
    .iter()
    .map(|key| (*key).to_owned())
    .collect();
    keys.push("k".repeat(65_535));
    keys.push(format!("{}x", "k".repeat(65_534)));
    keys
}

async fn apart(server: &RedisServer, store: &Store, keys: Vec<String>) {
    for (n, key) in keys.iter().enumerate() {
        store.set(key, n.to_string()).depends_on([key]).await.unwrap();
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(
            store.get_string(key).await.unwrap(),
            Some(n.to_string()),
            "{:.40}",
            key.escape_debug()
        );
        assert!(store.exists(key).await.unwrap());
    }
    let all = store.get_many(&keys).await.unwrap();
    for (n, value) in all.iter().enumerate() {
        assert_eq!(value.as_deref(), Some(n.to_string().as_bytes()));
    }
    let mut listed: Vec<String> = store.scan("").try_collect().await.unwrap();
    listed.sort_unstable();
    listed.dedup();
    let mut wanted = keys.clone();
    wanted.sort_unstable();
    assert_eq!(listed.len(), wanted.len());
    assert!(listed == wanted, "a scan yields exactly these");
    assert_eq!(server.command(&["EXISTS", "injected"]).int(), 0);

    // Each goes alone.
    for (n, key) in keys.iter().enumerate() {
        match n % 4 {
            0 => assert!(store.delete(key).await.unwrap()),
            1 => assert_eq!(store.take(key).await.unwrap().unwrap(), n.to_string()),
            2 => assert_eq!(
                store.invalidate([key]).await.unwrap(),
                1,
                "{:.40}",
                key.escape_debug()
            ),
            _ => assert_eq!(store.delete_many([key]).await.unwrap(), 1),
        }
        assert_eq!(store.get(key).await.unwrap(), None);
        if let Some(next) = keys.get(n + 1) {
            assert_eq!(store.get_string(next).await.unwrap(), Some((n + 1).to_string()));
        }
    }
}

#[tokio::test]
async fn hostile_keys_are_apart_at_the_root() {
    let (server, store) = plain().await;
    apart(&server, &store, hostile()).await;
}

#[tokio::test]
async fn hostile_keys_are_apart_in_a_namespace_and_leave_the_others_alone() {
    let (server, store) = plain().await;
    let (mine, other) = (
        store.namespace("t.1_x-").unwrap(),
        store.namespace("t21_x-").unwrap(),
    );
    other.set("k", "other's").await.unwrap();
    store.set("k", "root's").await.unwrap();
    apart(&server, &mine, hostile()).await;
    for key in hostile() {
        mine.set(&key, "v").await.unwrap();
    }
    assert_eq!(mine.clear().await.unwrap(), hostile().len() as u64);
    assert_eq!(
        other.get_string("k").await.unwrap().as_deref(),
        Some("other's"),
        "`.` is no pattern"
    );
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("root's"));
}

#[tokio::test]
async fn prefixes_are_literal() {
    let (_server, store) = plain().await;
    let keys: Vec<String> = hostile().into_iter().filter(|key| key.len() < 1000).collect();
    for key in &keys {
        store.set(key, "v").await.unwrap();
    }
    for prefix in [
        "*", "?", "a*", "a?", "[a]", "[^a]", "[a-z]", "\\", "\\*", "a\\", "{a}", "a:", "\0", "ÿ", "a\r\n",
    ] {
        let mut listed: Vec<String> = store.scan(prefix).try_collect().await.unwrap();
        listed.sort_unstable();
        listed.dedup();
        let mut wanted: Vec<String> = keys
            .iter()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect();
        wanted.sort_unstable();
        assert_eq!(listed, wanted, "{prefix:?}");
    }
}

#[tokio::test]
async fn in_go_mode_too() {
    let (server, store) = go().await;
    for key in hostile() {
        // Go trims the keys of values.
        let key = key.trim().to_owned();
        // There `depend:` is where the dependencies are; and names are keys, with their length.
        if key.starts_with("depend:") || key.len() > 1000 {
            continue;
        }
        store
            .set(&key, "v")
            .depends_on([&format!("on {key}")])
            .await
            .unwrap();
        assert_eq!(
            server.command(&["GET", &key]).bytes(),
            Some(&b"v"[..]),
            "{:.40}",
            key.escape_debug()
        );
        assert_eq!(
            store.invalidate([&format!("on {key}")]).await.unwrap(),
            1,
            "{:.40}",
            key.escape_debug()
        );
        assert_eq!(server.size(), 0, "{:.40}", key.escape_debug());
    }
}

#[tokio::test]
async fn the_server_sees_only_commands_of_ours_whatever_the_values_are() {
    let (server, store) = plain().await;
    let mut monitor = server.monitor();
    for key in hostile() {
        store.set(&key, &key).depends_on([&key]).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().unwrap(), key.as_bytes());
    }
    for seen in monitor.commands() {
        let name = seen.name();
        assert!(name.bytes().all(|b| b.is_ascii_alphabetic()), "{name:?}");
        assert!(
            !["FLUSHALL", "FLUSHDB", "KEYS", "CONFIG"].contains(&name.as_str()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn clear_and_scan_walk_and_never_flush() {
    let (server, store) = plain().await;
    let tenant = store.namespace("tenant").unwrap();
    for n in 0..3000 {
        tenant.set(format!("k{n}"), "v").depends_on(["d"]).await.unwrap();
    }
    server.command(&["SET", "cachestore:lock:{a}", "secret"]);
    server.command(&["SET", "cachestore:fence:{a}", "1"]);
    store.set("outside", "v").await.unwrap();
    let mut monitor = server.monitor();
    assert_eq!(tenant.scan("").try_collect::<Vec<_>>().await.unwrap().len(), 3000);
    assert_eq!(tenant.clear().await.unwrap(), 3000);
    assert!(store.exists("outside").await.unwrap());
    assert_eq!(store.clear().await.unwrap(), 1);
    let names: Vec<String> = monitor.commands().iter().map(|seen| seen.name()).collect();
    assert!(names.contains(&"SCAN".to_owned()));
    assert!(
        !names
            .iter()
            .any(|name| name.starts_with("FLUSH") || name == "KEYS")
    );
    let kept = server.keys("cachestore:[lf]*");
    assert_eq!(
        kept,
        ["cachestore:fence:{a}", "cachestore:lock:{a}"],
        "locks and fences stay"
    );
}

#[tokio::test]
async fn random_text_round_trips() {
    let server = RedisServer::start().await;
    let store = open(config(&server.url())).await;
    let mut random = Seeded::new(16);
    for round in 0..500_u32 {
        let length = 1 + random.below(20);
        let key: String = (0..length)
            .map(|_| {
                loop {
                    let top = [0x20, 0x80, 0x800, 0x11_0000][random.below(4) as usize];
                    if let Some(c) = char::from_u32(random.below(top) as u32) {
                        break c;
                    }
                }
            })
            .collect();
        if key.trim().is_empty() {
            continue;
        }
        store.set(&key, round.to_string()).await.unwrap();
        let kept = server.command(&["GET", &key]);
        assert_eq!(kept.bytes(), Some(round.to_string().as_bytes()), "{key:?}");
        assert_eq!(
            store.get_string(&key).await.unwrap(),
            Some(round.to_string()),
            "{key:?}"
        );
    }
}
