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
