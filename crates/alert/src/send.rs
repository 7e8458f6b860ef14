//! One attempt at one receiver, over HTTP.
//!
//! Invariants: the address is the configured one, whatever a message or an answer says (no redirects, no proxy
//! from the environment); the answer's body is not read; an error never repeats the address, which may hold a
//! secret.

use crate::config::{AlertConfig, AlertError, Target, Timing};
use crate::notice::Notice;
use crate::queue::read_bounded;
use crate::render::webhook;
use crate::retry::{Attempt, judge, retry_after};
use crate::sign::signature;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider};

/// Where Debian keeps the system's authorities.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Largest file of authorities.
const CA_MAX_BYTES: u64 = 4 << 20;
/// Largest head of an answer.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// Requests under way to one receiver at a time.
const IN_FLIGHT: usize = 4;

/// Sends to one receiver.
pub(crate) struct Sender {
    target: Target,
    agent: ureq::Agent,
}

impl Sender {
    pub(crate) fn new(target: Target, config: &AlertConfig, timing: &Timing) -> Result<Sender, AlertError> {
        let mut builder = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEAD_MAX_BYTES)
            .timeout_connect(Some(timing.connect))
            .timeout_global(Some(timing.whole));
        if target.url().is_some_and(|url| url.scheme_str() == Some("https")) {
            builder = builder.tls_config(tls(config.ca.as_deref())?);
        }
        Ok(Sender { target, agent: builder.build().into() })
    }

    /// Least time between two attempts.
    pub(crate) fn pace(&self) -> Option<Duration> {
        None
    }

    /// Most attempts under way.
    pub(crate) fn in_flight(&self) -> usize {
        IN_FLIGHT
    }

    /// Sends a notification under `id`, rendered and signed for this moment.
    pub(crate) fn send(&self, id: &str, notice: &Notice, link: &str, now_ns: u64) -> Attempt {
        match &self.target {
            Target::Webhook { url, secrets } => {
                let body = webhook::body(notice, link);
                let timestamp_s = now_ns / 1_000_000_000;
                let request = self
                    .agent
                    .post(url)
                    .header("content-type", "application/json")
                    .header("webhook-id", id)
                    .header("webhook-timestamp", timestamp_s.to_string())
                    .header("webhook-signature", signature(secrets, id, timestamp_s, &body));
                answer(request.send(&body), now_ns)
            }
        }
    }
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>, now_ns: u64) -> Attempt {
    match result {
        Ok(answer) => {
            let after = answer.headers().get("retry-after").and_then(|v| v.to_str().ok());
            judge(answer.status().as_u16(), after.and_then(|v| retry_after(v, now_ns)))
        }
        Err(error) => Attempt::Failed { status: None, after: None, why: explain(&error) },
    }
}

fn tls(ca: Option<&Path>) -> Result<TlsConfig, AlertError> {
    let path = ca.map_or_else(|| PathBuf::from(SYSTEM_CA), Path::to_owned);
    let wrong = |why: &str| AlertError::Setting {
        setting: format!("authorities of https receivers, {}", path.display()),
        why: why.to_owned(),
    };
    let pem =
        read_bounded(&path, CA_MAX_BYTES).ok_or_else(|| wrong("cannot be read; install ca-certificates"))?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem).filter_map(certificate).collect();
    if certificates.is_empty() {
        return Err(wrong("holds no certificate"));
    }
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// The error in words, without the address.
fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::Io(error) => {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => format!("tls: {error}"),
                None => format!("connection: {}", error.kind()),
            }
        }
        ureq::Error::HostNotFound => "its name is not known".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Rustls(error) => format!("tls: {error}"),
        ureq::Error::Tls(error) => format!("tls: {error}"),
        ureq::Error::Protocol(_) => "its answer is not HTTP".to_owned(),
        _ => "no usable answer".to_owned(),
    }
}
