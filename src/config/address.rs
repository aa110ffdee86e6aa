//! Where a Redis server is, and reading that from a URL. The URL may hold a password: no error here repeats any part
//! of it.

use std::fmt;
use std::path::PathBuf;

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion};

use super::query::{REDIS_SCHEMES, parameters};
use super::{Parameters, refuse};
use crate::error::{Error, Result};

/// Where a server is, and how it is entered.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) access: Access,
}

/// How a server is entered, wherever it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) tls: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) db: i64,
    /// Whether the URL asks for RESP3. `None` if it names no protocol.
    pub(crate) resp3: Option<bool>,
}

/// Without a password nothing is sent, and the connection would be that of the default user.
pub(super) const NEEDS_PASSWORD: &str =
    "is given without a password: set it too, as an empty one for a user who needs none (nopass)";

impl Access {
    /// Whether a user is named who could not be told to the server.
    pub(super) fn lacks_password(&self) -> bool {
        self.username.is_some() && self.password.is_none()
    }
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

/// The port of a server whose URL names none.
pub(super) const SERVER_PORT: u16 = 6379;

/// Reads the URL of a server, or of a Sentinel, whose port is another if the URL names none. The `redis` crate does the
/// reading. Its messages may quote the URL, so they are not passed on.
pub(super) fn read(url: &str, default_port: u16) -> Result<(Address, Parameters)> {
    let invalid = || Error::InvalidConfig {
        reason: "a Redis URL looks like redis://user:password@host:6379/0, rediss:// with TLS, or \
                 unix:///path?db=0"
            .to_owned(),
    };
    let mut url = redis::parse_redis_url(url.trim()).ok_or_else(invalid)?;
    if !REDIS_SCHEMES.contains(&url.scheme()) {
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
    let names_protocol = given.iter().any(|(name, _)| name == "protocol");
    // The crate reads these.
    given.retain(|(name, _)| !reserved.contains(&name.as_str()));
    let tls = url.scheme() == "rediss";
    if tls && cfg!(not(feature = "tls")) {
        return refuse(
            "rediss:// needs the Cargo feature `tls` of cachestore, which is off in this build".to_owned(),
        );
    }
    if tls {
        // The engine brings its own TLS: the crate's is off, and it would refuse the scheme.
        url.set_scheme("redis").map_err(|()| invalid())?;
    }
    let port = url.port().unwrap_or(default_port);
    let info = url.into_connection_info().map_err(|_| invalid())?;
    let place = match info.addr() {
        ConnectionAddr::Tcp(..) if port == 0 => return refuse("a server has no port 0".to_owned()),
        ConnectionAddr::Tcp(host, _) => Place::Tcp(host.clone(), port),
        ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
        _ => return Err(invalid()),
    };
    let settings = info.redis_settings();
    if settings.db() < 0 {
        return Err(invalid());
    }
    let access = Access {
        tls,
        username: settings.username().map(str::to_owned),
        password: settings.password().map(str::to_owned),
        db: settings.db(),
        resp3: names_protocol.then(|| settings.protocol() == ProtocolVersion::RESP3),
    };
    Ok((Address { place, access }, given))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, RedisConfig};
    use super::*;

    fn address(url: &str) -> Address {
        read(url, SERVER_PORT).unwrap().0
    }

    #[cfg(feature = "tls")]
    fn access(url: &str) -> Access {
        address(url).access
    }

    #[test]
    fn redis_urls() {
        let full = address("redis://us%40er:p%3Aw@host:7000/3?protocol=resp3");
        assert_eq!(full.place, Place::Tcp("host".into(), 7000));
        let full = full.access;
        assert_eq!(
            (full.username.as_deref(), full.password.as_deref()),
            (Some("us@er"), Some("p:w"))
        );
        assert!(full.resp3 == Some(true) && !full.tls);
        assert_eq!(full.db, 3);
        let bare = address("redis://:pw@[::1]");
        assert_eq!(bare.place, Place::Tcp("::1".into(), 6379));
        let bare = bare.access;
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
        let config = RedisConfig::new("redis://user:hunter2@host/0").unwrap();
        #[cfg(feature = "tls")]
        let config = config.tls_client_pem("hunter2", "hunter2");
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

    #[cfg(feature = "tls")]
    #[test]
    fn rediss_is_with_tls() {
        assert!(access("rediss://host").tls && access("REDISS://host").tls);
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn rediss_names_the_feature_that_is_off() {
        for url in ["rediss://:hunter2@host", "REDISS://:hunter2@host"] {
            let error = RedisConfig::new(url).unwrap_err();
            let Error::InvalidConfig { reason } = &error else {
                panic!("{error:?}");
            };
            assert!(reason.contains("feature `tls`"), "{reason}");
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
