//! Certificates made at run time: an authority, what it signs, and all the ways to be refused.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::server::ServerTls;

/// What a server shows to its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// For `localhost` and 127.0.0.1, from the authority that the client knows.
    Good,
    /// From that authority, but for another host.
    WrongName,
    /// For this host, but from an authority that the client does not know.
    WrongAuthority,
    /// Good until the year 2001.
    Expired,
    /// Signed by nobody but itself.
    SelfSigned,
}

/// Files of one authority and what it has signed, in a folder that goes with it.
#[derive(Debug)]
pub(crate) struct Certificates {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
    stranger: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("cs-tls-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for certificates");
        let certificates = Self {
            folder,
            authority: authority("cachestore test authority"),
            stranger: authority("another authority"),
        };
        fs::write(certificates.authority_file(), certificates.authority.pem()).expect("a file");
        certificates
    }

    /// The authority's certificate, as a PEM file: what a client is given to trust.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The same as text.
    pub(crate) fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    /// Files for a server.
    pub(crate) fn server(&self, shown: Shown, wants_client: bool) -> ServerTls {
        let key = KeyPair::generate().expect("a key");
        let mut params = leaf(match shown {
            Shown::WrongName => &["elsewhere.example"],
            _ => &["localhost", "127.0.0.1"],
        });
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if shown == Shown::Expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let certificate = match shown {
            Shown::WrongAuthority => params.signed_by(&key, &self.stranger),
            Shown::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.authority),
        };
        let (certificate, key) = self.save(
            &format!("{shown:?}"),
            &certificate.expect("a certificate").pem(),
            &key,
        );
        ServerTls {
            certificate,
            key,
            authority: self.authority_file(),
            wants_client,
        }
    }

    /// A client's certificate and key, as PEM files.
    pub(crate) fn client(&self) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a key");
        let mut params = leaf(&["client.example"]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.authority).expect("a certificate");
        self.save("client", &certificate.pem(), &key)
    }

    fn save(&self, name: &str, certificate: &str, key: &KeyPair) -> (PathBuf, PathBuf) {
        let write = |end: &str, text: &str| {
            let path = self.folder.join(format!("{name}.{end}.pem"));
            fs::write(&path, text).expect("a file");
            path
        };
        (write("cert", certificate), write("key", &key.serialize_pem()))
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.folder));
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).expect("names");
    params
        .distinguished_name
        .push(DnType::CommonName, names[0].clone());
    params.use_authority_key_identifier_extension = true;
    params
}
