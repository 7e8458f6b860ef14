//! Keys of message signatures: each with one algorithm and one principal.
//!
//! Invariants: the algorithm comes from the configuration and fits the key, the message may only agree; private
//! keys are refused; a shared secret has at least 32 bytes and is never shown.

use crate::IdentityError;
use crate::config::SignatureKey;
use crate::tls::read_bounded;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::signature as rs;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Largest key file, bytes.
const FILE_MAX_BYTES: u64 = 64 << 10;
/// Shortest shared secret, bytes.
const SECRET_MIN_BYTES: usize = 32;

/// An algorithm of RFC 9421, section 3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    RsaPssSha512,
    RsaV15Sha256,
    EcdsaP256Sha256,
    EcdsaP384Sha384,
    Ed25519,
    HmacSha256,
}

const NAMES: [(&str, Algorithm); 6] = [
    ("rsa-pss-sha512", Algorithm::RsaPssSha512),
    ("rsa-v1_5-sha256", Algorithm::RsaV15Sha256),
    ("ecdsa-p256-sha256", Algorithm::EcdsaP256Sha256),
    ("ecdsa-p384-sha384", Algorithm::EcdsaP384Sha384),
    ("ed25519", Algorithm::Ed25519),
    ("hmac-sha256", Algorithm::HmacSha256),
];

impl Algorithm {
    pub(crate) fn of(name: &str) -> Option<Algorithm> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    fn rsa(self) -> Option<&'static rs::RsaParameters> {
        match self {
            Algorithm::RsaPssSha512 => Some(&rs::RSA_PSS_2048_8192_SHA512),
            Algorithm::RsaV15Sha256 => Some(&rs::RSA_PKCS1_2048_8192_SHA256),
            _ => None,
        }
    }
}

/// A key, what it may do and whose it is.
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) principal: String,
    material: Material,
}

enum Material {
    /// PKCS#1 public key, uncompressed point or 32 bytes, by the algorithm.
    Public(Vec<u8>),
    /// RSA modulus and exponent.
    Numbers(Vec<u8>, Vec<u8>),
    Secret(hmac::Key),
}

impl Key {
    pub(crate) fn load(config: &SignatureKey) -> Result<Key, IdentityError> {
        const WHAT: &str = "signature key file";
        let algorithm = Algorithm::of(&config.algorithm).ok_or_else(|| IdentityError::Setting {
            setting: format!("signature key {:?}: algorithm", config.keyid),
            why: format!(
                "{:?} is not known; known are {}",
                config.algorithm,
                NAMES.map(|(n, _)| n).join(", ")
            ),
        })?;
        let bytes = read_bounded(WHAT, &config.file, FILE_MAX_BYTES)?;
        let material = parse(&bytes, algorithm).map_err(|why| IdentityError::File {
            what: WHAT,
            path: config.file.clone(),
            why: why.into(),
        })?;
        let principal = match config.principal.as_str() {
            "" => format!("key:{}", config.keyid),
            given => given.to_owned(),
        };
        Ok(Key { algorithm, principal, material })
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = |algorithm: &'static dyn rs::VerificationAlgorithm, key: &[u8]| {
            rs::UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match (&self.material, self.algorithm) {
            (Material::Secret(key), Algorithm::HmacSha256) => hmac::verify(key, message, signature).is_ok(),
            (Material::Public(key), Algorithm::Ed25519) => public(&rs::ED25519, key),
            (Material::Public(key), Algorithm::EcdsaP256Sha256) => public(&rs::ECDSA_P256_SHA256_FIXED, key),
            (Material::Public(key), Algorithm::EcdsaP384Sha384) => public(&rs::ECDSA_P384_SHA384_FIXED, key),
            (Material::Public(key), algorithm) => algorithm.rsa().is_some_and(|p| public(p, key)),
            (Material::Numbers(n, e), algorithm) => algorithm
                .rsa()
                .is_some_and(|p| rs::RsaPublicKeyComponents { n, e }.verify(p, message, signature).is_ok()),
            (Material::Secret(_), _) => false,
        }
    }
}

fn parse(bytes: &[u8], algorithm: Algorithm) -> Result<Material, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not text")?.trim();
    if text.starts_with('{') {
        return parse_jwk(text, algorithm);
    }
    if text.contains("PRIVATE KEY-----") {
        return Err("holds a private key; give the public key only");
    }
    if algorithm == Algorithm::HmacSha256 {
        let secret =
            STANDARD.decode(text).map_err(|_| "is not base64 text; a shared secret is stored in base64")?;
        return secret_of(&secret);
    }
    let (label, der) = pem(text).ok_or("is neither a JWK (JSON) nor a public key in PEM form")?;
    match (label, algorithm.rsa().is_some()) {
        ("RSA PUBLIC KEY", true) => Ok(Material::Public(der)),
        ("PUBLIC KEY", _) => parse_spki(&der, algorithm),
        _ => Err("holds another kind of key than its algorithm needs"),
    }
}

fn secret_of(secret: &[u8]) -> Result<Material, &'static str> {
    if secret.len() < SECRET_MIN_BYTES {
        return Err("holds a secret of less than 32 bytes; make one with `head -c 32 /dev/urandom | base64`");
    }
    Ok(Material::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret)))
}

/// The first PEM block: its label and its bytes.
fn pem(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.split_ascii_whitespace().collect();
    Some((label, STANDARD.decode(body).ok()?))
}

fn parse_spki(der: &[u8], algorithm: Algorithm) -> Result<Material, &'static str> {
    const BAD: &str = "holds a public key that is not readable";
    let (_, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| BAD)?;
    let curve = spki.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).map(|o| o.to_id_string());
    let fits = match (spki.algorithm.algorithm.to_id_string().as_str(), curve.as_deref()) {
        // rsaEncryption, id-RSASSA-PSS
        ("1.2.840.113549.1.1.1", _) => algorithm.rsa().is_some(),
        ("1.2.840.113549.1.1.10", _) => algorithm == Algorithm::RsaPssSha512,
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => algorithm == Algorithm::EcdsaP256Sha256,
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => algorithm == Algorithm::EcdsaP384Sha384,
        ("1.3.101.112", _) => algorithm == Algorithm::Ed25519,
        _ => false,
    };
    if fits {
        Ok(Material::Public(spki.subject_public_key.data.to_vec()))
    } else {
        Err("holds another kind of key than its algorithm needs")
    }
}

fn parse_jwk(text: &str, algorithm: Algorithm) -> Result<Material, &'static str> {
    let jwk: serde_json::Value = serde_json::from_str(text).map_err(|_| "is not JSON")?;
    let member = |name: &str| jwk.get(name).and_then(|v| v.as_str()).unwrap_or_default();
    let number = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(member(name)).map_err(|_| "has a member that is not base64url")?;
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        Ok::<Vec<u8>, &'static str>(bytes.get(zeros..).unwrap_or_default().to_vec())
    };
    let bytes =
        |name: &str| URL_SAFE_NO_PAD.decode(member(name)).map_err(|_| "has a member that is not base64url");
    if member("kty") != "oct" && jwk.get("d").is_some() {
        return Err("is a private key; give the public half only");
    }
    match (member("kty"), member("crv"), algorithm) {
        ("RSA", _, a) if a.rsa().is_some() => Ok(Material::Numbers(number("n")?, number("e")?)),
        ("OKP", "Ed25519", Algorithm::Ed25519) => Ok(Material::Public(bytes("x")?)),
        ("EC", "P-256", Algorithm::EcdsaP256Sha256) | ("EC", "P-384", Algorithm::EcdsaP384Sha384) => {
            Ok(Material::Public([vec![4], bytes("x")?, bytes("y")?].concat()))
        }
        ("oct", _, Algorithm::HmacSha256) => secret_of(&bytes("k")?),
        _ => Err("is another kind of key than its algorithm needs"),
    }
}
