//! Tokens: a JWT that passes becomes principals of level 3, or 4 when it is bound to the TLS peer (RFC 8705) or
//! comes with a proof of its key (RFC 9449).
//!
//! Not OAuth flows, and no fetching of keys (that is `remote`). Invariants: the algorithm comes from the key, the token may only
//! agree; `iss`, `aud` and `exp` are required; the token itself is never kept, the cache knows only its
//! SHA-256; whatever a failed token claims is recorded at level 1, cut to a bound.

use crate::IdentityError;
use crate::claims::{Texts, TokenClaims};
use crate::config::JwtIssuer;
use crate::dpop::{self, Nonces};
use crate::identities::LEEWAY_S;
use crate::jwks::Keys;
use crate::refusal::{Failure, FailureKind, Refusal};
use crate::remote::Remote;
use crate::replay::Replay;
use crate::request::HttpRequest;
use crate::text::{CLAIM_MAX, ID_MAX, clip, hex, sha256};
use crate::who::OBO_MAX;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_event::{Auth, IdentityFrom, Principal, PrincipalKind, Relation, Verified};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Longest token that is looked at.
const TOKEN_MAX_BYTES: usize = 16 << 10;
/// Tokens whose signature is remembered as good: two generations of this many.
const CACHE_GENERATION: usize = 2048;

/// All issuers, and the tokens seen lately.
pub(crate) struct Tokens {
    issuers: Vec<Issuer>,
    cache: Mutex<Cache>,
}

struct Issuer {
    issuer: String,
    audience: Vec<String>,
    cluster: Option<String>,
    keys: Source,
}

/// Where an issuer's keys come from.
enum Source {
    File(Arc<Keys>),
    Remote(Arc<Remote>),
}

/// The scheme under which a token was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    Dpop,
}

/// What was shown together with a token.
pub(crate) struct Shown<'a> {
    pub(crate) scheme: Scheme,
    /// SHA-256 of the caller's TLS certificate.
    pub(crate) peer_cert: Option<&'a [u8; 32]>,
    /// The `DPoP` header, if it is there once.
    pub(crate) proof: Option<&'a [u8]>,
    pub(crate) request: Option<&'a HttpRequest<'a>>,
    pub(crate) nonces: Option<&'a Nonces>,
    pub(crate) replay: &'a Replay,
    /// How old a proof may be, seconds; 0 = the default.
    pub(crate) proof_life_s: i64,
    pub(crate) now_s: i64,
}

/// A token taken apart; nothing in it is believed yet.
pub(crate) struct Parsed<'a> {
    header: Header,
    claims: Claims,
    /// What the signature covers.
    message: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Clone, Default, Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<serde_json::Value>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: Option<String>,
    act: Option<Act>,
    cnf: Option<Confirmation>,
    client_id: Option<String>,
    name: Option<String>,
}

/// An actor of RFC 8693, section 4.1.
#[derive(Clone, Deserialize)]
struct Act {
    iss: Option<String>,
    sub: Option<String>,
    act: Option<Box<Act>>,
}

#[derive(Clone, Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
    jkt: Option<String>,
}

/// How a token is bound to its bearer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binding {
    None,
    Certificate,
    Proof,
}

/// What is remembered of a token with a good signature.
struct Signed {
    issuer: usize,
    /// The keys it was checked with; when the issuer has others, it is checked again.
    keys: Arc<Keys>,
    kid: Option<String>,
    claims: Claims,
    texts: Arc<Texts>,
}

#[derive(Default)]
struct Cache {
    young: HashMap<[u8; 32], Arc<Signed>>,
    old: HashMap<[u8; 32], Arc<Signed>>,
}

impl Tokens {
    /// `remotes` are the issuers whose keys are fetched, by name.
    pub(crate) fn load(
        issuers: &[JwtIssuer],
        remotes: &HashMap<String, Arc<Remote>>,
    ) -> Result<Tokens, IdentityError> {
        crate::provider::install();
        let mut loaded: Vec<Issuer> = Vec::with_capacity(issuers.len());
        for issuer in issuers {
            let wrong = |why: &str| IdentityError::Setting {
                setting: format!("jwt issuer {:?}", issuer.issuer),
                why: why.into(),
            };
            if issuer.issuer.is_empty() || issuer.audience.iter().all(String::is_empty) {
                let why = "issuer and audience are both needed: a token meant for somebody else must not count here";
                return Err(wrong(why));
            }
            if loaded.iter().any(|known| known.issuer == issuer.issuer) {
                return Err(wrong("is given twice"));
            }
            let keys = match remotes.get(&issuer.issuer) {
                Some(_) if !issuer.keys.as_os_str().is_empty() => {
                    return Err(wrong("has both a key file and an address of keys; give one of them"));
                }
                Some(remote) => Source::Remote(remote.clone()),
                None => Source::File(Arc::new(Keys::load(issuer)?)),
            };
            loaded.push(Issuer {
                issuer: issuer.issuer.clone(),
                audience: issuer.audience.clone(),
                cluster: issuer.cluster.clone(),
                keys,
            });
        }
        Ok(Tokens { issuers: loaded, cache: Mutex::default() })
    }

    /// Checks a token together with what was shown beside it.
    ///
    /// The principals of a good token: the actor first, then the chain on whose behalf it acts.
    pub(crate) fn check(
        &self,
        token: &[u8],
        shown: &Shown<'_>,
    ) -> Result<(Vec<Principal>, TokenClaims), Box<Failure>> {
        let key = sha256(token);
        let signed = match self.cached(&key, shown.now_s) {
            Some(signed) => signed,
            None => {
                let parsed = parse(token).map_err(|why| failure(unreadable(), why.into()))?;
                let claimed = claimed(&parsed.claims);
                let signed = self.verify(parsed, shown.now_s).map_err(|refusal| failure(claimed, refusal))?;
                let signed = Arc::new(signed);
                self.remember(key, &signed);
                signed
            }
        };
        let refuse = |refusal: Refusal| failure(claimed(&signed.claims), refusal);
        let Some(issuer) = self.issuers.get(signed.issuer) else {
            return Err(refuse("its issuer (iss) is not configured".into()));
        };
        check_claims(&signed.claims, issuer, shown.now_s).map_err(refuse)?;
        let binding = check_binding(&signed.claims, token, shown).map_err(refuse)?;
        let principals = principals(&signed, issuer, binding).map_err(|why| refuse(why.into()))?;
        let verified = principals.first().map_or(Verified::Claimed, |p| p.verified);
        Ok((principals, TokenClaims::new(Arc::clone(&signed.texts), verified)))
    }

    /// The signature and what decides about it. Time and audience are left to the caller: they may change
    /// between two uses of one token.
    fn verify(&self, parsed: Parsed<'_>, now_s: i64) -> Result<Signed, Refusal> {
        let Parsed { header, claims, message, signature } = parsed;
        if self.issuers.is_empty() {
            return Err("no jwt issuer is configured, so it was not checked".into());
        }
        if header.alg.eq_ignore_ascii_case("none") {
            return Err("it is not signed (alg none)".into());
        }
        if header.crit.is_some() {
            return Err("it needs extensions (crit) that are not known here".into());
        }
        let iss = claims.iss.as_deref().ok_or("it names no issuer (iss)")?;
        let known = self.issuers.iter().enumerate().find(|(_, i)| i.issuer == iss);
        let (number, issuer) = known.ok_or("its issuer (iss) is not configured")?;
        let algorithm = Algorithm::from_str(&header.alg).map_err(|_| "its algorithm is not known here")?;
        let keys = issuer.keys.current(now_s)?;
        let candidates = keys.candidates(header.kid.as_deref(), algorithm).inspect_err(|refusal| {
            // Only now, and off this thread: the issuer may have a new key.
            if let (Source::Remote(remote), FailureKind::UnknownKey) = (&issuer.keys, refusal.kind) {
                remote.want();
            }
        })?;
        let verifies = |key: &jsonwebtoken::DecodingKey| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false)
        };
        if !candidates.iter().any(|candidate| verifies(&candidate.key)) {
            return Err(Refusal::new(FailureKind::Signature, "its signature is wrong"));
        }
        drop(candidates);
        let texts = Arc::new(Texts::read(message));
        Ok(Signed { issuer: number, keys, kid: header.kid, claims, texts })
    }

    /// A token that was found good with the keys that are still its issuer's.
    fn cached(&self, key: &[u8; 32], now_s: i64) -> Option<Arc<Signed>> {
        let signed = self.recall(key)?;
        let current = self.issuers.get(signed.issuer)?.keys.current(now_s).ok()?;
        Arc::ptr_eq(&current, &signed.keys).then_some(signed)
    }

    fn recall(&self, key: &[u8; 32]) -> Option<Arc<Signed>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signed) = cache.young.get(key) {
            return Some(signed.clone());
        }
        let signed = cache.old.remove(key)?;
        cache.insert(*key, signed.clone());
        Some(signed)
    }

    fn remember(&self, key: [u8; 32], signed: &Arc<Signed>) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(key, signed.clone());
    }
}

impl Source {
    fn current(&self, now_s: i64) -> Result<Arc<Keys>, Refusal> {
        match self {
            Source::File(keys) => Ok(keys.clone()),
            Source::Remote(remote) => remote.current(now_s),
        }
    }
}

impl Cache {
    fn insert(&mut self, key: [u8; 32], signed: Arc<Signed>) {
        if self.young.len() >= CACHE_GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, signed);
    }
}

/// Takes a compact JWS apart (RFC 7515, section 7.1).
pub(crate) fn parse(token: &[u8]) -> Result<Parsed<'_>, String> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err(format!("it is longer than {TOKEN_MAX_BYTES} bytes"));
    }
    let token = std::str::from_utf8(token).map_err(|_| "it is not text")?;
    let (message, signature) = token.rsplit_once('.').ok_or("it is not a JWT")?;
    let (header, claims) = message.split_once('.').ok_or("it is not a JWT")?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "it is not a JWT");
    let header = serde_json::from_slice(&decode(header)?).map_err(|_| "its header is not readable")?;
    let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| "its claims are not readable")?;
    Ok(Parsed { header, claims, message, signature })
}

fn check_claims(claims: &Claims, issuer: &Issuer, now_s: i64) -> Result<(), Refusal> {
    let (now, leeway) = (now_s as f64, LEEWAY_S as f64);
    if !claims.aud.as_ref().is_some_and(|aud| names_one_of(aud, &issuer.audience)) {
        return Err(Refusal::new(FailureKind::Audience, "it is meant for another audience (aud)"));
    }
    let exp = claims.exp.filter(|e| e.is_finite()).ok_or("it has no end of life (exp)")?;
    if now >= exp + leeway {
        let why = format!("it expired {} s ago (exp)", (now - exp) as i64);
        return Err(Refusal::new(FailureKind::Expired, why));
    }
    if let Some(nbf) = claims.nbf
        && now < nbf - leeway
    {
        let why = format!("it is not valid for another {} s (nbf)", (nbf - now) as i64);
        return Err(Refusal::new(FailureKind::Skew, why));
    }
    if let Some(iat) = claims.iat
        && now < iat - leeway
    {
        let why = format!("it was issued {} s in the future (iat): clocks differ", (iat - now) as i64);
        return Err(Refusal::new(FailureKind::Skew, why));
    }
    Ok(())
}

fn names_one_of(aud: &serde_json::Value, ours: &[String]) -> bool {
    let is_ours =
        |v: &serde_json::Value| v.as_str().is_some_and(|a| !a.is_empty() && ours.iter().any(|o| o == a));
    match aud {
        serde_json::Value::Array(many) => many.iter().any(is_ours),
        one => is_ours(one),
    }
}

/// How the token is bound to its bearer; a binding that does not hold is an error (RFC 8705, section 3;
/// RFC 9449, section 7.1).
fn check_binding(claims: &Claims, token: &[u8], shown: &Shown<'_>) -> Result<Binding, Refusal> {
    let thumbprint = claims.cnf.as_ref().and_then(|c| c.x5t_s256.as_deref());
    let jkt = claims.cnf.as_ref().and_then(|c| c.jkt.as_deref());
    if claims.cnf.is_some() && thumbprint.is_none() && jkt.is_none() {
        return Err("it is bound to a key (cnf) in a way that is not known here".into());
    }
    if let Some(thumbprint) = thumbprint {
        let Some(peer) = shown.peer_cert else {
            let why = "it is bound to a certificate (cnf), and the caller showed none";
            return Err(Refusal::new(FailureKind::Downgrade, why));
        };
        if URL_SAFE_NO_PAD.encode(peer) != thumbprint {
            let why = "it is bound to a certificate (cnf) other than the caller's";
            return Err(Refusal::new(FailureKind::Downgrade, why));
        }
    }
    match (jkt, shown.scheme) {
        (None, Scheme::Dpop) => Err("it was shown as bound by DPoP and is bound to no key (cnf.jkt)".into()),
        (None, Scheme::Bearer) if thumbprint.is_some() => Ok(Binding::Certificate),
        (None, Scheme::Bearer) => Ok(Binding::None),
        (Some(_), Scheme::Bearer) => {
            let why = "it is bound to a key (cnf.jkt) and was shown as a plain bearer token";
            Err(Refusal::new(FailureKind::Downgrade, why))
        }
        (Some(jkt), Scheme::Dpop) => {
            let proof = shown.proof.ok_or_else(|| {
                Refusal::new(
                    FailureKind::Downgrade,
                    "it is bound to a key (cnf.jkt) and has not exactly one DPoP proof",
                )
            })?;
            let request = shown.request.ok_or("its DPoP proof cannot be checked without the request")?;
            let (nonces, life_s, now_s) = (shown.nonces, shown.proof_life_s, shown.now_s);
            let expected = dpop::Expected { jkt, token, request, nonces, life_s, now_s };
            dpop::check(proof, &expected, shown.replay).map(|()| Binding::Proof)
        }
    }
}

fn principals(signed: &Signed, issuer: &Issuer, binding: Binding) -> Result<Vec<Principal>, String> {
    let claims = &signed.claims;
    let (level, auth) = match binding {
        Binding::None => (Verified::Checked, Auth::Jwt),
        Binding::Certificate => (Verified::Bound, Auth::JwtMtlsBound),
        Binding::Proof => (Verified::Bound, Auth::JwtDpop),
    };
    let make = |iss: &str, sub: Option<&str>, level: Verified| -> Result<Principal, String> {
        let sub = sub.filter(|s| !s.is_empty()).ok_or("it names no subject (sub)")?;
        // Only the cluster itself may name its service accounts, not an actor of another issuer.
        let account = issuer.cluster.as_deref().filter(|_| iss == issuer.issuer);
        let account = account.and_then(|cluster| service_account(cluster, sub));
        let (kind, auth) = match account {
            Some(_) => (Some(PrincipalKind::Workload), if auth == Auth::Jwt { Auth::K8sSa } else { auth }),
            None => (None, auth),
        };
        let id = account.unwrap_or_else(|| token_id(iss, sub));
        if id.len() > ID_MAX {
            return Err(format!("issuer and subject together are longer than {ID_MAX} bytes"));
        }
        let (auth, from) = (Some(auth), Some(IdentityFrom::Token));
        Ok(Principal { auth, from, kind, iss: clip(iss, CLAIM_MAX).to_owned(), ..Principal::new(id, level) })
    };
    let mut subject = make(&issuer.issuer, claims.sub.as_deref(), level)?;
    subject.name = clip(claims.name.as_deref().unwrap_or(""), CLAIM_MAX).to_owned();
    // Client credentials: a token whose subject is the client itself speaks for a service.
    if claims.client_id.is_some() && claims.client_id == claims.sub {
        subject.kind = Some(PrincipalKind::Service);
    }
    let mut chain = Vec::new();
    let mut next = claims.act.as_ref();
    while let Some(act) = next {
        // The outermost actor is what the issuer states of the bearer; who stood before it is hearsay.
        let level = if chain.is_empty() { level } else { Verified::Asserted };
        chain.push(make(act.iss.as_deref().unwrap_or(&issuer.issuer), act.sub.as_deref(), level)?);
        next = act.act.as_deref();
        if chain.len() > OBO_MAX {
            return Err(format!("its chain of actors (act) is longer than {OBO_MAX}"));
        }
    }
    chain.push(subject);
    for delegated in chain.iter_mut().skip(1) {
        delegated.rel = Some(Relation::OnBehalfOf);
    }
    if let Some(actor) = chain.first_mut() {
        actor.cred = credential(signed);
        actor.cred_exp = claims.exp.map(|e| e as i64);
    }
    Ok(chain)
}

/// The public name of a token: which key signed it, and a digest of its own id.
fn credential(signed: &Signed) -> String {
    let kid = signed.kid.as_deref().map(|k| format!("kid:{}", clip(k, 128)));
    let jti = signed.claims.jti.as_deref().map(|j| format!("jti-sha256:{}", hex(&sha256(j.as_bytes()))));
    [kid, jti].into_iter().flatten().collect::<Vec<_>>().join("/")
}

/// The id of a Kubernetes service account (`system:serviceaccount:<namespace>:<name>`).
fn service_account(cluster: &str, sub: &str) -> Option<String> {
    let (namespace, name) = sub.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let plain = |part: &str| !part.is_empty() && !part.contains([':', '/']);
    (plain(namespace) && plain(name)).then(|| format!("k8s-sa:{cluster}/{namespace}/{name}"))
}

fn token_id(iss: &str, sub: &str) -> String {
    format!("jwt:{iss}#{sub}")
}

/// What a token that was not believed says of itself.
fn claimed(claims: &Claims) -> Principal {
    let (Some(iss), Some(sub)) = (&claims.iss, &claims.sub) else { return unreadable() };
    let id = token_id(clip(iss, CLAIM_MAX), clip(sub, CLAIM_MAX));
    let (auth, from) = (Some(Auth::Jwt), Some(IdentityFrom::Token));
    Principal { auth, from, iss: clip(iss, CLAIM_MAX).to_owned(), ..Principal::new(id, Verified::Claimed) }
}

/// The claim of a bearer value that cannot be read: nothing of it may be recorded.
fn unreadable() -> Principal {
    let (auth, from) = (Some(Auth::OauthOpaque), Some(IdentityFrom::Token));
    let kind = Some(PrincipalKind::Anonymous);
    Principal { auth, from, kind, ..Principal::new("anon:", Verified::Claimed) }
}

fn failure(claimed: Principal, refusal: Refusal) -> Box<Failure> {
    Box::new(refusal.of("token", claimed))
}
