//! Whom to trust, and what to show.

use rustls::crypto::ring::sign;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureAlgorithm};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::pem::{self, Block};
use crate::text::os_error;

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
        // A file without any is one that trusts nobody.
        return Ok(RootCerts::new_with_certs(&authorities(&pem::blocks(&read(file)?))?));
    }
    let named = std::env::var("SSL_CERT_FILE").unwrap_or_default();
    let candidates = [named.as_str()].into_iter().filter(|file| !file.is_empty()).chain(SYSTEM_BUNDLES);
    let all_of = |file: &str| std::fs::read(file).ok().and_then(|text| authorities(&pem::blocks(&text)).ok());
    let system = candidates.filter_map(all_of).find(|certificates| !certificates.is_empty());
    Ok(system.map_or(RootCerts::WebPki, |certificates| RootCerts::new_with_certs(&certificates)))
}

/// Go takes every block for a certificate here.
fn authorities(blocks: &[Block]) -> Result<Vec<Certificate<'static>>, String> {
    blocks.iter().map(|block| check_shape(&block.der).map(|()| certificate(&block.der))).collect()
}

fn certificate(der: &[u8]) -> Certificate<'static> {
    Certificate::from_der(der).to_owned()
}

/// What Go's parser says of a certificate that is none.
fn check_shape(der: &[u8]) -> Result<(), String> {
    let content = pem::sequence(der).ok_or("x509: malformed certificate")?;
    pem::sequence(content).ok_or("x509: malformed tbs certificate")?;
    Ok(())
}

fn identity(cert: &str, key: &str) -> Result<ClientCert, String> {
    let (cert, key) = (pem::blocks(&read(cert)?), read(key)?);
    let chain: Vec<_> = cert.iter().filter(|block| block.label == "CERTIFICATE").collect();
    let Some(leaf) = chain.first() else { return Err(no_certificate(&labels(&cert))) };
    let found = pem::blocks(&key);
    if !found.iter().any(|block| is_key(&block.label)) {
        return Err(no_key(&labels(&found)));
    }
    check_shape(&leaf.der)?;
    let key = PrivateKey::from_pem(&key).map_err(|_| NO_KEY)?;
    let chain: Vec<_> = chain.iter().map(|block| certificate(&block.der)).collect();
    check_pair(&chain, key.der())?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

const NO_KEY: &str = "tls: failed to parse private key";

fn is_key(label: &str) -> bool {
    label.ends_with("PRIVATE KEY")
}

fn labels(blocks: &[Block]) -> Vec<&str> {
    blocks.iter().map(|block| block.label.as_str()).collect()
}

fn no_certificate(found: &[&str]) -> String {
    match found {
        [] => "tls: failed to find any PEM data in certificate input".to_owned(),
        [label] if is_key(label) => "tls: failed to find certificate PEM data in certificate input, but did find a \
                                     private key; PEM inputs may have been switched"
            .to_owned(),
        labels => format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the \
             following types: [{}]",
            labels.join(" ")
        ),
    }
}

fn no_key(found: &[&str]) -> String {
    match found {
        [] => "tls: failed to find any PEM data in key input".to_owned(),
        ["CERTIFICATE"] => "tls: found a certificate rather than a key in the PEM for the private key".to_owned(),
        labels => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of \
             the following types: [{}]",
            labels.join(" ")
        ),
    }
}

/// The HTTP library takes for granted that the two belong together.
fn check_pair(chain: &[Certificate<'static>], key: &[u8]) -> Result<(), String> {
    let key = PrivateKeyDer::try_from(key).map_err(|_| NO_KEY)?;
    let key = sign::any_supported_type(&key).map_err(|_| NO_KEY)?;
    let algorithm = key.algorithm();
    let ders: Vec<_> = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    match CertifiedKey::new(ders, key).keys_match() {
        // Who can not tell lets the server find out.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) if names(chain[0].der(), algorithm) => {
            Err("tls: private key does not match public key".to_owned())
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("tls: private key type does not match public key type".to_owned())
        }
        Err(_) => Err("x509: malformed certificate".to_owned()),
    }
}

/// Whether a certificate names this kind of key, as its own does.
fn names(certificate: &[u8], algorithm: SignatureAlgorithm) -> bool {
    let identifier: &[u8] = match algorithm {
        SignatureAlgorithm::RSA => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01],
        SignatureAlgorithm::ECDSA => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
        _ => &[0x2b, 0x65, 0x70],
    };
    certificate.windows(identifier.len()).any(|bytes| bytes == identifier)
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| {
        let done = if error.kind() == std::io::ErrorKind::IsADirectory { "read" } else { "open" };
        format!("{done} {file}: {}", os_error(&error))
    })
}
