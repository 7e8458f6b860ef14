//! The SPIFFE Workload API: our own SVIDs and the authorities of trust domains, as they rotate.
//!
//! A client of a local agent (SPIRE and others) over its Unix socket. Invariants: it runs on a thread of its own;
//! an update counts as a whole or not at all; a broken connection keeps what was given, until it ends by itself;
//! "permission denied" takes the SVIDs back at once, for then the agent says that we are nobody; keys are held in
//! memory alone and never shown.

use crate::IdentityError;
use crate::tls::provider;
use crate::x509::{self, Authorities};
use arc_swap::ArcSwap;
use futures::StreamExt;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use spiffe::{WorkloadApiClient, WorkloadApiError, X509Context};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Variable that names the agent's socket (SPIFFE Workload Endpoint, section 4).
pub(crate) const ENDPOINT_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";
/// Most SVIDs that one update may hold.
pub(crate) const SVIDS_MAX: usize = 64;
/// Most authorities that one update may hold, over all trust domains.
pub(crate) const AUTHORITIES_MAX: usize = 4_096;
/// First wait after a broken connection; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two tries.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// One try to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// SVIDs and bundles of a workload API. Share it in an `Arc`.
pub struct WorkloadSource {
    endpoint: String,
    state: ArcSwap<State>,
    progress: Mutex<WorkloadStatus>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// +1 with every update that changed something.
    serial: u64,
    svids: Vec<Svid>,
    authorities: Vec<Authorities>,
}

struct Svid {
    id: String,
    expires_s: Option<i64>,
    key: Arc<CertifiedKey>,
}

/// How the source is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadStatus {
    /// The stream of updates is open.
    pub connected: bool,
    /// Updates taken.
    pub updates: u64,
    /// Updates and connections that failed.
    pub failures: u64,
    /// Why the last one failed; cleared by the next update.
    pub error: Option<String>,
}

/// Ends the source's thread when dropped.
pub struct WorkloadHandle(Arc<Notify>);

impl Drop for WorkloadHandle {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl std::fmt::Debug for WorkloadSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkloadSource").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl WorkloadSource {
    /// A source at `endpoint` (`unix:///run/spire/agent.sock`, or `tcp://` on the loopback); `None` = what
    /// `SPIFFE_ENDPOINT_SOCKET` names. Connects to nothing yet.
    ///
    /// # Errors
    /// No endpoint, or one out of form.
    pub fn new(endpoint: Option<&str>) -> Result<Arc<WorkloadSource>, IdentityError> {
        let wrong = |why: String| IdentityError::Setting { setting: "workload api".into(), why };
        let endpoint = match endpoint {
            Some(given) => given.to_owned(),
            None => std::env::var(ENDPOINT_VARIABLE)
                .map_err(|_| wrong(format!("no endpoint is given and {ENDPOINT_VARIABLE} is not set")))?,
        };
        spiffe::transport::Endpoint::parse(&endpoint).map_err(|e| wrong(format!("{endpoint:?}: {e}")))?;
        Ok(Arc::new(WorkloadSource {
            endpoint,
            state: ArcSwap::default(),
            progress: Mutex::default(),
            news: Condvar::new(),
        }))
    }

    /// Follows the workload API on a thread of its own until the handle is dropped. `changed` is called there after
    /// every update and withdrawal: time for [`crate::Identities::set_workload_authorities`].
    ///
    /// # Errors
    /// The system gives no thread or no event loop.
    pub fn start(
        self: &Arc<Self>,
        changed: impl Fn(&WorkloadSource) + Send + 'static,
    ) -> std::io::Result<WorkloadHandle> {
        let stop = Arc::new(Notify::new());
        let handle = WorkloadHandle(stop.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let source = self.clone();
        std::thread::Builder::new().name("countersign-svid".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stop.notified() => {}
                    () = source.follow(&changed) => {}
                }
            });
        })?;
        Ok(handle)
    }

    async fn follow(&self, changed: &(impl Fn(&WorkloadSource) + Send)) {
        let mut wait = RETRY_MIN;
        loop {
            let before = self.status().updates;
            let why = self.session(changed).await;
            self.note(|status| {
                status.connected = false;
                status.failures += 1;
                status.error = Some(why);
            });
            if self.status().updates != before {
                wait = RETRY_MIN;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// One connection, until it ends; why it ended.
    async fn session(&self, changed: &(impl Fn(&WorkloadSource) + Send)) -> String {
        let connect = WorkloadApiClient::connect_to(&self.endpoint);
        let client = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return format!("workload api: {error}"),
            Err(_) => return "workload api: no connection in time".into(),
        };
        let mut stream = match client.stream_x509_contexts().await {
            Ok(stream) => stream,
            Err(error) => return self.ended(&error, changed),
        };
        self.note(|status| status.connected = true);
        while let Some(update) = stream.next().await {
            let taken = match update {
                Ok(context) => self.take(&context),
                Err(error) => return self.ended(&error, changed),
            };
            match taken {
                Ok(()) => {
                    self.note(|status| {
                        status.updates += 1;
                        status.error = None;
                    });
                    changed(self);
                }
                Err(why) => self.note(|status| {
                    status.failures += 1;
                    status.error = Some(format!("workload api: update refused: {why}"));
                }),
            }
        }
        "workload api: it closed the stream".into()
    }

    fn ended(&self, error: &WorkloadApiError, changed: &impl Fn(&WorkloadSource)) -> String {
        let denied =
            matches!(error, WorkloadApiError::PermissionDenied(_) | WorkloadApiError::NoIdentityIssued);
        if denied && self.is_ready() {
            let old = self.state.load();
            let authorities = old.authorities.clone();
            self.state.store(Arc::new(State { serial: old.serial + 1, svids: Vec::new(), authorities }));
            changed(self);
        }
        format!("workload api: {error}")
    }

    fn take(&self, context: &X509Context) -> Result<(), String> {
        let mut svids = Vec::new();
        for svid in context.svids() {
            if svids.len() >= SVIDS_MAX {
                return Err(format!("more than {SVIDS_MAX} SVIDs"));
            }
            let chain: Vec<_> =
                svid.cert_chain().iter().map(|c| CertificateDer::from(c.as_bytes().to_vec())).collect();
            let expires_s = chain.first().and_then(|leaf| x509::not_after_s(leaf));
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec()));
            let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|e| e.to_string())?;
            svids.push(Svid { id: svid.spiffe_id().to_string(), expires_s, key: Arc::new(key) });
        }
        let mut authorities = Vec::new();
        let mut count = 0;
        for (domain, bundle) in context.bundle_set().iter() {
            let certificates: Vec<_> =
                bundle.authorities().iter().map(|c| CertificateDer::from(c.as_bytes().to_vec())).collect();
            count += certificates.len();
            authorities.push(Authorities { trust_domain: domain.to_string(), certificates });
        }
        if count > AUTHORITIES_MAX {
            return Err(format!("more than {AUTHORITIES_MAX} authorities"));
        }
        authorities.sort_by(|a, b| a.trust_domain.cmp(&b.trust_domain));
        let serial = self.state.load().serial + 1;
        self.state.store(Arc::new(State { serial, svids, authorities }));
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut WorkloadStatus)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_all();
    }

    /// Waits until an SVID is there, or for `at_most`; whether one is.
    pub fn wait_ready(&self, at_most: Duration) -> bool {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.news.wait_timeout_while(progress, at_most, |_| !self.is_ready());
        drop(waited);
        self.is_ready()
    }

    /// Whether an SVID is there.
    pub fn is_ready(&self) -> bool {
        !self.state.load().svids.is_empty()
    }

    /// Grows with every change of SVIDs or authorities.
    pub fn serial(&self) -> u64 {
        self.state.load().serial
    }

    /// The ids of our SVIDs, the default one first.
    pub fn ids(&self) -> Vec<String> {
        self.state.load().svids.iter().map(|svid| svid.id.clone()).collect()
    }

    /// When the first of our SVIDs ends, Unix seconds.
    pub fn expires_s(&self) -> Option<i64> {
        self.state.load().svids.iter().filter_map(|svid| svid.expires_s).min()
    }

    /// The authorities, by trust domain.
    pub fn authorities(&self) -> Vec<Authorities> {
        self.state.load().authorities.clone()
    }

    /// How the source is.
    pub fn status(&self) -> WorkloadStatus {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key of the SVID with this id, or of the default one.
    pub(crate) fn key(&self, id: Option<&str>) -> Result<Arc<CertifiedKey>, IdentityError> {
        let state = self.state.load();
        let wanted = state.svids.iter().find(|svid| id.is_none_or(|id| svid.id == id));
        wanted.map(|svid| svid.key.clone()).ok_or_else(|| IdentityError::Tls {
            path: PathBuf::from(&self.endpoint),
            why: match id {
                Some(id) => format!("the workload api gave no SVID for {id}"),
                None => "the workload api gave no SVID".into(),
            },
        })
    }
}
