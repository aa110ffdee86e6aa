//! The contract over Redis, by every way to reach a server.
//!
//! Each test has a server of its own. A case is given a store and no more, so the server is kept by
//! the test's thread and ends with it.

use std::any::Any;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachestore::{Config, RedisConfig, Store};
use tokio::sync::OnceCell;

#[cfg(feature = "tls")]
use crate::harness::tls::{Certificates, Shown};
use crate::harness::{Borrowed, Cluster, Moving, RedisServer, SERVICE, Sentinel};

thread_local! {
    static KEPT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

contract!(redis_plain: open_redis_plain);
contract!(redis_on_a_unix_socket: open_redis_unix);
contract!(redis_with_a_password: open_redis_password);
contract!(redis_as_a_user: open_redis_user);
contract!(redis_in_another_database: open_redis_database);
contract!(redis_on_two_connections: open_redis_two);
contract!(redis_with_resp3: open_redis_resp3);
contract!(redis_with_a_near_cache: open_redis_near);
contract!(redis_over_sentinel: open_redis_sentinel);
contract!(redis_over_cluster: open_redis_cluster;);
contract!(redis_over_a_whole_cluster: open_redis_whole_cluster;);
#[cfg(feature = "tls")]
contract!(redis_over_tls: open_redis_tls);

/// The cases of loads do not hold: a slot that moves ends the leases of its loads, and what they load is not stored.
mod redis_over_a_whole_cluster_whose_slots_move {
    mod at_the_root {
        of_calls!(open_redis_moving_cluster, |config| config);
    }
}

/// Opens a store, and keeps what it stands on.
async fn open(servers: impl Any, config: RedisConfig, settings: fn(Config) -> Config) -> Store {
    let store = crate::support::open(settings(config.into())).await;
    // On a single thread the tests follow one another: the one before has ended.
    KEPT.with(|kept| kept.replace(Some(Box::new(servers))));
    store
}

/// A busy machine must not be taken for a silent server, nor end a call: these tests hold nothing against a time.
fn config(url: &str) -> RedisConfig {
    let config = RedisConfig::new(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    config
        .response_timeout(Duration::from_secs(20))
        .request_timeout(Duration::from_secs(60))
}

pub(crate) async fn open_redis_plain(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::start().await;
    let config = config(&server.url());
    open(server, config, settings).await
}

/// As a user with the rights that a near cache needs, and no others.
pub(crate) async fn open_redis_near(settings: fn(Config) -> Config) -> Store {
    let line = user("+info +client +multi +exec +hello");
    let server = RedisServer::options().user(&line).start().await;
    let config = config(&format!("redis://app:s3cr3t@{}?near=16MiB", server.address()));
    open(server, config, settings).await
}

pub(crate) async fn open_redis_unix(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::options().unix_only().start().await;
    let config = config(&server.unix_url());
    open(server, config, settings).await
}

pub(crate) async fn open_redis_password(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::options().password("s3cr3t").start().await;
    let config = config(&format!("redis://:s3cr3t@{}", server.address()));
    open(server, config, settings).await
}

/// A user with the rights that the documentation names, and `more`.
fn user(more: &str) -> String {
    let page = include_str!("../../docs/security.md");
    let rights = page
        .lines()
        .find(|line| line.starts_with("user app on "))
        .unwrap();
    format!(
        "user default off\n{} {more}",
        rights.replace("password", "s3cr3t")
    )
}

pub(crate) async fn open_redis_user(settings: fn(Config) -> Config) -> Store {
    // It is for commands of the tests' own.
    let server = RedisServer::options().user(&user("+info")).start().await;
    let config = config(&format!("redis://app:s3cr3t@{}", server.address()));
    open(server, config, settings).await
}

/// A primary that a Sentinel names. The Sentinel need not reach it for that.
pub(crate) async fn open_redis_sentinel(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::options().user(&user("+role +info")).start().await;
    let sentinel = Sentinel::start(None).await;
    sentinel.watch(&server, 1, None);
    let url = format!(
        "redis-sentinel://app:s3cr3t@{}?sentinelServiceName={SERVICE}&sentinel_timeout=20s",
        sentinel.address()
    );
    let config = config(&url);
    open((server, sentinel), config, settings).await
}

/// Three primaries, which all tests share: each has a hash tag of its own, and so a slot on one of them. It has the rights that
/// the documentation names for that tag.
pub(crate) async fn open_redis_cluster(settings: fn(Config) -> Config) -> Store {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    static TAGS: AtomicU64 = AtomicU64::new(0);
    let start = || async {
        let line = user("+cluster|slots +info").replace("&cachestore:*", "&{t*}:cachestore:*");
        Cluster::with(
            0,
            |options| options.user(&line).for_the_whole_process(),
            "app:s3cr3t@",
        )
        .await
    };
    let cluster = CLUSTER.get_or_init(start).await;
    let tag = format!("t{}", TAGS.fetch_add(1, Ordering::Relaxed));
    open((), config(&cluster.url(&tag)), settings).await
}

/// Three primaries with replicas, over which the keys are spread. It has the rights that the documentation names.
pub(crate) async fn open_redis_whole_cluster(settings: fn(Config) -> Config) -> Store {
    // On a single thread, the test before has ended.
    KEPT.with(|kept| kept.take());
    let cluster = whole_cluster().await;
    let config = config(&cluster.spread_url());
    open(cluster, config, settings).await
}

/// The same while slots that have keys move to another primary and back.
pub(crate) async fn open_redis_moving_cluster(settings: fn(Config) -> Config) -> Store {
    KEPT.with(|kept| kept.take());
    let cluster = whole_cluster().await;
    let config = config(&cluster.spread_url());
    open(Moving::begin(cluster), config, settings).await
}

async fn whole_cluster() -> Borrowed {
    let line = user("+cluster|slots +asking +info");
    Borrowed::with(|options| options.user(&line), "app:s3cr3t@").await
}

pub(crate) async fn open_redis_database(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::start().await;
    let config = config(&format!("{}/9", server.url()));
    open(server, config, settings).await
}

pub(crate) async fn open_redis_two(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::start().await;
    let config = config(&server.url()).connections(2);
    open(server, config, settings).await
}

pub(crate) async fn open_redis_resp3(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::start().await;
    let config = config(&format!("{}?protocol=resp3", server.url()));
    open(server, config, settings).await
}

#[cfg(feature = "tls")]
pub(crate) async fn open_redis_tls(settings: fn(Config) -> Config) -> Store {
    let certificates = Certificates::new();
    let server = RedisServer::options()
        .tls(certificates.server(Shown::Good, false))
        .start()
        .await;
    let url = format!("rediss://localhost:{}", server.port());
    let config = config(&url).tls_ca_pem(certificates.authority_pem());
    open((server, certificates), config, settings).await
}
