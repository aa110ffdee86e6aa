use super::super::Config;
use super::*;

fn read_url(url: &str) -> (Sentinels, Parameters) {
    read(url).unwrap().unwrap()
}

fn places(sentinels: &Sentinels) -> Vec<String> {
    sentinels
        .seeds
        .iter()
        .map(|seed| seed.place.to_string())
        .collect()
}

#[test]
fn a_url_names_sentinels_servers_and_settings() {
    let (sentinels, settings) = read_url(
        "redis-sentinel://app:p%3Aw@s1/3?node=s2:7000&node=[::1]&sentinelServiceName=main&sentinelPassword=other&connections=2",
    );
    assert_eq!(places(&sentinels), ["s1:26379", "s2:7000", "[::1]:26379"]);
    assert_eq!(sentinels.service, "main");
    let Access {
        tls,
        username,
        password,
        db,
        ..
    } = &sentinels.access;
    assert_eq!(
        (*tls, username.as_deref(), password.as_deref(), *db),
        (false, Some("app"), Some("p:w"), 3)
    );
    for seed in &sentinels.seeds {
        assert_eq!(seed.access.username, None);
        assert_eq!(seed.access.password.as_deref(), Some("other"));
    }
    assert_eq!(settings, [("connections".to_owned(), "2".to_owned())]);
    assert_eq!(
        format!("{sentinels}"),
        "the service `main` of Sentinel at s1:26379, s2:7000, [::1]:26379"
    );
}

#[cfg(feature = "tls")]
#[test]
fn tls_of_sentinels_is_apart_from_that_of_servers() {
    for (url, servers, seeds) in [
        ("rediss-sentinel://s1?sentinelServiceName=m", true, true),
        (
            "REDISS-SENTINEL://s1?sentinelServiceName=m&sentinelTls=off",
            true,
            false,
        ),
        (
            "redis-sentinel://s1?sentinelServiceName=m&sentinelTls=on",
            false,
            true,
        ),
    ] {
        let (sentinels, _) = read_url(url);
        assert_eq!(
            (sentinels.access.tls, sentinels.seeds[0].access.tls),
            (servers, seeds),
            "{url}"
        );
    }
}

#[test]
fn what_names_no_sentinel_is_refused_without_being_repeated() {
    for url in [
        "redis-sentinel://:hunter2@s1",
        "redis-sentinel://:hunter2@s1?sentinelServiceName=",
        "redis-sentinel://:hunter2@s1?sentinelServiceName=a b",
        "redis-sentinel://:hunter2@s1?sentinelServiceName=a&sentinelServiceName=b",
        "redis-sentinel://:hunter2@s1?sentinelServiceName=a&sentinelTls=hunter2",
        "redis-sentinel://:hunter2@s1?sentinelServiceName=a&node=",
        "redis-sentinel://:hunter2@s1?sentinelServiceName=a&node=redis://:hunter2@s2",
        "redis-sentinel://:hunter2@s1?sentinelServiceName=a&node=s2:0",
        "redis-sentinel://:hunter2@s1?sentinelServiceName=a&hunter2=1",
        "redis-sentinel:///hunter2?sentinelServiceName=a",
    ] {
        let error = Config::from_url(url).unwrap_err();
        assert!(matches!(error, Error::InvalidConfig { .. }), "{url}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
    }
    let none: [&str; 0] = [];
    assert!(RedisConfig::sentinel("main", none).is_err());
    for seed in [
        "",
        "unix:///s",
        "redis://s1/1",
        "redis://s1?connections=2",
        "http://s1",
    ] {
        assert!(RedisConfig::sentinel("main", [seed]).is_err(), "{seed}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let config = RedisConfig::sentinel("main", ["redis://hunter2:hunter2@s1"])
        .unwrap()
        .username("hunter2")
        .password("hunter2")
        .credentials(|| async { ("hunter2", "hunter2") });
    assert!(!format!("{config:?} {:?}", Config::from(config.clone())).contains("hunter2"));
}

#[cfg(feature = "tls")]
#[test]
fn certificates_for_sentinels_that_are_not_given_are_those_for_servers() {
    let config = || {
        let config = RedisConfig::sentinel("main", ["rediss://s1"]).unwrap();
        config.tls_ca_pem("ca").tls_client_pem("chain", "key")
    };
    for (config, ca, chain) in [
        (config(), "ca", "chain"),
        (config().sentinel_tls_ca_pem("other"), "other", "chain"),
        (config().sentinel_tls_client_pem("other", "key"), "ca", "other"),
    ] {
        config.options.validate().unwrap();
        let tls = config.options.for_sentinels().tls;
        assert_eq!(tls.ca.as_deref(), Some(ca.as_bytes()));
        let shown = tls.client.map(|client| client.chain);
        assert_eq!(shown.as_deref(), Some(chain.as_bytes()));
    }
}

/// The reason of a refusal. It names no user.
fn reason(refused: Result<()>) -> String {
    let Err(Error::InvalidConfig { reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(!reason.contains("hunter2"), "{reason}");
    reason
}

/// Nothing would be sent, so that the store would be the default user.
#[test]
fn a_user_without_a_password_is_refused() {
    let opened = |config: RedisConfig| Config::from(config).validate();
    let redis = |url: &str| RedisConfig::new(url).unwrap();
    for url in [
        "redis://hunter2@host",
        "redis://hunter2:@host",
        "unix:///s?user=hunter2",
        "redis-sentinel://hunter2@s1?sentinelServiceName=m",
    ] {
        assert!(reason(Config::from_url(url).unwrap().validate()).contains("password"));
        assert!(reason(opened(redis(url))).contains("password"));
        for password in ["p", ""] {
            opened(redis(url).password(password)).unwrap();
        }
        opened(redis(url).credentials(|| async { ("u", "p") })).unwrap();
    }
    let sentinel = || RedisConfig::sentinel("main", ["s1"]).unwrap();
    for config in [redis("redis://host"), sentinel()] {
        assert!(reason(opened(config.clone().username("hunter2"))).contains("password"));
        opened(config.username("u").password("p")).unwrap();
    }
    // No setter could add the password of a Sentinel.
    for refused in [
        RedisConfig::sentinel("main", ["redis://hunter2@s1"]),
        RedisConfig::new("redis-sentinel://s1?sentinelServiceName=m&sentinelUsername=hunter2"),
    ] {
        assert!(reason(refused.map(drop)).contains("password"));
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_unix_socket_speaks_no_tls() {
    let config = || RedisConfig::new("unix:///run/hunter2").unwrap();
    assert!(reason(Config::from(config().tls(true)).validate()).contains("unix://"));
    Config::from(config().tls(false)).validate().unwrap();
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let client = || RedisConfig::from_client(redis::Client::open("redis://localhost").unwrap());
    let server = || RedisConfig::new("redis://localhost").unwrap();
    for config in [
        client().password("p"),
        client().database(1),
        client().credentials(|| async { ("u", "p") }),
        server().map_address(|host, port| (host.to_owned(), port)),
    ] {
        assert!(Config::from(config).validate().is_err());
    }
    assert!(
        Config::from(server().username("u").password("p").database(2))
            .validate()
            .is_ok()
    );
}
