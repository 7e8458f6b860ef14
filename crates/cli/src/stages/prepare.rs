//! Reads and checks every file that the configuration names, before anything is written.

use crate::config::{self, Config};
use crate::exit::CliError;
use countersign_identity::{Identities, IdentityConfig, JwtIssuer, TrustBundle};
use std::sync::Arc;

/// What was read.
pub(crate) struct Prepared {
    /// Who may be calling.
    pub(crate) identities: Arc<Identities>,
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
    Ok(Prepared { identities: Arc::new(identities), webhooks })
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
                issuer: issuer.issuer.clone(),
                audience: issuer.audience.clone(),
                keys: issuer.keys.clone(),
                algorithms: issuer.algorithms.clone(),
                ..JwtIssuer::default()
            })
            .collect(),
        api_keys,
        api_key_pepper,
        api_key_header: config.api_key_header.clone(),
        ..IdentityConfig::default()
    }
}
