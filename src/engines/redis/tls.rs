//! TLS below a connection, by rustls.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::config::Tls;
use crate::error::{Error, Result};

/// Certificates and names are verified, always. The cryptography is chosen here and not by what else
/// the application has.
pub(super) fn connector(tls: &Tls) -> Result<TlsConnector> {
    Ok(TlsConnector::from(Arc::new(config(tls)?)))
}

/// The name that the server's certificate must have.
pub(super) fn name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|_| Error::InvalidConfig {
        reason: "the host of the URL is no name that a certificate can have".to_owned(),
    })
}

fn config(tls: &Tls) -> Result<ClientConfig> {
    let invalid = |reason: &str| Error::InvalidConfig {
        reason: reason.to_owned(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| invalid("TLS has no version that this build can speak"))?
        .with_root_certificates(roots(tls)?);
    let Some(client) = &tls.client else {
        return Ok(builder.with_no_client_auth());
    };
    let refused = || invalid("tls_client_pem: the certificate is no PEM certificate chain");
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&client.chain)
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| refused())?;
    if chain.is_empty() {
        return Err(refused());
    }
    let key = PrivateKeyDer::from_pem_slice(&client.key)
        .map_err(|_| invalid("tls_client_pem: the key is no PEM private key"))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|_| invalid("tls_client_pem: the certificate and the key do not belong together"))
}

fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let added = certificate
                    .ok()
                    .and_then(|certificate| roots.add(certificate).ok());
                if added.is_none() {
                    let reason = "tls_ca_pem is no PEM certificate".to_owned();
                    return Err(Error::InvalidConfig { reason });
                }
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        let reason = "no certificate authority is known: give one as PEM text, or install the platform's";
        return Err(Error::InvalidConfig {
            reason: reason.to_owned(),
        });
    }
    Ok(roots)
}
