//! The gateway from the configuration's listeners.

use crate::config::{self, Config, units};
use crate::exit::CliError;
use crate::upgrade::Relay;
use countersign_gateway::{
    BodyCapture, BodyKey, Durability, Gateway, GatewayConfig, GatewayStats, Limits, Listener, ListenerTls,
    Parts, PostgresOptions, Protocol, Purpose, Record, Recorder, Scram, Upstream, UpstreamTls,
};
use countersign_identity::{ClientAuth, Identities};
use countersign_ledger::{Ledger, SystemClock};
use countersign_policy::Policy;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// Agent of the gateway's records.
const AGENT: &str = "countersign:gateway";

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
    ledger: &Ledger,
    identities: Arc<Identities>,
    policy: Arc<dyn Policy>,
    sockets: Vec<TcpListener>,
    say: &dyn Fn(&str),
) -> Result<Started, CliError> {
    let settings = GatewayConfig {
        listeners: config.listeners.iter().map(listener).collect(),
        limits: limits(&config.limits),
        ..GatewayConfig::new(AGENT)
    };
    let relays = |promises| -> Result<Vec<Arc<Relay>>, CliError> {
        let relay = |_| {
            let source = super::ledger::source(ledger, AGENT)?;
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

fn listener(from: &config::Listener) -> Listener {
    Listener {
        name: from.name.clone(),
        listen: from.listen,
        upstream: Upstream {
            host: from.upstream.host.clone(),
            port: from.upstream.port,
            tls: from.upstream.tls.then(|| UpstreamTls {
                ca: from.upstream_ca.iter().cloned().collect(),
                server_name: String::new(),
                identity: from.upstream_identity.clone(),
            }),
        },
        service: from.service.clone(),
        tls: from.tls.as_ref().map(|tls| ListenerTls {
            cert: tls.cert.clone(),
            key: tls.key.clone(),
            client_ca: tls.client_ca.iter().cloned().collect(),
            client_auth: match (tls.client_auth.as_str(), &tls.client_ca) {
                // Without authorities there is nothing to ask callers for.
                ("none", _) | ("optional", None) => ClientAuth::None,
                ("required", _) => ClientAuth::Required,
                _ => ClientAuth::Optional,
            },
        }),
        protocol: protocol(&from.protocol),
        durability: match from.durability.as_str() {
            "strict" => Durability::Strict,
            "gap" => Durability::Gap,
            _ => Durability::Bounded,
        },
        record: match from.record.as_str() {
            "fold" => Record::Fold,
            "errors" => Record::Errors,
            _ => Record::All,
        },
        purpose: Purpose {
            text: from.purpose.0.clone(),
            header: from.purpose.1.clone(),
            ..Purpose::default()
        },
        capture: (from.capture.0 > 0).then(|| BodyCapture {
            bytes: usize::try_from(from.capture.0).unwrap_or(usize::MAX),
            one_in: u32::try_from(from.capture.1).unwrap_or(u32::MAX),
        }),
        grpc: None,
        postgres: PostgresOptions {
            parameters: from.postgres.parameters,
            clear_text: from.postgres.clear_text,
            direct_tls: from.postgres.direct_tls,
            scram: match from.postgres.scram.as_str() {
                "same-certificate" => Scram::SameCertificate,
                "unbound" => Scram::Unbound,
                _ => Scram::Unset,
            },
        },
    }
}

fn protocol(word: &str) -> Protocol {
    match word {
        "http1" => Protocol::Http1,
        "http2" => Protocol::Http2,
        "mcp" => Protocol::Mcp,
        "postgres" => Protocol::Postgres,
        "redis" => Protocol::Redis,
        "opaque" => Protocol::Opaque,
        _ => Protocol::Auto,
    }
}

fn limits(from: &config::Limits) -> Limits {
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Limits {
        connections: count(from.connections),
        connections_listener: count(from.listener_connections),
        head_time: from.head_time,
        connect: from.connect_time,
        idle: from.idle_time,
        ring: count(from.tap_buffer),
        ..Limits::default()
    }
}
