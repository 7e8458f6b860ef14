//! What the gateway is told: from the configuration's types to its own. Reads no file.

use crate::config::{self, Config, FromWorkload};
use countersign_gateway::{
    BodyCapture, Durability, GatewayConfig, GrpcFields, Listener, ListenerTls, NamedRoute, PostgresLogin,
    PostgresOptions, Protocol, Record, Scram, ServerNames, Upstream, UpstreamTls, Workload,
};
use countersign_identity::{ClientAuth, SpiffePeers, WorkloadSource};
use std::sync::Arc;

/// Agent of the gateway's records.
pub(crate) const AGENT: &str = "countersign:gateway";

/// The whole gateway; `workload` = the agent that SVIDs and bundles come from.
pub(crate) fn settings(config: &Config, workload: Option<&Arc<WorkloadSource>>) -> GatewayConfig {
    GatewayConfig {
        listeners: config.listeners.iter().map(|from| listener(from, workload)).collect(),
        server_names: config.listeners.iter().filter_map(|from| server_names(from, workload)).collect(),
        limits: config.limits.gateway.clone(),
        redaction: config.redaction.clone(),
        ..GatewayConfig::new(config.agent(AGENT))
    }
}

/// What a listener does with server names, by its own name.
fn server_names(
    from: &config::Listener,
    workload: Option<&Arc<WorkloadSource>>,
) -> Option<(String, ServerNames)> {
    let certificates = from.tls.as_ref().map(|tls| tls.more.clone()).unwrap_or_default();
    let route = |route: &config::NamedRoute| NamedRoute {
        names: route.names.clone(),
        to: listener(&route.to, workload),
        certificates: Vec::new(),
        pass_through: route.pass_through,
    };
    let routes: Vec<NamedRoute> = from.routes.iter().map(route).collect();
    let says = from.only_named || !certificates.is_empty() || !routes.is_empty();
    says.then(|| (from.name.clone(), ServerNames { certificates, routes, only: from.only_named }))
}

fn listener(from: &config::Listener, workload: Option<&Arc<WorkloadSource>>) -> Listener {
    Listener {
        name: from.name.clone(),
        listen: from.listen,
        upstream: Upstream {
            host: from.upstream.host.clone(),
            port: from.upstream.port,
            tls: from.upstream.tls.then(|| upstream_tls(&from.upstream_tls, workload)),
        },
        service: from.service.clone(),
        tls: from.tls.as_ref().map(|tls| listener_tls(tls, workload)),
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
        purpose: from.purpose.clone(),
        capture: (from.capture.0 > 0).then(|| BodyCapture {
            bytes: usize::try_from(from.capture.0).unwrap_or(usize::MAX),
            one_in: u32::try_from(from.capture.1).unwrap_or(u32::MAX),
        }),
        grpc: from.grpc.clone().map(|(descriptors, fields)| GrpcFields { descriptors, fields }),
        postgres: PostgresOptions {
            parameters: from.postgres.parameters,
            clear_text: from.postgres.clear_text,
            direct_tls: from.postgres.direct_tls,
            scram: scram(&from.postgres),
        },
    }
}

fn scram(from: &config::Postgres) -> Scram {
    match from.scram.as_str() {
        "same-certificate" => Scram::SameCertificate,
        "unbound" => Scram::Unbound,
        "verify" => Scram::Verify { verifiers: from.verifiers.clone().unwrap_or_default() },
        "identity" => {
            Scram::Identity(PostgresLogin { role: from.role.clone(), password: from.password.clone() })
        }
        _ => Scram::Unset,
    }
}

fn listener_tls(from: &config::ListenerTls, workload: Option<&Arc<WorkloadSource>>) -> ListenerTls {
    let authorities = from.client_ca.is_some() || from.workload.bundles;
    ListenerTls {
        cert: from.cert.clone(),
        key: from.key.clone(),
        client_ca: from.client_ca.iter().cloned().collect(),
        client_auth: match (from.client_auth.as_str(), authorities) {
            // Without authorities there is nothing to ask callers for.
            ("none", _) | ("optional", false) => ClientAuth::None,
            ("required", _) => ClientAuth::Required,
            _ => ClientAuth::Optional,
        },
        workload: given(&from.workload, workload),
    }
}

fn upstream_tls(from: &config::UpstreamTls, workload: Option<&Arc<WorkloadSource>>) -> UpstreamTls {
    UpstreamTls {
        ca: from.ca.iter().cloned().collect(),
        server_name: from.name.clone(),
        identity: from.identity.clone(),
        workload: given(&from.workload, workload),
        spiffe: (!from.ids.is_empty()).then(|| peers(&from.ids)),
    }
}

/// Ids with a path are servers, those without one are trust domains.
pub(super) fn peers(ids: &[String]) -> SpiffePeers {
    let is_domain = |id: &&String| !id.trim_start_matches("spiffe://").trim_end_matches('/').contains('/');
    let (domains, ids): (Vec<&String>, Vec<&String>) = ids.iter().partition(is_domain);
    let domain = |id: &String| id.trim_start_matches("spiffe://").trim_end_matches('/').to_owned();
    SpiffePeers {
        ids: ids.into_iter().cloned().collect(),
        trust_domains: domains.into_iter().map(domain).collect(),
    }
}

fn given(from: &FromWorkload, source: Option<&Arc<WorkloadSource>>) -> Option<Workload> {
    let asked = from.svid.is_some() || from.bundles;
    let source = source.filter(|_| asked)?;
    let svid = from.svid.clone().map(|id| (id != "first").then_some(id));
    Some(Workload { source: Arc::clone(source), svid, bundles: from.bundles })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the gateway is told by a configuration file.
    fn told(text: &str) -> GatewayConfig {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, text).unwrap();
        let global = crate::args::Global { config: Some(file), ..Default::default() };
        let config = config::resolve(&global).unwrap();
        let endpoint = config.identity.workload_api.as_deref();
        let source = endpoint.map(|endpoint| WorkloadSource::new(Some(endpoint)).unwrap());
        settings(&config, source.as_ref())
    }

    #[test]
    fn keys_reach_the_gateway() {
        let told = told(
            "[[identity.wimse]]\ntrust_domain = \"d.org\"\nkeys = \"/w\"\n[redact]\npersonal = [\"all\"]\n[[redact.rule]]\nname = \"badge\"\nkeyword = \"BADGE-\"\npattern = \"BADGE-[0-9]+\"\n\
             [limits]\nh2_resets = 7\n[identity]\nworkload_api = \"unix:///run/agent.sock\"\n\
             [[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\nupstream = \"https://h\"\nupstream_bundles = true\n\
             upstream_name = \"name\"\npurpose_claim = \"why\"\nupstream_ids = [\"spiffe://d.org/a\"]\n[listener.grpc]\ndescriptors = \"/d.pb\"\n\
             fields = [\"order.id\"]\n[listener.tls]\nsvid = \"spiffe://d.org/gw\"\nclient_bundles = true\n\
             [[listener]]\nname = \"b\"\nlisten = \"127.0.0.1:2\"\nupstream = \"http://h\"\n[listener.tls]\n\
             cert = \"/c\"\nkey = \"/k\"\n[[listener.tls.certificate]]\ncert = \"/c2\"\nkey = \"/k2\"\n",
        );
        assert_eq!((told.limits.h2_resets, told.redaction.own.len()), (7, 1));
        assert_eq!(told.redaction.personal, countersign_gateway::PERSONAL_KINDS);
        assert_eq!(told.listeners[0].purpose.claim, "why");
        let [a, b] = told.listeners.as_slice() else { panic!("two listeners") };
        let tls = a.tls.as_ref().unwrap();
        assert_eq!(tls.client_auth, ClientAuth::Optional);
        let workload = tls.workload.as_ref().unwrap();
        assert_eq!((workload.svid.clone(), workload.bundles), (Some(Some("spiffe://d.org/gw".into())), true));
        let up = a.upstream.tls.as_ref().unwrap();
        assert_eq!((up.server_name.as_str(), up.spiffe.as_ref().unwrap().ids.len()), ("name", 1));
        assert!(up.workload.as_ref().is_some_and(|w| w.svid.is_none() && w.bundles));
        assert_eq!(a.grpc.as_ref().unwrap().fields, ["order.id"]);
        let names = &told.server_names["b"];
        assert_eq!(names.certificates, [("/c2".into(), "/k2".into())]);
        assert!(!told.server_names.contains_key("a"));
        assert!(b.tls.as_ref().unwrap().workload.is_none());
    }

    #[test]
    fn scram_choices_reach_the_gateway() {
        let with = |keys: &str| {
            let text = format!(
                "[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\nupstream = \"postgres://h\"\n[listener.postgres]\n{keys}"
            );
            told(&text).listeners.remove(0).postgres.scram
        };
        assert_eq!(
            with("scram = \"verify\"\nverifiers = \"/v\"\n"),
            Scram::Verify { verifiers: "/v".into() }
        );
        assert_eq!(
            with("scram = \"identity\"\nrole = \"gw\"\npassword_file = \"/p\"\n"),
            Scram::Identity(PostgresLogin { role: "gw".into(), password: Some("/p".into()) })
        );
        assert_eq!(with("parameters = true\n"), Scram::Unset);
    }

    #[test]
    fn ids_are_servers_or_whole_trust_domains() {
        let found =
            peers(&["spiffe://example.org/orders".into(), "spiffe://other.org".into(), "third.org".into()]);
        assert_eq!(found.ids, ["spiffe://example.org/orders"]);
        assert_eq!(found.trust_domains, ["other.org", "third.org"]);
    }
}
