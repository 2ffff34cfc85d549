//! Whom to trust, and what to show.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where distributions keep the authorities that they trust.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The TLS files that the user named; empty for none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    pub cert: String,
    pub key: String,
    pub ca: String,
}

/// Reads the files.
///
/// # Errors
/// Which file is missing, or holds nothing of the kind.
pub(crate) fn config(files: &Files) -> Result<TlsConfig, String> {
    if files.cert.is_empty() != files.key.is_empty() {
        return Err(format!("KeyFile and CertFile must both be present[key: {}, cert: {}]", files.key, files.cert));
    }
    let mut builder = TlsConfig::builder();
    if !files.cert.is_empty() {
        builder = builder.client_cert(Some(identity(&files.cert, &files.key)?));
    }
    Ok(builder.root_certs(roots(&files.ca)?).build())
}

fn roots(file: &str) -> Result<RootCerts, String> {
    if !file.is_empty() {
        let found = certificates(file, &read(file)?);
        return found.map(|certificates| RootCerts::new_with_certs(&certificates));
    }
    let named = std::env::var("SSL_CERT_FILE").unwrap_or_default();
    let candidates = [named.as_str()].into_iter().filter(|file| !file.is_empty()).chain(SYSTEM_BUNDLES);
    let system = candidates.filter_map(|file| std::fs::read(file).ok()).find_map(|pem| certificates("", &pem).ok());
    Ok(system.map_or(RootCerts::WebPki, |certificates| RootCerts::new_with_certs(&certificates)))
}

fn identity(cert: &str, key: &str) -> Result<ClientCert, String> {
    let chain = certificates(cert, &read(cert)?)?;
    let keys = parse_pem(&read(key)?).filter_map(Result::ok).find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let key_file = key;
    let key = keys.ok_or_else(|| format!("{key_file}: no private key in it"))?;
    check_pair(&chain, key.der()).map_err(|why| format!("tls: {cert} and {key_file}: {why}"))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// The HTTP library takes for granted that the two belong together.
fn check_pair(chain: &[Certificate<'static>], key: &[u8]) -> Result<(), String> {
    let chain = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    let key = PrivateKeyDer::try_from(key.to_vec())?;
    let pair = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider());
    pair.map(drop).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "private key does not match public key".to_owned(),
        error => error.to_string(),
    })
}

fn certificates(file: &str, pem: &[u8]) -> Result<Vec<Certificate<'static>>, String> {
    let items = parse_pem(pem).filter_map(Result::ok);
    let certificates: Vec<_> =
        items.filter_map(|item| if let PemItem::Certificate(one) = item { Some(one) } else { None }).collect();
    if certificates.is_empty() { Err(format!("{file}: no certificate in it")) } else { Ok(certificates) }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => format!("open {file}: no such file or directory"),
        std::io::ErrorKind::PermissionDenied => format!("open {file}: permission denied"),
        _ => format!("open {file}: {e}"),
    })
}
