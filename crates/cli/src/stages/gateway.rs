//! Starting and stopping the gateway. What it is told is made in `listeners`.

use crate::config::{Config, units};
use crate::exit::CliError;
use crate::stages::listeners::AGENT;
use crate::upgrade::Relay;
use countersign_gateway::{BodyKey, Gateway, GatewayConfig, GatewayStats, Parts, Recorder};
use countersign_identity::Identities;
use countersign_ledger::{Ledger, SystemClock};
use countersign_policy::Policy;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// A gateway whose records can be passed to another process.
pub(crate) struct Started {
    /// Traffic.
    pub(crate) gateway: Gateway,
    /// Its recorders, those of strict routes last.
    pub(crate) relays: Vec<Arc<Relay>>,
}

/// Starts all listeners, on `sockets` where one has their address.
pub(crate) fn start(
    config: &Config,
    settings: GatewayConfig,
    ledger: &Ledger,
    identities: Arc<Identities>,
    policy: Arc<dyn Policy>,
    sockets: Vec<TcpListener>,
    say: &dyn Fn(&str),
) -> Result<Started, CliError> {
    let agent = config.agent(AGENT);
    let relays = |promises| -> Result<Vec<Arc<Relay>>, CliError> {
        let relay = |_| {
            let source = super::ledger::source(ledger, &agent)?;
            Relay::new(source, promises).map_err(|e| CliError::Failed(e.to_string()))
        };
        (0..settings.data_threads()).map(relay).collect()
    };
    let bounded = relays(true)?;
    let strict = if settings.any_strict() { relays(false)? } else { Vec::new() };
    let recorders =
        |relays: &[Arc<Relay>]| relays.iter().map(|r| Arc::clone(r) as Arc<dyn Recorder>).collect();
    let parts = Parts {
        recorders: recorders(&bounded),
        strict: recorders(&strict),
        key: BodyKey::Ledger(ledger.digest_key()),
        identities,
        policy,
        clock: Arc::new(SystemClock::default()),
        sockets,
    };
    let gateway = Gateway::start_with(settings, parts).map_err(|e| CliError::Failed(e.to_string()))?;
    for (name, address) in gateway.addresses() {
        let to = config
            .listeners
            .iter()
            .find(|l| l.name == name)
            .map(|l| l.upstream.to_string())
            .unwrap_or_default();
        say(&format!("{name:<10} {address} → {to}"));
    }
    Ok(Started { gateway, relays: [bounded, strict].concat() })
}

/// Drains and stops; gives its counters.
pub(crate) fn stop(gateway: Gateway, drain: Duration) -> Vec<String> {
    let open = gateway.stats();
    gateway.shutdown(drain);
    vec![counters(&open)]
}

/// What passed, in one line.
pub(crate) fn counters(open: &GatewayStats) -> String {
    format!(
        "gateway: {} connections, {} requests, {} refused, {} opaque, {} up, {} down",
        open.connections,
        open.requests,
        open.refused,
        open.opaque,
        units::size_rough(open.bytes_up),
        units::size_rough(open.bytes_down)
    )
}
