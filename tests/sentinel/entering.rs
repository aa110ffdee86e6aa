//! Passwords, tokens, TLS and addresses: those of Sentinels apart from those of servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachestore::{Credentials, Error, RedisConfig, Store};
use tokio::time::{sleep, timeout};

#[cfg(feature = "tls")]
use crate::harness::Sentinel;
use crate::harness::opening::{config, ms, open, told};
#[cfg(feature = "tls")]
use crate::harness::tls::{Certificates, Shown};
use crate::harness::{Proxy, RedisServer, SERVICE, Service};

#[tokio::test]
async fn sentinels_and_servers_have_passwords_of_their_own() {
    let service = Service::with(1, |options| options, [Some("n0de"), Some("s3ntinel")]).await;
    let sentinel = service.sentinels[0].address();
    let named =
        |password: &str| RedisConfig::sentinel(SERVICE, [format!("redis://:{password}@{sentinel}")]).unwrap();
    let url =
        format!("redis-sentinel://:n0de@{sentinel}?sentinelServiceName={SERVICE}&sentinelPassword=s3ntinel");
    for config in [named("s3ntinel").password("n0de"), config(&url)] {
        let store = open(config).await;
        store.set("k", "v").await.unwrap();
        store.close().await.unwrap();
    }
    for (config, what) in [
        (named("wrong").password("n0de"), "the Sentinel's"),
        (named("s3ntinel").password("wrong"), "the server's"),
        (named("s3ntinel"), "none"),
    ] {
        let error = Store::open(config).await.expect_err(what);
        assert!(matches!(error, Error::Unauthorized), "{what}: {error:?}");
        let said = told(&error);
        assert!(
            !["n0de", "s3ntinel", "wrong"]
                .iter()
                .any(|word| said.contains(word)),
            "{said}"
        );
    }
}

/// A server that speaks TLS behind a Sentinel that does not, both do by different authorities, and the reverse.
#[cfg(feature = "tls")]
#[tokio::test]
async fn sentinels_and_servers_have_certificates_of_their_own() {
    let (of_servers, of_sentinels) = (Certificates::new(), Certificates::new());
    let tls_server = RedisServer::options()
        .tls(of_servers.server(Shown::Good, false))
        .start()
        .await;
    let plain_server = RedisServer::start().await;
    let certificate = of_sentinels.server(Shown::Good, false);
    for (server, tls) in [(&tls_server, true), (&plain_server, false)] {
        for sentinel_tls in [true, false] {
            let sentinel = Sentinel::with(None, sentinel_tls.then_some(&certificate)).await;
            sentinel.watch(server, 1, None);
            let scheme = if sentinel_tls { "rediss" } else { "redis" };
            let seed = format!("{scheme}://{}", sentinel.address());
            let mut config = RedisConfig::sentinel(SERVICE, [seed]).unwrap().tls(tls);
            if tls {
                config = config.tls_ca_pem(of_servers.authority_pem());
            }
            if sentinel_tls {
                config = config.sentinel_tls_ca_pem(of_sentinels.authority_pem());
            }
            let store = open(config).await;
            store.set("k", "v").await.unwrap();
        }
    }
}

/// The Sentinel wants a certificate of its clients, the server does not. The authority is the same.
#[cfg(feature = "tls")]
#[tokio::test]
async fn what_is_not_given_for_sentinels_is_as_for_servers() {
    let certificates = Certificates::new();
    let server = RedisServer::options()
        .tls(certificates.server(Shown::Good, false))
        .start()
        .await;
    let sentinel = Sentinel::with(None, Some(&certificates.server(Shown::Good, true))).await;
    sentinel.watch(&server, 1, None);
    let (chain, key) = certificates.client();
    let read = |file| std::fs::read(file).unwrap();
    let config = RedisConfig::sentinel(SERVICE, [format!("rediss://{}", sentinel.address())])
        .unwrap()
        .tls(true)
        .tls_ca_pem(certificates.authority_pem())
        .sentinel_tls_client_pem(read(chain), read(key));
    open(config).await.set("k", "v").await.unwrap();
}

#[tokio::test]
async fn addresses_of_sentinels_are_mapped() {
    let service = Service::start(1).await;
    let proxy = Proxy::start(service.servers[0].address(), 1).await;
    let (from, to) = (service.servers[0].port(), proxy.address());
    let to: u16 = to.rsplit_once(':').unwrap().1.parse().unwrap();
    let config = config(&service.url()).map_address(move |host, port| {
        assert_eq!(host, "127.0.0.1");
        (host.to_owned(), if port == from { to } else { port })
    });
    let store = open(config).await;
    store.set("k", "v").await.unwrap();
    assert!(proxy.accepted() > 0);
}

#[tokio::test]
async fn a_map_that_panics_harms_nobody() {
    let service = Service::start(1).await;
    let config = config(&service.url()).map_address(|_, _| -> (String, u16) { panic!("a map of addresses") });
    let error = Store::open(config).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(told(&error).contains("map_address panicked"));
}

#[tokio::test]
async fn a_token_is_asked_for_at_each_connect() {
    let server = RedisServer::options()
        .user("user default off")
        .user("user app on >token-1 ~* &* +@all")
        .start()
        .await;
    let asked = Arc::new(AtomicU64::new(0));
    let current = Arc::new(AtomicU64::new(1));
    let config = config(&server.url()).credentials({
        let (asked, current) = (asked.clone(), current.clone());
        move || {
            asked.fetch_add(1, Ordering::Relaxed);
            let token = format!("token-{}", current.load(Ordering::Relaxed));
            async move {
                sleep(ms(1)).await;
                Ok::<_, std::io::Error>(Credentials::new("app", token))
            }
        }
    });
    let store = open(config).await;
    store.set("k", "v").await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    server.command(&["ACL", "SETUSER", "app", "resetpass", ">token-2"]);
    current.store(2, Ordering::Relaxed);
    server.command(&["CLIENT", "KILL", "USER", "app"]);
    let again = async { while store.set("k", "w").await.is_err() {} };
    timeout(Duration::from_secs(10), again).await.unwrap();
    assert!(asked.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn a_callback_that_fails_is_told_without_its_words() {
    let server = RedisServer::start().await;
    let failing = config(&server.url()).credentials(|| async { Err::<Credentials, _>("hunter2") });
    let panicking = config(&server.url()).credentials(|| async { panic!("no token") as (&str, &str) });
    let hanging = config(&server.url())
        .connect_timeout(ms(100))
        .credentials(std::future::pending::<(String, String)>);
    for (config, words) in [
        (failing, "credentials"),
        (panicking, "credentials"),
        (hanging, "connection"),
    ] {
        let error = Store::open(config).await.unwrap_err();
        assert!(
            matches!(error, Error::Unavailable(_) | Error::Timeout { .. }),
            "{error:?}"
        );
        let said = told(&error);
        assert!(said.contains(words) && !said.contains("hunter2"), "{said}");
    }
}
