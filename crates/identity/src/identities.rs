//! [`Identities`]: every configured way to tell who is calling, behind one handle.
//!
//! Not a connection's state: what it is asked about comes in as certificates and headers. Invariants: a reload
//! swaps everything at once or nothing; answers never depend on a wall clock other than the one passed in
//! (`from_tls`, which a handshake has just timed, is the exception and says so).

use crate::IdentityError;
use crate::apikey::{ApiKeys, Checked, looks_like_api_key};
use crate::config::{API_KEY_HEADER, IdentityConfig};
use crate::jwt::Tokens;
use crate::x509::Trust;
use arc_swap::ArcSwap;
use countersign_event::{Auth, IdentityFrom, Principal, PrincipalKind, Verified};
use rustls::pki_types::CertificateDer;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Headers of one request. Names are asked for in lower case.
pub trait HeaderLookup {
    /// First value of the header, as it was on the wire.
    fn get(&self, name: &str) -> Option<&[u8]>;
    /// How many times the header is there; a credential given twice is refused.
    fn count(&self, name: &str) -> usize {
        usize::from(self.get(name).is_some())
    }
}

/// A credential that was shown and did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The identity it claims, at level 1; `anon:` when it could not even be read.
    pub claimed: Principal,
    /// Why it did not pass, for `content.err`. Never holds any of the credential.
    pub reason: String,
}

/// What a TLS peer's certificates say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsIdentity {
    /// Level 4, or nobody.
    pub principal: Option<Principal>,
    /// SHA-256 of the leaf, for `peer.tls` and for bound tokens; `None` = no certificate was shown.
    pub cert_sha256: Option<[u8; 32]>,
    /// Why the certificate does not count, or not as the SPIFFE id that it holds.
    pub failures: Vec<Failure>,
}

/// What a request's headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpIdentity {
    /// Checked identities; those with `rel` are the chain on whose behalf the call is made, nearest first.
    pub principals: Vec<Principal>,
    /// Credentials that did not pass.
    pub failures: Vec<Failure>,
}

impl TlsIdentity {
    /// Everything that was seen, failed claims included, for [`crate::who_of`].
    pub fn found(&self) -> Vec<Principal> {
        self.principal.iter().chain(self.failures.iter().map(|f| &f.claimed)).cloned().collect()
    }
}

impl HttpIdentity {
    /// Everything that was seen, failed claims included, for [`crate::who_of`].
    pub fn into_found(self) -> Vec<Principal> {
        self.principals.into_iter().chain(self.failures.into_iter().map(|f| f.claimed)).collect()
    }
}

/// All configured sources of identity. Share it in an `Arc`; every method takes `&self`.
pub struct Identities {
    config: IdentityConfig,
    /// Lower case.
    api_key_header: String,
    loaded: ArcSwap<Loaded>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What the files hold; swapped as a whole.
struct Loaded {
    trust: Trust,
    tokens: Tokens,
    api_keys: Option<ApiKeys>,
}

impl Identities {
    /// Reads all files that `config` names. `now_s` (Unix seconds) is when: kept for checks of validity at load.
    ///
    /// # Errors
    /// The first file or setting that is wrong, with what to do about it.
    pub fn new(config: IdentityConfig, now_s: i64) -> Result<Identities, IdentityError> {
        let loaded = ArcSwap::from_pointee(Loaded::read(&config, now_s)?);
        let header = if config.api_key_header.is_empty() { API_KEY_HEADER } else { &config.api_key_header };
        Ok(Identities { api_key_header: header.to_ascii_lowercase(), loaded, config })
    }

    /// Reads all files again: new keys, certificates and API keys count from the next call on.
    ///
    /// # Errors
    /// As [`Identities::new`]; the old state then stays in force as a whole.
    pub fn reload(&self, now_s: i64) -> Result<(), IdentityError> {
        self.loaded.store(std::sync::Arc::new(Loaded::read(&self.config, now_s)?));
        Ok(())
    }

    /// The authority files of all trust bundles: what a listener's handshake should accept.
    pub fn client_authorities(&self) -> Vec<PathBuf> {
        self.config.trust.iter().map(|t| t.ca_pem.clone()).collect()
    }

    /// Who the peer of a handshake that just ended is; `certs` is its chain, leaf first. Uses the system's clock.
    pub fn from_tls(&self, certs: &[CertificateDer<'_>]) -> TlsIdentity {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.from_tls_at(certs, i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
    }

    /// As [`Identities::from_tls`], at `now_s` (Unix seconds).
    pub fn from_tls_at(&self, certs: &[CertificateDer<'_>], now_s: i64) -> TlsIdentity {
        self.loaded.load().trust.identify(certs, now_s)
    }

    /// Who a request's headers prove, over a connection without a client certificate. `now_s` in Unix seconds.
    pub fn from_http(&self, headers: &dyn HeaderLookup, now_s: i64) -> HttpIdentity {
        self.from_http_over(headers, None, now_s)
    }

    /// As [`Identities::from_http`], with the TLS peer that a certificate-bound token (RFC 8705) must name.
    pub fn from_http_over(
        &self,
        headers: &dyn HeaderLookup,
        tls: Option<&TlsIdentity>,
        now_s: i64,
    ) -> HttpIdentity {
        let loaded = self.loaded.load();
        let peer_cert = tls.and_then(|t| t.cert_sha256.as_ref());
        let mut found = HttpIdentity::default();
        if let Some(bearer) = single(headers, "authorization", &mut found).and_then(bearer) {
            // A key of ours in the bearer's place is unmistakable by its prefix, so clients may send it there.
            match &loaded.api_keys {
                Some(keys) if looks_like_api_key(bearer) => found.add_api_key(keys.check(bearer)),
                _ => match loaded.tokens.check(bearer, peer_cert, now_s) {
                    Ok(principals) => found.principals.extend(principals),
                    Err(failure) => found.failures.push(*failure),
                },
            }
        }
        if let Some(keys) = &loaded.api_keys
            && self.api_key_header != "authorization"
            && let Some(value) = single(headers, &self.api_key_header, &mut found)
        {
            found.add_api_key(keys.check(value.trim_ascii()));
        }
        found
    }

    /// The identity of last resort: an address, which anyone on the path could have.
    pub fn address(&self, ip: IpAddr) -> Principal {
        let (auth, from) = (Some(Auth::PeerIp), Some(IdentityFrom::Address));
        Principal { auth, from, ..Principal::new(format!("addr:{}", ip.to_canonical()), Verified::Claimed) }
    }
}

impl Loaded {
    fn read(config: &IdentityConfig, _now_s: i64) -> Result<Loaded, IdentityError> {
        let api_keys = match &config.api_keys {
            None => None,
            Some(path) => {
                let beside = || {
                    let mut name = path.clone().into_os_string();
                    name.push(".pepper");
                    PathBuf::from(name)
                };
                let pepper = config.api_key_pepper.clone().unwrap_or_else(beside);
                Some(ApiKeys::load(path, &pepper)?)
            }
        };
        Ok(Loaded { trust: Trust::load(&config.trust)?, tokens: Tokens::load(&config.jwt)?, api_keys })
    }
}

impl HttpIdentity {
    fn add_api_key(&mut self, checked: Checked) {
        let claim = |id: String, verified| Principal {
            auth: Some(Auth::ApiKey),
            from: Some(IdentityFrom::Header),
            ..Principal::new(id, verified)
        };
        match checked {
            Checked::Valid { id, name } => self.principals.push(Principal {
                kind: Some(PrincipalKind::Service),
                cred: format!("key:{id}"),
                name,
                ..claim(format!("key:{id}"), Verified::Checked)
            }),
            Checked::Wrong { id } => self.failures.push(Failure {
                claimed: claim(format!("key:{id}"), Verified::Claimed),
                reason: "api key refused: its id is unknown or its secret is wrong".into(),
            }),
            Checked::Malformed => self.failures.push(Failure {
                claimed: Principal {
                    kind: Some(PrincipalKind::Anonymous),
                    ..claim("anon:".into(), Verified::Claimed)
                },
                reason: "api key refused: it is not in the form csk.<id>.<secret>".into(),
            }),
        }
    }
}

/// A header's value if it is there exactly once; a repeated credential is a failure, for two readers of the
/// message could each believe another one.
fn single<'h>(headers: &'h dyn HeaderLookup, name: &str, found: &mut HttpIdentity) -> Option<&'h [u8]> {
    let value = headers.get(name)?;
    if headers.count(name) <= 1 {
        return Some(value);
    }
    let claimed = Principal {
        kind: Some(PrincipalKind::Anonymous),
        from: Some(IdentityFrom::Header),
        ..Principal::new("anon:", Verified::Claimed)
    };
    found
        .failures
        .push(Failure { claimed, reason: format!("credential refused: the {name} header is repeated") });
    None
}

/// The credential of a `Bearer` authorization (RFC 6750); `None` for other schemes.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| rest.trim_ascii())
}
