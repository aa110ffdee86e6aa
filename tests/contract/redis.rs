//! The contract over Redis, by every way to reach a server.
//!
//! Each test has a server of its own. A case is given a store and no more, so the server is kept by
//! the test's thread and ends with it.

use std::cell::RefCell;
use std::time::Duration;

use cachestore::{Config, RedisConfig, Store};

use crate::harness::RedisServer;
use crate::harness::tls::Certificates;
#[cfg(feature = "tls")]
use crate::harness::tls::Shown;

thread_local! {
    static KEPT: RefCell<Option<(RedisServer, Option<Certificates>)>> = const { RefCell::new(None) };
}

contract!(redis_plain: open_redis_plain);
contract!(redis_on_a_unix_socket: open_redis_unix);
contract!(redis_with_a_password: open_redis_password);
contract!(redis_as_a_user: open_redis_user);
contract!(redis_in_another_database: open_redis_database);
contract!(redis_on_two_connections: open_redis_two);
contract!(redis_with_resp3: open_redis_resp3);
contract!(redis_with_a_near_cache: open_redis_near);
#[cfg(feature = "tls")]
contract!(redis_over_tls: open_redis_tls);

async fn open(
    server: RedisServer,
    certificates: Option<Certificates>,
    config: RedisConfig,
    settings: fn(Config) -> Config,
) -> Store {
    let store = crate::support::open(settings(config.into())).await;
    // On a single thread the tests follow one another: the one before has ended.
    KEPT.with(|kept| kept.replace(Some((server, certificates))));
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
    open(server, None, config, settings).await
}

pub(crate) async fn open_redis_near(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::start().await;
    let config = config(&format!("{}?near=16MiB", server.url()));
    open(server, None, config, settings).await
}

pub(crate) async fn open_redis_unix(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::options().unix_only().start().await;
    let config = config(&server.unix_url());
    open(server, None, config, settings).await
}

pub(crate) async fn open_redis_password(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::options().password("s3cr3t").start().await;
    let config = config(&format!("redis://:s3cr3t@{}", server.address()));
    open(server, None, config, settings).await
}

pub(crate) async fn open_redis_user(settings: fn(Config) -> Config) -> Store {
    let page = include_str!("../../docs/security.md");
    let rights = page
        .lines()
        .find(|line| line.starts_with("user app on "))
        .unwrap();
    // The rest is for commands of the tests' own.
    let line = format!("user default off\n{} +info", rights.replace("password", "s3cr3t"));
    let server = RedisServer::options().user(&line).start().await;
    let config = config(&format!("redis://app:s3cr3t@{}", server.address()));
    open(server, None, config, settings).await
}

pub(crate) async fn open_redis_database(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::start().await;
    let config = config(&format!("{}/9", server.url()));
    open(server, None, config, settings).await
}

pub(crate) async fn open_redis_two(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::start().await;
    let config = config(&server.url()).connections(2);
    open(server, None, config, settings).await
}

pub(crate) async fn open_redis_resp3(settings: fn(Config) -> Config) -> Store {
    let server = RedisServer::start().await;
    let config = config(&format!("{}?protocol=resp3", server.url()));
    open(server, None, config, settings).await
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
    open(server, Some(certificates), config, settings).await
}
