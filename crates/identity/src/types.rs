//! skeleton
#![allow(clippy::all, unused, missing_docs, clippy::allow_attributes_without_reason)]
use crate::IdentityError;
use countersign_event::*;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where identities come from.
#[derive(Clone, Debug, Default)]
pub struct IdentityConfig {
    pub trust: Vec<TrustBundle>,
    pub jwt: Vec<JwtIssuer>,
    /// Lines `id  hmac-hex  principal-name`.
    pub api_keys: Option<PathBuf>,
    /// Pepper file; `None` = the path of `api_keys` with `.pepper` appended.
    pub api_key_pepper: Option<PathBuf>,
    /// Header that carries API keys; empty = `x-api-key`.
    pub api_key_header: String,
}
/// One certificate authority file.
#[derive(Clone, Debug, Default)]
pub struct TrustBundle {
    pub trust_domain: Option<String>,
    pub ca_pem: PathBuf,
}
/// One token issuer.
#[derive(Clone, Debug, Default)]
pub struct JwtIssuer {
    pub issuer: String,
    pub audience: Vec<String>,
    pub keys: PathBuf,
    /// `ES256`, `RS256`, …; empty = what the keys' types allow, without HMAC.
    pub algorithms: Vec<String>,
}
/// Headers of one request; names are lower case.
pub trait HeaderLookup {
    /// First value of the header.
    fn get(&self, name: &str) -> Option<&[u8]>;
    /// How many times the header is there.
    fn count(&self, name: &str) -> usize {
        usize::from(self.get(name).is_some())
    }
}
/// A credential that was shown and did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The identity it claimed, level 1.
    pub claimed: Principal,
    /// Why it did not pass; never holds the credential.
    pub reason: String,
}
/// What a TLS peer's certificates say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsIdentity {
    /// Level 4, or none.
    pub principal: Option<Principal>,
    /// SHA-256 of the leaf certificate, for `peer.tls` and token binding.
    pub cert_sha256: Option<[u8; 32]>,
    /// Why a certificate was not accepted, or not as a SPIFFE id.
    pub failures: Vec<Failure>,
}
/// What a request's headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpIdentity {
    /// Checked principals; those with `rel` are the delegation chain, nearest first.
    pub principals: Vec<Principal>,
    pub failures: Vec<Failure>,
}
/// All configured sources of identity; share it in an `Arc`.
#[derive(Debug)]
pub struct Identities {}
impl Identities {
    pub fn new(config: IdentityConfig, now_s: i64) -> Result<Identities, IdentityError> {
        Ok(Identities {})
    }
    /// Reads all files again; on an error the old state stays.
    pub fn reload(&self, now_s: i64) -> Result<(), IdentityError> {
        Ok(())
    }
    /// `certs` = the peer's chain of a completed handshake, leaf first.
    pub fn from_tls(&self, certs: &[rustls::pki_types::CertificateDer<'_>]) -> TlsIdentity {
        TlsIdentity::default()
    }
    pub fn from_http(&self, headers: &dyn HeaderLookup, now_s: i64) -> HttpIdentity {
        HttpIdentity::default()
    }
    /// As `from_http`, with the TLS peer that a certificate-bound token (RFC 8705) must name.
    pub fn from_http_over(
        &self,
        headers: &dyn HeaderLookup,
        tls: Option<&TlsIdentity>,
        now_s: i64,
    ) -> HttpIdentity {
        HttpIdentity::default()
    }
    pub fn address(&self, ip: IpAddr) -> Principal {
        let mut p = Principal::new(format!("addr:{ip}"), Verified::Claimed);
        p.auth = Some(Auth::PeerIp);
        p.from = Some(IdentityFrom::Address);
        p
    }
}
impl HttpIdentity {
    /// Everything found, failed claims (level 1) included, for `who_of`.
    pub fn into_found(self) -> Vec<Principal> {
        let mut all = self.principals;
        all.extend(self.failures.into_iter().map(|f| f.claimed));
        all
    }
}
/// Strongest is `who`; a tie goes to the one nearest the application; `rel` ones are `obo`.
pub fn who_of(found: Vec<Principal>) -> Who {
    Who { who: found.into_iter().next(), ..Who::default() }
}
