//! A primary that Sentinels name. The URLs may hold passwords: no error here repeats any part of them.

use std::fmt;
use std::future::Future;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use super::address::{self, Access, Address, Place};
use super::address_map::AddressMap;
use super::credentials::{CredentialsSource, IntoCredentials};
#[cfg(feature = "tls")]
use super::options::ClientCertificate;
use super::options::Target;
use super::query::SENTINEL_SCHEMES;
use super::{Parameters, RedisConfig, refuse};
use crate::error::{Error, Result};

/// The port of a Sentinel whose URL names none.
const SENTINEL_PORT: u16 = 26379;
/// More Sentinels than this are a mistake.
const MOST_SENTINELS: usize = 64;

/// The primary of a service, and who is asked for it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sentinels {
    /// The name of the service, which Sentinel calls the name of the master.
    pub(crate) service: String,
    /// Where the Sentinels are, and how they are entered.
    pub(crate) seeds: Vec<Address>,
    /// How the servers are entered.
    pub(crate) access: Access,
}

/// The service and its Sentinels, for errors and the log.
impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service `{}` of Sentinel", self.service)?;
        for (n, seed) in self.seeds.iter().enumerate() {
            let before = if n == 0 { " at " } else { ", " };
            write!(f, "{before}{}", seed.place)?;
        }
        Ok(())
    }
}

impl Sentinels {
    /// Whether any Sentinel is asked over TLS.
    #[cfg(feature = "tls")]
    pub(super) fn speak_tls(&self) -> bool {
        self.seeds.iter().any(|seed| seed.access.tls)
    }

    pub(super) fn validate(&self) -> Result<()> {
        let named = !self.service.is_empty() && self.service.bytes().all(|b| b.is_ascii_graphic());
        if !named {
            return refuse(
                "sentinelServiceName must be printable ASCII characters without spaces".to_owned(),
            );
        }
        if !(1..=MOST_SENTINELS).contains(&self.seeds.len()) {
            return refuse(format!("a service has from 1 to {MOST_SENTINELS} Sentinels"));
        }
        Ok(())
    }
}

/// One Sentinel: `redis://[user:password@]host[:port]`, `rediss://…`, or `host[:port]`.
fn seed(url: &str) -> Result<Address> {
    let whole = if url.contains("://") {
        url.to_owned()
    } else {
        format!("redis://{url}")
    };
    let invalid = || Error::InvalidConfig {
        reason: "a Sentinel is named as redis://user:password@host:26379, or rediss:// with TLS".to_owned(),
    };
    let (address, given) = address::read(&whole, SENTINEL_PORT)?;
    let plain = given.is_empty() && address.access.db == 0;
    if !plain || matches!(address.place, Place::Unix(_)) {
        return Err(invalid());
    }
    Ok(address)
}

/// The parameters of a URL that are about Sentinels.
#[derive(Default)]
struct Given {
    service: Option<String>,
    username: Option<String>,
    password: Option<String>,
    tls: Option<bool>,
    nodes: Vec<String>,
}

impl Given {
    /// Takes the parameters out of those that are settings.
    fn take(from: &mut Parameters) -> Result<Self> {
        let mut given = Self::default();
        let mut twice = None;
        let mut set = |name: &'static str, place: &mut Option<String>, value: &str| {
            if place.replace(value.to_owned()).is_some() {
                twice = Some(name);
            }
        };
        let mut tls = None;
        from.retain(|(name, value)| {
            match name.as_str() {
                "node" => given.nodes.push(value.clone()),
                "sentinelServiceName" => set("sentinelServiceName", &mut given.service, value),
                "sentinelUsername" => set("sentinelUsername", &mut given.username, value),
                "sentinelPassword" => set("sentinelPassword", &mut given.password, value),
                "sentinelTls" => set("sentinelTls", &mut tls, value),
                _ => return true,
            }
            false
        });
        if let Some(name) = twice {
            return refuse(format!("{name} is given twice"));
        }
        given.tls = match tls.as_deref() {
            None => None,
            Some("on") => Some(true),
            Some("off") => Some(false),
            Some(_) => return refuse("sentinelTls must be on or off".to_owned()),
        };
        Ok(given)
    }
}

/// Reads a URL of Sentinels, and its parameters that are settings. `None` if it is another URL.
pub(super) fn read(url: &str) -> Result<Option<(Sentinels, Parameters)>> {
    let Some((scheme, rest)) = url.trim().split_once("://") else {
        return Ok(None);
    };
    let Some((_, scheme)) = SENTINEL_SCHEMES
        .iter()
        .find(|(known, _)| scheme.eq_ignore_ascii_case(known))
    else {
        return Ok(None);
    };
    let (first, mut settings) = address::read(&format!("{scheme}://{rest}"), SENTINEL_PORT)?;
    let given = Given::take(&mut settings)?;
    let Some(service) = given.service else {
        return refuse("a URL of Sentinels names the service: sentinelServiceName=main".to_owned());
    };
    let Address { place, access } = first;
    let entry = Access {
        tls: given.tls.unwrap_or(access.tls),
        username: given.username,
        password: given.password,
        ..Access::default()
    };
    if entry.tls && cfg!(not(feature = "tls")) {
        return refuse("sentinelTls needs the Cargo feature `tls` of cachestore, which is off".to_owned());
    }
    let mut seeds = vec![Address {
        place,
        access: entry.clone(),
    }];
    for node in &given.nodes {
        if node.contains(['/', '@', '?']) {
            return refuse("a node of a URL is host:port".to_owned());
        }
        seeds.push(Address {
            place: seed(node)?.place,
            access: entry.clone(),
        });
    }
    let sentinels = Sentinels {
        service,
        seeds,
        access,
    };
    sentinels.validate()?;
    Ok(Some((sentinels, settings)))
}

impl RedisConfig {
    /// The primary of a service that Sentinels watch: the name of the service, and the Sentinels as
    /// `redis://[user:password@]host[:port]`, `rediss://…` with TLS, or `host:port`. The port is 26379 if none is named.
    ///
    /// Each connect asks the Sentinels in turn for the primary, each for [`sentinel_timeout`](Self::sentinel_timeout) at
    /// most, and the one that answers first the next time. A server that does not call itself the primary is refused.
    /// When the Sentinels announce another primary, all connections of the store are closed at once, also those under
    /// load, and opened to the new one. The near cache is emptied, each lock that is held through a guard is checked, and
    /// what is being loaded is not stored. Replication is asynchronous: writes that a primary had acknowledged shortly
    /// before it failed may be lost. The page *Choosing a topology* of the guide tells how to limit that.
    ///
    /// The user and the password in these URLs are for the Sentinels. Those of the servers are set by
    /// [`username`](Self::username), [`password`](Self::password) or [`credentials`](Self::credentials), TLS by
    /// [`tls`](Self::tls), and the database by [`database`](Self::database).
    ///
    /// As one URL: `redis-sentinel://user:password@s1:26379/0?node=s2:26379&node=s3:26379&sentinelServiceName=main`. Its
    /// user, password and database are those of the servers. `sentinelUsername`, `sentinelPassword` and `sentinelTls`
    /// (`on` or `off`) are for the Sentinels. With `rediss-sentinel://`, all speak TLS.
    ///
    /// ```
    /// use cachestore::RedisConfig;
    ///
    /// let config = RedisConfig::sentinel("main", ["redis://s1:26379", "redis://s2:26379", "redis://s3:26379"])?
    ///     .username("app")
    ///     .password("secret");
    /// # let _ = config;
    /// # Ok::<(), cachestore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if there is no Sentinel, if one is named by anything else, or if the
    /// name of the service is empty or has characters other than printable ASCII.
    pub fn sentinel<S: AsRef<str>>(
        service: impl Into<String>,
        sentinels: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let seeds = sentinels
            .into_iter()
            .map(|url| seed(url.as_ref().trim()))
            .collect::<Result<Vec<_>>>()?;
        let sentinels = Sentinels {
            service: service.into(),
            seeds,
            access: Access::default(),
        };
        sentinels.validate()?;
        Ok(Self::of(Target::Sentinel(sentinels)))
    }

    /// How long one Sentinel may take to answer, its connection included, before the next one is asked. It
    /// does not count for [`connect_timeout`](Self::connect_timeout). From 1 ms to 24 hours. Default: 500 ms.
    #[must_use]
    pub fn sentinel_timeout(mut self, timeout: Duration) -> Self {
        self.options.sentinel_timeout = timeout;
        self
    }

    /// Where the addresses that Sentinels name are reached from here, as in a container network or behind NAT. `map` is
    /// given a host and a port as Sentinel names them, and returns those to connect to. Default: as they are.
    ///
    /// The addresses of the Sentinels themselves are used as given. If `map` panics, that address is not available.
    ///
    /// ```
    /// use cachestore::RedisConfig;
    ///
    /// let config = RedisConfig::sentinel("main", ["localhost:26379"])?
    ///     .map_address(|_host, port| ("localhost".to_owned(), port));
    /// # let _ = config;
    /// # Ok::<(), cachestore::Error>(())
    /// ```
    #[must_use]
    pub fn map_address<H: Into<String>>(
        mut self,
        map: impl Fn(&str, u16) -> (H, u16) + Send + Sync + 'static,
    ) -> Self {
        self.options.address_map = AddressMap::new(move |host, port| {
            let (host, port) = map(host, port);
            (host.into(), port)
        });
        self
    }

    /// The user of the servers. Default: that of the URL, or the server's default user.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        let username = username.into();
        self.options
            .change_access(|access| access.username = Some(username));
        self
    }

    /// The password of the servers. Default: that of the URL, or none.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        let password = password.into();
        self.options
            .change_access(|access| access.password = Some(password));
        self
    }

    /// The number of the database on the servers. Default: that of the URL, or 0.
    #[must_use]
    pub fn database(mut self, database: u32) -> Self {
        self.options.change_access(|access| access.db = database.into());
        self
    }

    /// Asks `callback` for the user and the password at each connect, for tokens that rotate. It replaces those of the URL
    /// and of the setters. A server that closes connections whose token has expired is reconnected to with a new one.
    ///
    /// The callback runs in a task of its own, within [`connect_timeout`](Self::connect_timeout). It returns
    /// [`Credentials`](crate::Credentials), a pair of a user and a password, or a `Result` of these. After an error or a panic, the connection
    /// is tried again as after any other failure. Its error is not shown, because it may name a secret: log it in the callback.
    ///
    /// ```
    /// use cachestore::{Credentials, RedisConfig};
    ///
    /// # async fn fetch_token() -> std::io::Result<String> { Ok(String::new()) }
    /// let config = RedisConfig::new("rediss://cache.example:6379")?.credentials(|| async {
    ///     let token = fetch_token().await?;
    ///     Ok::<_, std::io::Error>(Credentials::new("app", token))
    /// });
    /// # let _ = config;
    /// # Ok::<(), cachestore::Error>(())
    /// ```
    #[must_use]
    pub fn credentials<F, R>(mut self, callback: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output: IntoCredentials> + Send + 'static,
    {
        self.options.credentials = Some(CredentialsSource::new(callback));
        self
    }

    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    /// Whether the servers speak TLS. Default: as the URL says, and `false` for [`sentinel`](Self::sentinel).
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.options.change_access(|access| access.tls = tls);
        self
    }

    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    /// Trusts the certificate authorities in this PEM text for Sentinels, and no others. Default: as for the servers.
    #[must_use]
    pub fn sentinel_tls_ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        let tls = self.options.sentinel_tls.get_or_insert_default();
        tls.ca = Some(Arc::from(pem.as_ref()));
        self
    }

    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    /// Shows Sentinels this certificate chain, with its private key, both PEM text. Default: as for the servers.
    #[must_use]
    pub fn sentinel_tls_client_pem(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let (chain, key) = (Arc::from(certificate.as_ref()), Arc::from(key.as_ref()));
        let tls = self.options.sentinel_tls.get_or_insert_default();
        tls.client = Some(ClientCertificate { chain, key });
        self
    }
}

#[cfg(test)]
mod tests {
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
}
