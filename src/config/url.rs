//! Reading a store's URL. The URL may hold a password: no error here repeats any part of it but
//! the names of parameters that are known.

use std::path::PathBuf;

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion};

use super::{MIB, refuse};
use crate::codec::Codec;
use crate::error::{Error, Result};

/// The schemes of Redis URLs.
const SCHEMES: [&str; 3] = ["redis", "rediss", "unix"];
const KIB: usize = 1024;
const GIB: usize = 1024 * MIB;

/// What a URL says, and what it says of any store.
pub(super) struct Named<T> {
    pub(super) what: T,
    pub(super) namespace: Option<String>,
    pub(super) codec: Option<Codec>,
}

/// What a store's URL names.
pub(super) enum StoreUrl {
    /// The memory engine, and its capacity in bytes.
    Memory(Named<Option<usize>>),
    Redis(Named<Address>),
}

/// Where a server is, and who wants to be let in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) tls: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) db: i64,
    pub(crate) resp3: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(String, u16),
    Unix(PathBuf),
}

pub(super) fn parse(url: &str) -> Result<StoreUrl> {
    let Some((scheme, rest)) = url.trim().split_once("://") else {
        return refuse("a store's URL looks like memory://?capacity=64MiB".to_owned());
    };
    if scheme.eq_ignore_ascii_case("memory") {
        return memory(rest).map(StoreUrl::Memory);
    }
    if SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return redis(url).map(StoreUrl::Redis);
    }
    refuse("the URL's scheme names no engine: memory://, redis://, rediss:// and unix:// do".to_owned())
}

/// Reads a Redis URL. The `redis` crate does the reading; its messages may quote the URL, so they are
/// not passed on.
pub(super) fn redis(url: &str) -> Result<Named<Address>> {
    let invalid = || Error::InvalidConfig {
        reason: "a Redis URL looks like redis://user:password@host:6379/0, rediss:// with TLS, or \
                 unix:///path?db=0"
            .to_owned(),
    };
    let mut url = redis::parse_redis_url(url.trim()).ok_or_else(invalid)?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(invalid());
    }
    if url.fragment().is_some() {
        return refuse("a Redis URL takes no fragment: certificates are always verified".to_owned());
    }
    let unix = url.scheme() == "unix";
    let (mut namespace, mut named_codec) = (None, None);
    for (name, value) in url.query_pairs() {
        match &*name {
            "protocol" => {}
            "db" | "user" | "pass" if unix => {}
            "namespace" => namespace = Some(value.into_owned()),
            "codec" => named_codec = Some(codec(&value)?),
            _ => {
                let reason = "a Redis URL takes the parameters protocol, namespace and codec; unix:// \
                              also db, user and pass";
                return refuse(reason.to_owned());
            }
        }
    }
    let tls = url.scheme() == "rediss";
    if tls {
        // The engine brings its own TLS: the crate's is off, and it would refuse the scheme.
        url.set_scheme("redis").map_err(|()| invalid())?;
    }
    let info = url.into_connection_info().map_err(|_| invalid())?;
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
        ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
        _ => return Err(invalid()),
    };
    let given = info.redis_settings();
    if given.db() < 0 {
        return Err(invalid());
    }
    let what = Address {
        place,
        tls,
        username: given.username().map(str::to_owned),
        password: given.password().map(str::to_owned),
        db: given.db(),
        resp3: given.protocol() == ProtocolVersion::RESP3,
    };
    Ok(Named {
        what,
        namespace,
        codec: named_codec,
    })
}

fn memory(rest: &str) -> Result<Named<Option<usize>>> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !place.trim_end_matches('/').is_empty() {
        return refuse("memory:// takes no host, user or path".to_owned());
    }
    let mut named = Named {
        what: None,
        namespace: None,
        codec: None,
    };
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "capacity" => named.what = Some(bytes(value)?),
            "namespace" => named.namespace = Some(value.to_owned()),
            "codec" => named.codec = Some(codec(value)?),
            _ => {
                return refuse("memory:// takes the parameters capacity, namespace and codec".to_owned());
            }
        }
    }
    Ok(named)
}

fn codec(value: &str) -> Result<Codec> {
    match value {
        "messagepack" => Ok(Codec::MessagePack),
        "json" => Ok(Codec::Json),
        _ => refuse("codec is messagepack or json".to_owned()),
    }
}

/// A number of bytes: `1048576`, `1024KiB`, `1MiB`.
fn bytes(value: &str) -> Result<usize> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &value[digits.len()..] {
        "" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return refuse("capacity is a number of bytes, or of KiB, MiB or GiB".to_owned()),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match digits
        .parse::<usize>()
        .ok()
        .filter(|_| plain)
        .and_then(|number| number.checked_mul(unit))
    {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => refuse("capacity is a whole number over zero, such as 64MiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, EngineConfig, RedisConfig};
    use super::*;

    fn capacity(url: &str) -> Option<usize> {
        match Config::from_url(url).ok()?.engine {
            EngineConfig::Memory { capacity_bytes } => Some(capacity_bytes),
            EngineConfig::Redis(_) => None,
        }
    }

    #[test]
    fn capacities_in_bytes_and_binary_units() {
        assert_eq!(capacity("memory://"), Some(100 * MIB));
        assert_eq!(capacity("memory:///"), Some(100 * MIB));
        assert_eq!(capacity("MEMORY://?capacity=1000"), Some(1000));
        assert_eq!(capacity("memory://?capacity=3KiB"), Some(3 * KIB));
        assert_eq!(capacity(" memory://?capacity=64MiB "), Some(64 * MIB));
        assert_eq!(capacity("memory://?capacity=2GiB"), Some(2 * GIB));
    }

    #[test]
    fn everything_else_is_refused_without_being_repeated() {
        for url in [
            "",
            "memory",
            "memory:",
            "memory://host",
            "memory://?capacity=",
            "memory://?capacity=0",
            "memory://?capacity=-1",
            "memory://?capacity=+1",
            "memory://?capacity=1MB",
            "memory://?capacity=1.5MiB",
            "memory://?capacity=99999999999999999999GiB",
            "memory://?capacity=18446744073709551615KiB",
            "memory://?size=1",
            "memory://user:hunter2@host",
            "hunter2://user:hunter2@host",
            "memory://?hunter2=hunter2",
            "memory://?codec=hunter2",
        ] {
            let error = Config::from_url(url).unwrap_err();
            assert!(matches!(error, Error::InvalidConfig { .. }), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn the_other_parameters() {
        let config = Config::from_url("memory://?namespace=a&codec=json&capacity=1MiB").unwrap();
        assert_eq!(config.settings.namespace.as_deref(), Some("a"));
        assert_eq!(config.settings.codec, Codec::Json);
    }

    fn address(url: &str) -> Address {
        redis(url).unwrap().what
    }

    #[test]
    fn redis_urls() {
        let full = address("rediss://us%40er:p%3Aw@host:7000/3?protocol=resp3");
        assert_eq!(full.place, Place::Tcp("host".into(), 7000));
        assert_eq!(
            (full.username.as_deref(), full.password.as_deref()),
            (Some("us@er"), Some("p:w"))
        );
        assert!(full.tls && full.resp3);
        assert_eq!(full.db, 3);
        let bare = address("redis://:pw@[::1]");
        assert_eq!(bare.place, Place::Tcp("::1".into(), 6379));
        assert_eq!(
            (bare.username, bare.password.as_deref(), bare.db),
            (None, Some("pw"), 0)
        );
        assert_eq!(
            address("unix:///run/redis.sock?db=2").place,
            Place::Unix("/run/redis.sock".into())
        );
    }

    #[test]
    fn a_redis_configuration_shows_no_password() {
        let config = RedisConfig::new("redis://user:hunter2@host/0")
            .unwrap()
            .tls_client_pem("hunter2", "hunter2");
        assert!(!format!("{config:?} {:?}", Config::from(config.clone())).contains("hunter2"));
        for url in [
            "redis://:hunter2@host/hunter2",
            "redis://:hunter2@host?hunter2=1",
            "redis://:hunter2@host?protocol=hunter2",
            "rediss://:hunter2@host#insecure",
            "redis://:hunter2@host:hunter2",
            "redis://:hunter2@host/-1",
        ] {
            let error = RedisConfig::new(url).unwrap_err();
            assert!(matches!(error, Error::InvalidConfig { .. }), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
        }
    }
}
