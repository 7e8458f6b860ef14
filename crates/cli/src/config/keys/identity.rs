//! Keys of how callers are known, and how we are known to others.

use super::super::schema::{Key, Kind};
use super::{HOUR, MIB, SECOND, key, required};

/// In the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    required("identity.trust[].ca", Kind::Path, "PEM with the authorities of one trust domain."),
    key(
        "identity.trust[].trust_domain",
        Kind::Text,
        "",
        "SPIFFE trust domain that these authorities may speak for; absent = plain X.509 subjects only.",
    ),
    required("identity.jwt[].issuer", Kind::Text, "The iss that a token must carry."),
    required("identity.jwt[].audience", Kind::Texts, "Accepted aud values; a token must name one."),
    key(
        "identity.jwt[].cluster",
        Kind::Text,
        "",
        "The issuer is a Kubernetes cluster of this name: a service account is k8s-sa:CLUSTER/NAMESPACE/NAME.",
    ),
    key("identity.jwt[].keys", Kind::Path, "", "The issuer's public keys: a JWKS or a PEM file."),
    key(
        "identity.jwt[].jwks_url",
        Kind::Url,
        "",
        "Where its public keys are fetched from, instead of `keys`. http is allowed to this machine only.",
    ),
    key(
        "identity.jwt[].discover",
        Kind::Bool,
        "false",
        "Whether its keys are found by OpenID Connect Discovery under the issuer, instead of `keys`.",
    ),
    key(
        "identity.jwt[].jwks_ca",
        Kind::Path,
        "",
        "PEM with the authorities of the server that has the keys.",
    ),
    key(
        "identity.jwt[].algorithms",
        Kind::Texts,
        "[\"ES256\", \"RS256\", \"EdDSA\"]",
        "Accepted signature algorithms. none is never accepted.",
    ),
    key(
        "identity.api_keys",
        Kind::Path,
        "",
        "File of known API keys, one a line: id, HMAC-SHA-256 of the key, name. It holds no key in clear.",
    ),
    key(
        "identity.api_key_pepper",
        Kind::Path,
        "(beside api_keys, with .pepper)",
        "File with the secret under which the lines of api_keys are computed.",
    ),
    key("identity.api_key_header", Kind::Text, "\"x-api-key\"", "Header that carries an API key."),
    required(
        "identity.signature[].keyid",
        Kind::Text,
        "The keyid of a caller's HTTP Message Signatures (RFC 9421).",
    ),
    required(
        "identity.signature[].algorithm",
        Kind::Word(&[
            "ed25519",
            "ecdsa-p256-sha256",
            "ecdsa-p384-sha384",
            "rsa-pss-sha512",
            "rsa-v1_5-sha256",
            "hmac-sha256",
        ]),
        "The one algorithm that this key signs with.",
    ),
    required(
        "identity.signature[].key",
        Kind::Path,
        "The caller's public key, PEM or JWK; for hmac-sha256 the secret in base64.",
    ),
    key("identity.signature[].principal", Kind::Text, "(key: and the keyid)", "Id of the caller in records."),
    key(
        "identity.signature_components",
        Kind::Texts,
        "(the method and the whole target)",
        "What a signature must cover, like @method, @authority, @path, @query, content-digest.",
    ),
    key(
        "identity.signature_max_age",
        Kind::Span(SECOND, HOUR),
        "\"5m\"",
        "How old a signature may be, besides 60 s between clocks.",
    ),
    key(
        "identity.signature_tag",
        Kind::Text,
        "",
        "Only signatures with this tag are looked at; absent = those of every tag.",
    ),
    key(
        "identity.signature_nonce",
        Kind::Bool,
        "false",
        "Whether a signature must have a nonce, so that a repeated request is noticed.",
    ),
    key(
        "identity.dpop_window",
        Kind::Span(SECOND, HOUR),
        "\"1m\"",
        "How old a DPoP proof may be, besides 60 s between clocks.",
    ),
    key(
        "identity.dpop_memory",
        Kind::Size(MIB, 1024 * MIB),
        "\"64MiB\"",
        "Memory for the ids of used proofs and signatures; when it is full, further ones are refused.",
    ),
    key(
        "identity.dpop_nonce",
        Kind::Bool,
        "false",
        "Whether DPoP proofs (RFC 9449) must hold a nonce of ours.",
    ),
    key(
        "identity.workload_api",
        Kind::Text,
        "",
        "The agent of the SPIFFE Workload API: unix:///PATH, or tcp://IP:PORT on this machine. Its bundles are believed, \
         each for its own trust domain; its SVIDs are shown where listener.tls.svid or listener.upstream_svid says so.",
    ),
    required(
        "identity.wimse[].trust_domain",
        Kind::Text,
        "Trust domain whose WIMSE workload tokens count, with their proofs. By drafts of the IETF that still move: off \
         unless given.",
    ),
    required("identity.wimse[].keys", Kind::Path, "Keys of its identity server: a JWKS or a PEM file."),
    key(
        "identity.wimse_origins",
        Kind::Texts,
        "[]",
        "https://HOST of this service as callers name it: what the aud of a proof begins with, before the path.",
    ),
    key(
        "identity.wimse_aliases",
        Kind::Texts,
        "[]",
        "Further values of aud that mean this service, compared exactly.",
    ),
    key(
        "identity.forwarders",
        Kind::Texts,
        "[]",
        "Proxies that are believed, at level 2, about their own callers: IP, IP/BITS, or the id of their certificate.",
    ),
];
