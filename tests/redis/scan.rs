//! Scans of a server that other programs write to: what comes can be given back.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::harness::RedisServer;
use crate::harness::opening::{config, go, open, plain};
use crate::harness::switch::scan_over;

/// Keys of another program that no call can name, at the root and in the namespace `t`.
fn untouchable() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        "",
        " ",
        "\t\n",
        "\u{a0}\u{3000}",
        "t:",
        "t: ",
        "t:\u{2003}",
        "cachestore:",
        "cachestore:theirs",
    ]
    .iter()
    .map(|key| key.as_bytes().to_vec())
    .collect();
    keys.push(vec![b'k'; 65_536]);
    keys.push([b"t:".as_slice(), &vec![b'k'; 65_536]].concat());
    keys.push(b"\xff\xfe".to_vec());
    keys.push(b"t:\xc3".to_vec());
    keys
}

#[tokio::test]
async fn what_a_scan_gives_can_be_given_back() {
    let (server, store) = plain().await;
    let tenant = store.namespace("t").unwrap();
    for key in untouchable() {
        server.command(&[b"SET".as_slice(), &key, b"theirs"]);
    }
    for list in ["list", "t:list"] {
        server.command(&["RPUSH", list, "v"]);
    }
    store
        .set_many([("a", "1"), (" a", "2"), ("\u{200b}", "3")])
        .await
        .unwrap();
    tenant
        .set_many([("a", "4"), ("a ", "5"), ("cachestore:mine", "6")])
        .await
        .unwrap();
    let longest = "k".repeat(65_535);
    tenant.set(&longest, "7").await.unwrap();

    let keys: BTreeSet<String> = tenant.scan("").try_collect().await.unwrap();
    assert_eq!(
        keys.len(),
        4,
        "{:?}",
        keys.iter()
            .map(|key| &key[..key.len().min(20)])
            .collect::<Vec<_>>()
    );
    let entries: Vec<(String, Bytes)> = tenant.scan_entries("").try_collect().await.unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(tenant.delete_many(&keys).await.unwrap(), 4);

    // At the root, `t:` and what is blank behind it are keys like others.
    let keys: BTreeSet<String> = store.scan("").try_collect().await.unwrap();
    let expected = [" a", "a", "t:", "t: ", "t:\u{2003}", "\u{200b}"];
    assert_eq!(keys.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let entries: Vec<(String, Bytes)> = store.scan_entries("").try_collect().await.unwrap();
    assert_eq!(entries.len(), 6);
    assert_eq!(store.delete_many(&keys).await.unwrap(), 6);
    assert_eq!(store.get_many(&keys).await.unwrap(), vec![None; 6]);
    assert_eq!(server.command(&["LLEN", "list"]).int(), 1);
}

#[tokio::test]
async fn in_go_mode_a_scan_leaves_out_what_would_be_trimmed() {
    let (server, store) = go().await;
    for key in ["k", " k", "k\n", "\u{a0}", "longer"] {
        server.command(&["SET", key, "v"]);
    }
    let keys: BTreeSet<String> = store.scan("").try_collect().await.unwrap();
    assert_eq!(
        keys.iter().map(String::as_str).collect::<Vec<_>>(),
        ["k", "longer"]
    );
    assert_eq!(store.delete_many(&keys).await.unwrap(), 2);
    assert_eq!(server.size(), 3);
}

#[tokio::test]
async fn a_shorter_limit_of_keys_holds_for_scans_too() {
    let (server, _) = plain().await;
    let store = open(config(&server.url()).max_key_bytes(3)).await;
    for key in ["abc", "abcd", "t:abc", "t:abcd"] {
        server.command(&["SET", key, "v"]);
    }
    assert_eq!(store.scan("").try_collect::<Vec<_>>().await.unwrap(), ["abc"]);
    let tenant = store.namespace("t").unwrap();
    assert_eq!(tenant.scan("").try_collect::<Vec<_>>().await.unwrap(), ["abc"]);
}

/// The library's own keys stay the library's own, whatever is kept beside values.
#[tokio::test]
async fn the_librarys_own_keys_never_come_out() {
    let (_server, store) = plain().await;
    store.set("k", "v").depends_on(["d"]).await.unwrap();
    let _guard = store.lock("l").await.unwrap();
    let load = || async { Ok::<u8, String>(1) };
    store.get_or_load("loaded", load).depends_on("d").await.unwrap();
    let mut keys: Vec<String> = store.scan("").try_collect().await.unwrap();
    keys.sort_unstable();
    assert_eq!(keys, ["k", "loaded"]);
    for prefix in ["cachestore", "cachestore:", "cachestore:lock:"] {
        assert!(
            store
                .scan(prefix)
                .try_collect::<Vec<_>>()
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            store
                .scan_entries(prefix)
                .try_collect::<Vec<_>>()
                .await
                .unwrap()
                .is_empty()
        );
    }
}

/// A server that was started again has its keys in another order. No key is missed, and keys may come twice.
#[tokio::test]
async fn a_scan_begins_anew_after_a_restart_of_the_server() {
    let mut server = RedisServer::options().append_only().start().await;
    let store = open(config(&server.url())).await;
    scan_over(&store, server.restart()).await;
}
