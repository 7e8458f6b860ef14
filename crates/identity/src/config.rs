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
    /// JWKS (JSON) or one public key (PEM).
    pub keys: PathBuf,
    /// Allowed algorithms (`ES256`, `RS256`, …); empty = all that the keys' types allow, without HMAC. HMAC
    /// is allowed only by naming it here, and only with a symmetric key (`kty` `oct`).
    pub algorithms: Vec<String>,
}
