//! DPoP (RFC 9449): a token that is bound to a key counts only with a fresh proof of that key.
//!
//! Not the token endpoint, and no nonces of other servers. Invariants: the proof's key may sign and nothing else
//! (no private or symmetric part); the proof names this method, this address and this token; it is good for
//! minutes and for one use; nothing of a proof is kept but a digest of its id.

use crate::identities::LEEWAY_S;
use crate::jwks::{self, Key};
use crate::refusal::{FailureKind, Refusal};
use crate::replay::Replay;
use crate::request::HttpRequest;
use crate::text::sha256;
use crate::uri;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use std::str::FromStr;

/// Longest proof that is looked at, bytes.
const PROOF_MAX_BYTES: usize = 8 << 10;
/// How old a proof may be, seconds, beside the leeway for clocks.
const PROOF_LIFE_S: i64 = 60;
/// Longest id (`jti`) of a proof, bytes.
const JTI_MAX_BYTES: usize = 256;
/// A nonce of ours is good for one to two of these, seconds.
const NONCE_S: i64 = 300;
const WRONG_SIGNATURE: &str = "has a wrong signature";

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: PublicKey,
    crit: Option<serde_json::Value>,
}

/// A JWK by its members, so that one given twice is an error and not a choice.
#[derive(Deserialize)]
pub(crate) struct PublicKey {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<serde_json::Value>,
    p: Option<serde_json::Value>,
    q: Option<serde_json::Value>,
    k: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: f64,
    ath: Option<String>,
    nonce: Option<String>,
}

/// Nonces of ours (RFC 9449, section 9), without state: a keyed hash of the time.
pub(crate) struct Nonces(hmac::Key);

impl Nonces {
    pub(crate) fn new() -> Option<Nonces> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).ok()?;
        Some(Nonces(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    pub(crate) fn at(&self, now_s: i64) -> String {
        self.of_window(now_s / NONCE_S)
    }

    fn of_window(&self, window: i64) -> String {
        let tag = hmac::sign(&self.0, &window.to_be_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..18).unwrap_or_default())
    }

    fn knows(&self, nonce: &str, now_s: i64) -> bool {
        let window = now_s / NONCE_S;
        [window, window - 1].iter().any(|w| self.of_window(*w) == nonce)
    }
}

/// What a proof is held against.
pub(crate) struct Expected<'a> {
    /// Thumbprint that the token is bound to (`cnf.jkt`).
    pub(crate) jkt: &'a str,
    pub(crate) token: &'a [u8],
    pub(crate) request: &'a HttpRequest<'a>,
    pub(crate) nonces: Option<&'a Nonces>,
    /// How old a proof may be, seconds; 0 = [`PROOF_LIFE_S`].
    pub(crate) life_s: i64,
    pub(crate) now_s: i64,
}

/// Checks a proof (RFC 9449, section 4.3) and notes its use.
pub(crate) fn check(proof: &[u8], expected: &Expected<'_>, replay: &Replay) -> Result<(), Refusal> {
    let (thumbprint, claims) = verify(proof).map_err(|why| {
        let kind = if why == WRONG_SIGNATURE { FailureKind::Signature } else { FailureKind::Invalid };
        Refusal::new(kind, format!("its DPoP proof {why}"))
    })?;
    if URL_SAFE_NO_PAD.encode(thumbprint) != expected.jkt {
        return Err("its DPoP proof is by another key than it is bound to (cnf.jkt)".into());
    }
    let request = expected.request;
    if claims.htm != request.method {
        return Err("its DPoP proof is for another method (htm)".into());
    }
    let here = format!("{}://{}{}", request.scheme, request.authority, request.path_and_query);
    let here = uri::normalise(&here).ok_or("the request's own address is out of form")?;
    if uri::normalise(&claims.htu) != Some(here) {
        return Err("its DPoP proof is for another address (htu)".into());
    }
    if claims.ath.as_deref() != Some(&URL_SAFE_NO_PAD.encode(sha256(expected.token))) {
        return Err("its DPoP proof is for another token (ath)".into());
    }
    let life_s = if expected.life_s > 0 { expected.life_s } else { PROOF_LIFE_S };
    let iat = check_time(claims.iat, life_s, expected.now_s)?;
    if let Some(nonces) = expected.nonces
        && !claims.nonce.as_deref().is_some_and(|n| nonces.knows(n, expected.now_s))
    {
        return Err("its DPoP proof lacks a nonce of ours".into());
    }
    if claims.jti.is_empty() || claims.jti.len() > JTI_MAX_BYTES {
        return Err(format!("its DPoP proof has no id (jti) of 1 to {JTI_MAX_BYTES} bytes").into());
    }
    let expires_s = iat.saturating_add(life_s.saturating_add(LEEWAY_S + 1));
    replay
        .first_use([b"dpop", &thumbprint, claims.jti.as_bytes()], expires_s, expected.now_s)
        .map_err(|r| Refusal { why: format!("its DPoP proof: {}", r.why), ..r })
}

fn check_time(iat: f64, life_s: i64, now_s: i64) -> Result<i64, Refusal> {
    if !iat.is_finite() {
        return Err("its DPoP proof has no time (iat)".into());
    }
    let iat = iat as i64;
    let age = now_s.saturating_sub(iat);
    if age < -LEEWAY_S {
        let why =
            format!("its DPoP proof was made {} s in the future (iat): clocks differ", age.unsigned_abs());
        return Err(Refusal::new(FailureKind::Skew, why));
    }
    if age > life_s.saturating_add(LEEWAY_S) {
        return Err(Refusal::new(FailureKind::Expired, format!("its DPoP proof is {age} s old (iat)")));
    }
    Ok(iat)
}

/// The proof's key and claims, its signature checked.
fn verify(proof: &[u8]) -> Result<([u8; 32], Claims), &'static str> {
    if proof.len() > PROOF_MAX_BYTES {
        return Err("is longer than 8,192 bytes");
    }
    let text = std::str::from_utf8(proof).map_err(|_| "is not text")?;
    let (message, signature) = text.rsplit_once('.').ok_or("is not a JWT")?;
    let (header, claims) = message.split_once('.').ok_or("is not a JWT")?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "is not a JWT");
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| "has an unreadable header")?;
    let claims: Claims =
        serde_json::from_slice(&decode(claims)?).map_err(|_| "lacks a claim (jti, htm, htu, iat)")?;
    if !header.typ.eq_ignore_ascii_case("dpop+jwt") {
        return Err("is of another type (typ)");
    }
    if header.crit.is_some() {
        return Err("needs extensions (crit) that are not known here");
    }
    let algorithm =
        Algorithm::from_str(&header.alg).map_err(|_| "has an algorithm that is not known here")?;
    if algorithm.family() == AlgorithmFamily::Hmac {
        return Err("is not signed with a private key (alg)");
    }
    let (key, thumbprint) = header.jwk.read()?;
    if !key.may(algorithm) {
        return Err("has an algorithm that its key may not be used with");
    }
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm) {
        Ok(true) => Ok((thumbprint, claims)),
        _ => Err(WRONG_SIGNATURE),
    }
}

impl PublicKey {
    /// The key, and its thumbprint (RFC 7638) over the members in their one canonical spelling.
    pub(crate) fn read(&self) -> Result<(Key, [u8; 32]), &'static str> {
        const BAD: &str = "has a key that is not usable";
        if [&self.d, &self.p, &self.q, &self.k].into_iter().any(Option::is_some) {
            return Err("holds a private or symmetric key");
        }
        let canonical = |part: &Option<String>| {
            let bytes = URL_SAFE_NO_PAD.decode(part.as_deref().ok_or(BAD)?).map_err(|_| BAD)?;
            Ok::<String, &'static str>(URL_SAFE_NO_PAD.encode(bytes))
        };
        let crv = self.crv.as_deref().unwrap_or_default();
        let members = match (self.kty.as_str(), crv) {
            ("EC", "P-256" | "P-384") => {
                vec![
                    ("crv", crv.to_owned()),
                    ("kty", "EC".into()),
                    ("x", canonical(&self.x)?),
                    ("y", canonical(&self.y)?),
                ]
            }
            ("OKP", "Ed25519") => {
                vec![("crv", crv.to_owned()), ("kty", "OKP".into()), ("x", canonical(&self.x)?)]
            }
            ("RSA", _) => vec![("e", canonical(&self.e)?), ("kty", "RSA".into()), ("n", canonical(&self.n)?)],
            _ => return Err(BAD),
        };
        let quoted: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let json = format!("{{{}}}", quoted.join(","));
        let value = serde_json::from_str(&json).map_err(|_| BAD)?;
        let key = jwks::parse_jwk(&value).ok().flatten().ok_or(BAD)?;
        Ok((key, sha256(json.as_bytes())))
    }
}

/// Takes a proof of any bytes apart, for fuzzing.
pub(crate) fn judge(proof: &[u8]) -> bool {
    verify(proof).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeaderLookup;

    /// RFC 9449, figures 12 and 13: a token and a proof for it.
    const TOKEN: &[u8] = b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    const IAT: i64 = 1_562_262_618;

    struct None_;
    impl HeaderLookup for None_ {
        fn get(&self, _: &str) -> Option<&[u8]> {
            None
        }
    }

    #[test]
    fn the_example_of_the_rfc_passes_once_and_only_for_its_own_request() {
        crate::provider::install();
        let request = HttpRequest {
            method: "GET",
            scheme: "https",
            authority: "Resource.Example.org:443",
            path_and_query: "/protectedresource?page=2",
            target: None,
            headers: &None_,
            peer: None,
            body: None,
        };
        let replay = Replay::new(1 << 16);
        let at = |request: &HttpRequest<'_>, token, jkt, now_s| {
            check(
                PROOF.as_bytes(),
                &Expected { jkt, token, request, nonces: None, life_s: 0, now_s },
                &replay,
            )
        };
        let why = |r: Result<(), Refusal>| r.unwrap_err();
        assert!(why(at(&HttpRequest { method: "POST", ..request }, TOKEN, JKT, IAT)).why.contains("(htm)"));
        assert!(why(at(&HttpRequest { scheme: "http", ..request }, TOKEN, JKT, IAT)).why.contains("(htu)"));
        let elsewhere = HttpRequest { path_and_query: "/other", ..request };
        assert!(why(at(&elsewhere, TOKEN, JKT, IAT)).why.contains("(htu)"));
        assert!(why(at(&request, b"other", JKT, IAT)).why.contains("(ath)"));
        assert!(why(at(&request, TOKEN, "other", IAT)).why.contains("(cnf.jkt)"));
        assert_eq!(why(at(&request, TOKEN, JKT, IAT - 61)).kind, FailureKind::Skew);
        assert_eq!(why(at(&request, TOKEN, JKT, IAT + 121)).kind, FailureKind::Expired);
        assert_eq!(at(&request, TOKEN, JKT, IAT + 120), Ok(()));
        assert_eq!(why(at(&request, TOKEN, JKT, IAT + 120)).kind, FailureKind::Replay);
        let short =
            Expected { jkt: JKT, token: TOKEN, request: &request, nonces: None, life_s: 5, now_s: IAT + 66 };
        assert_eq!(why(check(PROOF.as_bytes(), &short, &replay)).kind, FailureKind::Expired);
    }

    #[test]
    fn a_nonce_of_ours_lives_for_one_to_two_windows() {
        let nonces = Nonces::new().unwrap();
        let nonce = nonces.at(NONCE_S * 10);
        assert!(nonces.knows(&nonce, NONCE_S * 10) && nonces.knows(&nonce, NONCE_S * 12 - 1));
        assert!(!nonces.knows(&nonce, NONCE_S * 12) && !nonces.knows("", 0));
        assert!(!Nonces::new().unwrap().knows(&nonce, NONCE_S * 10));
    }
}
