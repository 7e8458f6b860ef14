//! Reads and checks every file that the configuration names, before anything is written.

use crate::config::{self, Config};
use crate::exit::CliError;
use countersign_event::Mode;
use countersign_gateway::{Gateway, GatewayConfig};
use countersign_identity::{
    ClientTls, DpopConfig, Forwarder, Identities, IdentityConfig, JwtIssuer, RemoteKeySet, SignatureConfig,
    SignatureKey, TrustBundle, WorkloadHandle, WorkloadSource,
};
use countersign_policy::{Modes, Policy, PolicyConfig, PolicySet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the first answer of the Workload API; listeners that need it serve nobody until it comes.
const AGENT_WAIT: Duration = Duration::from_secs(5);

/// What was read.
pub(crate) struct Prepared {
    /// Who may be calling.
    pub(crate) identities: Arc<Identities>,
    /// May they.
    pub(crate) policy: Arc<dyn Policy>,
    /// The same, to be read again; `None` without policies.
    pub(crate) policies: Option<Arc<PolicySet>>,
    /// What the gateway is told.
    pub(crate) gateway: GatewayConfig,
    /// The agent that SVIDs and bundles come from.
    workload: Option<Arc<WorkloadSource>>,
    /// What an edge shows its core.
    pub(crate) ship: Option<Arc<ClientTls>>,
    /// Receivers of findings with their signing secrets.
    pub(crate) webhooks: Vec<countersign_alert::Webhook>,
    /// The other receivers with their secrets.
    pub(crate) receivers: Vec<countersign_alert::Receiver>,
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
    let (identities, policies, workload) = parts(config)?;
    let mut webhooks = Vec::new();
    for webhook in &config.webhooks {
        webhooks.push(countersign_alert::Webhook {
            name: String::new(),
            url: webhook.url.clone(),
            secrets: vec![webhook.secret.read()?],
        });
    }
    let gateway = gateway(config, workload.as_ref())?;
    let policy = policies.clone().map_or_else(PolicySet::allow_all, |set| set as Arc<dyn Policy>);
    let ship = super::ship::tls(config, workload.as_ref())?;
    let receivers = super::alerts::receivers(config)?;
    let identities = Arc::new(identities);
    Ok(Prepared { identities, policy, policies, gateway, workload, ship, webhooks, receivers })
}

/// Reads and compiles everything that a start would, secrets of webhooks left out. Writes, binds and asks nothing.
pub(crate) fn check(config: &Config) -> Result<(), CliError> {
    let (_, _, workload) = parts(config)?;
    super::ship::tls(config, workload.as_ref())?;
    gateway(config, workload.as_ref()).map(drop)
}

/// What the gateway is told, after a look at every file that it names.
fn gateway(config: &Config, workload: Option<&Arc<WorkloadSource>>) -> Result<GatewayConfig, CliError> {
    let settings = super::listeners::settings(config, workload);
    Gateway::check(&settings).map_err(|e| CliError::Failed(e.to_string()))?;
    Ok(settings)
}

/// What a running gateway was started with and still asks, through every failed upgrade: read again, it would be
/// another one's, and renewed for nobody.
#[derive(Clone)]
pub(crate) struct InForce {
    identities: Arc<Identities>,
    policy: Arc<dyn Policy>,
    policies: Option<Arc<PolicySet>>,
    workload: Option<Arc<WorkloadSource>>,
}

type Parts = (Identities, Option<Arc<PolicySet>>, Option<Arc<WorkloadSource>>);

fn parts(config: &Config) -> Result<Parts, CliError> {
    let failed = |e: countersign_identity::IdentityError| CliError::Failed(e.to_string());
    let now_s = crate::access::time::now_ns() / 1_000_000_000;
    let identities = Identities::new(identity(&config.identity), now_s).map_err(failed)?;
    let endpoint = config.identity.workload_api.as_deref();
    let workload =
        endpoint.map(|endpoint| WorkloadSource::new(Some(endpoint))).transpose().map_err(failed)?;
    Ok((identities, policies(config)?, workload))
}

impl Prepared {
    /// What the gateway is going to ask.
    pub(crate) fn in_force(&self) -> InForce {
        InForce {
            identities: Arc::clone(&self.identities),
            policy: Arc::clone(&self.policy),
            policies: self.policies.clone(),
            workload: self.workload.clone(),
        }
    }

    /// With what a gateway that runs already asks.
    pub(crate) fn going_on(self, kept: InForce) -> Prepared {
        let InForce { identities, policy, policies, workload } = kept;
        Prepared { identities, policy, policies, workload, ..self }
    }

    /// Follows the Workload API, where there is one, until the handle is dropped; waits for its first answer.
    pub(crate) fn follow(&self, say: &dyn Fn(&str)) -> Result<Option<WorkloadHandle>, CliError> {
        let Some(source) = &self.workload else { return Ok(None) };
        let identities = Arc::clone(&self.identities);
        let changed = move |source: &WorkloadSource| {
            if let Err(error) = identities.set_workload_authorities(source.authorities()) {
                tracing::error!(%error, "bundles of the workload api are refused; what was in force stays");
            }
        };
        let handle = source.start(changed).map_err(|e| {
            CliError::new("cannot follow the workload api", e, "close other programs and try again")
        })?;
        if source.wait_ready(AGENT_WAIT) {
            say(&format!("svid       {}", source.ids().join(", ")));
        } else {
            let why = source.status().error.unwrap_or_else(|| "it has not answered".to_owned());
            say(&format!("svid       none yet: {why}; listeners that need one serve nobody until it comes"));
        }
        Ok(Some(handle))
    }
}

/// The policies that the configuration names. A set that is broken stops the start when any listener enforces.
fn policies(config: &Config) -> Result<Option<Arc<PolicySet>>, CliError> {
    if config.policies.is_empty() {
        return Ok(None);
    }
    let named = config.listeners.iter().flat_map(|l| l.routes.iter().map(|route| &route.to));
    let routes = config.listeners.iter().chain(named).map(|l| (l.name.clone(), mode(l.policy))).collect();
    load(config, Modes { default: Mode::Observe, routes }).map(Some)
}

/// The policies for a server that `mcp wrap` starts. A set that is broken stops the start when they enforce there.
pub(crate) fn wrapped_policies(config: &Config) -> Result<Option<Arc<dyn Policy>>, CliError> {
    if config.policies.is_empty() {
        return Ok(None);
    }
    let modes = Modes { default: mode(config.wrapped), ..Modes::default() };
    load(config, modes).map(|set| Some(set as Arc<dyn Policy>))
}

fn mode(mode: config::Mode) -> Mode {
    match mode {
        config::Mode::Observe => Mode::Observe,
        config::Mode::Learn => Mode::Learn,
        config::Mode::Shadow => Mode::Shadow,
        config::Mode::Enforce => Mode::Enforce,
    }
}

fn load(config: &Config, modes: Modes) -> Result<Arc<PolicySet>, CliError> {
    let set = PolicySet::load(PolicyConfig {
        policies: config.policies.clone(),
        entities: config.entities.clone(),
        modes,
        signers: config.signers.clone(),
        ..PolicyConfig::default()
    });
    set.map(Arc::new).map_err(|e| CliError::Failed(e.to_string()))
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

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
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
                cluster: issuer.cluster.clone(),
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
            required: config.signature.components.clone(),
            max_age_s: seconds(config.signature.max_age),
            tag: config.signature.tag.clone(),
            require_nonce: config.signature.nonce,
        },
        dpop: DpopConfig {
            require_nonce: config.dpop_nonce,
            proof_life_s: seconds(config.dpop_window),
            replay_bytes: usize::try_from(config.dpop_memory).unwrap_or(usize::MAX),
        },
        forwarders: config.forwarders.iter().map(|text| forwarder(text)).collect(),
        wimse: config.wimse.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Global;

    #[test]
    fn after_a_failed_upgrade_the_gateway_keeps_the_objects_that_are_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config::resolve(&Global::default()).unwrap();
        config.data = dir.path().join("data");
        config.kek = dir.path().join("kek");
        config.identity.workload_api = Some(format!("unix://{}/agent.sock", dir.path().display()));
        config.policies = vec![dir.path().join("all.cedar")];
        std::fs::write(&config.policies[0], "@id(\"all\")\npermit(principal, action, resource);\n").unwrap();
        let first = prepare(&config).unwrap();
        let kept = first.in_force();
        let again = prepare(&config).unwrap();
        assert!(!Arc::ptr_eq(&again.identities, &first.identities), "read again, it is another one");
        let again = again.going_on(kept);
        assert!(Arc::ptr_eq(&again.identities, &first.identities));
        assert!(Arc::ptr_eq(&again.policy, &first.policy));
        assert!(Arc::ptr_eq(again.policies.as_ref().unwrap(), first.policies.as_ref().unwrap()));
        assert!(Arc::ptr_eq(again.workload.as_ref().unwrap(), first.workload.as_ref().unwrap()));
    }
}
