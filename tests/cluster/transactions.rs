//! Changes in a slot travel as transactions, where the server carries these out.

use std::time::Duration;

use cachestore::{Error, Origin, Store};
use tokio::time::Instant;

use crate::harness::opening::{HeldLoad, config, ms, open, told};
use crate::harness::{Cluster, RedisServer};

const TAG: &str = "app";
/// For so long after a refusal, changes are scripts.
const APART: Duration = ms(1000);

/// A store whose user has the documented rights and `more`, and the server that has its keys.
async fn store(more: &str) -> (Cluster, Store) {
    let page = include_str!("../../docs/security.md");
    let mut lines = page.lines();
    let rights = lines.find(|line| line.starts_with("user app on ")).unwrap();
    let rights = rights
        .replace("password", "s3cr3t")
        .replace("&cachestore:*", &format!("&{{{TAG}}}:cachestore:*"));
    let user = format!("user default off\n{rights} +cluster|slots +asking {more}");
    let cluster = Cluster::with(0, |options| options.user(&user), "app:s3cr3t@").await;
    let store = open(config(&cluster.url(TAG)).request_timeout(Duration::from_secs(20))).await;
    (cluster, store)
}

fn owner(cluster: &Cluster) -> &RedisServer {
    &cluster.nodes[cluster.owner(TAG)]
}

/// A figure of `INFO commandstats` about a command: `calls` or `rejected_calls`.
fn figure(server: &RedisServer, command: &str, name: &str) -> u64 {
    let info = server.command(&["INFO", "commandstats"]).text();
    let begin = format!("cmdstat_{command}:");
    let line = info.lines().find_map(|line| line.strip_prefix(&begin));
    let mut fields = line.unwrap_or_default().split(',');
    let field = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    field.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn a_user_who_may_begin_and_not_end_them_is_served() {
    let (cluster, store) = store("+multi").await;
    let begun = figure(owner(&cluster), "multi", "calls");
    store.set("k", "v").await.unwrap();
    assert_eq!(store.incr("n", 1).await.unwrap(), 1);
    assert!(store.delete("k").await.unwrap());
    assert_eq!(figure(owner(&cluster), "multi", "calls"), begun);
}

/// Without `MULTI` the server carries out each command by itself, and leases have ended before the change then. Without `EXEC`
/// it carries out nothing. No other transaction is tried.
#[tokio::test]
async fn a_right_that_is_taken_away_is_missed_once() {
    for right in ["multi", "exec"] {
        let (cluster, store) = store("+multi +exec").await;
        let server = owner(&cluster);
        store.set("source", "1").await.unwrap();
        assert!(figure(server, right, "calls") > 1, "once by the greeting");
        let load = HeldLoad::begin(&store).await;
        server.command(&["ACL", "SETUSER", "app", &format!("-{right}")]);
        store.set("source", "2").await.unwrap();
        assert_eq!(load.end().await, Origin::Superseded, "{right}");
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < APART + ms(200) {
            count += 1;
            assert_eq!(store.incr("n", 1).await.unwrap(), count, "{right}");
        }
        assert_eq!(figure(server, right, "rejected_calls"), 1, "{right}");
        assert_eq!(store.get_string("source").await.unwrap().as_deref(), Some("2"));
    }
}

/// What a script of the caller's own answers is no refusal, whatever it says.
#[tokio::test]
async fn a_script_that_reports_an_error_is_executed_once() {
    let (_cluster, store) = store("+incr").await;
    let script = "redis.call('INCR', KEYS[1]) return redis.error_reply('ABORTED too late')";
    let mut command = cachestore::redis::cmd("EVAL");
    command.arg(script).arg(1).arg(format!("{{{TAG}}}:n"));
    let answer = store.redis_command::<i64>(command).await;
    assert!(matches!(answer, Err(Error::Rejected(_))), "{answer:?}");
    assert_eq!(store.counter("n").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_full_server_deletes_and_refuses_by_its_reason() {
    let (cluster, store) = store("+multi +exec").await;
    let server = owner(&cluster);
    for key in ["a", "b", "c"] {
        store.set(key, "v").await.unwrap();
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(store.delete("a").await.unwrap(), "by a script");
    let error = store.set("b", "w").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(told(&error).contains("OOM"), "{}", told(&error));
    let begun = figure(server, "multi", "calls");
    assert!(store.delete("b").await.unwrap());
    assert_eq!(
        figure(server, "multi", "calls"),
        begun,
        "no other one is tried for now"
    );
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    store.set("c", "w").await.unwrap();
    assert_eq!(store.get_string("c").await.unwrap().as_deref(), Some("w"));
    let began = Instant::now();
    while figure(server, "multi", "calls") == begun {
        assert!(began.elapsed() < 10 * APART, "they are tried again");
        store.set("c", "w").await.unwrap();
    }
}
