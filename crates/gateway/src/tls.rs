//! What a route reads from files that may change while the gateway runs: TLS of both sides, and what it logs in with.
//!
//! A connection keeps what it began with; the next one sees the newest files that were right. Invariant: files that
//! are wrong change nothing.

use crate::config::{Listener, ListenerTls, Protocol, UpstreamTls, Workload};
use crate::error::GatewayError;
use crate::login::LoginFiles;
use crate::pump::{Route, postgres};
use countersign_identity::{
    CertificateFiles, ClientTls, ClientTlsConfig, Presented, ServerTls, ServerTlsConfig, Trusted,
};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// TLS towards a server, and the name it must show.
pub(crate) type Connector = (TlsConnector, rustls::pki_types::ServerName<'static>);

/// What the files of a listener came to.
#[derive(Default)]
pub(crate) struct RouteTls {
    /// Towards callers.
    pub(crate) acceptor: Option<TlsAcceptor>,
    /// The same without the offer of HTTP/2.
    pub(crate) acceptor_h1: Option<TlsAcceptor>,
    /// Towards the server.
    pub(crate) connector: Option<Connector>,
    /// The same with the offer of HTTP/2.
    pub(crate) connector_h2: Option<Connector>,
    /// What the gateway logs in with.
    pub(crate) login: Option<LoginFiles>,
}

/// How files looked when they were read last (inode, size, time of the last change), and the serial numbers of
/// what the Workload API had given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<(u64, u64, i64, i64)>>, Vec<(u64, bool)>);

impl Stamp {
    /// How the files of `listener` look now.
    pub(crate) fn of(listener: &Listener, more: &[(PathBuf, PathBuf)]) -> Stamp {
        let look = |path: &PathBuf| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
        };
        let more = more.iter().flat_map(|(cert, key)| [cert.clone(), key.clone()]);
        let given = workloads(listener).map(|w| (w.source.serial(), w.source.is_ready())).collect();
        Stamp(files(listener).into_iter().chain(more).map(|path| look(&path)).collect(), given)
    }
}

fn workloads(listener: &Listener) -> impl Iterator<Item = &Workload> {
    let own = listener.tls.iter().filter_map(|tls| tls.workload.as_ref());
    own.chain(listener.upstream.tls.iter().filter_map(|tls| tls.workload.as_ref()))
}

fn files(listener: &Listener) -> Vec<PathBuf> {
    let mut files = LoginFiles::paths(listener);
    if let Some(tls) = &listener.tls {
        files.extend([tls.cert.clone(), tls.key.clone()]);
        files.extend(tls.client_ca.iter().cloned());
    }
    if let Some(tls) = &listener.upstream.tls {
        files.extend(tls.ca.iter().cloned());
        files.extend(tls.identity.iter().flat_map(|(cert, key)| [cert.clone(), key.clone()]));
    }
    files
}

/// A listener, and how its files looked when they were read last (or tried).
pub(crate) struct Followed {
    listener: Listener,
    /// Certificates and keys beside its own.
    more: Vec<(PathBuf, PathBuf)>,
    route: Arc<Route>,
    seen: Mutex<Stamp>,
}

impl Followed {
    pub(crate) fn new(
        listener: Listener,
        more: Vec<(PathBuf, PathBuf)>,
        route: Arc<Route>,
        seen: Stamp,
    ) -> Followed {
        Followed { listener, more, route, seen: Mutex::new(seen) }
    }
}

/// The certificate files of a gateway's listeners. Cheap to clone.
#[derive(Clone)]
pub struct TlsFiles(Arc<Vec<Followed>>);

impl TlsFiles {
    pub(crate) fn new(followed: Vec<Followed>) -> TlsFiles {
        TlsFiles(Arc::new(followed))
    }

    /// Reads certificates, keys and authorities again where a listener's files have changed. New connections see
    /// the new ones; open connections keep theirs. Gives what was tried, by listener; files that are wrong leave
    /// what was in force, and are tried again when they change.
    pub fn reload(&self) -> Vec<(String, Result<(), GatewayError>)> {
        let mut tried = Vec::new();
        for Followed { listener, more, route, seen } in self.0.iter() {
            let now = Stamp::of(listener, more);
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                continue;
            }
            *seen = now;
            let result = RouteTls::read(listener, more).map(|tls| route.tls.store(Arc::new(tls)));
            tried.push((listener.name.clone(), result));
        }
        tried
    }
}

impl RouteTls {
    /// Reads the files of `listener`; `more`: certificates and keys beside its own.
    ///
    /// # Errors
    /// The first file or name that cannot be used.
    pub(crate) fn read(listener: &Listener, more: &[(PathBuf, PathBuf)]) -> Result<RouteTls, GatewayError> {
        let identity = |source| GatewayError::Identity { listener: listener.name.clone(), source };
        let mut out = RouteTls { login: LoginFiles::read(listener)?, ..RouteTls::default() };
        if let Some(tls) = &listener.tls {
            let built = ServerTls::new(towards_callers(tls, more)).and_then(|tls| tls.config_or_refusing());
            let config = built.map_err(identity)?;
            let config = postgres::accepting(listener, config);
            let mut offering = (*config).clone();
            if listener.protocol != Protocol::Postgres {
                offering.alpn_protocols = alpn(listener.protocol);
            }
            if matches!(listener.protocol, Protocol::Auto | Protocol::Mcp) {
                out.acceptor_h1 = Some(TlsAcceptor::from(config));
            }
            out.acceptor = Some(TlsAcceptor::from(Arc::new(offering)));
        }
        if let Some(tls) = &listener.upstream.tls {
            let built = ClientTls::new(towards_server(tls)).and_then(|tls| tls.config_or_refusing());
            let config = built.map_err(identity)?;
            let name = if tls.server_name.is_empty() { &listener.upstream.host } else { &tls.server_name };
            let name = rustls::pki_types::ServerName::try_from(name.clone()).map_err(|_| {
                let why = format!("{name} is no name that a certificate can have; set server_name");
                GatewayError::Config { listener: listener.name.clone(), why }
            })?;
            let mut offering = (*config).clone();
            offering.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let connector = TlsConnector::from(postgres::connecting(listener, config));
            out.connector = Some((connector, name.clone()));
            out.connector_h2 = Some((TlsConnector::from(Arc::new(offering)), name));
        }
        Ok(out)
    }
}

/// TLS with all certificates; the client's server name chooses one, and the listener's own is for the rest.
fn towards_callers(tls: &ListenerTls, more: &[(PathBuf, PathBuf)]) -> ServerTlsConfig {
    let own = CertificateFiles { cert: tls.cert.clone(), key: tls.key.clone() };
    let more = more.iter().map(|(cert, key)| CertificateFiles { cert: cert.clone(), key: key.clone() });
    let files = || Presented::Files(std::iter::once(own).chain(more).collect());
    ServerTlsConfig {
        presented: shown(tls.workload.as_ref()).unwrap_or_else(files),
        trusted: trusted(tls.workload.as_ref(), &tls.client_ca),
        client_auth: tls.client_auth,
        alpn: vec![b"http/1.1".to_vec()],
    }
}

fn towards_server(tls: &UpstreamTls) -> ClientTlsConfig {
    let files = tls
        .identity
        .as_ref()
        .map(|(cert, key)| Presented::Files(vec![CertificateFiles { cert: cert.clone(), key: key.clone() }]));
    ClientTlsConfig {
        presented: shown(tls.workload.as_ref()).or(files),
        trusted: trusted(tls.workload.as_ref(), &tls.ca),
        spiffe: tls.spiffe.clone(),
        alpn: vec![b"http/1.1".to_vec()],
    }
}

/// Our SVID, where one is asked for.
fn shown(workload: Option<&Workload>) -> Option<Presented> {
    let workload = workload?;
    workload.svid.as_ref().map(|id| Presented::Workload(Arc::clone(&workload.source), id.clone()))
}

fn trusted(workload: Option<&Workload>, files: &[PathBuf]) -> Trusted {
    match workload {
        Some(workload) if workload.bundles => Trusted::Workload(Arc::clone(&workload.source)),
        _ => Trusted::Files(files.to_vec()),
    }
}

/// What a listener offers in TLS.
fn alpn(protocol: Protocol) -> Vec<Vec<u8>> {
    let (h2, h1) = (b"h2".to_vec(), b"http/1.1".to_vec());
    match protocol {
        Protocol::Auto | Protocol::Mcp => vec![h2, h1],
        Protocol::Http2 => vec![h2],
        Protocol::Http1 => vec![h1],
        Protocol::Postgres => vec![b"postgresql".to_vec()],
        Protocol::Redis | Protocol::Opaque => Vec::new(),
    }
}
