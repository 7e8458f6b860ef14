//! The keys of one token issuer, from a JWKS or a PEM file.
//!
//! Not a fetcher: that is `remote`. Invariants: each key carries the algorithms it may be used with, fixed
//! when it is loaded and never taken from a token; HMAC only where the operator named it; private keys are
//! refused, since a verifier has no business holding one.

use crate::IdentityError;
use crate::config::JwtIssuer;
use crate::refusal::{FailureKind, Refusal};
use crate::tls::read_bounded;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use std::str::FromStr;

/// Largest key file.
pub(crate) const FILE_MAX_BYTES: u64 = 1 << 20;
/// Most keys of one issuer.
const KEYS_MAX: usize = 256;
/// Longest key id.
const KID_MAX_BYTES: usize = 128;
/// Most keys tried for a token that names none.
const TRIED_MAX: usize = 4;

/// The keys of one issuer; never empty.
pub(crate) struct Keys(Vec<Key>);

/// One key and what it may do.
pub(crate) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(crate) key: DecodingKey,
}

impl Key {
    /// Whether the key may be used with this algorithm.
    pub(crate) fn may(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

impl Keys {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn load(issuer: &JwtIssuer) -> Result<Keys, IdentityError> {
        const WHAT: &str = "token key file";
        let bytes = read_bounded(WHAT, &issuer.keys, FILE_MAX_BYTES)?;
        let allowed = parse_algorithms(issuer)?;
        Keys::parse(&bytes, &allowed).map_err(|why| IdentityError::File {
            what: WHAT,
            path: issuer.keys.clone(),
            why,
        })
    }

    /// Parses a JWKS or a PEM public key, keeping of each key the `allowed` algorithms.
    pub(crate) fn parse(bytes: &[u8], allowed: &[Algorithm]) -> Result<Keys, String> {
        let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
        let mut keys = if is_json { parse_jwks(bytes)? } else { vec![parse_pem(bytes)?] };
        let found = keys.len();
        for key in &mut keys {
            key.algorithms.retain(|a| allowed.contains(a));
        }
        keys.retain(|key| !key.algorithms.is_empty());
        if keys.is_empty() {
            let note = "holds no key usable with the allowed algorithms (HMAC keys need HS256, HS384 or HS512 named in algorithms)";
            return Err(format!("{note}; keys read: {found}"));
        }
        if keys.len() > KEYS_MAX {
            return Err(format!("holds more than {KEYS_MAX} keys"));
        }
        Ok(Keys(keys))
    }

    /// The keys that a token with this header may have been signed with, best first.
    pub(crate) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Vec<&Key>, Refusal> {
        let named = self.0.iter().filter(|k| match (&k.kid, kid) {
            (Some(have), Some(want)) => have == want,
            // A key without id (PEM) can only be told by trying it; a token without one fits any single key.
            (None, _) => true,
            (Some(_), None) => self.0.len() == 1,
        });
        let named: Vec<&Key> = named.take(TRIED_MAX).collect();
        if named.is_empty() {
            return Err(match kid {
                Some(_) => Refusal::new(FailureKind::UnknownKey, "its key id (kid) is unknown"),
                None => "it names no key id (kid)".into(),
            });
        }
        let fit: Vec<&Key> = named.into_iter().filter(|k| k.algorithms.contains(&algorithm)).collect();
        if fit.is_empty() {
            return Err("its algorithm is not one that this key may be used with".into());
        }
        Ok(fit)
    }
}

/// The algorithms that an issuer's configuration allows.
pub(crate) fn parse_algorithms(issuer: &JwtIssuer) -> Result<Vec<Algorithm>, IdentityError> {
    const ASYMMETRIC: [AlgorithmFamily; 3] = [AlgorithmFamily::Rsa, AlgorithmFamily::Ec, AlgorithmFamily::Ed];
    if issuer.algorithms.is_empty() {
        return Ok(ASYMMETRIC.iter().flat_map(|f| f.algorithms().to_vec()).collect());
    }
    let parse = |name: &String| {
        Algorithm::from_str(name).map_err(|_| IdentityError::Setting {
            setting: format!("jwt issuer {:?}: algorithms", issuer.issuer),
            why: format!(
                "{name:?} is not allowed; known are RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA HS256 HS384 HS512"
            ),
        })
    };
    issuer.algorithms.iter().map(parse).collect()
}

fn parse_jwks(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let json: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| format!("is not JSON: {e}"))?;
    let keys = json
        .get("keys")
        .and_then(|k| k.as_array())
        .ok_or("has no \"keys\" array; a JWKS is {\"keys\": [...]}")?;
    if keys.len() > KEYS_MAX {
        return Err(format!("holds more than {KEYS_MAX} keys"));
    }
    let mut found = Vec::new();
    for (number, jwk) in keys.iter().enumerate() {
        if jwk.get("kty").and_then(|k| k.as_str()) != Some("oct") && jwk.get("d").is_some() {
            return Err(format!("key {number} is a private key; publish only the public half"));
        }
        // Sets of large issuers mix in kinds that we do not know; those keys cannot sign for us.
        if let Some(key) = parse_jwk(jwk)? {
            found.push(key);
        }
    }
    Ok(found)
}

pub(crate) fn parse_jwk(json: &serde_json::Value) -> Result<Option<Key>, String> {
    let Ok(jwk) = serde_json::from_value::<Jwk>(json.clone()) else { return Ok(None) };
    if jwk.common.public_key_use.as_ref().is_some_and(|u| *u != PublicKeyUse::Signature) {
        return Ok(None);
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P384 => vec![Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
        AlgorithmParameters::OctetKey(_) => AlgorithmFamily::Hmac.algorithms().to_vec(),
        _ => return Ok(None),
    };
    // The set's own words count only for narrowing: an `alg` of another family leaves nothing.
    if let Some(alg) = json.get("alg").and_then(|a| a.as_str()) {
        algorithms.retain(|a| Algorithm::from_str(alg).is_ok_and(|stated| stated == *a));
    }
    let Ok(key) = DecodingKey::from_jwk(&jwk) else { return Ok(None) };
    let kid = jwk.common.key_id;
    if kid.as_ref().is_some_and(|k| k.len() > KID_MAX_BYTES) {
        return Err(format!("a key id (kid) is longer than {KID_MAX_BYTES} bytes"));
    }
    Ok(Some(Key { kid, algorithms, key }))
}

fn parse_pem(bytes: &[u8]) -> Result<Key, String> {
    if std::str::from_utf8(bytes).is_ok_and(|t| t.contains("PRIVATE KEY-----")) {
        return Err("holds a private key; give the public key only".into());
    }
    let ec = |key: DecodingKey| {
        // 65 bytes is an uncompressed point of P-256, 97 one of P-384.
        let algorithm = match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(65) => Algorithm::ES256,
            Ok(97) => Algorithm::ES384,
            _ => return Err("holds an EC key of a curve other than P-256 and P-384".to_owned()),
        };
        Ok(Key { kid: None, algorithms: vec![algorithm], key })
    };
    if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        return ec(key);
    }
    if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
        return Ok(Key { kid: None, algorithms: vec![Algorithm::EdDSA], key });
    }
    match DecodingKey::from_rsa_pem(bytes) {
        Ok(key) => Ok(Key { kid: None, algorithms: AlgorithmFamily::Rsa.algorithms().to_vec(), key }),
        Err(_) => Err("is neither a JWKS (JSON) nor a public key in PEM form (EC, Ed25519, RSA)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asymmetric() -> Vec<Algorithm> {
        parse_algorithms(&JwtIssuer::default()).unwrap()
    }

    #[test]
    fn private_and_symmetric_keys_are_refused_unless_named() {
        let private = br#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}"#;
        assert!(Keys::parse(private, &asymmetric()).err().unwrap().contains("private key"));
        let oct = br#"{"keys":[{"kty":"oct","kid":"h","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}"#;
        assert!(Keys::parse(oct, &asymmetric()).err().unwrap().contains("HMAC"));
        assert!(Keys::parse(oct, &[Algorithm::HS256]).is_ok());
        assert!(
            Keys::parse(b"-----BEGIN PRIVATE KEY-----", &asymmetric()).err().unwrap().contains("private key")
        );
    }

    #[test]
    fn broken_files_say_what_is_wrong() {
        for (file, want) in [
            ("{", "not JSON"),
            ("{}", "no \"keys\" array"),
            (r#"{"keys":[]}"#, "no key usable"),
            ("x", "neither"),
        ] {
            let error = Keys::parse(file.as_bytes(), &asymmetric()).err().unwrap();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn an_unknown_algorithm_is_named_and_none_is_one() {
        for name in ["none", "ES999", ""] {
            let issuer = JwtIssuer { algorithms: vec![name.into()], ..JwtIssuer::default() };
            assert!(parse_algorithms(&issuer).err().unwrap().to_string().contains("is not allowed"));
        }
    }
}
