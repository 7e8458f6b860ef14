//! Starting inputs that fetch from a broker. What they do is `countersign_collect::consumers`.

use crate::config::kafka::Kafka;
use crate::config::nats::{Nats, NatsTls};
use crate::exit::CliError;
use countersign_collect::consumers::kafka;
use countersign_collect::consumers::nats::{Fetcher, Settings, run};
use countersign_collect::receivers::Port;
use countersign_identity::{CertificateFiles, ClientTls, ClientTlsConfig, Presented, Trusted};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Fetches from NATS until `stop` says true. That no server answers is no reason not to start: it is tried again.
pub(super) fn nats(
    runtime: &Runtime,
    port: Arc<Port>,
    nats: &Nats,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, CliError> {
    let settings = Settings {
        tls: nats.tls.as_ref().map(tls).transpose()?,
        login: nats.login.clone(),
        create: nats.create,
        filter: nats.subject.clone(),
        ..Settings::new(nats.servers.clone(), &nats.stream, &nats.consumer)
    };
    let fetcher = Fetcher::new(port, settings).map_err(|e| CliError::Failed(e.to_string()))?;
    Ok(runtime.spawn(run(fetcher, stop)))
}

/// Fetches from Kafka until `stop` says true; as [`nats`].
pub(super) fn kafka(
    runtime: &Runtime,
    port: Arc<Port>,
    from: &Kafka,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, CliError> {
    let settings = kafka::Settings {
        tls: from.tls.as_ref().map(tls).transpose()?,
        sasl: from.sasl.clone(),
        ..kafka::Settings::new(from.brokers.clone(), from.topics.clone(), &from.group)
    };
    let fetcher = kafka::Fetcher::new(port, settings).map_err(|e| CliError::Failed(e.to_string()))?;
    Ok(runtime.spawn(kafka::run(fetcher, stop)))
}

fn tls(from: &NatsTls) -> Result<Arc<ClientTls>, CliError> {
    let own = |(cert, key)| Presented::Files(vec![CertificateFiles { cert, key }]);
    let setup = ClientTlsConfig {
        presented: from.identity.clone().map(own),
        trusted: Trusted::Files(from.ca.iter().cloned().collect()),
        spiffe: None,
        alpn: Vec::new(),
    };
    let failed = |e| {
        CliError::new(
            "cannot speak TLS to a broker",
            e,
            "correct [input.nats] or [input.kafka]; countersign check reads it",
        )
    };
    ClientTls::new(setup).map(Arc::new).map_err(failed)
}
