//! Reading a store's URL. The URL may hold a password: no error here repeats any part of it.

use std::fmt;
use std::path::PathBuf;

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion};

use super::{Parameters, refuse};
use crate::error::{Error, Result};

/// The schemes of Redis URLs.
const SCHEMES: [&str; 3] = ["redis", "rediss", "unix"];

/// Which engine a store's URL names.
pub(super) enum Engine {
    Memory,
    Redis(Address),
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp(host, port) => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The engine that a URL names, and its parameters that are settings.
pub(super) fn parse(url: &str) -> Result<(Engine, Parameters)> {
    let Some((scheme, rest)) = url.trim().split_once("://") else {
        return refuse("a store's URL looks like memory://?capacity=64MiB or redis://host:6379/0".to_owned());
    };
    if scheme.eq_ignore_ascii_case("memory") {
        return Ok((Engine::Memory, memory(rest)?));
    }
    if SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        let (address, given) = redis(url)?;
        return Ok((Engine::Redis(address), given));
    }
    refuse("the URL's scheme names no engine: memory://, redis://, rediss:// and unix:// do".to_owned())
}

/// Reads a Redis URL. The `redis` crate does the reading; its messages may quote the URL, so they are
/// not passed on.
pub(super) fn redis(url: &str) -> Result<(Address, Parameters)> {
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
    let mut given = parameters(url.query().unwrap_or_default());
    let reserved: &[&str] = match url.scheme() {
        "unix" => &["protocol", "db", "user", "pass"],
        _ => &["protocol"],
    };
    for name in reserved {
        if given.iter().filter(|(given, _)| given == name).count() > 1 {
            return refuse(format!("{name} is given twice"));
        }
    }
    // The crate reads these.
    given.retain(|(name, _)| !reserved.contains(&name.as_str()));
    let tls = url.scheme() == "rediss";
    if tls {
        // The engine brings its own TLS: the crate's is off, and it would refuse the scheme.
        url.set_scheme("redis").map_err(|()| invalid())?;
    }
    let info = url.into_connection_info().map_err(|_| invalid())?;
    let place = match info.addr() {
        ConnectionAddr::Tcp(_, 0) => return refuse("a server has no port 0".to_owned()),
        ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
        ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
        _ => return Err(invalid()),
    };
    let settings = info.redis_settings();
    if settings.db() < 0 {
        return Err(invalid());
    }
    let address = Address {
        place,
        tls,
        username: settings.username().map(str::to_owned),
        password: settings.password().map(str::to_owned),
        db: settings.db(),
        resp3: settings.protocol() == ProtocolVersion::RESP3,
    };
    Ok((address, given))
}

fn memory(rest: &str) -> Result<Parameters> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !place.trim_end_matches('/').is_empty() {
        return refuse("memory:// takes no host, user or path".to_owned());
    }
    Ok(parameters(query))
}

/// The parameters of a URL's query, decoded as forms are: `+` is a space, `%2B` a plus.
fn parameters(query: &str) -> Parameters {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// A `%` that no two hexadecimal digits follow stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match (*first, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = tail;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    // A digit of base 16 is under 16.
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::super::{Config, EngineConfig, MIB, RedisConfig};
    use super::*;
    use crate::codec::Codec;

    const KIB: usize = 1024;

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
        assert_eq!(capacity("memory://?capacity=2GiB"), Some(2048 * MIB));
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
        redis(url).unwrap().0
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
