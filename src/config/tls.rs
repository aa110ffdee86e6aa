//! The certificates of a store's connections, and whether they are of use.

use std::fmt;
use std::sync::Arc;

use super::Place;
use super::options::RedisOptions;
use super::refuse;
use super::target::Target;
use crate::error::Result;

/// Certificates in PEM form.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) ca: Option<Arc<[u8]>>,
    pub(crate) client: Option<ClientCertificate>,
}

/// What this client shows of itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub(crate) chain: Arc<[u8]>,
    pub(crate) key: Arc<[u8]>,
}

impl Tls {
    /// Takes from `default` each part that is missing here.
    pub(super) fn or(self, default: &Self) -> Self {
        Self {
            ca: self.ca.or_else(|| default.ca.clone()),
            client: self.client.or_else(|| default.client.clone()),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("private_ca", &self.ca.is_some())
            .field("client_certificate", &self.client.is_some())
            .finish()
    }
}

impl RedisOptions {
    /// Refuses certificates where no TLS is spoken.
    pub(super) fn validate_tls(&self) -> Result<()> {
        if let Target::Sentinel(sentinels) = &self.target {
            let (to_servers, to_sentinels) = (sentinels.access.tls, sentinels.speak_tls());
            let is_of_use = self.sentinel_tls == Tls::default() || to_sentinels;
            if !is_of_use || (self.tls != Tls::default() && !to_servers && !to_sentinels) {
                return refuse("a certificate is given for TLS, and TLS is not spoken there".to_owned());
            }
            return Ok(());
        }
        if self.sentinel_tls != Tls::default() {
            return refuse("sentinel_tls_ca_pem and sentinel_tls_client_pem are for Sentinels".to_owned());
        }
        match &self.target {
            Target::Address(address) if address.access.tls && matches!(address.place, Place::Unix(_)) => {
                refuse("tls is for servers that are reached over TCP: unix:// speaks no TLS".to_owned())
            }
            _ if self.tls == Tls::default() => Ok(()),
            Target::Address(address) if address.access.tls => Ok(()),
            Target::Cluster(cluster) if cluster.access.tls => Ok(()),
            Target::Address(_) | Target::Sentinel(_) | Target::Cluster(_) => refuse("tls_ca_pem and tls_client_pem are for rediss:// URLs".to_owned()),
            Target::Client(_) | Target::Connection(_) => refuse(
                "tls_ca_pem and tls_client_pem are for URLs: an existing client or connection brings its own TLS \
                 settings"
                    .to_owned(),
            ),
        }
    }
}
