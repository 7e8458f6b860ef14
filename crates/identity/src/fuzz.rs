//! Bodies for fuzzers and for the seeded tests on a stable toolchain: hostile bytes in, no panic out.

use crate::apikey::ApiKeys;
use crate::{HeaderLookup, HttpRequest, Identities, IdentityConfig, TlsIdentity, who_of};
use rustls::pki_types::CertificateDer;

/// A key file of any bytes, and any presented key.
pub fn api_key_file(data: &[u8]) {
    let (file, key) = data.split_at(data.len() / 2);
    for keys in [ApiKeys::parse(file, &[0; 32]), ApiKeys::parse(data, &[0; 32])].into_iter().flatten() {
        let _ = keys.check(key);
        let _ = keys.check(data);
    }
}

/// A token of any bytes, taken apart.
pub fn token(data: &[u8]) {
    let _ = crate::jwt::parse(data);
}

/// A key set of any bytes.
pub fn key_set(data: &[u8]) {
    let _ = crate::jwks::Keys::parse(data, jsonwebtoken::AlgorithmFamily::Ec.algorithms());
}

/// A client certificate of any bytes.
pub fn certificate(data: &[u8]) {
    let Ok(identities) = Identities::new(IdentityConfig::default(), 0) else { return };
    let found: TlsIdentity = identities.from_tls_at(&[CertificateDer::from(data)], 0);
    let _ = who_of(found.found());
}

/// A SPIFFE id of any text.
pub fn spiffe_id(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = crate::SpiffeId::parse(text)
    {
        assert_eq!(crate::SpiffeId::parse(&id.to_string()), Ok(id), "a parsed id must print as itself");
    }
}

/// A DPoP proof of any bytes.
pub fn dpop(data: &[u8]) {
    crate::provider::install();
    let _ = crate::dpop::judge(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(once) = crate::uri::normalise(text)
    {
        assert_eq!(crate::uri::normalise(&once), Some(once.clone()), "normalising twice changes nothing");
    }
}

/// A WIMSE token or proof of any bytes.
pub fn wimse(data: &[u8]) {
    crate::wimse::judge(data);
}

/// A request whose every header holds the second half of the input.
struct Same<'a>(&'a [u8]);

impl HeaderLookup for Same<'_> {
    fn get(&self, _: &str) -> Option<&[u8]> {
        Some(self.0)
    }
}

/// A `Signature-Input` field of any bytes, the base that it asks for, and a forwarded certificate.
pub fn signature_input(data: &[u8]) {
    let half = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (input, rest) = data.split_at(half);
    let text = String::from_utf8_lossy(rest);
    let headers = Same(rest);
    let request = HttpRequest {
        method: "GET",
        scheme: "https",
        authority: "example.com",
        path_and_query: &text,
        target: None,
        headers: &headers,
        peer: None,
        body: None,
    };
    crate::httpsig::judge(input, &request);
    let _ = crate::forwarded::parse(data);
}
