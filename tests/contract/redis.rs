//! The contract over Redis, by every way to reach a server.
//!
//! Each test has a server of its own. A case is given a store and no more, so the server is kept by
//! the test's thread and ends with it.

use std::any::Any;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachestore::{Config, RedisConfig, Store};
use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit};

use crate::harness::server::Options;
#[cfg(feature = "tls")]
use crate::harness::tls::{Certificates, Shown};
use crate::harness::{Cluster, RedisServer, SERVICE, Sentinel};

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
#[cfg(feature = "tls")]
contract!(redis_over_tls: open_redis_tls);

/// Without loads that depend on names, which such a store does not have yet. A conditional write that is not made may
/// leave its key registered under its names there.
mod redis_over_a_whole_cluster {
    tests! { open_redis_whole_cluster, |config| config;
        values: an_absent_key_is_none_and_false,
            every_form_of_value_is_read_as_it_was_written,
            a_value_is_any_bytes,
            an_empty_value_is_a_value,
            text_that_is_not_utf8_is_a_decode_error,
            the_last_set_wins,
            a_text_is_not_a_model,
            add_writes_only_where_there_is_nothing,
            replace_writes_only_where_there_is_something,
            compare_and_set_writes_only_over_what_is_expected,
            take_reads_and_deletes,
            delete_says_whether_there_was_a_value,
            every_clone_sees_what_was_written,
            of_many_adds_one_wins,
            of_many_takes_one_gets_the_value,
            compare_and_set_loses_no_update;
        many: values_come_in_the_order_asked,
            no_keys_are_no_work,
            keys_are_any_iterator_of_text,
            thousands_travel_together,
            of_a_key_given_twice_the_last_value_stays,
            a_write_of_many_is_refused_whole,
            a_delete_of_many_counts_what_was_there_once,
            a_delete_of_many_is_refused_whole;
        counters: counting_begins_at_zero,
            counting_goes_on_from_what_was_set,
            a_counter_is_not_a_model,
            other_forms_of_a_number_are_none,
            a_sum_past_64_bits_is_refused,
            no_count_is_lost,
            the_call_that_creates_a_counter_sets_its_ttl,
            no_count_is_lost_and_one_call_creates_the_counter,
            a_counter_is_read_as_the_integer_that_it_is;
        dependencies: an_invalidation_removes_the_key_and_its_dependents,
            a_name_need_not_be_a_key,
            any_of_an_entrys_names_invalidates_it,
            an_entry_under_several_names_counts_once,
            every_write_records_dependencies,
            changes_in_place_keep_dependencies,
            dependencies_cascade,
            a_diamond_counts_once,
            cycles_end,
            an_intermediate_that_is_gone_still_connects,
            a_chain_that_is_gone_still_connects,
            deleting_a_key_leaves_its_dependents,
            an_expired_dependent_is_not_counted,
            names_are_taken_as_they_are,
            names_belong_to_their_namespace,
            thousands_are_invalidated_at_once,
            thousands_of_names_at_once,
            what_is_written_after_an_invalidation_stays;
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

/// Clusters of three primaries, each for one test at a time.
static CLUSTERS: Mutex<Vec<Cluster>> = Mutex::const_new(Vec::new());
static FREE: Semaphore = Semaphore::const_new(2);

/// A cluster that no other test uses. It is used again when this is dropped.
struct Borrowed(
    Option<Cluster>,
    #[allow(dead_code, reason = "it is held")] SemaphorePermit<'static>,
);

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let (Some(cluster), Ok(mut clusters)) = (self.0.take(), CLUSTERS.try_lock()) {
            clusters.push(cluster);
        }
    }
}

/// Three primaries, over which the keys are spread. It has the rights that the documentation names.
pub(crate) async fn open_redis_whole_cluster(settings: fn(Config) -> Config) -> Store {
    // On a single thread, the test before has ended.
    KEPT.with(|kept| kept.take());
    let permit = FREE.acquire().await.unwrap();
    let used = CLUSTERS.lock().await.pop();
    let cluster = match used {
        Some(cluster) => cluster,
        None => {
            let line = user("+cluster|slots +info");
            let options = |options: Options| options.user(&line).for_the_whole_process();
            Cluster::with(0, options, "app:s3cr3t@").await
        }
    };
    cluster.flush();
    let config = config(&cluster.spread_url());
    open(Borrowed(Some(cluster), permit), config, settings).await
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
