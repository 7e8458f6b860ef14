//! Tokens: a JWT that passes becomes principals of level 3, or 4 when it is bound to the TLS peer (RFC 8705).
//!
//! Not OAuth flows, and no fetching of keys. Invariants: the algorithm comes from the key, the token may only
//! agree; `iss`, `aud` and `exp` are required; the token itself is never kept, the cache knows only its
//! SHA-256; whatever a failed token claims is recorded at level 1, cut to a bound.

use crate::IdentityError;
use crate::config::JwtIssuer;
use crate::identities::Failure;
use crate::jwks::Keys;
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
/// Clocks may differ by this much.
const LEEWAY_S: f64 = 60.0;
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
    keys: Keys,
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
}

/// What is remembered of a token with a good signature.
struct Signed {
    issuer: usize,
    kid: Option<String>,
    claims: Claims,
}

#[derive(Default)]
struct Cache {
    young: HashMap<[u8; 32], Arc<Signed>>,
    old: HashMap<[u8; 32], Arc<Signed>>,
}

impl Tokens {
    pub(crate) fn load(issuers: &[JwtIssuer]) -> Result<Tokens, IdentityError> {
        crate::provider::install();
        let mut loaded: Vec<Issuer> = Vec::with_capacity(issuers.len());
        for issuer in issuers {
            let setting = format!("jwt issuer {:?}", issuer.issuer);
            if issuer.issuer.is_empty() || issuer.audience.iter().all(String::is_empty) {
                let why = "issuer and audience are both needed: a token meant for somebody else must not count here";
                return Err(IdentityError::Setting { setting, why: why.into() });
            }
            if loaded.iter().any(|known| known.issuer == issuer.issuer) {
                return Err(IdentityError::Setting { setting, why: "is given twice".into() });
            }
            let (issuer_name, audience) = (issuer.issuer.clone(), issuer.audience.clone());
            loaded.push(Issuer { issuer: issuer_name, audience, keys: Keys::load(issuer)? });
        }
        Ok(Tokens { issuers: loaded, cache: Mutex::default() })
    }

    /// Checks a bearer token of somebody whose TLS certificate, if any, has this SHA-256.
    ///
    /// The principals of a good token: the actor first, then the chain on whose behalf it acts.
    pub(crate) fn check(
        &self,
        token: &[u8],
        peer_cert: Option<&[u8; 32]>,
        now_s: i64,
    ) -> Result<Vec<Principal>, Box<Failure>> {
        let key = sha256(token);
        let signed = match self.cached(&key) {
            Some(signed) => signed,
            None => {
                let parsed = parse(token).map_err(|reason| failure(unreadable(), reason))?;
                let claimed = claimed(&parsed.claims);
                let signed = Arc::new(self.verify(parsed).map_err(|reason| failure(claimed, reason))?);
                self.remember(key, &signed);
                signed
            }
        };
        let issuer = &self.issuers[signed.issuer];
        check_claims(&signed.claims, issuer, now_s)
            .and_then(|()| check_binding(&signed.claims, peer_cert))
            .and_then(|bound| principals(&signed, issuer, bound))
            .map_err(|reason| failure(claimed(&signed.claims), reason))
    }

    /// The signature and what decides about it. Time and audience are left to the caller: they may change
    /// between two uses of one token.
    fn verify(&self, parsed: Parsed<'_>) -> Result<Signed, String> {
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
        let known = self.issuers.iter().position(|i| i.issuer == iss);
        let issuer = known.ok_or("its issuer (iss) is not configured")?;
        let algorithm = Algorithm::from_str(&header.alg).map_err(|_| "its algorithm is not known here")?;
        let candidates = self.issuers[issuer].keys.candidates(header.kid.as_deref(), algorithm)?;
        let verifies = |key: &jsonwebtoken::DecodingKey| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false)
        };
        if !candidates.iter().any(|candidate| verifies(&candidate.key)) {
            return Err("its signature is wrong".into());
        }
        Ok(Signed { issuer, kid: header.kid, claims })
    }

    fn cached(&self, key: &[u8; 32]) -> Option<Arc<Signed>> {
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

fn check_claims(claims: &Claims, issuer: &Issuer, now_s: i64) -> Result<(), String> {
    let now = now_s as f64;
    if !claims.aud.as_ref().is_some_and(|aud| names_one_of(aud, &issuer.audience)) {
        return Err("it is meant for another audience (aud)".into());
    }
    let exp = claims.exp.filter(|e| e.is_finite()).ok_or("it has no end of life (exp)")?;
    if now >= exp + LEEWAY_S {
        return Err(format!("it expired {} s ago (exp)", (now - exp) as i64));
    }
    if let Some(nbf) = claims.nbf
        && now < nbf - LEEWAY_S
    {
        return Err(format!("it is not valid for another {} s (nbf)", (nbf - now) as i64));
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

/// Whether the token is bound to the TLS peer; a binding that does not hold is an error (RFC 8705, section 3).
fn check_binding(claims: &Claims, peer_cert: Option<&[u8; 32]>) -> Result<bool, String> {
    let Some(confirmation) = &claims.cnf else { return Ok(false) };
    let Some(thumbprint) = &confirmation.x5t_s256 else {
        return Err("it is bound to a key (cnf) in a way that is not known here".into());
    };
    let Some(peer) = peer_cert else {
        return Err("it is bound to a certificate (cnf), and the caller showed none".into());
    };
    if URL_SAFE_NO_PAD.encode(peer) == *thumbprint {
        Ok(true)
    } else {
        Err("it is bound to a certificate (cnf) other than the caller's".into())
    }
}

fn principals(signed: &Signed, issuer: &Issuer, bound: bool) -> Result<Vec<Principal>, String> {
    let claims = &signed.claims;
    let (level, auth) =
        if bound { (Verified::Bound, Auth::JwtMtlsBound) } else { (Verified::Checked, Auth::Jwt) };
    let make = |iss: &str, sub: Option<&str>, level: Verified| -> Result<Principal, String> {
        let sub = sub.filter(|s| !s.is_empty()).ok_or("it names no subject (sub)")?;
        let id = token_id(iss, sub);
        if id.len() > ID_MAX {
            return Err(format!("issuer and subject together are longer than {ID_MAX} bytes"));
        }
        let (auth, from) = (Some(auth), Some(IdentityFrom::Token));
        Ok(Principal { auth, from, iss: clip(iss, CLAIM_MAX).to_owned(), ..Principal::new(id, level) })
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
    chain[0].cred = credential(signed);
    chain[0].cred_exp = claims.exp.map(|e| e as i64);
    Ok(chain)
}

/// The public name of a token: which key signed it, and a digest of its own id.
fn credential(signed: &Signed) -> String {
    let kid = signed.kid.as_deref().map(|k| format!("kid:{}", clip(k, 128)));
    let jti = signed.claims.jti.as_deref().map(|j| format!("jti-sha256:{}", hex(&sha256(j.as_bytes()))));
    [kid, jti].into_iter().flatten().collect::<Vec<_>>().join("/")
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

fn failure(claimed: Principal, reason: impl std::fmt::Display) -> Box<Failure> {
    Box::new(Failure { claimed, reason: format!("token refused: {reason}") })
}
