//! An edge's way to its core: reads the certificates, starts the shipper. What it does is `countersign_collect::ship`.

use super::listeners::peers;
use crate::args::Role;
use crate::config::Config;
use crate::config::edge::Edge;
use crate::exit::CliError;
use countersign_collect::ship::{Settings, Shipper, cursor};
use countersign_identity::{
    CertificateFiles, ClientTls, ClientTlsConfig, Presented, Trusted, WorkloadSource,
};
use countersign_ledger::Ledger;
use std::sync::Arc;

/// The edge of a process that ships.
fn edge(config: &Config) -> Option<&Edge> {
    config.edge.as_ref().filter(|_| config.role == Role::Edge)
}

/// Reads the certificates that `config` names; nothing where nothing is shipped.
pub(crate) fn tls(
    config: &Config,
    workload: Option<&Arc<WorkloadSource>>,
) -> Result<Option<Arc<ClientTls>>, CliError> {
    let Some(edge) = edge(config) else { return Ok(None) };
    let from = &edge.tls;
    let svid = from
        .workload
        .svid
        .as_ref()
        .zip(workload)
        .map(|(id, source)| Presented::Workload(Arc::clone(source), (id != "first").then(|| id.clone())));
    let files = from
        .identity
        .as_ref()
        .map(|(cert, key)| Presented::Files(vec![CertificateFiles { cert: cert.clone(), key: key.clone() }]));
    let trusted = match workload.filter(|_| from.workload.bundles) {
        Some(source) => Trusted::Workload(Arc::clone(source)),
        None => Trusted::Files(from.ca.iter().cloned().collect()),
    };
    let setup = ClientTlsConfig {
        presented: svid.or(files),
        trusted,
        spiffe: (!from.ids.is_empty()).then(|| peers(&from.ids)),
        alpn: vec![b"http/1.1".to_vec()],
    };
    let failed =
        |e| CliError::new("cannot ship to the core", e, "correct [edge]; countersign check reads it");
    ClientTls::new(setup).map(|tls| Some(Arc::new(tls))).map_err(failed)
}

/// Starts shipping `ledger`, where this process is an edge with a core.
pub(crate) fn start(
    config: &Config,
    tls: Option<Arc<ClientTls>>,
    ledger: &Ledger,
    say: &dyn Fn(&str),
) -> Result<Option<Shipper>, CliError> {
    let (Some(edge), Some(tls)) = (edge(config), tls) else { return Ok(None) };
    let state = config.data.join(cursor::FILE);
    let (retry_max, keep) = (edge.retry_max, edge.keep);
    let settings = Settings { retry_max, keep, ..Settings::new(edge.core.clone(), tls, state) };
    let shipper = Shipper::start(ledger.clone(), settings).map_err(|e| {
        CliError::new("cannot begin to ship", e, "see what the message names, then start again")
    })?;
    say(&format!("edge       {} ships to {}; how far: countersign status", edge.name, edge.core));
    Ok(Some(shipper))
}

/// How far it came, in one line.
pub(crate) fn counters(shipper: &Shipper) -> String {
    let status = shipper.status();
    format!("edge: shipped up to {}, {} behind", status.shipped, status.behind)
}
