//! Where identities come from: plain data, as the configuration file has it.

use std::path::PathBuf;

/// Header that carries API keys when none is configured.
pub(crate) const API_KEY_HEADER: &str = "x-api-key";

/// All sources of identity.
#[derive(Clone, Debug, Default)]
pub struct IdentityConfig {
    /// Authorities of client certificates. Empty: a certificate that the listener's handshake accepted counts
    /// as an X.509 identity, never as a SPIFFE id.
    pub trust: Vec<TrustBundle>,
    /// Issuers of tokens.
    pub jwt: Vec<JwtIssuer>,
    /// File of API keys, one a line: `id  hmac-hex  principal-name`; made by [`crate::mint_api_key`].
    pub api_keys: Option<PathBuf>,
    /// File with the server's pepper (base64, 32 to 64 bytes); `None` = path of `api_keys` + `.pepper`.
    pub api_key_pepper: Option<PathBuf>,
    /// Header that carries API keys, any case; empty = `x-api-key`.
    pub api_key_header: String,
    /// HTTP Message Signatures (RFC 9421); without a key, signatures are left alone.
    pub signatures: SignatureConfig,
    /// DPoP proofs (RFC 9449).
    pub dpop: DpopConfig,
    /// WIMSE workload tokens with their proofs; without a trust domain, both are left alone.
    pub wimse: WimseConfig,
    /// Proxies whose word about their own callers counts as asserted (level 2).
    pub forwarders: Vec<Forwarder>,
}

/// WIMSE, by draft-ietf-wimse-wpt-02 and draft-ietf-wimse-workload-creds-02. Off unless `trust` names somebody: drafts
/// move, and what passes today may not be what the standard says.
#[derive(Clone, Debug, Default)]
pub struct WimseConfig {
    /// Whose workload identity tokens count.
    pub trust: Vec<WimseTrust>,
    /// `https://host[:port]` of this service as callers name it: what the `aud` of a proof must begin with, followed
    /// by the request's path.
    pub origins: Vec<String>,
    /// Further values of `aud` that mean this service, compared exactly.
    pub aliases: Vec<String>,
}

/// One trust domain's identity server.
#[derive(Clone, Debug, Default)]
pub struct WimseTrust {
    /// Authority of the `sub` of its tokens (`spiffe://…` or `wimse://…`).
    pub trust_domain: String,
    /// JWKS (JSON) or one public key (PEM).
    pub keys: PathBuf,
}

/// What is asked of DPoP proofs.
#[derive(Clone, Debug, Default)]
pub struct DpopConfig {
    /// A proof must hold a nonce of ours ([`crate::Identities::dpop_nonce`]), which the gateway then has to hand out.
    pub require_nonce: bool,
    /// How old a proof may be, seconds, besides the leeway between clocks; 0 = 60.
    pub proof_life_s: i64,
    /// Bytes for the ids of used proofs and signatures; 0 = 64 MiB.
    pub replay_bytes: usize,
}

/// A proxy that is believed about its own callers: by `x-forwarded-client-cert` and the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarder {
    /// The socket's address: an address, and how many of its leading bits count.
    Address(std::net::IpAddr, u8),
    /// The id of its certificate's principal (`spiffe://…` or `x509:…`).
    Principal(String),
}

/// HTTP Message Signatures (RFC 9421).
#[derive(Clone, Debug, Default)]
pub struct SignatureConfig {
    /// The keys of callers.
    pub keys: Vec<SignatureKey>,
    /// Components that a signature must cover (`@method`, `content-digest`, …). Empty: the method and the whole
    /// target.
    pub required: Vec<String>,
    /// How old a signature may be, seconds; 0 = 300.
    pub max_age_s: i64,
    /// Only signatures with this `tag` are looked at.
    pub tag: Option<String>,
    /// A signature must have a `nonce`, so that a repeated request is noticed.
    pub require_nonce: bool,
}

/// One key of a caller that signs its requests.
#[derive(Clone, Debug, Default)]
pub struct SignatureKey {
    /// The `keyid` of its signatures, compared exactly.
    pub keyid: String,
    /// `ed25519`, `ecdsa-p256-sha256`, `ecdsa-p384-sha384`, `rsa-pss-sha512`, `rsa-v1_5-sha256` or `hmac-sha256`.
    pub algorithm: String,
    /// Public key (PEM or JWK); for `hmac-sha256` the secret in base64, or a JWK.
    pub file: PathBuf,
    /// Id of the principal; empty = `key:` and the `keyid`.
    pub principal: String,
}

/// Authorities in one PEM file.
#[derive(Clone, Debug, Default)]
pub struct TrustBundle {
    /// The SPIFFE trust domain that these authorities speak for, and no other; `None` = plain X.509.
    pub trust_domain: Option<String>,
    /// PEM file.
    pub ca_pem: PathBuf,
}

/// One issuer of tokens.
#[derive(Clone, Debug, Default)]
pub struct JwtIssuer {
    /// The `iss` of its tokens, compared exactly.
    pub issuer: String,
    /// A token must name at least one of these in `aud`.
    pub audience: Vec<String>,
    /// JWKS (JSON) or one public key (PEM); empty if `remote` is given.
    pub keys: PathBuf,
    /// The issuer is a Kubernetes cluster of this name: the subject of a service account's token becomes
    /// `k8s-sa:<cluster>/<namespace>/<name>`.
    pub cluster: Option<String>,
    /// Where to fetch its JWKS, instead of `keys`.
    pub remote: Option<RemoteKeySet>,
    /// Allowed algorithms (`ES256`, `RS256`, …); empty = all that the keys' types allow, without HMAC. HMAC
    /// is allowed only by naming it here, and only with a symmetric key (`kty` `oct`).
    pub algorithms: Vec<String>,
}

/// A JWKS that is fetched and refreshed ([`crate::Refresher`]).
#[derive(Clone, Debug, Default)]
pub struct RemoteKeySet {
    /// Address of the JWKS; `None` = found by OpenID Connect Discovery under the issuer. `http` is allowed to
    /// the loopback only.
    pub jwks_url: Option<String>,
    /// Authorities (PEM) of the server; empty = the system's.
    pub ca: Vec<PathBuf>,
    /// Seconds between refreshes; 0 = 300.
    pub refresh_s: i64,
    /// Fewest seconds between two fetches, whatever tokens ask for; 0 = 10.
    pub min_interval_s: i64,
}
