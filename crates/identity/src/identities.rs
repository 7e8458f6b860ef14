//! [`Identities`]: every configured way to tell who is calling, behind one handle.
//!
//! Not a connection's state: what it is asked about comes in as certificates and headers. Invariants: a reload
//! swaps everything at once or nothing; answers never depend on a wall clock other than the one passed in
//! (`from_tls`, which a handshake has just timed, is the exception and says so).

use crate::IdentityError;
use crate::apikey::{ApiKeys, Checked, looks_like_api_key};
use crate::claims::TokenClaims;
use crate::config::{API_KEY_HEADER, IdentityConfig};
use crate::dpop::Nonces;
use crate::forwarded;
use crate::httpsig::Signatures;
use crate::jwt::{Scheme, Shown, Tokens};
use crate::refusal::{Failure, FailureKind};
use crate::remote::{Bell, Refresher, Remote, RemoteStatus};
use crate::replay::{REPLAY_MAX_BYTES, Replay};
use crate::request::{ContentDigest, HeaderLookup, HttpRequest};
use crate::watch::Watch;
use crate::wimse::{self, Wimse};
use crate::x509::{Authorities, Trust};
use arc_swap::ArcSwap;
use countersign_event::{Auth, IdentityFrom, Principal, PrincipalKind, Verified};
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Clocks may differ by this much, seconds.
pub(crate) const LEEWAY_S: i64 = 60;

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
    /// The answer rests on this very request or moment (a proof, a signature, a key that may come): it must not be
    /// kept for another one.
    pub single_use: bool,
    /// What a good token says beside who its bearer is.
    pub claims: Option<TokenClaims>,
    /// A good signature covers this digest of the body, which was not compared yet: the caller compares when the
    /// body has ended, and says in the record if it did not.
    pub content: Option<ContentDigest>,
}

impl TlsIdentity {
    /// When the peer's certificate ends, Unix seconds: a connection that lives on after it has outlived its
    /// identity, and may be closed if policy says so.
    pub fn expires_s(&self) -> Option<i64> {
        self.principal.as_ref().and_then(|p| p.cred_exp)
    }

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
    /// Writers of `loaded`, one at a time; holds the authorities that came from a workload API.
    writer: Mutex<Vec<Authorities>>,
    remotes: HashMap<String, Arc<Remote>>,
    bell: Arc<Bell>,
    refresher_taken: AtomicBool,
    replay: Replay,
    nonces: Option<Nonces>,
    watch: Watch,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What the files hold; swapped as a whole.
struct Loaded {
    trust: Arc<Trust>,
    tokens: Arc<Tokens>,
    api_keys: Option<Arc<ApiKeys>>,
    signatures: Arc<Signatures>,
    wimse: Arc<Wimse>,
}

impl Identities {
    /// Reads all files that `config` names. `now_s` (Unix seconds) is when: kept for checks of validity at load.
    ///
    /// # Errors
    /// The first file or setting that is wrong, with what to do about it.
    pub fn new(config: IdentityConfig, now_s: i64) -> Result<Identities, IdentityError> {
        let bell = Arc::new(Bell::default());
        let mut remotes = HashMap::new();
        for issuer in &config.jwt {
            if let Some(set) = &issuer.remote {
                remotes.insert(issuer.issuer.clone(), Arc::new(Remote::new(issuer, set, &bell)?));
            }
        }
        let watch = Watch::default();
        watch.mark(&files(&config));
        let loaded = ArcSwap::from_pointee(Loaded::read(&config, &remotes, &[], now_s)?);
        let header = if config.api_key_header.is_empty() { API_KEY_HEADER } else { &config.api_key_header };
        let nonces = if config.dpop.require_nonce {
            Some(Nonces::new().ok_or_else(|| IdentityError::Setting {
                setting: "dpop: require_nonce".into(),
                why: "the system gave no randomness".into(),
            })?)
        } else {
            None
        };
        let replay_bytes = config.dpop.replay_bytes;
        Ok(Identities {
            api_key_header: header.to_ascii_lowercase(),
            replay: Replay::new(if replay_bytes == 0 { REPLAY_MAX_BYTES } else { replay_bytes }),
            writer: Mutex::default(),
            refresher_taken: AtomicBool::new(false),
            loaded,
            remotes,
            bell,
            nonces,
            watch,
            config,
        })
    }

    /// Reads all files again: new keys, certificates and API keys count from the next call on. Keys that are
    /// fetched from an issuer stay as they are.
    ///
    /// # Errors
    /// As [`Identities::new`]; the old state then stays in force as a whole.
    pub fn reload(&self, now_s: i64) -> Result<(), IdentityError> {
        let workload = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.watch.mark(&files(&self.config));
        self.loaded.store(Arc::new(Loaded::read(&self.config, &self.remotes, &workload, now_s)?));
        Ok(())
    }

    /// Whether a file holds something else than when it was last read (or tried): time to [`Identities::reload`].
    /// Cheap enough to ask every few seconds; reads a file only when its time, size or inode changed.
    pub fn changed(&self) -> bool {
        self.watch.changed()
    }

    /// The authorities that a workload API gave, beside those of the configured files; they replace the ones of
    /// the call before. A trust domain that is in both believes both.
    ///
    /// # Errors
    /// An authority that is not one; nothing changes then.
    pub fn set_workload_authorities(&self, authorities: Vec<Authorities>) -> Result<(), IdentityError> {
        let mut workload = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let trust = Arc::new(Trust::load(&self.config.trust, &authorities)?);
        *workload = authorities;
        let old = self.loaded.load_full();
        self.loaded.store(Arc::new(Loaded {
            trust,
            tokens: old.tokens.clone(),
            api_keys: old.api_keys.clone(),
            signatures: old.signatures.clone(),
            wimse: old.wimse.clone(),
        }));
        Ok(())
    }

    /// What fetches the keys of remote issuers; `None` = there are none, or it was given out before. Without it
    /// running no token of such an issuer passes.
    pub fn refresher(&self) -> Option<Refresher> {
        if self.remotes.is_empty() || self.refresher_taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        let in_order = self.config.jwt.iter().filter_map(|issuer| self.remotes.get(&issuer.issuer).cloned());
        Some(Refresher { remotes: in_order.collect(), bell: self.bell.clone() })
    }

    /// How the keys of remote issuers are.
    pub fn remote_status(&self) -> Vec<RemoteStatus> {
        self.config.jwt.iter().filter_map(|i| self.remotes.get(&i.issuer)).map(|r| r.status()).collect()
    }

    /// Bytes in use for ids of used proofs, of the configured bound.
    pub fn replay_bytes(&self) -> usize {
        self.replay.bytes()
    }

    /// The nonce to hand out in `DPoP-Nonce` (RFC 9449, section 9), if proofs must hold one.
    pub fn dpop_nonce(&self, now_s: i64) -> Option<String> {
        self.nonces.as_ref().map(|nonces| nonces.at(now_s))
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
    /// Proofs and signatures cannot be checked this way: tokens that need one are refused.
    pub fn from_http_over(
        &self,
        headers: &dyn HeaderLookup,
        tls: Option<&TlsIdentity>,
        now_s: i64,
    ) -> HttpIdentity {
        self.identify(headers, None, tls, now_s)
    }

    /// Who a whole request proves: as [`Identities::from_http_over`], with DPoP, HTTP Message Signatures and what
    /// listed proxies say. Ask once for each request: a second time its proofs are replays.
    pub fn from_request(
        &self,
        request: &HttpRequest<'_>,
        tls: Option<&TlsIdentity>,
        now_s: i64,
    ) -> HttpIdentity {
        self.identify(request.headers, Some(request), tls, now_s)
    }

    fn identify(
        &self,
        headers: &dyn HeaderLookup,
        request: Option<&HttpRequest<'_>>,
        tls: Option<&TlsIdentity>,
        now_s: i64,
    ) -> HttpIdentity {
        let loaded = self.loaded.load();
        let mut found = HttpIdentity::default();
        let authorization = single(headers, "authorization", &mut found);
        self.add_workload(&loaded.wimse, authorization, headers, request, now_s, &mut found);
        if let Some((scheme, token)) = authorization.and_then(token) {
            // A key of ours in the bearer's place is unmistakable by its prefix, so clients may send it there.
            match &loaded.api_keys {
                Some(keys) if scheme == Scheme::Bearer && looks_like_api_key(token) => {
                    found.add_api_key(keys.check(token));
                }
                _ => {
                    let proof = headers.get("dpop").filter(|_| headers.count("dpop") == 1);
                    let shown = Shown {
                        scheme,
                        peer_cert: tls.and_then(|t| t.cert_sha256.as_ref()),
                        proof: proof.map(<[u8]>::trim_ascii),
                        request,
                        nonces: self.nonces.as_ref(),
                        replay: &self.replay,
                        proof_life_s: self.config.dpop.proof_life_s,
                        now_s,
                    };
                    found.add_token(scheme, loaded.tokens.check(token, &shown));
                }
            }
        }
        if let Some(keys) = &loaded.api_keys
            && self.api_key_header != "authorization"
            && let Some(value) = single(headers, &self.api_key_header, &mut found)
        {
            found.add_api_key(keys.check(value.trim_ascii()));
        }
        if let Some(request) = request {
            let signed = loaded.signatures.check(request, &self.replay, now_s);
            found.single_use |= !signed.principals.is_empty() || !signed.failures.is_empty();
            found.principals.extend(signed.principals);
            found.failures.extend(signed.failures);
            found.content = signed.content;
            self.add_forwarded(request, tls, &mut found);
        }
        found
    }

    fn add_workload(
        &self,
        wimse: &Wimse,
        authorization: Option<&[u8]>,
        headers: &dyn HeaderLookup,
        request: Option<&HttpRequest<'_>>,
        now_s: i64,
        found: &mut HttpIdentity,
    ) {
        let Some(request) = request.filter(|_| wimse.is_on()) else { return };
        let proof = authorization.and_then(|value| credentials(value, b"wpt"));
        // A token alone proves nothing, but it is a claim that somebody should hear of.
        if proof.is_none() && headers.get(wimse::WIT_HEADER).is_none() {
            return;
        }
        found.single_use = true;
        match wimse.check(proof.unwrap_or_default(), request, &self.replay, now_s) {
            Ok(principal) => found.principals.push(principal),
            Err(failure) => found.failures.push(*failure),
        }
    }

    fn add_forwarded(&self, request: &HttpRequest<'_>, tls: Option<&TlsIdentity>, found: &mut HttpIdentity) {
        let values = request.headers.values(forwarded::XFCC);
        if values.is_empty() {
            return;
        }
        let proxy = tls.and_then(|t| t.principal.as_ref());
        let listed = forwarded::is_listed(&self.config.forwarders, request.peer, proxy);
        match forwarded::client_certificate(&values.join(&b","[..]), listed, proxy) {
            Ok(principals) => found.principals.extend(principals),
            Err(failure) => found.failures.push(*failure),
        }
        // It depends on the peer's address, by which nobody keeps answers.
        found.single_use = true;
    }

    /// Whether a peer is a listed proxy, whose PROXY protocol header may be believed (level 2).
    pub fn is_forwarder(&self, peer: IpAddr, tls: Option<&TlsIdentity>) -> bool {
        forwarded::is_listed(&self.config.forwarders, Some(peer), tls.and_then(|t| t.principal.as_ref()))
    }

    /// The common name that a listed proxy stated by the PROXY protocol (`PP2_SUBTYPE_SSL_CN`): level 2 if the
    /// proxy verified the certificate, else 1.
    pub fn from_proxy_common_name(&self, name: &str, verified: bool, tls: Option<&TlsIdentity>) -> Principal {
        forwarded::common_name(name, verified, tls.and_then(|t| t.principal.as_ref()))
    }

    /// The identity of last resort: an address, which anyone on the path could have.
    pub fn address(&self, ip: IpAddr) -> Principal {
        let (auth, from) = (Some(Auth::PeerIp), Some(IdentityFrom::Address));
        Principal { auth, from, ..Principal::new(format!("addr:{}", ip.to_canonical()), Verified::Claimed) }
    }
}

/// Every file that the configuration names and [`Loaded::read`] reads.
fn files(config: &IdentityConfig) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = config.trust.iter().map(|t| t.ca_pem.clone()).collect();
    files.extend(config.jwt.iter().filter(|i| i.remote.is_none()).map(|i| i.keys.clone()));
    if let Some((keys, pepper)) = api_key_files(config) {
        files.extend([keys, pepper]);
    }
    files.extend(config.signatures.keys.iter().map(|k| k.file.clone()));
    files.extend(config.wimse.trust.iter().map(|t| t.keys.clone()));
    files
}

fn api_key_files(config: &IdentityConfig) -> Option<(PathBuf, PathBuf)> {
    let path = config.api_keys.clone()?;
    let pepper = config.api_key_pepper.clone().unwrap_or_else(|| {
        let mut name = path.clone().into_os_string();
        name.push(".pepper");
        PathBuf::from(name)
    });
    Some((path, pepper))
}

impl Loaded {
    fn read(
        config: &IdentityConfig,
        remotes: &HashMap<String, Arc<Remote>>,
        workload: &[Authorities],
        _now_s: i64,
    ) -> Result<Loaded, IdentityError> {
        let api_keys = match api_key_files(config) {
            None => None,
            Some((path, pepper)) => Some(Arc::new(ApiKeys::load(&path, &pepper)?)),
        };
        Ok(Loaded {
            trust: Arc::new(Trust::load(&config.trust, workload)?),
            tokens: Arc::new(Tokens::load(&config.jwt, remotes)?),
            api_keys,
            signatures: Arc::new(Signatures::load(&config.signatures)?),
            wimse: Arc::new(Wimse::load(&config.wimse)?),
        })
    }
}

impl HttpIdentity {
    fn add_token(&mut self, scheme: Scheme, checked: Result<(Vec<Principal>, TokenClaims), Box<Failure>>) {
        self.single_use |= scheme == Scheme::Dpop;
        match checked {
            Ok((principals, claims)) => {
                self.principals.extend(principals);
                self.claims = Some(claims);
            }
            Err(failure) => {
                // The key may be here a moment later.
                let passing = [FailureKind::UnknownKey, FailureKind::Unavailable, FailureKind::Skew];
                self.single_use |= passing.contains(&failure.kind);
                self.failures.push(*failure);
            }
        }
    }

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
                kind: FailureKind::Invalid,
            }),
            Checked::Malformed => self.failures.push(Failure {
                claimed: Principal {
                    kind: Some(PrincipalKind::Anonymous),
                    ..claim("anon:".into(), Verified::Claimed)
                },
                reason: "api key refused: it is not in the form csk.<id>.<secret>".into(),
                kind: FailureKind::Invalid,
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
    let reason = format!("credential refused: the {name} header is repeated");
    found.failures.push(Failure { claimed, reason, kind: FailureKind::Invalid });
    None
}

/// The credentials of an `Authorization` of this scheme, lower case.
fn credentials<'v>(value: &'v [u8], scheme: &[u8]) -> Option<&'v [u8]> {
    let value = value.trim_ascii();
    let (stated, rest) = value.split_at_checked(scheme.len())?;
    let fits = stated.eq_ignore_ascii_case(scheme) && rest.first() == Some(&b' ');
    fits.then(|| rest.trim_ascii())
}

/// The token of a `Bearer` (RFC 6750) or `DPoP` (RFC 9449) authorization; `None` for other schemes.
fn token(value: &[u8]) -> Option<(Scheme, &[u8])> {
    let value = value.trim_ascii();
    let end = value.iter().position(|b| *b == b' ')?;
    let (scheme, rest) = value.split_at_checked(end)?;
    let scheme = match scheme {
        s if s.eq_ignore_ascii_case(b"bearer") => Scheme::Bearer,
        s if s.eq_ignore_ascii_case(b"dpop") => Scheme::Dpop,
        _ => return None,
    };
    Some((scheme, rest.trim_ascii()))
}
