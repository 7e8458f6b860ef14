//! Reads and checks every file that the configuration names, before anything is written.

use crate::config::{self, Config};
use crate::exit::CliError;
use countersign_event::Mode;
use countersign_identity::{
    DpopConfig, Forwarder, Identities, IdentityConfig, JwtIssuer, RemoteKeySet, SignatureConfig,
    SignatureKey, TrustBundle,
};
use countersign_policy::{Modes, Policy, PolicyConfig, PolicySet};
use std::net::IpAddr;
use std::sync::Arc;

/// What was read.
pub(crate) struct Prepared {
    /// Who may be calling.
    pub(crate) identities: Arc<Identities>,
    /// May they.
    pub(crate) policy: Arc<dyn Policy>,
    /// The same, to be read again; `None` without policies.
    pub(crate) policies: Option<Arc<PolicySet>>,
    /// Receivers of findings with their signing secrets.
    pub(crate) webhooks: Vec<countersign_alert::Webhook>,
}

/// Reads keys, bundles and secrets.
pub(crate) fn prepare(config: &Config) -> Result<Prepared, CliError> {
    if config::kek_under_data(&config.data, &config.kek) {
        return Err(CliError::new(
            format!("will not use the key {}", config.kek.display()),
            format!(
                "it lies under the data directory {}, so a copy of that directory would open itself",
                config.data.display()
            ),
            "set `kek` to a path outside of it",
        ));
    }
    let now_s = crate::access::time::now_ns() / 1_000_000_000;
    let identities =
        Identities::new(identity(&config.identity), now_s).map_err(|e| CliError::Failed(e.to_string()))?;
    let mut webhooks = Vec::new();
    for webhook in &config.webhooks {
        webhooks.push(countersign_alert::Webhook {
            name: String::new(),
            url: webhook.url.clone(),
            secrets: vec![webhook.secret.read()?],
        });
    }
    let policies = policies(config)?;
    let policy = policies.clone().map_or_else(PolicySet::allow_all, |set| set as Arc<dyn Policy>);
    Ok(Prepared { identities: Arc::new(identities), policy, policies, webhooks })
}

/// The policies that the configuration names. A set that is broken stops the start when any listener enforces.
fn policies(config: &Config) -> Result<Option<Arc<PolicySet>>, CliError> {
    if config.policies.is_empty() {
        return Ok(None);
    }
    let mode = |listener: &config::Listener| match listener.policy {
        config::Mode::Observe => Mode::Observe,
        config::Mode::Learn => Mode::Learn,
        config::Mode::Shadow => Mode::Shadow,
        config::Mode::Enforce => Mode::Enforce,
    };
    let routes = config.listeners.iter().map(|l| (l.name.clone(), mode(l))).collect();
    let set = PolicySet::load(PolicyConfig {
        policies: config.policies.clone(),
        entities: config.entities.clone(),
        modes: Modes { default: Mode::Observe, routes },
        ..PolicyConfig::default()
    });
    set.map(|set| Some(Arc::new(set))).map_err(|e| CliError::Failed(e.to_string()))
}

/// `IP`, `IP/BITS`, or the id of a certificate's principal.
fn forwarder(text: &str) -> Forwarder {
    let (address, bits) = text.split_once('/').unwrap_or((text, ""));
    match address.parse::<IpAddr>() {
        Ok(ip) => {
            let whole = if ip.is_ipv4() { 32 } else { 128 };
            Forwarder::Address(ip, bits.parse().unwrap_or(whole).min(whole))
        }
        Err(_) => Forwarder::Principal(text.to_owned()),
    }
}

fn identity(config: &config::Identity) -> IdentityConfig {
    let (api_keys, api_key_pepper) = config.api_keys.clone().unzip();
    IdentityConfig {
        trust: config
            .trust
            .iter()
            .map(|(trust_domain, ca)| TrustBundle { trust_domain: trust_domain.clone(), ca_pem: ca.clone() })
            .collect(),
        jwt: config
            .jwt
            .iter()
            .map(|issuer| JwtIssuer {
                cluster: Default::default(),
                issuer: issuer.issuer.clone(),
                audience: issuer.audience.clone(),
                keys: issuer.keys.clone().unwrap_or_default(),
                remote: issuer.keys.is_none().then(|| RemoteKeySet {
                    jwks_url: issuer.jwks_url.clone(),
                    ca: issuer.jwks_ca.iter().cloned().collect(),
                    ..RemoteKeySet::default()
                }),
                algorithms: issuer.algorithms.clone(),
            })
            .collect(),
        api_keys,
        api_key_pepper,
        api_key_header: config.api_key_header.clone(),
        signatures: SignatureConfig {
            keys: config
                .signatures
                .iter()
                .map(|key| SignatureKey {
                    keyid: key.keyid.clone(),
                    algorithm: key.algorithm.clone(),
                    file: key.file.clone(),
                    principal: key.principal.clone(),
                })
                .collect(),
            ..SignatureConfig::default()
        },
        dpop: DpopConfig { require_nonce: config.dpop_nonce, ..DpopConfig::default() },
        forwarders: config.forwarders.iter().map(|text| forwarder(text)).collect(),
        ..IdentityConfig::default()
    }
}
