//! TLS configurations for listeners and upstreams, by rustls with the ring provider.
//!
//! Not the handshake itself. Invariants: TLS 1.2 and 1.3 only; the provider is named explicitly, so no
//! process-wide default is needed; a certificate that leads to no given authority never gets through.

use crate::IdentityError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Certificate, key and authority files larger than this are refused.
const PEM_MAX_BYTES: u64 = 4 << 20;

/// Where Debian keeps the system's authorities; used when an upstream's are not configured.
pub(crate) const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for.
    #[default]
    None,
    /// Asked for; a client without one gets in. One that shows a certificate of an unknown authority does
    /// not: the handshake fails, for a rejected proof is not the same as no proof.
    Optional,
    /// Asked for; a client without one fails the handshake.
    Required,
}

/// The one crypto provider of this product.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A listener's TLS: its certificate chain and key, and the authorities of its clients (`client_ca`, PEM
/// files, may be empty with [`ClientAuth::None`]). ALPN offers `http/1.1` only.
///
/// # Errors
/// Unreadable or wrong files, a key that does not belong to the certificate, no authority where one is needed.
pub fn server_tls(
    cert: &Path,
    key: &Path,
    client_ca: &[PathBuf],
    client_auth: ClientAuth,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let (chain, key) = (load_certs(cert)?, load_key(key)?);
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| tls_error(cert, &e))?;
    let builder = if client_auth == ClientAuth::None {
        builder.with_no_client_auth()
    } else {
        if client_ca.is_empty() {
            return Err(IdentityError::Setting {
                setting: "client_ca".into(),
                why: "client certificates are asked for, but no authority is given; set client_ca to a PEM file"
                    .into(),
            });
        }
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(load_roots(client_ca)?), provider());
        if client_auth == ClientAuth::Optional {
            verifier = verifier.allow_unauthenticated();
        }
        builder.with_client_cert_verifier(verifier.build().map_err(|e| tls_error(cert, &e))?)
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e| tls_error(cert, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS towards an upstream: the authorities it may be signed by (`ca`; empty = the system's, `/etc/ssl/certs/ca-certificates.crt`) and, where the
/// upstream asks for one, our own certificate chain and key.
///
/// # Errors
/// Unreadable or wrong files.
pub fn client_tls(
    ca: &[PathBuf],
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let system = [PathBuf::from(SYSTEM_CA)];
    let ca = if ca.is_empty() { &system } else { ca };
    let shown = ca.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| tls_error(shown, &e))?
        .with_root_certificates(load_roots(ca)?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(load_certs(cert)?, load_key(key)?)
            .map_err(|e| tls_error(cert, &e))?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub(crate) fn tls_error(path: &Path, error: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::Tls { path: path.to_owned(), why: error.to_string() }
}

/// Reads a whole file of at most `max` bytes.
pub(crate) fn read_bounded(what: &'static str, path: &Path, max: u64) -> Result<Vec<u8>, IdentityError> {
    use std::io::Read;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| IdentityError::Read { what, path: path.to_owned(), source })?;
    if bytes.len() as u64 > max {
        let why = format!("is larger than {max} bytes; is this the right file?");
        return Err(IdentityError::File { what, path: path.to_owned(), why });
    }
    Ok(bytes)
}

pub(crate) fn load_certs(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    const WHAT: &str = "certificate file";
    let bytes = read_bounded(WHAT, path, PEM_MAX_BYTES)?;
    let fail = |why: String| IdentityError::File { what: WHAT, path: path.to_owned(), why };
    let certs: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|e| fail(format!("is not readable PEM: {e}")))?;
    if certs.is_empty() {
        return Err(fail("holds no BEGIN CERTIFICATE block".into()));
    }
    Ok(certs)
}

pub(crate) fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    const WHAT: &str = "key file";
    let bytes = read_bounded(WHAT, path, PEM_MAX_BYTES)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| IdentityError::File {
        what: WHAT,
        path: path.to_owned(),
        why: "holds no readable private key in PEM form (PKCS#8, SEC1 or PKCS#1)".into(),
    })
}

pub(crate) fn load_roots(paths: &[PathBuf]) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for path in paths {
        let (added, _) = roots.add_parsable_certificates(load_certs(path)?);
        if added == 0 {
            let why = "holds no certificate that can serve as an authority".into();
            return Err(IdentityError::File { what: "authority file", path: path.clone(), why });
        }
    }
    Ok(roots)
}
