//! Certificates that are loaded anew while connections live: for listeners, and towards upstreams.
//!
//! Not the handshake itself. A handle gives the newest TLS configuration for each *new* connection; those that
//! live keep theirs. Invariants: a new configuration replaces the old one as a whole or not at all, so a broken
//! file leaves the old state in force; sessions of an old configuration cannot be resumed under a new one, since
//! they were accepted by authorities that may be gone.

use crate::IdentityError;
use crate::spiffe::{self, SpiffeId};
use crate::tls::{ClientAuth, SYSTEM_CA, load_certs, load_key, load_roots, provider, tls_error};
use crate::watch::Watch;
use crate::workload::WorkloadSource;
use crate::x509;
use arc_swap::ArcSwapOption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Most certificates of one listener.
pub(crate) const CERTIFICATES_MAX: usize = 1_024;

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// What we show.
#[derive(Clone)]
pub enum Presented {
    /// Certificates in files. A listener chooses by the name that the client asks for; the first is for the rest.
    Files(Vec<CertificateFiles>),
    /// The workload API's SVID with this id; `None` = its first.
    Workload(Arc<WorkloadSource>, Option<String>),
}

/// Whom we believe.
#[derive(Clone)]
pub enum Trusted {
    /// Authorities in PEM files.
    Files(Vec<PathBuf>),
    /// The workload API's bundles, each for its own trust domain.
    Workload(Arc<WorkloadSource>),
}

/// A listener's TLS.
#[derive(Clone)]
pub struct ServerTlsConfig {
    /// Its certificates.
    pub presented: Presented,
    /// Authorities of its clients; may be empty files with [`ClientAuth::None`].
    pub trusted: Trusted,
    /// Whether a client must show a certificate.
    pub client_auth: ClientAuth,
    /// Protocols offered by ALPN, best first (`h2`, `http/1.1`, `postgresql`); empty = no ALPN.
    pub alpn: Vec<Vec<u8>>,
}

/// TLS towards an upstream.
#[derive(Clone)]
pub struct ClientTlsConfig {
    /// Our certificate, where the upstream asks for one.
    pub presented: Option<Presented>,
    /// Authorities of the upstream; empty files = the system's.
    pub trusted: Trusted,
    /// The upstream is known by its SPIFFE id, not by its host name.
    pub spiffe: Option<SpiffePeers>,
    /// Protocols asked for by ALPN, best first.
    pub alpn: Vec<Vec<u8>>,
}

/// Servers that are accepted by their SPIFFE id. With authorities from files all must be of one trust domain, which
/// those authorities then speak for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpiffePeers {
    /// These ids.
    pub ids: Vec<String>,
    /// Every id of these trust domains.
    pub trust_domains: Vec<String>,
}

/// A listener's TLS that follows its files or the workload API. Share it in an `Arc`.
pub struct ServerTls(Following<ServerTlsConfig, ServerConfig>);

/// TLS towards an upstream that follows its files or the workload API. Share it in an `Arc`.
pub struct ClientTls(Following<ClientTlsConfig, ClientConfig>);

/// What a new connection gets while there is no certificate or authority: a handshake that fails, never clear text.
trait Refusing {
    fn refusing() -> Option<Self>
    where
        Self: Sized;
}

impl Refusing for ServerConfig {
    fn refusing() -> Option<ServerConfig> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().ok()?;
        Some(builder.with_no_client_auth().with_cert_resolver(Arc::new(ByName::new(Vec::new()))))
    }
}

impl Refusing for ClientConfig {
    fn refusing() -> Option<ClientConfig> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().ok()?;
        Some(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    }
}

/// A configuration and what was built of it last.
struct Following<S, C> {
    setup: S,
    current: ArcSwapOption<Built<C>>,
    building: Mutex<()>,
    watch: Watch,
}

struct Built<C> {
    config: Arc<C>,
    /// Serial numbers of the workload APIs that it was built from.
    serials: Vec<u64>,
    /// When the first of our certificates in it ends, Unix seconds.
    expires_s: Option<i64>,
}

/// What [`Following`] needs to know of a setup.
trait Setup {
    type Config;
    fn files(&self) -> Vec<PathBuf>;
    fn sources(&self) -> Vec<&Arc<WorkloadSource>>;
    fn build(&self) -> Result<(Self::Config, Option<i64>), IdentityError>;
}

impl<S: Setup<Config = C>, C> Following<S, C> {
    /// Files must be right at once; a workload API may answer later.
    fn new(setup: S) -> Result<Following<S, C>, IdentityError> {
        let following = Following {
            setup,
            current: ArcSwapOption::empty(),
            building: Mutex::default(),
            watch: Watch::default(),
        };
        if following.setup.sources().iter().all(|s| s.is_ready()) {
            following.reload()?;
        } else {
            following.watch.mark(&following.setup.files());
        }
        Ok(following)
    }

    fn serials(&self) -> Vec<u64> {
        self.setup.sources().iter().map(|s| s.serial()).collect()
    }

    fn config(&self) -> Option<Arc<C>> {
        let current = self.current.load_full();
        let sources = self.setup.sources();
        if sources.is_empty() {
            return current.map(|built| built.config.clone());
        }
        if sources.iter().any(|s| !s.is_ready()) {
            return None;
        }
        if current.as_ref().is_none_or(|built| built.serials != self.serials()) {
            // What cannot be built leaves the old one in force; status() of the source tells.
            let _ = self.build_if(|built| built.is_none_or(|b| b.serials != self.serials()));
        }
        self.current.load_full().map(|built| built.config.clone())
    }

    fn reload(&self) -> Result<(), IdentityError> {
        self.build_if(|_| true)
    }

    fn build_if(&self, needed: impl Fn(Option<&Built<C>>) -> bool) -> Result<(), IdentityError> {
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if !needed(self.current.load().as_deref()) {
            return Ok(());
        }
        self.watch.mark(&self.setup.files());
        let serials = self.serials();
        let (config, expires_s) = self.setup.build()?;
        self.current.store(Some(Arc::new(Built { config: Arc::new(config), serials, expires_s })));
        Ok(())
    }
}

macro_rules! handle {
    ($name:ident, $setup:ident, $config:ident) => {
        impl $name {
            /// Reads the files. With a workload API that has not answered yet it succeeds, and
            /// `config` gives nothing until then.
            ///
            /// # Errors
            /// Unreadable or wrong files, a key that does not belong to its certificate, a setting that makes no
            /// sense.
            pub fn new(setup: $setup) -> Result<$name, IdentityError> {
                Following::new(setup).map($name)
            }

            /// The newest configuration, for one new connection; ask again for the next. `None` = there is no
            /// certificate or authority at this time (the workload API has not answered, or took them back).
            pub fn config(&self) -> Option<Arc<$config>> {
                self.0.config()
            }

            /// As `config`; where that gives nothing, a configuration under which every handshake fails.
            ///
            /// # Errors
            /// The crypto provider has no usable protocol version: never with ours.
            pub fn config_or_refusing(&self) -> Result<Arc<$config>, IdentityError> {
                let none =
                    || IdentityError::Setting { setting: "tls".into(), why: "no protocol version".into() };
                match self.config() {
                    Some(config) => Ok(config),
                    None => $config::refusing().map(Arc::new).ok_or_else(none),
                }
            }

            /// Reads everything again.
            ///
            /// # Errors
            /// As `new`; the old configuration then stays in force.
            pub fn reload(&self) -> Result<(), IdentityError> {
                self.0.reload()
            }

            /// Whether a file holds something else than when it was last read (or tried): time to `reload`.
            pub fn changed(&self) -> bool {
                self.0.watch.changed()
            }

            /// When the first of our certificates ends, Unix seconds.
            pub fn expires_s(&self) -> Option<i64> {
                self.0.current.load().as_ref().and_then(|built| built.expires_s)
            }
        }
    };
}
handle!(ServerTls, ServerTlsConfig, ServerConfig);
handle!(ClientTls, ClientTlsConfig, ClientConfig);

impl Setup for ServerTlsConfig {
    type Config = ServerConfig;

    fn files(&self) -> Vec<PathBuf> {
        [self.presented.files(), self.trusted.files()].concat()
    }

    fn sources(&self) -> Vec<&Arc<WorkloadSource>> {
        self.presented.source().into_iter().chain(self.trusted.source()).collect()
    }

    fn build(&self) -> Result<(ServerConfig, Option<i64>), IdentityError> {
        let (keys, expires_s) = self.presented.keys()?;
        let path = self.files().into_iter().next().unwrap_or_default();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| tls_error(&path, &e))?;
        let builder = if self.client_auth == ClientAuth::None {
            builder.with_no_client_auth()
        } else {
            let roots = Arc::new(self.trusted.roots()?);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            if self.client_auth == ClientAuth::Optional {
                verifier = verifier.allow_unauthenticated();
            }
            builder.with_client_cert_verifier(verifier.build().map_err(|e| tls_error(&path, &e))?)
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(keys)));
        config.alpn_protocols = self.alpn.clone();
        Ok((config, expires_s))
    }
}

impl Setup for ClientTlsConfig {
    type Config = ClientConfig;

    fn files(&self) -> Vec<PathBuf> {
        let presented = self.presented.as_ref().map(Presented::files).unwrap_or_default();
        [presented, self.trusted.files()].concat()
    }

    fn sources(&self) -> Vec<&Arc<WorkloadSource>> {
        self.presented.as_ref().and_then(Presented::source).into_iter().chain(self.trusted.source()).collect()
    }

    fn build(&self) -> Result<(ClientConfig, Option<i64>), IdentityError> {
        let path = self.files().into_iter().next().unwrap_or_default();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| tls_error(&path, &e))?;
        let builder = match &self.spiffe {
            None => builder.with_root_certificates(self.trusted.roots_or_system()?),
            Some(peers) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(SpiffeVerifier::new(peers, &self.trusted)?)),
        };
        let (mut config, expires_s) = match &self.presented {
            None => (builder.with_no_client_auth(), None),
            Some(presented) => {
                let (keys, expires_s) = presented.keys()?;
                let first = keys.into_iter().next().ok_or_else(|| no_certificate(&path))?;
                (builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(first))), expires_s)
            }
        };
        config.alpn_protocols = self.alpn.clone();
        Ok((config, expires_s))
    }
}

impl Presented {
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Presented::Files(files) => files.iter().flat_map(|f| [f.cert.clone(), f.key.clone()]).collect(),
            Presented::Workload(..) => Vec::new(),
        }
    }

    fn source(&self) -> Option<&Arc<WorkloadSource>> {
        match self {
            Presented::Files(_) => None,
            Presented::Workload(source, _) => Some(source),
        }
    }

    /// The keys, and when the first of their certificates ends.
    fn keys(&self) -> Result<(Vec<Arc<CertifiedKey>>, Option<i64>), IdentityError> {
        let keys = match self {
            Presented::Workload(source, id) => vec![source.key(id.as_deref())?],
            Presented::Files(files) if files.is_empty() || files.len() > CERTIFICATES_MAX => {
                return Err(IdentityError::Setting {
                    setting: "cert".into(),
                    why: format!("1 to {CERTIFICATES_MAX} certificates are needed"),
                });
            }
            Presented::Files(files) => files.iter().map(load_certified).collect::<Result<_, _>>()?,
        };
        let ends = keys.iter().filter_map(|k| x509::not_after_s(k.cert.first()?));
        let expires_s = ends.min();
        Ok((keys, expires_s))
    }
}

impl Trusted {
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Trusted::Files(files) => files.clone(),
            Trusted::Workload(_) => Vec::new(),
        }
    }

    fn source(&self) -> Option<&Arc<WorkloadSource>> {
        match self {
            Trusted::Files(_) => None,
            Trusted::Workload(source) => Some(source),
        }
    }

    fn roots(&self) -> Result<RootCertStore, IdentityError> {
        match self {
            Trusted::Files(files) if files.is_empty() => Err(IdentityError::Setting {
                setting: "client_ca".into(),
                why: "client certificates are asked for, but no authority is given; set client_ca to a PEM file"
                    .into(),
            }),
            Trusted::Files(files) => load_roots(files),
            Trusted::Workload(source) => Ok(all_roots(source)),
        }
    }

    fn roots_or_system(&self) -> Result<RootCertStore, IdentityError> {
        match self {
            Trusted::Files(files) if files.is_empty() => load_roots(&[PathBuf::from(SYSTEM_CA)]),
            other => other.roots(),
        }
    }
}

fn all_roots(source: &WorkloadSource) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for bundle in source.authorities() {
        roots.add_parsable_certificates(bundle.certificates);
    }
    roots
}

fn load_certified(files: &CertificateFiles) -> Result<Arc<CertifiedKey>, IdentityError> {
    let (chain, key) = (load_certs(&files.cert)?, load_key(&files.key)?);
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|e| tls_error(&files.cert, &e))?;
    Ok(Arc::new(key))
}

fn no_certificate(path: &Path) -> IdentityError {
    IdentityError::Tls { path: path.to_owned(), why: "no certificate is there".into() }
}

/// Chooses a certificate by the name that the client asks for.
struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl std::fmt::Debug for ByName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByName").field("names", &self.exact.len()).finish_non_exhaustive()
    }
}

impl ByName {
    fn new(keys: Vec<Arc<CertifiedKey>>) -> ByName {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for key in &keys {
            for name in key.cert.first().map(|leaf| x509::dns_names(leaf)).unwrap_or_default() {
                // The first certificate with a name keeps it.
                match name.strip_prefix("*.") {
                    Some(rest) => wildcard.entry(rest.to_owned()).or_insert_with(|| key.clone()),
                    None => exact.entry(name).or_insert_with(|| key.clone()),
                };
            }
        }
        ByName { exact, wildcard, first: keys.into_iter().next() }
    }

    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let parent = name.split_once('.').map(|(_, parent)| parent);
            self.exact.get(&name).or_else(|| self.wildcard.get(parent?))
        });
        named.or(self.first.as_ref()).cloned()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

/// Accepts servers by their SPIFFE id and an authority of that id's own trust domain.
#[derive(Debug)]
struct SpiffeVerifier {
    peers: SpiffePeers,
    roots: HashMap<String, RootCertStore>,
}

impl SpiffeVerifier {
    fn new(peers: &SpiffePeers, trusted: &Trusted) -> Result<SpiffeVerifier, IdentityError> {
        let wrong = |why: &str| IdentityError::Setting { setting: "spiffe peers".into(), why: why.into() };
        let mut ids = Vec::new();
        let mut domains = Vec::new();
        for id in &peers.ids {
            let id = SpiffeId::parse(id).map_err(wrong)?;
            domains.push(id.trust_domain().to_owned());
            ids.push(id.to_string());
        }
        let mut trust_domains = Vec::new();
        for domain in &peers.trust_domains {
            trust_domains.push(spiffe::trust_domain(domain).map_err(wrong)?);
        }
        domains.extend(trust_domains.iter().cloned());
        domains.sort();
        domains.dedup();
        let mut roots = HashMap::new();
        match (trusted, domains.as_slice()) {
            (_, []) => return Err(wrong("at least one id or trust domain is needed")),
            (Trusted::Files(_), [one]) => {
                roots.insert(one.clone(), trusted.roots()?);
            }
            (Trusted::Files(_), _) => {
                return Err(wrong("authorities from files speak for one trust domain; name ids of one only"));
            }
            (Trusted::Workload(source), _) => {
                for bundle in source.authorities() {
                    let domain = spiffe::trust_domain(&bundle.trust_domain).map_err(wrong)?;
                    let store: &mut RootCertStore = roots.entry(domain).or_insert_with(RootCertStore::empty);
                    store.add_parsable_certificates(bundle.certificates);
                }
            }
        }
        Ok(SpiffeVerifier { peers: SpiffePeers { ids, trust_domains }, roots })
    }
}

impl ServerCertVerifier for SpiffeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let cert = ParsedCertificate::try_from(end_entity)?;
        let refuse = |why: &str| rustls::Error::General(format!("server certificate refused: {why}"));
        let id = x509::svid_id(end_entity).map_err(refuse)?;
        let named = self.peers.ids.contains(&id.to_string());
        if !named && !self.peers.trust_domains.iter().any(|d| d == id.trust_domain()) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let roots = self.roots.get(id.trust_domain()).ok_or(CertificateError::UnknownIssuer)?;
        let algorithms = provider().signature_verification_algorithms;
        verify_server_cert_signed_by_trust_anchor(&cert, roots, intermediates, now, algorithms.all)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
