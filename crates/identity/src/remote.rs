//! Token keys that an issuer publishes on the network: fetched, refreshed, and good for an hour without it.
//!
//! Never on a data thread: there a key is there or the token fails, and the failure wakes the [`Refresher`], which
//! a control thread owns. Invariants: one fetch at a time; never more often than the minimum interval, whatever
//! tokens ask for; answers are bounded in size and time; redirects are refused; plain `http` only to the
//! loopback; a bad answer changes nothing.

use crate::IdentityError;
use crate::config::{JwtIssuer, RemoteKeySet};
use crate::jwks::{FILE_MAX_BYTES, Keys, parse_algorithms};
use crate::refusal::{FailureKind, Refusal};
use crate::text::sha256;
use crate::tls::{SYSTEM_CA, load_certs, provider};
use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// Seconds between refreshes when the configuration says nothing.
const REFRESH_S: i64 = 300;
/// Fewest seconds between two fetches when the configuration says nothing.
const MIN_INTERVAL_S: i64 = 10;
/// Longest wait after failures, seconds.
const BACKOFF_MAX_S: i64 = 300;
/// How long keys count after the refresh that should have renewed them, seconds.
pub(crate) const STALE_S: i64 = 3_600;
/// One fetch, from the connection to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The connection alone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest discovery document, bytes.
const DISCOVERY_MAX_BYTES: u64 = 256 << 10;
/// Largest head of an answer, bytes.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// One issuer's keys on the network.
pub(crate) struct Remote {
    issuer: String,
    source: Source,
    ca: Vec<PathBuf>,
    allowed: Vec<Algorithm>,
    refresh_s: i64,
    min_interval_s: i64,
    keys: ArcSwapOption<Keys>,
    /// When the keys were last confirmed, Unix seconds.
    fetched_s: AtomicI64,
    wanted: AtomicBool,
    schedule: Mutex<Schedule>,
    bell: Arc<Bell>,
}

enum Source {
    Jwks(Uri),
    Discover(Uri),
}

#[derive(Clone, Default)]
struct Schedule {
    next_s: i64,
    tried_s: Option<i64>,
    digest: [u8; 32],
    failures: u32,
    fetches: u64,
    error: Option<String>,
}

/// Wakes the refresher.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    waiting: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.waiting.notify_all();
    }

    fn wait(&self, at_most: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) = self
            .waiting
            .wait_timeout_while(rung, at_most, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}

impl Remote {
    pub(crate) fn new(
        issuer: &JwtIssuer,
        set: &RemoteKeySet,
        bell: &Arc<Bell>,
    ) -> Result<Remote, IdentityError> {
        let wrong =
            |why: String| IdentityError::Setting { setting: format!("jwt issuer {:?}", issuer.issuer), why };
        let source = match &set.jwks_url {
            Some(url) => Source::Jwks(address(url).map_err(wrong)?),
            None => {
                let base = issuer.issuer.trim_end_matches('/');
                Source::Discover(address(&format!("{base}/.well-known/openid-configuration")).map_err(wrong)?)
            }
        };
        let given = |value: i64, default: i64| if value > 0 { value } else { default };
        Ok(Remote {
            issuer: issuer.issuer.clone(),
            source,
            ca: if set.ca.is_empty() { vec![PathBuf::from(SYSTEM_CA)] } else { set.ca.clone() },
            allowed: parse_algorithms(issuer)?,
            refresh_s: given(set.refresh_s, REFRESH_S),
            min_interval_s: given(set.min_interval_s, MIN_INTERVAL_S),
            keys: ArcSwapOption::empty(),
            fetched_s: AtomicI64::new(i64::MIN),
            wanted: AtomicBool::new(false),
            schedule: Mutex::default(),
            bell: bell.clone(),
        })
    }

    /// The keys as they are; fetches nothing.
    pub(crate) fn current(&self, now_s: i64) -> Result<Arc<Keys>, Refusal> {
        let Some(keys) = self.keys.load_full() else {
            self.want();
            let why = "the keys of its issuer are not fetched yet";
            return Err(Refusal::new(FailureKind::Unavailable, why));
        };
        let age = now_s.saturating_sub(self.fetched_s.load(Ordering::Acquire));
        if age > self.refresh_s + STALE_S {
            self.want();
            let why = "the keys of its issuer could not be fetched again for more than an hour";
            return Err(Refusal::new(FailureKind::Unavailable, why));
        }
        Ok(keys)
    }

    /// A token asks for a key that is not here.
    pub(crate) fn want(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next fetch is due, Unix seconds.
    fn due_s(&self) -> i64 {
        let schedule = self.schedule();
        let Some(tried_s) = schedule.tried_s else { return i64::MIN };
        if schedule.failures == 0 && self.wanted.load(Ordering::Acquire) {
            return schedule.next_s.min(tried_s.saturating_add(self.min_interval_s));
        }
        schedule.next_s
    }

    fn refresh(&self, now_s: i64) {
        self.wanted.store(false, Ordering::Release);
        {
            let mut schedule = self.schedule();
            schedule.tried_s = Some(now_s);
            schedule.fetches += 1;
        }
        // The lock is not held over the network: status() must answer meanwhile.
        let answer = self.fetch();
        let mut schedule = self.schedule();
        let taken = answer.and_then(|bytes| {
            let digest = sha256(&bytes);
            if digest != schedule.digest {
                // Known good tokens stay known as long as the keys are the same object.
                self.keys.store(Some(Arc::new(Keys::parse(&bytes, &self.allowed)?)));
                schedule.digest = digest;
            }
            Ok(())
        });
        match taken {
            Ok(()) => {
                self.fetched_s.store(now_s, Ordering::Release);
                schedule.failures = 0;
                schedule.error = None;
                schedule.next_s = now_s.saturating_add(self.refresh_s);
            }
            Err(why) => {
                schedule.failures = schedule.failures.saturating_add(1);
                schedule.error = Some(why);
                let doubled = self.min_interval_s.saturating_mul(1 << (schedule.failures - 1).min(10));
                let wait = doubled.min(BACKOFF_MAX_S).max(self.min_interval_s);
                schedule.next_s = now_s.saturating_add(wait);
            }
        }
    }

    fn fetch(&self) -> Result<Vec<u8>, String> {
        match &self.source {
            Source::Jwks(url) => self.get(url, FILE_MAX_BYTES),
            Source::Discover(url) => {
                let document = self.get(url, DISCOVERY_MAX_BYTES)?;
                let jwks = discovered(&document, &self.issuer, url.scheme_str() == Some("https"))?;
                self.get(&jwks, FILE_MAX_BYTES)
            }
        }
    }

    fn get(&self, url: &Uri, max_bytes: u64) -> Result<Vec<u8>, String> {
        let mut builder = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEAD_MAX_BYTES)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(FETCH_TIMEOUT));
        if url.scheme_str() == Some("https") {
            // Read anew each time, so that a rotated authority counts.
            builder = builder.tls_config(self.tls().map_err(|e| e.to_string())?);
        }
        let agent: ureq::Agent = builder.build().into();
        let mut answer =
            agent.get(url).header("accept", "application/json").call().map_err(|e| explain(&e))?;
        let status = answer.status().as_u16();
        if status != 200 {
            let note = if (300..400).contains(&status) { "; redirects are not followed" } else { "" };
            return Err(format!("the issuer answered with status {status}{note}"));
        }
        let body = answer.body_mut().with_config().limit(max_bytes).read_to_vec();
        body.map_err(|e| explain(&e))
    }

    fn tls(&self) -> Result<TlsConfig, IdentityError> {
        let mut roots = Vec::new();
        for path in &self.ca {
            roots
                .extend(load_certs(path)?.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned()));
        }
        Ok(TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(provider())
            .build())
    }
}

/// An address that may be asked for keys.
fn address(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| "the address of its keys is not a URL".to_owned())?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(uri),
        Some("http") if loopback => Ok(uri),
        Some("http") => {
            Err("its keys may be fetched over https only (http is allowed to the loopback)".into())
        }
        _ => Err("the address of its keys is not an https URL".into()),
    }
}

/// The address of the keys in a discovery document (OpenID Connect Discovery 1.0, section 4.3).
pub(crate) fn discovered(document: &[u8], issuer: &str, secure: bool) -> Result<Uri, String> {
    #[derive(serde::Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: String,
    }
    let document: Document = serde_json::from_slice(document)
        .map_err(|_| "the discovery document holds no issuer and jwks_uri".to_owned())?;
    if document.issuer != issuer {
        return Err("the discovery document is of another issuer".into());
    }
    let uri = address(&document.jwks_uri)?;
    if secure && uri.scheme_str() != Some("https") {
        return Err("the discovery document came over https and leads to http".into());
    }
    Ok(uri)
}

/// The error in words, without the address.
fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "the issuer did not answer in time".into(),
        ureq::Error::HostNotFound => "the issuer's name is not known".into(),
        ureq::Error::ConnectionFailed => "no connection to the issuer".into(),
        ureq::Error::Io(e) => format!("connection to the issuer: {}", e.kind()),
        ureq::Error::BodyExceedsLimit(max) => format!("the issuer's answer is longer than {max} bytes"),
        ureq::Error::Rustls(e) => format!("tls to the issuer: {e}"),
        ureq::Error::Tls(e) => format!("tls to the issuer: {e}"),
        _ => "the issuer's answer is not usable".into(),
    }
}

/// How one issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStatus {
    /// The issuer.
    pub issuer: String,
    /// Keys in force.
    pub keys: usize,
    /// When they were last confirmed, Unix seconds; `None` = never.
    pub fetched_s: Option<i64>,
    /// Fetches since the start, failed ones included.
    pub fetches: u64,
    /// Fetches that failed in a row.
    pub failures: u32,
    /// Why the last one failed.
    pub error: Option<String>,
}

/// Fetches the keys of all remote issuers. Owned by one control thread, which may block.
pub struct Refresher {
    pub(crate) remotes: Vec<Arc<Remote>>,
    pub(crate) bell: Arc<Bell>,
}

impl Refresher {
    /// Fetches what is due at `now_s` (Unix seconds), one issuer after the other; each takes at most 10 s. Gives
    /// when the next fetch is due.
    pub fn step(&mut self, now_s: i64) -> i64 {
        for remote in &self.remotes {
            if remote.due_s() <= now_s {
                remote.refresh(now_s);
            }
        }
        self.remotes.iter().map(|r| r.due_s()).min().unwrap_or(i64::MAX)
    }

    /// Waits until a token asks for a key that is not here, or for `at_most`; whether one asked.
    pub fn wait(&self, at_most: Duration) -> bool {
        self.bell.wait(at_most)
    }

    /// How each issuer's keys are.
    pub fn status(&self) -> Vec<RemoteStatus> {
        self.remotes.iter().map(|r| r.status()).collect()
    }

    /// Runs [`Refresher::step`] on a thread of its own until the handle is dropped. `clock` gives Unix seconds;
    /// `failed` is told the issuer and the reason of each fetch that fails.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        mut self,
        clock: impl Fn() -> i64 + Send + 'static,
        failed: impl Fn(&RemoteStatus) + Send + 'static,
    ) -> std::io::Result<RefresherHandle> {
        const IDLE_MAX_S: u64 = 60;
        let stop = Arc::new(AtomicBool::new(false));
        let handle = RefresherHandle { stop: stop.clone(), bell: self.bell.clone() };
        std::thread::Builder::new().name("countersign-keys".into()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                let now_s = clock();
                let before = self.status();
                let next_s = self.step(now_s);
                let news = |(before, after): &(RemoteStatus, RemoteStatus)| before.fetches != after.fetches;
                for (_, after) in before.into_iter().zip(self.status()).filter(news) {
                    if after.error.is_some() {
                        failed(&after);
                    }
                }
                let wait_s = u64::try_from(next_s.saturating_sub(now_s)).unwrap_or(0).clamp(1, IDLE_MAX_S);
                // A bell that rings inside the minimum interval must not make this a busy loop.
                self.wait(Duration::from_secs(wait_s));
            }
        })?;
        Ok(handle)
    }
}

/// Stops the refresher's thread when dropped (within the time of one fetch).
pub struct RefresherHandle {
    stop: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

impl Drop for RefresherHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
    }
}

impl Remote {
    pub(crate) fn status(&self) -> RemoteStatus {
        let schedule = self.schedule();
        let fetched_s = self.fetched_s.load(Ordering::Acquire);
        RemoteStatus {
            issuer: self.issuer.clone(),
            keys: self.keys.load().as_ref().map_or(0, |k| k.len()),
            fetched_s: (fetched_s != i64::MIN).then_some(fetched_s),
            fetches: schedule.fetches,
            failures: schedule.failures,
            error: schedule.error.clone(),
        }
    }
}
