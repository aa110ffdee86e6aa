//! A primary that Sentinels name. The URLs may hold passwords: no error here repeats any part of them.

use std::fmt;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use super::address::{self, Access, Address, NEEDS_PASSWORD, Place};
use super::address_map::AddressMap;
use super::query::SENTINEL_SCHEMES;
use super::target::Target;
#[cfg(feature = "tls")]
use super::tls::ClientCertificate;
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
        if self.seeds.iter().any(|seed| seed.access.lacks_password()) {
            return refuse(format!(
                "sentinelUsername, or the user of a Sentinel's URL, {NEEDS_PASSWORD}"
            ));
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
    /// Removes the parameters about Sentinels from `from`, and leaves the settings there.
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
    /// Returns the configuration of the primary of a service that Sentinels watch.
    ///
    /// Name the service, and all Sentinels as `redis://[user:password@]host[:port]`, `rediss://…` with TLS, or
    /// `host:port`. The default port is 26379.
    ///
    /// For each new connection, the store asks the Sentinels in turn for the primary, each for at most
    /// [`sentinel_timeout`](Self::sentinel_timeout). The Sentinel that answers is asked first the next time. A server
    /// that does not report the role of a primary is refused. When the Sentinels announce another primary, the store
    /// closes all connections at once, even those under load, and connects to the new one. It empties the near cache,
    /// checks each lock that is held by a guard, and does not store the results of running loads. Replication is
    /// asynchronous: the primary may lose writes that it acknowledged shortly before it failed. The page *Choosing a
    /// topology* of the guide tells how to limit that.
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
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if there is no Sentinel, if a Sentinel is not named in one of
    /// these forms or has a user without a password, or if the name of the service is empty or has characters other
    /// than printable ASCII.
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

    /// Sets how long one Sentinel may take to connect and answer, before the next one is asked. From 1 ms to 24 hours.
    /// Default: 500 ms.
    ///
    /// This time does not count towards [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn sentinel_timeout(mut self, timeout: Duration) -> Self {
        self.options.sentinel_timeout = timeout;
        self
    }

    /// Sets a callback that maps the addresses from Sentinels, or from the nodes of a cluster, to addresses that this process
    /// can reach, as in a container network or behind NAT. Default: no change.
    ///
    /// `map` gets the host and the port that a Sentinel or a node reports, and returns the host and the port to connect to. It
    /// runs on the engine's own tasks and must not block: it may look into a table, and must not ask another host.
    ///
    /// The addresses of the Sentinels, and of the nodes that the configuration names, are not mapped. If `map` panics, the
    /// attempt to connect fails.
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

    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    /// Trusts the certificate authorities in this PEM text for Sentinels, and no others. Default: as for the servers.
    #[must_use]
    pub fn sentinel_tls_ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.options.sentinel_tls.ca = Some(Arc::from(pem.as_ref()));
        self
    }

    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    /// Sets the client certificate chain and its private key for Sentinels, both as PEM text. Default: as for the
    /// servers.
    #[must_use]
    pub fn sentinel_tls_client_pem(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let (chain, key) = (Arc::from(certificate.as_ref()), Arc::from(key.as_ref()));
        self.options.sentinel_tls.client = Some(ClientCertificate { chain, key });
        self
    }
}

#[cfg(test)]
mod tests;
