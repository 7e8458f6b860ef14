//! WIMSE: a workload identity token (WIT) counts with a proof of its key (WPT) that is about this request.
//!
//! By draft-ietf-wimse-wpt-02 (the proof, in `Authorization: WPT …`) and draft-ietf-wimse-workload-creds-02 (the
//! token, in `Workload-Identity-Token`). Drafts move, so nothing of it happens unless a trust domain is configured.
//! Earlier drafts carried the proof in `Workload-Proof-Token` and bound bearer tokens (`ath`): not read here.
//! Invariants: the algorithm comes from the keys; the audience is held against configured origins, never against a
//! `Host` that the caller chose; a proof is good for minutes and for one use; neither of the two is ever kept.

use crate::IdentityError;
use crate::config::{JwtIssuer, WimseConfig};
use crate::dpop::PublicKey;
use crate::identities::LEEWAY_S;
use crate::jwks::{FILE_MAX_BYTES, Key, Keys, parse_algorithms};
use crate::refusal::{Failure, FailureKind, Refusal};
use crate::replay::Replay;
use crate::request::HttpRequest;
use crate::spiffe::SpiffeId;
use crate::text::{ID_MAX, clip, hex, sha256};
use crate::tls::read_bounded;
use crate::uri;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_event::{Auth, IdentityFrom, Principal, PrincipalKind, Verified};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

/// Header of the token.
pub(crate) const WIT_HEADER: &str = "workload-identity-token";
/// Longest token or proof that is looked at, bytes.
const TOKEN_MAX_BYTES: usize = 16 << 10;
/// How far ahead a proof may end, seconds, beside the leeway for clocks.
const PROOF_LIFE_S: i64 = 300;
/// Longest id (`jti`) of a proof, bytes.
const JTI_MAX_BYTES: usize = 256;
/// Most other tokens that a proof may bind (`oth`).
const OTHERS_MAX: usize = 16;
/// Most trust domains, origins and aliases.
const CONFIGURED_MAX: usize = 1_000;

/// The configured trust domains.
#[derive(Default)]
pub(crate) struct Wimse {
    /// By trust domain, lower case.
    issuers: HashMap<String, Keys>,
    origins: Vec<String>,
    aliases: Vec<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct WitClaims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: Option<String>,
    cnf: Confirmation,
}

#[derive(Deserialize)]
struct Confirmation {
    jwk: ConfirmationKey,
}

#[derive(Deserialize)]
struct ConfirmationKey {
    alg: String,
    #[serde(flatten)]
    key: PublicKey,
}

#[derive(Deserialize)]
struct WptClaims {
    aud: String,
    exp: f64,
    jti: String,
    wth: String,
    tth: Option<String>,
    oth: Option<BTreeMap<String, String>>,
}

/// A compact JWS taken apart; nothing in it is believed yet.
struct Jws<'a, C> {
    header: Header,
    claims: C,
    message: &'a str,
    signature: &'a str,
}

/// A token that was believed.
struct Wit {
    id: String,
    trust_domain: String,
    kid: Option<String>,
    claims: WitClaims,
    key: Key,
    algorithm: Algorithm,
}

impl Wimse {
    pub(crate) fn load(config: &WimseConfig) -> Result<Wimse, IdentityError> {
        const WHAT: &str = "workload token key file";
        let wrong =
            |setting: &str, why: &str| IdentityError::Setting { setting: setting.into(), why: why.into() };
        let mut wimse = Wimse::default();
        if config.trust.is_empty() {
            return Ok(wimse);
        }
        if config.origins.is_empty() && config.aliases.is_empty() {
            let why =
                "origins or aliases are needed: a proof that is meant for somebody else must not count here";
            return Err(wrong("wimse", why));
        }
        let allowed = parse_algorithms(&JwtIssuer::default())?;
        for trust in &config.trust {
            let bytes = read_bounded(WHAT, &trust.keys, FILE_MAX_BYTES)?;
            let keys = Keys::parse(&bytes, &allowed);
            let path = trust.keys.clone();
            let keys = keys.map_err(|why| IdentityError::File { what: WHAT, path, why })?;
            let domain = trust.trust_domain.to_ascii_lowercase();
            if SpiffeId::parse(&format!("spiffe://{domain}/x")).is_err() {
                return Err(wrong("wimse: trust_domain", "is not the name of a trust domain"));
            }
            if wimse.issuers.insert(domain, keys).is_some() {
                return Err(wrong("wimse: trust_domain", "is given twice"));
            }
        }
        for origin in &config.origins {
            let plain = uri::normalise(origin).filter(|o| o.matches('/').count() == 3 && o.ends_with('/'));
            let plain =
                plain.ok_or_else(|| wrong("wimse: origins", "must be of the form https://host[:port]"))?;
            wimse.origins.push(plain.trim_end_matches('/').to_owned());
        }
        wimse.aliases.clone_from(&config.aliases);
        if wimse.issuers.len().max(wimse.origins.len()).max(wimse.aliases.len()) > CONFIGURED_MAX {
            return Err(wrong("wimse", "has more than 1,000 trust domains, origins or aliases"));
        }
        Ok(wimse)
    }

    /// Whether WIMSE is switched on.
    pub(crate) fn is_on(&self) -> bool {
        !self.issuers.is_empty()
    }

    /// Checks `proof` (the credentials of the one `Authorization: WPT`) and the token beside it.
    pub(crate) fn check(
        &self,
        proof: &[u8],
        request: &HttpRequest<'_>,
        replay: &Replay,
        now_s: i64,
    ) -> Result<Principal, Box<Failure>> {
        let refuse = |claimed: Principal, refusal: Refusal| Box::new(refusal.of("workload token", claimed));
        let token = match request.headers.get(WIT_HEADER) {
            Some(token) if request.headers.count(WIT_HEADER) == 1 => token.trim_ascii(),
            _ => {
                let why = "the proof (WPT) has not exactly one Workload-Identity-Token beside it";
                return Err(refuse(nobody(), why.into()));
            }
        };
        let jws = take_apart::<WitClaims>(token, "wit+jwt").map_err(|why| refuse(nobody(), why.into()))?;
        let claimed = claimed(&jws.claims.sub);
        let wit = self.token(jws, now_s).map_err(|refusal| refuse(claimed.clone(), refusal))?;
        self.proof(proof, token, &wit, request, replay, now_s).map_err(|refusal| refuse(claimed, refusal))?;
        Ok(principal(wit))
    }

    /// The token by itself (draft-ietf-wimse-workload-creds-02, section 5.1.4).
    fn token(&self, jws: Jws<'_, WitClaims>, now_s: i64) -> Result<Wit, Refusal> {
        let (id, trust_domain) = workload(&jws.claims.sub).ok_or("its subject (sub) names no workload")?;
        let keys = self.issuers.get(&trust_domain).ok_or("its trust domain (sub) is not configured")?;
        let algorithm = asymmetric(&jws.header.alg)?;
        let candidates = keys.candidates(jws.header.kid.as_deref(), algorithm)?;
        if !candidates.iter().any(|key| fits(&jws, key, algorithm)) {
            return Err(Refusal::new(FailureKind::Signature, "its signature is wrong"));
        }
        drop(candidates);
        check_times(&jws.claims, now_s)?;
        let confirmation = &jws.claims.cnf.jwk;
        let proof_algorithm = asymmetric(&confirmation.alg)?;
        let (key, _) = confirmation.key.read().map_err(|why| format!("its key (cnf) {why}"))?;
        if !key.may(proof_algorithm) {
            return Err("its key (cnf) may not be used with the algorithm that it names".into());
        }
        let (kid, claims) = (jws.header.kid, jws.claims);
        Ok(Wit { id, trust_domain, kid, claims, key, algorithm: proof_algorithm })
    }

    /// The proof, and that it is about this request (draft-ietf-wimse-wpt-02, section 2).
    fn proof(
        &self,
        proof: &[u8],
        token: &[u8],
        wit: &Wit,
        request: &HttpRequest<'_>,
        replay: &Replay,
        now_s: i64,
    ) -> Result<(), Refusal> {
        if proof.is_empty() {
            return Err(Refusal::new(FailureKind::Downgrade, "it was shown without its proof (WPT)"));
        }
        let jws = take_apart::<WptClaims>(proof, "wpt+jwt").map_err(|why| format!("its proof: {why}"))?;
        if Algorithm::from_str(&jws.header.alg) != Ok(wit.algorithm) {
            return Err("its proof has another algorithm than its key names (cnf)".into());
        }
        if !fits(&jws, &wit.key, wit.algorithm) {
            return Err(Refusal::new(FailureKind::Signature, "its proof has a wrong signature"));
        }
        let claims = &jws.claims;
        if claims.wth != digest_of(token) {
            return Err("its proof is for another token (wth)".into());
        }
        if !self.is_audience(&claims.aud, request) {
            return Err(Refusal::new(FailureKind::Audience, "its proof is for another address (aud)"));
        }
        let ends = check_end(claims.exp, now_s)?;
        check_bound(claims, request)?;
        if claims.jti.is_empty() || claims.jti.len() > JTI_MAX_BYTES {
            return Err(format!("its proof has no id (jti) of 1 to {JTI_MAX_BYTES} bytes").into());
        }
        replay
            .first_use([b"wpt", wit.id.as_bytes(), claims.jti.as_bytes()], ends, now_s)
            .map_err(|r| Refusal { why: format!("its proof: {}", r.why), ..r })
    }

    /// The path is the request's; whose it is, the configuration says.
    fn is_audience(&self, aud: &str, request: &HttpRequest<'_>) -> bool {
        if self.aliases.iter().any(|alias| alias == aud) {
            return true;
        }
        let Some(aud) = uri::normalise(aud) else { return false };
        let here = |origin: &String| uri::normalise(&format!("{origin}{}", request.path_and_query));
        self.origins.iter().any(|origin| here(origin).is_some_and(|here| here == aud))
    }
}

/// Other tokens of the request that the proof must hold.
fn check_bound(claims: &WptClaims, request: &HttpRequest<'_>) -> Result<(), Refusal> {
    let of = |name: &str| {
        let value = request.headers.get(name).filter(|_| request.headers.count(name) == 1);
        value.map(|value| digest_of(value.trim_ascii()))
    };
    let transaction = request.headers.count("txn-token") > 0;
    if (transaction || claims.tth.is_some()) && claims.tth != of("txn-token") {
        return Err("its proof is for another transaction token (tth)".into());
    }
    let others = claims.oth.iter().flatten();
    if claims.oth.as_ref().is_some_and(|o| o.len() > OTHERS_MAX) {
        return Err(format!("its proof binds more than {OTHERS_MAX} other tokens (oth)").into());
    }
    for (name, digest) in others {
        if name.bytes().any(|b| b.is_ascii_uppercase()) || of(name).as_ref() != Some(digest) {
            return Err("its proof is for other tokens than are here (oth)".into());
        }
    }
    Ok(())
}

fn check_times(claims: &WitClaims, now_s: i64) -> Result<(), Refusal> {
    let (now, leeway) = (now_s as f64, LEEWAY_S as f64);
    if !claims.exp.is_finite() || now >= claims.exp + leeway {
        return Err(Refusal::new(FailureKind::Expired, "it has expired (exp)"));
    }
    let begins = [claims.nbf, claims.iat].into_iter().flatten();
    match begins.into_iter().any(|begin| now < begin - leeway) {
        true => Err(Refusal::new(FailureKind::Skew, "it lies in the future (nbf, iat): clocks differ")),
        false => Ok(()),
    }
}

/// When the proof stops being accepted, Unix seconds.
fn check_end(exp: f64, now_s: i64) -> Result<i64, Refusal> {
    let (now, leeway) = (now_s as f64, LEEWAY_S as f64);
    if !exp.is_finite() || now >= exp + leeway {
        return Err(Refusal::new(FailureKind::Expired, "its proof has expired (exp)"));
    }
    if exp > now + PROOF_LIFE_S as f64 + leeway {
        return Err(format!("its proof lives for longer than {PROOF_LIFE_S} s (exp)").into());
    }
    Ok((exp as i64).saturating_add(LEEWAY_S + 1))
}

fn asymmetric(name: &str) -> Result<Algorithm, Refusal> {
    match Algorithm::from_str(name) {
        Ok(algorithm) if algorithm.family() != AlgorithmFamily::Hmac => Ok(algorithm),
        _ => Err("its algorithm is not one that is known here".into()),
    }
}

fn fits<C>(jws: &Jws<'_, C>, key: &Key, algorithm: Algorithm) -> bool {
    jsonwebtoken::crypto::verify(jws.signature, jws.message.as_bytes(), &key.key, algorithm).unwrap_or(false)
}

fn take_apart<'a, C: DeserializeOwned>(token: &'a [u8], typ: &str) -> Result<Jws<'a, C>, &'static str> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err("it is longer than 16,384 bytes");
    }
    let token = std::str::from_utf8(token).map_err(|_| "it is not text")?;
    let (message, signature) = token.rsplit_once('.').ok_or("it is not a JWT")?;
    let (header, claims) = message.split_once('.').ok_or("it is not a JWT")?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "it is not a JWT");
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_| "its header is not readable")?;
    let claims =
        serde_json::from_slice(&decode(claims)?).map_err(|_| "it lacks a claim that it must have")?;
    // A media type may be written without its `application/` (RFC 7515, section 4.1.9).
    let short = header.typ.get(..12).filter(|p| p.eq_ignore_ascii_case("application/"));
    let stated = short.and_then(|p| header.typ.get(p.len()..)).unwrap_or(&header.typ);
    if !stated.eq_ignore_ascii_case(typ) {
        return Err("it is of another type (typ)");
    }
    if header.crit.is_some() {
        return Err("it needs extensions (crit) that are not known here");
    }
    Ok(Jws { header, claims, message, signature })
}

fn digest_of(token: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(sha256(token))
}

/// The id of a workload (`spiffe:` or `wimse:`) as records have it, and its trust domain.
fn workload(sub: &str) -> Option<(String, String)> {
    let rest = sub.get(..8).filter(|p| p.eq_ignore_ascii_case("wimse://")).and_then(|p| sub.get(p.len()..));
    // Both schemes have the same authority and path.
    let id = match rest {
        Some(rest) => SpiffeId::parse(&format!("spiffe://{rest}")),
        None => SpiffeId::parse(sub),
    };
    let id = id.ok()?;
    let shown =
        if rest.is_some() { format!("wimse://{}{}", id.trust_domain(), id.path()) } else { id.to_string() };
    (shown.len() <= ID_MAX).then(|| (shown, id.trust_domain().to_owned()))
}

fn principal(wit: Wit) -> Principal {
    let kid = wit.kid.as_deref().map(|k| format!("kid:{}", clip(k, 128)));
    let jti = wit.claims.jti.as_deref().map(|j| format!("jti-sha256:{}", hex(&sha256(j.as_bytes()))));
    Principal {
        kind: Some(PrincipalKind::Workload),
        auth: Some(Auth::Wimse),
        from: Some(IdentityFrom::Token),
        iss: wit.trust_domain,
        cred: [kid, jti].into_iter().flatten().collect::<Vec<_>>().join("/"),
        cred_exp: Some(wit.claims.exp as i64),
        ..Principal::new(wit.id, Verified::Bound)
    }
}

/// What a token that was not believed says of itself.
fn claimed(sub: &str) -> Principal {
    let (auth, from) = (Some(Auth::Wimse), Some(IdentityFrom::Token));
    match workload(sub) {
        Some((id, iss)) => Principal { auth, from, iss, ..Principal::new(id, Verified::Claimed) },
        None => nobody(),
    }
}

fn nobody() -> Principal {
    Principal {
        auth: Some(Auth::Wimse),
        from: Some(IdentityFrom::Token),
        kind: Some(PrincipalKind::Anonymous),
        ..Principal::new("anon:", Verified::Claimed)
    }
}

/// Takes a token and a proof of any bytes apart, for fuzzing.
pub(crate) fn judge(data: &[u8]) {
    let _ = take_apart::<WitClaims>(data, "wit+jwt").map(|jws| workload(&jws.claims.sub));
    let _ = take_apart::<WptClaims>(data, "wpt+jwt").is_ok();
    let _ = std::str::from_utf8(data).map(workload);
}
