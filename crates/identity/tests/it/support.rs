//! Requests, and callers that prove themselves for each one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use countersign_identity::{HeaderLookup, HttpRequest};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// Headers as owned pairs, any number of each.
pub(crate) struct Lines(pub(crate) Vec<(String, Vec<u8>)>);

impl Lines {
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Lines {
        Lines(pairs.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.as_bytes().to_vec())).collect())
    }
    pub(crate) fn and(mut self, name: &str, value: &str) -> Lines {
        self.0.push((name.to_ascii_lowercase(), value.as_bytes().to_vec()));
        self
    }
}

impl HeaderLookup for Lines {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice())
    }
    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(n, _)| n == name).count()
    }
    fn values(&self, name: &str) -> Vec<&[u8]> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_slice()).collect()
    }
}

/// `GET https://gateway.example/orders/7?full=1`.
pub(crate) fn request(headers: &dyn HeaderLookup) -> HttpRequest<'_> {
    HttpRequest {
        method: "GET",
        scheme: "https",
        authority: "gateway.example",
        path_and_query: "/orders/7?full=1",
        target: None,
        headers,
        peer: None,
        body: None,
    }
}

/// A client with a P-256 key of its own.
pub(crate) struct Caller(EcdsaKeyPair);

impl Caller {
    pub(crate) fn new() -> Caller {
        let rng = SystemRandom::new();
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        Caller(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": B64.encode(x), "y": B64.encode(y) })
    }

    /// Thumbprint of its key (RFC 7638).
    pub(crate) fn jkt(&self) -> String {
        let jwk = self.jwk();
        let (x, y) = (jwk["x"].as_str().unwrap(), jwk["y"].as_str().unwrap());
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        B64.encode(ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes()))
    }

    /// A compact JWS with any header and claims.
    pub(crate) fn jws(&self, header: &Value, claims: &str) -> String {
        let input = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims));
        format!("{input}.{}", B64.encode(self.sign(input.as_bytes())))
    }
}
