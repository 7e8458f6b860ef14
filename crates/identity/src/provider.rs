//! The `jsonwebtoken` crate's cryptography, done by ring.
//!
//! One provider for TLS, tokens and keys alike: `jsonwebtoken`'s own choices would bring a second one, and with
//! `rsa` a crate with an unfixed timing advisory (RUSTSEC-2023-0071). Invariant: a key is used only with the
//! algorithms of its own family, so an RSA or EC public key can never serve as an HMAC secret.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature as rs;

/// Makes ring the provider of `jsonwebtoken` in this process. Cheap, and harmless to repeat.
pub(crate) fn install() {
    static PROVIDER: CryptoProvider =
        CryptoProvider { signer_factory, verifier_factory, key_utils: KeyUtils::new_unimplemented() };
    // A second call finds it set, which is what we want.
    let _ = PROVIDER.install_default();
}

fn verifier_factory(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        let ok = match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => match rsa_parameters(self.algorithm) {
                Some(parameters) => {
                    let key = rs::RsaPublicKeyComponents { n: without_zeros(n), e: without_zeros(e) };
                    key.verify(parameters, message, signature).is_ok()
                }
                None => false,
            },
            DecodingKeyKind::SecretOrDer(bytes) => verify_bytes(self.algorithm, bytes, message, signature),
        };
        if ok { Ok(()) } else { Err(signature::Error::new()) }
    }
}

fn verify_bytes(algorithm: Algorithm, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    if let Some(parameters) = rsa_parameters(algorithm) {
        return rs::UnparsedPublicKey::new(parameters, key).verify(message, signature).is_ok();
    }
    let hmac = |alg| ring::hmac::verify(&ring::hmac::Key::new(alg, key), message, signature).is_ok();
    match algorithm {
        Algorithm::ES256 => {
            rs::UnparsedPublicKey::new(&rs::ECDSA_P256_SHA256_FIXED, key).verify(message, signature).is_ok()
        }
        Algorithm::ES384 => {
            rs::UnparsedPublicKey::new(&rs::ECDSA_P384_SHA384_FIXED, key).verify(message, signature).is_ok()
        }
        Algorithm::EdDSA => rs::UnparsedPublicKey::new(&rs::ED25519, key).verify(message, signature).is_ok(),
        Algorithm::HS256 => hmac(ring::hmac::HMAC_SHA256),
        Algorithm::HS384 => hmac(ring::hmac::HMAC_SHA384),
        Algorithm::HS512 => hmac(ring::hmac::HMAC_SHA512),
        _ => false,
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static rs::RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &rs::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &rs::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &rs::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &rs::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &rs::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &rs::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// JWKs in the wild carry the sign byte of DER; ring wants the bare number.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    &number[zeros..]
}

/// Signing serves the throw-away authority alone, which signs with ES256.
fn signer_factory(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    if *algorithm != Algorithm::ES256 || key.family() != AlgorithmFamily::Ec {
        return Err(ErrorKind::UnsupportedAlgorithm.into());
    }
    let rng = ring::rand::SystemRandom::new();
    let pair = rs::EcdsaKeyPair::from_pkcs8(&rs::ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes(), &rng)
        .map_err(|_| ErrorKind::InvalidEcdsaKey)?;
    Ok(Box::new(RingSigner(pair)))
}

struct RingSigner(rs::EcdsaKeyPair);

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        let rng = ring::rand::SystemRandom::new();
        self.0.sign(&rng, message).map(|s| s.as_ref().to_vec()).map_err(|_| signature::Error::new())
    }
}
