//! TLS: who is let in, and all who are refused by default.

use std::fs;

use cachestore::{Error, Phase, RedisConfig, Store};
use tokio::time::Instant;

use crate::harness::RedisServer;
use crate::harness::lateness::late;
use crate::harness::opening::{config, ms, open, told};
use crate::harness::tls::{Certificates, Shown};

const TIMEOUT: std::time::Duration = ms(3000);

fn url(server: &RedisServer) -> String {
    format!("rediss://localhost:{}", server.port())
}

fn trusting(server: &RedisServer, certificates: &Certificates) -> RedisConfig {
    config(&url(server))
        .tls_ca_pem(certificates.authority_pem())
        .request_timeout(TIMEOUT)
}

/// Opening is refused, in time, and the reason names TLS and no more.
async fn refused(config: RedisConfig, what: &str) {
    let began = Instant::now();
    let error = Store::open(config).await.expect_err(what);
    assert!(
        began.elapsed() <= TIMEOUT + late(),
        "{what}: {:?}",
        began.elapsed()
    );
    assert!(
        matches!(
            error,
            Error::Unavailable(_)
                | Error::Unauthorized
                | Error::InvalidConfig { .. }
                // A plaintext server waits for the end of a line that does not come.
                | Error::Timeout { phase: Phase::Connect }
        ),
        "{what}: {error:?}"
    );
    println!("{what}: {}", told(&error).lines().last().unwrap_or_default());
}

#[tokio::test]
async fn a_server_of_the_private_authority_is_trusted() {
    let certificates = Certificates::new();
    let server = RedisServer::options()
        .tls(certificates.server(Shown::Good, false))
        .start()
        .await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("rediss://{host}:{}", server.port());
        let config = config(&url).tls_ca_pem(certificates.authority_pem());
        let store = open(config).await;
        store.set("k", "v").depends_on(["d"]).await.unwrap();
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
        let large = vec![7; 3_000_000];
        store.set("large", &large).await.unwrap();
        assert!(store.get("large").await.unwrap().unwrap() == large);
        assert_eq!(store.invalidate(["d"]).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn every_other_server_is_refused() {
    let certificates = Certificates::new();
    for shown in [
        Shown::WrongName,
        Shown::WrongAuthority,
        Shown::Expired,
        Shown::SelfSigned,
    ] {
        let server = RedisServer::options()
            .tls(certificates.server(shown, false))
            .start()
            .await;
        let mut monitor = server.monitor();
        refused(trusting(&server, &certificates), &format!("{shown:?}")).await;
        assert!(monitor.take().is_empty(), "{shown:?}: nothing was said to it");
    }
}

#[tokio::test]
async fn without_an_authority_of_ones_own_a_private_server_is_refused() {
    let certificates = Certificates::new();
    for shown in [Shown::Good, Shown::SelfSigned] {
        let server = RedisServer::options()
            .tls(certificates.server(shown, false))
            .start()
            .await;
        refused(
            config(&url(&server)).request_timeout(TIMEOUT),
            &format!("{shown:?}, unknown"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_plaintext_peer_is_refused_and_told_nothing() {
    let certificates = Certificates::new();
    let server = RedisServer::options().password("hunter2").start().await;
    let url = format!("rediss://:hunter2@localhost:{}", server.port());
    let config = config(&url)
        .tls_ca_pem(certificates.authority_pem())
        .request_timeout(TIMEOUT);
    refused(config, "a plaintext server").await;
    // The other way: a plain client at a TLS port.
    let server = RedisServer::options()
        .tls(certificates.server(Shown::Good, false))
        .start()
        .await;
    refused(
        crate::harness::opening::config(&server.url()).request_timeout(TIMEOUT),
        "a plain client",
    )
    .await;
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_must() {
    let certificates = Certificates::new();
    let server = RedisServer::options()
        .tls(certificates.server(Shown::Good, true))
        .start()
        .await;
    refused(trusting(&server, &certificates), "no client certificate").await;

    let (certificate, key) = certificates.client();
    let (certificate, key) = (fs::read(certificate).unwrap(), fs::read(key).unwrap());
    let store = open(trusting(&server, &certificates).tls_client_pem(&certificate, &key)).await;
    store.set("k", "v").await.unwrap();

    let others = Certificates::new();
    let (stranger, its_key) = others.client();
    let (stranger, its_key) = (fs::read(stranger).unwrap(), fs::read(its_key).unwrap());
    refused(
        trusting(&server, &certificates).tls_client_pem(&stranger, &its_key),
        "a stranger",
    )
    .await;
    refused(
        trusting(&server, &certificates).tls_client_pem(&certificate, &its_key),
        "another's key",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_certificate_is_an_invalid_configuration() {
    let certificates = Certificates::new();
    let server = RedisServer::options()
        .tls(certificates.server(Shown::Good, false))
        .start()
        .await;
    for pem in [
        "",
        "hunter2",
        "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n",
    ] {
        let error = Store::open(config(&url(&server)).tls_ca_pem(pem))
            .await
            .expect_err(pem);
        assert!(matches!(error, Error::InvalidConfig { .. }), "{pem:?}: {error:?}");
        assert!(!told(&error).contains("hunter2"));
    }
}

#[tokio::test]
async fn a_name_that_changes_under_way_is_refused_too() {
    let certificates = Certificates::new();
    let good = RedisServer::options()
        .tls(certificates.server(Shown::Good, false))
        .start()
        .await;
    let proxy = crate::harness::Proxy::start(good.address(), 1).await;
    let port = proxy.address().rsplit(':').next().unwrap().to_owned();
    let bad = RedisServer::options()
        .tls(certificates.server(Shown::WrongName, false))
        .start()
        .await;
    let url = format!("rediss://localhost:{port}");
    let config = config(&url)
        .tls_ca_pem(certificates.authority_pem())
        .request_timeout(ms(800));
    let store = open(config).await;
    store.set("k", "v").await.unwrap();
    proxy.retarget(bad.address());
    proxy.cut();
    let end = Instant::now() + ms(1500);
    while Instant::now() < end {
        assert!(
            store.get("k").await.is_err(),
            "a reconnection is checked as the first connection was"
        );
    }
    proxy.retarget(good.address());
    while store.get("k").await.is_err() {
        assert!(Instant::now() < end + ms(5000));
    }
}
