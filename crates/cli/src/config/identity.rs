//! How callers are known: from declared keys to types.

use super::{ConfigError, Reader, defaults};
use countersign_identity::{WimseConfig, WimseTrust};
use std::path::PathBuf;
use std::time::Duration;

/// How callers are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// Trust bundles: trust domain and PEM file.
    pub(crate) trust: Vec<(Option<String>, PathBuf)>,
    /// Token issuers.
    pub(crate) jwt: Vec<JwtIssuer>,
    /// File of API keys and file of their pepper.
    pub(crate) api_keys: Option<(PathBuf, PathBuf)>,
    /// Header that carries an API key.
    pub(crate) api_key_header: String,
    /// Keys of callers that sign their requests.
    pub(crate) signatures: Vec<SignatureKey>,
    /// What is asked of such signatures.
    pub(crate) signature: SignatureRules,
    /// DPoP proofs must hold a nonce of ours.
    pub(crate) dpop_nonce: bool,
    /// How old a DPoP proof may be.
    pub(crate) dpop_window: Duration,
    /// Memory for used proofs and signatures, bytes.
    pub(crate) dpop_memory: u64,
    /// WIMSE workload tokens.
    pub(crate) wimse: WimseConfig,
    /// Endpoint of the SPIFFE Workload API.
    pub(crate) workload_api: Option<String>,
    /// Proxies that are believed about their callers: addresses, networks, or principals.
    pub(crate) forwarders: Vec<String>,
}

/// One key of a caller that signs its requests.
#[derive(Clone, Debug)]
pub(crate) struct SignatureKey {
    /// keyid of its signatures.
    pub(crate) keyid: String,
    /// Signature algorithm.
    pub(crate) algorithm: String,
    /// File with the key.
    pub(crate) file: PathBuf,
    /// Id of the principal; empty = from the keyid.
    pub(crate) principal: String,
}

/// What is asked of signatures.
#[derive(Clone, Debug, Default)]
pub(crate) struct SignatureRules {
    /// What they must cover; empty = method and target.
    pub(crate) components: Vec<String>,
    /// How old they may be.
    pub(crate) max_age: Duration,
    /// Only those with this tag.
    pub(crate) tag: Option<String>,
    /// They must have a nonce.
    pub(crate) nonce: bool,
}

/// One token issuer.
#[derive(Clone, Debug)]
pub(crate) struct JwtIssuer {
    /// iss.
    pub(crate) issuer: String,
    /// Accepted aud values.
    pub(crate) audience: Vec<String>,
    /// JWKS or PEM file.
    pub(crate) keys: Option<PathBuf>,
    /// Address of its JWKS; `None` without `keys` = found by OpenID Connect Discovery.
    pub(crate) jwks_url: Option<String>,
    /// Authorities of that server.
    pub(crate) jwks_ca: Option<PathBuf>,
    /// Accepted algorithms.
    pub(crate) algorithms: Vec<String>,
    /// Name of the Kubernetes cluster that it is.
    pub(crate) cluster: Option<String>,
}

impl Reader<'_> {
    pub(super) fn identity(&self) -> Result<Identity, ConfigError> {
        let api_keys = self.path("identity.api_keys").map(|keys| {
            let pepper =
                self.path("identity.api_key_pepper").unwrap_or_else(|| keys.with_extension("pepper"));
            (keys, pepper)
        });
        Ok(Identity {
            trust: self.each("identity.trust", |at| {
                Ok((self.text(&format!("{at}.trust_domain")), self.resolve(self.need(at, "ca"))))
            })?,
            jwt: self.each("identity.jwt", |at| self.jwt(at))?,
            signatures: self.each("identity.signature", |at| {
                Ok(SignatureKey {
                    keyid: self.need(at, "keyid"),
                    algorithm: self.need(at, "algorithm"),
                    file: self.resolve(self.need(at, "key")),
                    principal: self.text(&format!("{at}.principal")).unwrap_or_default(),
                })
            })?,
            signature: SignatureRules {
                components: self.texts("identity.signature_components", &[]),
                max_age: self.span("identity.signature_max_age", 300_000),
                tag: self.text("identity.signature_tag"),
                nonce: self.on("identity.signature_nonce"),
            },
            dpop_nonce: self.on("identity.dpop_nonce"),
            dpop_window: self.span("identity.dpop_window", 60_000),
            dpop_memory: self.number("identity.dpop_memory", 64 << 20),
            wimse: WimseConfig {
                trust: self.each("identity.wimse", |at| {
                    let keys = self.resolve(self.need(at, "keys"));
                    Ok(WimseTrust { trust_domain: self.need(at, "trust_domain"), keys })
                })?,
                origins: self.texts("identity.wimse_origins", &[]),
                aliases: self.texts("identity.wimse_aliases", &[]),
            },
            workload_api: self.text("identity.workload_api"),
            forwarders: self.texts("identity.forwarders", &[]),
            api_keys,
            api_key_header: self
                .text("identity.api_key_header")
                .unwrap_or_else(|| defaults::API_KEY_HEADER.into()),
        })
    }

    fn jwt(&self, at: &str) -> Result<JwtIssuer, ConfigError> {
        let issuer = JwtIssuer {
            issuer: self.need(at, "issuer"),
            audience: self.texts(&format!("{at}.audience"), &[]),
            keys: self.path(&format!("{at}.keys")),
            cluster: self.text(&format!("{at}.cluster")),
            jwks_url: self.text(&format!("{at}.jwks_url")),
            jwks_ca: self.path(&format!("{at}.jwks_ca")),
            algorithms: self.texts(&format!("{at}.algorithms"), &defaults::JWT_ALGORITHMS),
        };
        let discovered = self.on(&format!("{at}.discover"));
        let ways = [issuer.keys.is_some(), issuer.jwks_url.is_some(), discovered];
        if ways.iter().filter(|way| **way).count() != 1 {
            return Err(self
                .settings
                .conflict(at, "an issuer needs exactly one of `keys`, `jwks_url` and `discover = true`"));
        }
        Ok(issuer)
    }
}
