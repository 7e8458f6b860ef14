//! Starting and stopping the collector's inputs: a runtime of their own, one source of the ledger each.

use crate::access::directory::ledger_error;
use crate::config::Config;
use crate::config::input::{Files, Input, InputTls, Protocol};
use crate::exit::CliError;
use countersign_collect::files::{Follower, Patience, Settings};
use countersign_collect::formats::own::OWN;
use countersign_collect::intake::{Intake, IntakeLimits, Keys, REPEATS_AGE, REPEATS_MAX};
use countersign_collect::receivers::fluent::{self, SharedKey};
use countersign_collect::receivers::{Access, Audit, EdgeCounts, Edges, Halves, Port, http, syslog};
use countersign_collect::{Counts, Keeper};
use countersign_event::{CaptureMode, Event, Verified};
use countersign_identity::{
    CertificateFiles, ClientAuth, Identities, Presented, ServerTls, ServerTlsConfig, Trusted,
};
use countersign_ledger::{Feed, Ledger, Payload, SourceInfo};
use countersign_store::Store;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Threads that receive and parse, besides those of the ledger.
const WORKERS: usize = 2;
/// Events read at once when repeats are remembered.
const CHUNK: u64 = 4_096;
/// Largest file with a shared key, bytes.
const SHARED_KEY_MAX: u64 = 4_096;
/// Longest wait for a part of the ledger while repeats are remembered.
const FEED: Duration = Duration::from_secs(5);
/// How long the store may take after a start until it shows all that the ledger holds.
const CATCH_UP: Duration = Duration::from_secs(120);

/// The running inputs.
pub(crate) struct Inputs {
    runtime: Option<Runtime>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    ports: Vec<Arc<Port>>,
    /// Edges that send here.
    edges: Vec<Arc<Edges>>,
    /// TLS of each that has it, by name.
    pub(crate) tls: Vec<(String, Arc<ServerTls>)>,
}

/// The sockets of an input.
enum Sockets {
    Http(TcpListener),
    Fluent(TcpListener, Option<SharedKey>),
    Syslog(Option<UdpSocket>, TcpListener),
    None,
}

impl Sockets {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Sockets::Http(tcp) | Sockets::Fluent(tcp, _) | Sockets::Syslog(_, tcp) => tcp.local_addr().ok(),
            Sockets::None => None,
        }
    }
}

/// Starts all inputs of `config`.
pub(crate) fn start(
    config: &Config,
    ledger: &Ledger,
    store: Option<&Store>,
    identities: &Arc<Identities>,
    say: &dyn Fn(&str),
) -> Result<Inputs, CliError> {
    let (stop, _) = watch::channel(false);
    let mut inputs = Inputs {
        runtime: None,
        stop,
        tasks: Vec::new(),
        ports: Vec::new(),
        edges: Vec::new(),
        tls: Vec::new(),
    };
    if config.inputs.is_empty() {
        return Ok(inputs);
    }
    let failed =
        |e: std::io::Error| CliError::new("cannot start the inputs", e, "close other programs and try again");
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime =
        { runtime }.worker_threads(WORKERS).thread_name("collect").enable_all().build().map_err(failed)?;
    let scanner = config.redaction.scanner().map_err(|e| CliError::Failed(e.to_string()))?;
    let keeper = Arc::new(Keeper::of(scanner, ledger.digest_key()));
    for input in &config.inputs {
        let key = shared_key(input)?;
        let sockets = match bind(input, key) {
            Ok(sockets) => sockets,
            Err(error) if input.by_default => {
                say(&format!("input      {} at {} is left out: {error}", input.name, place(input)));
                continue;
            }
            Err(error) => {
                let what = format!("cannot listen on {} for input `{}`", place(input), input.name);
                return Err(CliError::new(what, error, "choose another port, or stop what uses this one"));
            }
        };
        let address = sockets.address().map_or_else(|| place(input), |address| address.to_string());
        let tls = input.tls.as_ref().map(tls).transpose()?;
        if let Some(tls) = &tls {
            inputs.tls.push((input.name.clone(), Arc::clone(tls)));
        }
        let agent = config.agent(&format!("input:{}", input.name));
        let intake = Intake::new(super::ledger::source(ledger, &agent)?, IntakeLimits::default());
        let mut halves = Halves::default();
        if !matches!(input.protocol, Protocol::Syslog(_)) {
            remember(&intake, &agent, ledger, store, &mut halves)?;
        }
        let port = Arc::new(port(input, intake, &keeper, identities)?);
        inputs.ports.push(Arc::clone(&port));
        if let Protocol::Files(files) = &input.protocol {
            follow(&mut inputs, &runtime, port, files, &config.data)?;
        } else if let Protocol::Nats(nats) = &input.protocol {
            let task = super::fetch::nats(&runtime, port, nats, inputs.stop.subscribe())?;
            inputs.tasks.push(task);
        } else if let Protocol::Kafka(kafka) = &input.protocol {
            let task = super::fetch::kafka(&runtime, port, kafka, inputs.stop.subscribe())?;
            inputs.tasks.push(task);
        } else {
            let audit = input.audit.then(|| Audit { proofs: input.audit_proofs.clone() });
            let edges = matches!(input.protocol, Protocol::Edge(_))
                .then(|| Arc::new(Edges::new(ledger.clone(), input.edges.clone())));
            inputs.edges.extend(edges.clone());
            let settings = http::Settings { tls, audit, halves, edges, ..http::Settings::default() };
            serve(&mut inputs, &runtime, sockets, port, settings).map_err(failed)?;
        }
        say(&format!("{:<10} {address} ← {}", input.name, spoken(input)));
    }
    inputs.runtime = Some(runtime);
    Ok(inputs)
}

fn spoken(input: &Input) -> &'static str {
    match (&input.protocol, &input.tls) {
        (Protocol::Edge(_), _) => "edges, mutual TLS",
        (Protocol::Http(_), None) => "http: pushed records",
        (Protocol::Http(_), Some(_)) => "https: pushed records",
        (Protocol::Fluent(_), None) => "fluent forward, TCP",
        (Protocol::Fluent(_), Some(_)) => "fluent forward, TLS",
        (Protocol::Syslog(_), None) => "syslog, UDP and TCP",
        (Protocol::Syslog(_), Some(_)) => "syslog, TLS",
        (Protocol::Files(_), _) => "files that are followed",
        (Protocol::Nats(nats), _) if nats.tls.is_none() => "nats, messages that are fetched",
        (Protocol::Nats(_), _) => "nats, messages that are fetched, TLS",
        (Protocol::Kafka(kafka), _) if kafka.tls.is_none() => "kafka, records that are fetched",
        (Protocol::Kafka(_), _) => "kafka, records that are fetched, TLS",
    }
}

/// Where an input takes its records from, for people.
fn place(input: &Input) -> String {
    match &input.protocol {
        Protocol::Http(at) | Protocol::Syslog(at) | Protocol::Fluent(at) | Protocol::Edge(at) => {
            at.to_string()
        }
        Protocol::Files(files) => format!("{} pattern(s)", files.paths.len()),
        Protocol::Nats(nats) => format!("stream {}", nats.stream),
        Protocol::Kafka(kafka) => format!("{} topic(s)", kafka.topics.len()),
    }
}

/// Follows files on a thread of its own: reading waits for the disk.
fn follow(
    inputs: &mut Inputs,
    runtime: &Runtime,
    port: Arc<Port>,
    files: &Files,
    data: &Path,
) -> Result<(), CliError> {
    let settings = Settings {
        paths: files.paths.clone(),
        exclude: files.exclude.clone(),
        framing: files.framing,
        checkpoint: data.join("collect").join(format!("{}.files", file_name(&port.input.name))),
        patience: Patience::default(),
        trail: files.trail.clone(),
    };
    let follower = Follower::open(port, settings).map_err(|e| CliError::Failed(e.to_string()))?;
    let (stop, handle) = (inputs.stop.subscribe(), runtime.handle().clone());
    let task = move || handle.block_on(countersign_collect::files::run(follower, stop));
    inputs.tasks.push(runtime.spawn_blocking(task));
    Ok(())
}

/// An input's name as the name of a file: other bytes than letters, digits, `-` and `_` in hexadecimal.
fn file_name(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") })
        .collect()
}

/// The key in the file that the configuration names.
fn shared_key(input: &Input) -> Result<Option<SharedKey>, CliError> {
    let Some(path) = &input.shared_key else { return Ok(None) };
    let text = crate::config::read_bounded(path, SHARED_KEY_MAX)?;
    match SharedKey::new(text.as_bytes()) {
        Some(key) => Ok(Some(key)),
        None => Err(CliError::new(
            format!("cannot use the shared key in {}", path.display()),
            "it is empty",
            "put the same text there that the senders have",
        )),
    }
}

fn bind(input: &Input, key: Option<SharedKey>) -> std::io::Result<Sockets> {
    let Some(listen) = input.protocol.listen() else { return Ok(Sockets::None) };
    let tcp = TcpListener::bind(listen)?;
    tcp.set_nonblocking(true)?;
    match &input.protocol {
        Protocol::Http(_) | Protocol::Edge(_) => return Ok(Sockets::Http(tcp)),
        Protocol::Fluent(_) => return Ok(Sockets::Fluent(tcp, key)),
        Protocol::Syslog(_) | Protocol::Files(_) | Protocol::Nats(_) | Protocol::Kafka(_) => {}
    }
    // Port 0 = any: both get the same one.
    let udp = if input.tls.is_none() { Some(UdpSocket::bind(tcp.local_addr()?)?) } else { None };
    if let Some(udp) = &udp {
        udp.set_nonblocking(true)?;
    }
    Ok(Sockets::Syslog(udp, tcp))
}

fn serve(
    inputs: &mut Inputs,
    runtime: &Runtime,
    sockets: Sockets,
    port: Arc<Port>,
    settings: http::Settings,
) -> std::io::Result<()> {
    let _here = runtime.enter();
    let stop = || inputs.stop.subscribe();
    match sockets {
        Sockets::Http(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            inputs.tasks.push(runtime.spawn(http::serve(listener, port, settings, stop())));
        }
        Sockets::Fluent(listener, key) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            inputs.tasks.push(runtime.spawn(fluent::serve(listener, port, settings, key, stop())));
        }
        Sockets::Syslog(udp, tcp) => {
            if let Some(udp) = udp {
                let udp = tokio::net::UdpSocket::from_std(udp)?;
                inputs.tasks.push(runtime.spawn(syslog::udp(udp, Arc::clone(&port), stop())));
            }
            let tcp = tokio::net::TcpListener::from_std(tcp)?;
            inputs.tasks.push(runtime.spawn(syslog::tcp(tcp, port, settings, stop())));
        }
        Sockets::None => {}
    }
    Ok(())
}

fn port(
    input: &Input,
    intake: Intake,
    keeper: &Arc<Keeper>,
    identities: &Arc<Identities>,
) -> Result<Port, CliError> {
    let own = input.format_file.as_deref().map(crate::config::own::read).transpose()?.map(Arc::new);
    // Inside what the input's format or protocol carries, or the records themselves.
    let carried = input.format.is_some() || matches!(input.protocol, Protocol::Syslog(_));
    let (format, inner) = match &own {
        None => (input.format, None),
        Some(_) if carried => (input.format, Some(&OWN)),
        Some(_) => (Some(&OWN), None),
    };
    Ok(Port {
        input: countersign_collect::Input {
            realm: input.realm.clone(),
            level: if input.asserted { Verified::Asserted } else { Verified::Claimed },
            mode: match input.protocol {
                Protocol::Files(_) => CaptureMode::File,
                Protocol::Nats(_) | Protocol::Kafka(_) => CaptureMode::Pull,
                _ => CaptureMode::Push,
            },
            keep_raw: input.keep_raw,
            inner,
            own,
            ..countersign_collect::Input::new(&input.name)
        },
        format,
        intake,
        keeper: Arc::clone(keeper),
        access: Access { identities: Some(Arc::clone(identities)), required: input.required },
    })
}

fn tls(tls: &InputTls) -> Result<Arc<ServerTls>, CliError> {
    let files = CertificateFiles { cert: tls.cert.clone(), key: tls.key.clone() };
    let setup = ServerTlsConfig {
        presented: Presented::Files(vec![files]),
        trusted: Trusted::Files(tls.client_ca.iter().cloned().collect()),
        client_auth: match (tls.client_auth.as_str(), &tls.client_ca) {
            ("none", _) | (_, None) => ClientAuth::None,
            ("required", _) => ClientAuth::Required,
            _ => ClientAuth::Optional,
        },
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    ServerTls::new(setup).map(Arc::new).map_err(|e| CliError::Failed(e.to_string()))
}

/// Tells an intake what an earlier process of its input recorded, so that a sender which got no answer may send
/// again: the newest events that could still be asked about, oldest first. Halves of calls that wait for the other
/// one go to `halves`.
fn remember(
    intake: &Intake,
    agent: &str,
    ledger: &Ledger,
    store: Option<&Store>,
    halves: &mut Halves,
) -> Result<(), CliError> {
    // By its runs, not by their records: the last run may have died before its first one, those before it have not.
    let ran = |source: &SourceInfo| source.agent == agent && (source.boot_epoch > 1 || source.last_seq > 0);
    if !ledger.sources().iter().any(ran) {
        return Ok(());
    }
    let oldest = u64::try_from(crate::access::time::now_ns()).unwrap_or(0);
    let oldest = oldest.saturating_sub(REPEATS_AGE.as_nanos() as u64);
    let mut keys = Keys::default();
    let mut take = |event: &Event| {
        if event.core.agent == agent && event.core.t_obs >= oldest {
            keys.next(event).into_iter().for_each(|key| intake.remember(key));
            halves.take(event);
        }
    };
    let size = ledger.size();
    match store {
        Some(store) => {
            if !store.wait_visible(size, CATCH_UP) {
                let what =
                    "cannot tell what was recorded before: the store has not caught up with the ledger";
                return Err(CliError::new(what, format!("{} of {size}", store.visible()), "start again"));
            }
            let mut at = size.saturating_sub(REPEATS_MAX as u64);
            while at < size {
                let to = (at + CHUNK).min(size);
                let records = store.scan(at, to).map_err(crate::access::directory::store_error)?;
                for record in records {
                    if let Payload::Event { event, .. } = &record.payload {
                        take(event);
                    }
                }
                at = to;
            }
        }
        None => {
            let mut reader = ledger.reader(size.saturating_sub(REPEATS_MAX as u64));
            while reader.position() < size {
                let Some(feed) = reader.next(FEED).map_err(ledger_error)? else { break };
                let Feed::Batch(batch) = feed else { continue };
                for record in &batch.records {
                    if let Payload::Event { event, .. } = &record.payload {
                        take(event);
                    }
                }
            }
        }
    }
    Ok(())
}

impl Inputs {
    /// Stops accepting, finishes what is in flight, gives the counters in one line; `None` without inputs.
    pub(crate) fn stop(mut self) -> Option<String> {
        let runtime = self.runtime.take()?;
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            // A task that panicked has nothing in flight.
            let _ = runtime.block_on(task);
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
        let sum =
            |of: fn(&Counts) -> u64| self.ports.iter().map(|port| of(&port.intake.counts())).sum::<u64>();
        let from_edges =
            |of: fn(&EdgeCounts) -> u64| -> u64 { self.edges.iter().map(|edges| of(&edges.counts())).sum() };
        let edges = match self.edges.is_empty() {
            true => String::new(),
            false => format!(
                "; from edges {} recorded, {} lost there, {} refused",
                from_edges(|c| c.recorded),
                from_edges(|c| c.lost),
                from_edges(|c| c.refused)
            ),
        };
        Some(format!(
            "inputs: {} received = {} recorded + {} rejected + {} dropped; {} raw, {} in part{edges}",
            sum(|c| c.received),
            sum(|c| c.recorded),
            sum(|c| c.rejected),
            sum(|c| c.dropped),
            sum(|c| c.raw),
            sum(|c| c.partial)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_of_inputs_become_names_of_files_that_differ() {
        assert_eq!(file_name("edge-proxies_1"), "edge-proxies_1");
        assert_eq!(file_name("../a b"), "%2e%2e%2fa%20b");
        assert_ne!(file_name("a/b"), file_name("a%2fb"));
    }
}
